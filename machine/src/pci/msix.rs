//! MSI-X (PCI Local Bus Specification 3.0, 6.8.2): a table of messages that a function sends as interrupts.
//!
//! The table and the pending bits are in one of the function's BARs; the two bits that govern all of them are in
//! its configuration space, of which the function tells [`Msix::set_control`]. A message is a write to memory: while the
//! function is no bus master all vectors are as if masked, and what is raised waits.

use base::{RestoreError, Saved};
use engine::Width;
use serde::{Deserialize, Serialize};

/// The capability's ID.
pub const MSIX_CAPABILITY: u8 = 0x11;
/// The bits of its control register that the guest may write, at [`MSIX_CONTROL`].
pub const MSIX_CONTROL_WRITABLE: u16 = ENABLE | FUNCTION_MASK;
/// Where in the capability the control register is.
pub const MSIX_CONTROL: usize = 2;

const ENABLE: u16 = 1 << 15;
const FUNCTION_MASK: u16 = 1 << 14;
/// Bytes of a table entry.
const ENTRY: u64 = 16;
/// Vectors that the table can have.
const MOST: usize = 2048;

/// A write that is an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Where to.
    pub address: u64,
    /// What.
    pub data: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    address: u64,
    data: u32,
    masked: bool,
    pending: bool,
}

/// A function's MSI-X table. The struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Msix {
    entries: Vec<Entry>,
    control: u16,
}

impl Msix {
    /// A table of so many vectors, all masked, as after reset.
    ///
    /// # Panics
    /// With none or more than 2048: the function's plan is wrong.
    pub fn new(vectors: usize) -> Self {
        assert!((1..=MOST).contains(&vectors), "no MSI-X table has {vectors} vectors");
        let entry = Entry { address: 0, data: 0, masked: true, pending: false };
        Self { entries: vec![entry; vectors], control: 0 }
    }

    /// Vectors.
    pub fn vectors(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the table.
    pub fn table_len(&self) -> u64 {
        self.entries.len() as u64 * ENTRY
    }

    /// Bytes of the pending bits.
    pub fn pending_len(&self) -> u64 {
        self.entries.len().div_ceil(64) as u64 * 8
    }

    /// What follows the ID and the link in the capability: control, table and pending bits, both in this BAR.
    pub fn capability(&self, bar: u8, table: u32, pending: u32) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&(self.entries.len() as u16 - 1).to_le_bytes());
        bytes[2..6].copy_from_slice(&(table | u32::from(bar)).to_le_bytes());
        bytes[6..].copy_from_slice(&(pending | u32::from(bar)).to_le_bytes());
        bytes
    }

    /// Has the guest switched it on?
    pub fn enabled(&self) -> bool {
        self.control & ENABLE != 0
    }

    fn open(&self) -> bool {
        self.control & MSIX_CONTROL_WRITABLE == ENABLE
    }

    /// The control register has been written, or whether the function is a bus master. Gives what becomes due.
    pub fn set_control(&mut self, control: u16, master: bool) -> Vec<MsiMessage> {
        let mask = if master { 0 } else { FUNCTION_MASK };
        self.control = control & MSIX_CONTROL_WRITABLE | mask;
        (0..self.entries.len()).filter_map(|vector| self.release(vector)).collect()
    }

    /// The message of a pending vector that nothing masks any longer.
    fn release(&mut self, vector: usize) -> Option<MsiMessage> {
        let open = self.open();
        let entry = self.entries.get_mut(vector)?;
        let due = open && entry.pending && !entry.masked;
        entry.pending &= !due;
        due.then_some(MsiMessage { address: entry.address, data: entry.data })
    }

    /// The function raises a vector. Gives the message to send; a masked one is kept.
    pub fn raise(&mut self, vector: u16) -> Option<MsiMessage> {
        if !self.enabled() {
            return None;
        }
        self.entries.get_mut(usize::from(vector))?.pending = true;
        self.release(vector.into())
    }

    /// A load from the table.
    pub fn read(&self, offset: u64, width: Width) -> u64 {
        let dword = |at: u64| {
            let Some(entry) = self.entries.get((at / ENTRY) as usize) else { return 0 };
            match at % ENTRY {
                0 => entry.address as u32,
                4 => (entry.address >> 32) as u32,
                8 => entry.data,
                _ => u32::from(entry.masked),
            }
        };
        match width {
            Width::Qword if offset.is_multiple_of(8) => {
                u64::from(dword(offset)) | u64::from(dword(offset + 4)) << 32
            }
            _ => u64::from(dword(offset & !3)) >> (8 * (offset & 3)),
        }
    }

    /// A store: aligned doublewords and quadwords, as the specification has it; others are dropped. Gives
    /// what becomes due.
    pub fn write(&mut self, offset: u64, width: Width, value: u64) -> Option<MsiMessage> {
        if !offset.is_multiple_of(width.bytes()) {
            return None;
        }
        match width {
            Width::Dword => self.write_dword(offset, value as u32),
            Width::Qword => {
                let first = self.write_dword(offset, value as u32);
                self.write_dword(offset + 4, (value >> 32) as u32).or(first)
            }
            _ => None,
        }
    }

    fn write_dword(&mut self, offset: u64, value: u32) -> Option<MsiMessage> {
        let vector = (offset / ENTRY) as usize;
        let entry = self.entries.get_mut(vector)?;
        match offset % ENTRY {
            0 => entry.address = entry.address & !0xffff_ffff | u64::from(value & !3),
            4 => entry.address = entry.address & 0xffff_ffff | u64::from(value) << 32,
            8 => entry.data = value,
            _ => {
                entry.masked = value & 1 != 0;
                return self.release(vector);
            }
        }
        None
    }

    /// A load from the pending bits.
    pub fn read_pending(&self, offset: u64, width: Width) -> u64 {
        let bit = |at: u64| self.entries.get(at as usize).is_some_and(|entry| entry.pending);
        (0..8 * width.bytes()).filter(|&n| bit(8 * offset + n)).fold(0, |bits, n| bits | 1 << n)
    }
}

