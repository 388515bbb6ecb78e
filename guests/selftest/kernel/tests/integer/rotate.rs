//! Rotates, with and without the carry.

use super::model::{EDGES, Width};
use super::shift::{COUNTS, Step, by_cl, masked};
use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, OF, STATUS};

family!("integer": rol, ror, rcl, rcr);

/// One rotation by one bit: value and carry in, value and carry out.
type OneBit = fn(Width, u64, bool) -> (u64, bool);

/// OF after a rotation by one, from the new value and carry.
type Overflow = fn(Width, u64, bool) -> bool;

fn sweep(steps: [Step; 4], one_bit: OneBit, overflow: Overflow) -> Outcome {
    for (step, width) in steps.into_iter().zip(Width::ALL) {
        for &a in EDGES {
            for &count in COUNTS {
                for flags in [0, STATUS] {
                    let got = step(a, count, 0, flags);
                    let times = masked(width, count);
                    let (mut value, mut carry) = (width.cut(a), flags & CF != 0);
                    for _ in 0..times {
                        (value, carry) = one_bit(width, value, carry);
                    }
                    check_eq!(got.rax, width.merge(a, value), "{}-bit {a:#x} by {count}", width.0);
                    // Only CF and OF change, and OF is defined for a rotation by one.
                    let mut want = flags & !CF & !OF | u64::from(carry);
                    want |= if overflow(width, value, carry) { OF } else { 0 };
                    let defined = if times > 1 { STATUS & !OF } else { STATUS };
                    if times == 0 {
                        want = flags;
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

fn rol() -> Outcome {
    let one_bit: OneBit = |w, a, _| (w.cut(a << 1) | u64::from(w.sign(a)), w.sign(a));
    sweep(by_cl!("rol"), one_bit, |w, new, carry| w.sign(new) != carry)
}

fn ror() -> Outcome {
    let one_bit: OneBit = |w, a, _| (a >> 1 | (a & 1) << (w.0 - 1), a & 1 != 0);
    sweep(by_cl!("ror"), one_bit, |w, new, _| w.sign(new ^ new << 1))
}

fn rcl() -> Outcome {
    let one_bit: OneBit = |w, a, carry| (w.cut(a << 1) | u64::from(carry), w.sign(a));
    sweep(by_cl!("rcl"), one_bit, |w, new, carry| w.sign(new) != carry)
}

fn rcr() -> Outcome {
    let one_bit: OneBit = |w, a, carry| (a >> 1 | u64::from(carry) << (w.0 - 1), a & 1 != 0);
    sweep(by_cl!("rcr"), one_bit, |w, new, _| w.sign(new ^ new << 1))
}
