//! Interrupts between lines, controllers, local APICs and vCPUs.
//!
//! ```text
//!   line ──► 8259 pair ── INT ──► LINT0 of each local APIC ─┐
//!      │             └─► pin 0                              │
//!      └───► I/O APIC ── message ──► local APICs ───────────┼──► Attention of the vCPU
//!            local APIC ── IPI ──► local APICs ─────────────┘
//! ```
//!
//! **Lock order**: a chip, then the controllers, then one local APIC. No two local APICs are locked at
//! once, and nothing is locked while an effect of a local APIC (an IPI, an EOI) is carried out.
//!
//! **Signals.** Whoever changes a local APIC looks afterwards whether an interrupt is pending and raises
//! the vCPU's attention. So a pending interrupt that the vCPU cannot take yet (its IF is clear) is announced
//! once; from then on it is the engine that remembers, as [`engine::Board::interrupt_waits`] helps it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base::{Record, RestoreError, Saved, VirtualClock};
use engine::{Attention, Signals};

use super::alarm::AlarmClock;
use super::line::{Line, Wires};
use super::seat::lock;
use crate::chip::{
    Arrival, Delivery, Destination, Effect, IoApic, Ipi, LocalApic, Message, PINS, PicPair, Shorthand,
};

/// No window.
const NOWHERE: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Controllers {
    pic: PicPair,
    io: IoApic,
    wires: Wires,
}

#[derive(Debug)]
struct Cpu {
    apic: Mutex<LocalApic>,
    attention: Arc<Attention>,
    /// Where the registers are in memory, outside of the lock.
    window: AtomicU64,
}

/// All of a machine's interrupt controllers.
#[derive(Debug)]
pub struct Interrupts {
    controllers: Mutex<Controllers>,
    /// The 8259's INT output.
    external: AtomicBool,
    cpus: Box<[Cpu]>,
    /// Devices on each line so far.
    wired: [AtomicUsize; PINS],
    /// Where the search for the lowest priority begins.
    turn: AtomicUsize,
    clock: Arc<VirtualClock>,
    alarm: Arc<AlarmClock>,
}

impl Interrupts {
    /// Controllers for these vCPUs. The local APICs have slots 0 and up of the alarm clock.
    pub fn new(attention: &[Arc<Attention>], clock: Arc<VirtualClock>, alarm: Arc<AlarmClock>) -> Self {
        let cpu = |(id, attention): (usize, &Arc<Attention>)| Cpu {
            apic: Mutex::new(LocalApic::new(id as u32)),
            attention: Arc::clone(attention),
            window: AtomicU64::new(NOWHERE),
        };
        let interrupts = Self {
            controllers: Mutex::default(),
            external: AtomicBool::new(false),
            cpus: attention.iter().enumerate().map(cpu).collect(),
            wired: std::array::from_fn(|_| AtomicUsize::new(0)),
            turn: AtomicUsize::new(0),
            clock,
            alarm,
        };
        interrupts.reset();
        interrupts
    }

    /// vCPUs.
    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// All as after power-up and what firmware does then: virtual wire mode on vCPU 0, IRQ 9 (the SCI)
    /// level-triggered.
    pub fn reset(&self) {
        *lock(&self.controllers) = Controllers::default();
        self.with_pic(|pic| pic.set_elcr(true, 1 << 1));
        for id in 0..self.cpus.len() {
            self.with_apic(id, |apic, _| {
                *apic = LocalApic::new(id as u32);
                if id == 0 {
                    apic.enter_virtual_wire();
                }
            });
        }
    }

    /// Wires one more device to a global system interrupt. 0 to 15 are the ISA interrupts: IRQ 0 is pin 2
    /// of the I/O APIC. 16 and up reach the 8259 as 10 and 11 in turn.
    ///
    /// # Panics
    /// With more than 32 devices on one line: the board's plan is wrong.
    pub fn line(self: &Arc<Self>, gsi: u8) -> Line {
        let device = self.wired[usize::from(gsi)].fetch_add(1, Ordering::Relaxed);
        assert!(device < 32, "too many devices on interrupt {gsi}");
        Line::new(Arc::clone(self), gsi, 1 << device)
    }

    /// One device's contribution to a line changes.
    pub(super) fn set_line(&self, gsi: u8, source: u32, asserted: bool) {
        let mut guard = lock(&self.controllers);
        let controllers = &mut *guard;
        let asserted = controllers.wires.set(gsi, source, asserted);
        let pin = if gsi == 0 { 2 } else { usize::from(gsi) };
        controllers.io.set_line(pin, asserted, &mut |message| self.deliver(message));
        let irq = if gsi < 16 { gsi } else { 10 + gsi % 2 };
        controllers.pic.set_line(irq, controllers.wires.reaches(irq));
        self.refresh_external(controllers);
    }

