//! INIT, start-up, and the way from real mode to [`super::smp_main`].

use core::arch::global_asm;
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{APIC_ID, LOST, MAILBOX, ONLINE, listed};
use crate::acpi;
use crate::harness::{Failure, wrong};
use crate::hw::{gdt, lapic, time};
use crate::modes;

/// The page the start-up interrupt names.
const PAGE: u32 = 0x8000;

/// ICR commands.
const INIT: u32 = 0x4500;
const START_UP: u32 = 0x4600 | PAGE >> 12;

unsafe extern "C" {
    static smp_trampoline: u8;
    static smp_trampoline_end: u8;
    static smp_next: AtomicU32;
    static mut smp_gdt: gdt::Pointer;
}

/// Places the start-up code; the next CPU to come up will have number `next`.
fn place(next: u32) {
    // SAFETY: our own words, before any other CPU reads them.
    unsafe {
        smp_gdt = gdt::pointer();
        smp_next.store(next, Ordering::Relaxed);
        let start = &raw const smp_trampoline;
        let code = slice::from_raw_parts(start, (&raw const smp_trampoline_end).offset_from_unsigned(start));
        modes::place(PAGE, code);
    }
}

/// INIT, 10 ms, start-up twice: the universal algorithm (Intel, volume 3, section 9.4.4).
fn wake(id: u32, expected: u32) -> bool {
    lapic::send(id, INIT);
    time::wait(10);
    for _ in 0..2 {
        lapic::send(id, START_UP);
        if time::wait_until(200, || ONLINE.load(Ordering::Acquire) == expected) {
            return true;
        }
    }
    time::patiently(|| ONLINE.load(Ordering::Acquire) == expected)
}

/// Starts every CPU the MADT lists but this one.
pub fn start_all() -> Result<(), Failure> {
    place(1);
    let own = lapic::id();
    let others = acpi().map_or(&[][..], |acpi| acpi.cpus()).iter().copied().filter(|&id| id != own);
    for (index, id) in others.take(listed() - 1).enumerate() {
        if !wake(id, index as u32 + 1) {
            LOST.store(true, Ordering::Relaxed);
            return Err(wrong(format_args!("CPU with APIC ID {id} does not start")));
        }
    }
    Ok(())
}

/// Sends CPU `cpu` back to INIT, leaves it there for a while and starts it again under its number.
pub fn restart(cpu: usize) -> Result<(), Failure> {
    let (id, before) = (APIC_ID[cpu].load(Ordering::Relaxed), ONLINE.load(Ordering::Relaxed));
    place(cpu as u32);
    lapic::send(id, INIT);
    time::wait(10);
    // Waiting for a start-up interrupt, it does not hear others.
    MAILBOX[cpu].store(usize::MAX, Ordering::Relaxed);
    lapic::send(id, super::WAKE.into());
    if time::wait_until(5, || MAILBOX[cpu].load(Ordering::Relaxed) != usize::MAX) {
        return Err(wrong(format_args!("CPU {cpu} runs after INIT")));
    }
    if !wake(id, before + 1) {
        LOST.store(true, Ordering::Relaxed);
        return Err(wrong(format_args!("CPU {cpu} does not start a second time")));
    }
    ONLINE.store(before, Ordering::Relaxed);
    Ok(())
}

global_asm!(
    r#"
    .pushsection .rodata.smp, "a"
    .globl smp_trampoline
smp_trampoline:
    .code16
    cli
    cld
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0f, 0x01, 0x16            # LGDT [smp_pointer], 32-bit base
    .short smp_pointer - smp_trampoline
    mov eax, cr0
    and eax, 0x9fffffff                     # INIT leaves the caches off
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea                        # JMP FAR 08h:smp_32
    .long 0x8000 + smp_32 - smp_trampoline
    .short 0x08
    .balign 8
smp_pointer:
    .short 31
    .long 0x8000 + smp_table - smp_trampoline
    .short 0
smp_table:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .code32
smp_32:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, cr4
    or eax, 0x620
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, 0x80000001
    cpuid
    mov edi, edx
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    bt edi, 20
    jnc 2f
    or eax, 0x800
2:  wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    .byte 0xea                              # JMP FAR 10h:smp_64
    .long smp_64
    .short 0x10
    .globl smp_trampoline_end
smp_trampoline_end:
    .code64
    .popsection

    .pushsection .text
smp_64:
    lgdt [rip + smp_gdt]
    mov edi, 1
    lock xadd [rip + smp_next], edi
    mov eax, edi
    and eax, 15
    shl eax, 14
    lea rsp, [rip + smp_stacks + 0x4000]
    add rsp, rax
    xor ebp, ebp
    call smp_main
    ud2
    .popsection

    .pushsection .bss
    .balign 16
    .globl smp_next
smp_next: .skip 4
    .balign 16
    .globl smp_gdt
smp_gdt: .skip 16
    .balign 16
smp_stacks: .skip 16 * 0x4000
    .popsection
"#
);
