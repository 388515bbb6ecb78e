//! The two reset registers: port 92h (fast A20 and INIT) and CF9h (PIIX reset control).

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::{Chip, Request, ensure};

const FAST_INIT: u8 = 1 << 0;
const A20: u8 = 1 << 1;
const SYSTEM_RESET: u8 = 1 << 1;
const RESET_CPU: u8 = 1 << 2;

/// Both registers; offset 0 is port 92h, offset 1 is CF9h. The struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemControl {
    port_92: u8,
    reset_control: u8,
    #[serde(skip)]
    wants_reset: bool,
}

impl Default for SystemControl {
    fn default() -> Self {
        Self { port_92: A20, reset_control: 0, wants_reset: false }
    }
}

impl SystemControl {
    /// The offset that stands for port 92h.
    pub const PORT_92: u16 = 0;
    /// The offset that stands for port CF9h.
    pub const RESET_CONTROL: u16 = 1;
    /// What to write to CF9h to reset, as the FADT says.
    pub const RESET_VALUE: u8 = SYSTEM_RESET | RESET_CPU;
}

impl Chip for SystemControl {
    fn read(&mut self, offset: u16, _now: u64) -> u8 {
        if offset == Self::PORT_92 { self.port_92 } else { self.reset_control }
    }

    fn write(&mut self, offset: u16, value: u8, _now: u64) {
        // Each resets on a rising edge of its bit.
        if offset == Self::PORT_92 {
            self.wants_reset |= value & !self.port_92 & FAST_INIT != 0;
            self.port_92 = value & (A20 | FAST_INIT);
        } else {
            self.wants_reset |= value & !self.reset_control & RESET_CPU != 0;
            self.reset_control = value & (SYSTEM_RESET | RESET_CPU | 1 << 3);
        }
    }

    fn request(&mut self) -> Option<Request> {
        std::mem::take(&mut self.wants_reset).then_some(Request::Reset)
    }
}

impl Saved for SystemControl {
    type State = Self;
    const KIND: &'static str = "system-control";
    const VERSION: u16 = 1;

    fn save(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, state: Self) -> Result<(), RestoreError> {
        let Self { port_92, reset_control, wants_reset } = state;
        ensure::<Self>(port_92 & !(A20 | FAST_INIT) == 0 && reset_control & !0xe == 0, "a reserved bit")?;
        *self = Self { port_92, reset_control, wants_reset };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_resets_through_cf9_in_two_steps() {
        let mut chip = SystemControl::default();
        chip.write(SystemControl::RESET_CONTROL, 2, 0);
        assert_eq!(chip.request(), None);
        chip.write(SystemControl::RESET_CONTROL, 6, 0);
        assert_eq!((chip.request(), chip.request()), (Some(Request::Reset), None));
    }

    #[test]
    fn port_92_resets_on_the_edge_only() {
        let mut chip = SystemControl::default();
        chip.write(SystemControl::PORT_92, A20, 0);
        assert_eq!((chip.request(), chip.read(0, 0)), (None, 2));
        chip.write(SystemControl::PORT_92, 3, 0);
        assert_eq!(chip.request(), Some(Request::Reset));
        chip.write(SystemControl::PORT_92, 3, 0);
        assert_eq!(chip.request(), None);
    }

    #[test]
    fn the_state_round_trips() {
        let mut chip = SystemControl::default();
        chip.write(SystemControl::RESET_CONTROL, 2, 0);
        let mut copy = SystemControl::default();
        copy.restore_record(&chip.to_record()).unwrap();
        assert_eq!(copy, chip);
        assert!(copy.restore(SystemControl { port_92: 0xff, ..chip }).is_err());
    }
}
