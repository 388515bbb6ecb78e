//! Devices come and go while a Debian runs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use backend::block::{Disk, Format, Options, Source};
use backend::net;
use machine::pci::Plug;
use ringfence_stories::{Holdings, Live, Stage, Story};
use virtio::{Blk, Net, Rng, VirtioPci};

pub const STORIES: &[Story] = &[
    Story::each("hotplug::a_disk_again_and_again", a_disk_again_and_again).alone(),
    Story::fast("hotplug::a_network_interface_again_and_again", a_network_interface_again_and_again).alone(),
    Story::fast("hotplug::nothing_is_left_on_the_host", nothing_is_left_on_the_host).alone(),
];

/// How often each comes and goes where the stories are told in full, and elsewhere.
const ROUNDS: (usize, usize) = (10, 2);
/// What comes and goes takes all of its own with it: descriptors, threads, mappings, memory.
fn nothing_is_left_on_the_host(stage: &Stage) -> Result<()> {
    let path = stage.file("disk.img", vec![0; 4 << 20])?;
    let mut guest = Live::boot(stage, vec![VirtioPci::plug(Rng::default())])?;
    // The first rounds fill caches: the allocator's, the translator's, the guest's.
    let mut before = None;
    for round in 0..stage.length(ROUNDS.0, ROUNDS.1) + 2 {
        if round == 2 {
            before = Some(Holdings::own()?);
        }
        let slots = [guest.vm.plug(disk(&path)?)?, guest.vm.plug(interface()?)?];
        guest.say(
            "for n in $(seq 600); do [ -b /dev/vda ] && [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done",
        )?;
        guest.say("dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null; ip link set eth0 up")?;
        guest.say("udhcpc -n -q -t 10 -i eth0 -s /bin/true 2>/dev/null")?;
        for slot in slots {
            ensure!(
                guest.vm.unplug(slot, Duration::from_secs(300)),
                "round {round}: the guest keeps a device"
            );
        }
        guest.say("for n in $(seq 600); do [ -b /dev/vda ] || break; sleep 0.1; done; [ ! -b /dev/vda ]")?;
    }
    // A translator's maps and code grow with what the guest runs; what devices leave is the same on every engine.
    let translates = stage.engine().is_some_and(|engine| engine.name == "translate");
    let most = if translates { 128 << 20 } else { 8 << 20 };
    before.context("there are more than two rounds")?.come_back(most)
}

fn disk(path: &std::path::Path) -> Result<Plug> {
    let disk = Disk::open(&Source::new(path, Format::Raw), &Options::default())?;
    Ok(VirtioPci::plug(Blk::new(Box::new(disk), 1, "the plugged disk")))
}

fn interface() -> Result<Plug> {
    let opened = net::open(&"user".parse()?, &[], None)?.context("there is no such network")?;
    Ok(VirtioPci::plug(Net::new(opened.net, 1, "the plugged interface")))
}

fn no_complaints(guest: &mut Live) -> Result<()> {
    let complaints = guest.say("dmesg | grep -iE 'warn|bug|error|fail|leak'; true")?;
    ensure!(complaints.trim().is_empty(), "the kernel complains:\n{complaints}");
    Ok(())
}

fn a_disk_again_and_again(stage: &Stage) -> Result<()> {
    let path = stage.file("disk.img", vec![0; 4 << 20])?;
    // A device from the start, so that the guest has the drivers.
    let mut guest = Live::boot(stage, vec![VirtioPci::plug(Rng::default())])?;
    guest.say("dmesg -c >/dev/null")?;
    let mut slots = vec![];
    for round in 0..stage.length(ROUNDS.0, ROUNDS.1) {
        let slot = guest.vm.plug(disk(&path)?)?;
        guest.say("for n in $(seq 600); do [ -b /dev/vda ] && break; sleep 0.1; done; [ -b /dev/vda ]")?;
        let text = format!("round {round}");
        let script =
            format!("printf '{text}' | dd of=/dev/vda bs=512 seek={round} conv=sync,fsync 2>/dev/null");
        guest.say(&script)?;
        ensure!(guest.vm.unplug(slot, Duration::from_secs(300)), "round {round}: the guest keeps the disk");
        guest.say("for n in $(seq 600); do [ -b /dev/vda ] || break; sleep 0.1; done; [ ! -b /dev/vda ]")?;
        let found = std::fs::read(&path)?;
        ensure!(found[512 * round..].starts_with(text.as_bytes()), "round {round}: nothing was written");
        slots.push(slot);
    }
    ensure!(slots.iter().all(|slot| *slot == slots[0]), "slots are not free again: {slots:?}");
    no_complaints(&mut guest)
}

fn a_network_interface_again_and_again(stage: &Stage) -> Result<()> {
    let mut guest = Live::boot(stage, vec![VirtioPci::plug(Rng::default())])?;
    guest.say("dmesg -c >/dev/null")?;
    for round in 0..stage.length(ROUNDS.0, ROUNDS.1) {
        let slot = guest.vm.plug(interface()?)?;
        guest.say("for n in $(seq 600); do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done")?;
        // An address by DHCP: frames go both ways.
        guest.say("ip link set eth0 up; udhcpc -n -q -t 10 -i eth0 -s /bin/true 2>/dev/null")?;
        ensure!(
            guest.vm.unplug(slot, Duration::from_secs(300)),
            "round {round}: the guest keeps the interface"
        );
        guest.say("for n in $(seq 600); do [ -e /sys/class/net/eth0 ] || break; sleep 0.1; done; [ ! -e /sys/class/net/eth0 ]")?;
    }
    no_complaints(&mut guest)
}
