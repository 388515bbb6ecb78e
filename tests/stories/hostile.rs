//! Our own kernel as a hostile guest: what it tries with the devices, and what that does to the process that it is in.

use std::fs;

use anyhow::{Context, Result, ensure};
use ringfence_stories::{Peak, Ringfence, Stage, Story};
use selftest::Report;

pub const STORIES: &[Story] = &[
    // The row with two vCPUs has no fewer to tell of.
    Story::full("hostile::devices_stand_it", |stage| devices_stand_it(stage, stage.usual())),
    Story::each("hostile::devices_stand_it_from_all_vcpus", |stage| devices_stand_it(stage, stage.vcpus())),
];

/// The guest's memory.
const MEMORY: u64 = 64 << 20;
/// What the process may take beyond it: itself, the code cache and the maps of each vCPU, the buffers of devices.
const OVERHEAD: u64 = 200 << 20;
const OVERHEAD_OF_A_VCPU: u64 = 64 << 20;
/// The console's log, and as much for the one before it.
const LOG: u64 = 9 << 20;
/// What may be said of all devices' mistakes.
const SAID: usize = 64 << 10;
/// At least one attack of each number ran.
const ITEMS: u32 = 14;

fn devices_stand_it(stage: &Stage, vcpus: u32) -> Result<()> {
    let engine = stage.engine().context("a story for engines")?.name;
    let raw = stage.file("raw.img", vec![0; 8 << 20])?;
    let layered = stage.path().join("layered.qcow2");
    Ringfence::new(["disk", "create", "--format", "qcow2"]).arg(&layered).arg("8M").run()?.exits(0)?;
    let shared = stage.path().join("shared");
    fs::create_dir(&shared)?;
    let run = Ringfence::new(["run", "-v", "--engine", engine, "--memory", "64M"])
        .args(["--vcpus", &vcpus.to_string()])
        .arg("--console-log")
        .arg(stage.console())
        .args(["--disk", &raw.display().to_string()])
        .args(["--disk", &format!("{},format=qcow2", layered.display())])
        .args(["--share", &shared.display().to_string()])
        .arg("--vsock")
        .arg(stage.path().join("vsock"))
        .args(["selftest", "--append", "hostile"])
        .start()?;
    let peak = Peak::of(run.id());
    let ended = run.end()?;
    let peak = peak.bytes();

    let report = Report::parse(&ended.out());
    ensure!(report.failed.is_empty() && report.skipped.is_empty(), "{:#?}\n{ended}", report.failed);
    ensure!(report.is_success(), "{ended}");
    for item in 0..=ITEMS {
        let name = format!("hostile.item_{item}_");
        ensure!(
            report.passed.iter().any(|passed| passed.starts_with(&name)),
            "{name} was not tried\n{ended}"
        );
    }
    // Each kind that a machine of `ringfence run` may have: interface, disk, console, random numbers, socket, files.
    for kind in [1, 2, 3, 4, 19, 26] {
        ensure!(
            ended.out().contains(&format!("(kind {kind})")),
            "no device of kind {kind} was there\n{ended}"
        );
    }

    let most = MEMORY + OVERHEAD + u64::from(vcpus) * OVERHEAD_OF_A_VCPU;
    ensure!(peak > 0 && peak < most, "the process took {} KiB\n{ended}", peak >> 10);
    for log in [stage.console(), stage.path().join("console.log.old")] {
        let len = fs::metadata(&log).with_context(|| format!("there is no {}", log.display()))?.len();
        ensure!(len < LOG, "{} has {len} bytes", log.display());
    }
    ensure!(ended.err().len() < SAID, "{} bytes are said of mistakes", ended.err().len());
    ended.complains("made a mistake")?.exits(0)?;
    Ok(())
}
