//! SSE and SSE2 arithmetic: results, MXCSR's flags and modes.

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::pages;

family!("fpu":
    scalar_double, packed_single, sticky_flags, denormal_flag, rounding_modes, flush_and_denormals, comparisons, minimum_maximum,
    conversions, nan_propagation, alignment, sse3, scalar_moves,
);

/// Bits of MXCSR.
const IE: u32 = 1;
const DE: u32 = 2;
const ZE: u32 = 4;
const OE: u32 = 8;
const UE: u32 = 16;
const PE: u32 = 32;
const DAZ: u32 = 1 << 6;
const FTZ: u32 = 1 << 15;
const DEFAULT: u32 = 0x1f80;

/// Applies an instruction to XMM0 and XMM1 under `$mxcsr`; XMM0 and MXCSR after it.
macro_rules! sse {
    ($code:literal, $a:expr, $b:expr, $mxcsr:expr) => {{
        let (a, b): ([u64; 2], [u64; 2]) = ($a, $b);
        let mut out = [0u64; 2];
        let mut mxcsr: u32 = $mxcsr;
        // SAFETY: touches two vector registers and MXCSR, which is put back.
        unsafe {
            asm!(
                "movdqu xmm0, [{a}]", "movdqu xmm1, [{b}]", "ldmxcsr [{m}]",
                $code,
                "stmxcsr [{m}]", "movdqu [{out}], xmm0", "ldmxcsr [{default}]",
                a = in(reg) &raw const a, b = in(reg) &raw const b, out = in(reg) &raw mut out,
                m = in(reg) &raw mut mxcsr, default = in(reg) &DEFAULT,
                out("xmm0") _, out("xmm1") _,
            );
        }
        (out, mxcsr & 0x3f)
    }};
}

fn double(value: f64) -> [u64; 2] {
    [value.to_bits(), 0x7777]
}

fn singles(values: [f32; 4]) -> [u64; 2] {
    let bits = values.map(|value| u64::from(value.to_bits()));
    [bits[0] | bits[1] << 32, bits[2] | bits[3] << 32]
}

fn scalar_double() -> Outcome {
    let (out, flags) = sse!("addsd xmm0, xmm1", double(1.5), double(2.25), DEFAULT);
    check_eq!(out[0], 3.75f64.to_bits(), "1.5 + 2.25");
    check_eq!(out[1], 0x7777, "upper half");
    check_eq!(flags, 0, "flags of an exact sum");
    let (out, flags) = sse!("divsd xmm0, xmm1", double(1.0), double(3.0), DEFAULT);
    check_eq!(out[0], 0x3fd5_5555_5555_5555u64, "1 / 3");
    check_eq!(flags, PE, "flags of 1 / 3");
    let (out, _) = sse!("sqrtsd xmm0, xmm1", double(0.0), double(2.0), DEFAULT);
    check_eq!(out[0], 0x3ff6_a09e_667f_3bcdu64, "sqrt 2");
    let (out, _) = sse!("mulsd xmm0, xmm1", double(-0.1), double(0.1), DEFAULT);
    check_eq!(out[0], 0xbf84_7ae1_47ae_147cu64, "-0.1 * 0.1");
    let (out, _) = sse!("subsd xmm0, xmm1", double(1.0), double(1.0), DEFAULT);
    check_eq!(out[0], 0, "1 - 1");
    Ok(())
}

fn packed_single() -> Outcome {
    let (a, b) = (singles([1.0, 2.0, 3.0, 4.0]), singles([0.5, -2.0, 10.0, 0.25]));
    check!(sse!("addps xmm0, xmm1", a, b, DEFAULT).0 == singles([1.5, 0.0, 13.0, 4.25]), "addps");
    check!(sse!("mulps xmm0, xmm1", a, b, DEFAULT).0 == singles([0.5, -4.0, 30.0, 1.0]), "mulps");
    check!(sse!("divps xmm0, xmm1", a, b, DEFAULT).0 == singles([2.0, -1.0, 0.3, 16.0]), "divps");
    check!(sse!("subps xmm0, xmm1", a, b, DEFAULT).0 == singles([0.5, 4.0, -7.0, 3.75]), "subps");
    check!(sse!("shufps xmm0, xmm1, 0x1b", a, b, DEFAULT).0 == singles([4.0, 3.0, -2.0, 0.5]), "shufps");
    check!(sse!("unpcklps xmm0, xmm1", a, b, DEFAULT).0 == singles([1.0, 0.5, 2.0, -2.0]), "unpcklps");
    Ok(())
}

