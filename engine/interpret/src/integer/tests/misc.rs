//! What the host cannot show from 64-bit code without touching memory.

use x86::flags::{AF, CF, PF, SF, ZF};
use x86::{Exception, SegmentRegister, Vector};

use super::{Bench, CODE, DATA};

#[test]
fn decimal_arithmetic() {
    // Code, AX and flags before, AX after, and CF with AF.
    let table: [(&[u8], u64, u64, u64, u64); 16] = [
        (&[0x27], 0x00, 0, 0x00, 0), // DAA
        (&[0x27], 0x9a, 0, 0x00, CF | AF),
        (&[0x27], 0x79 + 0x35, 0, 0x14, CF | AF), // 79 + 35 = 114
        (&[0x27], 0x12, AF, 0x18, AF),
        (&[0x27], 0x12, CF, 0x72, CF),
        (&[0x2f], 0x35u64.wrapping_sub(0x47) & 0xff, CF | AF, 0x88, CF | AF), // DAS: 35 - 47 = -12
        (&[0x2f], 0x2e, AF, 0x28, AF),
        (&[0x2f], 0x05, AF, 0xff, CF | AF),
        (&[0x37], 0x000f, 0, 0x0105, CF | AF), // AAA
        (&[0x37], 0x0012, AF, 0x0108, CF | AF),
        (&[0x37], 0x0739, 0, 0x0709, 0),
        (&[0x37], 0x00fa, 0, 0x0200, CF | AF),
        (&[0x3f], 0x0204, AF, 0x000e, CF | AF), // AAS
        (&[0x3f], 0x0239, 0, 0x0209, 0),
        (&[0xd4, 10], 0x1f4f, 0, 0x0709, 0), // AAM
        (&[0xd5, 10], 0x0709, 0, 0x004f, 0), // AAD
    ];
    for (code, ax, flags, after, carries) in table {
        let mut bench = Bench::new(32);
        bench.cpu.gpr[0] = 0xabcd_0000 | ax;
        bench.cpu.status.set_bits(flags);
        bench.run(code).unwrap();
        assert_eq!(bench.cpu.gpr[0] & 0xffff, after, "{code:02x?} {ax:#x}");
        let al = after as u8;
        let bits = bench.cpu.status.bits();
        assert_eq!(bits & (CF | AF), carries, "{code:02x?} {ax:#x}");
        if !matches!(code[0], 0x37 | 0x3f) {
            let flag = |set, bit| if set { bit } else { 0 };
            let parity = flag(al.count_ones().is_multiple_of(2), PF);
            assert_eq!(bits & (ZF | SF | PF), flag(al == 0, ZF) | flag(al > 0x7f, SF) | parity);
        }
    }
    let mut bench = Bench::new(32);
    assert_eq!(bench.run(&[0xd4, 0]), Err(Exception::new(Vector::DivideError)));
    // (The decoder takes a byte more from what it does not know.)
    assert_eq!(Bench::new(64).run(&[0x27, 0]), Err(Exception::ud()));
}

#[test]
fn bounds_are_signed_and_inclusive() {
    for (index, inside) in [(-5i32, true), (-6, false), (7, true), (8, false), (0, true)] {
        let mut bench = Bench::new(32);
        bench.put(DATA, -5i32 as u32);
        bench.put(DATA + 4, 7u32);
        (bench.cpu.gpr[0], bench.cpu.gpr[6]) = (u64::from(index as u32), DATA);
        let expected = if inside { Ok(()) } else { Err(Exception::new(Vector::BoundRange)) };
        assert_eq!(bench.run(&[0x62, 0x06]), expected, "{index}");
    }
}

#[test]
fn addresses_are_cut_to_their_size() {
    let mut bench = Bench::new(64);
    (bench.cpu.gpr[3], bench.cpu.gpr[1]) = (0xffff_fff0, 0x8);
    bench.run(&[0x48, 0x8d, 0x44, 0xcb, 0x10]).unwrap(); // lea rax, [rbx+rcx*8+16]
    assert_eq!(bench.cpu.gpr[0], 0x1_0000_0040);
    bench.run(&[0x67, 0x48, 0x8d, 0x44, 0xcb, 0x10]).unwrap(); // the same with ebx, ecx
    assert_eq!(bench.cpu.gpr[0], 0x40);
    bench.run(&[0x48, 0x8d, 0x05, 0xf0, 0xff, 0xff, 0xff]).unwrap(); // lea rax, [rip-16]
    assert_eq!(bench.cpu.gpr[0], CODE + 7 - 16);
    let mut bench = Bench::new(16);
    (bench.cpu.gpr[3], bench.cpu.gpr[6]) = (0xfff0, 0x20);
    bench.run(&[0x8d, 0x40, 0x10]).unwrap(); // lea ax, [bx+si+16]
    assert_eq!(bench.cpu.gpr[0], 0x20);
}

