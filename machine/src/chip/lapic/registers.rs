//! The registers, by their offset in the xAPIC's page (SDM vol. 3, table 11-1); the x2APIC's MSR number is
//! the offset divided by 16.

use super::message::{Delivery, Ipi};
use super::timer::Mode;
use super::{
    ERROR, Effect, ILLEGAL_REGISTER, LINT0, LINT1, LVTS, LocalApic, MASKED, SEND_ILLEGAL_VECTOR, TIMER,
};

pub(super) const ID: u32 = 0x20;
const VERSION: u32 = 0x30;
pub(super) const TPR: u32 = 0x80;
const APR: u32 = 0x90;
const PPR: u32 = 0xa0;
pub(super) const EOI: u32 = 0xb0;
pub(super) const LDR: u32 = 0xd0;
pub(super) const DFR: u32 = 0xe0;
pub(super) const SVR: u32 = 0xf0;
const ISR: u32 = 0x100;
const TMR: u32 = 0x180;
const IRR: u32 = 0x200;
pub(super) const ESR: u32 = 0x280;
pub(super) const ICR_LOW: u32 = 0x300;
pub(super) const ICR_HIGH: u32 = 0x310;
pub(super) const LVT: u32 = 0x320;
const LVT_LAST: u32 = 0x370;
pub(super) const INITIAL_COUNT: u32 = 0x380;
const CURRENT_COUNT: u32 = 0x390;
pub(super) const DIVIDE: u32 = 0x3e0;

/// An integrated APIC with six LVT entries.
const VERSION_VALUE: u32 = 0x14 | (LVTS as u32 - 1) << 16;

/// The bits of the ICR's low half that can be written.
const ICR_WRITABLE: u32 = 0x000c_cfff;

/// The bits of an LVT entry that can be written.
pub(super) const fn lvt_writable(entry: usize) -> u32 {
    match entry {
        TIMER => 0x0007_00ff,
        LINT0 | LINT1 => 0x0001_a7ff,
        ERROR => 0x0001_00ff,
        _ => 0x0001_07ff,
    }
}

/// The LVT entry of a register. The order in the page is timer, thermal, performance, LINT0, LINT1, error.
pub(super) fn lvt_entry(register: u32) -> Option<usize> {
    matches!(register, LVT..=LVT_LAST).then(|| ((register - LVT) >> 4) as usize)
}

impl LocalApic {
    /// A register's value; `None` if there is no such register to read.
    pub(super) fn register(&self, register: u32, now: u64) -> Option<u32> {
        if let Some(entry) = lvt_entry(register) {
            return Some(self.lvt[entry]);
        }
        let word = ((register >> 4) & 7) as usize;
        Some(match register {
            ID if self.is_x2apic() => self.id,
            ID => self.id << 24,
            VERSION => VERSION_VALUE,
            TPR => self.tpr.into(),
            APR => 0,
            PPR => self.processor_priority().into(),
            LDR if self.is_x2apic() => self.x2apic_ldr(),
            LDR => u32::from(self.ldr) << 24,
            DFR => u32::from(self.dfr) << 28 | 0x0fff_ffff,
            SVR => self.svr,
            ISR..TMR => self.isr.word(word),
            TMR..IRR => self.tmr.word(word),
            IRR..ESR => self.irr.word(word),
            ESR => self.esr,
            ICR_LOW => self.icr as u32,
            ICR_HIGH => (self.icr >> 32) as u32,
            INITIAL_COUNT => self.timer.initial(),
            CURRENT_COUNT => self.timer.current(now),
            DIVIDE => self.timer.divide().into(),
            _ => return None,
        })
    }

    /// Writes a register; false if there is no such register to write.
    pub(super) fn set_register(&mut self, register: u32, value: u32, now: u64) -> (bool, Option<Effect>) {
        if let Some(entry) = lvt_entry(register) {
            self.set_lvt(entry, value);
            return (true, None);
        }
        match register {
            TPR => self.tpr = value as u8,
            EOI => return (true, self.end_of_interrupt()),
            LDR => self.ldr = (value >> 24) as u8,
            DFR => self.dfr = (value >> 28) as u8,
            SVR => self.set_svr(value),
            ESR => self.esr = std::mem::take(&mut self.errors),
            ICR_LOW => {
                self.icr = self.icr & !0xffff_ffff | u64::from(value & ICR_WRITABLE);
                return (true, self.send());
            }
            ICR_HIGH => self.icr = self.icr & 0xffff_ffff | u64::from(value & 0xff00_0000) << 32,
            INITIAL_COUNT => self.timer.start(value, now),
            DIVIDE => self.timer.set_divide(value as u8, now),
            // The ID is fixed, as on every processor since the x2APIC.
            ID => {}
            _ => return (false, None),
        }
        (true, None)
    }

    fn set_lvt(&mut self, entry: usize, value: u32) {
        let mut value = value & lvt_writable(entry);
        if self.svr & 0x100 == 0 {
            value |= MASKED;
        }
        self.lvt[entry] = value;
        if entry == TIMER {
            self.timer.set_mode(match value >> 17 & 3 {
                0 => Mode::OneShot,
                1 => Mode::Periodic,
                _ => Mode::TscDeadline,
            });
        }
    }

    fn set_svr(&mut self, value: u32) {
        self.svr = value & 0x1ff;
        if self.svr & 0x100 == 0 {
            for entry in &mut self.lvt {
                *entry |= MASKED;
            }
        }
    }

    /// Carries out the ICR.
    pub(super) fn send(&mut self) -> Option<Effect> {
        let ipi = Ipi::from_icr(self.icr, self.is_x2apic())?;
        if ipi.delivery == Delivery::Reserved {
            return None;
        }
        if ipi.delivery.has_vector() && ipi.vector < 16 {
            self.error(SEND_ILLEGAL_VECTOR);
            return None;
        }
        Some(Effect::Ipi(ipi))
    }

    /// A load of a doubleword from the xAPIC's page, at `offset`.
    ///
    /// Each register is the first four bytes of sixteen; the manual leaves the rest undefined, here it is
    /// zero.
    pub fn read_page(&mut self, offset: u32, now: u64) -> u32 {
        let value = self.register(offset & 0xff0, now);
        if value.is_none() {
            self.error(ILLEGAL_REGISTER);
        }
        value.filter(|_| offset & 0xc == 0).unwrap_or(0)
    }

    /// A store of an aligned doubleword to the xAPIC's page.
    pub fn write_page(&mut self, offset: u32, value: u32, now: u64) -> Option<Effect> {
        let (known, effect) = self.set_register(offset, value, now);
        if !known && self.register(offset, now).is_none() {
            self.error(ILLEGAL_REGISTER);
        }
        effect
    }
}
