//! One command in a Debian guest.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use ringfence_stories::{Stage, Story};

pub const STORIES: &[Story] = &[
    Story::each("command::debian_boots_without_a_complaint", debian_boots_without_a_complaint),
    Story::each("command::bytes_go_in_and_come_out", bytes_go_in_and_come_out),
    Story::fast("command::a_script_on_standard_input", a_script_on_standard_input),
    Story::fast("command::a_shell_waits_for_its_jobs", a_shell_waits_for_its_jobs),
    Story::fast("command::ctrl_c_interrupts_it", ctrl_c_interrupts_it),
    Story::fast("command::that_does_not_exist", that_does_not_exist),
];

fn debian_boots_without_a_complaint(stage: &Stage) -> Result<()> {
    let script = r#"uname -a; cat /proc/cpuinfo; dmesg | grep -ciE "warning|bug:|unstable|oops"; exit 7"#;
    let ended = stage.shell(script).run()?.exits(7)?;
    let out = ended.out();
    let lines: Vec<&str> = out.lines().collect();
    ensure!(lines[0].starts_with("Linux ") && lines[0].contains("-cloud-amd64 "), "{ended}");
    ensure!(lines.iter().any(|line| line.starts_with("model name") && line.contains("Ringfence")), "{ended}");
    if lines.last() != Some(&"0") {
        let console = std::fs::read_to_string(stage.console())?;
        let words = ["warning", "bug:", "unstable", "oops"];
        let bad = |line: &&str| words.iter().any(|word| line.to_lowercase().contains(word));
        let bad: Vec<_> = console.lines().filter(bad).collect();
        anyhow::bail!("the kernel complains: {bad:#?}\n{ended}");
    }
    ensure!(ended.stderr.is_empty(), "{ended}");
    Ok(())
}

/// Every byte, and more of them than any buffer on the way holds; standard error goes its own way.
fn bytes_go_in_and_come_out(stage: &Stage) -> Result<()> {
    let mut state = 1u32;
    let noise: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let ended =
        stage.shell("cat; echo all of it >&2").stdin(noise.clone()).run()?.exits(0)?.prints(&noise)?;
    ensure!(ended.err() == "all of it\n", "{ended}");
    Ok(())
}

fn a_script_on_standard_input(stage: &Stage) -> Result<()> {
    let script = "echo one\necho two >&2\nfalse || exit 40\n";
    let ended = stage.ringfence(["debian"]).stdin(script).run()?.exits(40)?.prints("one\n")?;
    ensure!(ended.err() == "two\n", "{ended}");
    Ok(())
}

fn a_shell_waits_for_its_jobs(stage: &Stage) -> Result<()> {
    let script = "(sleep 0.2; exit 3) & sleep 0.1 & wait; wait $!; grep SigBlk /proc/self/status";
    stage.shell(script).run()?.exits(0)?.prints("SigBlk:\t0000000000000000\n")?;
    Ok(())
}

fn ctrl_c_interrupts_it(stage: &Stage) -> Result<()> {
    let run = stage
        .shell("trap 'echo interrupted; exit 42' INT; echo ready; while :; do sleep 0.1; done")
        .start()?;
    let ended = run.wait_for("ready\n")?.signal(Signal::SIGINT)?.end()?;
    ended.exits(42)?.prints("ready\ninterrupted\n")?;
    Ok(())
}

fn that_does_not_exist(stage: &Stage) -> Result<()> {
    stage.ringfence(["debian", "--", "no-such-command"]).run()?.exits(127)?.complains("no-such-command")?;
    Ok(())
}
