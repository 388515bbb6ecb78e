//! The entry point: 32-bit protected mode without paging, up to 64-bit mode.
//!
//! Two protocols enter here, and both promise the same CPU state (flat segments, paging off,
//! interrupts off), so one piece of code serves both:
//!
//! - Xen's PVH (`XEN_ELFNOTE_PHYS32_ENTRY`, note type 18): EBX holds a `hvm_start_info`, EAX is
//!   not specified.
//! - Multiboot 1: EAX is 0x2badb002 and EBX holds the information structure. The header sets the
//!   address fields (flag 16), because QEMU refuses a 64-bit ELF without them, and asks for
//!   memory information (flag 1).
//!
//! EAX decides. The stack, the descriptor table and the page tables are our own from the first
//! instructions on; the page tables map the first 4 GiB one to one with 2 MiB pages.

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .boot, "ax"
    .balign 4
multiboot_header:
    .long 0x1badb002
    .long 0x00010002
    .long -(0x1badb002 + 0x00010002)
    .long multiboot_header
    .long image_start
    .long image_end
    .long bss_end
    .long boot_entry

    .code32
    .globl boot_entry
boot_entry:
    cli
    cld
    mov esp, offset boot_stack_top
    mov esi, eax
    mov edi, ebx
    lgdt [boot_gdt_pointer]
    push 0x08
    mov eax, offset boot_segments
    push eax
    retf
boot_segments:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax

    # Long mode at all?
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb boot_no_long_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc boot_no_long_mode
    mov ebp, edx

    # PML4[0] -> PDPT, PDPT[0..4] -> four page directories of 2 MiB pages.
    # User access is allowed above the leaves, so that tests may hang user pages below.
    mov eax, offset boot_pdpt + 7
    mov [boot_pml4], eax
    mov eax, offset boot_pd + 7
    mov ebx, offset boot_pdpt
    mov ecx, 4
3:  mov [ebx], eax
    add eax, 4096
    add ebx, 8
    dec ecx
    jnz 3b
    mov eax, 0x83
    mov ebx, offset boot_pd
    mov ecx, 2048
4:  mov [ebx], eax
    add eax, 0x200000
    add ebx, 8
    dec ecx
    jnz 4b

    mov eax, cr4
    or eax, 0x620           # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080     # EFER
    rdmsr
    or eax, 0x100           # LME
    bt ebp, 20
    jnc 5f
    or eax, 0x800           # NXE
5:  wrmsr
    mov eax, 0x80010033     # PG, WP, NE, ET, MP, PE
    mov cr0, eax
    push 0x10
    mov eax, offset boot_long
    push eax
    retf

boot_no_long_mode:
    mov esi, offset boot_no_long_mode_text
6:  mov dx, 0x3f8 + 5
7:  in al, dx
    test al, 0x20
    jz 7b
    mov dx, 0x3f8
    lodsb
    test al, al
    jz 8f
    out dx, al
    jmp 6b
8:  cli
    hlt
    jmp 8b
boot_no_long_mode_text:
    .asciz "selftest: this CPU has no long mode\r\n"

    .code64
boot_long:
    mov esp, esp
    mov edi, edi
    xchg rsi, rdi
    xor ebp, ebp
    mov edi, edi
    mov esi, esi
    call kernel_main
    ud2

    # Selectors as in hw::gdt, which takes over soon.
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .short 31
    .long boot_gdt
    .long 0
    .popsection

    .pushsection .note.Xen, "a", @note
    .balign 4
    .long 4
    .long 8
    .long 18
    .asciz "Xen"
    .quad boot_entry
    .popsection

    .pushsection .bss
    .balign 4096
    .globl boot_pml4
boot_pml4: .skip 4096
    .globl boot_pdpt
boot_pdpt: .skip 4096
    .globl boot_pd
boot_pd: .skip 4 * 4096
    .globl boot_canary
boot_canary: .skip 4096
boot_stack: .skip 0x20000
    .globl boot_stack_top
boot_stack_top:
    .popsection
"#
);
