//! Linux's bzImage by the 32- or 64-bit boot protocol (Documentation/arch/x86/boot.rst). memtest86+ is one,
//! too.
//!
//! The protected-mode part goes to 1 MiB, where it is linked to run without relocation. The kernel then
//! decompresses itself to its preferred address and needs `init_size` bytes from there, so that is what
//! memory is checked against and what an initrd must stay clear of.

use super::zero_page::{SETUP_HEADER, SETUP_HEADER_END, ZeroPage};
use super::{KernelKind, LoadError, Plan, Request, entry, place};
use x86::Gpr;

const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const LOADED_HIGH: u8 = 1;
const XLF_KERNEL_64: u16 = 1;
/// The 64-bit entry is this far into the protected-mode part.
const ENTRY_64: u64 = 0x200;

/// Does the file have Linux's setup header?
pub(super) fn is_bzimage(file: &[u8]) -> bool {
    file.get(BOOT_FLAG..BOOT_FLAG + 2) == Some(&[0x55, 0xaa]) && file.get(MAGIC..MAGIC + 4) == Some(b"HdrS")
}

/// The fields of the setup header that a loader reads, by their names in the documentation.
struct SetupHeader<'a> {
    bytes: &'a [u8],
    version: u16,
    setup_sects: u8,
    syssize: u32,
    loadflags: u8,
    initrd_addr_max: u32,
    kernel_alignment: u32,
    relocatable_kernel: bool,
    xloadflags: u16,
    cmdline_size: u32,
    pref_address: u64,
    init_size: u32,
}

impl<'a> SetupHeader<'a> {
    fn parse(file: &'a [u8]) -> Result<Self, LoadError> {
        if !is_bzimage(file) {
            return Err(LoadError::NotAKernel { seems: super::error::guess(file) });
        }
        // The jump at 200h leads to the header's end.
        let end = (usize::from(*file.get(0x201).unwrap_or(&0)) + 0x202).clamp(MAGIC + 4, SETUP_HEADER_END);
        let found = file.len() as u64;
        let truncated = LoadError::Truncated { what: "the setup header", needed: end as u64, found };
        let bytes = file.get(SETUP_HEADER..end).ok_or(truncated)?;
        // Fields that an old header has not got read as zero.
        let field = |at: usize, len: usize| {
            let mut value = [0; 8];
            if let Some(found) = bytes.get(at - SETUP_HEADER..at - SETUP_HEADER + len) {
                value[..len].copy_from_slice(found);
            }
            u64::from_le_bytes(value)
        };
        let version = field(0x206, 2) as u16;
        if version < 0x202 {
            return Err(LoadError::Unsupported("its Linux boot protocol is older than 2.02"));
        }
        let since = |first: u16, value: u64, before: u64| if version >= first { value } else { before };
        Ok(Self {
            bytes,
            version,
            setup_sects: field(0x1f1, 1) as u8,
            syssize: field(0x1f4, 4) as u32,
            loadflags: field(0x211, 1) as u8,
            initrd_addr_max: since(0x203, field(0x22c, 4), 0x37ff_ffff) as u32,
            kernel_alignment: since(0x205, field(0x230, 4), 1) as u32,
            relocatable_kernel: since(0x205, field(0x234, 1), 0) != 0,
            xloadflags: since(0x20c, field(0x236, 2), 0) as u16,
            cmdline_size: since(0x206, field(0x238, 4), 255) as u32,
            pref_address: since(0x20a, field(0x258, 8), place::HIGH_MEMORY),
            init_size: since(0x20a, field(0x260, 4), 0) as u32,
        })
    }

    /// The protected-mode part of the file.
    fn payload(&self, file: &'a [u8]) -> Result<&'a [u8], LoadError> {
        let sectors = if self.setup_sects == 0 { 4 } else { usize::from(self.setup_sects) };
        let start = (sectors + 1) * 512;
        // Before 2.04 only the low half of the size counts.
        let paragraphs = if self.version >= 0x204 { self.syssize } else { self.syssize & 0xffff };
        let needed = start as u64 + u64::from(paragraphs) * 16;
        let found = file.len() as u64;
        // The last paragraph need not be whole.
        if needed >= found + 16 || start >= file.len() {
            return Err(LoadError::Truncated { what: "the compressed kernel", needed, found });
        }
        Ok(&file[start..])
    }

    /// The memory that the kernel takes while it starts: address and length.
    fn footprint(&self) -> Result<(u64, u64), LoadError> {
        let start = if self.relocatable_kernel {
            let alignment = u64::from(self.kernel_alignment.max(1));
            let wanted = self.pref_address.max(place::HIGH_MEMORY);
            wanted
                .checked_next_multiple_of(alignment)
                .ok_or(LoadError::Malformed("its alignment overflows"))?
        } else {
            self.pref_address
        };
        Ok((start, self.init_size.into()))
    }
}

pub(super) fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, LoadError> {
    let header = SetupHeader::parse(request.kernel)?;
    let payload = header.payload(request.kernel)?;
    if header.loadflags & LOADED_HIGH == 0 {
        return Err(LoadError::Unsupported("it is a zImage, which loads below 1 MiB"));
    }
    if !request.modules.is_empty() {
        return Err(LoadError::NoModules);
    }
    let (start, size) = header.footprint()?;
    let loaded = place::check_range(place::HIGH_MEMORY, payload.len() as u64, request.memory)?;
    let end = place::check_range(start, size, request.memory)?.max(loaded);
    let command_line = place::command_line(request.command_line, header.cmdline_size as usize)?;
    let initrd = match request.initrd {
        Some(bytes) => {
            let limit = u64::from(header.initrd_addr_max) + 1;
            Some((place::initrd(bytes.len() as u64, end, limit, request)?, bytes))
        }
        None => None,
    };

    let mut cpu = if header.xloadflags & XLF_KERNEL_64 != 0 {
        entry::long(place::HIGH_MEMORY + ENTRY_64)
    } else {
        entry::protected(place::HIGH_MEMORY as u32)
    };
    cpu.set(Gpr::Rsi, place::ZERO_PAGE);
    let mut plan = Plan::new(KernelKind::BzImage, cpu);
    entry::put_tables(&mut plan);
    plan.put(place::HIGH_MEMORY, payload);
    ZeroPage::new(header.bytes, request.memory).finish(&mut plan, command_line, initrd);
    Ok(plan)
}
