//! The MC146818 real-time clock and its 128 bytes of CMOS RAM, ports 70h and 71h (Motorola data sheet
//! MC146818A).
//!
//! The time of day is arithmetic: an offset in nanoseconds between the registers' time and virtual time,
//! set from the host's clock at the start and changed when the guest sets the registers. While the SET bit
//! of register B is on, the time stands and the offset is computed anew when it goes off. The update is
//! instantaneous, so UIP warns for the 244 µs before it that the data sheet guarantees and no longer.

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::rtc_calendar::Civil;
use super::{Chip, Output, ensure};

const SECOND: i64 = 1_000_000_000;
/// How long before an update UIP is set, in nanoseconds.
const UIP_WARNING: i64 = 244_000;

const REGISTER_A: u8 = 0x0a;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;
/// Where PCs keep the century; the FADT says so, too.
pub const CENTURY: u8 = 0x32;

const A_UIP: u8 = 0x80;

const B_SET: u8 = 0x80;
const B_PERIODIC: u8 = 0x40;
const B_ALARM: u8 = 0x20;
const B_UPDATE: u8 = 0x10;
const B_BINARY: u8 = 0x04;
const B_24_HOURS: u8 = 0x02;

const C_IRQ: u8 = 0x80;
const C_PERIODIC: u8 = 0x40;
const C_ALARM: u8 = 0x20;
const C_UPDATE: u8 = 0x10;

/// RAM of the VM, as a BIOS would leave it in CMOS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySizes {
    /// Bytes below the PCI hole.
    pub low: u64,
    /// Bytes above 4 GiB.
    pub high: u64,
}

/// The clock. The struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtc {
    index: u8,
    /// CMOS; the bytes of the clock's registers hold the alarms, A and B.
    ram: Vec<u8>,
    /// Register C.
    flags: u8,
    /// Nanoseconds since 1970 at virtual time zero.
    offset: i64,
    /// The time at which the registers stand while SET is on, in nanoseconds since 1970.
    standing: Option<i64>,
    /// What the guest added to the day of the week.
    weekday_shift: u8,
    /// The virtual time up to which flags were raised.
    seen: u64,
}

impl Rtc {
    /// A clock that shows `unix_nanoseconds` (since 1970) at virtual time zero.
    pub fn new(unix_nanoseconds: i64, memory: MemorySizes) -> Self {
        let mut ram = vec![0; 128];
        ram[usize::from(REGISTER_A)] = 0x26; // 32 kHz crystal, 1024 Hz
        ram[usize::from(REGISTER_B)] = B_24_HOURS;
        ram[0x14] = 0x06; // equipment: FPU, mouse port
        let mut word = |at: usize, value: u64, most: u64| {
            ram[at..at + 2].copy_from_slice(&(value.min(most) as u16).to_le_bytes());
        };
        word(0x15, 640, 640);
        let extended = memory.low.saturating_sub(1 << 20) >> 10;
        word(0x17, extended, 0xffff);
        word(0x30, extended, 0xffff);
        word(0x34, memory.low.saturating_sub(16 << 20) >> 16, 0xffff);
        word(0x5b, memory.high >> 16, 0xffff);
        ram[0x5d] = (memory.high >> 32).min(0xff) as u8;
        let sum: u16 = ram[0x10..0x2e].iter().map(|&byte| u16::from(byte)).sum();
        ram[0x2e..0x30].copy_from_slice(&sum.to_be_bytes());
        Self { index: 0, ram, flags: 0, offset: unix_nanoseconds, standing: None, weekday_shift: 0, seen: 0 }
    }

    fn control(&self) -> u8 {
        self.ram[usize::from(REGISTER_B)]
    }

    /// Nanoseconds since 1970, as the registers have it.
    fn time(&self, now: u64) -> i64 {
        self.standing.unwrap_or_else(|| self.running_time(now))
    }

    fn running_time(&self, now: u64) -> i64 {
        self.offset.wrapping_add(now as i64)
    }