#[test]
fn absolute_addresses_reach_all_64_bits() {
    let mut bench = Bench::new(64);
    bench.put(DATA, 0x1122_3344_5566_7788u64);
    bench.run(&[0x48, 0xa1, 0, 0x80, 0, 0, 0, 0, 0, 0]).unwrap(); // mov rax, [8000h]
    assert_eq!(bench.cpu.gpr[0], 0x1122_3344_5566_7788);
    bench.run(&[0xa2, 0x10, 0x80, 0, 0, 0, 0, 0, 0]).unwrap(); // mov [8010h], al
    assert_eq!(bench.peek::<u16>(DATA + 0x10), 0x88);
    let fault = bench.run(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    assert_eq!(fault, Err(Exception::gp(0)), "not canonical");
    // Without a base 32 bits are sign-extended.
    let fault = bench.run(&[0x8b, 0x04, 0x25, 0, 0, 0, 0x80]);
    assert_eq!(fault, Ok(()), "a device at the top of the address space");
    assert_eq!(bench.cpu.gpr[0], 0);
}

#[test]
fn tables_are_looked_up_by_al_alone() {
    let mut bench = Bench::new(64);
    bench.put(DATA + 0xf3, 0x5au8);
    (bench.cpu.gpr[3], bench.cpu.gpr[0]) = (DATA, 0x12f3);
    bench.run(&[0xd7]).unwrap();
    assert_eq!(bench.cpu.gpr[0], 0x125a);
    // With a segment that has a base.
    bench.cpu.state.segments[SegmentRegister::Fs as usize].base = 0x100;
    bench.put(DATA + 0x15a, 0x77u8);
    bench.run(&[0x64, 0xd7]).unwrap();
    assert_eq!(bench.cpu.gpr[0], 0x1277);
}

#[test]
fn bytes_are_swapped_on_the_way() {
    let mut bench = Bench::new(64);
    bench.put(DATA, 0x0102_0304_0506_0708u64);
    bench.cpu.gpr[6] = DATA;
    bench.run(&[0x48, 0x0f, 0x38, 0xf0, 0x06]).unwrap(); // movbe rax, [rsi]
    assert_eq!(bench.cpu.gpr[0], 0x0807_0605_0403_0201);
    bench.run(&[0x66, 0x0f, 0x38, 0xf1, 0x06]).unwrap(); // movbe [rsi], ax
    assert_eq!(bench.peek::<u32>(DATA), 0x0506_0102);
    bench.run(&[0x0f, 0xc3, 0x06]).unwrap(); // movnti [rsi], eax
    assert_eq!(bench.peek::<u32>(DATA), 0x0403_0201);
}

#[test]
fn a_conditional_move_loads_whether_it_moves_or_not() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[6] = 1 << 63;
    bench.cpu.status.set_bits(0);
    assert_eq!(bench.run(&[0x0f, 0x44, 0x06]), Err(Exception::gp(0))); // cmove eax, [rsi]
    bench.cpu.gpr[0] = u64::MAX;
    bench.cpu.gpr[6] = DATA;
    bench.run(&[0x0f, 0x44, 0x06]).unwrap();
    assert_eq!(bench.cpu.gpr[0], 0xffff_ffff);
}

#[test]
fn hints_do_nothing_but_flushes_look() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[0] = 1 << 63;
    let before = bench.cpu.export();
    // nop, long nop, pause, endbr64, rdsspq rax, prefetcht0, prefetchw, fences
    for code in [
        &[0x90][..],
        &[0x66, 0x0f, 0x1f, 0x44, 0, 0],
        &[0xf3, 0x90],
        &[0xf3, 0x0f, 0x1e, 0xfa],
        &[0xf3, 0x48, 0x0f, 0x1e, 0xc8],
        &[0x0f, 0x18, 0x08],
        &[0x0f, 0x0d, 0x08],
        &[0x0f, 0xae, 0xe8],
        &[0x0f, 0xae, 0xf0],
        &[0x0f, 0xae, 0xf8],
    ] {
        bench.run(code).unwrap();
        assert_eq!(bench.cpu.rip, CODE + code.len() as u64);
        assert_eq!(bench.cpu.export().gpr, before.gpr, "{code:02x?}");
    }
    assert_eq!(bench.run(&[0x0f, 0xae, 0x38]), Err(Exception::gp(0)), "clflush [rax]");
    bench.cpu.gpr[0] = DATA;
    bench.run(&[0x0f, 0xae, 0x38]).unwrap();
}

#[test]
fn random_numbers_are_there_and_differ() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[0] = u64::MAX;
    bench.run(&[0x48, 0x0f, 0xc7, 0xf0]).unwrap(); // rdrand rax
    assert_eq!(bench.cpu.status.bits(), CF);
    bench.run(&[0x48, 0x0f, 0xc7, 0xfb]).unwrap(); // rdseed rbx
    assert_ne!(bench.cpu.gpr[0], bench.cpu.gpr[3]);
    bench.run(&[0x0f, 0xc7, 0xf0]).unwrap();
    assert_eq!(bench.cpu.gpr[0] >> 32, 0);
}

#[test]
fn locks_need_a_memory_destination() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[0] = DATA;
    assert_eq!(bench.run(&[0xf0, 0x01, 0xc8]), Err(Exception::ud())); // lock add eax, ecx
    assert_eq!(bench.run(&[0xf0, 0x03, 0x08]), Err(Exception::ud())); // lock add ecx, [rax]
    assert_eq!(bench.run(&[0xf0, 0x8b, 0x08]), Err(Exception::ud())); // lock mov
    bench.run(&[0xf0, 0x83, 0x00, 5]).unwrap();
    assert_eq!(bench.peek::<u32>(DATA), 5);
}
