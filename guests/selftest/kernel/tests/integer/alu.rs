//! Addition, subtraction and logic in four widths, against a model in wider arithmetic.

use super::model::{EDGES, Width, result_flags};
use crate::harness::Outcome;
use crate::hw::cpu::flags::{AF, CF, OF, STATUS};
use crate::tests::exec::Regs;

family!("integer": add, adc, sub, sbb, cmp, and, or, xor, test, inc, dec, neg, not, literal_flags);

type Step = fn(u64, u64, u64) -> Regs;

/// The instruction in its four widths, on AL and CL and so on.
macro_rules! widths {
    ($name:literal) => {
        [
            |a, b, f| exec!(concat!($name, " al, cl"), a, b, 0, f),
            |a, b, f| exec!(concat!($name, " ax, cx"), a, b, 0, f),
            |a, b, f| exec!(concat!($name, " eax, ecx"), a, b, 0, f),
            |a, b, f| exec!(concat!($name, " rax, rcx"), a, b, 0, f),
        ]
    };
}

macro_rules! widths_of_one {
    ($name:literal) => {
        [
            |a, b, f| exec!(concat!($name, " al"), a, b, 0, f),
            |a, b, f| exec!(concat!($name, " ax"), a, b, 0, f),
            |a, b, f| exec!(concat!($name, " eax"), a, b, 0, f),
            |a, b, f| exec!(concat!($name, " rax"), a, b, 0, f),
        ]
    };
}

/// What an instruction should do to operands `a` and `b` with carry `c`: the result and flags.
type Model = fn(Width, u64, u64, u64) -> (u64, u64);

fn sweep(steps: [Step; 4], model: Model, defined: u64, writes: bool) -> Outcome {
    for (step, width) in steps.into_iter().zip(Width::ALL) {
        for &a in EDGES {
            for &b in EDGES {
                for flags in [0, STATUS] {
                    let got = step(a, b, flags);
                    let (value, want) = model(width, width.cut(a), width.cut(b), flags & CF);
                    let rax = if writes { width.merge(a, value) } else { a };
                    check_eq!(got.rax, rax, "{}-bit result of {a:#x}, {b:#x}", width.0);
                    // Flags that an instruction leaves alone are in `defined`, and the model says CF.
                    check_eq!(got.flags & defined, want & defined, "{}-bit flags of {a:#x}, {b:#x}", width.0);
                }
            }
        }
    }
    Ok(())
}

fn sum(width: Width, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let value = width.cut(wide as u64);
    let mut flags = result_flags(width, value);
    flags |= if wide >> width.0 != 0 { CF } else { 0 };
    flags |= if (a ^ b ^ value) & 0x10 != 0 { AF } else { 0 };
    flags |= if width.sign((a ^ value) & (b ^ value)) { OF } else { 0 };
    (value, flags)
}

fn difference(width: Width, a: u64, b: u64, borrow: u64) -> (u64, u64) {
    let value = width.cut(a.wrapping_sub(b).wrapping_sub(borrow));
    let mut flags = result_flags(width, value);
    flags |= if u128::from(a) < u128::from(b) + u128::from(borrow) { CF } else { 0 };
    flags |= if (a ^ b ^ value) & 0x10 != 0 { AF } else { 0 };
    flags |= if width.sign((a ^ b) & (a ^ value)) { OF } else { 0 };
    (value, flags)
}

fn add() -> Outcome {
    sweep(widths!("add"), |w, a, b, _| sum(w, a, b, 0), STATUS, true)
}

fn adc() -> Outcome {
    sweep(widths!("adc"), sum, STATUS, true)
}

fn sub() -> Outcome {
    sweep(widths!("sub"), |w, a, b, _| difference(w, a, b, 0), STATUS, true)
}

fn sbb() -> Outcome {
    sweep(widths!("sbb"), difference, STATUS, true)
}

fn cmp() -> Outcome {
    // A 32-bit CMP writes nothing, so the upper half of RAX stays: hence no merge.
    sweep(widths!("cmp"), |w, a, b, _| difference(w, a, b, 0), STATUS, false)
}

fn and() -> Outcome {
    sweep(widths!("and"), |w, a, b, _| (a & b, result_flags(w, a & b)), STATUS & !AF, true)
}

fn or() -> Outcome {
    sweep(widths!("or"), |w, a, b, _| (a | b, result_flags(w, a | b)), STATUS & !AF, true)
}

fn xor() -> Outcome {
    sweep(widths!("xor"), |w, a, b, _| (a ^ b, result_flags(w, a ^ b)), STATUS & !AF, true)
}

fn test() -> Outcome {
    sweep(widths!("test"), |w, a, b, _| (a & b, result_flags(w, a & b)), STATUS & !AF, false)
}

fn inc() -> Outcome {
    let model: Model = |w, a, _, c| {
        let (value, flags) = sum(w, a, 1, 0);
        (value, flags & !CF | c)
    };
    sweep(widths_of_one!("inc"), model, STATUS, true)
}

fn dec() -> Outcome {
    let model: Model = |w, a, _, c| {
        let (value, flags) = difference(w, a, 1, 0);
        (value, flags & !CF | c)
    };
    sweep(widths_of_one!("dec"), model, STATUS, true)
}

fn neg() -> Outcome {
    sweep(widths_of_one!("neg"), |w, a, _, _| difference(w, 0, a, 0), STATUS, true)
}

fn not() -> Outcome {
    // NOT changes no flag: with CF in, all six come out as they went in.
    let model: Model = |w, a, _, c| (w.cut(!a), if c != 0 { STATUS } else { 0 });
    sweep(widths_of_one!("not"), model, STATUS, true)
}

/// A few results written down by hand, so that a CPU that is wrong in the same way in the
/// model and the instruction is found out.
fn literal_flags() -> Outcome {
    let table: &[(Step, u64, u64, u64, u64)] = &[
        (|a, b, f| exec!("add al, cl", a, b, 0, f), 0x7f, 0x01, 0x80, 0x890),
        (|a, b, f| exec!("add al, cl", a, b, 0, f), 0xff, 0x01, 0x00, 0x055),
        (|a, b, f| exec!("add ax, cx", a, b, 0, f), 0x8000, 0x8000, 0x0000, 0x845),
        (|a, b, f| exec!("sub al, cl", a, b, 0, f), 0x80, 0x01, 0x7f, 0x810),
        (|a, b, f| exec!("sub eax, ecx", a, b, 0, f), 0, 1, 0xffff_ffff, 0x095),
        (|a, b, f| exec!("xor eax, eax", a, b, 0, f), 5, 0, 0, 0x044),
        (|a, b, f| exec!("and al, cl", a, b, 0, f), 0x83, 0x81, 0x81, 0x084),
        (|a, b, f| exec!("inc al", a, b, 0, f), 0x7f, 0, 0x80, 0x890),
    ];
    for (index, &(step, a, b, value, want)) in table.iter().enumerate() {
        let got = step(a, b, 0);
        let defined = if (5..=6).contains(&index) { STATUS & !AF } else { STATUS };
        check_eq!(got.rax, value, "row {index} result");
        check_eq!(got.flags & defined, want, "row {index} flags");
    }
    Ok(())
}
