//! Arithmetic that goes wrong: divisions, and the exceptions of x87 and SSE where they are not masked.

#![allow(unsafe_code)] // faults on purpose

use std::arch::asm;

use crate::report::Report;
use crate::trap::{self, Trap};

/// x87 control and MXCSR with everything unmasked; rounding to nearest, 64 bits.
static LOUD_X87: u16 = 0x0340;
static LOUD_SSE: u32 = 0x0000;

/// Operands of the FPU instructions.
const ONE: f64 = 1.0;
const THREE: f64 = 3.0;
const ZERO: f64 = 0.0;
const HUGE: f64 = f64::MAX;
const TINY: f64 = f64::MIN_POSITIVE;
const SIGNALLING: u64 = 0x7ff0_0000_0000_0001;

pub fn run(report: &mut Report) {
    report.expect("64-bit division by zero", divide(5, 0, 0), Some((8, 1, 0)));
    report.expect("64-bit division overflow", divide(0, 1, 1), Some((8, 1, 0)));
    report.expect("64-bit division", divide(7, 0, 2), None);
    report.expect("32-bit signed division overflow", divide_signed(i32::MIN, -1), Some((8, 1, 0)));
    report.expect("32-bit signed division", divide_signed(-7, 2), None);

    let cases = [
        ("invalid", ZERO, ZERO, 7),
        ("by zero", ONE, ZERO, 3),
        ("overflow", HUGE, TINY, 4),
        ("underflow", TINY, HUGE, 5),
        ("inexact", ONE, THREE, 6),
    ];
    for (name, dividend, divisor, code) in cases {
        // The x87 has the exponents for these two; they overflow when they are stored.
        let stored = matches!(name, "overflow" | "underflow");
        let x87 = if stored { x87_store(dividend, divisor) } else { x87_divide(dividend, divisor) };
        report.expect(&format!("x87 {name}"), x87, Some((8, code, 0)));
        report.expect(&format!("sse {name}"), sse_divide(dividend, divisor), Some((8, code, 0)));
        report.expect(
            &format!("sse packed {name}"),
            sse_divide_packed(dividend, divisor),
            Some((8, code, 0)),
        );
    }
    report.expect("sse signalling NaN", sse_divide(f64::from_bits(SIGNALLING), ONE), Some((8, 7, 0)));
    report.expect("x87 exact", x87_divide(ONE, ONE), None);
    report.expect("sse exact", sse_divide(ONE, ONE), None);
    report.check(
        "masked afterwards",
        x87_masked() && (std::hint::black_box(ONE) / std::hint::black_box(ZERO)).is_infinite(),
    );
}

/// The signal, its code, and how far its address is from the instruction that should have it.
type Outcome = Option<(i64, i64, isize)>;

fn outcome(trap: Option<Trap>, instruction: usize) -> Outcome {
    trap.map(|trap| (trap.signal, trap.code, trap.address.wrapping_sub(instruction).cast_signed()))
}

fn divide(low: u64, high: u64, divisor: u64) -> Outcome {
    let mut at = 0;
    let trap = trap::attempt(|| {
        // SAFETY: arithmetic; a fault goes on at the label.
        unsafe {
            asm!(
                "lea r10, [rip + 2f]",
                "lea {at}, [rip + 3f]",
                "3:",
                "div {divisor}",
                "2:",
                at = out(reg) at,
                divisor = in(reg) divisor,
                inout("rax") low => _,
                inout("rdx") high => _,
                out("r10") _,
            );
        }
    });
    outcome(trap, at)
}

fn divide_signed(dividend: i32, divisor: i32) -> Outcome {
    let mut at = 0;
    let trap = trap::attempt(|| {
        // SAFETY: arithmetic; a fault goes on at the label.
        unsafe {
            asm!(
                "lea r10, [rip + 2f]",
                "lea {at}, [rip + 3f]",
                "cdq",
                "3:",
                "idiv {divisor:e}",
                "2:",
                at = out(reg) at,
                divisor = in(reg) divisor,
                inout("eax") dividend => _,
                out("edx") _,
                out("r10") _,
            );
        }
    });
    outcome(trap, at)
}

