//! Kernels without anything else.

use anyhow::Result;
use nix::sys::signal::Signal;
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::each("bare::gnu_mach_prints_its_banner", gnu_mach_prints_its_banner),
    Story::each("bare::memtest_tests", memtest_tests),
];

fn gnu_mach_prints_its_banner(stage: &Stage) -> Result<()> {
    let run = stage.ringfence(["gnumach"]).start()?.wait_for("GNU Mach 1.8")?;
    // Alone, without the servers of a GNU system, it comes as far as this, and stands still.
    run.wait_for("No bootstrap code loaded with the kernel!")?.signal(Signal::SIGTERM)?.end()?.exits(143)?;
    Ok(())
}

fn memtest_tests(stage: &Stage) -> Result<()> {
    // The screen is drawn with cursor moves; its title is drawn at once, and the name of a test when that begins.
    let run = stage.ringfence(["memtest86+", "--memory", "64M"]).start()?;
    run.wait_for("Memtest86+")?
        .wait_for("Pass")?
        .wait_for("Test")?
        .signal(Signal::SIGTERM)?
        .end()?
        .exits(143)?;
    Ok(())
}
