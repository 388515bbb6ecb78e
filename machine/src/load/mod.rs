//! Kernel loaders: bytes in, a [`Plan`] out.
//!
//! A loader is pure. It reads the files as the hostile input they are, and says what to write where and in
//! which state the first vCPU begins; only [`Plan::apply`] touches guest memory. So everything that can be
//! wrong with a kernel, an initrd or their options is known before a machine exists.
//!
//! | kind | file | the vCPU begins in |
//! |---|---|---|
//! | bzImage | Linux setup header | long mode at load + 200h, or protected mode at the load address |
//! | PVH | ELF with Xen's note 18 | protected mode at the note's address |
//! | Linux ELF | ELF64 without note | long mode at the ELF entry |
//! | multiboot | multiboot 1 header | protected mode at the entry |
//!
//! The parsing is our own: `linux-loader` writes to guest memory while it parses, loads no 32-bit ELF and no
//! multiboot kernel, and enters a bzImage in long mode only.

mod bzimage;
mod elf;
mod entry;
mod error;
mod linux_elf;
mod multiboot;
mod place;
mod plan;
mod pvh;
mod zero_page;

pub use error::LoadError;
pub use plan::{Plan, Write};

use elf::Elf;
use serde::{Deserialize, Serialize};

/// The format of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelKind {
    /// Linux's compressed image, and what imitates it.
    BzImage,
    /// An ELF with Xen's PVH entry note.
    Pvh,
    /// An uncompressed 64-bit Linux without that note.
    LinuxElf,
    /// Multiboot 1, ELF or flat.
    Multiboot,
}

/// A file that a multiboot or PVH kernel finds in memory, with a line of text.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// The text.
    pub text: &'a str,
}

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The kernel file.
    pub kernel: &'a [u8],
    /// Its format; `None` to find out.
    pub kind: Option<KernelKind>,
    /// The initial RAM disk: the first module where the protocol has modules.
    pub initrd: Option<&'a [u8]>,
    /// Further modules, for multiboot and PVH.
    pub modules: &'a [Module<'a>],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Bytes of RAM.
    pub memory: u64,
}

impl<'a> Request<'a> {
    /// The initrd and the modules in one list.
    fn all_modules(&self) -> Vec<Module<'a>> {
        let initrd = self.initrd.map(|bytes| Module { bytes, text: "" });
        initrd.into_iter().chain(self.modules.iter().copied()).collect()
    }
}

/// Finds out a kernel's format.
///
/// # Errors
/// [`LoadError::NotAKernel`] with what the file seems to be instead.
pub fn detect(kernel: &[u8]) -> Result<KernelKind, LoadError> {
    if bzimage::is_bzimage(kernel) {
        return Ok(KernelKind::BzImage);
    }
    let multiboot = multiboot::find_header(kernel).is_some();
    if elf::is_elf(kernel) {
        let elf = Elf::parse(kernel)?;
        return match (elf.xen_entry().is_some(), multiboot) {
            (true, _) => Ok(KernelKind::Pvh),
            (false, true) => Ok(KernelKind::Multiboot),
            (false, false) if elf.is_64() => Ok(KernelKind::LinuxElf),
            (false, false) => Err(LoadError::NotAKernel {
                seems: "a 32-bit ELF with neither a PVH note nor a multiboot header",
            }),
        };
    }
    if multiboot {
        return Ok(KernelKind::Multiboot);
    }
    Err(LoadError::NotAKernel { seems: error::guess(kernel) })
}

/// Plans the start of a kernel.
///
/// # Errors
/// [`LoadError`] says what is wrong with the files or the options.
pub fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, LoadError> {
    if request.command_line.contains('\0') {
        return Err(LoadError::CommandLineNul);
    }
    let kind = match request.kind {
        Some(kind) => kind,
        None => detect(request.kernel)?,
    };
    match kind {
        KernelKind::BzImage => bzimage::plan(request),
        KernelKind::Pvh => pvh::plan(request),
        KernelKind::LinuxElf => linux_elf::plan(request),
        KernelKind::Multiboot => multiboot::plan(request),
    }
}

#[cfg(test)]
mod tests;
