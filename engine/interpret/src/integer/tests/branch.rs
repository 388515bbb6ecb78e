//! Near branches: where they go, and that a target out of reach changes nothing.

use x86::flags::{CF, OF, PF, SF, ZF};
use x86::{Exception, SegmentRegister};

use super::{Bench, CODE, DATA, STACK};

#[test]
fn conditions_follow_the_flags() {
    // Condition code, flags that meet it, flags that do not.
    let table: [(u8, &[u64], &[u64]); 8] = [
        (0x0, &[OF], &[0, !OF]),
        (0x2, &[CF], &[0, !CF]),
        (0x4, &[ZF], &[0, !ZF]),
        (0x6, &[CF, ZF, CF | ZF], &[0, SF | OF | PF]),
        (0x8, &[SF], &[0, !SF]),
        (0xa, &[PF], &[0, !PF]),
        (0xc, &[SF, OF, OF | ZF], &[0, SF | OF, ZF]),
        (0xe, &[SF, OF, ZF, SF | OF | ZF], &[0, SF | OF, CF | PF]),
    ];
    for (code, met, unmet) in table {
        for negated in [0, 1] {
            let cases = met.iter().map(|f| (f, negated == 0)).chain(unmet.iter().map(|f| (f, negated == 1)));
            for (&flags, taken) in cases {
                let mut bench = Bench::new(64);
                bench.cpu.status.set_bits(flags);
                bench.run(&[0x70 | code | negated, 0x80]).unwrap();
                let expected = if taken { CODE + 2 - 0x80 } else { CODE + 2 };
                assert_eq!(bench.cpu.rip, expected, "condition {code:x}+{negated}, flags {flags:#x}");
                bench.cpu.status.set_bits(flags);
                bench.run(&[0x0f, 0x80 | code | negated, 0, 0x10, 0, 0]).unwrap();
                assert_eq!(bench.cpu.rip == CODE + 6 + 0x1000, taken);
            }
        }
    }
}

#[test]
fn calls_and_returns_pair_up() {
    // Bits, CALL +0x100, its length, bytes pushed, RET 8.
    let table: [(u8, &[u8], u64); 5] = [
        (64, &[0xe8, 0, 1, 0, 0], 8),
        (64, &[0x66, 0xe8, 0, 1, 0, 0], 8), // the prefix is ignored there
        (32, &[0xe8, 0, 1, 0, 0], 4),
        (32, &[0x66, 0xe8, 0, 1], 2),
        (16, &[0xe8, 0, 1], 2),
    ];
    for (bits, call, pushed) in table {
        let mut bench = Bench::new(bits);
        bench.run(call).unwrap();
        let next = CODE + call.len() as u64;
        assert_eq!(bench.cpu.rip, next + 0x100);
        assert_eq!(bench.cpu.gpr[4], STACK - pushed);
        assert_eq!(bench.peek::<u64>(STACK - pushed) & (u64::MAX >> (64 - 8 * pushed)), next);
        let ret: &[u8] = if bits == 32 && pushed == 2 { &[0x66, 0xc2, 8, 0] } else { &[0xc2, 8, 0] };
        bench.run(ret).unwrap();
        assert_eq!((bench.cpu.rip, bench.cpu.gpr[4]), (next, STACK + 8), "{bits}");
    }
}

#[test]
fn an_operand_size_prefix_changes_no_near_branch_in_64_bit_code() {
    let mut bench = Bench::new(64);
    bench.put(STACK, 0x1_2345_6789u64);
    bench.run(&[0x66, 0xc3]).unwrap(); // ret
    assert_eq!((bench.cpu.rip, bench.cpu.gpr[4]), (0x1_2345_6789, STACK + 8));
    bench.cpu.gpr[0] = 0x2_3456_789a;
    bench.run(&[0x66, 0xff, 0xe0]).unwrap(); // jmp rax
    assert_eq!(bench.cpu.rip, 0x2_3456_789a);
    bench.run(&[0x66, 0xe9, 0xf9, 0xff, 0xff, 0xff]).unwrap(); // jmp -7
    assert_eq!(bench.cpu.rip, CODE - 1);
}

#[test]
fn indirect_branches_take_registers_and_memory() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[8] = 0x1234_5678_9abc;
    bench.run(&[0x41, 0xff, 0xe0]).unwrap(); // jmp r8
    assert_eq!(bench.cpu.rip, 0x1234_5678_9abc);
    bench.put(DATA, 0x4321u64);
    bench.cpu.gpr[3] = DATA;
    bench.run(&[0xff, 0x13]).unwrap(); // call [rbx]
    assert_eq!((bench.cpu.rip, bench.peek::<u64>(STACK - 8)), (0x4321, CODE + 2));
    // call [rsp]: the operand is read before the push.
    let mut bench = Bench::new(32);
    bench.put(STACK, 0x5555u32);
    bench.run(&[0xff, 0x14, 0x24]).unwrap();
    assert_eq!((bench.cpu.rip, bench.peek::<u32>(STACK - 4)), (0x5555, CODE as u32 + 3));
}

