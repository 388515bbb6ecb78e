//! The I/O APIC: an 82093AA with 24 pins, version 20h for its EOI register (Intel 82093AA data sheet
//! 290566; the register at 40h as in the ICH9 data sheet, 13.5).
//!
//! Inputs are *asserted* or not; the polarity bit is kept for the guest and ignored, because every device
//! of the board says what it means. An edge on a masked pin is lost, as the data sheet has it. A level that
//! was sent is not sent again until its vector's EOI arrives.

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::ensure;
use super::lapic::{Delivery, Destination};

/// Pins.
pub const PINS: usize = 24;

const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;

const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const DELIVERY_STATUS: u64 = 1 << 12;
/// The bits of a redirection entry that exist.
const ENTRY: u64 = 0xff00_0000_0001_ffff;

/// An interrupt on its way to local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// To whom.
    pub destination: Destination,
    /// What.
    pub delivery: Delivery,
    /// The vector; without meaning for NMI, INIT and ExtINT.
    pub vector: u8,
    /// Level-triggered: its EOI is to come back.
    pub level: bool,
}

/// The I/O APIC. The struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApic {
    id: u8,
    select: u8,
    entries: [u64; PINS],
    /// Inputs that are asserted.
    lines: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self { id: 0, select: 0, entries: [MASKED; PINS], lines: 0 }
    }
}

impl IoApic {
    /// Sets an input; a message that this causes goes to `send`.
    pub fn set_line(&mut self, pin: usize, asserted: bool, send: &mut dyn FnMut(Message)) {
        let Some(&entry) = self.entries.get(pin) else { return };
        let bit = 1 << pin;
        let rose = asserted && self.lines & bit == 0;
        self.lines = if asserted { self.lines | bit } else { self.lines & !bit };
        if entry & LEVEL != 0 {
            self.service(pin, send);
        } else if rose && entry & MASKED == 0 {
            send(message(entry));
        }
    }

    /// Sends a level-triggered pin's message if it is due.
    fn service(&mut self, pin: usize, send: &mut dyn FnMut(Message)) {
        let entry = &mut self.entries[pin];
        if self.lines & 1 << pin != 0 && *entry & (MASKED | REMOTE_IRR | LEVEL) == LEVEL {
            *entry |= REMOTE_IRR;
            send(message(*entry));
        }
    }

    /// A local APIC has finished a level-triggered vector.
    pub fn end_of_interrupt(&mut self, vector: u8, send: &mut dyn FnMut(Message)) {
        for pin in 0..PINS {
            let entry = &mut self.entries[pin];
            if *entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR && *entry as u8 == vector {
                *entry &= !REMOTE_IRR;
                self.service(pin, send);
            }
        }
    }

    /// A load at `offset` in its page.
    pub fn read(&self, offset: u64) -> u32 {
        match offset {
            0x00 => self.select.into(),
            0x10 => self.register(),
            _ => 0,
        }
    }

    fn register(&self) -> u32 {
        match self.select {
            0 | 2 => u32::from(self.id) << 24, // the arbitration ID follows the ID
            1 => VERSION,
            select => {
                let entry =
                    usize::from(select).checked_sub(0x10).and_then(|index| self.entries.get(index / 2));
                entry.map_or(0, |&entry| if select & 1 == 0 { entry as u32 } else { (entry >> 32) as u32 })
            }
        }
    }

    /// A doubleword stored at `offset` in its page.
    pub fn write(&mut self, offset: u64, value: u32, send: &mut dyn FnMut(Message)) {
        match offset {
            0x00 => self.select = value as u8,
            0x10 if self.select == 0 => self.id = (value >> 24) as u8 & 0xf,
            0x10 => self.write_entry(value, send),
            0x40 => self.end_of_interrupt(value as u8, send),
            _ => {}
        }
    }

    fn write_entry(&mut self, value: u32, send: &mut dyn FnMut(Message)) {
        let Some(index) = usize::from(self.select).checked_sub(0x10) else { return };
        let pin = index / 2;
        let Some(entry) = self.entries.get_mut(pin) else { return };
        let kept = *entry & REMOTE_IRR;
        *entry = if index % 2 == 0 {
            *entry & !0xffff_ffff | u64::from(value)
        } else {
            *entry & 0xffff_ffff | u64::from(value) << 32
        };
        *entry = *entry & ENTRY & !(REMOTE_IRR | DELIVERY_STATUS) | kept;
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR; // an edge has none; drivers clear a stuck one in this way
        }
        self.service(pin, send);
    }
}

fn message(entry: u64) -> Message {
    Message {
        destination: Destination::from_byte((entry >> 56) as u8, entry & 1 << 11 != 0),
        delivery: Delivery::from_bits(entry >> 8),
        vector: entry as u8,
        level: entry & LEVEL != 0,
    }
}

