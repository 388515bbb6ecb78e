//! Whole systems, installed on a disk by `image build`, which the first of these stories to be told does once.
//!
//! The interpreter takes minutes for a boot; so on each engine a system only comes up, is well and goes down, and what it is
//! used for in between is told on the translator.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use ringfence_stories::{Ringfence, Running, Stage, Story};

pub const STORIES: &[Story] = &[
    Story::each("installed::a_debian_from_login_to_power_off", a_debian_from_login_to_power_off),
    Story::full("installed::a_package_outlives_a_reboot", a_package_outlives_a_reboot),
    Story::once("installed::commands_and_a_layer_that_goes", commands_and_a_layer_that_goes),
    Story::once("installed::a_system_that_is_told_and_kept", a_system_that_is_told_and_kept),
    Story::once("installed::a_disk_of_ones_own", a_disk_of_ones_own),
    Story::once("installed::mistakes", mistakes),
];

const IMAGE: &str = "debian-full";

/// Two that build at once would wait for each other, and run into their limits.
static BUILT: Mutex<bool> = Mutex::new(false);

/// Makes sure that the image is there, and of this version: its first run sees to that.
fn built() -> Result<()> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !*built {
        Ringfence::new(["run", IMAGE, "--", "true"]).limit_minutes(90).run()?.exits(0)?;
        *built = true;
    }
    Ok(())
}

/// A name that no other test uses at the same time.
fn name(stage: &Stage, what: &str) -> String {
    let label = stage.engine().map_or("once", |engine| engine.label);
    format!("story-{what}-{label}-{}", std::process::id())
}

/// A system that is removed when the story is over.
struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        // Where the story failed before the system was there, it is not.
        let _ = Ringfence::new(["image", "rm", &self.0]).run();
    }
}

/// Logs in at the console.
fn log_in(running: Running) -> Result<Running> {
    // Words of the command line that is typed must not look like the answer.
    running
        .wait_for_next("login: ")?
        .types("root\n")?
        .wait_for_next(":~# ")?
        .types("echo I am $(id -un)\n")?
        .wait_for_next("I am root")
}

/// Everything that was to start has started.
fn is_well(running: Running) -> Result<Running> {
    running
        .types("systemctl is-system-running --wait; systemctl --failed --no-legend | wc -l | sed 's/^/failed: /'\n")?
        .wait_for_next("running")?
        .wait_for_next("failed: 0")
}

fn power_off(running: Running) -> Result<()> {
    running.types("poweroff\n")?.wait_for_next("reboot: Power down")?.end()?.exits(0)?;
    Ok(())
}

fn a_debian_from_login_to_power_off(stage: &Stage) -> Result<()> {
    built()?;
    let running = stage.ringfence([IMAGE, "--memory", "1G"]).keyboard().limit_minutes(60).start()?;
    power_off(is_well(log_in(running)?)?)
}

fn a_package_outlives_a_reboot(stage: &Stage) -> Result<()> {
    built()?;
    let kept = Kept(name(stage, "life"));
    let words = [IMAGE, "--memory", "1G", "--keep", &kept.0];
    let running = log_in(stage.with_all_vcpus(words).keyboard().limit_minutes(60).start()?)?;
    let running = is_well(running)?
        .types("apt-get -qq update && apt-get -qq -y install hello >/dev/null 2>&1; hello -g \"$((6 * 7)) greetings\"\n")?
        .wait_for_next("42 greetings")?
        .types("reboot\n")?
        .wait_for_next("reboot: Restarting system")?;
    power_off(log_in(running)?.types("hello -g \"$((6 * 8)) greetings\"\n")?.wait_for_next("48 greetings")?)
}

fn commands_and_a_layer_that_goes(stage: &Stage) -> Result<()> {
    built()?;
    let run = |script: &str| stage.ringfence([IMAGE, "--", "sh", "-c", script]).limit_minutes(60);
    run("echo gone >/mark; sync; cat /mark; exit 7").run()?.exits(7)?.prints("gone\n")?;
    run("cat /mark; findmnt -no FSTYPE,SOURCE /; uname -r >&2")
        .run()?
        .exits(0)?
        .prints("ext4   /dev/vda1\n")?;
    Ringfence::new(["image", "verify", IMAGE]).run()?.exits(0)?;
    Ok(())
}

