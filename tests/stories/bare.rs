//! Kernels without anything else.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::each("bare::gnu_mach_prints_its_banner", gnu_mach_prints_its_banner),
    Story::each("bare::memtest_tests", memtest_tests),
];

fn gnu_mach_prints_its_banner(stage: &Stage) -> Result<()> {
    let ended = stage.ringfence(["gnumach"]).run()?;
    ensure!(ended.out().contains("GNU Mach 1.8"), "{ended}");
    // Alone, without the servers of a GNU system, it gives up.
    ended.exits(200)?;
    Ok(())
}

fn memtest_tests(stage: &Stage) -> Result<()> {
    // The screen is drawn with cursor moves; its title is drawn at once, and the name of a test when that begins.
    let run = stage.ringfence(["memtest86+", "--memory", "64M"]).start()?;
    run.wait_for("Memtest86+")?.wait_for("Pass")?.wait_for("Test")?.signal(Signal::SIGTERM)?.end()?.exits(143)?;
    Ok(())
}
