//! The stack in all its widths, frames, and the flags on it.

use x86::control::cr4;
use x86::flags::{AC, CF, DF, IF, IOPL, RESERVED_ONE, TF, VIF, VIP, VM, ZF};
use x86::{Exception, Segment, SegmentRegister, Vector, access};

use super::{Bench, DATA, STACK};

#[test]
fn what_is_pushed_comes_back() {
    // Bits, PUSH rAX, POP rBX, bytes.
    let table: [(u8, &[u8], &[u8], u64); 6] = [
        (64, &[0x50], &[0x5b], 8),
        (64, &[0x66, 0x50], &[0x66, 0x5b], 2),
        (32, &[0x50], &[0x5b], 4),
        (32, &[0x66, 0x50], &[0x66, 0x5b], 2),
        (16, &[0x50], &[0x5b], 2),
        (16, &[0x66, 0x50], &[0x66, 0x5b], 4),
    ];
    for (bits, push, pop, bytes) in table {
        let mut bench = Bench::new(bits);
        let mask = u64::MAX >> (64 - 8 * bytes);
        bench.cpu.gpr[0] = 0x1122_3344_5566_7788;
        bench.run(push).unwrap();
        assert_eq!(bench.cpu.gpr[4], STACK - bytes);
        assert_eq!(bench.peek::<u64>(STACK - bytes) & mask, bench.cpu.gpr[0] & mask);
        bench.run(pop).unwrap();
        assert_eq!((bench.cpu.gpr[4], bench.cpu.gpr[3]), (STACK, bench.cpu.gpr[0] & mask), "{bits} {bytes}");
    }
}

#[test]
fn immediates_are_sign_extended() {
    let mut bench = Bench::new(64);
    bench.run(&[0x6a, 0xfe]).unwrap();
    bench.run(&[0x68, 0xfd, 0xff, 0xff, 0xff]).unwrap();
    bench.run(&[0x66, 0x6a, 0xfc]).unwrap();
    assert_eq!(bench.cpu.gpr[4], STACK - 18);
    assert_eq!(bench.peek::<u64>(STACK - 8), -2i64 as u64);
    assert_eq!(bench.peek::<u64>(STACK - 16), -3i64 as u64);
    assert_eq!(bench.peek::<u16>(STACK - 18), -4i16 as u16);
}

#[test]
fn the_stack_pointer_as_an_operand() {
    let mut bench = Bench::new(64);
    bench.run(&[0x54]).unwrap(); // push rsp: the old value
    assert_eq!(bench.peek::<u64>(STACK - 8), STACK);
    bench.put(STACK - 8, 0x4000u64);
    bench.run(&[0x5c]).unwrap(); // pop rsp: what was popped
    assert_eq!(bench.cpu.gpr[4], 0x4000);
    let mut bench = Bench::new(64);
    bench.put(STACK, 0x77u64);
    bench.run(&[0x8f, 0x44, 0x24, 0x10]).unwrap(); // pop [rsp+16]: from the incremented one
    assert_eq!((bench.cpu.gpr[4], bench.peek::<u64>(STACK + 8 + 16)), (STACK + 8, 0x77));
    bench.run(&[0xff, 0x74, 0x24, 0x10]).unwrap(); // push [rsp+16]: from the old one
    assert_eq!(bench.peek::<u64>(STACK), 0x77);
}

#[test]
fn a_small_stack_wraps_in_its_64_kib() {
    let mut bench = Bench::new(16);
    bench.cpu.gpr[4] = 0x9999_0000;
    bench.cpu.gpr[0] = 0xbeef;
    bench.run(&[0x50]).unwrap();
    assert_eq!((bench.cpu.gpr[4], bench.peek::<u16>(0xfffe)), (0x9999_fffe, 0xbeef));
    bench.run(&[0x5b]).unwrap();
    assert_eq!((bench.cpu.gpr[4], bench.cpu.gpr[3]), (0x9999_0000, 0xbeef));
    // Across the end it does not.
    bench.cpu.gpr[4] = 1;
    assert_eq!(bench.run(&[0x50]), Err(Exception::with_code(Vector::StackFault, 0)));
    assert_eq!(bench.cpu.gpr[4], 1);
}

