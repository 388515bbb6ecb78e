//! The local APIC, one for each vCPU (SDM vol. 3, chapter 11).
//!
//! ```text
//!   IA32_APIC_BASE   EN=0 ──► off: nothing arrives, LINT0 is the CPU's INTR pin
//!                    EN=1, EXTD=0 ──► xAPIC: registers in the page at the base
//!                    EN=1, EXTD=1 ──► x2APIC: registers are MSRs 800h–83Fh
//!   SVR bit 8 = 0    software-disabled: fixed interrupts are dropped, every LVT entry is masked
//! ```
//!
//! An interrupt waits in IRR, is *pending* when its class (bits 7–4) is above the processor priority, moves
//! to ISR when the CPU takes it, and leaves with EOI. Taking is one step here, so an interrupt cannot
//! disappear in its midst and the spurious vector is never delivered.
//!
//! What a register write causes outside (an IPI, an EOI for the I/O APIC) is returned as an [`Effect`], and
//! the caller carries it out after it has unlocked this APIC: two APICs are never locked at once.

mod message;
mod msr;
mod registers;
mod state;
mod timer;
mod vectors;

pub use message::{Delivery, Destination, Ipi, Shorthand};
pub use vectors::VectorSet;

use timer::Timer;

/// LVT entries, as the version register counts them.
const LVTS: usize = 6;
/// The LVT entry of the timer.
const TIMER: usize = 0;
const LINT0: usize = 3;
const LINT1: usize = 4;
const ERROR: usize = 5;

const MASKED: u32 = 1 << 16;

/// ESR bits.
const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
const ILLEGAL_REGISTER: u32 = 1 << 7;

/// IA32_APIC_BASE bits.
const BASE_BSP: u64 = 1 << 8;
const BASE_X2: u64 = 1 << 10;
const BASE_ENABLE: u64 = 1 << 11;
/// Where the registers are after reset.
const DEFAULT_BASE: u64 = 0xfee0_0000;

/// What a write causes outside of the APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to other APICs.
    Ipi(Ipi),
    /// Tell the I/O APIC that a level-triggered vector is finished.
    EndOfLevel(u8),
}

/// What an arriving message makes the vCPU do, beyond looking at its pending interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Look for pending interrupts.
    Interrupt,
    /// Take an NMI.
    Nmi,
    /// INIT.
    Init,
    /// Start up.
    StartUp,
    /// Nothing.
    Dropped,
}

/// A local APIC.
#[derive(Clone, Debug)]
pub struct LocalApic {
    /// The x2APIC ID; its low byte is the xAPIC's.
    id: u32,
    /// IA32_APIC_BASE.
    base: u64,
    tpr: u8,
    /// The xAPIC's logical ID; the x2APIC's follows from the ID.
    ldr: u8,
    /// Destination format, bits 31–28.
    dfr: u8,
    /// Spurious vector register, bits 8–0.
    svr: u32,
    /// Errors as the guest reads them.
    esr: u32,
    /// Errors since ESR was last written.
    errors: u32,
    icr: u64,
    lvt: [u32; LVTS],
    irr: VectorSet,
    isr: VectorSet,
    tmr: VectorSet,
    timer: Timer,
    /// The page of the last start-up IPI.
    start_up: Option<u8>,
    /// An ExtINT message of the I/O APIC waits for an acknowledge of the 8259.
    external: bool,
}

impl LocalApic {
    /// The APIC of vCPU number `id` after reset. Vcpu 0 is the bootstrap processor.
    pub fn new(id: u32) -> Self {
        Self {
            id,
            base: DEFAULT_BASE | BASE_ENABLE | if id == 0 { BASE_BSP } else { 0 },
            tpr: 0,
            ldr: 0,
            dfr: 0xf,
            svr: 0xff,
            esr: 0,
            errors: 0,
            icr: 0,
            lvt: [MASKED; LVTS],
            irr: VectorSet::default(),
            isr: VectorSet::default(),
            tmr: VectorSet::default(),
            timer: Timer::default(),
            start_up: None,
            external: false,
        }
    }

    /// INIT is carried out: all but the ID and IA32_APIC_BASE is as after reset (SDM vol. 3, 11.4.7.3). A
    /// start-up IPI that arrived since INIT did stays: what came before INIT was forgotten then.
    pub fn init(&mut self) {
        *self = Self { base: self.base, start_up: self.start_up, ..Self::new(self.id) };
    }

    /// What a PC's firmware does on the bootstrap processor: virtual wire mode, so that the 8259 works.
    pub fn enter_virtual_wire(&mut self) {
        self.svr = 0x1ff;
        self.lvt[LINT0] = 0x700;
        self.lvt[LINT1] = 0x400;
    }

    fn is_enabled(&self) -> bool {
        self.base & BASE_ENABLE != 0
    }

    fn is_x2apic(&self) -> bool {
        self.base & BASE_X2 != 0
    }

    fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.svr & 0x100 != 0
    }

    /// Where the registers are in memory; `None` if they are not.
    pub fn window(&self) -> Option<u64> {
        (self.base & (BASE_ENABLE | BASE_X2) == BASE_ENABLE).then_some(self.base & !0xfff)
    }

    /// The x2APIC's logical ID: cluster and one bit (SDM vol. 3, 11.12.10.2).
    fn x2apic_ldr(&self) -> u32 {
        self.id >> 4 << 16 | 1 << (self.id & 15)
    }

    /// Is a message for this APIC?
    pub fn matches(&self, destination: Destination) -> bool {
        if !self.is_enabled() {
            return false;
        }
        match destination {
            Destination::All => true,
            Destination::Physical(id) if self.is_x2apic() => id == self.id,
            Destination::Physical(id) => id == self.id & 0xff,
            Destination::Logical(id) if self.is_x2apic() => {
                let own = self.x2apic_ldr();
                id >> 16 == own >> 16 && id & own & 0xffff != 0
            }
            Destination::Logical(id) => {
                let (id, own) = (id as u8, self.ldr);
                match self.dfr {
                    0xf => id & own != 0,
                    0 => (id >> 4 == own >> 4 || id >> 4 == 15) && id & own & 15 != 0,
                    _ => false,
                }
            }
        }
    }

    /// Could it take a lowest-priority interrupt, and how busy is it?
    pub fn arbitration_priority(&self) -> Option<u8> {
        self.is_software_enabled().then(|| self.processor_priority())
    }

    /// Processor priority: the higher class of TPR and what is in service.
    fn processor_priority(&self) -> u8 {
        let serving = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 { self.tpr } else { serving & 0xf0 }
    }

    /// A message that [`matches`](Self::matches) arrives.
    pub fn accept(&mut self, delivery: Delivery, vector: u8, level: bool) -> Arrival {
        match delivery {
            Delivery::Fixed | Delivery::LowestPriority => {
                if !self.is_software_enabled() {
                    return Arrival::Dropped;
                }
                if vector < 16 {
                    self.error(RECEIVE_ILLEGAL_VECTOR);
                    return Arrival::Interrupt;
                }
                self.irr.set(vector, true);
                self.tmr.set(vector, level);
                Arrival::Interrupt
            }
            Delivery::Nmi => Arrival::Nmi,
            Delivery::Init => {
                self.start_up = None;
                Arrival::Init
            }
            Delivery::StartUp => {
                self.start_up = Some(vector);
                Arrival::StartUp
            }
            Delivery::External => {
                self.external = true;
                Arrival::Interrupt
            }
            Delivery::Smi | Delivery::Reserved => Arrival::Dropped,
        }
    }

    /// Takes the page of the last start-up IPI.
    pub fn take_start_up(&mut self) -> Option<u8> {
        self.start_up.take()
    }

    /// Records errors and raises the error interrupt.
    fn error(&mut self, bits: u32) {
        self.errors |= bits;
        let entry = self.lvt[ERROR];
        if entry & MASKED == 0 && entry as u8 >= 16 && self.is_software_enabled() {
            self.irr.set(entry as u8, true);
            self.tmr.set(entry as u8, false);
        }
    }

    /// The vector that would be taken now.
    pub fn pending(&self) -> Option<u8> {
        let vector = self.irr.highest()?;
        (vector >> 4 > self.processor_priority() >> 4).then_some(vector)
    }

    /// Would an interrupt of the 8259 come through?
    pub fn takes_external(&self) -> bool {
        !self.is_enabled() || self.external || self.lvt[LINT0] & (MASKED | 0x700) == 0x700
    }

    /// The 8259's interrupt was taken: an ExtINT message is served.
    pub fn took_external(&mut self) {
        self.external = false;
    }

    /// Takes the pending vector: it is in service from now on.
    pub fn take(&mut self) -> Option<u8> {
        let vector = self.pending()?;
        self.irr.set(vector, false);
        self.isr.set(vector, true);
        Some(vector)
    }

    fn end_of_interrupt(&mut self) -> Option<Effect> {
        let vector = self.isr.highest()?;
        self.isr.set(vector, false);
        self.tmr.has(vector).then_some(Effect::EndOfLevel(vector))
    }

    /// Pulls LINT1, the NMI pin. True if an NMI is to be taken.
    pub fn pull_lint1(&mut self) -> bool {
        if !self.is_enabled() {
            return true; // LINT1 is then the CPU's NMI pin
        }
        self.local_interrupt(LINT1)
    }

    /// Raises a local interrupt by its LVT entry. True if it is an NMI.
    fn local_interrupt(&mut self, entry: usize) -> bool {
        let entry = self.lvt[entry];
        if entry & MASKED == 0 {
            return self.accept(Delivery::from_bits(u64::from(entry >> 8)), entry as u8, false)
                == Arrival::Nmi;
        }
        false
    }

    /// Bits 7–4 of the task priority, as CR8 shows them.
    pub fn task_priority(&self) -> u8 {
        self.tpr >> 4
    }

    /// Sets the task priority as a write to CR8 does.
    pub fn set_task_priority(&mut self, class: u8) {
        self.tpr = class << 4;
    }

    /// When the timer fires next.
    pub fn deadline(&self) -> Option<u64> {
        self.timer.expires()
    }

    /// Catches up with the time.
    pub fn advance(&mut self, now: u64) {
        if self.timer.advance(now) {
            let entry = self.lvt[TIMER];
            if entry & MASKED == 0 {
                self.accept(Delivery::Fixed, entry as u8, false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
