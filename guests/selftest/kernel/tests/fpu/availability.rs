//! When the FPU is not to be had: CR0.TS, CR0.EM, CR4.OSFXSR.
//!
//! The bits are set and cleared next to the instruction under test, as compiled code uses SSE.

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr0_bits, cr4_bits};

family!("fpu": task_switched, task_switched_wait, emulation, osfxsr_off, clts);

/// Runs an instruction with other values of CR0 and CR4.
macro_rules! under {
    ($cr0:expr, $cr4:expr, $code:literal) => {{
        let (cr0, cr4) = (cpu::cr0(), cpu::cr4());
        // SAFETY: the registers are put back, here or by the trap.
        unsafe {
            asm!(
                "mov cr4, {new4}", "mov cr0, {new0}", $code, "mov cr0, {old0}", "mov cr4, {old4}",
                new0 = in(reg) $cr0(cr0), new4 = in(reg) $cr4(cr4), old0 = in(reg) cr0, old4 = in(reg) cr4,
                out("xmm0") _, out("xmm1") _,
            );
        }
    }};
}

const SAME: fn(u64) -> u64 = |value| value;

fn task_switched() -> Outcome {
    let ts: fn(u64) -> u64 = |cr0| cr0 | cr0_bits::TS;
    expect!(NM(0), under!(ts, SAME, "fld1"));
    expect!(NM(0), under!(ts, SAME, "fninit"));
    expect!(NM(0), under!(ts, SAME, "pxor xmm0, xmm1"));
    expect!(NM(0), under!(ts, SAME, "pxor mm0, mm1"));
    expect!(NM(0), under!(ts, SAME, "fxsave64 [rsp - 1024]"));
    expect!(NM(0), under!(ts, SAME, "ldmxcsr [rsp]"));
    // What touches no state goes on.
    under!(ts, SAME, "prefetcht0 [rsp]; sfence; lfence; mfence; pause; movnti [rsp - 64], rax");
    Ok(())
}

/// FWAIT minds TS only with MP.
fn task_switched_wait() -> Outcome {
    let ts: fn(u64) -> u64 = |cr0| cr0 | cr0_bits::TS | cr0_bits::MP;
    expect!(NM(0), under!(ts, SAME, "fwait"));
    let ts: fn(u64) -> u64 = |cr0| (cr0 | cr0_bits::TS) & !cr0_bits::MP;
    under!(ts, SAME, "fwait");
    Ok(())
}

/// EM sends x87 to #NM, MMX and SSE to #UD.
fn emulation() -> Outcome {
    let em: fn(u64) -> u64 = |cr0| cr0 | cr0_bits::EM;
    expect!(NM(0), under!(em, SAME, "fld1"));
    expect!(UD(0), under!(em, SAME, "pxor xmm0, xmm1"));
    expect!(UD(0), under!(em, SAME, "pxor mm0, mm1"));
    wrong_in_tcg!("looks at TS first");
    // EM wins over TS.
    let both: fn(u64) -> u64 = |cr0| cr0 | cr0_bits::EM | cr0_bits::TS;
    expect!(UD(0), under!(both, SAME, "addps xmm0, xmm1"));
    Ok(())
}

/// Without OSFXSR there is no SSE, but MMX and x87 stay.
fn osfxsr_off() -> Outcome {
    let off: fn(u64) -> u64 = |cr4| cr4 & !cr4_bits::OSFXSR;
    expect!(UD(0), under!(SAME, off, "pxor xmm0, xmm1"));
    expect!(UD(0), under!(SAME, off, "ldmxcsr [rsp]"));
    under!(SAME, off, "pxor mm0, mm1; emms; fldz; fninit");
    Ok(())
}

fn clts() -> Outcome {
    let ts: fn(u64) -> u64 = |cr0| cr0 | cr0_bits::TS;
    under!(ts, SAME, "clts; fld1; fninit; pxor xmm0, xmm0");
    Ok(())
}