#[test]
fn faults_leave_the_stack_pointer() {
    let mut bench = Bench::new(64);
    let bad = 0x8000_0000_0000_0008;
    bench.cpu.gpr[4] = bad;
    let fault = Err(Exception::with_code(Vector::StackFault, 0));
    // push rax, pop rax, call, ret, enter, pushfq, popfq
    for code in [&[0x50][..], &[0x58], &[0xe8, 0, 0, 0, 0], &[0xc3], &[0xc8, 0, 0, 0], &[0x9c], &[0x9d]] {
        assert_eq!(bench.run(code), fault, "{code:02x?}");
        assert_eq!(bench.cpu.gpr[4], bad);
    }
    bench.cpu.gpr[5] = bad;
    bench.cpu.gpr[4] = STACK;
    assert_eq!(bench.run(&[0xc9]), fault, "leave");
    assert_eq!((bench.cpu.gpr[4], bench.cpu.gpr[5]), (STACK, bad));
    // pop [rax] where only the store fails.
    bench.cpu.gpr[0] = bad;
    assert_eq!(bench.run(&[0x8f, 0x00]), Err(Exception::gp(0)));
    assert_eq!(bench.cpu.gpr[4], STACK);
}

#[test]
fn all_registers_at_once() {
    for (bits, prefix, bytes) in [(32, &[][..], 4u64), (32, &[0x66][..], 2), (16, &[][..], 2)] {
        let mut bench = Bench::new(bits);
        let mask = u64::MAX >> (64 - 8 * bytes);
        for n in 0..8 {
            bench.cpu.gpr[n] = if n == 4 { STACK } else { 0x1010_1010 * (n as u64 + 1) };
        }
        let before = bench.cpu.gpr;
        bench.run(&[prefix, &[0x60]].concat()).unwrap();
        assert_eq!(bench.cpu.gpr[4], STACK - 8 * bytes);
        for n in 0..8 {
            let at = STACK - (n + 1) * bytes;
            assert_eq!(bench.peek::<u32>(at) as u64 & mask, before[n as usize] & mask, "{bits} {n}");
        }
        bench.cpu.gpr[..4].fill(0);
        bench.cpu.gpr[5..8].fill(0);
        bench.put(STACK - 5 * bytes, 0xffffu16); // the stack pointer's image is skipped
        bench.run(&[prefix, &[0x61]].concat()).unwrap();
        for (n, (after, before)) in bench.cpu.gpr.iter().zip(before).take(8).enumerate() {
            assert_eq!(after & mask, before & mask, "{bits} {n}");
        }
    }
}

#[test]
fn frames_nest() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[5] = 0x7800;
    bench.put(0x7800 - 8, 0xaaaau64);
    bench.put(0x7800 - 16, 0xbbbbu64);
    bench.run(&[0xc8, 0x20, 0, 3]).unwrap(); // enter 32, 3
    let frame = STACK - 8;
    assert_eq!(bench.cpu.gpr[5], frame);
    let words: Vec<u64> = (1..=4).map(|n| bench.peek(STACK - 8 * n)).collect();
    assert_eq!(words, [0x7800, 0xaaaa, 0xbbbb, frame]);
    assert_eq!(bench.cpu.gpr[4], STACK - 32 - 0x20);
    bench.run(&[0xc9]).unwrap();
    assert_eq!((bench.cpu.gpr[4], bench.cpu.gpr[5]), (STACK, 0x7800));
    let mut bench = Bench::new(16);
    bench.cpu.gpr[5] = 0xffff_1234;
    bench.run(&[0xc8, 0x10, 0, 0]).unwrap();
    assert_eq!((bench.cpu.gpr[4], bench.cpu.gpr[5]), (STACK - 0x12, 0xffff_0000 | (STACK - 2)));
    bench.run(&[0xc9]).unwrap();
    assert_eq!((bench.cpu.gpr[4], bench.cpu.gpr[5]), (STACK, 0xffff_1234));
}

