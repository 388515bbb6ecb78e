//! Machines that are reached from outside while they run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringfence_stories::{Ended, Ringfence, Running, Stage, Story};
use serde_json::Value;

pub const STORIES: &[Story] = &[
    Story::each(
        "life::commands_run_in_a_machine_in_the_background",
        commands_run_in_a_machine_in_the_background,
    ),
    Story::fast("life::several_commands_at_once", several_commands_at_once),
    Story::fast("life::a_disk_and_an_interface_come_and_go", a_disk_and_an_interface_come_and_go),
    Story::each("life::a_guest_reboots_in_place", a_guest_reboots_in_place),
    Story::fast("life::a_reboot_can_be_the_end", a_reboot_can_be_the_end),
    Story::fast(
        "life::the_console_of_a_machine_in_the_background",
        the_console_of_a_machine_in_the_background,
    ),
    Story::each("life::a_machine_is_paused_and_goes_on", a_machine_is_paused_and_goes_on),
    Story::fast("life::the_power_button_reaches_the_guest", the_power_button_reaches_the_guest),
    Story::fast("life::a_balloon_takes_memory", a_balloon_takes_memory),
    Story::fast("life::a_plug_is_pulled", a_plug_is_pulled),
    Story::once("life::what_a_dead_machine_leaves_is_swept", what_a_dead_machine_leaves_is_swept),
    Story::once("life::mistakes", mistakes),
];

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine with a name of its own. It is gone when this is.
struct Machine {
    name: String,
}

impl Machine {
    fn name() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("story-{}-{number}", std::process::id()) }
    }

    /// In the background.
    fn start(stage: &Stage, words: &[&str]) -> Result<Self> {
        let machine = Self::name();
        let run = stage.ringfence(["--detach", "--name", &machine.name]).args(words);
        run.run()?.exits(0)?.prints(format!("{}\n", machine.name))?;
        Ok(machine)
    }

    /// `ringfence COMMAND NAME`, for more words to follow.
    fn command(&self, command: &str) -> Ringfence {
        Ringfence::new([command, "--quiet", &self.name])
    }

    fn exec(&self, script: &str) -> Ringfence {
        self.command("exec").args(["--", "sh", "-c", script])
    }

    /// What a script in the guest prints.
    fn say(&self, script: &str) -> Result<String> {
        Ok(self.exec(script).run()?.exits(0)?.out().trim_end().to_owned())
    }

    /// What `ps` says of it, if it is there.
    fn facts(&self) -> Result<Option<Value>> {
        let all = Ringfence::new(["ps", "--json"]).run()?.exits(0)?;
        let all: Vec<Value> = serde_json::from_slice(&all.stdout)?;
        Ok(all.into_iter().find(|facts| facts["name"] == self.name))
    }

    /// Waits until something holds of what `ps` says.
    fn wait(&self, what: &str, holds: impl Fn(Option<&Value>) -> bool) -> Result<Option<Value>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let facts = self.facts()?;
            if holds(facts.as_ref()) {
                return Ok(facts);
            }
            ensure!(Instant::now() < until, "waited too long for {what}: {facts:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for_state(&self, state: &str) -> Result<Value> {
        let facts = self.wait(state, |facts| facts.is_some_and(|facts| facts["state"] == state))?;
        facts.context("it is gone")
    }

    fn wait_until_gone(&self) -> Result<()> {
        self.wait("its end", |facts| facts.is_none()).map(|_| ())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has mostly ended by itself.
        let _ = self.command("kill").run();
    }
}

fn commands_run_in_a_machine_in_the_background(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["debian"])?;
    let facts = machine.facts()?.context("ps does not know it")?;
    ensure!(facts["image"] == "debian" && facts["memory"] == 512 << 20, "{facts}");
    ensure!(facts["detached"] == true && facts["pid"].as_i64().is_some_and(|pid| pid > 1), "{facts}");
    let ended = machine.exec("uname -s; echo error >&2; exit 7").run()?;
    ended.exits(7)?.prints("Linux\n")?.complains("error\n")?;
    machine.wait_for_state("running")?;
    machine.exec("tr a-z A-Z").stdin("from the host\n").run()?.exits(0)?.prints("FROM THE HOST\n")?;
    machine.exec("kill -9 $$").run()?.exits(137)?;
    machine.command("exec").args(["--", "no-such-command"]).run()?.exits(127)?;
    // Larger than all buffers on the way, both ways, and byte for byte.
    let bytes: Vec<u8> = (0..3 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    machine.exec("cat").stdin(&bytes[..]).run()?.exits(0)?.prints(&bytes)?;
    machine.say("echo kept >/tmp/file")?;
    ensure!(machine.say("cat /tmp/file")? == "kept", "it is another guest");
    machine.command("stop").run()?.exits(0)?;
    ensure!(machine.facts()?.is_none(), "it is off, and ps knows it still");
    // One that is asked while it boots goes off as soon as it can.
    Machine::start(stage, &["debian"])?.command("stop").args(["--timeout", "5m"]).run()?.exits(0)?;
    machine.exec("true").run()?.exits(2)?.complains("no machine named")?;
    Ok(())
}

