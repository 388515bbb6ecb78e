//! IN, OUT and their string forms.

use x86::{Gpr, SegmentRegister, flags};

use super::*;

#[test]
fn widths_and_registers() {
    // out 80h, al; out dx, ax; out dx, eax; in al, dx; in eax, 60h
    let code = &[0xe6, 0x80, 0x66, 0xef, 0xef, 0xec, 0xe5, 0x60];
    let mut guest = Guest::long(0).with(Gpr::Rax, 0xaaaa_bbbb_1234_5678).with(Gpr::Rdx, 0x3_03f8);
    assert_eq!(guest.run(code), End::Halted);
    let written = guest.board.written.lock().unwrap().clone();
    assert_eq!(written, [(0x80, 1, 0x78), (0x3f8, 2, 0x5678), (0x3f8, 4, 0x1234_5678)]);
    assert_eq!(guest.get(Gpr::Rax), 0x0202_0202, "the second read, zero-extended");
}

#[test]
fn user_code_needs_iopl_or_the_map() {
    let out: &[u8] = &[0xe6, 0x21];
    all_fault(|| Guest::long(3), 13, &[&[0xe6, 0x90]]); // beyond the map
    let mapped = |byte: u8| {
        let mut guest = Guest::long(3);
        guest.put(TSS + 0x70, &[0; 16]);
        guest.put(TSS + 0x74, &[byte]);
        guest
    };
    all_fault(|| mapped(1 << 1), 13, &[out]);
    all_fault(|| mapped(1 << 2), 13, &[&[0xe7, 0x21]]); // four ports, one of them closed
    let mut guest = mapped(!(1 << 1));
    guest.run(out);
    assert_eq!(guest.board.written.lock().unwrap().len(), 1);
    let mut guest = Guest::long(3).changed(|state| state.rflags |= flags::IOPL);
    guest.run(&[0xe6, 0x90]);
    assert_eq!(guest.board.written.lock().unwrap().len(), 1);
    // A map beyond the limit, in either mode.
    let unmapped = |mut guest: Guest| {
        guest.put_u32(TSS + 102, 0xffff);
        guest.changed(|state| state.tr.limit = 103)
    };
    all_fault(|| unmapped(Guest::protected(3)), 13, &[&[0xe6, 0x80], &[0xec]]);
    all_fault(|| unmapped(Guest::long(3)), 13, &[&[0xe6, 0x80], &[0xec]]);
    // CLI and STI go by IOPL alone.
    all_fault(|| mapped(0), 13, &[&[0xfa], &[0xfb], &[0xf4]]);
}

#[test]
fn strings_repeat_and_stop_where_they_fault() {
    // rep insw
    let insw = &[0xf3, 0x66, 0x6d];
    let mut guest = Guest::long(0).with(Gpr::Rdi, DATA).with(Gpr::Rcx, 3);
    assert_eq!(guest.run(insw), End::Halted);
    assert_eq!((guest.get(Gpr::Rdi), guest.get(Gpr::Rcx)), (DATA + 6, 0));
    assert_eq!(guest.get_u64(DATA), 0x0303_0202_0101);
    // The third element crosses into the absent page: two are done, and its port was not read.
    let mut guest = Guest::long(0).with(Gpr::Rdi, ABSENT - 5).with(Gpr::Rcx, 9);
    assert_eq!(guest.run(insw), End::Vector(14));
    assert_eq!((guest.get(Gpr::Rdi), guest.get(Gpr::Rcx), guest.cpu.state.cr2), (ABSENT - 1, 7, ABSENT));
    assert_eq!(guest.board.reads.load(std::sync::atomic::Ordering::SeqCst), 2);
    assert_eq!(guest.frame_64::<2>()[1], CODE);
    // rep outsb backwards, longer than a round.
    let mut guest = Guest::long(0).with(Gpr::Rsi, DATA + 1999).with(Gpr::Rcx, 2000).with(Gpr::Rdx, 0x80);
    guest.cpu.memory.write_at(RamOffset(DATA + 1999), &[7]);
    assert_eq!(guest.run(&[0xfd, 0xf3, 0x6e]), End::Halted);
    let written = guest.board.written.lock().unwrap();
    assert_eq!((written.len(), written[0], written[1]), (2000, (0x80, 1, 7), (0x80, 1, 0)));
}

#[test]
fn real_mode_strings_use_16_bit_registers_and_segments() {
    let mut guest = Guest::real().with(Gpr::Rsi, 0xffff_fffe).with(Gpr::Rcx, 0x1_0003);
    guest.put(0x4_fffe, &[1, 2]);
    guest.put(0x4_0000, &[3]);
    let mut guest = guest.changed(|state| {
        *state.segment_mut(SegmentRegister::Ds) = Segment::real(0x4000);
    });
    assert_eq!(guest.run(&[0xf3, 0x6e]), End::Halted);
    let values: Vec<u32> = guest.board.written.lock().unwrap().iter().map(|&(_, _, value)| value).collect();
    assert_eq!(values, [1, 2, 3]);
    assert_eq!((guest.get(Gpr::Rsi), guest.get(Gpr::Rcx)), (0xffff_0001, 0x1_0000));
}
