//! Where loaders put things; the map is in [`crate::firmware`].

use base::HOLE_START;

use super::{LoadError, Request};

/// The GDT that the entry state refers to.
pub(super) const GDT: u64 = 0x1000;
/// `hvm_start_info` or the multiboot information, with their module lists.
pub(super) const START_INFO: u64 = 0x2000;
/// The memory map in the protocol's own form.
pub(super) const MEMORY_MAP: u64 = 0x3000;
/// Texts of the modules.
pub(super) const MODULE_TEXTS: u64 = 0x4000;
/// Linux's `boot_params`.
pub(super) const ZERO_PAGE: u64 = 0x7000;
/// Top of a stack for kernels that expect one.
pub(super) const STACK_TOP: u64 = 0x8ff0;
/// Page tables that map the first 4 GiB one to one.
pub(super) const PAGE_TABLES: u64 = 0x9000;
/// The command line.
pub(super) const COMMAND_LINE: u64 = 0x2_0000;
/// The longest command line that fits, without its NUL.
pub(super) const COMMAND_LINE_MOST: usize = 0xffff;
/// Where kernels may begin.
pub(super) const HIGH_MEMORY: u64 = 0x10_0000;

const PAGE: u64 = 4096;

/// The end of the RAM below the PCI hole.
pub(super) fn low_end(memory: u64) -> u64 {
    memory.min(HOLE_START)
}

/// Checks that `len` bytes at `at` are free low RAM; gives their end.
pub(super) fn check_range(at: u64, len: u64, memory: u64) -> Result<u64, LoadError> {
    let end = low_end(memory);
    match at.checked_add(len) {
        Some(last) if at >= HIGH_MEMORY && last <= end => Ok(last),
        _ => Err(LoadError::MemoryTooSmall { at, len, memory, end }),
    }
}

/// The command line with its NUL.
pub(super) fn command_line(text: &str, most: usize) -> Result<Vec<u8>, LoadError> {
    let most = most.min(COMMAND_LINE_MOST);
    if text.len() > most {
        return Err(LoadError::CommandLineTooLong { len: text.len(), most });
    }
    Ok([text.as_bytes(), &[0]].concat())
}

/// Where an initrd of `size` bytes goes: as high as it may, on a page of its own, above `kernel_end` and
/// below `limit`.
pub(super) fn initrd(
    size: u64,
    kernel_end: u64,
    limit: u64,
    request: &Request<'_>,
) -> Result<u64, LoadError> {
    let top = low_end(request.memory).min(limit) / PAGE * PAGE;
    let bottom = kernel_end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    let room = top.saturating_sub(bottom);
    if size > room {
        return Err(LoadError::InitrdTooLarge { size, room });
    }
    Ok((top - size) / PAGE * PAGE)
}
