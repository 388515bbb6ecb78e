//! Real mode.

use super::check_end;
use crate::harness::{Outcome, wrong};
use crate::modes::{Fault, LOW_CODE, Registers, run_real};
use crate::tests::memory::{load, store};
use crate::trap::vector;

family!("modes":
    real_registers, real_segments, real_interrupt, real_divide_error, real_vector_frame, real_far_call, real_limit, real_strings,
    real_invalid, real_smsw, real_step, real_32_bit_operands, real_wraps, real_iret,
);

fn with(eax: u32, ecx: u32, ebx: u32) -> Registers {
    Registers { eax, ecx, ebx, ..Default::default() }
}

/// Fails unless the code ended by `vector`.
fn fault(ended: crate::modes::Ended, vector: u8) -> Result<Fault, crate::harness::Failure> {
    match ended.fault {
        Some(fault) if fault.vector == vector.into() => Ok(fault),
        Some(fault) => Err(wrong(format_args!("vector {}, expected {vector}", fault.vector))),
        None => Err(wrong(format_args!("no vector taken, expected {vector}"))),
    }
}

fn real_registers() -> Outcome {
    let end = check_end!(
        run_real(
            with(0x1122_3344, 5, 0),
            snippet!(16, real_registers: "add ax, cx" "mov bx, cs" "mov dx, ss" ".byte 0xc3")
        ),
        "real mode"
    );
    check_eq!(end.eax, 0x1122_3349, "EAX");
    check_eq!(end.ebx, 0, "CS");
    check_eq!(end.edx & 0xffff, 0, "SS");
    Ok(())
}

/// A segment register times 16.
fn real_segments() -> Outcome {
    store(0x9ab4, 0x6677u16);
    let end = check_end!(
        run_real(
            with(0x9a0, 0, 0xb4),
            snippet!(16, real_segments: "mov es, ax" "mov dx, es:[bx]" "xor ax, ax" "mov es, ax" ".byte 0xc3")
        ),
        "es:[bx]"
    );
    check_eq!(end.edx, 0x6677, "word");
    Ok(())
}

/// INT through the vector table: FLAGS, CS, IP on the stack, IF and TF clear.
fn real_interrupt() -> Outcome {
    let mut registers = with(0, 0, 0);
    registers.flags = 0x8d5;
    let fault = fault(run_real(registers, snippet!(16, real_int: "int 0x60" ".byte 0xc3")), 0x60)?;
    check_eq!(fault.eip, LOW_CODE + 2, "IP behind INT");
    check_eq!(fault.cs, 0, "CS");
    check_eq!(fault.flags & 0x8d5, 0x8d5, "flags");
    // Two bytes under the start are the return address.
    check_eq!(fault.esp, 0x6dfe, "SP");
    Ok(())
}

fn real_divide_error() -> Outcome {
    let fault =
        fault(run_real(with(1, 0, 0), snippet!(16, real_div: "nop" "div cl" ".byte 0xc3")), vector::DE)?;
    check_eq!(fault.eip, LOW_CODE + 1, "IP at DIV");
    Ok(())
}

/// Exceptions push no error code in real mode.
fn real_vector_frame() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let fault =
        fault(run_real(with(0, 0, 0xffff), snippet!(16, real_gp: "mov ax, [bx]" ".byte 0xc3")), vector::GP)?;
    check_eq!(fault.eip, LOW_CODE, "IP");
    check_eq!(fault.cs, 0, "CS");
    check_eq!(fault.esp, 0x6dfe, "SP");
    Ok(())
}

fn real_far_call() -> Outcome {
    let code = snippet!(16, real_far_indirect:
        "mov dx, sp"
        "push cs"
        ".byte 0xe8; .short 2f - . - 2"
        "sub dx, sp"
        ".byte 0xc3"
        "2: mov bp, sp"
        "mov ax, [bp + 2]"
        "mov bx, [bp]"
        ".byte 0xcb");
    let end = check_end!(run_real(with(0x77, 0, 0), code), "far return");
    check_eq!(end.eax, 0, "CS pushed");
    check_eq!(end.edx & 0xffff, 0, "SP");
    check_eq!(end.ebx, LOW_CODE + 6, "IP pushed");
    Ok(())
}

