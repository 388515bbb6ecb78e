//! 32-bit protected mode, with paging as the caller wants it.
//!
//! The way out: load the 32-bit IDT, jump to a 32-bit code segment (compatibility mode), switch
//! paging off, then EFER.LME, then load the control registers asked for. The way back is the
//! reverse. All of it lies below 4 GiB, mapped one to one on both sides; page tables of the
//! caller must keep the first 16 MiB so.
//!
//! The code gets and returns the eight registers in [`Registers`] and ends by a near return. Any
//! exception also ends it: the stubs write down what happened and leave.

use core::arch::global_asm;

use crate::hw::gdt::CODE32;
use crate::sync::Racy;

/// The general registers but ESP, and the flags.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Registers {
    pub eax: u32,
    pub ecx: u32,
    pub edx: u32,
    pub ebx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub flags: u32,
}

/// An exception or interrupt that ended the code.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Fault {
    pub vector: u32,
    pub error: u32,
    pub eip: u32,
    pub cs: u32,
    pub flags: u32,
    pub esp: u32,
    pub ss: u32,
    pub cr2: u32,
}

/// How the code ended.
#[derive(Clone, Copy)]
pub struct Ended {
    /// The registers at the end.
    pub registers: Registers,
    /// What ended it, if not its return.
    pub fault: Option<Fault>,
}

/// What to run under.
#[derive(Clone, Copy)]
pub struct Excursion {
    /// The registers at the start.
    pub registers: Registers,
    /// CR0; protection must be on.
    pub cr0: u32,
    /// CR3.
    pub cr3: u32,
    /// CR4.
    pub cr4: u32,
}

/// The words the assembly shares with us.
#[repr(C)]
struct Shared {
    registers: Registers,
    cr0: u32,
    cr3: u32,
    cr4: u32,
    entry: u32,
    trapped: u32,
    fault: Fault,
}

#[repr(C, align(16))]
struct Idt([u64; 256]);

static IDT: Racy<Idt> = Racy::new(Idt([0; 256]));

unsafe extern "C" {
    static mut excursion_shared: Shared;
    static excursion_stubs: u8;
    fn excursion_run(idt: *const crate::hw::gdt::Pointer);
}

impl Excursion {
    /// Protected mode without paging.
    pub fn new() -> Self {
        Self { registers: Registers { flags: 2, ..Default::default() }, cr0: 0x31, cr3: 0, cr4: 0x600 }
    }

    /// Runs the 32-bit code.
    pub fn run(&self, code: &[u8]) -> Ended {
        self.run_at(code.as_ptr() as u32)
    }

    /// Runs the 32-bit code at `entry`.
    pub fn run_at(&self, entry: u32) -> Ended {
        let pointer = crate::hw::gdt::Pointer { limit: 2047, base: IDT.get() as u64 };
        // SAFETY: the assembly restores all it changes; only this CPU uses the words.
        unsafe {
            let shared = &raw mut excursion_shared;
            (*shared).registers = self.registers;
            (*shared).cr0 = self.cr0;
            (*shared).cr3 = self.cr3;
            (*shared).cr4 = self.cr4;
            (*shared).entry = entry;
            (*shared).trapped = 0;
            excursion_run(&raw const pointer);
            let fault = ((*shared).trapped != 0).then_some((*shared).fault);
            Ended { registers: (*shared).registers, fault }
        }
    }
}

/// Fills the 32-bit IDT with interrupt gates to the stubs, open to ring 3 from vector 80h on.
pub fn reset() {
    for vector in 0..256u64 {
        let dpl = if vector >= 0x80 || vector == 3 || vector == 4 { 3 } else { 0 };
        set_gate(vector as u8, (&raw const excursion_stubs as u64 + vector * 16) as u32, CODE32, 0xe, dpl);
    }
}

/// Replaces a gate: `kind` 5 task, 6 and 7 16-bit, 14 and 15 32-bit interrupt and trap.
pub fn set_gate(vector: u8, target: u32, selector: u16, kind: u64, dpl: u64) {
    let target = u64::from(target);
    let gate =
        target & 0xffff | u64::from(selector) << 16 | (0x80 | dpl << 5 | kind) << 40 | (target >> 16) << 48;
    // SAFETY: in bounds; read only outside of long mode.
    unsafe { IDT.get().cast::<u64>().add(vector.into()).write_volatile(gate) }
}

