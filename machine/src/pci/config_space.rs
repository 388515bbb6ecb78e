//! The configuration space of a function: 256 bytes, a mask of what the guest may write, and the BARs
//! (PCI Local Bus Specification 3.0, 6.1 and 6.2.5).

use base::{RestoreError, Saved};
use engine::Width;
use serde::{Deserialize, Serialize};

use super::{Space, Window};

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const HAS_CAPABILITIES: u8 = 1 << 4;
const COMMAND_PORTS: u8 = 1;
const COMMAND_MEMORY: u8 = 2;
const COMMAND_MASTER: u8 = 4;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Class code, 24 bits: class, subclass, interface.
    pub class: u32,
    /// Revision ID.
    pub revision: u8,
    /// Subsystem vendor and ID.
    pub subsystem: (u16, u16),
    /// Interrupt pin: 0 none, 1 INTA.
    pub pin: u8,
}

/// A base address register. `len` is a power of two: at least 4 for ports, 16 for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Ports.
    Port {
        /// Bytes.
        len: u32,
    },
    /// Memory, in 32 bits.
    Memory {
        /// Bytes.
        len: u32,
    },
    /// Memory, in 64 bits; takes this BAR and the next.
    Memory64 {
        /// Bytes.
        len: u64,
    },
}

/// A function's configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
    /// The bits that the guest may write.
    writable: Vec<u8>,
    bars: [Option<Bar>; 6],
    fresh: Vec<u8>,
    /// Where the next capability is to be linked.
    link: usize,
    /// Where the last capability ends.
    end: usize,
}

impl ConfigSpace {
    /// A type 0 header.
    pub fn new(identity: Identity) -> Self {
        let mut bytes = vec![0; 256];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0x00, &identity.vendor.to_le_bytes());
        put(0x02, &identity.device.to_le_bytes());
        put(0x08, &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes());
        put(0x2c, &identity.subsystem.0.to_le_bytes());
        put(0x2e, &identity.subsystem.1.to_le_bytes());
        put(0x3d, &[identity.pin]);
        let mut writable = vec![0; 256];
        writable[COMMAND] = 0x07; // ports, memory, bus master
        writable[COMMAND + 1] = 0x04; // INTx disable
        writable[0x3c] = 0xff; // interrupt line
        Self { fresh: bytes.clone(), bytes, writable, bars: [None; 6], link: CAPABILITIES, end: 0x40 }
    }

    /// Adds a BAR.
    ///
    /// # Panics
    /// If the BAR is no such thing: the function's plan is wrong.
    #[must_use]
    pub fn with_bar(mut self, number: usize, bar: Bar) -> Self {
        let (mask, kind) = match bar {
            Bar::Port { len } => (u64::from(!(len - 1)) & !3, 1),
            Bar::Memory { len } => (u64::from(!(len - 1)) & !15, 0),
            Bar::Memory64 { len } => (!(len - 1) & !15, 4),
        };
        let bytes = if matches!(bar, Bar::Memory64 { .. }) { 8 } else { 4 };
        let at = BARS + 4 * number;
        assert!(at + bytes <= BARS + 24, "BAR {number} does not exist");
        self.writable[at..at + bytes].copy_from_slice(&mask.to_le_bytes()[..bytes]);
        self.bytes[at] = kind;
        self.fresh[at] = kind;
        self.bars[number] = Some(bar);
        self
    }

    /// Adds a capability to the list: `body` follows its ID and link, `writable` are the bits of it that the
    /// guest may write. Gives where the capability is.
    ///
    /// # Panics
    /// If there is no room: the function's plan is wrong.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> u8 {
        let at = self.end.next_multiple_of(4);
        let end = at + 2 + body.len();
        assert!(end <= 256 && writable.len() <= body.len(), "no room for capability {id:#x}");
        let mut put = |at: usize, value: &[u8]| {
            self.bytes[at..at + value.len()].copy_from_slice(value);
            self.fresh[at..at + value.len()].copy_from_slice(value);
        };
        put(self.link, &[at as u8]);
        put(STATUS, &[HAS_CAPABILITIES]);
        put(at, &[id, 0]);
        put(at + 2, body);
        self.writable[at + 2..at + 2 + writable.len()].copy_from_slice(writable);
        self.link = at + 1;
        self.end = end;
        at as u8
    }

    /// A load; beyond the end it reads as ones.
    pub fn read(&self, register: u8, width: Width) -> u32 {
        (0..width.bytes() as usize).rev().fold(0, |value, n| {
            value << 8 | u32::from(self.bytes.get(usize::from(register) + n).copied().unwrap_or(0xff))
        })
    }

    /// A store, as far as the guest may.
    pub fn write(&mut self, register: u8, width: Width, value: u32) {
        for n in 0..width.bytes() as usize {
            let at = usize::from(register) + n;
            if let (Some(byte), Some(&mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = *byte & !mask | (value >> (8 * n)) as u8 & mask;
            }
        }
    }

    /// May the function be a bus master (6.2.2)? If not it neither touches memory nor sends messages, which are writes to
    /// memory.
    pub fn is_master(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_MASTER != 0
    }

    /// As after reset.
    pub fn reset(&mut self) {
        self.bytes.clone_from(&self.fresh);
    }

    fn dword(&self, at: usize) -> u64 {
        u64::from(self.read(at as u8, Width::Dword))
    }

    /// What the BARs decode now.
    pub fn windows(&self) -> Vec<Window> {
        let command = self.bytes[COMMAND];
        let bars = self.bars.iter().enumerate();
        bars.filter_map(|(number, bar)| {
            let at = BARS + 4 * number;
            let (space, enable, start, len) = match (*bar)? {
                Bar::Port { len } => (Space::Port, COMMAND_PORTS, self.dword(at) & !3, u64::from(len)),
                Bar::Memory { len } => (Space::Memory, COMMAND_MEMORY, self.dword(at) & !15, u64::from(len)),
                Bar::Memory64 { len } => {
                    (Space::Memory, COMMAND_MEMORY, self.dword(at) & !15 | self.dword(at + 4) << 32, len)
                }
            };
            (command & enable != 0).then_some(Window { space, start, len, bar: number as u8 })
        })
        .collect()
    }
}

/// A configuration space at rest: what the guest has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSpaceState {
    bytes: Vec<u8>,
}

impl Saved for ConfigSpace {
    type State = ConfigSpaceState;
    const KIND: &'static str = "pci-config";
    const VERSION: u16 = 1;

    fn save(&self) -> ConfigSpaceState {
        // The rest is the function's construction.
        let Self { bytes, writable: _, bars: _, fresh: _, link: _, end: _ } = self;
        ConfigSpaceState { bytes: bytes.clone() }
    }

    fn restore(&mut self, state: ConfigSpaceState) -> Result<(), RestoreError> {
        let ConfigSpaceState { bytes } = state;
        let differs = |(at, byte): (usize, &u8)| (byte ^ self.fresh[at]) & !self.writable[at] != 0;
        crate::chip::ensure::<Self>(bytes.len() == 256, "it has 256 bytes")?;
        crate::chip::ensure::<Self>(!bytes.iter().enumerate().any(differs), "it is another function's")?;
        self.bytes = bytes;
        Ok(())
    }
}
