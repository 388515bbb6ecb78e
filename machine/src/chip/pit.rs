//! The 8254 interval timer, ports 40h to 43h, and what of port 61h belongs to it.
//!
//! Counter 0 drives IRQ 0, counter 1 once refreshed DRAM, counter 2 drives the speaker through its gate.
//!
//! IRQ 0 follows the *rising* edges of OUT only: the line falls late, just before it rises again. A vCPU
//! that was off its host CPU for longer than the high half of a square wave would otherwise find its
//! request withdrawn and lose the tick.

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::counter::Counter;
use super::{Chip, Output, ensure};

/// The clock input: 14.31818 MHz / 12.
pub const FREQUENCY: u64 = 1_193_182;
const SECOND: u128 = 1_000_000_000;
/// DRAM refresh toggles bit 4 of port 61h so often, in nanoseconds: 18 ticks.
const REFRESH: u64 = 15_085;

fn ticks(now: u64) -> u64 {
    (u128::from(now) * u128::from(FREQUENCY) / SECOND) as u64
}

/// The first nanosecond of a tick.
fn nanoseconds(tick: u64) -> u64 {
    u64::try_from((u128::from(tick) * SECOND).div_ceil(u128::from(FREQUENCY))).unwrap_or(u64::MAX)
}

/// The timer. Offset 4 stands for port 61h.
#[derive(Debug)]
pub struct Pit {
    counters: [Counter; 3],
    /// Port 61h bits 0–3: gate, speaker and the parity enables, as written.
    control: u8,
    irq: bool,
    pulse: bool,
    tick: u64,
}

/// A timer at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PitState {
    counters: [Counter; 3],
    control: u8,
    irq: bool,
    tick: u64,
}

impl Default for Pit {
    fn default() -> Self {
        Self {
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            control: 0,
            irq: false,
            pulse: false,
            tick: 0,
        }
    }
}

impl Pit {
    /// The offset that stands for port 61h.
    pub const PORT_61: u16 = 4;

    fn command(&mut self, word: u8) {
        let tick = self.tick;
        match (word >> 6, word >> 4 & 3) {
            (3, _) => {
                // Read-back: bit 5 clear latches counts, bit 4 clear latches status.
                for (index, counter) in self.counters.iter_mut().enumerate() {
                    if word & 2 << index != 0 {
                        if word & 0x20 == 0 {
                            counter.latch(tick);
                        }
                        if word & 0x10 == 0 {
                            counter.latch_status(tick);
                        }
                    }
                }
            }
            (index, 0) => self.counters[usize::from(index)].latch(tick),
            (index, _) => {
                self.counters[usize::from(index)].control(word & 0x3f);
                if index == 0 {
                    self.irq = self.counters[0].out(tick);
                }
            }
        }
    }
}

impl Chip for Pit {
    fn read(&mut self, offset: u16, now: u64) -> u8 {
        match offset {
            0..=2 => self.counters[usize::from(offset)].read(self.tick),
            Self::PORT_61 => {
                self.control
                    | u8::from(now / REFRESH % 2 == 1) << 4
                    | u8::from(self.counters[2].out(self.tick)) << 5
            }
            _ => 0, // the control word cannot be read
        }
    }

    fn write(&mut self, offset: u16, value: u8, _now: u64) {
        match offset {
            0..=2 => {
                self.counters[usize::from(offset)].write(value, self.tick);
                if offset == 0 && !self.counters[0].out(self.tick) {
                    self.irq = false;
                }
            }
            Self::PORT_61 => {
                self.control = value & 0xf;
                self.counters[2].set_gate(value & 1 != 0, self.tick);
            }
            _ => self.command(value),
        }
    }

    fn advance(&mut self, now: u64) {
        self.tick = ticks(now);
        let tick = self.tick;
        let [clock, refresh, speaker] = &mut self.counters;
        if clock.advance(tick) {
            self.irq = true;
            self.pulse = true;
        }
        refresh.advance(tick);
        speaker.advance(tick);
    }

    fn deadline(&self) -> Option<u64> {
        self.counters[0].rises_at(self.tick).map(nanoseconds)
    }

    fn output(&mut self) -> Output {
        if std::mem::take(&mut self.pulse) { Output::Pulse } else { self.irq.into() }
    }
}

impl Saved for Pit {
    type State = PitState;
    const KIND: &'static str = "8254";
    const VERSION: u16 = 1;

