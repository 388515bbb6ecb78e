//! One counter of the 8254 (Intel 8254 data sheet 231164), as a function of time.
//!
//! Nothing counts here. A counter knows the tick at which its counting element was loaded; its value and
//! its output at any later tick are arithmetic:
//!
//! ```text
//!   mode   value after e ticks       OUT
//!   0      N − e, wrapping           low until e = N, then high
//!   1      N − e, wrapping           low until e = N (from the trigger), then high
//!   2      N − e mod N               low for the last tick of each N
//!   3      two at a time             high for ⌈N/2⌉, low for ⌊N/2⌋
//!   4, 5   N − e, wrapping           low for the one tick e = N
//! ```
//!
//! A new count in modes 2 and 3 takes effect at the end of the period (mode 3: half period) under way, so
//! it is kept as what comes `next` until that tick has passed.

use serde::{Deserialize, Serialize};

/// How the count is read and written: the control word's RW field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Least significant byte only.
    Low = 1,
    /// Most significant byte only.
    High = 2,
    /// Least significant, then most significant.
    Both = 3,
}

/// What the counting element does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Run {
    /// A control word was written, the count not yet.
    Idle,
    /// Modes 1 and 5: waits for the gate to rise.
    Armed,
    /// Loaded at this tick and counting.
    Counting { since: u64 },
    /// The gate is low; counted so many ticks before.
    Held { elapsed: u64 },
}

/// One counter. The struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    mode: u8,
    access: Access,
    bcd: bool,
    /// The count, 1 to 65536 (10000 in BCD).
    count: u32,
    gate: bool,
    run: Run,
    /// The tick at which a new count takes effect, and the count.
    next: Option<(u64, u32)>,
    /// The first byte of a count of two.
    first_byte: Option<u8>,
    /// Is the most significant byte read next?
    read_high: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
    /// The tick up to which rising edges were reported.
    seen: u64,
}

impl Counter {
    /// As after power-up, which the data sheet leaves undefined: idle in mode 0.
    pub fn new(gate: bool) -> Self {
        Self {
            mode: 0,
            access: Access::Both,
            bcd: false,
            count: 0x1_0000,
            gate,
            run: Run::Idle,
            next: None,
            first_byte: None,
            read_high: false,
            latched: None,
            latched_status: None,
            seen: 0,
        }
    }

    /// Can a state like this be?
    pub fn is_sound(&self) -> bool {
        let most = if self.bcd { 10_000 } else { 0x1_0000 };
        let good = |count: u32| (1..=most).contains(&count);
        self.mode < 6 && good(self.count) && self.next.is_none_or(|(_, count)| good(count))
    }

    fn modulus(&self) -> u64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// Ticks since the counting element was loaded.
    fn elapsed(&self, tick: u64) -> Option<u64> {
        match self.run {
            Run::Counting { since } => Some((tick.wrapping_sub(since) as i64).max(0) as u64),
            Run::Held { elapsed } => Some(elapsed),
            Run::Idle | Run::Armed => None,
        }
    }

    /// The counting element as a number.
    fn value(&self, tick: u64) -> u32 {
        let count = u64::from(self.count);
        let Some(elapsed) = self.elapsed(tick) else { return 0 };
        let value = match self.mode {
            2 => count - elapsed % count,
            3 => {
                let (phase, high) = (elapsed % count, count.div_ceil(2));
                let into_half = if phase < high { phase } else { phase - high };
                (count & !1).wrapping_sub(2 * into_half)
            }
            _ => count.wrapping_sub(elapsed % self.modulus()),
        };
        // Counting down through zero goes on at the top.
        (value.wrapping_add(self.modulus()) % self.modulus()) as u32
    }

    /// The value as the guest reads it: sixteen bits, binary or four decimal digits.
    fn readable(&self, tick: u64) -> u16 {
        let value = self.value(tick);
        if !self.bcd {
            return value as u16;
        }
        [1000, 100, 10, 1].iter().fold(0, |bcd, unit| bcd << 4 | (value / unit % 10) as u16)
    }

