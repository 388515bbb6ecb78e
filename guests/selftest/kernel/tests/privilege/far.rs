//! Far transfers in 64-bit mode.

use crate::harness::Outcome;
use crate::hw::gdt::{self, CODE64, DATA, SCRATCH, TSS};

family!("privilege": far_jump, far_call_and_return, far_return_immediate, far_to_bad_selectors, far_not_present, conforming_code, accessed_and_far_pointers);

fn far_jump() -> Outcome {
    // A pointer on the stack: 32-bit offset, selector; with REX.W a 64-bit offset.
    let got = exec!(
        "lea r8, [rip + 2f]; sub rsp, 16; mov [rsp], r8d; mov word ptr [rsp + 4], 0x10
         .byte 0xff, 0x2c, 0x24
         ud2
         2: add rsp, 16; mov eax, 1",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 1, "after a jump through m16:32");
    need_wide_pointers()?;
    let got = exec!(
        "lea r8, [rip + 2f]; sub rsp, 16; mov [rsp], r8; mov word ptr [rsp + 8], 0x10
         .byte 0x48, 0xff, 0x2c, 0x24
         ud2
         2: add rsp, 16; mov eax, 2",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 2, "after a jump through m16:64");
    Ok(())
}

fn far_call_and_return() -> Outcome {
    let got = exec!(
        "mov r9, rsp; lea r8, [rip + 2f]; sub rsp, 16; mov [rsp], r8d; mov word ptr [rsp + 4], 0x10
         mov r10, rsp; .byte 0xff, 0x1c, 0x24
         mov eax, 1; jmp 3f
         2: mov rcx, r10; sub rcx, rsp; mov edx, [rsp + 4]; .byte 0xcb
         3: mov rsp, r9",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 1, "after the return");
    // A 32-bit operand size pushes two words of 32 bits, and RETF pops the same.
    check_eq!(got.rcx, 8, "bytes pushed");
    check_eq!(got.rdx, CODE64, "CS pushed");
    let got = exec!("push 0x10; lea r8, [rip + 2f]; push r8; retfq; ud2; 2: mov eax, 3", 0, 0, 0, 0);
    check_eq!(got.rax, 3, "after RETFQ");
    Ok(())
}

fn far_return_immediate() -> Outcome {
    let got = exec!(
        "mov rcx, rsp; push 1; push 2; push 0x10; lea r8, [rip + 2f]; push r8; .byte 0x48, 0xca, 16, 0
         2: sub rcx, rsp",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rcx, 0, "RSP after a return that drops 16 bytes");
    Ok(())
}

/// RETFQ to a selector.
macro_rules! to {
    ($selector:expr) => {
        exec!("push rcx; lea r8, [rip + 2f]; push r8; retfq; 2: nop", 0, $selector, 0, 0)
    };
}

fn far_to_bad_selectors() -> Outcome {
    expect!(GP(0), to!(0));
    expect!(GP(DATA), to!(DATA));
    expect!(GP(TSS), to!(TSS));
    expect!(GP(0xfff8), to!(0xfff8));
    expect!(GP(0x30), to!(0x30));
    wrong_in_tcg!("enters code that is both of 64 and 32 bits");
    // Both L and D set is no mode.
    gdt::set(SCRATCH, gdt::get(CODE64) | 1 << 54);
    expect!(GP(SCRATCH), to!(SCRATCH));
    Ok(())
}

fn far_not_present() -> Outcome {
    gdt::set(SCRATCH, gdt::get(CODE64) & !(1 << 47));
    expect!(NP(SCRATCH), to!(SCRATCH));
    Ok(())
}

/// Code that conforms may be entered with any requested privilege and keeps the current one.
fn conforming_code() -> Outcome {
    gdt::set(SCRATCH, gdt::get(CODE64) | 1 << 42);
    let got = exec!(
        "push rcx; lea r8, [rip + 2f]; push r8; retfq
         2: mov eax, cs; push 0x10; lea r8, [rip + 3f]; push r8; retfq; 3: nop",
        0,
        SCRATCH,
        0,
        0
    );
    check_eq!(got.rax, SCRATCH, "CS");
    check_eq!(gdt::get(SCRATCH) >> 40 & 1, 1, "accessed bit");
    Ok(())
}

/// A load marks a descriptor accessed.
fn accessed_and_far_pointers() -> Outcome {
    gdt::set(SCRATCH, gdt::get(DATA) & !(1 << 40));
    exec!("mov fs, ecx; xor ecx, ecx; mov fs, ecx", 0, SCRATCH, 0, 0);
    check_eq!(gdt::get(SCRATCH) >> 40 & 1, 1, "accessed bit after a load of FS");
    // LSS, LFS and LGS exist in 64-bit mode, LES and LDS do not.
    let got = exec!(
        "push 0x18; push 0x1234; .byte 0x0f, 0xb4, 0x04, 0x24; mov ecx, fs; add rsp, 16; mov fs, edx",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 0x1234, "EAX after LFS");
    check_eq!(got.rcx, 0, "FS after LFS with a 32-bit offset (the selector is the word behind it)");
    Ok(())
}

/// AMD's CPUs have no 64-bit far pointers in memory.
fn need_wide_pointers() -> Outcome {
    if crate::hw::cpuid::is_amd() && !crate::hw::cpuid::is_tcg() {
        absent!("AMD's CPUs have no m16:64");
    }
    Ok(())
}
