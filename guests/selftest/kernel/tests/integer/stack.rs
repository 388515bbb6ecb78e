//! The stack: pushes and pops of all sizes, ENTER and LEAVE.

use crate::harness::Outcome;
use crate::hw::pages;
use crate::tests::memory::{load, store};

family!("integer": push_pop, push_segment, pop_memory, enter_leave);

fn push_pop() -> Outcome {
    let got = exec!("mov rcx, rsp; push -1; pop rax; sub rcx, rsp", 0, 0, 0, 0);
    check_eq!(got.rax, u64::MAX, "push of a sign-extended byte");
    check_eq!(got.rcx, 0, "stack after push and pop");
    let got = exec!("mov rcx, rsp; push ax; sub rcx, rsp; pop dx", 0x1234, 0, 0xffff_0000u64, 0);
    check_eq!(got.rcx, 2, "bytes pushed by push ax");
    check_eq!(got.rdx, 0xffff_1234u64, "rdx after pop dx");
    // PUSH RSP pushes the old value, POP RSP takes the popped one.
    let got = exec!("mov rcx, rsp; push rsp; pop rax; sub rax, rcx", 0, 0, 0, 0);
    check_eq!(got.rax, 0, "value pushed by push rsp");
    let got = exec!("mov rcx, rsp; push rcx; pop rsp; sub rcx, rsp", 0, 0, 0, 0);
    check_eq!(got.rcx, 0, "rsp after pop rsp");
    let got = exec!("mov rcx, rsp; push qword ptr [rdx]; sub rcx, rsp; pop rax", 0, 0, pages::frame(), 0);
    check_eq!(got.rcx, 8, "bytes pushed from memory");
    Ok(())
}

/// PUSH FS and POP FS move 64 bits (spelled in bytes, as assemblers differ).
fn push_segment() -> Outcome {
    let got =
        exec!("mov fs, ecx; .byte 0x0f, 0xa0; pop rax; xor ecx, ecx; mov fs, ecx", u64::MAX, 0x18, 0, 0);
    check_eq!(got.rax, 0x18, "push fs");
    let got = exec!(
        "mov rcx, rsp; push 0x18; .byte 0x0f, 0xa1; sub rcx, rsp; mov eax, fs; push 0; .byte 0x0f, 0xa1",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rcx, 0, "stack after pop fs");
    check_eq!(got.rax, 0x18, "fs after pop fs");
    Ok(())
}

/// POP with a memory operand computes an RSP-based address after it incremented RSP.
fn pop_memory() -> Outcome {
    let got = exec!("push 1; push 2; push 3; pop qword ptr [rsp + 8]; pop rax; pop rcx", 0, 0, 0, 0);
    check_eq!(got.rax, 2, "untouched slot");
    check_eq!(got.rcx, 3, "slot written by pop [rsp + 8]");
    Ok(())
}

fn enter_leave() -> Outcome {
    let got = exec!(
        "mov r8, rbp; mov rcx, rsp; mov rbp, 0x77; enter 32, 0
         mov rax, [rbp]; lea rdx, [rbp + 8]; sub rdx, rcx; mov r9, rbp; sub r9, rsp
         leave; sub rcx, rsp; add rcx, r9; xchg rbp, r8",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 0x77, "saved RBP");
    check_eq!(got.rdx, 0, "frame pointer");
    check_eq!(got.rcx, 32, "bytes reserved, and the stack after leave");
    // With nesting level 2, ENTER copies one outer frame pointer and pushes its own.
    let outer = pages::frame() + 1024;
    store(outer - 8, 0xabcdu64);
    let got = exec!(
        "mov r8, rbp; mov r9, rsp; mov rbp, rdx; enter 16, 2
         mov rax, [rbp - 8]; mov rcx, [rbp - 16]; sub rcx, rbp; mov rdx, rbp; sub rdx, rsp
         mov rsp, r9; mov rbp, r8",
        0,
        0,
        outer,
        0
    );
    check_eq!(got.rax, 0xabcd, "outer frame pointer");
    check_eq!(got.rcx, 0, "own frame pointer");
    check_eq!(got.rdx, 32, "bytes below the frame pointer");
    check_eq!(load::<u64>(outer - 8), 0xabcd, "outer frame");
    Ok(())
}