    fn encode(&self, value: i64) -> u8 {
        let value = value as u8;
        if self.control() & B_BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn decode(&self, value: u8) -> i64 {
        i64::from(if self.control() & B_BINARY != 0 { value } else { (value >> 4) * 10 + (value & 15) })
    }

    fn encode_hour(&self, hour: i64) -> u8 {
        if self.control() & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        self.encode((hour + 11) % 12 + 1) | if hour >= 12 { 0x80 } else { 0 }
    }

    fn decode_hour(&self, value: u8) -> i64 {
        if self.control() & B_24_HOURS != 0 {
            return self.decode(value);
        }
        self.decode(value & 0x7f) % 12 + if value & 0x80 != 0 { 12 } else { 0 }
    }

    fn read_register(&mut self, now: u64) -> u8 {
        let time = self.time(now);
        let civil = Civil::from_unix(time.div_euclid(SECOND));
        match self.index {
            0 => self.encode(civil.second),
            2 => self.encode(civil.minute),
            4 => self.encode_hour(civil.hour),
            6 => self.encode((civil.weekday - 1 + i64::from(self.weekday_shift)) % 7 + 1),
            7 => self.encode(civil.day),
            8 => self.encode(civil.month),
            9 => self.encode(civil.year.rem_euclid(100)),
            CENTURY => self.encode(civil.year.div_euclid(100)),
            REGISTER_A => {
                let soon = self.standing.is_none() && time.rem_euclid(SECOND) >= SECOND - UIP_WARNING;
                self.ram[usize::from(REGISTER_A)] | if soon { A_UIP } else { 0 }
            }
            REGISTER_C => std::mem::take(&mut self.flags),
            REGISTER_D => 0x80, // the battery is good
            index => self.ram[usize::from(index)],
        }
    }

    fn write_register(&mut self, value: u8, now: u64) {
        let index = usize::from(self.index);
        match self.index {
            0 | 2 | 4 | 6..=9 | CENTURY => self.write_time(value, now),
            REGISTER_A => self.ram[index] = value & !A_UIP,
            REGISTER_B => {
                if value & B_SET != 0 && self.standing.is_none() {
                    self.standing = Some(self.running_time(now));
                } else if value & B_SET == 0
                    && let Some(standing) = self.standing.take()
                {
                    self.offset = standing.wrapping_sub(now as i64);
                }
                // SET clears the update-ended enable.
                self.ram[index] = if value & B_SET != 0 { value & !B_UPDATE } else { value };
                self.update_irq_flag();
            }
            REGISTER_C | REGISTER_D => {}
            _ => self.ram[index] = value,
        }
    }

    fn write_time(&mut self, value: u8, now: u64) {
        let time = self.time(now);
        let mut civil = Civil::from_unix(time.div_euclid(SECOND));
        let number = self.decode(value);
        match self.index {
            0 => civil.second = number,
            2 => civil.minute = number,
            4 => civil.hour = self.decode_hour(value),
            6 => {
                self.weekday_shift = ((number - 1) - (civil.weekday - 1)).rem_euclid(7) as u8;
                return;
            }
            7 => civil.day = number,
            8 => civil.month = number.clamp(1, 12),
            9 => civil.year = civil.year.div_euclid(100) * 100 + number,
            // What nanoseconds in 64 bits can say without overflow.
            _ => civil.year = number.clamp(17, 21) * 100 + civil.year.rem_euclid(100),
        }
        let set = civil.to_unix().saturating_mul(SECOND).saturating_add(time.rem_euclid(SECOND));
        match &mut self.standing {
            Some(standing) => *standing = set,
            None => self.offset = set.wrapping_sub(now as i64),
        }
    }

    /// The periodic interrupt's period in nanoseconds, by register A's rate.
    fn period(&self) -> Option<u64> {
        let rate = match self.ram[usize::from(REGISTER_A)] & 15 {
            0 => return None,
            slow @ 1..=2 => slow + 7, // 256 and 128 Hz with this crystal
            rate => rate,
        };
        Some((SECOND as u64) << (rate - 1) >> 15)
    }

    /// Does a second of the day, 0 to 86399, match the alarm?
    fn alarm_matches(&self, second_of_day: i64) -> bool {
        let hour = self.encode_hour(second_of_day / 3600);
        let minute = self.encode(second_of_day / 60 % 60);
        let second = self.encode(second_of_day % 60);
        // Two high bits make a field match always.
        let same = |alarm: u8, field: u8| alarm & 0xc0 == 0xc0 || alarm == field;
        same(self.ram[1], second) && same(self.ram[3], minute) && same(self.ram[5], hour)
    }

    fn update_irq_flag(&mut self) {
        let enabled = self.flags & self.control() & (C_PERIODIC | C_ALARM | C_UPDATE) != 0;
        self.flags = self.flags & !C_IRQ | if enabled { C_IRQ } else { 0 };
    }

    /// Virtual time of the first update after `now`.
    fn next_update(&self, now: u64) -> u64 {
        now.saturating_add((SECOND - self.running_time(now).rem_euclid(SECOND)) as u64)
    }
}

impl Chip for Rtc {
    fn read(&mut self, offset: u16, now: u64) -> u8 {
        match offset {
            1 => self.read_register(now),
            _ => 0xff, // the index cannot be read
        }
    }

