//! Killed under load, ten times in a row: no acknowledged flush is lost, and the image is whole.
//!
//! The test starts itself as a writer and kills it (`SIGKILL`) at a moment of chance. The writer does *rounds*: some
//! writes, zeroings and discards side by side, then a flush; when that is acknowledged it says so on its standard output. What
//! round N does follows from the seed, and each sector it writes holds its number, so afterwards every sector can be
//! asked: is what you hold from the last acknowledged round that wrote you, or from a later one that did?

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use backend::block::{Format, Source};
use fastrand::Rng;
use support::*;
use virtio::back::{Block, Op};

const SIZE: u64 = 64 << 20;
const SECTORS: u64 = SIZE / 512;
const KILLS: u64 = 10;

/// One request of a round.
#[derive(Clone, Copy)]
struct Step {
    op: Op,
    at: u64,
    count: u64,
}

/// What round `number` does; its parts do not overlap.
fn round(seed: u64, number: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let parts = 8;
    let part = SECTORS / parts;
    (0..parts)
        .map(|n| {
            let at = n * part + rng.u64(..part - 300);
            let count = rng.u64(1..300);
            let op = match rng.u8(..12) {
                0 => Op::WriteZeroes { unmap: false },
                1 | 2 => Op::WriteZeroes { unmap: true },
                _ => Op::Write,
            };
            Step { op, at, count }
        })
        .collect()
}

/// What a sector holds after this round has written it.
fn sector(number: u64, at: u64) -> Vec<u8> {
    [number, at].iter().flat_map(|word| word.to_le_bytes()).cycle().take(512).collect()
}

/// The writer: rounds from `first` on, until it is killed.
fn write(path: &str, format: &str, seed: u64, first: u64, with_threads: bool) {
    let source = Source::new(path, format.parse().unwrap());
    let mut rig = Rig::open(&source, &threads(with_threads));
    let mut out = std::io::stdout().lock();
    for number in first.. {
        let steps = round(seed, number);
        for (n, step) in steps.iter().enumerate() {
            let data = match step.op {
                Op::Write => rig.buffer((1 + 4 * n as u64) << 20, step.count * 512),
                _ => rig.buffer(0, 0),
            };
            for at in 0..data.len() / 512 {
                data.write(at * 512, &sector(number, step.at + at));
            }
            rig.submit(step.op, step.at, step.count, data);
        }
        rig.disk.start();
        let mut left = steps.len();
        while left > 0 {
            let done = rig.completions();
            assert!(done.iter().all(|done| done.result.is_ok()));
            left -= done.len();
        }
        rig.flush();
        out.write_all(format!("{number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// Lets a writer write for a while and kills it. Gives the last round that was acknowledged.
fn killed_writer(source: &Source, seed: u64, first: u64, with_threads: bool, after: Duration) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["writer", source.path.to_str().unwrap(), source.format.name()])
        .args([seed.to_string(), first.to_string(), with_threads.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut last: u64 = lines.next().expect("it writes").unwrap().parse().unwrap();
    std::thread::sleep(after);
    writer.kill().unwrap();
    assert!(!writer.wait().unwrap().success(), "it was killed");
    // What it had handed to the kernel is done when the kernel lets go of its lock.
    std::fs::File::open(&source.path).unwrap().lock().unwrap();
    for line in lines {
        // A line may be cut off; a round that is not wholly said is not acknowledged.
        last = line.ok().and_then(|line| line.parse().ok()).filter(|n| *n == last + 1).unwrap_or(last);
    }
    last
}

/// Every sector is from the last acknowledged round that wrote it, or from a later one. `written` is what each held
/// before, by round, 0 for zeroes; it becomes what each holds.
fn judge(rig: &mut Rig, seed: u64, first: u64, last: u64, written: &mut [u64]) {
    // The round under way, and one that was done but not said.
    let mut may: Vec<Vec<u64>> = written.iter().map(|round| vec![*round]).collect();
    for number in first..=last + 2 {
        for step in round(seed, number) {
            let holds = if step.op == Op::Write { number } else { 0 };
            for may in &mut may[step.at as usize..(step.at + step.count) as usize] {
                if number <= last {
                    may.clear();
                }
                may.push(holds);
            }
        }
    }
    const PART: u64 = 2048;
    for start in (0..SECTORS).step_by(PART as usize) {
        let bytes = rig.read(start, PART);
        for (at, holds) in (start..).zip(bytes.chunks(512)) {
            let number = u64::from_le_bytes(holds[..8].try_into().unwrap());
            let whole = if number == 0 { vec![0; 512] } else { sector(number, at) };
            assert!(holds == whole, "sector {at} is torn");
            let may = &may[at as usize];
            assert!(
                may.contains(&number),
                "sector {at} is of round {number}, not of {may:?}; {last} was said"
            );
            written[at as usize] = number;
        }
    }
}

fn story(source: &Source, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let (mut first, mut written) = (1, vec![0; SECTORS as usize]);
    let mut dirty = 0;
    for kill in 0..KILLS {
        let after = Duration::from_millis(rng.u64(5..250));
        let last = killed_writer(source, seed, first, kill % 3 == 2, after);
        if source.format == Format::Qcow2 {
            let checked = qemu_img(&["check", "-f", "qcow2", source.path.to_str().unwrap()]);
            // 3: clusters are counted that nothing uses. Anything else is corruption.
            let code = checked.status.code();
            assert!(matches!(code, Some(0 | 3)), "{}", String::from_utf8_lossy(&checked.stdout));
            dirty += u32::from(backend::block::info(&source.path, source.format).unwrap().dirty);
        }
        let mut rig = Rig::open(source, &threads(kill % 2 == 1));
        judge(&mut rig, seed, first, last, &mut written);
        drop(rig);
        if source.format == Format::Qcow2 {
            check(&source.path);
        }
        println!("  killed after round {last}");
        // Two rounds may have been begun and not been said.
        first = last + 3;
    }
    if source.format == Format::Qcow2 {
        assert_eq!(u64::from(dirty), KILLS, "each was found open");
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [writer, path, format, seed, first, with_threads] = &arguments[..] {
        assert_eq!(writer, "writer");
        let number = |text: &str| text.parse().unwrap();
        write(path, format, number(seed), number(first), with_threads == "true");
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> Box<Path> { folder.path().join(name).into() };
    println!("raw");
    story(&make(&at("a.raw"), Format::Raw, SIZE, None), 1);
    println!("qcow2");
    story(&make(&at("a.qcow2"), Format::Qcow2, SIZE, None), 2);
    println!("qcow2 over another");
    make(&at("base.qcow2"), Format::Qcow2, SIZE, None);
    story(&make(&at("b.qcow2"), Format::Qcow2, SIZE, Some(("base.qcow2", Format::Qcow2))), 3);
    println!("qcow2 with small clusters");
    let small = at("c.qcow2");
    qemu_img_ok(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "cluster_size=4k",
        small.to_str().unwrap(),
        &SIZE.to_string(),
    ]);
    story(&Source::new(&small, Format::Qcow2), 4);
    ExitCode::SUCCESS
}
