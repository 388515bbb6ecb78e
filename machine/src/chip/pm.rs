//! ACPI power management: the PM1a event and control registers, the PM timer and a block of
//! general-purpose events (ACPI 6.4, 4.8.3).
//!
//! There is no SMI here: the machine is in ACPI mode from the start, SCI_EN is always set, and the FADT has
//! no SMI command port.
//!
//! ```text
//!   600h  PM1_STS   602h  PM1_EN   604h  PM1_CNT   608h  PM_TMR (32 bits)   60Ch  GPE0_STS, GPE0_EN
//! ```

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::{Chip, Output, Request, ensure};

/// The first port.
pub const PM_BASE: u16 = 0x600;
/// Ports.
pub const PM_LENGTH: u16 = 16;
/// SLP_TYP of the soft-off state, as the DSDT's `\_S5` says.
pub const S5: u8 = 5;

/// The PM timer's clock.
const FREQUENCY: u128 = 3_579_545;

const TIMER: u16 = 1 << 0;
const GLOBAL: u16 = 1 << 5;
const POWER_BUTTON: u16 = 1 << 8;
const SLEEP_BUTTON: u16 = 1 << 9;
const RTC: u16 = 1 << 10;
const WAKE: u16 = 1 << 15;
const STATUS: u16 = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC | WAKE;
const ENABLE: u16 = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC;

const SCI_EN: u16 = 1;
const SLP_TYP: u16 = 7 << 10;
const SLP_EN: u16 = 1 << 13;
/// The bits of PM1_CNT that are kept: BM_RLD and the sleep type.
const CONTROL: u16 = 1 << 1 | SLP_TYP;

/// The registers.
#[derive(Clone, Debug, Default)]
pub struct PowerManagement {
    status: u16,
    enable: u16,
    control: u16,
    gpe_status: u16,
    gpe_enable: u16,
    /// The virtual time up to which the timer's carry was reported.
    seen: u64,
    request: Option<Request>,
}

/// The registers at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `PowerManagement`
pub struct PowerManagementState {
    pub status: u16,
    pub enable: u16,
    pub control: u16,
    pub gpe_status: u16,
    pub gpe_enable: u16,
    pub seen: u64,
}

/// The count before it is cut to its width.
fn count(now: u64) -> u128 {
    u128::from(now) * FREQUENCY / 1_000_000_000
}

impl PowerManagement {
    /// PM_TMR, in one access.
    pub fn timer(now: u64) -> u32 {
        count(now) as u32
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) {
        self.status |= POWER_BUTTON;
    }

    /// Raises a general-purpose event: 0 to 15.
    pub fn raise_event(&mut self, event: u16) {
        self.gpe_status |= 1 << event;
    }

    fn word(&self, offset: u16, now: u64) -> u16 {
        match offset {
            0x0 => self.status,
            0x2 => self.enable,
            0x4 => self.control | SCI_EN,
            0x8 => Self::timer(now) as u16,
            0xa => (Self::timer(now) >> 16) as u16,
            0xc => self.gpe_status,
            0xe => self.gpe_enable,
            _ => 0,
        }
    }

    fn set_control(&mut self, value: u16) {
        self.control = value & CONTROL;
        if value & SLP_EN != 0 {
            match (value & SLP_TYP) >> 10 {
                5 => self.request = Some(Request::PowerOff),
                kind => tracing::debug!(kind, "the guest asked for a sleep state that the machine has not"),
            }
        }
    }
}

const _: () = assert!(S5 == 5);

impl Chip for PowerManagement {
    fn read(&mut self, offset: u16, now: u64) -> u8 {
        self.word(offset & !1, now).to_le_bytes()[usize::from(offset & 1)]
    }

    fn write(&mut self, offset: u16, value: u8, _now: u64) {
        let shift = 8 * (offset & 1);
        let (wide, mask) = (u16::from(value) << shift, 0xff << shift);
        match offset & !1 {
            0x0 => self.status &= !wide, // written ones clear
            0x2 => self.enable = (self.enable & !mask | wide) & ENABLE,
            0x4 => self.set_control(self.control & !mask | wide),
            0xc => self.gpe_status &= !wide,
            0xe => self.gpe_enable = self.gpe_enable & !mask | wide,
            _ => {}
        }
    }

