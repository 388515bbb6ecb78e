//! The pair of 8259A interrupt controllers and the edge/level register beside them (Intel 8259A data sheet
//! 231468; PIIX3 data sheet for ELCR).
//!
//! The interrupt request register follows its input as the data sheet draws it: an edge sets a latch that
//! falls again with its line, so a request withdrawn before the acknowledge leaves IR7, the spurious
//! interrupt, to be given. The slave's output is the master's input 2; the slave drops it in the
//! acknowledge cycle and raises it again if more waits, so that an edge-triggered master sees each.

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::ensure;

/// The master's input to which the slave is wired.
const CASCADE: u8 = 2;

/// Where an initialization sequence stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// Ready: writes to the odd port set the mask.
    #[default]
    Ready,
    /// ICW2, the vector base, is next.
    Icw2,
    /// ICW3, the cascade, is next.
    Icw3,
    /// ICW4 is next.
    Icw4,
}

/// One 8259A. The registers bear the data sheet's names; the struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pic {
    irr: u8,
    isr: u8,
    imr: u8,
    /// Inputs as they are.
    lines: u8,
    /// Inputs that are level-triggered by ELCR.
    elcr: u8,
    vector_base: u8,
    /// The input with the lowest priority.
    lowest: u8,
    step: Step,
    single: bool,
    wants_icw4: bool,
    level_triggered: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_fully_nested: bool,
    special_mask: bool,
    read_isr: bool,
    poll: bool,
    /// The slave's output, on the master; zero on the slave.
    cascade: u8,
}

impl Pic {
    fn new(cascade: u8) -> Self {
        Self {
            irr: 0,
            isr: 0,
            imr: 0xff,
            lines: 0,
            elcr: 0,
            vector_base: 0,
            lowest: 7,
            step: Step::Ready,
            single: false,
            wants_icw4: false,
            level_triggered: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_fully_nested: false,
            special_mask: false,
            read_isr: false,
            poll: false,
            cascade,
        }
    }

    fn is_level(&self, input: u8) -> bool {
        self.level_triggered || self.elcr & 1 << input != 0
    }

    fn set_line(&mut self, input: u8, asserted: bool) {
        let bit = 1 << input;
        if !asserted {
            self.lines &= !bit;
            self.irr &= !bit;
        } else {
            if self.lines & bit == 0 || self.is_level(input) {
                self.irr |= bit;
            }
            self.lines |= bit;
        }
    }

    /// The inputs of `set` in falling priority; the first one.
    fn first(&self, set: u8) -> Option<u8> {
        (1..=8).map(|step| self.lowest.wrapping_add(step) & 7).find(|input| set & 1 << input != 0)
    }

    /// How far behind the highest priority an input is.
    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.lowest).wrapping_sub(1) & 7
    }

    /// The request that would be acknowledged now.
    fn pending(&self) -> Option<u8> {
        let input = self.first(self.irr & !self.imr)?;
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        if self.special_fully_nested {
            // The slave tells its own priorities apart.
            serving &= !self.cascade | !(1 << input);
        }
        match self.first(serving) {
            Some(served) if self.rank(input) >= self.rank(served) => None,
            _ => Some(input),
        }
    }

    /// The acknowledge cycle: which input, or 7 if the request is gone.
    fn acknowledge(&mut self) -> u8 {
        let Some(input) = self.pending() else { return 7 };
        let bit = 1 << input;
        if !self.is_level(input) {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.lowest = input;
        }
        input
    }

    fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            // ICW1 clears the edge latches, the mask and what ICW4 had set.
            let lines = self.lines;
            *self = Self { lines, elcr: self.elcr, vector_base: self.vector_base, ..Self::new(self.cascade) };
            self.imr = 0;
            self.level_triggered = value & 8 != 0;
            self.single = value & 2 != 0;
            self.wants_icw4 = value & 1 != 0;
            self.irr = (0..8).filter(|&input| self.is_level(input)).fold(0, |irr, i| irr | lines & 1 << i);
            self.step = Step::Icw2;
        } else if value & 8 != 0 {
            if value & 0x40 != 0 {
                self.special_mask = value & 0x20 != 0;
            }
            self.poll = value & 4 != 0;
            if value & 2 != 0 {
                self.read_isr = value & 1 != 0;
            }
        } else {
            self.write_ocw2(value);
        }
    }

    fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        let serving = if self.special_mask { self.isr & !self.imr } else { self.isr };
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 | 0b101 => {
                if let Some(input) = self.first(serving) {
                    self.isr &= !(1 << input);
                    if value & 0x80 != 0 {
                        self.lowest = input;
                    }
                }
            }
            0b011 => self.isr &= !(1 << level),
            0b111 => {
                self.isr &= !(1 << level);
                self.lowest = level;
            }
            0b110 => self.lowest = level,
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.wants_icw4 { Step::Icw4 } else { Step::Ready };
        match self.step {
            Step::Ready => self.imr = value,
            Step::Icw2 => {
                self.vector_base = value & 0xf8;
                self.step = if self.single { after_icw3 } else { Step::Icw3 };
            }
            // How the pair is wired is not the guest's to say.
            Step::Icw3 => self.step = after_icw3,
            Step::Icw4 => {
                self.special_fully_nested = value & 0x10 != 0;
                self.auto_eoi = value & 2 != 0;
                self.step = Step::Ready;
            }
        }
    }

    fn read(&mut self, odd: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            return match self.pending() {
                Some(_) => 0x80 | self.acknowledge(),
                None => 0,
            };
        }
        match (odd, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }
}