    fn write(&mut self, offset: u16, value: u8, now: u64) {
        match offset {
            1 => self.write_register(value, now),
            _ => self.index = value & 0x7f, // bit 7 masks the NMI, of which there is none
        }
    }

    fn advance(&mut self, now: u64) {
        let seen = std::mem::replace(&mut self.seen, now);
        if let Some(period) = self.period()
            && now / period != seen / period
        {
            self.flags |= C_PERIODIC;
        }
        if self.standing.is_none() {
            let second = |at: u64| self.running_time(at).div_euclid(SECOND);
            let (from, to) = (second(seen), second(now));
            if to > from {
                let day = 86_400;
                let alarm = (0..(to - from).min(day)).any(|n| self.alarm_matches((to - n).rem_euclid(day)));
                self.flags |= C_UPDATE | if alarm { C_ALARM } else { 0 };
            }
        }
        self.update_irq_flag();
    }

    fn deadline(&self) -> Option<u64> {
        if self.flags & C_IRQ != 0 {
            return None; // nothing new until register C is read
        }
        let enabled = self.control();
        let periodic = self
            .period()
            .filter(|_| enabled & B_PERIODIC != 0)
            .map(|period| (self.seen / period + 1).saturating_mul(period));
        let update = (enabled & (B_UPDATE | B_ALARM) != 0 && self.standing.is_none())
            .then(|| self.next_update(self.seen));
        [periodic, update].into_iter().flatten().min()
    }

    fn output(&mut self) -> Output {
        (self.flags & C_IRQ != 0).into()
    }
}

impl Saved for Rtc {
    type State = Self;
    const KIND: &'static str = "mc146818";
    const VERSION: u16 = 1;

    fn save(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, state: Self) -> Result<(), RestoreError> {
        let Self { index, ram, flags, offset: _, standing, weekday_shift, seen: _ } = &state;
        ensure::<Self>(*index < 128 && ram.len() == 128, "CMOS has 128 bytes")?;
        ensure::<Self>(flags & 0xf == 0 && *weekday_shift < 7, "a register is too wide")?;
        let set = state.control() & B_SET != 0;
        ensure::<Self>(set == standing.is_some(), "SET and the standing time disagree")?;
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-29 23:59:58 UTC, a Thursday.
    const START: i64 = 1_709_251_198 * SECOND;

    fn read(rtc: &mut Rtc, register: u8, now: u64) -> u8 {
        rtc.advance(now);
        rtc.write(0, register, now);
        rtc.read(1, now)
    }

    fn write(rtc: &mut Rtc, register: u8, value: u8, now: u64) {
        rtc.advance(now);
        rtc.write(0, register, now);
        rtc.write(1, value, now);
    }

    fn rtc() -> Rtc {
        Rtc::new(START, MemorySizes { low: 512 << 20, high: 3 << 30 })
    }

    fn clock(rtc: &mut Rtc, now: u64) -> [u8; 8] {
        [CENTURY, 9, 8, 7, 6, 4, 2, 0].map(|register| read(rtc, register, now))
    }

    #[test]
    fn the_time_is_shown_in_every_format() {
        let mut rtc = rtc();
        assert_eq!(clock(&mut rtc, 0), [0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58]);
        assert_eq!(clock(&mut rtc, 2 * SECOND as u64), [0x20, 0x24, 0x03, 0x01, 6, 0, 0, 0]);
        write(&mut rtc, REGISTER_B, B_BINARY, 0);
        assert_eq!(clock(&mut rtc, 0), [20, 24, 2, 29, 5, 0x80 | 11, 59, 58]);
        assert_eq!(clock(&mut rtc, 2 * SECOND as u64)[5], 12, "midnight is 12 AM");
    }

    #[test]
    fn the_guest_sets_the_clock_under_set() {
        let mut rtc = rtc();
        write(&mut rtc, REGISTER_B, B_SET | B_24_HOURS, 500);
        for (register, value) in
            [(CENTURY, 0x19), (9, 0x99), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x58), (0, 0x57)]
        {
            write(&mut rtc, register, value, 900);
        }
        assert_eq!(clock(&mut rtc, 5 * SECOND as u64)[1..4], [0x99, 0x12, 0x31], "it stands");
        write(&mut rtc, REGISTER_B, B_24_HOURS, 10 * SECOND as u64);
        assert_eq!(clock(&mut rtc, 13 * SECOND as u64 + 1000), [0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0]);
        write(&mut rtc, 6, 2, 0);
        assert_eq!(read(&mut rtc, 6, 0), 2);
    }

