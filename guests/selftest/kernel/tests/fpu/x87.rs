//! The x87: values to the last bit, the stack, the status and control words.

use core::arch::asm;

use crate::harness::Outcome;

family!("fpu":
    x87_constants, x87_arithmetic, x87_rounding, x87_precision, x87_integers, x87_truncation, x87_decimal, x87_stack_faults,
    x87_compare, x87_classify, x87_remainder, x87_transcendental, x87_init, x87_environment, x87_environment_masks, x87_exchange,
);

/// An 80-bit number as it lies in memory: 64 bits of significand, 16 of sign and exponent.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Extended {
    significand: u64,
    exponent: u16,
}

/// Runs x87 code on an empty stack and stores the top of it.
macro_rules! x87 {
    ($($line:literal),+ $(; $input:expr)?) => {{
        let mut result = Extended { significand: 0, exponent: 0 };
        let mut input: [u64; 4] = [0u64 $(+ $input)?, 0, 0, 0];
        // SAFETY: touches the FPU, the result and the input.
        unsafe {
            asm!(
                "fninit", $($line,)+ "fstp tbyte ptr [rdi]", "fninit",
                in("rdi") &raw mut result, in("rsi") &raw mut input, out("rax") _,
            );
        }
        result
    }};
}

/// Fails unless an 80-bit value has this exponent word and significand.
macro_rules! check_extended {
    ($value:expr, $exponent:expr, $significand:expr, $what:expr) => {{
        let value = $value;
        check_eq!(value.exponent, $exponent, "exponent of {}", $what);
        check_eq!(value.significand, $significand, "significand of {}", $what);
    }};
}

fn x87_constants() -> Outcome {
    check_extended!(x87!("fld1"), 0x3fff, 1u64 << 63, "1");
    check_extended!(x87!("fldz"), 0, 0, "0");
    check_extended!(x87!("fldpi"), 0x4000, 0xc90f_daa2_2168_c235u64, "pi");
    check_extended!(x87!("fldl2e"), 0x3fff, 0xb8aa_3b29_5c17_f0bcu64, "log2 e");
    check_extended!(x87!("fldl2t"), 0x4000, 0xd49a_784b_cd1b_8afeu64, "log2 10");
    check_extended!(x87!("fldlg2"), 0x3ffd, 0x9a20_9a84_fbcf_f799u64, "log10 2");
    check_extended!(x87!("fldln2"), 0x3ffe, 0xb172_17f7_d1cf_79acu64, "ln 2");
    Ok(())
}

fn x87_arithmetic() -> Outcome {
    let third = x87!("fld1", "fild qword ptr [rsi]", "fdivp st(1), st"; 3);
    check_extended!(third, 0x3ffd, 0xaaaa_aaaa_aaaa_aaabu64, "1/3");
    let reversed = x87!("fild qword ptr [rsi]", "fld1", "fdivrp st(1), st"; 3);
    check_extended!(reversed, 0x3ffd, 0xaaaa_aaaa_aaaa_aaabu64, "1/3 reversed");
    check_extended!(x87!("fild qword ptr [rsi]", "fsqrt"; 2), 0x3fff, 0xb504_f333_f9de_6484u64, "sqrt 2");
    check_extended!(x87!("fld1", "fldpi", "fsubp st(1), st"), 0xc000, 0x890f_daa2_2168_c235u64, "1 - pi");
    check_extended!(x87!("fldpi", "fchs", "fabs"), 0x4000, 0xc90f_daa2_2168_c235u64, "|-pi|");
    check_extended!(x87!("fild qword ptr [rsi]", "fld1", "fscale"; 5), 0x4004, 1u64 << 63, "2^5");
    check_extended!(x87!("fldpi", "fxtract", "fstp st(0)"), 0x3fff, 1u64 << 63, "exponent of pi");
    // In memory: a double and a float.
    let sum = x87!("fld1", "fadd qword ptr [rsi]", "fadd dword ptr [rsi + 8]"; 0x4000_0000_0000_0000u64);
    check_extended!(sum, 0x4000, 0xc000_0000_0000_0000u64, "1 + 2.0 + 0f");
    Ok(())
}