/// Master and slave as a PC wires them. Ports 20h, 21h, A0h, A1h, 4D0h and 4D1h.
#[derive(Clone, Debug)]
pub struct PicPair {
    master: Pic,
    slave: Pic,
}

impl Default for PicPair {
    fn default() -> Self {
        Self { master: Pic::new(1 << CASCADE), slave: Pic::new(0) }
    }
}

impl PicPair {
    /// Sets one of the sixteen inputs; input 2 is the cascade and cannot be set.
    pub fn set_line(&mut self, irq: u8, asserted: bool) {
        match irq {
            CASCADE => {}
            0..=7 => self.master.set_line(irq, asserted),
            8..=15 => {
                self.slave.set_line(irq - 8, asserted);
                self.cascade();
            }
            _ => {}
        }
    }

    /// Wires the slave's output to the master.
    fn cascade(&mut self) {
        self.master.set_line(CASCADE, self.slave.pending().is_some());
    }

    /// The INT output: does an interrupt wait to be acknowledged?
    pub fn output(&self) -> bool {
        self.master.pending().is_some()
    }

    /// The acknowledge cycle: the vector. A request that is gone gives the spurious one.
    pub fn acknowledge(&mut self) -> u8 {
        let input = self.master.acknowledge();
        if input != CASCADE {
            return self.master.vector_base + input;
        }
        let input = self.slave.acknowledge();
        self.master.set_line(CASCADE, false);
        self.cascade();
        self.slave.vector_base + input
    }

    /// A register of the master (`slave` false) or slave is read; `odd` is the mask's port.
    pub fn read(&mut self, slave: bool, odd: bool) -> u8 {
        if !slave {
            return self.master.read(odd);
        }
        let polled = self.slave.poll;
        let value = self.slave.read(odd);
        if polled {
            self.master.set_line(CASCADE, false);
            self.cascade();
        }
        value
    }

    /// A register is written.
    pub fn write(&mut self, slave: bool, odd: bool, value: u8) {
        let pic = if slave { &mut self.slave } else { &mut self.master };
        if odd {
            pic.write_data(value)
        } else {
            pic.write_command(value)
        }
        self.cascade();
    }

    /// ELCR of the master or slave.
    pub fn elcr(&self, slave: bool) -> u8 {
        if slave { self.slave.elcr } else { self.master.elcr }
    }

    /// Sets ELCR: a set bit makes an input level-triggered. IRQ 0, 1, 2, 8 and 13 are always edges.
    pub fn set_elcr(&mut self, slave: bool, value: u8) {
        let (pic, mask) = if slave { (&mut self.slave, 0xde) } else { (&mut self.master, 0xf8) };
        pic.elcr = value & mask;
        let level: u8 = (0..8).filter(|&input| pic.is_level(input)).fold(0, |set, input| set | 1 << input);
        pic.irr = pic.irr & !level | pic.lines & level;
        self.cascade();
    }
}

impl Saved for PicPair {
    type State = [Pic; 2];
    const KIND: &'static str = "8259";
    const VERSION: u16 = 1;

    fn save(&self) -> Self::State {
        let Self { master, slave } = self;
        [master.clone(), slave.clone()]
    }

