//! A machine that is killed while its guest writes: what was acknowledged is there.
//!
//! Writers in the guest write records, numbered, each to a place of its own, with `fsync`; only then do they say so on
//! standard output. At some moment the whole machine is killed (`SIGKILL`). Whatever was said by then must be on the disks,
//! which the next round goes on with.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use ringfence_stories::{Ringfence, Stage, Story};

pub const STORIES: &[Story] =
    &[Story::each("killed::nothing_acknowledged_is_lost", nothing_acknowledged_is_lost)];

/// Kills, where the story is told in full, and elsewhere.
const ROUNDS: (usize, usize) = (10, 2);
/// Writers of each disk.
const WRITERS: usize = 3;
/// Records that a writer has room for in a round.
const ROOM: usize = 2000;
const SECTOR: usize = 512;
/// What the writers of a round have room for, in bytes.
const SIZE: usize = WRITERS * ROOM * SECTOR;

/// `vda 2 17`: the disk, the writer, the record's number.
type Record = (String, usize, usize);

/// Where a record is.
fn place(round: usize, writer: usize, number: usize) -> usize {
    (round * WRITERS + writer) * ROOM + number
}

fn script(round: usize) -> String {
    format!(
        "for disk in vda vdb; do for writer in $(seq 0 {last}); do (
            n=0; while [ $n -lt {ROOM} ]; do
                echo \"round {round} $disk $writer $n.\" | dd of=/dev/$disk bs={SECTOR} conv=sync,notrunc,fsync \
                    seek=$((({round} * {WRITERS} + writer) * {ROOM} + n)) 2>/dev/null || exit 1
                echo \"acknowledged $disk $writer $n.\"
                n=$((n + 1))
            done
        ) & done; done; wait",
        last = WRITERS - 1,
    )
}

/// The records that were acknowledged in whole lines.
fn acknowledged(said: &str) -> Result<BTreeSet<Record>> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let lines =
        whole.lines().filter_map(|line| line.trim_end().strip_prefix("acknowledged ")?.strip_suffix('.'));
    lines
        .map(|line| {
            let [disk, writer, number] =
                line.split(' ').collect::<Vec<_>>().try_into().ok().context("three words")?;
            Ok((disk.to_owned(), writer.parse()?, number.parse()?))
        })
        .collect()
}

/// Fails unless each of these records is where it belongs.
fn holds(disk: &[u8], round: usize, records: &BTreeSet<Record>, name: &str) -> Result<()> {
    for (disk_name, writer, number) in records.iter().filter(|(disk, ..)| disk == name) {
        let wanted = format!("round {round} {disk_name} {writer} {number}.\n");
        let at = place(round, *writer, *number) * SECTOR;
        let found = disk.get(at..at + wanted.len()).context("the disk is shorter than it was")?;
        let shown = String::from_utf8_lossy(found).into_owned();
        ensure!(found == wanted.as_bytes(), "{wanted:?} was acknowledged, the disk has {shown:?}");
    }
    Ok(())
}

/// The content of a qcow2 image, which `qemu-img` finds no error in before anybody repairs it.
fn content(image: &Path, into: &Path) -> Result<Vec<u8>> {
    let check = Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(image).output();
    let check = check.context("there is no qemu-img: scripts/setup.sh")?;
    // 3: clusters are counted and not used, which is no error.
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    ensure!(matches!(check.status.code(), Some(0 | 3)), "qemu-img check: {text}");
    let _ = std::fs::remove_file(into);
    let copy = Command::new("qemu-img")
        .args(["convert", "-f", "qcow2", "-O", "raw"])
        .args([image, into])
        .status()?;
    ensure!(copy.success(), "qemu-img cannot read the image");
    Ok(std::fs::read(into)?)
}

fn nothing_acknowledged_is_lost(stage: &Stage) -> Result<()> {
    let rounds = stage.length(ROUNDS.0, ROUNDS.1);
    let size = rounds * SIZE;
    let raw = stage.file("raw.img", vec![0; size])?;
    let layered = stage.path().join("layered.qcow2");
    let create = Ringfence::new(["disk", "create", "--format", "qcow2"]);
    create.arg(&layered).arg(size.to_string()).run()?.exits(0)?;
    let disks = [raw.display().to_string(), format!("{},format=qcow2", layered.display())];
    let mut known = Vec::new();
    for round in 0..rounds {
        let words = ["--disk", &disks[0], "--disk", &disks[1], "debian", "--", "sh", "-c", &script(round)];
        let run = stage.ringfence(words).start()?;
        // Another moment each time.
        let far = |disk: &str| format!("acknowledged {disk} 1 {}.", 3 + 7 * round);
        let run = run.wait_for(&far("vda"))?.wait_for(&far("vdb"))?;
        let ended = run.signal(Signal::SIGKILL)?.end()?;
        let records = acknowledged(&ended.out())?;
        for disk in ["vda", "vdb"] {
            let count = records.iter().filter(|(name, ..)| name == disk).count();
            ensure!(count > 3 + 7 * round, "round {round}: {count} records on {disk}\n{ended}");
        }
        known.push(records);
        let layered = content(&layered, &stage.path().join("copy.img"))?;
        let raw = std::fs::read(&raw)?;
        // Those of the rounds before, too.
        for (round, records) in known.iter().enumerate() {
            holds(&raw, round, records, "vda").with_context(|| format!("raw, round {round}"))?;
            holds(&layered, round, records, "vdb").with_context(|| format!("qcow2, round {round}"))?;
        }
    }
    Ok(())
}
