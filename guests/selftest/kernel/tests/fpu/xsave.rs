//! XSAVE: switching on, sizes, saving, restoring, compaction.

use core::arch::asm;

use super::enable_xsave;
use crate::harness::Outcome;
use crate::hw::cpu;
use crate::hw::cpuid::{self, leaf};
use crate::hw::pages;
use crate::tests::memory::{load, store};

family!("fpu":
    xsave_off, xsave_switch, xcr0_rules, xsave_sizes, xsave_round_trip, xrstor_initializes, xrstor_faults, xsaveopt, xsavec,
    xgetbv1,
);

/// Offset of XSTATE_BV in an area.
const STATE: u64 = 512;
/// Offset of XCOMP_BV.
const COMPACTION: u64 = 520;

/// Runs one of the saving or restoring instructions on the area at `at` with mask `mask`.
macro_rules! area {
    ($instruction:literal, $at:expr, $mask:expr) => {
        // SAFETY: areas are frames of 4 KiB; all vector registers are given up.
        unsafe {
            asm!(
                concat!($instruction, " [{}]"), in(reg) $at, in("eax") $mask as u32, in("edx") ($mask as u64 >> 32) as u32,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            )
        }
    };
}

/// Without CR4.OSXSAVE the instructions do not exist, and CPUID says so.
fn xsave_off() -> Outcome {
    need!(XSAVE);
    check_eq!(leaf(1, 0).ecx >> 27 & 1, 0, "CPUID.OSXSAVE");
    expect!(UD(0), cpu::xcr0());
    expect!(UD(0), cpu::set_xcr0(1));
    expect!(UD(0), area!("xsave64", pages::frame(), 1));
    expect!(UD(0), area!("xrstor64", pages::frame(), 1));
    Ok(())
}

fn xsave_switch() -> Outcome {
    need!(XSAVE);
    check_eq!(enable_xsave(3), 3, "XCR0");
    check_eq!(leaf(1, 0).ecx >> 27 & 1, 1, "CPUID.OSXSAVE");
    Ok(())
}

fn xcr0_rules() -> Outcome {
    need!(XSAVE);
    enable_xsave(3);
    expect!(GP(0), cpu::set_xcr0(2));
    expect!(GP(0), cpu::set_xcr0(0));
    expect!(GP(0), cpu::set_xcr0(1 << 62 | 3));
    if cpuid::AVX.is_offered() {
        // AVX needs SSE.
        expect!(GP(0), cpu::set_xcr0(5));
        cpu::set_xcr0(7);
        check_eq!(cpu::xcr0(), 7, "XCR0");
    } else {
        expect!(GP(0), cpu::set_xcr0(7));
    }
    // SAFETY: faults.
    expect!(GP(0), unsafe { asm!("xgetbv", in("ecx") 7, out("eax") _, out("edx") _) });
    // SAFETY: faults.
    expect!(GP(0), unsafe { asm!("xsetbv", in("ecx") 5, in("eax") 1, in("edx") 0) });
    Ok(())
}

/// CPUID leaf 0Dh: the size by XCR0 and the most there can be, and where components lie.
fn xsave_sizes() -> Outcome {
    need!(XSAVE);
    enable_xsave(3);
    check_eq!(leaf(0xd, 0).ebx, 576, "size with x87 and SSE");
    check_eq!(leaf(0xd, 0).eax & 3, 3, "x87 and SSE on offer");
    let most = leaf(0xd, 0).ecx;
    let mut want = 576;
    for component in 2..32 {
        if leaf(0xd, 0).eax >> component & 1 != 0 {
            let each = leaf(0xd, component);
            check!(each.eax > 0 && each.ebx >= 576, "component {component} has no place");
            want = want.max(each.eax + each.ebx);
        }
    }
    check_eq!(most, want, "size of everything");
    enable_xsave(u64::MAX);
    check_eq!(leaf(0xd, 0).ebx, most, "size with everything on");
    if cpuid::AVX.is_offered() {
        check_eq!(leaf(0xd, 2).eax, 256, "size of the AVX component");
        check_eq!(leaf(0xd, 2).ebx, 576, "offset of the AVX component");
    }
    Ok(())
}

