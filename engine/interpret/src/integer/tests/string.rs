//! String instructions: every element counts, whichever way it was done.

use fastrand::Rng;
use x86::flags::{DF, ZF};
use x86::{Exception, SegmentRegister};

use super::super::super::mode::View;
use super::{Bench, CODE, DATA};

const RAX: usize = 0;
const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;

/// REP MOVS or STOS of a width, byte for byte as the manual says.
fn model(memory: &mut [u8], movs: bool, width: usize, rax: u64, down: bool, at: &mut [usize; 3]) {
    let [rcx, rsi, rdi] = at;
    while *rcx != 0 {
        for n in 0..width {
            let byte = if movs { memory[*rsi + n] } else { rax.to_le_bytes()[n] };
            // An element is loaded whole before it is stored.
            if !movs || *rsi != *rdi {
                memory[*rdi + n] = byte;
            }
        }
        *rcx -= 1;
        let step = |at: usize| if down { at - width } else { at + width };
        (*rsi, *rdi) = (if movs { step(*rsi) } else { *rsi }, step(*rdi));
    }
}

#[test]
fn copies_and_fills_are_byte_for_byte_right() {
    let mut rng = Rng::with_seed(77);
    let opcodes: [(&[u8], bool, usize); 8] = [
        (&[0xf3, 0xa4], true, 1),
        (&[0xf3, 0x66, 0xa5], true, 2),
        (&[0xf3, 0xa5], true, 4),
        (&[0xf2, 0x48, 0xa5], true, 8), // F2 repeats as F3 does
        (&[0xf3, 0xaa], false, 1),
        (&[0xf3, 0x66, 0xab], false, 2),
        (&[0xf3, 0xab], false, 4),
        (&[0xf3, 0x48, 0xab], false, 8),
    ];
    let mut bench = Bench::new(64);
    for round in 0..3000 {
        let (code, movs, width) = opcodes[rng.usize(0..8)];
        let mut memory: Vec<u8> = (0..0x8000).map(|_| rng.u8(..)).collect();
        bench.cpu.memory.write_at(base::RamOffset(DATA), &memory);
        let down = rng.u8(0..4) == 0;
        let count = [rng.usize(0..20), rng.usize(0..1500)][rng.usize(0..2)];
        let to = rng.usize(0x3000..0x4000);
        // Near enough to overlap every other time; a whole element apart, so that the model holds.
        let apart = if rng.bool() { rng.usize(1..20) * width } else { rng.usize(0..0x300) + 8 };
        let from = if rng.bool() { to + apart } else { to - apart };
        let rax = [rng.u64(..), 0][rng.usize(0..2)];
        bench.cpu.state.rflags = if down { DF } else { 0 };
        bench.cpu.gpr[RAX] = rax;
        bench.cpu.gpr[RCX] = count as u64;
        (bench.cpu.gpr[RSI], bench.cpu.gpr[RDI]) = (DATA + from as u64, DATA + to as u64);
        bench.run_whole(code).unwrap();
        let mut at = [count, from, to];
        model(&mut memory, movs, width, rax, down, &mut at);
        let mut ours = vec![0; memory.len()];
        bench.cpu.memory.read_at(base::RamOffset(DATA), &mut ours);
        let wrong = ours.iter().zip(&memory).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "round {round}: {code:02x?} {count} from {from:#x} to {to:#x}");
        let registers = [RCX, RSI, RDI].map(|n| bench.cpu.gpr[n]);
        assert_eq!(registers, [0, DATA + at[1] as u64, DATA + at[2] as u64]);
    }
}

