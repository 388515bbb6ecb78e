//! An uncompressed 64-bit Linux without a PVH note, by the 64-bit boot protocol: `vmlinux` has no setup
//! header, so the fields that the kernel reads are made up as a boot loader would find them.

use x86::Gpr;

use super::elf::Elf;
use super::zero_page::ZeroPage;
use super::{KernelKind, LoadError, Plan, Request, entry, place};

/// COMMAND_LINE_SIZE of x86 Linux, without the NUL.
const COMMAND_LINE_MOST: usize = 2047;
/// Kernels that predate protocol 2.12 take no initrd above this.
const INITRD_LIMIT: u64 = 0x8000_0000;

pub(super) fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, LoadError> {
    let elf = Elf::parse(request.kernel)?;
    if elf.is_program() {
        return Err(LoadError::NotAKernel { seems: "a program for an operating system" });
    }
    if !elf.is_64() {
        return Err(LoadError::Unsupported(
            "it is a 32-bit ELF; Linux starts from a 64-bit one or a bzImage",
        ));
    }
    if !request.modules.is_empty() {
        return Err(LoadError::NoModules);
    }
    let mut cpu = entry::long(elf.physical_entry());
    cpu.set(Gpr::Rsi, place::ZERO_PAGE);
    let mut plan = Plan::new(KernelKind::LinuxElf, cpu);
    entry::put_tables(&mut plan);
    let end = elf.put(&mut plan, request)?;
    let command_line = place::command_line(request.command_line, COMMAND_LINE_MOST)?;
    let initrd = match request.initrd {
        Some(bytes) => Some((place::initrd(bytes.len() as u64, end, INITRD_LIMIT, request)?, bytes)),
        None => None,
    };
    let mut page = ZeroPage::new(&[], request.memory);
    page.put(0x1fe, &0xaa55u16.to_le_bytes()); // boot_flag
    page.put(0x202, b"HdrS");
    page.put(0x206, &0x20cu16.to_le_bytes()); // version
    page.put(0x211, &[1]); // loadflags: loaded high
    page.put(0x230, &0x0100_0000u32.to_le_bytes()); // kernel_alignment
    page.finish(&mut plan, command_line, initrd);
    Ok(plan)
}
