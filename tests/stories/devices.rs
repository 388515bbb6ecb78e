//! Devices that the kernel's own drivers find: what the guest does with them, and what the host's end sees.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base::Bell;
use ringfence_stories::{Live, Stage, Story};
use virtio::{Balloon, Console, Port, Rng, VirtioPci, back};

pub const STORIES: &[Story] = &[
    Story::fast(
        "devices::a_balloon_takes_memory_and_gives_it_back",
        a_balloon_takes_memory_and_gives_it_back,
    )
    .alone(),
    Story::fast("devices::programs_talk_through_a_channel", programs_talk_through_a_channel).alone(),
    Story::each("devices::random_numbers_come_from_the_host", random_numbers_come_from_the_host).alone(),
];

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(300);

fn wait(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !done() {
        ensure!(Instant::now() < until, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn free(guest: &mut Live) -> Result<u64> {
    let said = guest.say("sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")?;
    Ok(said.trim().parse::<u64>().with_context(|| format!("no number: {said}"))? << 10)
}

fn a_balloon_takes_memory_and_gives_it_back(stage: &Stage) -> Result<()> {
    let (balloon, handle) = Balloon::new()?;
    let mut guest = Live::boot(stage, vec![VirtioPci::plug(balloon)])?;
    let before = free(&mut guest)?;
    handle.set_target(64 * MIB);
    wait("the guest to give memory", || handle.actual() == 64 * MIB)?;
    let less = free(&mut guest)?;
    ensure!(less < before - 56 * MIB, "the guest has as much as before: {less} free, {before} then");
    handle.refresh();
    wait("statistics", || handle.statistics().get(4).is_some_and(|free| free.abs_diff(less) < 16 * MIB))?;
    handle.set_target(0);
    wait("the guest to take memory back", || handle.actual() == 0)?;
    let more = free(&mut guest)?;
    ensure!(more > less + 56 * MIB, "the guest has less than before: {more} free, {less} then");
    guest.say("dd if=/dev/zero of=/tmp/large bs=1M count=200 2>/dev/null && rm /tmp/large")?;
    Ok(())
}

/// What is on its way to the guest, and what has come from it.
type Bytes = (VecDeque<u8>, Vec<u8>);

/// The host's end of a port.
#[derive(Clone)]
struct Ends(Arc<(Mutex<Bytes>, Bell)>);

impl Ends {
    fn new() -> Result<Self> {
        Ok(Self(Arc::new((Mutex::default(), Bell::new()?))))
    }

    fn with<R>(&self, action: impl FnOnce(&mut VecDeque<u8>, &mut Vec<u8>) -> R) -> R {
        let mut ends = self.0.0.lock().expect("nobody fails with the lock");
        let (to_guest, from_guest) = &mut *ends;
        action(to_guest, from_guest)
    }

    fn heard(&self) -> String {
        self.with(|_, heard| String::from_utf8_lossy(heard).into_owned())
    }
}

impl back::Console for Ends {
    fn write(&mut self, bytes: &[u8]) -> usize {
        self.with(|_, heard| heard.extend(bytes));
        bytes.len()
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        self.with(|waiting, _| {
            let len = into.len().min(waiting.len());
            into.iter_mut().zip(waiting.drain(..len)).for_each(|(to, from)| *to = from);
            len
        })
    }
    fn connected(&self) -> bool {
        true
    }
    fn answer(&mut self) {
        self.0.1.answer();
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.0.1.as_fd()
    }
}

fn programs_talk_through_a_channel(stage: &Stage) -> Result<()> {
    let (terminal, channel) = (Ends::new()?, Ends::new()?);
    let ports = vec![
        Port::terminal(Box::new(terminal.clone())),
        Port::channel(Box::new(channel.clone()), "org.ringfence.test"),
    ];
    let mut guest = Live::boot(stage, vec![VirtioPci::plug(Console::new(ports))])?;
    guest.say("echo on the terminal >/dev/hvc0")?;
    wait("the terminal", || terminal.heard().contains("on the terminal"))?;
    guest.say("name=$(grep -l org.ringfence.test /sys/class/virtio-ports/*/name); port=$(dirname $name)")?;
    guest.say("exec 3<>/dev/${port##*/}; echo question >&3")?;
    wait("the question", || channel.heard() == "question\n")?;
    channel.with(|waiting, _| waiting.extend(b"an answer\n"));
    channel.0.1.ring();
    let said = guest.say("head -n 1 <&3")?;
    ensure!(said.contains("an answer\n"), "the guest heard {said:?}");
    // More than any buffer on the way holds, and back.
    guest.say("seq 100000 >&3")?;
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    wait("all numbers", || channel.heard().len() == "question\n".len() + numbers.len())?;
    ensure!(channel.heard().ends_with(&numbers), "numbers are missing");
    Ok(())
}

fn random_numbers_come_from_the_host(stage: &Stage) -> Result<()> {
    let mut guest = Live::boot(stage, vec![VirtioPci::plug(Rng::default())])?;
    let said =
        guest.say("cat /sys/class/misc/hw_random/rng_current; head -c 100000 /dev/hwrng | gzip | wc -c")?;
    let mut lines = said.lines();
    ensure!(lines.next() == Some("virtio_rng.0"), "{said}");
    let squeezed: usize = lines.next().unwrap_or("").trim().parse().with_context(|| said.clone())?;
    ensure!(squeezed > 99_000, "what comes is not random: {squeezed} of 100000 bytes are left by gzip");
    Ok(())
}
