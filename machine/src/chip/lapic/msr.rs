//! The APIC through MSRs: its base and mode, the x2APIC's registers and the TSC deadline
//! (SDM vol. 3, 11.12).

use engine::MsrDenied;
use x86::msr::{IA32_APIC_BASE, IA32_TSC_DEADLINE, X2APIC_FIRST, X2APIC_LAST};
use x86::paging::PHYSICAL_BITS;

use super::registers::{
    DFR, DIVIDE, EOI, ESR, ICR_HIGH, ICR_LOW, ID, INITIAL_COUNT, LDR, SVR, TPR, lvt_entry, lvt_writable,
};
use super::{BASE_BSP, BASE_ENABLE, BASE_X2, Effect, LocalApic};
use crate::chip::{Delivery, Destination, Ipi, Shorthand};

/// The self-IPI register, which only the x2APIC has.
const SELF_IPI: u32 = 0x3f0;

impl LocalApic {
    /// RDMSR.
    ///
    /// # Errors
    /// [`MsrDenied`] means #GP.
    pub fn read_msr(&mut self, index: u32, now: u64) -> Result<u64, MsrDenied> {
        match index {
            IA32_APIC_BASE => Ok(self.base),
            IA32_TSC_DEADLINE => Ok(self.timer.tsc_deadline()),
            X2APIC_FIRST..=X2APIC_LAST if self.is_enabled() && self.is_x2apic() => {
                match (index - X2APIC_FIRST) << 4 {
                    ICR_LOW => Ok(self.icr),
                    DFR | ICR_HIGH | 0x90 => Err(MsrDenied),
                    register => self.register(register, now).map(u64::from).ok_or(MsrDenied),
                }
            }
            _ => Err(MsrDenied),
        }
    }

    /// WRMSR.
    ///
    /// # Errors
    /// [`MsrDenied`] means #GP; nothing is changed then.
    pub fn write_msr(&mut self, index: u32, value: u64, now: u64) -> Result<Option<Effect>, MsrDenied> {
        match index {
            IA32_APIC_BASE => self.set_base(value).map(|()| None),
            IA32_TSC_DEADLINE => {
                self.timer.set_tsc_deadline(value);
                self.advance(now);
                Ok(None)
            }
            X2APIC_FIRST..=X2APIC_LAST if self.is_enabled() && self.is_x2apic() => {
                self.write_x2apic((index - X2APIC_FIRST) << 4, value, now)
            }
            _ => Err(MsrDenied),
        }
    }

    fn set_base(&mut self, value: u64) -> Result<(), MsrDenied> {
        let address = (1 << PHYSICAL_BITS) - 0x1000;
        if value & !(address | BASE_BSP | BASE_X2 | BASE_ENABLE) != 0 {
            return Err(MsrDenied);
        }
        // SDM vol. 3, figure 11-27: x2APIC mode is entered from xAPIC mode and left through “off” only.
        let mode = |base: u64| (base & BASE_ENABLE != 0, base & BASE_X2 != 0);
        match (mode(self.base), mode(value)) {
            (_, (false, true)) | ((true, true), (true, false)) | ((false, false), (true, true)) => {
                return Err(MsrDenied);
            }
            ((true, _), (false, false)) => {
                self.init(); // switched off, it forgets all
            }
            _ => {}
        }
        self.base = value;
        Ok(())
    }

    fn write_x2apic(&mut self, register: u32, value: u64, now: u64) -> Result<Option<Effect>, MsrDenied> {
        let writable = match register {
            TPR | SELF_IPI => 0xff,
            EOI | ESR => 0,
            SVR => 0x1ff,
            ICR_LOW => 0xffff_ffff_000c_cfff,
            INITIAL_COUNT => 0xffff_ffff,
            DIVIDE => 0xb,
            ID | LDR | DFR | ICR_HIGH => return Err(MsrDenied),
            _ => match lvt_entry(register) {
                // Delivery status and remote IRR are there, and read-only.
                Some(entry) => u64::from(lvt_writable(entry) | 0x5000),
                None => return Err(MsrDenied),
            },
        };
        if value & !writable != 0 {
            return Err(MsrDenied);
        }
        match register {
            ICR_LOW => {
                self.icr = value;
                Ok(self.send())
            }
            SELF_IPI if value < 16 => {
                self.error(super::SEND_ILLEGAL_VECTOR);
                Ok(None)
            }
            SELF_IPI => Ok(Some(Effect::Ipi(Ipi {
                destination: Destination::Physical(self.id),
                shorthand: Shorthand::Myself,
                delivery: Delivery::Fixed,
                vector: value as u8,
            }))),
            _ => Ok(self.set_register(register, value as u32, now).1),
        }
    }
}