/// Each exception's flag, and that flags stay.
fn sticky_flags() -> Outcome {
    let (tiny, huge) = (f64::MIN_POSITIVE, f64::MAX);
    check_eq!(sse!("divsd xmm0, xmm1", double(1.0), double(0.0), DEFAULT).1, ZE, "1 / 0");
    check_eq!(sse!("divsd xmm0, xmm1", double(0.0), double(0.0), DEFAULT).1, IE, "0 / 0");
    check_eq!(sse!("mulsd xmm0, xmm1", double(huge), double(huge), DEFAULT).1, OE | PE, "overflow");
    check_eq!(sse!("mulsd xmm0, xmm1", double(tiny), double(0.3), DEFAULT).1, UE | PE, "underflow");
    check_eq!(sse!("sqrtsd xmm0, xmm1", double(0.0), double(-1.0), DEFAULT).1, IE, "sqrt -1");
    check_eq!(
        sse!("addsd xmm0, xmm1", double(1.0), double(1.0), DEFAULT | ZE | IE).1,
        ZE | IE,
        "flags that were set"
    );
    Ok(())
}

fn denormal_flag() -> Outcome {
    wrong_in_tcg!("never sets DE");
    check_eq!(sse!("addsd xmm0, xmm1", [1, 0], double(1.0), DEFAULT).1, DE | PE, "denormal operand");
    check_eq!(sse!("mulsd xmm0, xmm1", double(2.0), [1, 0], DEFAULT).1, DE, "denormal second operand");
    Ok(())
}

fn rounding_modes() -> Outcome {
    for (mode, want) in [(0u32, [2i32, -2]), (1, [2, -3]), (2, [3, -2]), (3, [2, -2])] {
        let mxcsr = DEFAULT | mode << 13;
        check_eq!(
            sse!("cvtsd2si eax, xmm1; movd xmm0, eax", [0, 0], double(2.5), mxcsr).0[0] as u32,
            want[0] as u32,
            "2.5 in mode {mode}"
        );
        check_eq!(
            sse!("cvtsd2si eax, xmm1; movd xmm0, eax", [0, 0], double(-2.5), mxcsr).0[0] as u32,
            want[1] as u32,
            "-2.5 in mode {mode}"
        );
        check_eq!(
            sse!("cvttsd2si eax, xmm1; movd xmm0, eax", [0, 0], double(-2.5), mxcsr).0[0] as u32,
            -2i32 as u32,
            "truncation in mode {mode}"
        );
    }
    let up = sse!("divsd xmm0, xmm1", double(1.0), double(3.0), DEFAULT | 2 << 13).0[0];
    check_eq!(up, 0x3fd5_5555_5555_5556u64, "1 / 3 rounded up");
    Ok(())
}

fn flush_and_denormals() -> Outcome {
    let tiny = f64::MIN_POSITIVE;
    let (out, flags) = sse!("mulsd xmm0, xmm1", double(tiny), double(-0.5), DEFAULT | FTZ);
    check_eq!(out[0], 1u64 << 63, "underflow flushed to minus zero");
    check_eq!(flags & UE, UE, "UE");
    let (out, _) = sse!("mulsd xmm0, xmm1", double(tiny), double(0.5), DEFAULT);
    check_eq!(out[0], 1u64 << 51, "gradual underflow");
    let (out, flags) = sse!("addsd xmm0, xmm1", [1, 0], [0, 0], DEFAULT | DAZ);
    check_eq!(out[0], 0, "denormal taken for zero");
    check_eq!(flags & DE, 0, "DE");
    Ok(())
}