/// One x87 instruction with its exceptions unmasked, after some with them masked. An exception is pending
/// until the next waiting instruction, FWAIT; that is what faults.
macro_rules! x87 {
    ($dividend:expr, $divisor:expr, $quiet:literal, $loud:literal) => {{
        let (dividend, divisor, mut scratch, mut at): (f64, f64, f64, usize) = ($dividend, $divisor, 0.0, 0);
        let trap = trap::attempt(|| {
            // SAFETY: reads and writes the locals it is given; a fault goes on at the label. The FPU is left
            // as FNINIT does.
            unsafe {
                asm!(
                    "lea r10, [rip + 2f]",
                    "lea {at}, [rip + 3f]",
                    "fninit",
                    "fld qword ptr [{dividend}]",
                    "fld qword ptr [{divisor}]",
                    $quiet,
                    "fnclex",
                    "fldcw word ptr [{loud}]",
                    $loud,
                    "3:",
                    "fwait",
                    "2:",
                    "fninit",
                    at = out(reg) at,
                    dividend = in(reg) &raw const dividend,
                    divisor = in(reg) &raw const divisor,
                    scratch = in(reg) &raw mut scratch,
                    loud = in(reg) &raw const LOUD_X87,
                    out("r10") _,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
        });
        outcome(trap, at)
    }};
}

fn x87_divide(dividend: f64, divisor: f64) -> Outcome {
    x87!(dividend, divisor, "# {scratch}", "fdivp st(1), st")
}

fn x87_store(dividend: f64, divisor: f64) -> Outcome {
    x87!(dividend, divisor, "fdivp st(1), st", "fstp qword ptr [{scratch}]")
}

macro_rules! sse {
    ($dividend:expr, $divisor:expr, $text:literal) => {{
        let (dividend, divisor, mut at): ([f64; 2], [f64; 2], usize) = ($dividend, $divisor, 0);
        let quiet = 0x1f80_u32;
        let trap = trap::attempt(|| {
            // SAFETY: reads the locals it is given; a fault goes on at the label. MXCSR is left as the
            // language wants it.
            unsafe {
                asm!(
                    "lea r10, [rip + 2f]",
                    "lea {at}, [rip + 3f]",
                    "movups xmm0, xmmword ptr [{dividend}]",
                    "movups xmm1, xmmword ptr [{divisor}]",
                    "ldmxcsr dword ptr [{loud}]",
                    "3:",
                    $text,
                    "2:",
                    "ldmxcsr dword ptr [{quiet}]",
                    at = out(reg) at,
                    dividend = in(reg) &raw const dividend,
                    divisor = in(reg) &raw const divisor,
                    loud = in(reg) &raw const LOUD_SSE,
                    quiet = in(reg) &raw const quiet,
                    out("r10") _,
                    out("xmm0") _,
                    out("xmm1") _,
                );
            }
        });
        outcome(trap, at)
    }};
}

fn sse_divide(dividend: f64, divisor: f64) -> Outcome {
    sse!([dividend, 0.0], [divisor, 0.0], "divsd xmm0, xmm1")
}

/// With the offending pair in the upper half.
fn sse_divide_packed(dividend: f64, divisor: f64) -> Outcome {
    sse!([ONE, dividend], [ONE, divisor], "divpd xmm0, xmm1")
}

/// Whether the x87 has its exceptions masked and none pending.
fn x87_masked() -> bool {
    let mut control = 0_u16;
    let status: u16;
    // SAFETY: writes two bytes at `control`.
    unsafe {
        asm!("fnstcw word ptr [{control}]", "fnstsw ax", control = in(reg) &raw mut control, out("ax") status)
    };
    control == 0x037f && status & 0x00ff == 0
}
