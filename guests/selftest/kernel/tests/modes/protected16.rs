//! 16-bit code in protected mode.

use super::{check_end, check_fault};
use crate::harness::Outcome;
use crate::modes::{LOW_CODE, Registers, run_protected16};
use crate::tests::memory::{load, store};

family!("modes": protected16_operands, protected16_stack, protected16_addresses, protected16_limit, protected16_strings, protected16_near_call);

fn with(eax: u32, ecx: u32, ebx: u32) -> Registers {
    Registers { eax, ecx, ebx, ..Default::default() }
}

/// 16 bits are the default, 66h makes 32.
fn protected16_operands() -> Outcome {
    let code = snippet!(16, operands16: "mov ax, 0x1234" "mov ecx, 0x89abcdef" "inc bx" ".byte 0x66, 0xcb");
    let end = check_end!(run_protected16(with(0xffff_0000, 0, 0x1_ffff), code), "16-bit operands");
    check_eq!(end.eax, 0xffff_1234, "EAX");
    check_eq!(end.ecx, 0x89ab_cdef, "ECX");
    check_eq!(end.ebx, 0x1_0000, "EBX");
    Ok(())
}

/// PUSH moves SP by two (by four with 66h); upper halves stay.
fn protected16_stack() -> Outcome {
    let code = snippet!(16, stack16: "mov cx, sp" "push ax" "sub cx, sp" "pop bx" "mov dx, sp" "push eax" "sub dx, sp" "pop esi" ".byte 0x66, 0xcb");
    let end = check_end!(run_protected16(with(0x1122_3344, 0, 0), code), "16-bit stack");
    check_eq!(end.ecx, 2, "bytes of push ax");
    check_eq!(end.ebx, 0x3344, "word popped");
    check_eq!(end.edx, 4, "bytes of push eax");
    check_eq!(end.esi, 0x1122_3344, "double word popped");
    Ok(())
}

/// BX + SI wraps at 64 KiB; 67h gives 32-bit addresses.
fn protected16_addresses() -> Outcome {
    store(0x9800, 0x4455u16);
    let mut registers = with(0, 0x9800, 0xa000);
    registers.esi = 0xf800;
    let code = snippet!(16, addresses16: "mov ax, [bx + si]" "mov dx, [ecx]" ".byte 0x66, 0xcb");
    let end = check_end!(run_protected16(registers, code), "16-bit addresses");
    check_eq!(end.eax, 0x4455, "[bx + si]");
    check_eq!(end.edx, 0x4455, "[ecx]");
    Ok(())
}

/// The data segment ends at 64 KiB, also for 32-bit addresses.
fn protected16_limit() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let code = snippet!(16, limit16: "mov al, [ecx]" ".byte 0x66, 0xcb");
    check_end!(run_protected16(with(0, 0xffff, 0), code), "byte at the limit");
    let fault = check_fault!(run_protected16(with(0, 0x1_0000, 0), code), GP(0), "byte beyond the limit");
    check_eq!(fault.cs, 0x40, "CS");
    check_eq!(fault.eip, LOW_CODE, "EIP");
    let code = snippet!(16, limit16_word: "mov ax, [bx]" ".byte 0x66, 0xcb");
    check_fault!(run_protected16(with(0, 0, 0xffff), code), GP(0), "word across the limit");
    Ok(())
}

/// SI, DI and CX wrap as 16-bit registers.
fn protected16_strings() -> Outcome {
    store(0x9800, 0x0403_0201u32);
    let registers = Registers { ecx: 0x7_0004, esi: 0x5_9800, edi: 0x6_9900, ..Default::default() };
    let code = snippet!(16, strings16: "cld" "rep movsb" ".byte 0x66, 0xcb");
    let end = check_end!(run_protected16(registers, code), "rep movsb");
    check_eq!(load::<u32>(0x9900), 0x0403_0201, "bytes moved");
    check_eq!(end.ecx, 0x7_0000, "ECX");
    check_eq!(end.esi, 0x5_9804, "ESI");
    check_eq!(end.edi, 0x6_9904, "EDI");
    Ok(())
}

/// A near call pushes a 16-bit return address.
fn protected16_near_call() -> Outcome {
    let code = snippet!(16, call16: ".byte 0xe8; .short 2f - . - 2" "add ax, 0x100" ".byte 0x66, 0xcb" "2: mov bp, sp" "mov bx, [bp]" "mov ax, 5" ".byte 0xc3");
    let end = check_end!(run_protected16(with(0, 0, 0), code), "near call");
    check_eq!(end.eax, 0x105, "EAX");
    check_eq!(end.ebx, LOW_CODE + 3, "return address");
    Ok(())
}