global_asm!(
    r#"
    .pushsection .text
    .code64
    .globl excursion_run
excursion_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    mov [rip + excursion_rsp], rsp
    mov rax, cr0
    mov [rip + excursion_old_cr0], eax
    mov rax, cr3
    mov [rip + excursion_old_cr3], eax
    mov rax, cr4
    mov [rip + excursion_old_cr4], eax
    sidt [rip + excursion_old_idt]
    lidt [rdi]
    push 0x08
    lea rax, [rip + excursion_out]
    push rax
    retfq

    .code32
excursion_out:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, offset excursion_stack_top
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, 0xc0000080
    rdmsr
    mov [excursion_old_efer], eax
    and eax, 0xfffffeff
    wrmsr
    mov eax, [excursion_shared + 40]
    mov cr4, eax
    mov eax, [excursion_shared + 36]
    mov cr3, eax
    mov eax, [excursion_shared + 32]
    mov cr0, eax
    jmp 2f
2:  push dword ptr [excursion_shared + 28]
    popfd
    mov eax, [excursion_shared]
    mov ecx, [excursion_shared + 4]
    mov edx, [excursion_shared + 8]
    mov ebx, [excursion_shared + 12]
    mov esi, [excursion_shared + 16]
    mov edi, [excursion_shared + 20]
    mov ebp, [excursion_shared + 24]
    call dword ptr [excursion_shared + 44]
    pushfd
    .byte 0x1e                      # PUSH DS, whatever it became
    push 0x18
    .byte 0x1f                      # POP DS
    mov [excursion_shared], eax
    mov [excursion_shared + 4], ecx
    mov [excursion_shared + 8], edx
    mov [excursion_shared + 12], ebx
    mov [excursion_shared + 16], esi
    mov [excursion_shared + 20], edi
    mov [excursion_shared + 24], ebp
    pop eax
    pop dword ptr [excursion_shared + 28]

    .globl excursion_leave
excursion_leave:
    cli
    cld
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, offset excursion_stack_top
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov eax, [excursion_old_cr4]
    mov cr4, eax
    mov eax, [excursion_old_cr3]
    mov cr3, eax
    mov ecx, 0xc0000080
    xor edx, edx
    mov eax, [excursion_old_efer]
    wrmsr
    mov eax, [excursion_old_cr0]
    mov cr0, eax
    push 0x10
    mov eax, offset excursion_home
    push eax
    retf

    .code64
excursion_home:
    mov rsp, [rip + excursion_rsp]
    lidt [rip + excursion_old_idt]
    xor eax, eax
    mov fs, eax
    mov gs, eax
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    # The entry points, 16 bytes apart. Vectors 8, 10 to 14 and 17 bring an error code.
    .code32
    .balign 16
    .globl excursion_stubs
excursion_stubs:
    .set excursion_number, 0
    .rept 256
    .balign 16
    .if excursion_number < 32 && (0x00027d00 >> excursion_number) & 1
    .else
    push 0
    .endif
    .byte 0x68                      # PUSH imm32
    .long excursion_number
    jmp excursion_trap
    .set excursion_number, excursion_number + 1
    .endr

excursion_trap:
    .byte 0x1e                      # PUSH DS
    push 0x18
    .byte 0x1f                      # POP DS
    mov [excursion_shared], eax
    mov [excursion_shared + 4], ecx
    mov [excursion_shared + 8], edx
    mov [excursion_shared + 12], ebx
    mov [excursion_shared + 16], esi
    mov [excursion_shared + 20], edi
    mov [excursion_shared + 24], ebp
    pop eax
    pop dword ptr [excursion_shared + 52]
    pop dword ptr [excursion_shared + 56]
    pop dword ptr [excursion_shared + 60]
    pop dword ptr [excursion_shared + 64]
    pop dword ptr [excursion_shared + 68]
    mov [excursion_shared + 72], esp
    mov eax, ss
    mov [excursion_shared + 76], eax
    mov eax, [excursion_shared + 64]
    test al, 3
    jz 3f
    pop dword ptr [excursion_shared + 72]
    pop dword ptr [excursion_shared + 76]
3:  mov eax, cr2
    mov [excursion_shared + 80], eax
    mov dword ptr [excursion_shared + 48], 1
    jmp excursion_leave
    .code64
    .popsection

    .pushsection .bss
    .balign 16
    .globl excursion_shared
excursion_shared: .skip 96
excursion_rsp: .skip 8
excursion_old_cr0: .skip 4
excursion_old_cr3: .skip 4
excursion_old_cr4: .skip 4
excursion_old_efer: .skip 4
excursion_old_idt: .skip 16
    .balign 16
    .skip 8192
    .globl excursion_stack_top
excursion_stack_top:
    .popsection
"#
);