fn several_commands_at_once(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["debian"])?;
    // Each waits for the next one, so they must run side by side.
    let script = |number: u32| {
        format!(
            "touch /tmp/{number}; until [ -e /tmp/{} ]; do sleep 0.1; done; seq 20000; exit {number}",
            number + 1
        )
    };
    let running: Vec<Running> =
        (0..4).map(|number| machine.exec(&script(number)).start()).collect::<Result<_>>()?;
    machine.say("touch /tmp/4")?;
    let lines: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    for (number, running) in (0..).zip(running) {
        running.end()?.exits(number)?.prints(&lines)?;
    }
    // A client that goes takes its command with it, and nothing else.
    let client = machine.exec("echo here; exec sleep 1000").start()?.wait_for("here")?;
    client.signal(Signal::SIGKILL)?.end()?;
    machine.say("until ! pidof sleep; do sleep 0.1; done >/dev/null")?;
    Ok(())
}

fn a_disk_and_an_interface_come_and_go(stage: &Stage) -> Result<()> {
    let path = stage.file("disk.img", vec![0; 4 << 20])?;
    let machine = Machine::start(stage, &["debian"])?;
    let await_disk = "for n in $(seq 600); do [ -b /dev/vda ] && break; sleep 0.1; done; [ -b /dev/vda ]";
    machine.say("true")?;
    machine.command("attach").arg("--disk").arg(&path).run()?.exits(0)?.prints("disk0\n")?;
    machine.say(await_disk)?;
    machine.say("echo written in the guest | dd of=/dev/vda conv=sync,fsync 2>/dev/null")?;
    let facts = machine.facts()?.context("it is gone")?;
    let disk =
        facts["devices"].as_array().context("no devices")?.iter().find(|device| device["id"] == "disk0");
    ensure!(disk.is_some_and(|disk| disk["kind"] == "disk"), "{facts}");
    machine.command("detach").args(["disk0", "--timeout", "5m"]).run()?.exits(0)?;
    ensure!(std::fs::read(&path)?.starts_with(b"written in the guest\n"), "the disk is empty");
    machine.say("[ ! -e /dev/vda ]")?;
    machine.command("detach").arg("disk0").run()?.exits(2)?.complains("no device `disk0`")?;
    machine.command("attach").args(["--net", "user"]).run()?.exits(0)?.prints("net1\n")?;
    machine.say("for n in $(seq 600); do [ -e /sys/class/net/eth1 ] && break; sleep 0.1; done")?;
    machine.say("ip link set eth1 up; udhcpc -n -q -t 10 -i eth1 -s /bin/true 2>/dev/null")?;
    machine.command("detach").args(["net1", "--timeout", "5m"]).run()?.exits(0)?;
    machine.command("detach").arg("rng").run()?.exits(2)?.complains("part of the machine")?;
    Ok(())
}

fn a_guest_reboots_in_place(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["debian"])?;
    machine.say("echo before >/tmp/file")?;
    let pid = machine.wait_for_state("running")?["pid"].clone();
    for times in 1..=stage.length(2, 1) {
        machine.exec("reboot -f; sleep 1000").run()?.exits(204)?.complains("went away")?;
        let facts = machine.wait("a reboot", |facts| facts.is_some_and(|facts| facts["reboots"] == times))?;
        ensure!(facts.is_some_and(|facts| facts["pid"] == pid), "another process");
        // It is a new boot, with the devices of before.
        machine.say("[ ! -e /tmp/file ] && until ping -c 1 -W 1 10.0.2.2; do sleep 0.1; done")?;
    }
    machine.command("stop").run()?.exits(0)?;
    Ok(())
}

fn a_reboot_can_be_the_end(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["--no-reboot", "debian"])?;
    machine.exec("reboot -f; sleep 1000").run()?.exits(204)?;
    machine.wait_until_gone()
}

fn the_console_of_a_machine_in_the_background(stage: &Stage) -> Result<()> {
    // Without a channel to the host the agent gives the console a shell.
    let machine = Machine::start(stage, &["debian", "--append", "ringfence.channel=none"])?;
    let console = machine.command("console").keyboard().start()?;
    // Who comes later sees what was written before.
    let console = console.wait_for("Linux version")?.wait_for("# ")?.types("echo $((6 * 7 + 1000))\n")?;
    let second = machine.command("console").keyboard().start()?.wait_for("1042")?;
    let ended = console.wait_for("1042")?.types("\x1d")?.end()?.exits(0)?;
    ensure!(!ended.out().contains("bytes are lost"), "{ended}");
    let second = second.types("poweroff -f\n")?;
    second.end()?.exits(0)?;
    machine.wait_until_gone()
}

