//! Multiboot 1 (Multiboot Specification 0.6.96): ELF of either class, or a flat file with addresses in the
//! header (the “a.out kludge”).

use x86::Gpr;

use super::elf::{Elf, is_elf};
use super::pvh::module_texts;
use super::{KernelKind, LoadError, Plan, Request, entry, place};
use crate::firmware::memory_map;

const MAGIC: u32 = 0x1bad_b002;
/// EAX at entry.
const LOADED: u32 = 0x2bad_b002;
/// The header lies in so many first bytes.
const SEARCHED: usize = 8192;

/// Header flags: modules on pages, memory information, video mode; the kludge.
const ALIGN: u32 = 1 << 0;
const MEMORY: u32 = 1 << 1;
const ADDRESSES: u32 = 1 << 16;
/// Flags that a loader must understand.
const MANDATORY: u32 = 0xffff;

/// Information flags: memory, command line, modules, memory map, loader name.
const INFO: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
const INFO_LEN: u64 = 116;
const LOADER_NAME: u64 = place::START_INFO + 0x80;
const MODULES: u64 = place::START_INFO + 0xa0;

/// The header as a place in the file.
pub(super) struct Header {
    at: usize,
    flags: u32,
    /// header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr.
    addresses: [u32; 5],
}

/// Searches the header.
pub(super) fn find_header(file: &[u8]) -> Option<Header> {
    let searched = &file[..file.len().min(SEARCHED)];
    let word =
        |at: usize| file.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    (0..searched.len().saturating_sub(11)).step_by(4).find_map(|at| {
        let (magic, flags, checksum) = (word(at)?, word(at + 4)?, word(at + 8)?);
        let sound = magic == MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0;
        let addresses = [0, 1, 2, 3, 4].map(|n| word(at + 12 + 4 * n).unwrap_or(0));
        sound.then_some(Header { at, flags, addresses })
    })
}

pub(super) fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, LoadError> {
    let header = find_header(request.kernel)
        .ok_or(LoadError::NotAKernel { seems: "a file without a multiboot header" })?;
    if header.flags & MANDATORY & !(ALIGN | MEMORY) != 0 {
        return Err(LoadError::Unsupported("its multiboot header demands a video mode or something unknown"));
    }
    let mut plan = Plan::new(KernelKind::Multiboot, entry::protected(0));
    let end = if header.flags & ADDRESSES != 0 {
        header.put_flat(&mut plan, request)?
    } else if is_elf(request.kernel) {
        let elf = Elf::parse(request.kernel)?;
        plan.cpu.rip = elf.physical_entry();
        elf.put(&mut plan, request)?
    } else {
        return Err(LoadError::Malformed("it is no ELF and its multiboot header gives no addresses"));
    };
    if u32::try_from(plan.cpu.rip).is_err() {
        return Err(LoadError::Malformed("its multiboot entry is above 4 GiB"));
    }
    plan.cpu.set(Gpr::Rax, LOADED.into());
    plan.cpu.set(Gpr::Rbx, place::START_INFO);
    entry::put_tables(&mut plan);
    plan.put(place::COMMAND_LINE, place::command_line(request.command_line, place::COMMAND_LINE_MOST)?);
    let modules = put_modules(&mut plan, end, request)?;
    put_info(&mut plan, modules, request.memory);
    Ok(plan)
}

impl Header {
    /// Loads by the addresses in the header; gives the end.
    fn put_flat<'a>(&self, plan: &mut Plan<'a>, request: &Request<'a>) -> Result<u64, LoadError> {
        let [header, load, load_end, bss_end, entry] = self.addresses;
        let file = request.kernel;
        let before =
            header.checked_sub(load).ok_or(LoadError::Malformed("its header lies before its start"))?;
        let start = self.at.checked_sub(before as usize);
        let start = start.ok_or(LoadError::Malformed("it starts before its file does"))?;
        let found = file.len() as u64;
        let len = match load_end {
            0 => found - start as u64,
            end => end.checked_sub(load).ok_or(LoadError::Malformed("it ends before it starts"))?.into(),
        };
        let needed = start as u64 + len;
        let bytes = file.get(start..needed as usize);
        let bytes = bytes.ok_or(LoadError::Truncated { what: "the image", needed, found })?;
        let end = place::check_range(load.into(), len, request.memory)?;
        let zeroes = u64::from(bss_end).saturating_sub(end);
        plan.cpu.rip = entry.into();
        plan.put_zeroed(load.into(), bytes, zeroes);
        place::check_range(load.into(), len + zeroes, request.memory)
    }
}

/// Puts the modules on pages above the kernel, as GRUB does. Gives their number.
fn put_modules<'a>(plan: &mut Plan<'a>, kernel_end: u64, request: &Request<'a>) -> Result<usize, LoadError> {
    let modules = request.all_modules();
    let texts = module_texts(&modules, plan)?;
    let mut next = kernel_end;
    let mut list = Vec::new();
    for (module, text) in modules.iter().zip(texts) {
        let size = module.bytes.len() as u64;
        let at = next.next_multiple_of(4096);
        let room = place::low_end(request.memory).saturating_sub(at);
        if size > room {
            return Err(LoadError::InitrdTooLarge { size, room });
        }
        next = at + size;
        plan.put(at, module.bytes);
        list.extend([at as u32, next as u32, text as u32, 0].map(u32::to_le_bytes).concat());
    }
    if !list.is_empty() {
        plan.put(MODULES, list);
    }
    Ok(modules.len())
}

/// The information structure and the memory map.
fn put_info(plan: &mut Plan<'_>, modules: usize, memory: u64) {
    let mut map = Vec::new();
    let entries = memory_map(memory);
    for entry in &entries {
        map.extend(20u32.to_le_bytes()); // size, without itself
        map.extend([entry.start, entry.len].map(u64::to_le_bytes).concat());
        map.extend((entry.kind as u32).to_le_bytes());
    }
    let lower = (entries[0].len >> 10) as u32;
    let upper = ((place::low_end(memory) - place::HIGH_MEMORY) >> 10) as u32;
    let mut info = vec![0; INFO_LEN as usize];
    let mut put = |at: usize, value: u32| info[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, INFO);
    put(4, lower);
    put(8, upper);
    put(16, place::COMMAND_LINE as u32);
    put(20, modules as u32);
    put(24, MODULES as u32);
    put(44, map.len() as u32);
    put(48, place::MEMORY_MAP as u32);
    put(64, LOADER_NAME as u32);
    plan.put(place::START_INFO, info);
    plan.put(LOADER_NAME, &b"Ringfence\0"[..]);
    plan.put(place::MEMORY_MAP, map);
}
