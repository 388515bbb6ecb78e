//! The 256 entry points, 16 bytes apart, and the way they share.

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .text
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set trap_number, 0
    .rept 256
    .balign 16
    # Vectors 8, 10 to 14, 17, 21, 29 and 30 come with an error code.
    .if trap_number < 32 && (0x60227d00 >> trap_number) & 1
    .else
    push 0
    .endif
    .byte 0x68              # PUSH imm32; the assembler would take the symbol for 16 bits
    .long trap_number
    jmp trap_common
    .set trap_number, trap_number + 1
    .endr

trap_common:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rax, cr2
    push rax
    # The handlers are compiled code and may use SSE, whatever the test forbade.
    mov rax, cr4
    push rax
    mov rcx, rax
    or ecx, 0x600
    and ecx, 0xffcfffff     # nor may SMEP or SMAP hinder them
    cmp rcx, rax
    je 2f
    mov cr4, rcx
2:  mov rax, cr0
    push rax
    mov rcx, rax
    and ecx, 0xfffffff3
    cmp rcx, rax
    je 3f
    mov cr0, rcx
3:  mov rax, dr6
    push rax
    mov rbx, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    ldmxcsr [rip + trap_mxcsr]
    cld
    mov rdi, rbx
    call trap_dispatch
    fxrstor64 [rsp]
    mov rsp, rbx
    pop rax                 # dr6 is for reading
    pop rax
    mov rcx, cr0
    cmp rcx, rax
    je 4f
    mov cr0, rax
4:  pop rax
    mov rcx, cr4
    cmp rcx, rax
    je 5f
    mov cr4, rax
5:  pop rax                 # so is cr2
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

    .balign 4
trap_mxcsr:
    .long 0x1f80
    .popsection
"#
);