#[test]
fn comparisons_stop_where_they_should() {
    let mut bench = Bench::new(64);
    bench.cpu.memory.write_at(base::RamOffset(DATA), b"the quick brown fox");
    bench.cpu.memory.write_at(base::RamOffset(DATA + 0x100), b"the quick black fox");
    let mut run = |code: &[u8], count: u64| {
        (bench.cpu.gpr[RSI], bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (DATA, DATA + 0x100, count);
        bench.cpu.gpr[RAX] = u64::from(b'k');
        bench.cpu.status.set_bits(0);
        bench.run_whole(code).unwrap();
        let gpr = bench.cpu.gpr;
        (gpr[RSI] - DATA, gpr[RDI] - DATA - 0x100, gpr[RCX], bench.cpu.status.zero())
    };
    assert_eq!(run(&[0xf3, 0xa6], 19), (12, 12, 7, false)); // repe cmpsb
    assert_eq!(run(&[0xf3, 0xa6], 10), (10, 10, 0, true));
    assert_eq!(run(&[0xf3, 0xa6], 0), (0, 0, 0, false), "no element, no flags");
    assert_eq!(run(&[0xf3, 0xa7], 4), (12, 12, 1, false)); // repe cmpsd
    assert_eq!(run(&[0xf2, 0xa6], 19), (1, 1, 18, true)); // repne cmpsb
    assert_eq!(run(&[0xf2, 0xae], 19), (0, 9, 10, true)); // repne scasb
    assert_eq!(run(&[0xf3, 0xae], 19), (0, 1, 18, false)); // repe scasb
    assert_eq!(run(&[0xae], 19), (0, 1, 19, false), "one element without a prefix");
}

#[test]
fn loads_reach_the_accumulator() {
    let mut bench = Bench::new(64);
    bench.put(DATA, 0x8877_6655_4433_2211u64);
    for (code, after, bytes) in [
        (&[0xac][..], 0xffff_ffff_ffff_ff11u64, 1),
        (&[0x66, 0xad], 0xffff_ffff_ffff_2211, 2),
        (&[0xad], 0x4433_2211, 4),
        (&[0x48, 0xad], 0x8877_6655_4433_2211, 8),
    ] {
        (bench.cpu.gpr[RSI], bench.cpu.gpr[RAX]) = (DATA, u64::MAX);
        bench.run(code).unwrap();
        assert_eq!((bench.cpu.gpr[RAX], bench.cpu.gpr[RSI]), (after, DATA + bytes));
    }
}

#[test]
fn a_fault_in_the_middle_is_exact() {
    // 16 bytes below the end of the canonical half: two quadwords fit.
    let end = 0x8000_0000_0000u64;
    let mut bench = Bench::new(64);
    bench.cpu.gpr[RAX] = 7;
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (end - 16, 5);
    // Addresses beyond RAM are a device's.
    assert_eq!(bench.run_whole(&[0xf3, 0x48, 0xab]), Err(Exception::gp(0)));
    assert_eq!((bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]), (end, 3));
    assert_eq!(bench.device_stores(), [(end - 16, 8, 7), (end - 8, 8, 7)]);
    // A comparison that faults leaves the flags of before.
    (bench.cpu.gpr[RSI], bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (end - 16, end - 16, 5);
    bench.cpu.status.set_bits(0);
    assert_eq!(bench.run_whole(&[0xf3, 0xa6]).err(), None, "equal all the way");
    assert!(bench.cpu.status.zero());
    (bench.cpu.gpr[RSI], bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (end - 2, end - 2, 5);
    bench.cpu.status.set_bits(x86::flags::CF);
    assert_eq!(bench.run_whole(&[0xf3, 0xa6]), Err(Exception::gp(0)));
    assert_eq!((bench.cpu.gpr[RCX], bench.cpu.status.bits()), (3, x86::flags::CF));
}

#[test]
fn a_long_repetition_lets_others_in_between() {
    let mut bench = Bench::new(64);
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (DATA, 0x10_0000);
    let mut looks = 0;
    loop {
        bench.run(&[0xf3, 0xaa]).unwrap();
        looks += 1;
        let done = bench.cpu.gpr[RDI] - DATA;
        assert_eq!(bench.cpu.gpr[RCX], 0x10_0000 - done);
        assert!(done <= looks * 0x1000);
        if bench.cpu.rip != CODE {
            break;
        }
        assert!(bench.cpu.leave, "the block must end");
    }
    assert_eq!(bench.cpu.gpr[RCX], 0);
    // Single step stops after every element.
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (DATA, 3);
    bench.cpu.mode.stepping = true;
    bench.run(&[0xf3, 0xaa]).unwrap();
    assert_eq!((bench.cpu.rip, bench.cpu.gpr[RCX]), (CODE, 2));
}

#[test]
fn a_store_into_code_ends_the_block() {
    let mut bench = Bench::new(64);
    bench.cpu.memory.watch().cache_code(::base::RamOffset(DATA + 0x1000), 64);
    for (count, hit) in [(0x200, false), (0x201, true)] {
        (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (DATA, count);
        bench.run(&[0xf3, 0x48, 0xab]).unwrap();
        assert_eq!((bench.cpu.gpr[RCX], bench.cpu.leave), (0, hit));
        assert_eq!(bench.cpu.rip, CODE + 3, "the instruction goes on to its end");
    }
}

#[test]
fn narrow_addresses_wrap_and_keep_what_is_above() {
    let mut bench = Bench::new(16);
    bench.cpu.gpr[RAX] = 0x5a;
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (0xabcd_fff8, 0x1234_0010);
    bench.run_whole(&[0xf3, 0xaa]).unwrap();
    assert_eq!((bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]), (0xabcd_0008, 0x1234_0000));
    assert_eq!(
        (bench.peek::<u64>(0xfff8), bench.peek::<u64>(0)),
        (0x5a5a_5a5a_5a5a_5a5a, 0x5a5a_5a5a_5a5a_5a5a)
    );
    // 32-bit addresses in 64-bit code clear the upper halves.
    let mut bench = Bench::new(64);
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (0x7_0000_8000, 0x7_0000_0008);
    bench.run_whole(&[0x67, 0xf3, 0xaa]).unwrap();
    assert_eq!((bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]), (0x8008, 0));
}

#[test]
fn segments_are_those_of_the_manual() {
    let mut bench = Bench::new(16);
    let segments = &mut bench.cpu.state.segments;
    segments[SegmentRegister::Ds as usize].base = 0x1_0000;
    segments[SegmentRegister::Es as usize].base = 0x2_0000;
    segments[SegmentRegister::Fs as usize].base = 0x3_0000;
    for (at, value) in [(0x1_0100, 0x11u8), (0x2_0100, 0x22), (0x3_0100, 0x33)] {
        bench.put(at, value);
    }
    let copied = |bench: &mut Bench, code: &[u8]| {
        (bench.cpu.gpr[RSI], bench.cpu.gpr[RDI]) = (0x100, 0x200);
        bench.run(code).unwrap();
        bench.peek::<u8>(0x2_0200)
    };
    assert_eq!(copied(&mut bench, &[0xa4]), 0x11);
    assert_eq!(copied(&mut bench, &[0x64, 0xa4]), 0x33, "an override moves the source only");
    bench.cpu.gpr[RAX] = 0x44;
    assert_eq!(copied(&mut bench, &[0x64, 0xaa]), 0x44, "the destination stays in ES");
    bench.cpu.gpr[RAX] = 0x22;
    bench.cpu.gpr[RDI] = 0x100;
    bench.run(&[0xae]).unwrap();
    assert_eq!(bench.cpu.status.bits() & ZF, ZF, "SCAS reads ES");
    // A limit stops the bulk way exactly where it stops the slow one.
    bench.cpu.state.segments[SegmentRegister::Es as usize].limit = 0x20f;
    (bench.cpu.gpr[RSI], bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (0, 0x200, 0x40);
    assert_eq!(bench.run_whole(&[0xf3, 0xa4]), Err(Exception::gp(0)));
    assert_eq!((bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]), (0x210, 0x30));
}

#[test]
fn alignment_is_checked_element_by_element() {
    let mut bench = Bench::new(64);
    bench.cpu.mode.view = View::UserAligned;
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (DATA + 1, 0x10);
    bench.run_whole(&[0xf3, 0xaa]).unwrap();
    (bench.cpu.gpr[RDI], bench.cpu.gpr[RCX]) = (DATA + 1, 0x10);
    let check = Exception::with_code(x86::Vector::AlignmentCheck, 0);
    assert_eq!(bench.run_whole(&[0xf3, 0xab]), Err(check));
    assert_eq!(bench.cpu.gpr[RCX], 0x10);
}