/// FISTP of 2.5 and -2.5 in the four directions.
fn x87_rounding() -> Outcome {
    for (control, positive, negative) in [(0u64, 2i16, -2i16), (0x400, 2, -3), (0x800, 3, -2), (0xc00, 2, -2)]
    {
        let words: [u64; 3] = [0x037f | control, 5, 2];
        let mut out = [0i16; 4];
        // SAFETY: touches the FPU and the two arrays.
        unsafe {
            asm!(
                "fninit", "fldcw [rsi]", "fild qword ptr [rsi + 8]", "fidiv word ptr [rsi + 16]",
                "fist word ptr [rdi]", "fchs", "fistp word ptr [rdi + 2]", "fninit",
                in("rsi") &raw const words, in("rdi") &raw mut out,
            );
        }
        check_eq!(out[0], positive, "2.5 with control {control:#x}");
        check_eq!(out[1], negative, "-2.5 with control {control:#x}");
    }
    Ok(())
}

/// The precision control cuts significands to 24 and 53 bits.
fn x87_precision() -> Outcome {
    for (control, significand) in [
        (0x007fu64, 0xaaaa_ab00_0000_0000u64),
        (0x027f, 0xaaaa_aaaa_aaaa_a800),
        (0x037f, 0xaaaa_aaaa_aaaa_aaab),
    ] {
        let value = x87!("fldcw [rsi]", "fld1", "mov word ptr [rsi], 3", "fidiv word ptr [rsi]"; control);
        check_extended!(value, 0x3ffd, significand, "1/3 in a narrower precision");
    }
    Ok(())
}

fn x87_integers() -> Outcome {
    let big = x87!("fild qword ptr [rsi]"; 0x8000_0000_0000_0000u64);
    check_extended!(big, 0xc03e, 1u64 << 63, "the least integer");
    let mut out = [0u64; 3];
    // SAFETY: touches the FPU and the array. Overflow stores the integer indefinite.
    unsafe {
        asm!(
            "fninit", "fldpi", "fistp qword ptr [rdi]",
            "fld tbyte ptr [rsi]", "fistp dword ptr [rdi + 8]", "fnstsw [rdi + 16]",
            "fninit",
            in("rsi") &raw const big, in("rdi") &raw mut out,
        );
    }
    check_eq!(out[0], 3, "pi as an integer");
    check_eq!(out[1] as u32, 0x8000_0000u32, "overflow");
    check_eq!(out[2] & 1, 1, "invalid operation after overflow");
    Ok(())
}

/// FISTTP truncates, whatever the rounding control says.
fn x87_truncation() -> Outcome {
    need!(SSE3);
    let mut out = 0u16;
    let up = 0x0b7fu16;
    // SAFETY: touches the FPU and the word.
    unsafe {
        asm!("fninit", "fldcw [{}]", "fldpi", "fisttp word ptr [{}]", "fninit", in(reg) &raw const up, in(reg) &raw mut out);
    }
    check_eq!(out, 3, "pi");
    Ok(())
}

fn x87_decimal() -> Outcome {
    let mut digits = [0u8; 16];
    let value = 1_234_567_890_123_456i64;
    // SAFETY: touches the FPU, the value and the digits.
    unsafe {
        asm!("fninit", "fild qword ptr [rsi]", "fchs", "fbstp tbyte ptr [rdi]", "fninit",
             in("rsi") &value, in("rdi") &raw mut digits);
    }
    check_eq!(
        u64::from_le_bytes(digits[..8].try_into().unwrap_or_default()),
        0x1234_5678_9012_3456u64,
        "digits"
    );
    check_eq!(digits[8], 0, "leading digits");
    check_eq!(digits[9], 0x80, "sign");
    let mut back = 0i64;
    // SAFETY: as above.
    unsafe {
        asm!("fbld tbyte ptr [rsi]", "fistp qword ptr [rdi]", "fninit", in("rsi") &raw const digits, in("rdi") &raw mut back);
    }
    check_eq!(back, -value, "digits read back");
    Ok(())
}

/// The status word after some code.
macro_rules! status {
    ($($line:literal),+) => {{
        let status: u64;
        // SAFETY: touches the FPU.
        unsafe { asm!("fninit", $($line,)+ "fnstsw ax", "fninit", inout("rax") 0u64 => status) };
        status & 0xffff
    }};
}

