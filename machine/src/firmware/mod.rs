//! What firmware leaves in memory before a kernel starts: the memory map, ACPI tables, SMBIOS, the BIOS
//! data area. There is no firmware code; a loader writes these and starts the kernel.
//!
//! ```text
//!   00400  BIOS data area        20000  command line (64 KiB)     E0000  ACPI tables (64 KiB)
//!   01000  boot GDT              9FC00  extended BIOS data area   F0000  SMBIOS (64 KiB)
//!   02000  start information     A0000  (RAM that no map shows)   100000 RAM goes on
//!   07000  Linux zero page
//!   09000  boot page tables
//! ```

mod acpi;
mod bios_data;
mod dsdt;
mod e820;
mod hotplug;
mod smbios;

use base::GuestPhys;

pub use acpi::{ACPI_START, RSDP};
pub use e820::{E820Entry, E820Kind, memory_map};

/// Bytes that firmware puts somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Where.
    pub at: GuestPhys,
    /// What.
    pub bytes: Vec<u8>,
}

/// vCPUs that the tables have room for.
pub const MOST_VCPUS: u32 = 512;

/// All tables for a machine with so many vCPUs (1 to [`MOST_VCPUS`]) and so many bytes of RAM.
pub fn tables(vcpus: u32, memory: u64) -> Vec<Table> {
    let mut tables = acpi::tables(vcpus);
    tables.push(smbios::table(vcpus, memory));
    tables.push(bios_data::table());
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_machine_fits_and_nothing_overlaps() {
        let mut tables = tables(MOST_VCPUS, 1 << 40);
        tables.sort_by_key(|table| table.at);
        for pair in tables.windows(2) {
            assert!(pair[0].at.0 + pair[0].bytes.len() as u64 <= pair[1].at.0, "{:?}", pair[1].at);
        }
        let last = tables.last().unwrap();
        assert!(last.at.0 + (last.bytes.len() as u64) < 0x10_0000);
    }
}
