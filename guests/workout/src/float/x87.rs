//! The x87 FPU: every arithmetic instruction on every pair of awkward values, in every rounding mode and
//! precision.

#![allow(unsafe_code)] // instructions that no language has

use std::arch::asm;

use super::DOUBLES;
use crate::Scale;
use crate::digest::{Digest, hex};
use crate::report::Report;

/// A number of 80 bits as in memory: 64 bits of significand, 15 of exponent, the sign.
pub type Extended = [u8; 10];

/// A control word with all exceptions masked, 64 bits of precision, rounding to nearest: what FNINIT sets.
pub const DEFAULT_CONTROL: u16 = 0x037f;

/// Rounding and precision control in all combinations that are not reserved.
fn controls() -> impl Iterator<Item = u16> {
    (0..4).flat_map(|rounding| [0, 2, 3].map(|precision| 0x007f | rounding << 10 | precision << 8))
}

/// Runs instructions on `a` in ST(0) and `b` in ST(1) with a control word; returns what they leave in ST(0),
/// and the status word, in which an exception leaves its flag, and a comparison its result.
macro_rules! instruction {
    ($($text:literal),+) => {
        |control: u16, a: &Extended, b: &Extended| -> (Extended, u16) {
            let mut result = [0; 10];
            let status: u16;
            // SAFETY: reads ten bytes at `a` and `b` and two at `control`, writes ten at `result`; leaves the
            // FPU as FNINIT does, with an empty stack, whatever the instructions did to it.
            unsafe {
                asm!(
                    "fninit",
                    "fld tbyte ptr [{b}]",
                    "fld tbyte ptr [{a}]",
                    "fldcw word ptr [{control}]",
                    $($text,)+
                    "fnstsw ax",
                    "fstp tbyte ptr [{result}]",
                    "fninit",
                    control = in(reg) &raw const control,
                    a = in(reg) a,
                    b = in(reg) b,
                    result = in(reg) &raw mut result,
                    out("ax") status,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
            (result, status)
        }
    };
}

type Instruction = fn(u16, &Extended, &Extended) -> (Extended, u16);

/// IEEE 754 and Intel's manual leave no choice about these.
const EXACT: [(&str, Instruction); 12] = [
    ("fadd", instruction!("faddp st(1), st")),
    ("fsub", instruction!("fsubp st(1), st")),
    ("fsubr", instruction!("fsubrp st(1), st")),
    ("fmul", instruction!("fmulp st(1), st")),
    ("fdiv", instruction!("fdivp st(1), st")),
    ("fdivr", instruction!("fdivrp st(1), st")),
    ("fsqrt", instruction!("fsqrt")),
    ("frndint", instruction!("frndint")),
    ("fscale", instruction!("fscale")),
    ("fxtract", instruction!("fxtract")),
    ("fcom", instruction!("fcom st(1)")),
    ("fxam", instruction!("fxam")),
];

/// Of these only the accuracy is specified, or how far one step of the reduction goes; each make of processor
/// has its own last bits.
const APPROXIMATE: [Instruction; 10] = [
    instruction!("fprem"),
    instruction!("fprem1"),
    instruction!("fsin"),
    instruction!("fcos"),
    instruction!("fptan"),
    instruction!("fpatan"),
    instruction!("f2xm1"),
    instruction!("fyl2x"),
    instruction!("fyl2xp1"),
    instruction!("fsincos"),
];

/// Stores of other formats: into the ten bytes of the result, as far as they go.
const STORES: [(&str, Instruction); 8] = [
    ("fist 16", instruction!("fistp word ptr [{result}]", "fild word ptr [{result}]")),
    ("fist 32", instruction!("fistp dword ptr [{result}]", "fild dword ptr [{result}]")),
    ("fist 64", instruction!("fistp qword ptr [{result}]", "fild qword ptr [{result}]")),
    // Read back in two parts, as what is stored for an invalid number is not for FBLD.
    ("fbstp", instruction!("fbstp tbyte ptr [{result}]", "fild qword ptr [{result}]")),
    ("fbstp's top", instruction!("fbstp tbyte ptr [{result}]", "fild word ptr [{result} + 8]")),
    ("fst single", instruction!("fstp dword ptr [{result}]", "fld dword ptr [{result}]")),
    ("fst double", instruction!("fstp qword ptr [{result}]", "fld qword ptr [{result}]")),
    (
        "constants",
        instruction!("fldpi", "fldl2e", "fldl2t", "fldln2", "fldlg2", "faddp", "faddp", "faddp", "faddp"),
    ),
];

pub fn run(report: &mut Report, scale: &Scale) {
    let values = values();
    for (name, instruction) in EXACT.into_iter().chain(STORES) {
        let mut digest = Digest::new();
        for _ in 0..scale.rounds {
            for control in controls() {
                for a in &values {
                    for b in &values {
                        let (result, status) = instruction(control, a, b);
                        digest.bytes(&result);
                        digest.number(status & defined(name));
                    }
                }
            }
        }
        report.value(&format!("x87 {name}"), digest);
    }
    let mut digest = Digest::new();
    for instruction in APPROXIMATE {
        for a in &values {
            for b in &values {
                let (result, status) = instruction(DEFAULT_CONTROL, a, b);
                digest.bytes(&result);
                digest.number(status & defined(""));
            }
        }
    }
    report.value("x87 transcendental instructions, as this make of processor has them", digest);
    report.value("x87 e by its series", hex(&euler()));
    report.value("x87 pi by its series", hex(&leibniz(20_000 * scale.rounds)));
}

/// The bits of the status word that the manual defines after an instruction: the stack top, the stack fault
/// and the exceptions; the condition codes only where they are a result.
fn defined(name: &str) -> u16 {
    const CONDITIONS: u16 = 0x4700;
    match name {
        "fcom" | "fxam" => 0xffff,
        _ => !CONDITIONS,
    }
}

/// The doubles, and what only the x87 has.
fn values() -> Vec<Extended> {
    let own = [
        (0x0000, 0x0000_0000_0000_0001_u64), // the least subnormal
        (0x8000, 0x7fff_ffff_ffff_ffff),     // the greatest negative subnormal
        (0x0000, 0x8000_0000_0000_0000),     // a pseudo-subnormal
        (0x7ffe, 0xffff_ffff_ffff_ffff),     // the greatest
        (0x0001, 0x8000_0000_0000_0000),     // the least normal
        (0x4000, 0x0100_0000_0000_0000),     // an unnormal: invalid
        (0x7fff, 0x0000_0000_0000_0000),     // a pseudo-infinity: invalid
        (0x403a, 0xde0b_6b3a_763f_ffff),     // the greatest that FBSTP can store, rounded
        (0x4000, 0xc90f_daa2_2168_c235),     // pi
        (0xbffe, 0x8000_0000_0000_0000),     // -0.5, a tie
    ];
    let own = own.map(|(top, significand)| {
        let mut number = [0; 10];
        number[..8].copy_from_slice(&significand.to_le_bytes());
        number[8..].copy_from_slice(&u16::to_le_bytes(top));
        number
    });
    DOUBLES.into_iter().map(extend).chain(own).collect()
}

/// A double as the x87 loads it. A signalling NaN turns quiet.
fn extend(bits: u64) -> Extended {
    let mut number = [0; 10];
    // SAFETY: reads eight bytes at `bits`, writes ten at `number`; leaves the stack as it was.
    unsafe {
        asm!(
            "fld qword ptr [{bits}]",
            "fstp tbyte ptr [{number}]",
            bits = in(reg) &raw const bits,
            number = in(reg) &raw mut number,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    number
}

/// The sum of 1/n! in the FPU's registers, until it no longer changes.
fn euler() -> Extended {
    let mut sum = [0; 10];
    // SAFETY: writes ten bytes at `sum`; the loop ends, as the terms vanish; the stack is empty at the end as
    // at the start.
    unsafe {
        asm!(
            "fninit",
            "fld1",                     // n
            "fld1",                     // term
            "fld1",                     // sum
            "2:",
            "fld st(1)",
            "fdiv st, st(3)",           // term / n
            "fst st(2)",
            "fld st(1)",
            "faddp st(1), st",          // new sum
            "fcom st(1)",
            "fnstsw ax",
            "fstp st(1)",
            "fld1",
            "faddp st(3), st",          // n + 1
            "test ah, 0x40",            // C3: equal
            "jz 2b",
            "fstp tbyte ptr [{sum}]",
            "fninit",
            sum = in(reg) &raw mut sum,
            out("ax") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    sum
}

/// Four times the alternating sum of 1/(2n + 1), `terms` of them and half of the next.
fn leibniz(terms: u32) -> Extended {
    let mut sum = [0; 10];
    let two = 2_i32;
    // SAFETY: reads four bytes at `two`, writes ten at `sum`; the stack is empty at the end as at the start.
    unsafe {
        asm!(
            "fninit",
            "fld1",                     // odd
            "fld1",                     // sign
            "fldz",                     // sum
            "2:",
            "fld st(1)",
            "fdiv st, st(3)",
            "faddp st(1), st",
            "fxch st(1)",
            "fchs",
            "fxch st(1)",
            "fild dword ptr [{two}]",
            "faddp st(3), st",
            "dec {terms:e}",
            "jnz 2b",
            "fxch st(1)",
            "fdiv st, st(2)",           // sign / odd
            "fidiv dword ptr [{two}]",
            "faddp st(1), st",
            "fimul dword ptr [{two}]",
            "fimul dword ptr [{two}]",
            "fstp tbyte ptr [{sum}]",
            "fninit",
            two = in(reg) &raw const two,
            terms = inout(reg) terms => _,
            sum = in(reg) &raw mut sum,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_is_e_to_64_bits() {
        // 2.718281828459045235360…: the significand is e / 2 * 2^63 * 2.
        assert_eq!(hex(&euler()[8..]), "0040");
        let significand = u64::from_le_bytes(euler()[..8].try_into().unwrap());
        assert!(significand.abs_diff(0xadf8_5458_a2bb_4a9a) <= 2, "{significand:x}");
    }

    #[test]
    fn arithmetic_is_arithmetic() {
        let (one, two) = (extend(1_f64.to_bits()), extend(2_f64.to_bits()));
        let run = |name: &str, a: &Extended, b: &Extended| {
            let (_, instruction) = EXACT.into_iter().find(|(other, _)| *other == name).unwrap();
            instruction(DEFAULT_CONTROL, a, b).0
        };
        assert_eq!(run("fadd", &one, &one), two);
        assert_eq!(run("fsub", &one, &two), one); // ST(1) - ST(0)
        assert_eq!(run("fdivr", &two, &one), two); // ST(0) / ST(1)
    }
}