/// Overflow (C1 set) and underflow (C1 clear) of the register stack: IE and SF.
fn x87_stack_faults() -> Outcome {
    wrong_in_tcg!("does not notice");
    let status = status!("fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fld1", "fldz");
    check_eq!(status & 0x41, 0x41, "IE and SF after overflow");
    check_eq!(status & 0x200, 0x200, "C1 after overflow");
    check_eq!(status >> 11 & 7, 7, "top after overflow");
    let status = status!("fstp st(0)");
    check_eq!(status & 0x241, 0x41, "IE, SF and C1 after underflow");
    check_eq!(status >> 11 & 7, 1, "top after underflow");
    Ok(())
}

fn x87_compare() -> Outcome {
    // C3 is bit 14, C2 bit 10, C0 bit 8.
    check_eq!(status!("fldz", "fld1", "fcom st(1)") & 0x4500, 0, "fcom greater");
    check_eq!(status!("fld1", "fldz", "fcom st(1)") & 0x4500, 0x100, "fcom less");
    check_eq!(status!("fld1", "fld1", "fcompp") & 0x4500, 0x4000, "fcom equal");
    check_eq!(status!("fldz", "fldz", "fdivp st(1), st", "fucom st(0)") & 0x4500, 0x4500, "fucom of a NaN");
    let flags = exec!("fninit; fldz; fld1; fcomi st, st(1); fninit", 0, 0, 0, 0x8d5).flags;
    check_eq!(flags & 0x45, 0, "fcomi greater");
    let flags = exec!("fninit; fld1; fldz; fcomip st, st(1); fninit", 0, 0, 0, 0).flags;
    check_eq!(flags & 0x45, 1, "fcomip less");
    let flags = exec!("fninit; fldz; fldz; fdivp st(1), st; fucomi st, st(0); fninit", 0, 0, 0, 0).flags;
    check_eq!(flags & 0x45, 0x45, "fucomi of a NaN");
    // FCMOV reads the integer flags.
    let value = x87!("fld1", "fldz", "xor eax, eax", "fcmove st, st(1)");
    check_extended!(value, 0x3fff, 1u64 << 63, "fcmove");
    Ok(())
}

fn x87_classify() -> Outcome {
    check_eq!(status!("fld1", "fxam") & 0x4700, 0x400, "fxam of 1");
    check_eq!(status!("fldz", "fchs", "fxam") & 0x4700, 0x4200, "fxam of -0");
    check_eq!(status!("fxam") & 0x4500, 0x4100, "fxam of empty");
    check_eq!(status!("fld1", "fldz", "fdivp st(1), st", "fxam") & 0x4700, 0x500, "fxam of infinity");
    check_eq!(status!("fldz", "fldz", "fdivp st(1), st", "fxam") & 0x4500, 0x100, "fxam of a NaN");
    check_eq!(status!("fld1", "fldz", "ftst") & 0x4500, 0x4000, "ftst of 0");
    Ok(())
}

fn x87_remainder() -> Outcome {
    let value = x87!("fldpi", "fild qword ptr [rsi]", "fprem"; 10);
    check_extended!(value, 0x3ffe, 0x9341_c066_6f16_e584u64, "10 rem pi");
    // 10 is nearer to 3 pi than to 4 pi, 12 is nearer to 4 pi.
    let value = x87!("fldpi", "fild qword ptr [rsi]", "fprem1"; 10);
    check_extended!(value, 0x3ffe, 0x9341_c066_6f16_e584u64, "10 rem1 pi");
    let value = x87!("fldpi", "fild qword ptr [rsi]", "fprem1"; 12);
    check_eq!(value.exponent >> 15, 1, "sign of 12 rem1 pi");
    let status = status!("fld1", "fld1", "fld1", "faddp st(1), st", "fprem");
    check_eq!(status & 0x400, 0, "C2 of a complete reduction");
    // The three low bits of the quotient come out in C0, C3, C1: 2 / 1 is 010b.
    check_eq!(status & 0x4300, 0x4000, "quotient bits of 2 rem 1");
    Ok(())
}

