//! What can be wrong with a kernel, its companions or its options.

/// Why a kernel cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file is something else.
    #[error("this is not a kernel that can be started: it seems to be {seems}")]
    NotAKernel {
        /// What it seems to be.
        seems: &'static str,
    },
    /// The file ends too early.
    #[error("the kernel file is truncated: {what} needs {needed} bytes and the file has {found}")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// The length up to its end.
        needed: u64,
        /// The file's length.
        found: u64,
    },
    /// The file contradicts itself.
    #[error("the kernel file is damaged: {0}")]
    Malformed(&'static str),
    /// The file is a kernel, and wants something there is not.
    #[error("this kernel cannot be started here: {0}")]
    Unsupported(&'static str),
    /// The kernel wants to be where there is no free RAM.
    #[error(
        "the kernel wants {len} bytes of memory at {at:#x}, and with {memory} bytes of memory there is free RAM \
         from 0x100000 to {end:#x} only; give it more memory"
    )]
    MemoryTooSmall {
        /// Where it wants to be.
        at: u64,
        /// How much.
        len: u64,
        /// Bytes of memory.
        memory: u64,
        /// The end of low RAM.
        end: u64,
    },
    /// The initrd does not fit beside the kernel.
    #[error(
        "the initrd or module of {size} bytes does not fit: there is room for {room} bytes; give it more memory"
    )]
    InitrdTooLarge {
        /// Its size.
        size: u64,
        /// What is free.
        room: u64,
    },
    /// The command line is longer than the kernel takes.
    #[error("the command line has {len} bytes, and this kernel takes at most {most}")]
    CommandLineTooLong {
        /// Its length.
        len: usize,
        /// The kernel's limit.
        most: usize,
    },
    /// The command line has a NUL in it.
    #[error("the command line contains a NUL character")]
    CommandLineNul,
    /// More modules than there is room for in their list.
    #[error("{0} modules are too many; at most 64 fit")]
    TooManyModules(usize),
    /// A kernel of this kind takes no modules.
    #[error("this kind of kernel takes no modules; only multiboot and PVH kernels do")]
    NoModules,
}

/// Names what a file is by its first bytes.
pub(super) fn guess(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 9] = [
        (b"\x1f\x8b", "gzip-compressed; decompress it first"),
        (b"\xfd7zXZ\0", "xz-compressed; decompress it first"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed; decompress it first"),
        (b"!<arch>\n", "a Debian package; the kernel is the file boot/vmlinuz-* in it"),
        (b"070701", "a cpio archive, such as an initrd"),
        (b"QFI\xfb", "a qcow2 disk image"),
        (b"MZ", "a PE executable without a Linux setup header"),
        (b"#!", "a script"),
        (b"\xcf\xfa\xed\xfe", "a Mach-O executable"),
    ];
    if bytes.is_empty() {
        return "an empty file";
    }
    KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)).map_or("something else", |(_, name)| name)
}