    /// OUT.
    pub fn out(&self, tick: u64) -> bool {
        let count = u64::from(self.count);
        if matches!(self.run, Run::Held { .. }) && matches!(self.mode, 2 | 3) {
            return true;
        }
        match (self.mode, self.elapsed(tick)) {
            (0, elapsed) => elapsed.is_some_and(|elapsed| elapsed >= count),
            (_, None) => true,
            (1, Some(elapsed)) => elapsed >= count,
            (2, Some(elapsed)) => elapsed % count != count - 1,
            (3, Some(elapsed)) => elapsed % count < count.div_ceil(2),
            (_, Some(elapsed)) => elapsed != count,
        }
    }

    /// Elapsed ticks at which OUT rises next after `elapsed`.
    fn next_rise(&self, elapsed: u64) -> Option<u64> {
        let count = u64::from(self.count);
        match self.mode {
            0 | 1 => (elapsed < count).then_some(count),
            2 | 3 => (elapsed / count).checked_add(1)?.checked_mul(count),
            _ => (elapsed <= count).then_some(count + 1),
        }
    }

    /// The tick of the next rising edge after `tick`.
    pub fn rises_at(&self, tick: u64) -> Option<u64> {
        let Run::Counting { since } = self.run else { return None };
        let rise = since.wrapping_add(self.next_rise(self.elapsed(tick)?)?);
        match self.next {
            // The end of a period is a rise; the middle of one only starts the low half.
            Some((at, _)) if at <= rise => Some(at),
            _ => Some(rise),
        }
    }

    /// Catches up with the time. True if OUT rose since the last call.
    pub fn advance(&mut self, tick: u64) -> bool {
        let mut rose = false;
        if let Some((at, count)) = self.next
            && tick >= at
        {
            // The last tick before the switch still counted by the old value.
            let was_high = self.out(at.wrapping_sub(1));
            rose = self.rose_between(self.seen, at.wrapping_sub(1));
            self.next = None;
            self.count = count;
            // In mode 3 the switch may fall in the middle: then the low half of the new count begins.
            let middle = self.mode == 3 && was_high;
            let before = if middle { u64::from(count).div_ceil(2) } else { 0 };
            self.run = Run::Counting { since: at.wrapping_sub(before) };
            rose |= !middle;
            self.seen = at;
        }
        rose |= self.rose_between(self.seen, tick);
        self.seen = tick;
        rose
    }

    fn rose_between(&self, from: u64, to: u64) -> bool {
        let Run::Counting { .. } = self.run else { return false };
        let (Some(from), Some(to)) = (self.elapsed(from), self.elapsed(to)) else { return false };
        self.next_rise(from).is_some_and(|rise| rise <= to)
    }

    /// A control word for this counter: `word` is its low six bits, with RW not zero.
    pub fn control(&mut self, word: u8) {
        self.mode = match word >> 1 & 7 {
            mode @ 0..=5 => mode,
            mode => mode - 4, // 6 and 7 are 2 and 3
        };
        self.access = match word >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        self.bcd = word & 1 != 0;
        self.count = self.count.min(self.modulus() as u32);
        self.run = Run::Idle;
        self.next = None;
        self.first_byte = None;
        self.read_high = false;
        self.latched = None;
        self.latched_status = None;
    }