#[test]
fn a_target_that_is_not_canonical_changes_nothing() {
    let bad = 0x8000_0000_0000;
    for code in [&[0xff, 0xe0][..], &[0xff, 0xd0]] {
        let mut bench = Bench::new(64);
        bench.cpu.gpr[0] = bad;
        assert_eq!(bench.run(code), Err(Exception::gp(0)));
        assert_eq!(bench.cpu.gpr[4], STACK);
        assert_eq!(bench.peek::<u64>(STACK - 8), 0);
    }
    let mut bench = Bench::new(64);
    bench.put(STACK, bad);
    assert_eq!(bench.run(&[0xc3]), Err(Exception::gp(0)));
    assert_eq!(bench.cpu.gpr[4], STACK);
}

#[test]
fn a_target_beyond_the_limit_of_cs_changes_nothing() {
    // jmp, call, jz, loop, jecxz: all forward by 0x70.
    for code in [&[0xeb, 0x70][..], &[0xe8, 0x70, 0, 0, 0], &[0x74, 0x70], &[0xe2, 0x70], &[0xe3, 0x70]] {
        let mut bench = Bench::new(32);
        bench.cpu.state.segments[SegmentRegister::Cs as usize].limit = CODE as u32 + 0x6f;
        bench.cpu.status.set_bits(ZF);
        bench.cpu.gpr[1] = if code[0] == 0xe2 { 5 } else { 0 };
        let before = bench.cpu.gpr[..16].to_vec();
        assert_eq!(bench.run(code), Err(Exception::gp(0)), "{code:02x?}");
        assert_eq!(bench.cpu.gpr[..16], before);
    }
    // Not taken, not checked.
    let mut bench = Bench::new(32);
    bench.cpu.state.segments[SegmentRegister::Cs as usize].limit = CODE as u32 + 0x6f;
    bench.cpu.status.set_bits(0);
    bench.run(&[0x74, 0x70]).unwrap();
}

#[test]
fn sixteen_bit_targets_wrap() {
    let mut bench = Bench::new(16);
    bench.run(&[0xe9, 0x00, 0xe0]).unwrap(); // back beyond zero
    assert_eq!(bench.cpu.rip, CODE + 3 + 0xe000);
    bench.run(&[0xe9, 0x00, 0xf0]).unwrap();
    assert_eq!(bench.cpu.rip, 3);
    let mut bench = Bench::new(32);
    bench.run(&[0x66, 0xe9, 0x00, 0xf0]).unwrap();
    assert_eq!(bench.cpu.rip, 4);
}

#[test]
fn loops_count_by_the_address_size() {
    // Bits, code, RCX before and after, ZF, taken.
    type Case = (u8, &'static [u8], u64, u64, bool, bool);
    let table: [Case; 9] = [
        (64, &[0xe2, 0x10], 2, 1, false, true),
        (64, &[0xe2, 0x10], 1, 0, false, false),
        (64, &[0xe2, 0x10], 0, u64::MAX, false, true),
        (64, &[0x67, 0xe2, 0x10], 0x7_0000_0001, 0, false, false),
        (32, &[0x67, 0xe2, 0x10], 0x5_0000, 0x5_ffff, false, true),
        (64, &[0xe1, 0x10], 2, 1, false, false), // LOOPE
        (64, &[0xe1, 0x10], 2, 1, true, true),
        (64, &[0xe0, 0x10], 2, 1, true, false), // LOOPNE
        (64, &[0xe0, 0x10], 2, 1, false, true),
    ];
    for (bits, code, before, after, zero, taken) in table {
        let mut bench = Bench::new(bits);
        bench.cpu.gpr[1] = before;
        bench.cpu.status.set_bits(if zero { ZF } else { 0 });
        bench.run(code).unwrap();
        let next = CODE + code.len() as u64;
        let expected = (after, next + if taken { 0x10 } else { 0 });
        assert_eq!((bench.cpu.gpr[1], bench.cpu.rip), expected, "{bits} {code:02x?} {before:#x}");
    }
    let table: [(u8, &[u8], bool); 4] = [
        (64, &[0xe3, 0x10], false),
        (64, &[0x67, 0xe3, 0x10], true),
        (32, &[0xe3, 0x10], true),
        (16, &[0xe3, 0x10], true),
    ];
    for (bits, code, taken) in table {
        let mut bench = Bench::new(bits);
        bench.cpu.gpr[1] = 1 << 32;
        bench.run(code).unwrap();
        assert_eq!(bench.cpu.rip == CODE + code.len() as u64 + 0x10, taken, "{bits} {code:02x?}");
    }
}