fn comparisons() -> Outcome {
    let nan = f64::NAN;
    for (a, b, want) in
        [(1.0f64, 2.0f64, 0x01u64), (2.0, 1.0, 0), (1.0, 1.0, 0x40), (nan, 1.0, 0x45), (0.0, -0.0, 0x40)]
    {
        let (bits_a, bits_b) = (a.to_bits(), b.to_bits());
        let got = exec!("movq xmm0, rax; movq xmm1, rcx; ucomisd xmm0, xmm1", bits_a, bits_b, 0, 0x8d5).flags;
        check_eq!(got & 0x8d5, want, "flags of ucomisd");
        let got = exec!("movq xmm0, rax; movq xmm1, rcx; comisd xmm0, xmm1", bits_a, bits_b, 0, 0x8d5).flags;
        check_eq!(got & 0x8d5, want, "flags of comisd");
    }
    // A quiet NaN is an invalid operand of COMISD but not of UCOMISD.
    check_eq!(sse!("ucomisd xmm0, xmm1", double(nan), double(1.0), DEFAULT).1, 0, "MXCSR after ucomisd");
    check_eq!(sse!("comisd xmm0, xmm1", double(nan), double(1.0), DEFAULT).1, IE, "MXCSR after comisd");
    let (a, b) = (singles([1.0, 2.0, f32::NAN, 4.0]), singles([1.0, 1.0, 1.0, 5.0]));
    let masks = |m: [u64; 4]| [m[0] | m[1] << 32, m[2] | m[3] << 32];
    let all = 0xffff_ffffu64;
    check!(sse!("cmpeqps xmm0, xmm1", a, b, DEFAULT).0 == masks([all, 0, 0, 0]), "cmpeqps");
    check!(sse!("cmpltps xmm0, xmm1", a, b, DEFAULT).0 == masks([0, 0, 0, all]), "cmpltps");
    check!(sse!("cmpunordps xmm0, xmm1", a, b, DEFAULT).0 == masks([0, 0, all, 0]), "cmpunordps");
    check!(sse!("cmpnleps xmm0, xmm1", a, b, DEFAULT).0 == masks([0, all, all, 0]), "cmpnleps");
    Ok(())
}

/// If either operand is a NaN, or both are zero, the second one is the result.
fn minimum_maximum() -> Outcome {
    let nan = f64::NAN;
    check_eq!(sse!("minsd xmm0, xmm1", double(1.0), double(2.0), DEFAULT).0[0], 1.0f64.to_bits(), "min");
    check_eq!(
        sse!("minsd xmm0, xmm1", double(nan), double(2.0), DEFAULT).0[0],
        2.0f64.to_bits(),
        "min with a NaN first"
    );
    check_eq!(
        sse!("maxsd xmm0, xmm1", double(2.0), double(nan), DEFAULT).0[0],
        nan.to_bits(),
        "max with a NaN second"
    );
    check_eq!(
        sse!("maxsd xmm0, xmm1", double(0.0), double(-0.0), DEFAULT).0[0],
        (-0.0f64).to_bits(),
        "max of zeros"
    );
    Ok(())
}

fn conversions() -> Outcome {
    let convert = |value: f64| exec!("movq xmm0, rcx; cvtsd2si rax, xmm0", 0, value.to_bits(), 0, 0).rax;
    check_eq!(convert(-3.0), -3i64, "-3.0");
    check_eq!(convert(1e30), 1u64 << 63, "too large");
    check_eq!(convert(f64::NAN), 1u64 << 63, "a NaN");
    check_eq!(
        exec!("cvtsi2sd xmm0, rcx; movq rax, xmm0", 0, i64::MIN, 0, 0).rax,
        0xc3e0_0000_0000_0000u64,
        "the least integer"
    );
    check_eq!(
        exec!("cvtsi2ss xmm0, ecx; movd eax, xmm0", 0, 16_777_217, 0, 0).rax,
        0x4b80_0000,
        "an inexact float"
    );
    check_eq!(
        sse!("cvtsd2ss xmm0, xmm1", [0; 2], double(1e300), DEFAULT).0[0] as u32,
        0x7f80_0000,
        "double to float"
    );
    check_eq!(
        sse!("cvtss2sd xmm0, xmm1", [0; 2], singles([0.5, 0.0, 0.0, 0.0]), DEFAULT).0[0],
        0.5f64.to_bits(),
        "float to double"
    );
    let (out, _) = sse!("cvttps2dq xmm0, xmm1", [0; 2], singles([1.9, -1.9, 3e9, 0.0]), DEFAULT);
    check_eq!(out[0], 0xffff_ffff_0000_0001u64, "cvttps2dq, low half");
    check_eq!(out[1], 0x0000_0000_8000_0000u64, "cvttps2dq, high half");
    Ok(())
}

