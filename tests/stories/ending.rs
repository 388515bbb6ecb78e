//! The ways in which a machine ends that nobody wished for: each has an exit status of its own, and a message that
//! says what happened and names the console log.

use anyhow::Result;
use nix::sys::signal::Signal;
use ringfence_stories::{Ended, Stage, Story};

pub const STORIES: &[Story] = &[
    Story::fast("ending::the_kernel_panics", the_kernel_panics),
    Story::each("ending::no_init", no_init),
    Story::each("ending::triple_fault", triple_fault),
    Story::each("ending::time_out", time_out),
    Story::each("ending::user_space_is_never_reached", user_space_is_never_reached),
    Story::fast("ending::the_guest_turns_itself_off", the_guest_turns_itself_off),
    Story::each("ending::terminated", terminated),
];

fn tells(stage: &Stage, ended: Ended, status: u8, words: &str) -> Result<()> {
    ended.exits(status)?.complains(words)?.complains(&stage.console().to_string_lossy())?;
    Ok(())
}

fn the_kernel_panics(stage: &Stage) -> Result<()> {
    let ended = stage.shell("echo c > /proc/sysrq-trigger").run()?;
    tells(stage, ended, 200, "panicked: sysrq triggered crash")
}

fn no_init(stage: &Stage) -> Result<()> {
    let ended = stage.ringfence(["debian", "--append", "rdinit=/no/such/init", "--", "true"]).run()?;
    tells(stage, ended, 200, "panicked: VFS: Unable to mount root fs")
}

fn triple_fault(stage: &Stage) -> Result<()> {
    let ended = stage.ringfence(["selftest", "--append", "crash=triple"]).run()?;
    tells(stage, ended, 201, "triple fault")
}

/// A guest that sleeps for good, and one that does not even sleep.
fn time_out(stage: &Stage) -> Result<()> {
    for crash in ["crash=hang", "crash=spin"] {
        let ended = stage.ringfence(["selftest", "--append", crash, "--timeout", "2"]).run()?;
        tells(stage, ended, 202, "time-out of 2s")?;
    }
    Ok(())
}

fn user_space_is_never_reached(stage: &Stage) -> Result<()> {
    let words = ["debian", "--append", "initcall_debug rdinit=/bin/cat", "--boot-timeout", "1", "--", "true"];
    let ended = stage.ringfence(words).run()?;
    tells(stage, ended, 203, "never started")
}

fn the_guest_turns_itself_off(stage: &Stage) -> Result<()> {
    let ended = stage.shell("poweroff -f; sleep 100").run()?;
    tells(stage, ended, 204, "turned the machine off")?;
    let ended = stage.shell("reboot -f; sleep 100").run()?;
    tells(stage, ended, 204, "reset the machine")
}

/// A polite end from outside, while the guest is busy.
fn terminated(stage: &Stage) -> Result<()> {
    let run = stage.ringfence(["selftest", "--append", "crash=spin"]).start()?;
    run.wait_for("selftest")?.signal(Signal::SIGTERM)?.end()?.exits(143)?;
    Ok(())
}