impl Saved for IoApic {
    type State = Self;
    const KIND: &'static str = "ioapic";
    const VERSION: u16 = 1;

    fn save(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, state: Self) -> Result<(), RestoreError> {
        let Self { id, select: _, entries, lines } = &state;
        ensure::<Self>(*id < 16, "the ID is wider than 4 bits")?;
        ensure::<Self>(lines >> PINS == 0, "an input beyond the last pin")?;
        let sound = |entry: &u64| entry & !ENTRY == 0 && entry & (LEVEL | REMOTE_IRR) != REMOTE_IRR;
        ensure::<Self>(entries.iter().all(sound), "a redirection entry cannot be")?;
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(apic: &mut IoApic, register: u8, value: u32) -> Vec<Message> {
        let mut sent = Vec::new();
        apic.write(0, register.into(), &mut |_| ());
        apic.write(0x10, value, &mut |message| sent.push(message));
        sent
    }

    fn get(apic: &mut IoApic, register: u8) -> u32 {
        apic.write(0, register.into(), &mut |_| ());
        apic.read(0x10)
    }

    fn line(apic: &mut IoApic, pin: usize, asserted: bool) -> usize {
        let mut sent = 0;
        apic.set_line(pin, asserted, &mut |_| sent += 1);
        sent
    }

    #[test]
    fn the_registers_are_as_the_data_sheet_has_them() {
        let mut apic = IoApic::default();
        assert_eq!(get(&mut apic, 1), 0x0017_0020);
        set(&mut apic, 0, 0xff00_0000);
        assert_eq!((get(&mut apic, 0), get(&mut apic, 2)), (0x0f00_0000, 0x0f00_0000));
        set(&mut apic, 0x12, 0xffff_ffff);
        set(&mut apic, 0x13, 0xffff_ffff);
        assert_eq!((get(&mut apic, 0x12), get(&mut apic, 0x13)), (0x0001_afff, 0xff00_0000));
        assert_eq!((get(&mut apic, 0x10), get(&mut apic, 0x40), apic.read(0x20)), (0x1_0000, 0, 0));
    }

    #[test]
    fn an_edge_is_sent_once_and_lost_when_masked() {
        let mut apic = IoApic::default();
        assert_eq!(line(&mut apic, 4, true), 0);
        set(&mut apic, 0x19, 0x0300_0000);
        assert!(set(&mut apic, 0x18, 0x0834).is_empty(), "the edge under the mask is gone");
        line(&mut apic, 4, false);
        let mut sent = Vec::new();
        apic.set_line(4, true, &mut |message| sent.push(message));
        apic.set_line(4, true, &mut |message| sent.push(message));
        let destination = Destination::from_byte(3, true);
        assert_eq!(sent, [Message { destination, delivery: Delivery::Fixed, vector: 0x34, level: false }]);
    }

    #[test]
    fn a_level_waits_for_its_eoi() {
        let mut apic = IoApic::default();
        set(&mut apic, 0x22, 0x8051);
        assert_eq!(line(&mut apic, 9, true), 1);
        assert_eq!(get(&mut apic, 0x22), 0xc051);
        assert_eq!(line(&mut apic, 9, true), 0);
        let mut sent = 0;
        apic.end_of_interrupt(0x52, &mut |_| sent += 1);
        assert_eq!(sent, 0, "another vector");
        apic.write(0x40, 0x51, &mut |_| sent += 1);
        assert_eq!(sent, 1, "still asserted");
        line(&mut apic, 9, false);
        apic.end_of_interrupt(0x51, &mut |_| sent += 1);
        assert_eq!((sent, get(&mut apic, 0x22)), (1, 0x8051));
        set(&mut apic, 0x22, 0x1_8051);
        assert_eq!(line(&mut apic, 9, true), 0);
        assert_eq!(set(&mut apic, 0x22, 0x8051).len(), 1, "a level under the mask is sent afterwards");
        set(&mut apic, 0x22, 0x0051);
        assert_eq!(get(&mut apic, 0x22), 0x0051, "edge mode clears the remote IRR");
    }

    #[test]
    fn the_state_round_trips_and_nonsense_is_refused() {
        let mut apic = IoApic::default();
        set(&mut apic, 0x22, 0x8051);
        line(&mut apic, 9, true);
        let mut copy = IoApic::default();
        copy.restore_record(&apic.to_record()).unwrap();
        assert_eq!(copy, apic);
        assert!(copy.restore(IoApic { lines: 1 << 24, ..apic.clone() }).is_err());
        assert!(copy.restore(IoApic { id: 16, ..apic.clone() }).is_err());
        let mut entries = apic.entries;
        entries[0] = REMOTE_IRR;
        assert!(copy.restore(IoApic { entries, ..apic.clone() }).is_err());
    }
}
