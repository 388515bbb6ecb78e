//! The PVH entry of Xen, which KVM guests use as well (xen/include/public/arch-x86/hvm/start_info.h).

use x86::Gpr;

use super::elf::Elf;
use super::{KernelKind, LoadError, Module, Plan, Request, entry, place};
use crate::firmware::{RSDP, memory_map};

const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
/// `hvm_start_info` is 56 bytes; its module list follows.
const MODULES: u64 = place::START_INFO + 64;
/// Modules whose list fits.
pub(super) const MOST_MODULES: usize = 64;

pub(super) fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, LoadError> {
    let elf = Elf::parse(request.kernel)?;
    let Some(address) = elf.xen_entry() else {
        return Err(LoadError::NotAKernel { seems: "an ELF without a PVH note" });
    };
    let address = u32::try_from(address).map_err(|_| LoadError::Malformed("its PVH entry is above 4 GiB"))?;
    let mut cpu = entry::protected(address);
    cpu.set(Gpr::Rbx, place::START_INFO);
    let mut plan = Plan::new(KernelKind::Pvh, cpu);
    entry::put_tables(&mut plan);
    let end = elf.put(&mut plan, request)?;
    plan.put(place::COMMAND_LINE, place::command_line(request.command_line, place::COMMAND_LINE_MOST)?);

    let modules = request.all_modules();
    let placed = place_modules(&modules, end, request, &mut plan)?;
    let mut list = Vec::new();
    for (at, len, text) in &placed {
        list.extend([*at, *len, *text, 0].map(u64::to_le_bytes).concat());
    }
    let mut map = Vec::new();
    let entries = memory_map(request.memory);
    for entry in &entries {
        map.extend([entry.start, entry.len].map(u64::to_le_bytes).concat());
        map.extend([entry.kind as u32, 0].map(u32::to_le_bytes).concat());
    }
    let mut info = Vec::new();
    info.extend([MAGIC, VERSION, 0, placed.len() as u32].map(u32::to_le_bytes).concat());
    let list_at = if placed.is_empty() { 0 } else { MODULES };
    info.extend([list_at, place::COMMAND_LINE, RSDP.0, place::MEMORY_MAP].map(u64::to_le_bytes).concat());
    info.extend([entries.len() as u32, 0].map(u32::to_le_bytes).concat());
    plan.put(place::START_INFO, info);
    if !list.is_empty() {
        plan.put(MODULES, list);
    }
    plan.put(place::MEMORY_MAP, map);
    Ok(plan)
}

/// Puts modules at the top of low RAM, the first one highest, and their texts into low memory. Gives the
/// address, length and text address of each.
fn place_modules<'a>(
    modules: &[Module<'a>],
    kernel_end: u64,
    request: &Request<'a>,
    plan: &mut Plan<'a>,
) -> Result<Vec<(u64, u64, u64)>, LoadError> {
    let mut limit = u64::MAX;
    let mut placed = Vec::new();
    let texts = module_texts(modules, plan)?;
    for (module, text) in modules.iter().zip(texts) {
        let at = place::initrd(module.bytes.len() as u64, kernel_end, limit, request)?;
        limit = at;
        plan.put(at, module.bytes);
        placed.push((at, module.bytes.len() as u64, text));
    }
    Ok(placed)
}

/// Writes the modules' texts; gives their addresses.
pub(super) fn module_texts<'a>(modules: &[Module<'a>], plan: &mut Plan<'a>) -> Result<Vec<u64>, LoadError> {
    if modules.len() > MOST_MODULES {
        return Err(LoadError::TooManyModules(modules.len()));
    }
    let room = (place::ZERO_PAGE - place::MODULE_TEXTS) as usize;
    let mut texts = Vec::new();
    let mut addresses = Vec::new();
    for module in modules {
        addresses.push(place::MODULE_TEXTS + texts.len() as u64);
        texts.extend(module.text.bytes());
        texts.push(0);
        if texts.len() > room {
            return Err(LoadError::CommandLineTooLong { len: texts.len(), most: room });
        }
    }
    if !texts.is_empty() {
        plan.put(place::MODULE_TEXTS, texts);
    }
    Ok(addresses)
}