    fn restore(&mut self, [master, slave]: Self::State) -> Result<(), RestoreError> {
        let sound = |pic: &Pic| pic.lowest < 8 && pic.vector_base & 7 == 0 && pic.irr & !pic.lines == 0;
        ensure::<Self>(sound(&master) && sound(&slave), "a priority, vector or latch cannot be")?;
        ensure::<Self>(master.elcr & !0xf8 == 0 && slave.elcr & !0xde == 0, "ELCR has a fixed bit set")?;
        ensure::<Self>(master.cascade == 1 << CASCADE && slave.cascade == 0, "the cascade is rewired")?;
        *self = Self { master, slave };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Initialized as a PC's firmware does: vectors 20h and 28h, nothing masked.
    fn pair(icw4: u8) -> PicPair {
        let mut pair = PicPair::default();
        for (slave, base, cascade) in [(false, 0x20, 4), (true, 0x28, 2)] {
            pair.write(slave, false, 0x11);
            pair.write(slave, true, base);
            pair.write(slave, true, cascade);
            pair.write(slave, true, icw4);
            pair.write(slave, true, 0);
        }
        pair
    }

    #[test]
    fn higher_priority_preempts_and_lower_waits_for_eoi() {
        let mut pic = pair(1);
        pic.set_line(4, true);
        assert_eq!(pic.acknowledge(), 0x24);
        pic.set_line(6, true);
        assert!(!pic.output());
        pic.set_line(1, true);
        assert_eq!(pic.acknowledge(), 0x21);
        pic.write(false, false, 0x20);
        assert!(!pic.output(), "4 is still in service");
        pic.write(false, false, 0x20);
        assert_eq!(pic.acknowledge(), 0x26);
        pic.write(false, false, 0x66);
        pic.write(false, false, 0x0b);
        assert_eq!(pic.read(false, false), 0, "ISR is empty");
    }

    #[test]
    fn the_slave_comes_through_the_cascade() {
        let mut pic = pair(1);
        pic.set_line(12, true);
        pic.set_line(8, true);
        assert_eq!(pic.acknowledge(), 0x28);
        assert!(!pic.output());
        pic.write(true, false, 0x20);
        assert!(!pic.output(), "the master still serves its input 2");
        pic.write(false, false, 0x20);
        assert_eq!(pic.acknowledge(), 0x2c);
    }

    #[test]
    fn a_withdrawn_request_is_spurious() {
        let mut pic = pair(1);
        pic.set_line(3, true);
        assert!(pic.output());
        pic.set_line(3, false);
        assert!(!pic.output());
        assert_eq!(pic.acknowledge(), 0x27);
        pic.write(false, false, 0x0b);
        assert_eq!(pic.read(false, false), 0, "a spurious interrupt sets no ISR bit");
        // Withdrawn between the master's and the slave's acknowledge: IRQ 15, the master serves input 2.
        pic.set_line(9, true);
        pic.slave.irr = 0;
        assert_eq!(pic.acknowledge(), 0x2f);
        assert_eq!(pic.read(false, false), 4);
    }

    #[test]
    fn edges_are_latched_once_and_levels_repeat() {
        let mut pic = pair(1);
        pic.set_line(5, true);
        assert_eq!(pic.acknowledge(), 0x25);
        pic.write(false, false, 0x20);
        assert!(!pic.output(), "the line is still up but there was no new edge");
        pic.set_elcr(false, 0xff);
        assert_eq!(pic.elcr(false), 0xf8);
        assert_eq!(pic.acknowledge(), 0x25);
        pic.write(false, false, 0x20);
        assert!(pic.output(), "the level asks again");
        pic.set_line(5, false);
        assert!(!pic.output());
    }

    #[test]
    fn automatic_eoi_and_rotation() {
        let mut pic = pair(3);
        pic.write(false, false, 0x80); // rotate in automatic EOI
        pic.set_line(0, true);
        assert_eq!(pic.acknowledge(), 0x20);
        pic.set_line(0, false);
        pic.set_line(0, true);
        pic.set_line(7, true);
        assert_eq!(pic.acknowledge(), 0x27, "0 has become the lowest");
        pic.write(false, false, 0xc6); // set priority: 6 lowest
        assert_eq!(pic.master.lowest, 6);
    }

    #[test]
    fn special_fully_nested_mode_lets_the_slave_preempt_itself() {
        for (icw4, nested) in [(0x01, false), (0x11, true)] {
            let mut pic = pair(icw4);
            pic.set_line(12, true);
            assert_eq!(pic.acknowledge(), 0x2c);
            pic.set_line(9, true);
            assert_eq!(pic.output(), nested);
            if nested {
                assert_eq!(pic.acknowledge(), 0x29);
            }
        }
    }

    #[test]
    fn special_mask_mode_serves_below_what_is_masked() {
        let mut pic = pair(1);
        pic.set_line(2 + 1, true);
        pic.acknowledge();
        pic.set_line(7, true);
        assert!(!pic.output());
        pic.write(false, true, 1 << 3);
        pic.write(false, false, 0x68);
        assert_eq!(pic.acknowledge(), 0x27);
    }

    #[test]
    fn a_poll_acknowledges() {
        let mut pic = pair(1);
        pic.write(false, false, 0x0c);
        assert_eq!(pic.read(false, false), 0);
        pic.set_line(6, true);
        pic.write(false, false, 0x0c);
        assert_eq!(pic.read(false, false), 0x86);
        assert!(!pic.output());
        pic.set_line(10, true);
        pic.write(true, false, 0x0c);
        assert_eq!(pic.read(true, true), 0x82);
        assert!(!pic.output(), "polled away behind the master's back");
    }

    #[test]
    fn the_state_round_trips_and_nonsense_is_refused() {
        let mut pic = pair(0x13);
        pic.set_line(12, true);
        pic.set_line(1, true);
        pic.acknowledge();
        pic.write(true, false, 0x11); // in the middle of an initialization
        let mut copy = PicPair::default();
        copy.restore_record(&pic.to_record()).unwrap();
        assert_eq!(copy.save(), pic.save());
        let mut bad = pic.save();
        bad[0].lowest = 8;
        assert!(copy.restore(bad).is_err());
        assert_eq!(copy.save(), pic.save(), "a refused state changes nothing");
    }
}
