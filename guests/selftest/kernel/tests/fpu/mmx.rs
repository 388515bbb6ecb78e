//! MMX, which shares its registers with the x87.

use core::arch::asm;

use crate::harness::Outcome;

family!("fpu": mmx_arithmetic, mmx_aliases_x87, emms, mmx_sse_moves);

fn mmx_arithmetic() -> Outcome {
    need!(MMX);
    let (a, b) = (0x00ff_7fff_8000_0102u64, 0x0001_0001_ffff_ff01u64);
    let got = exec!("movq mm0, rcx; movq mm1, rdx; paddw mm0, mm1; movq rax, mm0; emms", 0, a, b, 0).rax;
    check_eq!(got, 0x0100_8000_7fff_0003u64, "paddw");
    let got = exec!("movq mm0, rcx; movq mm1, rdx; paddsw mm0, mm1; movq rax, mm0; emms", 0, a, b, 0).rax;
    check_eq!(got, 0x0100_7fff_8000_0003u64, "paddsw");
    let got = exec!(
        "movq mm0, rcx; movq mm1, rdx; pmullw mm0, mm1; movq rax, mm0; emms",
        0,
        3u64 << 48 | 5,
        7u64 << 48 | 11,
        0
    )
    .rax;
    check_eq!(got, 21u64 << 48 | 55, "pmullw");
    let got =
        exec!("movq mm0, rcx; packsswb mm0, mm0; movq rax, mm0; emms", 0, 0x0001_ff00_0100_ffffu64, 0, 0).rax;
    check_eq!(got, 0x0180_7fff_0180_7fffu64, "packsswb");
    let got = exec!("movq mm0, rcx; psrlq mm0, 4; movd eax, mm0; emms", u64::MAX, 0x1_2345_6789u64, 0, 0).rax;
    check_eq!(got, 0x1234_5678u64, "psrlq and movd");
    let got =
        exec!("movq mm0, rcx; pshufw mm0, mm0, 0x1b; movq rax, mm0; emms", 0, 0x0004_0003_0002_0001u64, 0, 0)
            .rax;
    check_eq!(got, 0x0001_0002_0003_0004u64, "pshufw");
    Ok(())
}

/// A write to MMn sets the exponent to all ones, the top to zero and every tag to valid.
fn mmx_aliases_x87() -> Outcome {
    need!(MMX);
    wrong_in_tcg!("leaves the exponent alone");
    let mut environment = [0u32; 8];
    let mut st0 = [0u64; 2];
    let value = 0x1234_5678_9abc_def0u64;
    // SAFETY: touches the FPU and the arrays.
    unsafe {
        asm!(
            "fninit", "fld1", "movq mm0, [{v}]", "fnstenv [{e}]", "fldenv [{e}]", "fstp tbyte ptr [{s}]", "fninit",
            v = in(reg) &raw const value, e = in(reg) &raw mut environment, s = in(reg) &raw mut st0,
        );
    }
    check_eq!(st0[0], value, "significand of ST0");
    check_eq!(st0[1] as u16, 0xffff, "exponent of ST0");
    check_eq!(environment[1] >> 11 & 7, 0, "top");
    // The tag of register 0 says special (10), as FNSTENV looks at the contents.
    check_eq!(environment[2] & 3, 2, "tag of MM0");
    check_eq!(environment[2] as u16 & 0xc000, 0, "tag of register 7, which holds 1");
    Ok(())
}

fn emms() -> Outcome {
    need!(MMX);
    let mut environment = [0u32; 8];
    // SAFETY: touches the FPU and the array.
    unsafe {
        asm!("fninit", "pxor mm3, mm3", "emms", "fnstenv [{}]", "fninit", in(reg) &raw mut environment)
    };
    check_eq!(environment[2] as u16, 0xffff, "tag word");
    Ok(())
}

fn mmx_sse_moves() -> Outcome {
    need!(MMX, SSE2);
    let got = exec!(
        "movq mm0, rcx; movq2dq xmm0, mm0; movq rax, xmm0; pcmpeqd xmm1, xmm1; movdq2q mm1, xmm1; movq rdx, mm1; emms",
        0,
        0x55aa,
        0,
        0
    );
    check_eq!(got.rax, 0x55aa, "movq2dq");
    check_eq!(got.rdx, u64::MAX, "movdq2q");
    Ok(())
}