    fn save(&self) -> PitState {
        // A pulse is consumed by the glue before anyone can save.
        let Self { counters, control, irq, pulse: _, tick } = self;
        PitState { counters: counters.clone(), control: *control, irq: *irq, tick: *tick }
    }

    fn restore(&mut self, state: PitState) -> Result<(), RestoreError> {
        let PitState { counters, control, irq, tick } = state;
        ensure::<Self>(counters.iter().all(Counter::is_sound), "a counter's mode or count cannot be")?;
        ensure::<Self>(control & !0xf == 0, "port 61h has a bit that cannot be written")?;
        ensure::<Self>(counters[0].gate() && counters[1].gate(), "gates 0 and 1 are tied high")?;
        *self = Self { counters, control, irq, pulse: false, tick };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pit: &mut Pit, now: u64) -> Output {
        pit.advance(now);
        pit.output()
    }

    fn program(pit: &mut Pit, word: u8, count: u16, now: u64) {
        pit.advance(now);
        pit.write(3, word, now);
        let port = u16::from(word >> 6);
        pit.write(port, count as u8, now);
        pit.write(port, (count >> 8) as u8, now);
    }

    #[test]
    fn counter_0_interrupts_a_hundred_times_a_second() {
        let mut pit = Pit::default();
        program(&mut pit, 0x34, 11_932, 0);
        let mut now = 0;
        for tick in 1..=100 {
            now = pit.deadline().unwrap();
            assert_eq!(at(&mut pit, now), Output::Pulse, "tick {tick}");
            assert_eq!(at(&mut pit, now + 1), Output::High);
        }
        assert!((999_900_000..1_000_200_000).contains(&now), "{now}");
    }

    #[test]
    fn a_new_control_word_withdraws_the_request_of_mode_0() {
        let mut pit = Pit::default();
        program(&mut pit, 0x30, 10, 0);
        assert_eq!(at(&mut pit, 1_000_000), Output::Pulse);
        pit.write(3, 0x30, 1_000_000);
        assert_eq!(pit.output(), Output::Low);
        assert_eq!(pit.deadline(), None);
    }

    #[test]
    fn the_speaker_gate_times_fifty_milliseconds_as_linux_does() {
        let mut pit = Pit::default();
        pit.advance(0);
        pit.write(Pit::PORT_61, 1, 0);
        program(&mut pit, 0xb0, 59_659, 0);
        pit.advance(49_000_000);
        assert_eq!(pit.read(Pit::PORT_61, 49_000_000) & 0x20, 0);
        pit.advance(50_010_000);
        assert_eq!(pit.read(Pit::PORT_61, 50_010_000) & 0x2f, 0x21);
    }

    #[test]
    fn the_refresh_bit_toggles() {
        let mut pit = Pit::default();
        let bits: Vec<_> = (0..4).map(|n| pit.read(Pit::PORT_61, n * REFRESH) & 0x10).collect();
        assert_eq!(bits, [0, 0x10, 0, 0x10]);
    }

    #[test]
    fn read_back_latches_several_counters() {
        let mut pit = Pit::default();
        program(&mut pit, 0x34, 1000, 0);
        program(&mut pit, 0x74, 2000, 0);
        pit.advance(nanoseconds(101));
        pit.write(3, 0xc0 | 2 | 4, 0);
        pit.advance(nanoseconds(500));
        assert_eq!(pit.read(0, 0), 0xb4);
        assert_eq!(u16::from_le_bytes([pit.read(0, 0), pit.read(0, 0)]), 900);
        assert_eq!(pit.read(1, 0), 0xb4);
        assert_eq!(u16::from_le_bytes([pit.read(1, 0), pit.read(1, 0)]), 1900);
    }

    #[test]
    fn the_state_round_trips() {
        let mut pit = Pit::default();
        program(&mut pit, 0x36, 1193, 5_000);
        pit.write(Pit::PORT_61, 3, 5_000);
        pit.advance(9_999_999);
        pit.output();
        pit.write(0, 0x12, 9_999_999); // half of a count
        let mut copy = Pit::default();
        copy.restore_record(&pit.to_record()).unwrap();
        assert_eq!(copy.save(), pit.save());
        assert_eq!(copy.deadline(), pit.deadline());
        let mut bad = pit.save();
        bad.control = 0x10;
        assert!(copy.restore(bad).is_err());
    }
}