/// Functions whose results the manual leaves a last bit of freedom.
fn x87_transcendental() -> Outcome {
    wrong_in_tcg!("computes in double precision");
    let close = |got: Extended, exponent: u16, significand: u64| {
        got.exponent == exponent && got.significand.abs_diff(significand) <= 2
    };
    check!(close(x87!("fld1", "fsin"), 0x3ffe, 0xd76a_a478_4867_7021), "sin 1");
    check!(close(x87!("fld1", "fcos"), 0x3ffe, 0x8a51_407d_a834_5c92), "cos 1");
    check!(close(x87!("fld1", "fptan", "fstp st(0)"), 0x3fff, 0xc759_22e5_f71d_2dc5), "tan 1");
    check!(close(x87!("fld1", "fld1", "fpatan"), 0x3ffe, 0xc90f_daa2_2168_c235), "atan 1");
    check!(close(x87!("fld1", "fldpi", "fyl2x"), 0x3fff, 0xd364_39a4_c6ef_bad9), "log2 pi");
    check_extended!(x87!("fldz", "f2xm1"), 0, 0, "2^0 - 1");
    Ok(())
}

fn x87_init() -> Outcome {
    let mut environment = [0u32; 8];
    // SAFETY: touches the FPU and the array.
    unsafe { asm!("fninit", "fnstenv [rdi]", in("rdi") &raw mut environment) };
    check_eq!(environment[0] as u16, 0x37f, "control word");
    check_eq!(environment[1] as u16, 0, "status word");
    check_eq!(environment[2] as u16, 0xffff, "tag word");
    Ok(())
}

/// Tags and top as FNSTENV shows them.
fn x87_environment() -> Outcome {
    let mut environment = [0u32; 8];
    let control = 0x0340u16;
    let mut after = 0u16;
    // SAFETY: as above.
    unsafe {
        asm!(
            "fninit", "fld1", "fldz", "fldcw [rsi]", "fnstenv [rdi]", "fnstcw [rdx]",
            "fldenv [rdi]", "fninit",
            in("rdi") &raw mut environment, in("rsi") &raw const control, in("rdx") &raw mut after,
        );
    }
    check_eq!(environment[0] as u16, 0x340, "control word");
    check_eq!(environment[1] as u16 >> 11, 6, "top");
    // Register 7 holds 1 (valid, 00), register 6 zero (01), the others are empty (11).
    check_eq!(environment[2] as u16, 0x1fff, "tag word");
    let mut image = [0u8; 112];
    let mut back = 0f64;
    // SAFETY: FNSAVE needs 108 bytes.
    unsafe {
        asm!(
            "fninit", "fldpi", "fnsave [rdi]", "frstor [rdi]", "fstp qword ptr [rsi]", "fninit",
            in("rdi") &raw mut image, in("rsi") &raw mut back,
        );
    }
    check_eq!(back.to_bits(), core::f64::consts::PI.to_bits(), "pi after FNSAVE and FRSTOR");
    Ok(())
}

fn x87_environment_masks() -> Outcome {
    wrong_in_tcg!("leaves the masks alone");
    let mut environment = [0u32; 8];
    let (control, mut after) = (0x0340u16, 0u16);
    // SAFETY: as above.
    unsafe {
        asm!("fninit", "fldcw [{}]", "fnstenv [{}]", "fnstcw [{}]", "fninit",
             in(reg) &raw const control, in(reg) &raw mut environment, in(reg) &raw mut after);
    }
    check_eq!(environment[0] as u16, 0x340, "control word stored");
    check_eq!(after & 0x3f, 0x3f, "masks after FNSTENV");
    Ok(())
}

fn x87_exchange() -> Outcome {
    check_extended!(x87!("fld1", "fldpi", "fxch"), 0x3fff, 1u64 << 63, "top after fxch");
    check_extended!(
        x87!("fld1", "fldpi", "fst st(1)", "fstp st(0)"),
        0x4000,
        0xc90f_daa2_2168_c235u64,
        "fst st(1)"
    );
    check_extended!(
        x87!("fld1", "fldz", "fincstp", "fdecstp", "ffree st(0)", "fincstp"),
        0x3fff,
        1u64 << 63,
        "stack pointer moved"
    );
    Ok(())
}