fn xsave_round_trip() -> Outcome {
    need!(XSAVE);
    let on = enable_xsave(7);
    let at = pages::frame();
    let pattern = [0x1111_2222_3333_4444u64, 0x5555_6666_7777_8888];
    let mut out = [0u64; 2];
    let mut pi = 0f64;
    // SAFETY: the area is a frame; two vector registers and the FPU are given up.
    unsafe {
        asm!(
            "fninit", "fldpi", "movdqu xmm7, [{p}]", "xsave64 [{a}]",
            "fninit", "pxor xmm7, xmm7", "xrstor64 [{a}]",
            "movdqu [{o}], xmm7", "fstp qword ptr [{f}]", "fninit",
            p = in(reg) &raw const pattern, a = in(reg) at, o = in(reg) &raw mut out, f = in(reg) &raw mut pi,
            in("eax") 7, in("edx") 0,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    check!(out == pattern, "XMM7 is {:#x}", out[0]);
    check_eq!(pi.to_bits(), core::f64::consts::PI.to_bits(), "pi");
    check_eq!(load::<u64>(at + STATE) & !on, 0, "components saved that are off");
    check_eq!(load::<u64>(at + STATE) & 3, 3, "x87 and SSE saved");
    check_eq!(load::<u64>(at + COMPACTION), 0, "XCOMP_BV");
    check_eq!(load::<u64>(at + 160 + 7 * 16), pattern[0], "XMM7 in the area");
    Ok(())
}

/// A component that XSTATE_BV lacks is initialized; one that the mask lacks stays.
fn xrstor_initializes() -> Outcome {
    need!(XSAVE);
    enable_xsave(3);
    let at = pages::frame();
    let pattern = [u64::MAX; 2];
    store(at + 24, 0x1f80u32);
    let mut out = [0u64; 4];
    // SAFETY: as above.
    unsafe {
        asm!(
            "movdqu xmm3, [{p}]", "mov eax, 1", "xrstor64 [{a}]", "movdqu [{o}], xmm3",
            "mov eax, 3", "xrstor64 [{a}]", "movdqu [{o} + 16], xmm3",
            p = in(reg) &raw const pattern, a = in(reg) at, o = in(reg) &raw mut out,
            out("eax") _, in("edx") 0,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    check_eq!(out[0], u64::MAX, "XMM3 outside of the mask");
    check_eq!(out[2], 0, "XMM3 inside of the mask");
    Ok(())
}

fn xrstor_faults() -> Outcome {
    need!(XSAVE);
    let on = enable_xsave(3);
    let at = pages::frame();
    store(at + 24, 0x1f80u32);
    expect!(GP(0), area!("xsave64", at + 32, on));
    expect!(GP(0), area!("xrstor64", at + 32, on));
    for (offset, value) in [(STATE, 1u64 << 40), (COMPACTION, 1 << 40), (COMPACTION + 8, 1)] {
        store(at + offset, value);
        expect!(GP(0), area!("xrstor64", at, on));
        store(at + offset, 0u64);
    }
    area!("xrstor64", at, on);
    Ok(())
}

fn xsaveopt() -> Outcome {
    need!(XSAVEOPT);
    let on = enable_xsave(3);
    let at = pages::frame();
    let pattern = [0xabcdu64, 0];
    // SAFETY: as above.
    unsafe {
        asm!("movdqu xmm2, [{}]", "xsaveopt64 [{}]", in(reg) &raw const pattern, in(reg) at, in("eax") on as u32, in("edx") 0, out("xmm2") _);
    }
    check_eq!(load::<u64>(at + STATE) & 2, 2, "SSE saved");
    check_eq!(load::<u64>(at + 160 + 32), 0xabcd, "XMM2 in the area");
    Ok(())
}

/// The compacted format: bit 63 of XCOMP_BV, and a restore from it.
fn xsavec() -> Outcome {
    need!(XSAVEC);
    let on = enable_xsave(7);
    let at = pages::frame();
    let (pattern, mut out) = ([0x77u64, 0x88], [0u64; 2]);
    // SAFETY: as above.
    unsafe {
        asm!(
            "movdqu xmm2, [{p}]", "xsavec64 [{a}]", "pxor xmm2, xmm2", "xrstor64 [{a}]", "movdqu [{o}], xmm2",
            p = in(reg) &raw const pattern, a = in(reg) at, o = in(reg) &raw mut out, in("eax") on as u32, in("edx") 0,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    check_eq!(load::<u64>(at + COMPACTION), 1 << 63 | on, "XCOMP_BV");
    check!(out == pattern, "XMM2 is {:#x}", out[0]);
    Ok(())
}

/// XGETBV of 1: the components that are not in their initial state.
fn xgetbv1() -> Outcome {
    need!(XGETBV1);
    enable_xsave(3);
    let value: u32;
    // SAFETY: reads; the register makes SSE's state in use.
    unsafe {
        asm!("pcmpeqd xmm0, xmm0", "xgetbv", in("ecx") 1, out("eax") value, out("edx") _, out("xmm0") _)
    };
    check_eq!(value & !3, 0, "components in use that are off");
    check_eq!(value & 2, 2, "SSE in use");
    Ok(())
}
