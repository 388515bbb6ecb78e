//! What users get wrong is said before anything starts, with exit status 2.

use anyhow::Result;
use embedded::WORKOUT;
use images::{Recipe, Silent, Store};
use ringfence_stories::{Ringfence, Stage, Story};

pub const STORIES: &[Story] = &[
    Story::once("mistakes::no_kernel", no_kernel),
    Story::once("mistakes::a_truncated_kernel", a_truncated_kernel),
    Story::once("mistakes::an_initrd_larger_than_memory", an_initrd_larger_than_memory),
    Story::once("mistakes::memory", memory),
    Story::once("mistakes::words", words),
    Story::once("mistakes::engines_and_vcpus", engines_and_vcpus),
];

/// The command is refused with these words, and nothing was started: not even a console log is there.
fn refused(stage: &Stage, run: Ringfence, words: &[&str]) -> Result<()> {
    let mut ended = run.run()?.exits(2)?.prints("")?;
    for word in words {
        ended = ended.complains(word)?;
    }
    let log = stage.console();
    anyhow::ensure!(
        !log.exists() || std::fs::metadata(&log)?.len() == 0,
        "the guest wrote something\n{ended}"
    );
    Ok(())
}

fn debian_kernel() -> Result<Vec<u8>> {
    Ok(Store::open_default()?.ensure(Recipe::of("debian")?, embedded::AGENT, &mut Silent)?.kernel)
}

fn no_kernel(stage: &Stage) -> Result<()> {
    for (name, bytes) in [("text", &b"#!/bin/sh\n"[..]), ("empty", b""), ("program", WORKOUT)] {
        let file = stage.file(name, bytes)?;
        refused(stage, stage.ringfence(["--kernel"]).arg(file), &["error:", name])?;
    }
    let run = stage.ringfence(["--kernel"]).arg(stage.path().join("absent"));
    refused(stage, run, &["absent", "No such file"])?;
    refused(stage, stage.ringfence(["--kernel"]).arg(stage.path()), &["error:"])
}

fn a_truncated_kernel(stage: &Stage) -> Result<()> {
    let kernel = debian_kernel()?;
    for length in [0x200, 0x1000, kernel.len() / 2, kernel.len() - 4096] {
        let file = stage.file("short", &kernel[..length])?;
        refused(stage, stage.ringfence(["--kernel"]).arg(file), &["short"])?;
    }
    Ok(())
}

fn an_initrd_larger_than_memory(stage: &Stage) -> Result<()> {
    let initrd = stage.file("initrd", vec![0; 140 << 20])?;
    let run = stage.ringfence(["debian", "--memory", "128M", "--initrd"]).arg(&initrd);
    refused(stage, run, &["initrd", "memory"])
}

fn memory(stage: &Stage) -> Result<()> {
    refused(stage, stage.ringfence(["debian", "--memory", "8M"]), &["memory", "hint:"])?;
    refused(stage, stage.ringfence(["debian", "--memory", "4K"]), &["memory"])?;
    refused(stage, stage.ringfence(["debian", "--memory", "16777215T"]), &["memory"])?;
    refused(stage, stage.ringfence(["debian", "--memory", "lots"]), &["lots", "512M"])
}

fn words(stage: &Stage) -> Result<()> {
    refused(stage, stage.ringfence(["debain"]), &["debain", "ringfence image list"])?;
    refused(stage, stage.ringfence(["debian", "--cpu", "pentium"]), &["pentium", "x86-64-v2"])?;
    refused(stage, stage.ringfence(["debian", "--engine", "steam"]), &["steam", "interpret"])?;
    refused(stage, stage.ringfence(["debian", "--timeout", "0"]), &["--timeout"])?;
    refused(stage, stage.ringfence(["selftest", "--", "true"]), &["selftest"])?;
    refused(stage, stage.ringfence(["gnumach", "--", "true"]), &["no user space"])
}

fn engines_and_vcpus(stage: &Stage) -> Result<()> {
    refused(stage, stage.ringfence(["debian", "--vcpus", "0"]), &["vCPU"])?;
    refused(stage, stage.ringfence(["debian", "--vcpus", "100000"]), &["vCPU"])
}
