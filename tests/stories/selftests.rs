//! Our own small kernel, which checks the machine it runs on.

use anyhow::{Result, ensure};
use ringfence_stories::{Stage, Story};
use selftest::{FAILURE, Report, SUCCESS};

pub const STORIES: &[Story] = &[
    Story::each("selftest::everything_passes", everything_passes),
    Story::each("selftest::its_verdict_is_the_exit_status", its_verdict_is_the_exit_status),
    Story::each("selftest::input_is_echoed", input_is_echoed),
];

fn everything_passes(stage: &Stage) -> Result<()> {
    let ended = stage.with_all_vcpus(["selftest", "--append", "trace"]).run()?;
    let report = Report::parse(&ended.out());
    ensure!(report.failed.is_empty(), "{:#?}\n{ended}", report.failed);
    ensure!(report.unfinished.is_none(), "{:?} took the machine down\n{ended}", report.unfinished);
    // What a machine may lack: the quirk of a maker's CPUs.
    let mut reasons: Vec<_> = report.skipped.iter().map(|test| &*test.reason).collect();
    reasons.retain(|reason| *reason != "only AMD's CPUs repeat leaf 1");
    ensure!(reasons.is_empty(), "skipped: {reasons:#?}");
    ensure!(report.is_success(), "{ended}");
    ended.exits(0)?;
    Ok(())
}

/// What a guest writes to the debug-exit port is 2N + 1 outside, as in QEMU; the self-test's own two words mean more.
fn its_verdict_is_the_exit_status(stage: &Stage) -> Result<()> {
    for (code, status) in [(SUCCESS, 0), (FAILURE, 206), (3, 7), (0, 1), (0x7f, 255)] {
        stage.ringfence(["selftest", "--append", &format!("exit={code}")]).run()?.exits(status)?;
    }
    stage.ringfence(["selftest", "--append", "test=no.such.test"]).run()?.exits(206)?;
    Ok(())
}

fn input_is_echoed(stage: &Stage) -> Result<()> {
    // What comes before the guest has set its port up is lost, as on any serial line.
    let text = "the quick brown fox jumps over the lazy dog\n".repeat(40);
    let run = stage.ringfence(["selftest", "--append", "echo"]).keyboard().start()?;
    let ended = run.wait_for("echo until '.'")?.types(&text)?.types(".")?.end()?.exits(0)?;
    ensure!(ended.out().replace('\r', "").contains(&text), "{ended}");
    Ok(())
}
