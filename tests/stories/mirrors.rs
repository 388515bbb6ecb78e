//! User space in mirrors from its first instruction: not when it pays, but always.

use anyhow::{Context, Result, ensure};
use ringfence_stories::{Live, Stage, Story};
use translate::Mirrored;

pub const STORIES: &[Story] = &[
    Story::once("mirrors::programs_do_what_they_do", programs_do_what_they_do).alone(),
    Story::once("mirrors::programs_do_so_on_two_cpus", programs_do_so_on_two_cpus).alone(),
];

/// Pipes, processes, text, numbers, hashes: what the shell of the host and of the guest agree on.
const SCRIPTS: [&str; 5] = [
    "seq 1 3000 | sort -rn | md5sum",
    "seq 1 200 | while read n; do echo $((n * n)); done | sha256sum",
    "seq 1 2000 | awk '{ s += $1 * 1.5 / 7 } END { printf \"%.6f\\n\", s }'",
    "seq 1 5000 | gzip -c | gunzip -c | md5sum",
    "sh -c 'for i in 1 2 3 4; do (seq $i 999 | wc -c) & wait; done'",
];

fn programs_do_what_they_do(_: &Stage) -> Result<()> {
    agree(1)
}

fn programs_do_so_on_two_cpus(_: &Stage) -> Result<()> {
    agree(2)
}

fn agree(vcpus: u32) -> Result<()> {
    let mut guest = Live::boot_on(&Mirrored { far: false }, vcpus, vec![])?;
    for script in SCRIPTS {
        let native = std::process::Command::new("sh").args(["-c", script]).output().context(script)?;
        let native = String::from_utf8(native.stdout)?;
        let said = guest.say(script)?;
        ensure!(said.trim() == native.trim(), "{script}: {said:?} instead of {native:?}");
    }
    guest.say(SPIN)?;
    Ok(())
}

/// Processes that compute at the same time, each interrupted by the clock, and one that is killed.
const SPIN: &str = "yes >/dev/null & y=$!; for i in 1 2 3; do sha256sum /bin/busybox >/dev/null & done; sleep 1; kill $y; wait";
