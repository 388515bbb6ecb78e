//! Loaders on files made by hand; whole kernels are started by the whole-system tests.

use x86::control::{cr0, efer};
use x86::{Gpr, SegmentRegister};

use super::*;
use base::{GuestMemory, GuestPhys};

const MIB: u64 = 1 << 20;

fn request(kernel: &[u8]) -> Request<'_> {
    Request {
        kernel,
        kind: None,
        initrd: None,
        modules: &[],
        command_line: "console=ttyS0",
        memory: 64 * MIB,
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A bzImage of protocol 2.15 with a payload of 4 KiB that wants `init_size` bytes at 16 MiB.
fn bzimage(init_size: u32, long: bool) -> Vec<u8> {
    let mut file = vec![0; 0x600 + 4096];
    file[0x1f1] = 2;
    put(&mut file, 0x1f4, &256u32.to_le_bytes());
    put(&mut file, 0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(&mut file, 0x202, b"HdrS\x0f\x02");
    file[0x211] = 1;
    put(&mut file, 0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(&mut file, 0x230, &0x20_0000u32.to_le_bytes());
    file[0x234] = 1;
    file[0x236] = u8::from(long);
    put(&mut file, 0x238, &2047u32.to_le_bytes());
    put(&mut file, 0x258, &0x100_0000u64.to_le_bytes());
    put(&mut file, 0x260, &init_size.to_le_bytes());
    file[0x600..].fill(0x90);
    file
}

/// One segment of an ELF: kind, virtual and physical address, bytes, size in memory.
type Piece<'a> = (u32, u64, u64, &'a [u8], u64);

fn elf(wide: bool, entry: u64, pieces: &[Piece<'_>]) -> Vec<u8> {
    let (header, size) = if wide { (64, 56) } else { (52, 32) };
    let mut file = vec![0; header + size * pieces.len()];
    let word = |value: u64| value.to_le_bytes()[..if wide { 8 } else { 4 }].to_vec();
    put(&mut file, 0, &[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1]);
    put(&mut file, 16, &[2, 0, if wide { 62 } else { 3 }, 0]);
    put(&mut file, 24, &word(entry));
    put(&mut file, if wide { 32 } else { 28 }, &word(header as u64));
    put(&mut file, if wide { 54 } else { 42 }, &[size as u8, 0, pieces.len() as u8, 0]);
    for (index, (kind, virtual_address, physical_address, bytes, memory)) in pieces.iter().enumerate() {
        let mut fields = vec![kind.to_le_bytes().to_vec()];
        if wide {
            fields.push(vec![0; 4]);
        }
        let numbers = [file.len() as u64, *virtual_address, *physical_address, bytes.len() as u64, *memory];
        fields.extend(numbers.map(word));
        put(&mut file, header + size * index, &fields.concat());
        file.extend_from_slice(bytes);
    }
    file
}

fn xen_note(entry: u64) -> Vec<u8> {
    let other = [4u32, 4, 5].map(u32::to_le_bytes).concat();
    let xen = [4u32, 8, 18].map(u32::to_le_bytes).concat();
    [other, b"Xen\0abcd".to_vec(), xen, b"Xen\0".to_vec(), entry.to_le_bytes().to_vec()].concat()
}

/// Carries a plan out and reads guest memory back.
fn applied(plan: &Plan<'_>, memory: u64) -> impl Fn(u64, usize) -> Vec<u8> + use<> {
    let ram = GuestMemory::new(memory).unwrap();
    plan.apply(&ram).unwrap();
    move |at, len| {
        let mut bytes = vec![0; len];
        ram.read(GuestPhys(at), &mut bytes).unwrap();
        bytes
    }
}

fn number(bytes: Vec<u8>) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[test]
fn a_64_bit_bzimage_starts_in_long_mode_with_its_zero_page() {
    let kernel = bzimage(8 << 20, true);
    let initrd = vec![0xab; 10_000];
    let plan = plan(&Request { initrd: Some(&initrd), ..request(&kernel) }).unwrap();
    let cpu = &plan.cpu;
    assert_eq!((plan.kind, cpu.rip, cpu.get(Gpr::Rsi)), (KernelKind::BzImage, 0x10_0200, 0x7000));
    assert!(cpu.cr0 & cr0::PG != 0 && cpu.msrs.efer & efer::LMA != 0);
    let read = applied(&plan, 64 * MIB);
    assert_eq!(read(0x10_0000, 4096), [0x90; 4096]);
    let field = |at: u64, len| number(read(0x7000 + at, len));
    assert_eq!((field(0x1fe, 2), field(0x202, 4), field(0x210, 1)), (0xaa55, 0x5372_6448, 0xff));
    assert_eq!(read(field(0x228, 4), 14), b"console=ttyS0\0");
    let (ramdisk, size) = (field(0x218, 4), field(0x21c, 4));
    assert_eq!((size, read(ramdisk, 10_000)), (10_000, initrd.clone()));
    assert!(ramdisk % 4096 == 0 && ramdisk + size <= 64 * MIB && ramdisk >= 24 * MIB);
    assert_eq!((field(0x70, 8), field(0x1e8, 1)), (crate::firmware::RSDP.0, 8));
    // The page tables map the code one to one: PML4, PDPT, PD.
    let walk = |table: u64, index: u64| number(read((table & !0xfff) + index * 8, 8));
    let leaf = walk(walk(walk(cpu.cr3, 0), 3), 511);
    assert_eq!(leaf & !0xfff, 0xffe0_0000);
    let code = number(read(cpu.gdtr.base + 0x10, 8));
    assert_eq!(x86::Segment::from_descriptor(0x10, code), *cpu.segment(SegmentRegister::Cs));
}

#[test]
fn a_32_bit_bzimage_starts_in_protected_mode() {
    let kernel = bzimage(8 << 20, false);
    let plan = plan(&request(&kernel)).unwrap();
    assert_eq!((plan.cpu.rip, plan.cpu.get(Gpr::Rsi)), (0x10_0000, 0x7000));
    assert_eq!(plan.cpu.cr0 & (cr0::PE | cr0::PG), cr0::PE);
}

#[test]
fn bzimage_errors_say_what_is_wrong() {
    let kernel = bzimage(8 << 20, true);
    let error = |request: Request<'_>| plan(&request).unwrap_err();
    let at = 0x100_0000;
    let too_small = LoadError::MemoryTooSmall { at, len: 8 << 20, memory: 16 * MIB, end: 16 * MIB };
    assert_eq!(error(Request { memory: 16 * MIB, ..request(&kernel) }), too_small);
    let initrd = vec![0; (41 << 20) as usize];
    let too_large = LoadError::InitrdTooLarge { size: 41 << 20, room: 40 << 20 };
    assert_eq!(error(Request { initrd: Some(&initrd), ..request(&kernel) }), too_large);
    let line = "x".repeat(2048);
    let too_long = LoadError::CommandLineTooLong { len: 2048, most: 2047 };
    assert_eq!(error(Request { command_line: &line, ..request(&kernel) }), too_long);
    assert_eq!(error(Request { command_line: "a\0b", ..request(&kernel) }), LoadError::CommandLineNul);
    let cut = error(request(&kernel[..kernel.len() - 100]));
    assert!(
        matches!(cut, LoadError::Truncated { what: "the compressed kernel", needed: 0x1600, .. }),
        "{cut}"
    );
    assert!(matches!(
        error(request(&kernel[..0x230])),
        LoadError::Truncated { what: "the setup header", .. }
    ));
    let mut old = kernel.clone();
    old[0x206] = 1;
    assert!(matches!(error(request(&old)), LoadError::Unsupported(_)));
    let mut low = kernel.clone();
    low[0x211] = 0;
    assert!(matches!(error(request(&low)), LoadError::Unsupported(_)));
    let mut wild = kernel;
    put(&mut wild, 0x258, &u64::MAX.to_le_bytes());
    assert!(matches!(error(request(&wild)), LoadError::Malformed(_)));
}

#[test]
fn a_pvh_kernel_gets_its_start_information() {
    let note = xen_note(0x20_0010);
    let code = [0xcc; 100];
    let kernel = elf(true, 0xdead, &[(1, 0, 0x20_0000, &code, 8192), (4, 0, 0, &note, note.len() as u64)]);
    let initrd = [7; 5000];
    let modules = [Module { bytes: b"second", text: "two" }];
    let plan = plan(&Request { initrd: Some(&initrd), modules: &modules, ..request(&kernel) }).unwrap();
    assert_eq!((plan.kind, plan.cpu.rip), (KernelKind::Pvh, 0x20_0010));
    assert_eq!(plan.cpu.cr0 & (cr0::PE | cr0::PG), cr0::PE);
    let read = applied(&plan, 64 * MIB);
    assert_eq!(read(0x20_0000, 101), [&code[..], &[0]].concat());
    let info = plan.cpu.get(Gpr::Rbx);
    let field = |at: u64, len| number(read(info + at, len));
    assert_eq!((field(0, 4), field(4, 4), field(12, 4)), (0x336e_c578, 1, 2));
    assert_eq!(read(field(24, 8), 14), b"console=ttyS0\0");
    assert_eq!(field(32, 8), crate::firmware::RSDP.0);
    let (list, map) = (field(16, 8), field(40, 8));
    let first = [0, 8].map(|at| number(read(list + at, 8)));
    assert_eq!((first[1], read(first[0], 5000)), (5000, initrd.to_vec()));
    let second = [0, 8, 16].map(|at| number(read(list + 32 + at, 8)));
    assert_eq!((read(second[0], 6), read(second[2], 4)), (b"second".to_vec(), b"two\0".to_vec()));
    assert_eq!((number(read(map, 8)), number(read(map + 8, 8)), number(read(map + 16, 4))), (0, 0x9_fc00, 1));
}

#[test]
fn an_elf_without_a_note_is_started_as_linux() {
    let kernel =
        elf(true, 0xffff_ffff_8100_0040, &[(1, 0xffff_ffff_8100_0000, 0x100_0000, &[0xf4; 64], 4096)]);
    let plan = plan(&request(&kernel)).unwrap();
    assert_eq!((plan.kind, plan.cpu.rip), (KernelKind::LinuxElf, 0x100_0040));
    assert_eq!(plan.cpu.get(Gpr::Rsi), 0x7000);
}

fn multiboot_header(flags: u32, addresses: [u32; 5]) -> Vec<u8> {
    let head = [0x1bad_b002, flags, 0u32.wrapping_sub(0x1bad_b002 + flags)];
    [&head[..], &addresses].concat().into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_program_is_no_kernel() {
    for kind in [3, 7, 0x6474_e552] {
        let code = (1, 16 * MIB, 16 * MIB, &b"code"[..], 4096);
        let file = elf(true, 16 * MIB, &[code, (kind, 16 * MIB, 16 * MIB, b"", 0)]);
        let error = plan(&request(&file)).map(|_| ()).unwrap_err();
        assert!(matches!(error, LoadError::NotAKernel { .. }), "{kind}: {error}");
    }
}

#[test]
fn a_multiboot_elf_is_entered_at_its_physical_address() {
    // As GNU Mach: linked high, loaded low.
    let mut code = vec![0x90; 64];
    put(&mut code, 4, &multiboot_header(3, [0; 5]));
    let kernel = elf(false, 0xc100_0020, &[(1, 0xc100_0000, 0x100_0000, &code, 0x3000)]);
    let initrd = [9; 10];
    let plan = plan(&Request { initrd: Some(&initrd), ..request(&kernel) }).unwrap();
    assert_eq!(
        (plan.kind, plan.cpu.rip, plan.cpu.get(Gpr::Rax)),
        (KernelKind::Multiboot, 0x100_0020, 0x2bad_b002)
    );
    let read = applied(&plan, 64 * MIB);
    let info = plan.cpu.get(Gpr::Rbx);
    let field = |at: u64| number(read(info + at, 4));
    assert_eq!((field(0), field(4), field(8)), (0x24d, 639, 63 << 10));
    assert_eq!((read(field(16), 14), field(20)), (b"console=ttyS0\0".to_vec(), 1));
    let (start, end) = (number(read(field(24), 4)), number(read(field(24) + 4, 4)));
    assert_eq!((start, end, read(start, 10)), (0x100_3000, 0x100_300a, initrd.to_vec()));
    assert_eq!((number(read(field(48), 4)), number(read(field(48) + 12, 8))), (20, 0x9_fc00));
}

#[test]
fn a_flat_multiboot_kernel_is_loaded_by_its_header() {
    let header = multiboot_header(0x1_0003, [0x10_0010, 0x10_0000, 0x10_0040, 0x10_1000, 0x10_0030]);
    let mut kernel = vec![0xaa; 0x20]; // in front of what is loaded
    kernel.extend([0x11; 0x10]);
    kernel.extend(&header);
    kernel.resize(0x20 + 0x40, 0x22);
    let loaded = plan(&request(&kernel)).unwrap();
    assert_eq!(loaded.cpu.rip, 0x10_0030);
    let read = applied(&loaded, 64 * MIB);
    assert_eq!(read(0x10_0000, 16), [0x11; 16]);
    assert_eq!(read(0x10_003f, 2), [0x22, 0]);
    let cut = plan(&request(&kernel[..0x50])).unwrap_err();
    assert!(matches!(cut, LoadError::Truncated { .. }), "{cut}");
}

#[test]
fn what_is_no_kernel_is_named() {
    let seems = |bytes: &[u8]| match plan(&request(bytes)).unwrap_err() {
        LoadError::NotAKernel { seems } => seems,
        other => panic!("{other}"),
    };
    assert!(seems(b"").contains("empty"));
    assert!(seems(b"\x1f\x8b\x08").contains("gzip"));
    assert!(seems(b"070701").contains("cpio"));
    assert!(seems(&elf(false, 0, &[(1, 0, 0x10_0000, &[0; 4], 4)])).contains("32-bit ELF"));
    assert_eq!(seems(b"hello"), "something else");
}

#[test]
fn hostile_elves_are_refused() {
    let refused = |kernel: &[u8]| plan(&request(kernel)).unwrap_err();
    let below = elf(true, 0, &[(1, 0, 0x1000, &[0; 4], 4)]);
    assert!(matches!(refused(&below), LoadError::MemoryTooSmall { .. }));
    let huge = elf(true, 0, &[(1, 0, 0x10_0000, &[0; 4], u64::MAX)]);
    assert!(matches!(refused(&huge), LoadError::MemoryTooSmall { .. }));
    let overlap = elf(true, 0, &[(1, 0, 0x10_0000, &[0; 64], 64), (1, 0, 0x10_0020, &[0; 4], 4)]);
    assert_eq!(refused(&overlap), LoadError::Malformed("its segments overlap"));
    let shrinks = elf(true, 0, &[(1, 0, 0x10_0000, &[0; 64], 8)]);
    assert!(matches!(refused(&shrinks), LoadError::Malformed(_)));
    assert!(matches!(refused(&elf(true, 0, &[])), LoadError::Malformed(_)));
    assert!(matches!(refused(&below[..70]), LoadError::Truncated { .. }));
    let mut arm = below.clone();
    arm[18] = 183;
    assert!(matches!(refused(&arm), LoadError::Unsupported(_)));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    /// Good files with some bytes changed and an end cut off.
    fn spoiled() -> impl Strategy<Value = Vec<u8>> {
        let note = xen_note(0x20_0010);
        let mut flat = multiboot_header(0x1_0003, [0x10_0000, 0x10_0000, 0, 0, 0x10_0000]);
        flat.resize(256, 0);
        let files = vec![
            bzimage(1 << 20, true),
            elf(true, 0x20_0000, &[(1, 0, 0x20_0000, &[1; 64], 128), (4, 0, 0, &note, 4)]),
            elf(false, 0x20_0000, &[(1, 0, 0x20_0000, &multiboot_header(3, [0; 5]), 128)]),
            flat,
        ];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
        (prop::sample::select(files), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(mut file, changes, cut, whole)| {
                for (at, value) in changes {
                    let at = at.index(file.len().min(0x300));
                    file[at] = value;
                }
                file.truncate(if whole { file.len() } else { cut.index(file.len()) });
                file
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn whatever_is_planned_lies_in_ram_and_apart(kernel in spoiled()) {
            let request = Request { initrd: Some(&[1; 100]), memory: 4 * MIB, ..request(&kernel) };
            if let Ok(plan) = plan(&request) {
                let mut ranges: Vec<_> = plan.writes.iter()
                    .map(|write| (write.at.0, write.at.0 + write.bytes.len() as u64 + write.zeroes))
                    .filter(|(start, end)| start < end)
                    .collect();
                ranges.sort_unstable();
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].1 <= pair[1].0, "{pair:x?}");
                }
                prop_assert!(ranges.last().unwrap().1 <= 4 * MIB);
            }
        }
    }
}
