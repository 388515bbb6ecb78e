//! The memory map, as BIOS function E820h gives it (ACPI 6.4, 15.1).

use base::{HOLE_END, HOLE_START};

use super::acpi::ACPI_START;
use crate::pci::{ECAM, ECAM_LEN};

/// What a range is; the numbers are those of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum E820Kind {
    /// RAM.
    Ram = 1,
    /// Not to be touched.
    Reserved = 2,
    /// ACPI tables.
    Acpi = 3,
}

/// A range of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// What it is.
    pub kind: E820Kind,
}

/// Where the extended BIOS data area begins and usable low memory ends.
pub(super) const EBDA: u64 = 0x9_fc00;
const SMBIOS: u64 = 0xf_0000;
const MIB: u64 = 0x10_0000;

/// The map of a machine with so many bytes of RAM, by rising address.
pub fn memory_map(memory: u64) -> Vec<E820Entry> {
    let low = memory.min(HOLE_START);
    let ranges = [
        (0, EBDA, E820Kind::Ram),
        (EBDA, 0xa_0000, E820Kind::Reserved),
        (ACPI_START, SMBIOS, E820Kind::Acpi),
        (SMBIOS, MIB, E820Kind::Reserved),
        (MIB, low, E820Kind::Ram),
        (ECAM.0, ECAM.0 + ECAM_LEN, E820Kind::Reserved),
        (0xfec0_0000, 0xfec0_1000, E820Kind::Reserved),
        (0xfee0_0000, 0xfee0_1000, E820Kind::Reserved),
        (HOLE_END, HOLE_END + (memory - low), E820Kind::Ram),
    ];
    let filled = ranges.into_iter().filter(|(start, end, _)| start < end);
    filled.map(|(start, end, kind)| E820Entry { start, len: end - start, kind }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_rises_and_has_all_the_ram_but_the_legacy_area() {
        for memory in [MIB, 64 * MIB, HOLE_START, HOLE_START + 5 * MIB] {
            let map = memory_map(memory);
            assert!(map.windows(2).all(|pair| pair[0].start + pair[0].len <= pair[1].start));
            let ram: u64 =
                map.iter().filter(|entry| entry.kind == E820Kind::Ram).map(|entry| entry.len).sum();
            assert_eq!(ram, memory - (MIB - EBDA));
        }
    }
}
