//! SSE and SSE2: scalar and packed arithmetic, comparisons and conversions, with what MXCSR says of each.

#![allow(unsafe_code)] // MXCSR is nothing that the language knows of

use std::arch::asm;

use super::DOUBLES;
use crate::Scale;
use crate::digest::Digest;
use crate::report::Report;

/// All exceptions masked, none raised, rounding to nearest.
const DEFAULT_MXCSR: u32 = 0x1f80;

/// The same with an address.
static DEFAULT: u32 = DEFAULT_MXCSR;

/// The four rounding modes, with and without flushing to zero and denormals as zero.
fn controls() -> impl Iterator<Item = u32> {
    (0..4_u32)
        .flat_map(|rounding| [0, 0x8000, 0x0040, 0x8040].map(|zero| DEFAULT_MXCSR | rounding << 13 | zero))
}

type Vector = [u64; 2];

/// Runs an instruction on two vectors in XMM0 and XMM1; returns XMM0, RAX (which the instruction may have
/// written) with the arithmetic flags above it, and MXCSR.
macro_rules! instruction {
    ($text:literal) => {
        |control: u32, a: &Vector, b: &Vector| -> (Vector, u64, u32) {
            let mut result = [0; 2];
            let mut status = control;
            let mut value = 0_u64;
            let flags: u64;
            // SAFETY: reads sixteen bytes at `a` and `b`, writes as many at `result`, reads and writes four
            // at `status`, reads four at `default`; leaves MXCSR with its default, as the language wants it.
            unsafe {
                asm!(
                    "movups xmm0, xmmword ptr [{a}]",
                    "movups xmm1, xmmword ptr [{b}]",
                    "ldmxcsr dword ptr [{status}]",
                    "xor {flags:e}, {flags:e}", // defined flags where the instruction sets none
                    $text,
                    "pushfq",
                    "pop {flags}",
                    "stmxcsr dword ptr [{status}]",
                    "ldmxcsr dword ptr [{default}]",
                    "movups xmmword ptr [{result}], xmm0",
                    a = in(reg) a,
                    b = in(reg) b,
                    status = in(reg) &raw mut status,
                    default = in(reg) &raw const DEFAULT,
                    result = in(reg) &raw mut result,
                    flags = out(reg) flags,
                    inout("rax") value,
                    out("xmm0") _,
                    out("xmm1") _,
                );
            }
            // ZF, PF and CF, the result of a comparison.
            (result, value ^ (flags & 0x45) << 32, status)
        }
    };
}

type Instruction = fn(u32, &Vector, &Vector) -> (Vector, u64, u32);

const INSTRUCTIONS: [(&str, bool, &[Instruction]); 9] = [
    (
        "scalar double arithmetic",
        false,
        &[
            instruction!("addsd xmm0, xmm1"),
            instruction!("subsd xmm0, xmm1"),
            instruction!("mulsd xmm0, xmm1"),
            instruction!("divsd xmm0, xmm1"),
            instruction!("sqrtsd xmm0, xmm1"),
            instruction!("minsd xmm0, xmm1"),
            instruction!("maxsd xmm0, xmm1"),
        ],
    ),
    (
        "scalar single arithmetic",
        true,
        &[
            instruction!("addss xmm0, xmm1"),
            instruction!("subss xmm0, xmm1"),
            instruction!("mulss xmm0, xmm1"),
            instruction!("divss xmm0, xmm1"),
            instruction!("sqrtss xmm0, xmm1"),
            instruction!("minss xmm0, xmm1"),
            instruction!("maxss xmm0, xmm1"),
        ],
    ),
    (
        "packed double arithmetic",
        false,
        &[
            instruction!("addpd xmm0, xmm1"),
            instruction!("subpd xmm0, xmm1"),
            instruction!("mulpd xmm0, xmm1"),
            instruction!("divpd xmm0, xmm1"),
            instruction!("sqrtpd xmm0, xmm1"),
        ],
    ),
    (
        "packed single arithmetic",
        true,
        &[
            instruction!("addps xmm0, xmm1"),
            instruction!("subps xmm0, xmm1"),
            instruction!("mulps xmm0, xmm1"),
            instruction!("divps xmm0, xmm1"),
            instruction!("sqrtps xmm0, xmm1"),
        ],
    ),
    (
        "double comparisons",
        false,
        &[
            instruction!("ucomisd xmm0, xmm1"),
            instruction!("comisd xmm0, xmm1"),
            instruction!("cmpeqsd xmm0, xmm1"),
            instruction!("cmpltsd xmm0, xmm1"),
            instruction!("cmplesd xmm0, xmm1"),
            instruction!("cmpunordsd xmm0, xmm1"),
            instruction!("cmpneqpd xmm0, xmm1"),
            instruction!("cmpnltpd xmm0, xmm1"),
            instruction!("cmpnlepd xmm0, xmm1"),
            instruction!("cmpordpd xmm0, xmm1"),
        ],
    ),
    (
        "single comparisons",
        true,
        &[
            instruction!("ucomiss xmm0, xmm1"),
            instruction!("comiss xmm0, xmm1"),
            instruction!("cmpltps xmm0, xmm1"),
            instruction!("cmpnleps xmm0, xmm1"),
        ],
    ),
    (
        "conversions from double",
        false,
        &[
            instruction!("cvtsd2si rax, xmm1"),
            instruction!("cvtsd2si eax, xmm1"),
            instruction!("cvttsd2si rax, xmm1"),
            instruction!("cvttsd2si eax, xmm1"),
            instruction!("cvtsd2ss xmm0, xmm1"),
            instruction!("cvtpd2ps xmm0, xmm1"),
            instruction!("cvtpd2dq xmm0, xmm1"),
            instruction!("cvttpd2dq xmm0, xmm1"),
        ],
    ),
    (
        "conversions from single",
        true,
        &[
            instruction!("cvtss2si rax, xmm1"),
            instruction!("cvttss2si eax, xmm1"),
            instruction!("cvtss2sd xmm0, xmm1"),
            instruction!("cvtps2pd xmm0, xmm1"),
            instruction!("cvtps2dq xmm0, xmm1"),
            instruction!("cvttps2dq xmm0, xmm1"),
        ],
    ),
    (
        "conversions from integers",
        false,
        &[
            // What is in the vector taken for an integer.
            instruction!("movq rax, xmm1\ncvtsi2sd xmm0, rax"),
            instruction!("movq rax, xmm1\ncvtsi2ss xmm0, rax"),
            instruction!("movq rax, xmm1\ncvtsi2sd xmm0, eax"),
            instruction!("cvtdq2pd xmm0, xmm1"),
            instruction!("cvtdq2ps xmm0, xmm1"),
        ],
    ),
];

