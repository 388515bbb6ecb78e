//! What the loader told us, copied out of its memory.

use crate::harness::Text;

use super::{multiboot, start_info};

/// How the kernel was loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Xen PVH: `hvm_start_info` of the given version.
    Pvh(u32),
    /// Multiboot 1.
    Multiboot,
}

/// One entry of the memory map; the kinds are those of E820.
#[derive(Clone, Copy)]
pub struct Range {
    /// First physical address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// 1 is RAM, 2 reserved, 3 ACPI reclaimable, 4 ACPI non-volatile, 5 unusable.
    pub kind: u32,
}

/// The most memory map entries that are kept.
pub const RANGES: usize = 64;

/// The loader's information.
pub struct BootInfo {
    /// How we were loaded.
    pub protocol: Protocol,
    /// The command line, cut at the text's capacity.
    pub command_line: Text,
    /// The memory map.
    pub ranges: [Range; RANGES],
    /// How many of `ranges` are valid.
    pub count: usize,
    /// Physical address of the RSDP, zero if the loader did not say.
    pub rsdp: u64,
}

impl BootInfo {
    /// Reads the structure that EAX (`magic`) and EBX (`address`) announced.
    pub fn read(magic: u32, address: u32) -> Option<Self> {
        let mut info = Self {
            protocol: Protocol::Multiboot,
            command_line: Text::new(),
            ranges: [Range { start: 0, size: 0, kind: 0 }; RANGES],
            count: 0,
            rsdp: 0,
        };
        let known = if magic == multiboot::MAGIC {
            multiboot::read(&mut info, address);
            true
        } else {
            start_info::read(&mut info, address)
        };
        known.then_some(info)
    }

    /// Adds a range, dropping it if the table is full.
    pub fn push(&mut self, range: Range) {
        if self.count < RANGES {
            self.ranges[self.count] = range;
            self.count += 1;
        }
    }

    /// The memory map.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges[..self.count]
    }
}
