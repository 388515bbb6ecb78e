//! A local APIC at rest.

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::registers::lvt_writable;
use super::timer::Timer;
use super::{BASE_BSP, BASE_ENABLE, BASE_X2, LVTS, LocalApic, VectorSet};
use crate::chip::ensure;

/// A local APIC at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `LocalApic`
pub struct LocalApicState {
    pub id: u32,
    pub base: u64,
    pub tpr: u8,
    pub ldr: u8,
    pub dfr: u8,
    pub svr: u32,
    pub esr: u32,
    pub errors: u32,
    pub icr: u64,
    pub lvt: [u32; LVTS],
    pub irr: VectorSet,
    pub isr: VectorSet,
    pub tmr: VectorSet,
    pub timer: Timer,
    pub start_up: Option<u8>,
    pub external: bool,
}

impl Saved for LocalApic {
    type State = LocalApicState;
    const KIND: &'static str = "lapic";
    const VERSION: u16 = 1;

    fn save(&self) -> LocalApicState {
        let Self {
            id,
            base,
            tpr,
            ldr,
            dfr,
            svr,
            esr,
            errors,
            icr,
            lvt,
            irr,
            isr,
            tmr,
            ref timer,
            start_up,
            external,
        } = *self;
        let timer = timer.clone();
        LocalApicState {
            id,
            base,
            tpr,
            ldr,
            dfr,
            svr,
            esr,
            errors,
            icr,
            lvt,
            irr,
            isr,
            tmr,
            timer,
            start_up,
            external,
        }
    }

    fn restore(&mut self, state: LocalApicState) -> Result<(), RestoreError> {
        let LocalApicState {
            id,
            base,
            tpr,
            ldr,
            dfr,
            svr,
            esr,
            errors,
            icr,
            lvt,
            irr,
            isr,
            tmr,
            timer,
            start_up,
            external,
        } = state;
        ensure::<Self>(id == self.id, "it belongs to another vCPU")?;
        let address = (1 << x86::paging::PHYSICAL_BITS) - 0x1000;
        ensure::<Self>(
            base & !(address | BASE_BSP | BASE_X2 | BASE_ENABLE) == 0,
            "a reserved bit of the base",
        )?;
        ensure::<Self>(base & (BASE_X2 | BASE_ENABLE) != BASE_X2, "x2APIC without APIC")?;
        ensure::<Self>(dfr < 16 && svr & !0x1ff == 0, "a register is too wide")?;
        let sound = |(index, entry): (usize, &u32)| entry & !lvt_writable(index) == 0;
        ensure::<Self>(lvt.iter().enumerate().all(sound), "a reserved bit of the LVT")?;
        ensure::<Self>(irr.word(0) & 0xffff == 0 && isr.word(0) & 0xffff == 0, "a vector below 16")?;
        ensure::<Self>(timer.is_sound(), "the timer cannot be")?;
        *self = Self {
            id,
            base,
            tpr,
            ldr,
            dfr,
            svr,
            esr,
            errors,
            icr,
            lvt,
            irr,
            isr,
            tmr,
            timer,
            start_up,
            external,
        };
        Ok(())
    }
}