    #[test]
    fn update_in_progress_warns() {
        let mut rtc = rtc();
        assert_eq!(read(&mut rtc, REGISTER_A, 0), 0x26);
        assert_eq!(read(&mut rtc, REGISTER_A, 999_800_000), 0xa6);
        assert_eq!(read(&mut rtc, REGISTER_A, 1_000_000_000), 0x26);
    }

    #[test]
    fn the_update_interrupt_comes_each_second_and_is_cleared_by_c() {
        let mut rtc = rtc();
        write(&mut rtc, REGISTER_B, B_24_HOURS | B_UPDATE, 100);
        assert_eq!(rtc.deadline(), Some(SECOND as u64));
        rtc.advance(SECOND as u64);
        assert_eq!((rtc.output(), rtc.deadline()), (Output::High, None));
        assert_eq!(read(&mut rtc, REGISTER_C, SECOND as u64) & 0x90, 0x90);
        assert_eq!((rtc.output(), read(&mut rtc, REGISTER_C, SECOND as u64)), (Output::Low, 0));
    }

    #[test]
    fn the_periodic_interrupt_has_the_rate_of_a() {
        let mut rtc = rtc();
        write(&mut rtc, REGISTER_B, B_24_HOURS | B_PERIODIC, 0);
        let mut now = 0;
        for _ in 0..1024 {
            now = rtc.deadline().unwrap();
            assert_eq!(read(&mut rtc, REGISTER_C, now) & 0xc0, 0xc0);
        }
        assert!((999_000_000..1_001_000_000).contains(&now), "{now}");
    }

    #[test]
    fn the_alarm_matches_with_wild_fields() {
        let mut rtc = rtc();
        write(&mut rtc, 5, 0xff, 0);
        write(&mut rtc, 3, 0x00, 0);
        write(&mut rtc, 1, 0x01, 0);
        write(&mut rtc, REGISTER_B, B_24_HOURS | B_ALARM, 0);
        rtc.advance(2 * SECOND as u64);
        assert_eq!(rtc.output(), Output::Low);
        rtc.advance(3 * SECOND as u64); // 00:00:01
        assert_eq!((rtc.output(), read(&mut rtc, REGISTER_C, 0) & 0xa0), (Output::High, 0xa0));
    }

    #[test]
    fn cmos_knows_the_memory_and_keeps_bytes() {
        let mut rtc = rtc();
        let word = |rtc: &mut Rtc, at| u16::from_le_bytes([read(rtc, at, 0), read(rtc, at + 1, 0)]);
        assert_eq!([0x15, 0x17, 0x34].map(|at| word(&mut rtc, at)), [640, 0xffff, (496 << 20 >> 16) as u16]);
        assert_eq!(word(&mut rtc, 0x5b), (3u64 << 30 >> 16) as u16);
        write(&mut rtc, 0x7f, 0x5a, 0);
        assert_eq!((read(&mut rtc, 0xff, 0), read(&mut rtc, REGISTER_D, 0)), (0x5a, 0x80));
    }

    #[test]
    fn no_register_value_breaks_the_clock() {
        let mut rtc = rtc();
        for value in [0, 0x7f, 0x80, 0xaa, 0xff] {
            for register in 0..128 {
                write(&mut rtc, register, value, u64::MAX / 2);
                read(&mut rtc, register, u64::MAX / 2);
            }
            assert!(rtc.clone().restore(rtc.save()).is_ok());
        }
    }

    #[test]
    fn the_state_round_trips_and_nonsense_is_refused() {
        let mut rtc = rtc();
        write(&mut rtc, REGISTER_B, B_SET | B_24_HOURS, 700);
        write(&mut rtc, 0x40, 9, 700);
        let mut copy = Rtc::new(0, MemorySizes::default());
        copy.restore_record(&rtc.to_record()).unwrap();
        assert_eq!(copy, rtc);
        assert!(copy.restore(Rtc { standing: None, ..rtc.clone() }).is_err());
        assert!(copy.restore(Rtc { ram: vec![0; 3], ..rtc.clone() }).is_err());
    }
}
