//! Multiplication and division.

use super::model::{EDGES, Width};
use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, OF, STATUS};
use crate::tests::exec::Regs;

family!("integer": mul, imul, imul_two_operands, div, idiv, divide_error);

type Step = fn(u64, u64, u64) -> Regs;

/// `$name` by CL, CX, ECX and RCX, with RDX in.
macro_rules! by_c {
    ($name:literal) => {
        [
            |a, c, d| exec!(concat!($name, " cl"), a, c, d, STATUS),
            |a, c, d| exec!(concat!($name, " cx"), a, c, d, STATUS),
            |a, c, d| exec!(concat!($name, " ecx"), a, c, d, STATUS),
            |a, c, d| exec!(concat!($name, " rcx"), a, c, d, STATUS),
        ]
    };
}

/// The low `width` bits of `value`, sign extended.
fn signed(width: Width, value: u64) -> i128 {
    (i128::from(value as i64) << (128 - width.0)) >> (128 - width.0)
}

fn product_sweep(
    steps: [Step; 4],
    product: fn(Width, u64, u64) -> u128,
    fits: fn(Width, u128) -> bool,
) -> Outcome {
    for (step, width) in steps.into_iter().zip(Width::ALL) {
        for &a in EDGES {
            for &c in EDGES {
                let d = 0x1122_3344_5566_7788;
                let got = step(a, c, d);
                let wide = product(width, a, c);
                let (low, high) = (wide as u64, (wide >> (width.0 & 127)) as u64);
                let (rax, rdx) = if width.0 == 8 {
                    (Width(16).merge(a, low), d)
                } else {
                    (width.merge(a, low), width.merge(d, high))
                };
                check_eq!(got.rax, rax, "{}-bit low half of {a:#x} * {c:#x}", width.0);
                check_eq!(got.rdx, rdx, "{}-bit high half of {a:#x} * {c:#x}", width.0);
                let want = if fits(width, wide) { 0 } else { CF | OF };
                check_eq!(got.flags & (CF | OF), want, "{}-bit flags of {a:#x} * {c:#x}", width.0);
            }
        }
    }
    Ok(())
}

fn mul() -> Outcome {
    product_sweep(
        by_c!("mul"),
        |w, a, c| u128::from(w.cut(a)) * u128::from(w.cut(c)),
        |w, wide| wide >> w.0 == 0,
    )
}

fn imul() -> Outcome {
    product_sweep(
        by_c!("imul"),
        |w, a, c| (signed(w, a) * signed(w, c)) as u128,
        |w, wide| signed(w, wide as u64) == wide as i128,
    )
}

fn imul_two_operands() -> Outcome {
    for &a in EDGES {
        for &c in EDGES {
            let got = exec!("imul rax, rcx", a, c, 0, 0);
            let wide = signed(Width(64), a) * signed(Width(64), c);
            check_eq!(got.rax, wide as u64, "imul rax, rcx of {a:#x}, {c:#x}");
            let want = if i128::from(wide as i64) == wide { 0 } else { CF | OF };
            check_eq!(got.flags & (CF | OF), want, "flags of imul rax, rcx of {a:#x}, {c:#x}");
        }
        let got = exec!("imul eax, ecx, -3", 0, a, 0, 0);
        check_eq!(got.rax, (a as u32).wrapping_mul(-3i32 as u32), "imul eax, ecx, -3 of {a:#x}");
        let got = exec!("imul ax, cx, 0x1234", u64::MAX, a, 0, 0);
        let want = u64::MAX << 16 | u64::from((a as u16).wrapping_mul(0x1234));
        check_eq!(got.rax, want, "imul ax, cx, 0x1234 of {a:#x}");
    }
    Ok(())
}

/// The dividend in AX or the D:A pair.
fn dividend(width: Width, a: u64, d: u64) -> u128 {
    match width.0 {
        8 => (a & 0xffff).into(),
        _ => u128::from(width.cut(d)) << width.0 | u128::from(width.cut(a)),
    }
}

/// What RAX and RDX hold after a division.
fn quotient(width: Width, a: u64, d: u64, quotient: u64, remainder: u64) -> (u64, u64) {
    match width.0 {
        8 => (Width(16).merge(a, quotient & 0xff | (remainder & 0xff) << 8), d),
        _ => (width.merge(a, quotient), width.merge(d, remainder)),
    }
}

fn division_sweep(steps: [Step; 4], divide: fn(Width, u128, u64) -> Option<(u64, u64)>) -> Outcome {
    for (step, width) in steps.into_iter().zip(Width::ALL) {
        for &a in EDGES {
            for &c in EDGES {
                for d in [0, 1, u64::MAX, 0x7f] {
                    let what = divide(width, dividend(width, a, d), c);
                    let got = crate::trap::catch(|| step(a, c, d));
                    match (what, got) {
                        (Some((q, r)), Ok(got)) => {
                            let (rax, rdx) = quotient(width, a, d, q, r);
                            check_eq!(got.rax, rax, "{}-bit {d:#x}:{a:#x} / {c:#x}", width.0);
                            check_eq!(got.rdx, rdx, "{}-bit {d:#x}:{a:#x} % {c:#x}", width.0);
                        }
                        (None, Err(trap)) if trap.is(crate::trap::vector::DE, 0) => {
                            // A fault: nothing was written.
                            check_eq!(trap.rax, a, "RAX after #DE of {d:#x}:{a:#x} / {c:#x}");
                            check_eq!(trap.rdx, d, "RDX after #DE of {d:#x}:{a:#x} / {c:#x}");
                        }
                        (None, Ok(_)) => check!(false, "{}-bit {d:#x}:{a:#x} / {c:#x}: no #DE", width.0),
                        (_, Err(trap)) => check!(false, "{}-bit {d:#x}:{a:#x} / {c:#x}: {trap}", width.0),
                    }
                }
            }
        }
    }
    Ok(())
}

fn div() -> Outcome {
    division_sweep(by_c!("div"), |w, dividend, c| {
        let divisor = u128::from(w.cut(c));
        let quotient = dividend.checked_div(divisor)?;
        (quotient >> w.0 == 0).then_some((quotient as u64, (dividend % divisor) as u64))
    })
}

fn idiv() -> Outcome {
    division_sweep(by_c!("idiv"), |w, dividend, c| {
        let shift = 128 - 2 * w.0;
        let dividend = (dividend as i128) << shift >> shift;
        let divisor = signed(w, c);
        let quotient = dividend.checked_div(divisor)?;
        (signed(w, quotient as u64) == quotient).then(|| (quotient as u64, (dividend % divisor) as u64))
    })
}

/// The two ways to #DE, with RIP at the instruction.
fn divide_error() -> Outcome {
    let trap = expect!(DE(0), exec!("div ecx", 1, 0, 0, 0));
    // SAFETY: RIP is in our own code.
    let opcode = unsafe { (trap.rip as *const u8).read() };
    check_eq!(opcode, 0xf7, "byte at RIP");
    expect!(DE(0), exec!("idiv rcx", 1u64 << 63, u64::MAX, u64::MAX, 0));
    expect!(DE(0), exec!("idiv ecx", 0x8000_0000u64, 0xffff_ffffu64, 0xffff_ffffu64, 0));
    expect!(DE(0), exec!("div cl", 0x0100, 1, 0, 0));
    Ok(())
}