impl Saved for Msix {
    type State = Self;
    const KIND: &'static str = "msix";
    const VERSION: u16 = 1;

    fn save(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, state: Self) -> Result<(), RestoreError> {
        let Self { entries, control } = &state;
        crate::chip::ensure::<Self>(entries.len() == self.entries.len(), "another number of vectors")?;
        crate::chip::ensure::<Self>(control & !MSIX_CONTROL_WRITABLE == 0, "a reserved bit of the control")?;
        crate::chip::ensure::<Self>(entries.iter().all(|entry| entry.address & 3 == 0), "an odd address")?;
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Msix {
        let mut msix = Msix::new(3);
        msix.write(16, Width::Qword, 0xfee0_1000);
        msix.write(24, Width::Qword, 0x31); // data, and unmasked
        msix
    }

    const MESSAGE: MsiMessage = MsiMessage { address: 0xfee0_1000, data: 0x31 };

    #[test]
    fn an_open_vector_is_sent_at_once() {
        let mut msix = ready();
        assert_eq!(msix.raise(1), None, "not enabled");
        assert!(msix.set_control(ENABLE, true).is_empty(), "what was raised before is nothing");
        assert_eq!(msix.raise(1), Some(MESSAGE));
        assert_eq!((msix.raise(0), msix.raise(3), msix.raise(0xffff)), (None, None, None));
        assert_eq!(msix.read_pending(0, Width::Qword), 1, "vector 0 is masked and waits");
    }

    #[test]
    fn a_masked_vector_is_sent_once_when_the_mask_goes() {
        let mut msix = ready();
        msix.set_control(ENABLE | FUNCTION_MASK, true);
        assert_eq!((msix.raise(1), msix.raise(1)), (None, None));
        assert_eq!(msix.read_pending(0, Width::Byte), 2);
        assert_eq!(msix.set_control(ENABLE, true), [MESSAGE]);
        assert_eq!(msix.read_pending(0, Width::Byte), 0);
        assert_eq!(msix.write(28, Width::Dword, 1), None);
        assert_eq!(msix.raise(1), None);
        assert_eq!(msix.write(28, Width::Dword, 0), Some(MESSAGE));
        assert_eq!(msix.write(28, Width::Dword, 0), None);
    }

    #[test]
    fn what_is_raised_waits_until_the_function_is_a_bus_master() {
        let mut msix = ready();
        assert!(msix.set_control(ENABLE, false).is_empty());
        assert_eq!((msix.raise(1), msix.write(28, Width::Dword, 0)), (None, None));
        assert_eq!(msix.set_control(ENABLE, true), [MESSAGE]);
        assert!(msix.set_control(ENABLE, true).is_empty(), "it is sent once");
    }

    #[test]
    fn the_table_reads_as_written_and_odd_accesses_do_nothing() {
        let mut msix = ready();
        assert_eq!(msix.read(16, Width::Dword), 0xfee0_1000);
        assert_eq!(msix.read(24, Width::Qword), 0x31);
        assert_eq!(msix.read(18, Width::Word), 0xfee0);
        for (offset, width) in
            [(17, Width::Byte), (18, Width::Dword), (20, Width::Qword), (u64::MAX, Width::Byte)]
        {
            msix.write(offset, width, u64::MAX);
        }
        msix.write(48, Width::Dword, u64::MAX);
        assert_eq!((msix.read(16, Width::Qword), msix.read(48, Width::Dword)), (0xfee0_1000, 0));
        assert_eq!(msix.read(!7, Width::Qword), 0);
        assert_eq!(msix.capability(0, 0x8000, 0xc000), [2, 0, 0, 0x80, 0, 0, 0, 0xc0, 0, 0]);
    }

    #[test]
    fn the_state_round_trips_and_nonsense_is_refused() {
        let mut msix = ready();
        msix.set_control(ENABLE | FUNCTION_MASK, true);
        msix.raise(1);
        let mut copy = Msix::new(3);
        copy.restore_record(&msix.to_record()).unwrap();
        assert_eq!(copy, msix);
        assert!(Msix::new(2).restore_record(&msix.to_record()).is_err());
        assert!(copy.restore(Msix { control: 1, ..msix.clone() }).is_err());
    }
}
