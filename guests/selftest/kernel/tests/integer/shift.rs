//! Shifts, by counts below, at and beyond the operand's width.

use super::model::{EDGES, Width, result_flags};
use crate::harness::Outcome;
use crate::hw::cpu::flags::{AF, CF, OF, STATUS};
use crate::tests::exec::Regs;

family!("integer": shl, shr, sar, shift_by_immediate, shld, shrd);

/// Counts in CL: the CPU masks them to 5 bits, to 6 for 64-bit operands.
pub const COUNTS: &[u64] = &[0, 1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 128, 255];

/// The instruction in four widths: the operand in RAX, the count in CL, RDX as a second source.
pub type Step = fn(u64, u64, u64, u64) -> Regs;

/// `$name` of AL, AX, EAX and RAX by CL.
macro_rules! by_cl {
    ($name:literal) => {
        [
            |a, c, d, f| exec!(concat!($name, " al, cl"), a, c, d, f),
            |a, c, d, f| exec!(concat!($name, " ax, cl"), a, c, d, f),
            |a, c, d, f| exec!(concat!($name, " eax, cl"), a, c, d, f),
            |a, c, d, f| exec!(concat!($name, " rax, cl"), a, c, d, f),
        ]
    };
}
pub(super) use by_cl;

/// The count as the CPU masks it.
pub fn masked(width: Width, count: u64) -> u64 {
    count & if width.0 == 64 { 63 } else { 31 }
}

/// One shift by one bit: the new value and the bit shifted out.
type OneBit = fn(Width, u64) -> (u64, bool);

/// OF after a shift by one, from the old and new value.
type Overflow = fn(Width, u64, u64) -> bool;

fn sweep(steps: [Step; 4], one_bit: OneBit, overflow: Overflow, carry_beyond: bool) -> Outcome {
    for (step, width) in steps.into_iter().zip(Width::ALL) {
        for &a in EDGES {
            for &count in COUNTS {
                for flags in [0, STATUS] {
                    let got = step(a, count, 0, flags);
                    let times = masked(width, count);
                    let (mut value, mut carry) = (width.cut(a), false);
                    for _ in 0..times {
                        (value, carry) = one_bit(width, value);
                    }
                    check_eq!(got.rax, width.merge(a, value), "{}-bit {a:#x} by {count}", width.0);
                    let mut want = result_flags(width, value) | u64::from(carry);
                    want |= if overflow(width, width.cut(a), value) { OF } else { 0 };
                    let mut defined = STATUS & !AF;
                    if times != 1 {
                        defined &= !OF;
                    }
                    if times >= width.0.into() && !carry_beyond {
                        defined &= !CF;
                    }
                    if times == 0 {
                        (want, defined) = (flags, STATUS);
                    }
                    check_eq!(
                        got.flags & defined,
                        want & defined,
                        "{}-bit flags of {a:#x} by {count}",
                        width.0
                    );
                }
            }
        }
    }
    Ok(())
}

fn shl() -> Outcome {
    let one_bit: OneBit = |w, a| (w.cut(a << 1), w.sign(a));
    sweep(by_cl!("shl"), one_bit, |w, old, new| w.sign(old ^ new), false)
}

fn shr() -> Outcome {
    sweep(by_cl!("shr"), |_, a| (a >> 1, a & 1 != 0), |w, old, _| w.sign(old), false)
}

fn sar() -> Outcome {
    let one_bit: OneBit = |w, a| (a >> 1 | (a & 1 << (w.0 - 1)), a & 1 != 0);
    sweep(by_cl!("sar"), one_bit, |_, _, _| false, true)
}

/// The D1 and C1 encodings.
fn shift_by_immediate() -> Outcome {
    let got = exec!("shl eax, 1", 0x8000_0001u64, 0, 0, 0);
    check_eq!(got.rax, 2, "shl eax, 1");
    check_eq!(got.flags & (CF | OF), CF | OF, "flags of shl eax, 1");
    let got = exec!("sar rax, 63", 1u64 << 63, 0, 0, 0);
    check_eq!(got.rax, u64::MAX, "sar rax, 63");
    let got = exec!("shr ax, 4", 0x1_00f8u64, 0, 0, 0);
    check_eq!(got.rax, 0x1_000f, "shr ax, 4");
    check_eq!(got.flags & CF, CF, "carry of shr ax, 4");
    // A shift by zero still clears the upper half of a 32-bit destination.
    let got = exec!("shl eax, 0", 0xffff_ffff_0000_0001u64, 0, 0, STATUS);
    check_eq!(got.rax, 1, "shl eax, 0");
    check_eq!(got.flags & STATUS, STATUS, "flags of shl eax, 0");
    let got = exec!("shl byte ptr [rsp - 128], cl; mov al, [rsp - 128]", 0, 0, 0, 0);
    check_eq!(got.flags & STATUS, 0, "flags of a memory operand shifted by zero");
    Ok(())
}

/// SHLD and SHRD for all counts below the width; beyond it the result is undefined.
fn double_sweep(steps: [Step; 3], left: bool) -> Outcome {
    for (step, width) in steps.into_iter().zip([Width(16), Width(32), Width(64)]) {
        for &a in EDGES {
            for &d in &EDGES[8..] {
                for &count in COUNTS {
                    let times = masked(width, count);
                    if times > width.0.into() {
                        continue;
                    }
                    let got = step(a, count, d, STATUS);
                    let (high, low) = if left { (a, d) } else { (d, a) };
                    let pair = u128::from(width.cut(high)) << width.0 | u128::from(width.cut(low));
                    let (value, carry) = match (left, times) {
                        (_, 0) => (a, true),
                        (true, n) => {
                            ((pair << n >> width.0) as u64, pair >> (2 * width.0 - n as u32) & 1 != 0)
                        }
                        (false, n) => ((pair >> n) as u64, pair >> (n - 1) & 1 != 0),
                    };
                    let value = width.cut(value);
                    check_eq!(got.rax, width.merge(a, value), "{}-bit {a:#x}, {d:#x} by {count}", width.0);
                    let mut want = result_flags(width, value) | u64::from(carry);
                    want |= if width.sign(a ^ value) { OF } else { 0 };
                    let mut defined = STATUS & !AF & if times == 1 { STATUS } else { !OF };
                    if times == 0 {
                        (want, defined) = (STATUS, STATUS);
                    }
                    check_eq!(
                        got.flags & defined,
                        want & defined,
                        "{}-bit flags of {a:#x}, {d:#x} by {count}",
                        width.0
                    );
                }
            }
        }
    }
    Ok(())
}

fn shld() -> Outcome {
    let steps: [Step; 3] = [
        |a, c, d, f| exec!("shld ax, dx, cl", a, c, d, f),
        |a, c, d, f| exec!("shld eax, edx, cl", a, c, d, f),
        |a, c, d, f| exec!("shld rax, rdx, cl", a, c, d, f),
    ];
    double_sweep(steps, true)
}

fn shrd() -> Outcome {
    let steps: [Step; 3] = [
        |a, c, d, f| exec!("shrd ax, dx, cl", a, c, d, f),
        |a, c, d, f| exec!("shrd eax, edx, cl", a, c, d, f),
        |a, c, d, f| exec!("shrd rax, rdx, cl", a, c, d, f),
    ];
    double_sweep(steps, false)
}
