//! Linux's `boot_params` page (Documentation/arch/x86/zero-page.rst and boot.rst), by offsets.

use super::place;
use super::plan::Plan;
use crate::firmware::{RSDP, memory_map};

/// Where the setup header begins, in the page and in the file.
pub(super) const SETUP_HEADER: usize = 0x1f1;
/// It ends here at the latest.
pub(super) const SETUP_HEADER_END: usize = 0x290;

const E820_MOST: usize = 128;

/// The page under construction.
pub(super) struct ZeroPage(Vec<u8>);

impl ZeroPage {
    /// With a setup header: the file's, from [`SETUP_HEADER`] on.
    pub(super) fn new(header: &[u8], memory: u64) -> Self {
        let mut page = Self(vec![0; 4096]);
        page.0[SETUP_HEADER..SETUP_HEADER + header.len()].copy_from_slice(header);
        page.put(0x070, &RSDP.0.to_le_bytes()); // acpi_rsdp_addr
        page.put(0x1fa, &0xffffu16.to_le_bytes()); // vid_mode: normal
        page.put(0x210, &[0xff]); // type_of_loader: none of the assigned ones
        let map = memory_map(memory);
        page.put(0x1e8, &[map.len().min(E820_MOST) as u8]); // e820_entries
        for (index, entry) in map.iter().take(E820_MOST).enumerate() {
            let at = 0x2d0 + 20 * index; // e820_table
            page.put(at, &entry.start.to_le_bytes());
            page.put(at + 8, &entry.len.to_le_bytes());
            page.put(at + 16, &(entry.kind as u32).to_le_bytes());
        }
        page
    }

    pub(super) fn put(&mut self, at: usize, value: &[u8]) {
        self.0[at..at + value.len()].copy_from_slice(value);
    }

    /// Writes page and command line, and the initrd at the place chosen for it.
    pub(super) fn finish<'a>(
        mut self,
        plan: &mut Plan<'a>,
        command_line: Vec<u8>,
        initrd: Option<(u64, &'a [u8])>,
    ) {
        self.put(0x228, &(place::COMMAND_LINE as u32).to_le_bytes()); // cmd_line_ptr
        plan.put(place::COMMAND_LINE, command_line);
        if let Some((at, bytes)) = initrd {
            self.put(0x218, &(at as u32).to_le_bytes()); // ramdisk_image
            self.put(0x21c, &(bytes.len() as u32).to_le_bytes()); // ramdisk_size
            plan.put(at, bytes);
        }
        plan.put(place::ZERO_PAGE, self.0);
    }
}