    fn advance(&mut self, now: u64) {
        // TMR_STS is set when the highest bit changes either way.
        if count(now) >> 31 != count(self.seen) >> 31 {
            self.status |= TIMER;
        }
        self.seen = now;
    }

    fn deadline(&self) -> Option<u64> {
        if self.enable & !self.status & TIMER == 0 {
            return None;
        }
        let carry = ((count(self.seen) >> 31) + 1) << 31;
        u64::try_from((carry * 1_000_000_000).div_ceil(FREQUENCY)).ok()
    }

    fn output(&mut self) -> Output {
        (self.status & self.enable != 0 || self.gpe_status & self.gpe_enable != 0).into()
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }
}

impl Saved for PowerManagement {
    type State = PowerManagementState;
    const KIND: &'static str = "acpi-pm";
    const VERSION: u16 = 1;

    fn save(&self) -> PowerManagementState {
        // A request is consumed by the glue before anyone can save.
        let Self { status, enable, control, gpe_status, gpe_enable, seen, request: _ } = *self;
        PowerManagementState { status, enable, control, gpe_status, gpe_enable, seen }
    }

    fn restore(&mut self, state: PowerManagementState) -> Result<(), RestoreError> {
        let PowerManagementState { status, enable, control, gpe_status, gpe_enable, seen } = state;
        ensure::<Self>(status & !STATUS == 0 && enable & !ENABLE == 0, "an event that does not exist")?;
        ensure::<Self>(control & !CONTROL == 0, "a reserved bit of PM1_CNT")?;
        *self = Self { status, enable, control, gpe_status, gpe_enable, seen, request: None };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_word(pm: &mut PowerManagement, offset: u16, value: u16) {
        for (index, byte) in value.to_le_bytes().into_iter().enumerate() {
            pm.write(offset + index as u16, byte, 0);
        }
    }

    #[test]
    fn the_timer_counts_at_its_rate() {
        assert_eq!(PowerManagement::timer(0), 0);
        assert_eq!(PowerManagement::timer(1_000_000_000), 3_579_545);
        assert_eq!(PowerManagement::timer(1_200_000_000_000), (3_579_545u64 * 1200) as u32, "it wraps");
    }

    #[test]
    fn s5_switches_off_and_other_states_do_not() {
        let mut pm = PowerManagement::default();
        write_word(&mut pm, 4, 1 << 10 | SLP_EN);
        assert_eq!(pm.request(), None);
        write_word(&mut pm, 4, u16::from(S5) << 10);
        assert_eq!(pm.request(), None, "not without SLP_EN");
        write_word(&mut pm, 4, u16::from(S5) << 10 | SLP_EN);
        assert_eq!((pm.request(), pm.request()), (Some(Request::PowerOff), None));
        assert_eq!(pm.read(4, 0), 1, "SCI_EN");
        assert_eq!(pm.read(5, 0), S5 << 2, "SLP_EN reads as zero");
    }

    #[test]
    fn the_power_button_interrupts_until_cleared() {
        let mut pm = PowerManagement::default();
        pm.press_power_button();
        assert_eq!(pm.output(), Output::Low);
        write_word(&mut pm, 2, POWER_BUTTON);
        assert_eq!(pm.output(), Output::High);
        pm.write(1, 1, 0);
        assert_eq!((pm.output(), pm.read(1, 0)), (Output::Low, 0));
    }

    #[test]
    fn the_timers_carry_interrupts() {
        let mut pm = PowerManagement::default();
        write_word(&mut pm, 2, TIMER);
        let carry = pm.deadline().unwrap();
        assert!((599_000_000_000..600_000_000_000).contains(&carry), "{carry}");
        pm.advance(carry - 1);
        assert_eq!(pm.output(), Output::Low);
        pm.advance(carry);
        assert_eq!((pm.output(), pm.deadline()), (Output::High, None));
        write_word(&mut pm, 0, TIMER);
        assert!(pm.deadline().unwrap() > carry);
    }

    #[test]
    fn the_state_round_trips_and_nonsense_is_refused() {
        let mut pm = PowerManagement::default();
        pm.press_power_button();
        write_word(&mut pm, 2, POWER_BUTTON | TIMER);
        pm.advance(5);
        let mut copy = PowerManagement::default();
        copy.restore_record(&pm.to_record()).unwrap();
        assert_eq!(copy.save(), pm.save());
        assert!(copy.restore(PowerManagementState { enable: 2, ..pm.save() }).is_err());
    }
}
