//! AVX and AVX2, once XCR0 lets them.

use core::arch::asm;

use super::enable_xsave;
use crate::harness::Outcome;
use crate::hw::cpu;
use crate::hw::pages;
use crate::tests::memory::{load, store};

family!("fpu": avx_needs_xcr0, avx_upper_halves, avx_arithmetic, avx2_integers, avx_unaligned, fma, f16c);

fn avx_needs_xcr0() -> Outcome {
    need!(AVX);
    // SAFETY: touches a register.
    let touch = || unsafe { asm!("vxorps xmm0, xmm0, xmm0", out("xmm0") _) };
    expect!(UD(0), touch());
    enable_xsave(3);
    expect!(UD(0), touch());
    enable_xsave(7);
    touch();
    Ok(())
}

/// A VEX instruction on XMM clears the upper half, a legacy one keeps it, VZEROUPPER clears all.
fn avx_upper_halves() -> Outcome {
    need!(AVX);
    enable_xsave(7);
    let at = pages::frame();
    let ones = [u64::MAX; 4];
    // SAFETY: writes within the frame.
    unsafe {
        asm!(
            "vmovups ymm1, [{o}]", "vmovups ymm2, [{o}]", "vmovups ymm3, [{o}]",
            "pxor xmm1, xmm1", "vpxor xmm2, xmm2, xmm2",
            "vmovups [{a}], ymm1", "vmovups [{a} + 32], ymm2",
            "vzeroupper", "vmovups [{a} + 64], ymm3", "vzeroall",
            o = in(reg) &raw const ones, a = in(reg) at,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    check_eq!(load::<u64>(at), 0, "lower half after pxor");
    check_eq!(load::<u64>(at + 16), u64::MAX, "upper half after pxor");
    check_eq!(load::<u64>(at + 48), 0, "upper half after vpxor");
    check_eq!(load::<u64>(at + 64), u64::MAX, "lower half after vzeroupper");
    check_eq!(load::<u64>(at + 80), 0, "upper half after vzeroupper");
    Ok(())
}

fn avx_arithmetic() -> Outcome {
    need!(AVX);
    enable_xsave(7);
    let (a, b) = ([1.0f64, 2.0, 3.0, 4.0], [0.5f64, 0.25, -3.0, 1e10]);
    let mut out = [0f64; 4];
    // SAFETY: touches vector registers and the array.
    unsafe {
        asm!("vmovupd ymm0, [{}]", "vaddpd ymm0, ymm0, [{}]", "vmovupd [{}], ymm0", "vzeroupper",
             in(reg) &raw const a, in(reg) &raw const b, in(reg) &raw mut out, out("xmm0") _);
    }
    for index in 0..4 {
        check_eq!(out[index].to_bits(), (a[index] + b[index]).to_bits(), "sum {index}");
    }
    Ok(())
}

fn avx2_integers() -> Outcome {
    need!(AVX2);
    enable_xsave(7);
    let (a, b) = ([1u64, u64::MAX, 3, 4], [10u64, 1, 30, 40]);
    let mut out = [0u64; 4];
    // SAFETY: as above.
    unsafe {
        asm!("vmovdqu ymm0, [{}]", "vpaddq ymm0, ymm0, [{}]", "vpermq ymm0, ymm0, 0x1b", "vmovdqu [{}], ymm0", "vzeroupper",
             in(reg) &raw const a, in(reg) &raw const b, in(reg) &raw mut out, out("xmm0") _);
    }
    check!(out == [44, 33, 0, 11], "vpaddq and vpermq: {:#x} {:#x}", out[0], out[3]);
    Ok(())
}

/// VEX operands need no alignment, but for the aligned moves.
fn avx_unaligned() -> Outcome {
    need!(AVX);
    enable_xsave(7);
    let at = pages::frame();
    store(at + 1, 7u64);
    // SAFETY: reads within the frame.
    unsafe { asm!("vxorps xmm0, xmm0, [{}]", in(reg) at + 1, out("xmm0") _) };
    // SAFETY: as above, or faults.
    expect!(GP(0), unsafe { asm!("vmovaps ymm0, [{}]", in(reg) at + 16, out("xmm0") _) });
    check_eq!(cpu::xcr0() & 4, 4, "XCR0");
    Ok(())
}

/// One rounding, not two.
fn fma() -> Outcome {
    need!(FMA);
    enable_xsave(7);
    let (a, b, c) = (1.0 + f64::EPSILON, 1.0 - f64::EPSILON, -1.0f64);
    let got = exec!(
        "vmovq xmm0, rcx; vmovq xmm1, rdx; vmovq xmm2, rsi; vfmadd213sd xmm0, xmm1, xmm2; vmovq rax, xmm0",
        0, a.to_bits(), b.to_bits(), 0; c.to_bits()
    );
    check_eq!(got.rax, (-f64::EPSILON * f64::EPSILON).to_bits(), "(1 + e)(1 - e) - 1");
    Ok(())
}

fn f16c() -> Outcome {
    need!(F16C);
    enable_xsave(7);
    let got = exec!("vmovd xmm0, ecx; vcvtph2ps xmm0, xmm0; vmovd eax, xmm0", 0, 0x3e00, 0, 0);
    check_eq!(got.rax, 1.5f32.to_bits(), "1.5 from a half");
    let got = exec!("vmovd xmm0, ecx; vcvtps2ph xmm0, xmm0, 0; vmovd eax, xmm0", 0, 65536f32.to_bits(), 0, 0);
    check_eq!(got.rax & 0xffff, 0x7c00, "65536 as a half");
    Ok(())
}