    /// The counter latch command.
    pub fn latch(&mut self, tick: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.readable(tick));
        }
    }

    /// The status part of the read-back command.
    pub fn latch_status(&mut self, tick: u64) {
        if self.latched_status.is_none() {
            let null = match self.run {
                Run::Idle => true,
                Run::Counting { since } => (tick.wrapping_sub(since) as i64) < 0 || self.next.is_some(),
                Run::Armed | Run::Held { .. } => self.next.is_some(),
            };
            self.latched_status = Some(
                u8::from(self.out(tick)) << 7
                    | u8::from(null) << 6
                    | (self.access as u8) << 4
                    | self.mode << 1
                    | u8::from(self.bcd),
            );
        }
    }

    /// The counter's port is read.
    pub fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched.unwrap_or_else(|| self.readable(tick)).to_le_bytes();
        match self.access {
            Access::Low => {
                self.latched = None;
                low
            }
            Access::High => {
                self.latched = None;
                high
            }
            Access::Both if self.read_high => {
                self.read_high = false;
                self.latched = None;
                high
            }
            Access::Both => {
                self.read_high = true;
                low
            }
        }
    }

    /// The counter's port is written.
    pub fn write(&mut self, value: u8, tick: u64) {
        let raw = match (self.access, self.first_byte) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::Both, None) => {
                self.first_byte = Some(value);
                if self.mode == 0 {
                    self.run = Run::Idle; // the first byte stops the counter
                }
                return;
            }
            (Access::Both, Some(low)) => u16::from_le_bytes([low, value]),
        };
        self.first_byte = None;
        let count = if self.bcd {
            (0..4).rev().fold(0, |sum, digit| sum * 10 + u32::from(raw >> (4 * digit) & 15).min(9))
        } else {
            u32::from(raw)
        };
        self.load(if count == 0 { self.modulus() as u32 } else { count }, tick);
    }

    fn load(&mut self, count: u32, tick: u64) {
        let start = tick.wrapping_add(1); // the next clock pulse loads the counting element
        match (self.mode, self.run) {
            (1 | 5, Run::Idle) => {
                self.count = count;
                self.run = Run::Armed;
            }
            (1 | 5, _) => self.count = count, // used at the next trigger
            (2 | 3, Run::Counting { since }) => {
                let old = u64::from(self.count);
                let elapsed = self.elapsed(tick).unwrap_or(0);
                let (period, phase) = (elapsed / old, elapsed % old);
                let middle = old.div_ceil(2);
                let end = if self.mode == 3 && phase < middle { middle } else { old };
                self.next = Some((since.wrapping_add(period * old + end), count));
            }
            _ => {
                self.count = count;
                self.run = if self.gate { Run::Counting { since: start } } else { Run::Held { elapsed: 0 } };
            }
        }
        self.seen = tick;
    }

    /// Sets the gate.
    pub fn set_gate(&mut self, gate: bool, tick: u64) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        self.run = match (self.mode, self.run) {
            (1 | 5, Run::Armed | Run::Counting { .. }) if gate => {
                Run::Counting { since: tick.wrapping_add(1) }
            }
            (2 | 3, Run::Held { .. }) if gate => Run::Counting { since: tick.wrapping_add(1) },
            (0 | 4, Run::Held { elapsed }) if gate => Run::Counting { since: tick.wrapping_sub(elapsed) },
            (0 | 2..=4, Run::Counting { .. }) if !gate => {
                if let Some((_, count)) = self.next.take() {
                    self.count = count;
                }
                Run::Held { elapsed: self.elapsed(tick).unwrap_or(0) }
            }
            (_, run) => run,
        };
        self.seen = tick;
    }

    /// The gate.
    pub fn gate(&self) -> bool {
        self.gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programmed(mode: u8, count: u16) -> Counter {
        let mut counter = Counter::new(true);
        counter.control(0x30 | mode << 1);
        let [low, high] = count.to_le_bytes();
        counter.write(low, 100);
        counter.write(high, 100);
        counter
    }

    fn read(counter: &mut Counter, tick: u64) -> u16 {
        let low = counter.read(tick);
        u16::from_le_bytes([low, counter.read(tick)])
    }

    #[test]
    fn mode_0_rises_once_n_plus_1_clocks_after_the_write() {
        let mut counter = programmed(0, 5);
        assert!(!counter.out(100) && !counter.out(105) && counter.out(106));
        assert_eq!(read(&mut counter, 103), 3);
        assert_eq!(counter.rises_at(100), Some(106));
        assert!(!counter.advance(105));
        assert!(counter.advance(106));
        assert!(!counter.advance(0x20_0000) && counter.out(0x20_0000));
        assert_eq!(read(&mut counter, 107), 0xffff, "it goes on through zero");
        assert_eq!(counter.rises_at(107), None);
    }

    #[test]
    fn mode_2_divides() {
        let mut counter = programmed(2, 4);
        let waves: Vec<_> = (101..109).map(|tick| (counter.out(tick), read(&mut counter, tick))).collect();
        assert_eq!(waves[..4], [(true, 4), (true, 3), (true, 2), (false, 1)]);
        assert_eq!(waves[4..], waves[..4]);
        assert_eq!(counter.rises_at(101), Some(105));
        assert!(counter.advance(105) && !counter.advance(106) && counter.advance(1000));
    }

    #[test]
    fn mode_2_takes_a_new_count_at_the_end_of_the_period() {
        let mut counter = programmed(2, 10);
        counter.advance(103);
        counter.write(4, 103);
        counter.write(0, 103);
        assert_eq!(read(&mut counter, 110), 1);
        assert_eq!(counter.rises_at(103), Some(111));
        assert!(counter.advance(111));
        assert_eq!(read(&mut counter, 111), 4);
        assert_eq!(counter.rises_at(111), Some(115));
    }

    #[test]
    fn mode_3_is_square_and_counts_by_two() {
        let mut counter = programmed(3, 5);
        let out: Vec<_> = (101..111).map(|tick| counter.out(tick)).collect();
        assert_eq!(out, [true, true, true, false, false, true, true, true, false, false]);
        let values: Vec<_> = (101..106).map(|tick| read(&mut counter, tick)).collect();
        assert_eq!(values, [4, 2, 0, 4, 2]);
        assert_eq!(counter.rises_at(101), Some(106));
    }

    #[test]
    fn mode_3_takes_a_new_count_at_the_half() {
        let mut counter = programmed(3, 10);
        counter.advance(102);
        counter.write(4, 102);
        counter.write(0, 102);
        assert!(counter.out(105));
        assert!(!counter.advance(106), "the middle is a fall");
        assert!(!counter.out(106) && !counter.out(107) && counter.out(108), "a low half of two ticks");
        assert!(counter.advance(108));
    }

    #[test]
    fn mode_4_strobes_once() {
        let mut counter = programmed(4, 3);
        let out: Vec<_> = (100..107).map(|tick| counter.out(tick)).collect();
        assert_eq!(out, [true, true, true, true, false, true, true]);
        assert!(!counter.advance(104) && counter.advance(105) && !counter.advance(70_000));
    }

    #[test]
    fn a_low_gate_holds_the_count() {
        let mut counter = programmed(0, 1000);
        counter.set_gate(false, 201);
        assert_eq!(read(&mut counter, 5000), 900);
        counter.set_gate(true, 6000);
        assert_eq!(read(&mut counter, 6010), 890);
        let mut square = programmed(3, 1000);
        square.set_gate(false, 101 + 700);
        assert!(square.out(9000), "OUT goes high at once");
        square.set_gate(true, 9000);
        assert_eq!(square.rises_at(9001), Some(10_001));
    }

    #[test]
    fn a_one_shot_starts_with_the_gate() {
        let mut counter = programmed(1, 8);
        counter.set_gate(false, 150);
        assert!(counter.out(200));
        counter.set_gate(true, 200);
        assert!(!counter.out(201) && !counter.out(208) && counter.out(209));
    }

    #[test]
    fn decimal_counts_count_in_decimal() {
        let mut counter = Counter::new(true);
        counter.control(0x31);
        counter.write(0x00, 0);
        counter.write(0x10, 0);
        assert_eq!(read(&mut counter, 2), 0x0999);
        assert_eq!(read(&mut counter, 1002), 0x9999);
    }

    #[test]
    fn latches_hold_until_read() {
        let mut counter = programmed(2, 1000);
        counter.latch(201);
        counter.latch(301); // a second latch is ignored
        counter.latch_status(201);
        assert_eq!(counter.read(500), 0xb4, "OUT high, loaded, both bytes, mode 2");
        assert_eq!(read(&mut counter, 500), 900);
        assert_eq!(read(&mut counter, 501), 600);
    }
}
