//! Jumps, calls and loops.

use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, OF, STATUS, ZF};

family!("integer": loops, jrcxz, indirect_jumps, ret_immediate, conditional_jumps);

fn loops() -> Outcome {
    let got = exec!("xor eax, eax; 2: inc eax; loop 2b", 0, 5, 0, 0);
    check_eq!(got.rax, 5, "rounds of loop");
    // A 32-bit address size counts ECX and clears the upper half of RCX.
    let got = exec!("xor eax, eax; 2: inc eax; .byte 0x67; loop 2b", 0, 0x7_0000_0003u64, 0, 0);
    check_eq!(got.rax, 3, "rounds of loop with ECX");
    check_eq!(got.rcx, 0, "RCX after loop with ECX");
    let got = exec!("xor eax, eax; 2: inc eax; cmp eax, 3; loopne 2b", 0, 9, 0, 0);
    check_eq!(got.rax, 3, "rounds of loopne");
    check_eq!(got.rcx, 6, "RCX after loopne");
    let got = exec!("xor eax, eax; 2: inc eax; cmp eax, eax; loope 2b", 0, 4, 0, 0);
    check_eq!(got.rax, 4, "rounds of loope");
    // LOOP itself changes no flag.
    let got = exec!("loop 2f; 2: nop", 0, 1, 0, STATUS);
    check_eq!(got.flags & STATUS, STATUS, "flags after loop");
    Ok(())
}

fn jrcxz() -> Outcome {
    check_eq!(exec!("mov eax, 1; jrcxz 2f; mov eax, 0; 2:", 9, 0, 0, 0).rax, 1, "jrcxz taken");
    check_eq!(exec!("mov eax, 1; jrcxz 2f; mov eax, 0; 2:", 9, 1u64 << 32, 0, 0).rax, 0, "jrcxz not taken");
    check_eq!(exec!("mov eax, 1; jecxz 2f; mov eax, 0; 2:", 9, 1u64 << 32, 0, 0).rax, 1, "jecxz taken");
    Ok(())
}

fn indirect_jumps() -> Outcome {
    let got = exec!("lea rdx, [rip + 2f]; mov eax, 1; jmp rdx; mov eax, 0; 2:", 0, 0, 0, 0);
    check_eq!(got.rax, 1, "jmp rdx");
    let got = exec!(
        "lea rdx, [rip + 2f]; push rdx; mov rcx, rsp; call [rsp]; jmp 3f
         2: mov eax, 7; sub rcx, rsp; ret
         3: pop rdx",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 7, "call [rsp]");
    check_eq!(got.rcx, 8, "bytes pushed by call");
    // A non-canonical target faults at the jump on Intel, at the target on AMD: #GP(0) both.
    expect!(GP(0), exec!("jmp rdx", 0, 0, 0x8000_0000_0000_0000u64, 0));
    Ok(())
}

fn ret_immediate() -> Outcome {
    let got = exec!(
        "mov rcx, rsp; push 1; push 2; call 2f; jmp 3f; 2: mov eax, 5; ret 16; 3: sub rcx, rsp",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rcx, 0, "stack after ret 16");
    check_eq!(got.rax, 5, "result");
    Ok(())
}

fn conditional_jumps() -> Outcome {
    check_eq!(exec!("mov eax, 1; jc 2f; mov eax, 0; 2:", 0, 0, 0, CF).rax, 1, "jc taken");
    check_eq!(exec!("mov eax, 1; jc 2f; mov eax, 0; 2:", 0, 0, 0, 0).rax, 0, "jc not taken");
    check_eq!(exec!("mov eax, 1; jg 2f; mov eax, 0; 2:", 0, 0, 0, ZF).rax, 0, "jg with ZF");
    check_eq!(exec!("mov eax, 1; jl 2f; mov eax, 0; 2:", 0, 0, 0, OF).rax, 1, "jl with OF");
    check_eq!(exec!("mov eax, 1; jp 2f; mov eax, 0; 2:", 0, 0, 0, 4).rax, 1, "jp with PF");
    // The near form with a far displacement.
    let got = exec!("mov eax, 1; jz 2f; .skip 200, 0xcc; 2: nop", 0, 0, 0, ZF);
    check_eq!(got.rax, 1, "near jz");
    Ok(())
}