fn a_machine_is_paused_and_goes_on(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["debian"])?;
    let counting = machine.exec("n=0; while [ ! -e /tmp/end ]; do n=$((n + 1)); echo $n; sleep 0.05; done");
    let counting = counting.start()?.wait_for("3\n")?;
    machine.command("pause").run()?.exits(0)?;
    machine.wait_for_state("paused")?;
    machine.command("resume").run()?.exits(0)?;
    machine.wait_for_state("running")?;
    machine.say("touch /tmp/end")?;
    let counted = counting.end()?.exits(0)?.out();
    let numbers: Vec<u32> = counted.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(numbers.iter().copied().eq(1..=numbers.len() as u32), "numbers are missing: {counted}");
    Ok(())
}

fn the_power_button_reaches_the_guest(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["debian"])?;
    // Nobody in this guest heeds it, but its kernel sees it.
    let pressed = "grep -c STS /sys/firmware/acpi/interrupts/ff_pwr_btn; true";
    ensure!(machine.say(pressed)? == "0", "it was pressed before");
    let ended = machine.command("stop").args(["--button", "--timeout", "1"]).run()?;
    ended.exits(1)?.complains("does not obey")?.complains("ringfence kill")?;
    ensure!(machine.say(pressed)? == "1", "the guest knows of no button");
    ensure!(machine.wait_for_state("stopping")?["reboots"] == 0, "it rebooted");
    Ok(())
}

fn a_balloon_takes_memory(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["--balloon", "debian"])?;
    machine.say("true")?;
    machine.command("balloon").arg("64M").run()?.exits(0)?;
    machine.wait("memory", |facts| facts.is_some_and(|facts| facts["balloon"] == 64 << 20))?;
    machine.command("balloon").arg("1T").run()?.exits(2)?.complains("cannot give")?;
    machine.command("balloon").arg("0").run()?.exits(0)?;
    machine.wait("memory", |facts| facts.is_some_and(|facts| facts["balloon"] == 0))?;
    Ok(())
}

fn a_plug_is_pulled(stage: &Stage) -> Result<()> {
    let machine = Machine::name();
    let run = stage.ringfence(["--name", &machine.name, "debian", "--", "sh", "-c", "echo up; sleep 1000"]);
    let run = run.start()?.wait_for("up")?;
    ensure!(machine.wait_for_state("running")?["detached"] == false, "it is not in the background");
    let again = stage.beside(["--name", &machine.name, "debian", "--", "true"]).run()?;
    again.exits(2)?.complains("is running already")?;
    machine.command("kill").run()?.exits(0)?;
    run.end()?.exits(137)?;
    machine.wait_until_gone()
}

fn what_a_dead_machine_leaves_is_swept(stage: &Stage) -> Result<()> {
    let machine = Machine::start(stage, &["selftest", "--append", "crash=hang"])?;
    let facts = machine.facts()?.context("ps does not know it")?;
    let pid = Pid::from_raw(facts["pid"].as_i64().context("no pid")?.try_into()?);
    kill(pid, Signal::SIGKILL)?;
    machine.wait_until_gone()?;
    // A process that dies may have closed its socket and hold its lock still: it is there, and does not answer.
    let until = Instant::now() + PATIENCE;
    let stopped = loop {
        let ended = machine.command("stop").run()?;
        if !ended.err().contains("does not answer") || Instant::now() > until {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    stopped.exits(2)?.complains("no machine named")?;
    // Its name is free.
    stage.ringfence(["--name", &machine.name, "selftest", "--append", "exit=16"]).run()?.exits(0)?;
    Ok(())
}

fn mistakes(stage: &Stage) -> Result<()> {
    let run = |words: &[&str]| -> Result<Ended> { Ringfence::new(words).run() };
    for command in ["stop", "kill", "pause", "resume", "console"] {
        run(&[command, "no-such-machine"])?.exits(2)?.complains("`ringfence ps` lists")?;
    }
    run(&["stop", "../x"])?.exits(2)?.complains("cannot be a machine's name")?;
    run(&["run", "--detach", "debian", "--", "true"])?.exits(2)?.complains("cannot be used with")?;
    // What goes wrong before it runs is said, and nothing is left.
    let machine = Machine::name();
    let failed =
        stage.ringfence(["--detach", "--name", &machine.name, "--kernel", "/no/such/kernel"]).run()?;
    failed.exits(2)?.prints("")?.complains("/no/such/kernel")?;
    let Some(facts) = machine.facts()? else { return Ok(()) };
    bail!("something runs: {facts}")
}