/// Segments end at 64 KiB, stack or data.
fn real_limit() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    fault(
        run_real(with(0, 0x1_0000, 0), snippet!(16, real_limit32: "mov al, [ecx]" ".byte 0xc3")),
        vector::GP,
    )?;
    let mut registers = with(0, 0, 0);
    registers.ebp = 0xffff;
    fault(run_real(registers, snippet!(16, real_limit_bp: "mov ax, [bp]" ".byte 0xc3")), vector::SS)?;
    Ok(())
}

fn real_strings() -> Outcome {
    store(0x9800, 0x4433_2211u32);
    store(0x9900, 0u32);
    let registers = Registers { ecx: 2, esi: 0x9800, edi: 0x9900, ..Default::default() };
    let end =
        check_end!(run_real(registers, snippet!(16, real_movs: "cld" "rep movsw" ".byte 0xc3")), "rep movsw");
    check_eq!(load::<u32>(0x9900), 0x4433_2211, "words moved");
    check_eq!(end.ecx, 0, "CX");
    Ok(())
}

/// Instructions of protected mode do not exist here.
fn real_invalid() -> Outcome {
    fault(
        run_real(with(0, 0, 0), snippet!(16, real_lar: ".byte 0x0f, 0x02, 0xc0" ".byte 0xc3")),
        vector::UD,
    )?;
    fault(
        run_real(with(0, 0, 0), snippet!(16, real_ltr: ".byte 0x0f, 0x00, 0xd8" ".byte 0xc3")),
        vector::UD,
    )?;
    fault(run_real(with(0, 0, 0), snippet!(16, real_arpl: ".byte 0x63, 0xc0" ".byte 0xc3")), vector::UD)?;
    fault(run_real(with(0, 0, 0), snippet!(16, real_ud2: "ud2" ".byte 0xc3")), vector::UD)?;
    Ok(())
}

fn real_smsw() -> Outcome {
    let end =
        check_end!(run_real(with(0xffff, 0, 0), snippet!(16, real_smsw: "smsw ax" ".byte 0xc3")), "smsw");
    check_eq!(end.eax & 1, 0, "PE");
    Ok(())
}

fn real_step() -> Outcome {
    let mut registers = with(0, 0, 0);
    registers.flags = 0x100;
    // TF is on when the trampoline's own instruction after POPFD ends.
    let fault = fault(run_real(registers, snippet!(16, real_step: "nop" ".byte 0xc3")), vector::DB)?;
    check_eq!(fault.flags & 0x100, 0x100, "TF in the frame");
    Ok(())
}

fn real_32_bit_operands() -> Outcome {
    let end = check_end!(
        run_real(
            with(0x8000_0000, 0x8000_0001, 0),
            snippet!(16, real_operands: "add eax, ecx" "adc ebx, 0" ".byte 0xc3")
        ),
        "32-bit addition"
    );
    check_eq!(end.eax, 1, "EAX");
    check_eq!(end.ebx, 1, "EBX");
    Ok(())
}

/// A20 is on: FFFF:0010 is 1 MiB, not 0.
fn real_wraps() -> Outcome {
    let want = load::<u32>(0x10_0000);
    let end = check_end!(
        run_real(
            with(0xffff, 0, 0x10),
            snippet!(16, real_a20: "mov es, ax" "mov edx, es:[bx]" "xor ax, ax" "mov es, ax" ".byte 0xc3")
        ),
        "es:[bx]"
    );
    check_eq!(end.edx, want, "double word at 1 MiB");
    Ok(())
}

fn real_iret() -> Outcome {
    let code = snippet!(16, real_iret: "push 0x0cd7" "push cs" ".byte 0xe8; .short 2f - . - 2" "pushf" "pop ax" "cld" ".byte 0xc3" "2: iret");
    let end = check_end!(run_real(with(0, 0, 0), code), "iret");
    check_eq!(end.eax, 0x0cd7, "flags");
    Ok(())
}
