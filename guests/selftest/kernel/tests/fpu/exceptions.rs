//! Unmasked numeric exceptions: #XM at once, #MF at the next waiting instruction.

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr4_bits};
use crate::tests::memory::load;

family!("fpu":
    sse_unmasked, sse_without_osxmmexcpt, sse_ldmxcsr_raises_nothing, x87_unmasked, x87_is_deferred, x87_no_wait_forms,
    x87_pending_blocks_mmx, x87_result_kept,
);

/// Divides by zero with exceptions `unmasked`, leaving MXCSR as after.
macro_rules! divide {
    ($mxcsr:expr) => {{
        let values = [0x3ff0_0000_0000_0000u64, 0];
        let (mxcsr, mut after, default): (u32, u32, u32) = ($mxcsr, 0, 0x1f80);
        // SAFETY: touches two vector registers and MXCSR.
        unsafe {
            asm!(
                "movsd xmm0, [{v}]", "movsd xmm1, [{v} + 8]", "ldmxcsr [{m}]",
                "divsd xmm0, xmm1",
                "stmxcsr [{a}]", "ldmxcsr [{d}]",
                v = in(reg) &raw const values, m = in(reg) &raw const mxcsr, a = in(reg) &raw mut after,
                d = in(reg) &raw const default, out("xmm0") _, out("xmm1") _,
            );
        }
        after
    }};
}

fn sse_unmasked() -> Outcome {
    wrong_in_tcg!("raises no #XM");
    let trap = expect!(XM(0), divide!(0x1f80 & !0x200));
    // F2 0F 5E C1: a fault, so RIP is at the instruction.
    check_eq!(load::<u32>(trap.rip), 0xc15e_0ff2u32, "instruction at RIP");
    // Another exception unmasked does not matter.
    check_eq!(divide!(0x1f80 & !0x80) & 0x3f, 4, "flags with IM clear");
    Ok(())
}

fn sse_without_osxmmexcpt() -> Outcome {
    wrong_in_tcg!("raises no #XM");
    let cr4 = cpu::cr4();
    cpu::set_cr4(cr4 & !cr4_bits::OSXMMEXCPT);
    expect!(UD(0), divide!(0x1f80 & !0x200));
    Ok(())
}

/// A flag and its mask may be loaded in any combination; only arithmetic raises.
fn sse_ldmxcsr_raises_nothing() -> Outcome {
    let (mxcsr, default) = (0x1f80u32 & !0x200 | 4, 0x1f80u32);
    // SAFETY: touches MXCSR and a register.
    unsafe {
        asm!("ldmxcsr [{}]", "xorps xmm0, xmm0", "addps xmm0, xmm0", "ldmxcsr [{}]", in(reg) &raw const mxcsr, in(reg) &raw const default, out("xmm0") _);
    }
    Ok(())
}

/// Runs x87 code with zero-divide unmasked; starts with 1 / 0.
macro_rules! x87 {
    ($($line:literal),*) => {{
        let control = 0x037bu16;
        // SAFETY: touches the FPU and scratch below.
        unsafe {
            asm!(
                "fninit", "fldcw [{c}]", "fld1", "fldz", "fdivp st(1), st", $($line,)* "fninit",
                c = in(reg) &raw const control, out("rax") _,
            );
        }
    }};
}

fn x87_unmasked() -> Outcome {
    let trap = expect!(MF(0), x87!("fwait"));
    check_eq!(load::<u8>(trap.rip), 0x9b, "byte at RIP");
    Ok(())
}

/// The division itself does not fault, nor do integer instructions after it.
fn x87_is_deferred() -> Outcome {
    wrong_in_tcg!("looks for a pending #MF in FWAIT only");
    x87!("nop", "mov eax, 5", "fnclex", "fwait");
    let trap = expect!(MF(0), x87!("mov eax, 5", "fld1"));
    check_eq!(trap.rax as u32, 5, "EAX");
    Ok(())
}

/// FNSTSW, FNSTCW, FNCLEX, FNINIT do not wait.
fn x87_no_wait_forms() -> Outcome {
    wrong_in_tcg!("looks for a pending #MF in FWAIT only");
    x87!("fnstsw ax", "test al, 4", "jnz 2f", "ud2", "2: test ah, ah", "fnclex");
    let trap = expect!(MF, x87!("fnstsw ax", "fld1"));
    // ES (bit 7), B (bit 15) and ZE.
    check_eq!(trap.rax & 0x8084, 0x8084, "status word");
    Ok(())
}

fn x87_pending_blocks_mmx() -> Outcome {
    wrong_in_tcg!("looks for a pending #MF in FWAIT only");
    expect!(MF(0), x87!("pxor mm0, mm0"));
    expect!(MF(0), x87!("emms"));
    // SSE does not care.
    x87!("pxor xmm0, xmm0", "fnclex");
    Ok(())
}

/// With the exception unmasked the operands stay on the stack.
fn x87_result_kept() -> Outcome {
    wrong_in_tcg!("stores the infinity");
    let mut top = [0u64; 2];
    let control = 0x037bu16;
    // SAFETY: touches the FPU and the array.
    unsafe {
        asm!(
            "fninit", "fldcw [{c}]", "fld1", "fldz", "fdivp st(1), st", "fnclex",
            "fstp tbyte ptr [{t}]", "fninit",
            c = in(reg) &raw const control, t = in(reg) &raw mut top,
        );
    }
    check_eq!(top[0], 0, "top of the stack is still the divisor");
    Ok(())
}
