//! FXSAVE and FXRSTOR: the layout of the legacy area and its faults.

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::pages::{self, HIGH};
use crate::tests::memory::{load, store};

family!("fpu": fxsave_layout, fxsave_round_trip, fxrstor_mxcsr, fxsave_alignment, fxsave_fault);

/// Saves a known state at `at`: 1 and pi on the x87 stack, patterns in XMM0 and XMM15.
fn save_known(at: u64) {
    let patterns =
        [0x1111_2222_3333_4444u64, 0x5555_6666_7777_8888, 0x99aa_bbcc_ddee_ff00, 0x0123_4567_89ab_cdef];
    // SAFETY: 512 bytes at `at`.
    unsafe {
        asm!(
            "fninit", "fld1", "fldpi", "movdqu xmm0, [rsi]", "movdqu xmm15, [rsi + 16]",
            "fxsave64 [rdi]", "fninit",
            in("rdi") at, in("rsi") &raw const patterns, out("xmm0") _, out("xmm15") _,
        );
    }
}

fn fxsave_layout() -> Outcome {
    let at = pages::frame();
    save_known(at);
    check_eq!(load::<u16>(at), 0x37f, "FCW");
    check_eq!(load::<u16>(at + 2) >> 11, 6, "top in FSW");
    check_eq!(load::<u8>(at + 4), 0xc0, "abridged tags");
    check_eq!(load::<u32>(at + 24), 0x1f80, "MXCSR");
    let mask = load::<u32>(at + 28);
    check!(mask == 0xffff || mask == 0x2_ffff || mask == 0xffbf, "MXCSR mask {mask:#x}");
    // ST0 first, whichever register it is.
    check_eq!(load::<u64>(at + 32), 0xc90f_daa2_2168_c235u64, "ST0");
    check_eq!(load::<u16>(at + 40), 0x4000, "exponent of ST0");
    check_eq!(load::<u64>(at + 48), 1u64 << 63, "ST1");
    check_eq!(load::<u64>(at + 160), 0x1111_2222_3333_4444u64, "XMM0");
    check_eq!(load::<u64>(at + 168), 0x5555_6666_7777_8888u64, "upper half of XMM0");
    check_eq!(load::<u64>(at + 400), 0x99aa_bbcc_ddee_ff00u64, "XMM15");
    Ok(())
}

fn fxsave_round_trip() -> Outcome {
    let (first, second) = (pages::frame(), pages::frame());
    save_known(first);
    // SAFETY: two areas of 512 bytes.
    unsafe {
        asm!(
            "pxor xmm0, xmm0", "pxor xmm15, xmm15", "fxrstor64 [rsi]", "fxsave64 [rdi]", "fninit",
            in("rsi") first, in("rdi") second, out("xmm0") _, out("xmm15") _,
            out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _,
        );
    }
    // Up to the pointers of the last instruction, which CPUs treat differently, and the reserved end.
    for offset in (0..5).chain(24..28).chain(32..42).chain(48..58).chain(160..416) {
        check_eq!(load::<u8>(second + offset), load::<u8>(first + offset), "byte {offset}");
    }
    Ok(())
}

/// Reserved bits of MXCSR fault, in FXRSTOR and LDMXCSR.
fn fxrstor_mxcsr() -> Outcome {
    let at = pages::frame();
    save_known(at);
    store(at + 24, 0x1_1f80u32);
    wrong_in_tcg!("ignores reserved bits of MXCSR");
    // SAFETY: faults, or loads a state as before.
    expect!(GP(0), unsafe { asm!("fxrstor64 [{}]", in(reg) at) });
    // SAFETY: as above.
    expect!(GP(0), unsafe { asm!("ldmxcsr [{}]", in(reg) at + 24) });
    Ok(())
}

fn fxsave_alignment() -> Outcome {
    let at = pages::frame();
    // SAFETY: faults, or writes within the frame.
    expect!(GP(0), unsafe { asm!("fxsave64 [{}]", in(reg) at + 8) });
    // SAFETY: as above.
    expect!(GP(0), unsafe { asm!("fxrstor64 [{}]", in(reg) at + 1) });
    Ok(())
}

/// The second half on an absent page.
fn fxsave_fault() -> Outcome {
    pages::map_new(HIGH, pages::W);
    // SAFETY: faults.
    let trap = expect!(PF(2), unsafe { asm!("fxsave64 [{}]", in(reg) HIGH + 0x1000 - 256) });
    check!((HIGH + 0x1000..HIGH + 0x1100).contains(&trap.cr2), "CR2 {:#x}", trap.cr2);
    Ok(())
}
