//! Kernel files: bzImage, ELF with and without PVH note, multiboot.

use base::GuestMemory;
use machine::load::{KernelKind, Module, Request, plan};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target =
    Target { name: "loaders", about: "kernel files, planned and loaded", longest: 40 << 10, run, seeds };

const MIB: u64 = 1 << 20;

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let memory = source.pick(&[1, 2, 32, 64, 4096, 5000]) * MIB;
    let kinds = [KernelKind::BzImage, KernelKind::Pvh, KernelKind::LinuxElf, KernelKind::Multiboot];
    let kind = (source.below(3) == 2).then(|| source.pick(&kinds));
    let initrd = vec![0xab; usize::from(source.word())];
    let command_line = String::from_utf8_lossy(source.take(16)).into_owned();
    let modules = vec![Module { bytes: b"module", text: &command_line }; source.below(68)];
    let request = Request {
        kernel: source.rest(),
        kind,
        initrd: (initrd.len() > 1000).then_some(&initrd),
        modules: if modules.len() > 60 { &modules } else { &[] },
        command_line: &command_line,
        memory,
    };
    let Ok(plan) = plan(&request) else { return };
    assert_eq!(machine::vm::check(&plan.cpu), Ok(()), "the vCPU can begin so");
    if memory <= 64 * MIB {
        let ram = GuestMemory::new(memory).expect("the host gives memory");
        plan.apply(&ram).expect("what was planned for this memory fits into it");
    }
}

/// The head of an input before the kernel.
const HEAD: [u8; 21] = [
    3, 0, 0, 0, b'q', b'u', b'i', b'e', b't', 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20,
    0x20, 0,
];

fn seeds() -> Vec<Vec<u8>> {
    // The self-test kernel is an ELF64 with both a PVH note and a multiboot header; its first pages hold them.
    let selftest = &selftest::KERNEL[..selftest::KERNEL.len().min(36 << 10)];
    let headers = [bzimage(), flat_multiboot(), selftest.to_vec()];
    headers.iter().map(|kernel| [&HEAD[..], kernel].concat()).collect()
}

/// The setup header of Linux's boot protocol 2.15 and a page of payload.
fn bzimage() -> Vec<u8> {
    let mut file = vec![0; 0x600];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[2]); // setup sectors
    put(0x1f4, &256u32.to_le_bytes()); // size of the rest in paragraphs
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS\x0f\x02");
    put(0x211, &[1]); // loaded high
    put(0x22c, &0x7fff_ffffu32.to_le_bytes()); // the initrd's highest address
    put(0x230, &0x20_0000u32.to_le_bytes()); // alignment
    put(0x234, &[1, 0x15, 1, 0]); // relocatable, its least alignment, 64-bit entry
    put(0x238, &2047u32.to_le_bytes()); // longest command line
    put(0x258, &0x100_0000u64.to_le_bytes()); // preferred address
    put(0x260, &0x40_0000u32.to_le_bytes()); // memory needed
    file.resize(0x600 + 4096, 0x90);
    file
}

/// A multiboot 1 kernel that is no ELF: the header has the addresses.
fn flat_multiboot() -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    const FLAGS: u32 = 1 << 16 | 3;
    let sum = 0u32.wrapping_sub(MAGIC).wrapping_sub(FLAGS);
    let (load, end) = (0x10_0000u32, 0x10_1000u32);
    let words = [MAGIC, FLAGS, sum, load, load, end, end + 0x1000, load + 32];
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.resize(0x1000, 0x90);
    file
}