    /// Does something with the 8259s.
    pub fn with_pic<R>(&self, action: impl FnOnce(&mut PicPair) -> R) -> R {
        let mut controllers = lock(&self.controllers);
        let result = action(&mut controllers.pic);
        self.refresh_external(&mut controllers);
        result
    }

    /// Carries the INT output on to the local APICs, and to pin 0 of the I/O APIC.
    fn refresh_external(&self, controllers: &mut Controllers) {
        let output = controllers.pic.output();
        if !self.external.swap(output, Ordering::SeqCst) && output {
            for cpu in &self.cpus {
                if lock(&cpu.apic).takes_external() {
                    cpu.attention.raise(Signals::INTERRUPT);
                }
            }
        }
        controllers.io.set_line(0, output, &mut |message| self.deliver(message));
    }

    /// A register of the I/O APIC is read.
    pub fn read_io_apic(&self, offset: u64) -> u32 {
        lock(&self.controllers).io.read(offset)
    }

    /// A register of the I/O APIC is written.
    pub fn write_io_apic(&self, offset: u64, value: u32) {
        lock(&self.controllers).io.write(offset, value, &mut |message| self.deliver(message));
    }

    /// Does something with a vCPU's local APIC, and carries the outcome on.
    pub fn with_apic<R>(&self, cpu: usize, action: impl FnOnce(&mut LocalApic, u64) -> R) -> R {
        let Cpu { apic, attention, window } = &self.cpus[cpu];
        let mut apic = lock(apic);
        let now = self.clock.now();
        apic.advance(now);
        let result = action(&mut apic, now);
        window.store(apic.window().unwrap_or(NOWHERE), Ordering::Relaxed);
        self.alarm.set(cpu, apic.deadline());
        if self.waits(&apic) {
            attention.raise(Signals::INTERRUPT);
        }
        result
    }

    fn waits(&self, apic: &LocalApic) -> bool {
        apic.pending().is_some() || self.external.load(Ordering::SeqCst) && apic.takes_external()
    }

    /// Carries out what a register write of a local APIC causes.
    pub fn perform(&self, cpu: usize, effect: Option<Effect>) {
        match effect {
            Some(Effect::Ipi(ipi)) => self.send(cpu, ipi),
            Some(Effect::EndOfLevel(vector)) => {
                lock(&self.controllers).io.end_of_interrupt(vector, &mut |message| self.deliver(message));
            }
            None => {}
        }
    }

    /// Sends an interprocessor interrupt.
    fn send(&self, from: usize, ipi: Ipi) {
        let all = 0..self.cpus.len();
        match ipi.shorthand {
            Shorthand::Myself => self.accept(from, ipi.delivery, ipi.vector, false),
            Shorthand::None => self.deliver(Message {
                destination: ipi.destination,
                delivery: ipi.delivery,
                vector: ipi.vector,
                level: false,
            }),
            Shorthand::AllIncludingSelf => {
                all.for_each(|cpu| self.accept(cpu, ipi.delivery, ipi.vector, false))
            }
            Shorthand::AllExcludingSelf => all
                .filter(|&cpu| cpu != from)
                .for_each(|cpu| self.accept(cpu, ipi.delivery, ipi.vector, false)),
        }
    }

    /// A message-signalled interrupt: a write to FEEx_xxxxh (SDM vol. 3, 11.11). One to anywhere else is nobody's.
    pub fn message(&self, address: u64, data: u32) {
        const LOCAL_APICS: u64 = 0xfee;
        if address >> 20 != LOCAL_APICS {
            return;
        }
        let destination = Destination::from_byte((address >> 12) as u8, address & 4 != 0);
        let delivery = Delivery::from_bits(u64::from(data >> 8));
        self.deliver(Message { destination, delivery, vector: data as u8, level: data & 1 << 15 != 0 });
    }

