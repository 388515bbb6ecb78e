//! Real mode and 16-bit protected mode, one step beyond an [`Excursion`].
//!
//! The trampoline at 7000h is entered in 32-bit protected mode. For real mode it loads 16-bit
//! segments (real mode keeps their limits), clears CR0.PE and jumps to segment 0; for 16-bit
//! protected mode it far-calls the code through the 16-bit code segment. In real mode all 256
//! vectors lead to stubs that write down what happened and go home.

use core::arch::global_asm;
use core::slice;

use super::low::{self, CODE, SHARED, TRAMPOLINE};
use super::{Ended, Excursion, Fault, Registers};

/// Offsets from [`SHARED`].
const TRAPPED: u32 = 32;
const VECTOR: u32 = 36;
const IP: u32 = 40;
const CS: u32 = 44;
const FLAGS: u32 = 48;
const SP: u32 = 52;

/// Where the vectors' stubs are, five bytes each.
const STUBS: u32 = TRAMPOLINE + 0x400;

unsafe extern "C" {
    static real_trampoline: u8;
    static real_trampoline_end: u8;
    static protected16_stub: u8;
}

/// Runs 16-bit code at 0000:9000 in real mode until its near return or the first vector taken.
///
/// The segments are zero, SP is 6e00h.
pub fn run_real(registers: Registers, code: &[u8]) -> Ended {
    // SAFETY: the trampoline's bounds.
    let trampoline = unsafe {
        let start = &raw const real_trampoline;
        slice::from_raw_parts(start, (&raw const real_trampoline_end).offset_from_unsigned(start))
    };
    low::place(TRAMPOLINE, trampoline);
    low::place(CODE, code);
    for vector in 0..256 {
        low::write32(vector * 4, STUBS + vector * 5);
    }
    let words = [
        registers.eax,
        registers.ecx,
        registers.edx,
        registers.ebx,
        registers.esi,
        registers.edi,
        registers.ebp,
        registers.flags | 2,
        0,
    ];
    for (index, word) in words.into_iter().enumerate() {
        low::write32(SHARED + index as u32 * 4, word);
    }
    Excursion::new().run_at(TRAMPOLINE);
    let word = |index: u32| low::read32(SHARED + index * 4);
    let registers = Registers {
        eax: word(0),
        ecx: word(1),
        edx: word(2),
        ebx: word(3),
        esi: word(4),
        edi: word(5),
        ebp: word(6),
        flags: word(7),
    };
    let at = |offset: u32| low::read32(SHARED + offset) & 0xffff;
    let fault = (at(TRAPPED) != 0).then(|| Fault {
        vector: at(VECTOR) & 0xff,
        eip: at(IP),
        cs: at(CS),
        flags: at(FLAGS),
        esp: at(SP),
        ..Fault::default()
    });
    Ended { registers, fault }
}

/// Runs 16-bit code at 9000h in protected mode, in the 16-bit code segment, until its far return
/// with 32-bit operands (66 CB) or an exception. SS is the 16-bit data segment, SP is 6e00h.
pub fn run_protected16(registers: Registers, code: &[u8]) -> Ended {
    low::place(CODE, code);
    let mut excursion = Excursion::new();
    excursion.registers = registers;
    excursion.registers.flags |= 2;
    excursion.run_at(&raw const protected16_stub as u32)
}

global_asm!(
    r#"
    .pushsection .text
    .code32
    .globl protected16_stub
protected16_stub:
    mov [protected16_esp], esp
    mov [protected16_eax], eax
    pushfd
    pop dword ptr [protected16_flags]
    mov eax, 0x48
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, 0x6e00
    push dword ptr cs:[protected16_flags]
    popfd
    mov eax, cs:[protected16_eax]
    .byte 0x9a                      # CALL FAR 40h:9000h
    .long 0x9000
    .short 0x40
    push eax
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    pop eax
    mov ss, [protected16_data]
    mov esp, [protected16_esp]
    ret
    .balign 4
protected16_data: .long 0x18
    .code64
    .popsection
    .pushsection .bss
    .balign 4
protected16_esp: .skip 4
protected16_eax: .skip 4
protected16_flags: .skip 4
    .popsection

    .pushsection .rodata.real, "a"
    .globl real_trampoline
real_trampoline:
    .code32
    mov ds:[0x6f60], esp
    sidt ds:[0x6f70]
    .byte 0x0f, 0x01, 0x1d          # LIDT [vectors]
    .long 0x7000 + real_vectors - real_trampoline
    .byte 0xea                      # JMP FAR 40h:real_16
    .long 0x7000 + real_16 - real_trampoline
    .short 0x40
    .code16
real_16:
    mov ax, 0x48
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    .byte 0xea                      # JMP FAR 0:real_0
    .short 0x7000 + real_0 - real_trampoline
    .short 0
real_0:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov sp, 0x6e00
    mov ecx, ds:[0x6f04]
    mov edx, ds:[0x6f08]
    mov ebx, ds:[0x6f0c]
    mov esi, ds:[0x6f10]
    mov edi, ds:[0x6f14]
    mov ebp, ds:[0x6f18]
    .byte 0x66, 0xff, 0x36, 0x1c, 0x6f      # PUSH dword [6f1ch]
    .byte 0x66, 0x9d                        # POPFD
    mov eax, ds:[0x6f00]
    .byte 0xe8                              # CALL 9000h
    .short 0x9000 - (0x7000 + real_back - real_trampoline)
real_back:
    .byte 0x66, 0x9c                        # PUSHFD
    .byte 0x2e, 0x66, 0x8f, 0x06, 0x1c, 0x6f # POP dword cs:[6f1ch]
    mov cs:[0x6f00], eax
    mov cs:[0x6f04], ecx
    mov cs:[0x6f08], edx
    mov cs:[0x6f0c], ebx
    mov cs:[0x6f10], esi
    mov cs:[0x6f14], edi
    mov cs:[0x6f18], ebp
real_leave:
    cli
    cld
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea                        # JMP FAR 08h:real_32
    .long 0x7000 + real_32 - real_trampoline
    .short 0x08
    .code32
real_32:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, ds:[0x6f60]
    lidt ds:[0x6f70]
    ret

    .code16
real_trap:
    # On the stack: vector, IP, CS, flags.
    mov cs:[0x6f00], eax
    mov cs:[0x6f04], ecx
    mov cs:[0x6f08], edx
    mov cs:[0x6f0c], ebx
    mov cs:[0x6f10], esi
    mov cs:[0x6f14], edi
    mov cs:[0x6f18], ebp
    pop ax
    mov cs:[0x6f24], ax
    pop ax
    mov cs:[0x6f28], ax
    pop ax
    mov cs:[0x6f2c], ax
    pop ax
    mov cs:[0x6f30], ax
    mov cs:[0x6f34], sp
    mov ax, 1
    mov cs:[0x6f20], ax
    jmp real_leave

    .balign 4
real_vectors:
    .short 0x3ff
    .long 0

    .org real_trampoline + 0x400
    .set real_number, 0
    .rept 256
    .byte 0x6a, real_number & 0xff          # PUSH imm8
    .byte 0xe9                              # JMP
    .short real_trap - real_trampoline - 0x400 - real_number * 5 - 5
    .set real_number, real_number + 1
    .endr
    .globl real_trampoline_end
real_trampoline_end:
    .code64
    .popsection
"#
);