/// Of these only the accuracy is specified.
const APPROXIMATE: [Instruction; 2] = [instruction!("rcpps xmm0, xmm1"), instruction!("rsqrtps xmm0, xmm1")];

pub fn run(report: &mut Report, scale: &Scale) {
    for (name, single, instructions) in INSTRUCTIONS {
        let values = values(single);
        let mut digest = Digest::new();
        for _ in 0..scale.rounds {
            for control in controls() {
                for a in &values {
                    for b in &values {
                        for instruction in instructions {
                            record(&mut digest, instruction(control, a, b));
                        }
                    }
                }
            }
        }
        report.value(&format!("sse {name}"), digest);
    }
    let mut digest = Digest::new();
    for value in values(true) {
        for instruction in APPROXIMATE {
            record(&mut digest, instruction(DEFAULT_MXCSR, &[0; 2], &value));
        }
    }
    report.value("sse approximations, as this make of processor has them", digest);
}

fn record(digest: &mut Digest, (vector, value, status): (Vector, u64, u32)) {
    vector.into_iter().for_each(|half| digest.number(half));
    digest.number(value);
    digest.number(status);
}

/// Vectors with an awkward value at the bottom, where scalar instructions look, and others above it.
fn values(single: bool) -> Vec<Vector> {
    let narrow = |bits: u64| {
        let top = (bits >> 32) as u32;
        // Sign and exponent's end as they are, so that zeros, infinities and NaNs stay such; the rest moves
        // up.
        let exponent = (bits >> 52 & 0x7ff) as u32;
        let exponent = match exponent {
            0 => 0,
            0x7ff => 0xff,
            _ => (exponent.saturating_sub(896)).clamp(1, 254),
        };
        let fraction = (top & 0xf_ffff) << 3 | (bits as u32 & 7);
        u64::from(top & 0x8000_0000 | exponent << 23 | fraction)
    };
    let lane = |at: usize| DOUBLES[at % DOUBLES.len()];
    (0..DOUBLES.len())
        .map(|at| {
            if single {
                [
                    narrow(lane(at)) | narrow(lane(at + 3)) << 32,
                    narrow(lane(at + 7)) | narrow(lane(at + 14)) << 32,
                ]
            } else {
                [lane(at), lane(at + 7)]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_status_are_the_instructions() {
        let divide = INSTRUCTIONS[0].2[3];
        let (one, zero) = ([1_f64.to_bits(), 7], [0, 0]);
        let (result, _, status) = divide(DEFAULT_MXCSR, &one, &zero);
        assert_eq!(result, [f64::INFINITY.to_bits(), 7]);
        assert_eq!(status, DEFAULT_MXCSR | 4, "ZE");
        let convert = INSTRUCTIONS[6].2[0];
        assert_eq!(convert(DEFAULT_MXCSR, &zero, &[2.5_f64.to_bits(), 0]).1 & 0xffff_ffff, 2);
        assert_eq!(convert(DEFAULT_MXCSR | 2 << 13, &zero, &[2.5_f64.to_bits(), 0]).1 & 0xffff_ffff, 3);
    }

    #[test]
    fn singles_keep_their_kind() {
        for (double, single) in DOUBLES.into_iter().zip(values(true)) {
            let (double, single) = (f64::from_bits(double), f32::from_bits(single[0] as u32));
            assert_eq!(double.is_nan(), single.is_nan());
            assert_eq!(double.is_infinite(), single.is_infinite());
            assert_eq!(double.is_sign_negative(), single.is_sign_negative());
        }
    }
}