fn a_system_that_is_told_and_kept(stage: &Stage) -> Result<()> {
    built()?;
    let kept = Kept(name(stage, "kept"));
    let keep = ["--keep", &kept.0];
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA story";
    let file = stage.file("key.pub", format!("{key}\n"))?;
    let told = ["--hostname", "web.example", "--user", "ann", "--ssh-key"];
    let script = "hostname; id -un ann; cat ~ann/.ssh/authorized_keys; stat -c %a:%U ~ann/.ssh; su ann -c 'sudo id -un'
        echo stays >/mark";
    let first = stage.ringfence([IMAGE]).args(keep).args(told).arg(&file).args(["--", "sh", "-c", script]);
    first.limit_minutes(60).run()?.exits(0)?.prints(format!("web.example\nann\n{key}\n700:ann\nroot\n"))?;
    let list = Ringfence::new(["image", "list"]).run()?.exits(0)?;
    ensure!(list.out().contains(&kept.0), "{list}");

    // It goes on, by either way of naming it; and while it runs nobody else has it.
    let busy = stage.ringfence(keep).args(["--", "sh", "-c", "cat /mark; echo ready; read word; echo $word"]);
    let busy = busy.keyboard().limit_minutes(60).start()?.wait_for("stays\nready\n")?;
    let other = stage.beside([&*kept.0, "--", "true"]).run()?.exits(2)?;
    ensure!(other.err().contains("in use"), "{other}");
    let removed = Ringfence::new(["image", "rm", &kept.0]).run()?.exits(1)?;
    ensure!(removed.err().contains("is running"), "{removed}");
    busy.types("over\n")?.end()?.exits(0)?.says("over")?;
    stage.ringfence([&*kept.0, "--", "cat", "/mark"]).limit_minutes(60).run()?.exits(0)?.prints("stays\n")?;

    let wrong = stage.ringfence(["debian"]).args(keep).run()?.exits(2)?;
    ensure!(wrong.err().contains("is a system of the image `debian-full`"), "{wrong}");
    Ok(())
}

/// The image's disk, copied by `disk convert`, is a disk as any other: its kernel is found on it.
fn a_disk_of_ones_own(stage: &Stage) -> Result<()> {
    built()?;
    let list = Ringfence::new(["image", "list", "--json"]).run()?.exits(0)?;
    let images: serde_json::Value = serde_json::from_str(&list.out())?;
    let image = images.as_array().and_then(|all| all.iter().find(|image| image["name"] == IMAGE));
    let disk = image.and_then(|image| image["disk"].as_str()).context("the image has no disk")?;
    let copy = stage.path().join("own.qcow2");
    Ringfence::new(["disk", "convert", "--to", "qcow2", disk]).arg(&copy).run()?.exits(0)?;
    let running = stage.ringfence(["--disk"]).arg(format!("{},format=qcow2", copy.display()));
    power_off(log_in(running.keyboard().limit_minutes(60).start()?)?)?;
    checked(&copy)
}

fn checked(image: &Path) -> Result<()> {
    let check = Command::new("qemu-img").args(["check", "-q"]).arg(image).status();
    ensure!(check.context("cannot run qemu-img")?.success(), "qemu-img finds faults");
    Ok(())
}

fn mistakes(stage: &Stage) -> Result<()> {
    let empty = stage.file("empty.img", vec![0; 1 << 20])?;
    let empty = empty.to_string_lossy().into_owned();
    let named = name(stage, "none");
    let cases: [(&[&str], &str); 7] = [
        (&["debian", "--keep", &named], "has no disk"),
        (&["--keep", &named], "no image is named"),
        (&["debian-full", "--keep", "../x"], "cannot be an image's name"),
        (&["debian", "--hostname", "x"], "is not installed on a disk"),
        (&["debian-full", "--hostname", "a b"], "cannot be a host name"),
        (&["--disk", &empty], "no ext4 file system"),
        (&["--disk", &empty, "--", "true"], "takes commands"),
    ];
    for (words, complaint) in cases {
        stage.ringfence(words).run()?.exits(2)?.complains(complaint)?;
    }
    for (words, complaint) in [
        (&["image", "build", "debian"][..], "fetched, not built"),
        (&["image", "build", "x", "--size", "1M"], "1G at least"),
        (&["image", "build", "x", "--suite", "no/such"], "no suite's code name"),
    ] {
        Ringfence::new(words).run()?.exits(1)?.complains(complaint)?;
    }
    Ok(())
}
