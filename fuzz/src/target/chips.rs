//! Saved records of the chips: arbitrary bytes are refused, or give a chip that can be used and saved again.

use base::{Record, Saved};
use machine::chip::{
    Chip, Destination, I8042, IoApic, LocalApic, MemorySizes, PicPair, Pit, PowerManagement, Rtc,
    SystemControl, Uart,
};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target = Target {
    name: "chips",
    about: "saved records of every chip, and then its registers",
    longest: 1024,
    run,
    seeds,
};

/// Bytes of an input that say what is done with the chip.
const SCRIPT: usize = 96;

/// The chips by number.
const CHIPS: u8 = 9;

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let which = source.byte() % CHIPS;
    let script = Source::new(source.take(SCRIPT));
    let payload = source.rest();
    match which {
        0 => simple(rtc(), payload, script),
        1 => simple(Pit::default(), payload, script),
        2 => simple(PowerManagement::default(), payload, script),
        3 => simple(I8042::default(), payload, script),
        4 => simple(SystemControl::default(), payload, script),
        5 => simple(Uart::default(), payload, script),
        6 => pic(payload, script),
        7 => io_apic(payload, script),
        _ => local_apic(payload, script),
    }
}

fn rtc() -> Rtc {
    Rtc::new(1_700_000_000_000_000_000, MemorySizes { low: 640 << 10, high: 0 })
}

/// Restores; an accepted state must be one that is accepted again, and mean the same.
fn restored<C: Saved>(mut chip: C, payload: &[u8]) -> Option<C> {
    let record = Record { kind: C::KIND.to_owned(), version: C::VERSION, payload: payload.to_vec() };
    chip.restore_record(&record).ok()?;
    saves_again(&mut chip);
    Some(chip)
}

fn saves_again<C: Saved>(chip: &mut C) {
    let saved = chip.to_record();
    chip.restore_record(&saved).expect("a chip accepts what it saved");
    assert_eq!(chip.to_record(), saved, "restoring changes nothing");
}

/// Virtual time: never backwards, and as far as a host's clock can come in a century or a hostile snapshot can claim.
struct Time(u64);

impl Time {
    fn begin(script: &mut Source<'_>) -> Self {
        Self(script.qword() >> script.pick(&[0, 1, 8, 24, 40, 63]))
    }

    fn pass(&mut self, script: &mut Source<'_>) -> u64 {
        let step = u64::from(script.word()) << script.pick(&[0, 4, 16, 24, 32]);
        self.0 = self.0.saturating_add(step);
        self.0
    }
}

/// A chip with byte-wide registers.
fn simple<C: Chip + Saved>(chip: C, payload: &[u8], mut script: Source<'_>) {
    let Some(mut chip) = restored(chip, payload) else { return };
    let mut time = Time::begin(&mut script);
    while !script.is_empty() {
        let now = time.pass(&mut script);
        chip.advance(now);
        let offset = script.word() % 16;
        match script.below(3) {
            0 => chip.write(offset, script.byte(), now),
            1 => drop(chip.read(offset, now)),
            _ => {
                if let Some(deadline) = chip.deadline() {
                    time.0 = time.0.max(deadline);
                    chip.advance(time.0);
                }
            }
        }
        let _ = (chip.deadline(), chip.output(), chip.request());
    }
    saves_again(&mut chip);
}

fn pic(payload: &[u8], mut script: Source<'_>) {
    let Some(mut pic) = restored(PicPair::default(), payload) else { return };
    while !script.is_empty() {
        let (slave, value) = (script.once_in(2), script.byte());
        match script.below(6) {
            0 => pic.write(slave, value & 1 != 0, script.byte()),
            1 => drop(pic.read(slave, value & 1 != 0)),
            2 => pic.set_line(value % 16, value & 16 != 0),
            3 => pic.set_elcr(slave, value),
            4 if pic.output() => drop(pic.acknowledge()),
            _ => drop(pic.elcr(slave)),
        }
    }
    saves_again(&mut pic);
}

fn io_apic(payload: &[u8], mut script: Source<'_>) {
    let Some(mut apic) = restored(IoApic::default(), payload) else { return };
    let mut sent = 0u32;
    let mut send = |_| sent += 1;
    while !script.is_empty() {
        let value = script.byte();
        match script.below(4) {
            0 => apic.write(u64::from(value & 0xf0), script.dword(), &mut send),
            1 => drop(apic.read(u64::from(value & 0xf0))),
            2 => apic.set_line(usize::from(value) % machine::chip::PINS, value & 128 != 0, &mut send),
            _ => apic.end_of_interrupt(value, &mut send),
        }
    }
    saves_again(&mut apic);
}

fn local_apic(payload: &[u8], mut script: Source<'_>) {
    let Some(mut apic) = restored(LocalApic::new(0), payload) else { return };
    let mut time = Time::begin(&mut script);
    while !script.is_empty() {
        let now = time.pass(&mut script);
        apic.advance(now);
        let (offset, value) = (u32::from(script.word()) & 0xff0, script.dword());
        match script.below(10) {
            0 => drop(apic.write_page(offset, value, now)),
            1 => drop(apic.read_page(offset, now)),
            2 => drop(apic.write_msr(0x800 + (offset >> 4), value.into(), now)),
            3 => drop(apic.read_msr(script.pick(&[0x1b, 0x6e0, 0x802, 0x830, 0x839]), now)),
            4 => drop(apic.write_msr(
                script.pick(&[0x1b, 0x6e0, 0x830]),
                u64::from(value) << (offset >> 4 & 31),
                now,
            )),
            5 => drop((apic.matches(Destination::from_dword(value, true)), apic.arbitration_priority())),
            6 => drop((apic.pending(), apic.takes_external(), apic.take())),
            7 => apic.set_task_priority(value as u8 & 15),
            8 => drop((apic.pull_lint1(), apic.take_start_up(), apic.task_priority(), apic.window())),
            _ => apic.advance(apic.deadline().unwrap_or(now).max(now)),
        }
        time.0 = time.0.max(now);
    }
    saves_again(&mut apic);
}

/// Each chip as it is after reset.
fn seeds() -> Vec<Vec<u8>> {
    let payloads = [
        rtc().to_record(),
        Pit::default().to_record(),
        PowerManagement::default().to_record(),
        I8042::default().to_record(),
        SystemControl::default().to_record(),
        Uart::default().to_record(),
        PicPair::default().to_record(),
        IoApic::default().to_record(),
        LocalApic::new(0).to_record(),
    ];
    let script = |which: u8| (0..SCRIPT as u8).map(move |n| n.wrapping_mul(37).wrapping_add(which));
    (0..)
        .zip(payloads)
        .map(|(which, record)| std::iter::once(which).chain(script(which)).chain(record.payload).collect())
        .collect()
}