    /// Brings a message to the local APICs it is for.
    fn deliver(&self, message: Message) {
        let Message { destination, delivery, vector, level } = message;
        let mut matching =
            (0..self.cpus.len()).filter(|&cpu| lock(&self.cpus[cpu].apic).matches(destination));
        if delivery == Delivery::LowestPriority && self.cpus.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let count = self.cpus.len();
            let busy =
                |&cpu: &usize| lock(&self.cpus[cpu].apic).arbitration_priority().map(|busy| (busy, cpu));
            // Among equals each has its turn.
            let best = matching
                .filter_map(|cpu| busy(&cpu))
                .min_by_key(|&(busy, cpu)| (busy >> 4, (cpu + count - turn % count) % count));
            if let Some((_, cpu)) = best {
                self.accept(cpu, delivery, vector, level);
            }
        } else {
            matching.by_ref().for_each(|cpu| self.accept(cpu, delivery, vector, level));
        }
    }

    /// A message arrives at one local APIC.
    fn accept(&self, cpu: usize, delivery: Delivery, vector: u8, level: bool) {
        let attention = &self.cpus[cpu].attention;
        match self.with_apic(cpu, |apic, _| apic.accept(delivery, vector, level)) {
            Arrival::Interrupt | Arrival::Dropped => {} // `with_apic` has looked
            Arrival::Nmi => attention.raise(Signals::NMI),
            Arrival::Init => attention.raise(Signals::INIT),
            Arrival::StartUp => attention.raise(Signals::SIPI),
        }
    }

    /// Pulls the NMI line of all local APICs: the button on a server's front.
    pub fn pull_nmi(&self) {
        for (index, cpu) in self.cpus.iter().enumerate() {
            if self.with_apic(index, |apic, _| apic.pull_lint1()) {
                cpu.attention.raise(Signals::NMI);
            }
        }
    }

    /// The interrupt to deliver on a vCPU now, acknowledged.
    pub fn take(&self, cpu: usize) -> Option<u8> {
        let Cpu { apic, attention, .. } = &self.cpus[cpu];
        if self.external.load(Ordering::SeqCst) && lock(apic).takes_external() {
            // Another vCPU may have been faster: without a request there is no acknowledge cycle.
            let vector = self.with_pic(|pic| pic.output().then(|| pic.acknowledge()));
            let mut apic = lock(apic);
            apic.took_external();
            if vector.is_some() {
                if self.waits(&apic) {
                    attention.raise(Signals::INTERRUPT);
                }
                return vector;
            }
        }
        lock(apic).take()
    }

    /// Is there one that [`take`](Self::take) would give?
    pub fn is_waiting(&self, cpu: usize) -> bool {
        self.waits(&lock(&self.cpus[cpu].apic))
    }

    /// Is a guest-physical address in the page of the vCPU's local APIC? Its offset there.
    pub fn apic_offset(&self, cpu: usize, at: u64) -> Option<u32> {
        let window = self.cpus[cpu].window.load(Ordering::Relaxed);
        (at & !0xfff == window).then_some((at & 0xfff) as u32)
    }

    /// The states of all controllers.
    pub fn save(&self) -> Vec<Record> {
        let controllers = lock(&self.controllers);
        let Controllers { pic, io, wires } = &*controllers;
        let mut records = vec![pic.to_record(), io.to_record(), wires.to_record()];
        drop(controllers);
        records.extend(self.cpus.iter().map(|cpu| lock(&cpu.apic).to_record()));
        records
    }

    /// Puts the states of all controllers back. The devices' lines are set anew afterwards.
    ///
    /// # Errors
    /// As [`Saved::restore_record`]; also where a controller is missing or there is one too many.
    pub fn restore(&self, records: &[Record]) -> Result<(), RestoreError> {
        let [pic_record, io_record, wires_record, cpu_records @ ..] = records else {
            return Err(wrong_number(records.len()));
        };
        if cpu_records.len() != self.cpus.len() {
            return Err(wrong_number(records.len()));
        }
        let mut controllers = Controllers::default();
        controllers.pic.restore_record(pic_record)?;
        controllers.io.restore_record(io_record)?;
        controllers.wires.restore_record(wires_record)?;
        let mut apics = Vec::new();
        for (id, record) in cpu_records.iter().enumerate() {
            let mut apic = LocalApic::new(id as u32);
            apic.restore_record(record)?;
            apics.push(apic);
        }
        self.external.store(controllers.pic.output(), Ordering::SeqCst);
        *lock(&self.controllers) = controllers;
        for (id, restored) in apics.into_iter().enumerate() {
            self.with_apic(id, |apic, _| *apic = restored);
        }
        Ok(())
    }
}

fn wrong_number(found: usize) -> RestoreError {
    let reason = format!("{found} interrupt controllers are saved, and this machine has another number");
    RestoreError::Invalid { kind: "interrupts", reason }
}

#[cfg(test)]
#[path = "interrupts_tests.rs"]
mod tests;