/// At privilege 3, by the DPL of SS.
fn user(bench: &mut Bench) {
    bench.cpu.state.segments[SegmentRegister::Ss as usize].access |= access::DPL;
    bench.cpu.refresh();
}

#[test]
fn flags_may_be_changed_as_far_as_privilege_goes() {
    let all = CF | ZF | TF | IF | DF | IOPL | AC;
    // Privilege 3?, IOPL, which of `all` can be set.
    for (is_user, level, changes) in
        [(false, 0, all), (true, 0, all & !(IF | IOPL)), (true, IOPL, all & !IOPL)]
    {
        let mut bench = Bench::new(64);
        if is_user {
            user(&mut bench);
        }
        bench.cpu.set_rflags(level);
        bench.put(STACK, all | VM | VIF | VIP | 0xffff_ffff_0000_0000);
        bench.run(&[0x9d]).unwrap();
        assert_eq!(bench.cpu.rflags(), changes | level | RESERVED_ONE, "user {is_user}, IOPL {level:x}");
        assert_eq!(bench.cpu.gpr[4], STACK + 8);
        bench.run(&[0x9c]).unwrap();
        assert_eq!(bench.peek::<u64>(STACK), changes | level | RESERVED_ONE);
    }
    // A 16-bit POPF leaves the upper flags.
    let mut bench = Bench::new(32);
    bench.cpu.set_rflags(AC);
    bench.put(STACK, ZF as u16);
    bench.run(&[0x66, 0x9d]).unwrap();
    assert_eq!(bench.cpu.rflags(), AC | ZF | RESERVED_ONE);
}

#[test]
fn virtual_8086_mode_guards_the_interrupt_flag() {
    let v86 = |flags: u64, vme: bool| {
        let mut bench = Bench::new(16);
        bench.cpu.state.cr0 |= x86::control::cr0::PE;
        bench.cpu.state.cr4 |= if vme { cr4::VME } else { 0 };
        bench.cpu.state.segments = [Segment::real(0); 6];
        bench.cpu.set_rflags(VM | flags);
        bench.cpu.refresh();
        bench
    };
    let (pushf, popf) = (&[0x9c][..], &[0x9d][..]);
    for code in [pushf, popf] {
        assert_eq!(v86(0, false).run(code), Err(Exception::gp(0)));
        assert_eq!(v86(0, true).run(&[&[0x66], code].concat()), Err(Exception::gp(0)));
    }
    let mut bench = v86(IOPL, false);
    bench.put(STACK, IF as u16);
    bench.run(popf).unwrap();
    assert_eq!(bench.cpu.rflags(), VM | IOPL | IF | RESERVED_ONE);
    // With CR4.VME it is VIF that is seen and set.
    let mut bench = v86(IF, true);
    bench.run(pushf).unwrap();
    assert_eq!(u64::from(bench.peek::<u16>(STACK - 2)), IOPL | RESERVED_ONE);
    bench.put(STACK - 2, IF as u16);
    bench.run(popf).unwrap();
    assert_eq!(bench.cpu.rflags(), VM | IF | VIF | RESERVED_ONE);
    let mut bench = v86(VIP, true);
    bench.put(STACK, IF as u16);
    assert_eq!(bench.run(popf), Err(Exception::gp(0)), "an interrupt waits");
    assert_eq!(bench.cpu.gpr[4], STACK);
    bench.put(STACK, TF as u16);
    assert_eq!(bench.run(popf), Err(Exception::gp(0)));
}

#[test]
fn segments_have_their_say_in_32_bit_code() {
    let mut bench = Bench::new(32);
    bench.cpu.state.segments[SegmentRegister::Ss as usize].base = DATA;
    bench.cpu.state.segments[SegmentRegister::Ss as usize].limit = 0xfff;
    bench.cpu.gpr[4] = 0x1000;
    bench.cpu.gpr[0] = 0x1234_5678;
    bench.run(&[0x50]).unwrap();
    assert_eq!(bench.peek::<u32>(DATA + 0xffc), 0x1234_5678);
    bench.cpu.gpr[4] = 0x1004;
    assert_eq!(bench.run(&[0x50]), Err(Exception::with_code(Vector::StackFault, 0)));
}