/// The first operand's NaN wins and becomes quiet.
fn nan_propagation() -> Outcome {
    let (signalling, quiet) = (0x7ff0_0000_0000_0001u64, 0x7ff8_0000_0000_0002u64);
    check_eq!(
        sse!("addsd xmm0, xmm1", double(1.0), [quiet, 0], DEFAULT).0[0],
        quiet,
        "result of a number and a NaN"
    );
    check_eq!(
        sse!("divsd xmm0, xmm1", double(0.0), double(0.0), DEFAULT).0[0],
        0xfff8_0000_0000_0000u64,
        "the default NaN"
    );
    wrong_in_tcg!("prefers a quiet NaN to a signalling one");
    let (out, flags) = sse!("addsd xmm0, xmm1", [signalling, 0], [quiet, 0], DEFAULT);
    check_eq!(out[0], signalling | 1 << 51, "result of a signalling and a quiet NaN");
    check_eq!(flags, IE, "flags");
    Ok(())
}

fn alignment() -> Outcome {
    let at = pages::frame();
    expect!(GP(0), exec!("movaps xmm0, [rdx + 8]", 0, 0, at, 0));
    expect!(GP(0), exec!("movdqa [rdx + 1], xmm0", 0, 0, at, 0));
    expect!(GP(0), exec!("paddd xmm0, [rdx + 8]", 0, 0, at, 0));
    expect!(GP(0), exec!("movntdq [rdx + 8], xmm0", 0, 0, at, 0));
    exec!("movups xmm0, [rdx + 1]; movupd [rdx + 33], xmm0", 0, 0, at, 0);
    // Scalar operands need no alignment.
    exec!("addsd xmm0, [rdx + 1]; movsd [rdx + 3], xmm0", 0, 0, at, 0);
    Ok(())
}

fn sse3() -> Outcome {
    need!(SSE3);
    let (a, b) = (singles([1.0, 2.0, 3.0, 4.0]), singles([0.5, -2.0, 10.0, 0.25]));
    check!(sse!("haddps xmm0, xmm1", a, b, DEFAULT).0 == singles([3.0, 7.0, -1.5, 10.25]), "haddps");
    check!(sse!("addsubps xmm0, xmm1", a, b, DEFAULT).0 == singles([0.5, 0.0, -7.0, 4.25]), "addsubps");
    check!(sse!("movddup xmm0, xmm1", a, b, DEFAULT).0 == [b[0], b[0]], "movddup");
    check!(sse!("movshdup xmm0, xmm1", a, b, DEFAULT).0 == singles([-2.0, -2.0, 0.25, 0.25]), "movshdup");
    let at = pages::frame();
    exec!("lddqu xmm0, [rdx + 3]", 0, 0, at, 0);
    Ok(())
}

/// What a load and a register move do to the upper part.
fn scalar_moves() -> Outcome {
    let a = [0x1111_1111_1111_1111u64, 0x2222_2222_2222_2222];
    let b = [0x3333_3333_3333_3333u64, 0x4444_4444_4444_4444];
    check!(sse!("movsd xmm0, xmm1", a, b, DEFAULT).0 == [b[0], a[1]], "movsd between registers");
    check!(
        sse!("movss xmm0, xmm1", a, b, DEFAULT).0 == [0x1111_1111_3333_3333, a[1]],
        "movss between registers"
    );
    check!(sse!("movq xmm0, xmm1", a, b, DEFAULT).0 == [b[0], 0], "movq");
    check!(sse!("movhlps xmm0, xmm1", a, b, DEFAULT).0 == [b[1], a[1]], "movhlps");
    check!(sse!("movlhps xmm0, xmm1", a, b, DEFAULT).0 == [a[0], b[0]], "movlhps");
    check_eq!(exec!("mov rax, -1; movq xmm0, rax; movd eax, xmm0", 0, 0, 0, 0).rax, 0xffff_ffffu64, "movd");
    check_eq!(sse!("movmskpd eax, xmm1; movd xmm0, eax", a, [1 << 63, 0], DEFAULT).0[0], 1, "movmskpd");
    Ok(())
}
