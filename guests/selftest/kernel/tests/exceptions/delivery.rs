//! Delivery: gates, error codes of bad ones, stacks, double faults.

use core::arch::global_asm;

use crate::harness::Outcome;
use crate::hw::cpuid;
use crate::hw::gdt::{self, CODE64, DATA, USER_CODE64};
use crate::hw::pages::{self, HIGH};
use crate::trap::{self, Gate, vector};

global_asm!(".pushsection .text", "delivery_flags:", "pushfq", "pop rax", "iretq", ".popsection");

family!("exceptions":
    gate_not_present, gate_beyond_limit, gate_of_wrong_type, gate_selector_bad, bad_selector_codes, null_stack_selector,
    double_fault, double_fault_by_stack, stack_is_aligned, trap_gate_keeps_if, software_int_privilege,
);

/// The error code that names the gate of `vector`: bit 1 says that it is in the IDT. QEMU 7.2
/// names its offset instead.
fn idt(vector: u64) -> u64 {
    vector << if cpuid::is_tcg() { 4 } else { 3 } | 2
}

fn gate_not_present() -> Outcome {
    let mut gate = trap::gate(0x90);
    gate.0 &= !(1 << 47);
    trap::set_gate(0x90, gate);
    let trap = expect!(NP(idt(0x90)), exec!("int 0x90", 0, 0, 0, 0));
    check_eq!(crate::tests::memory::load::<u8>(trap.rip), 0xcd, "byte at RIP");
    Ok(())
}

fn gate_beyond_limit() -> Outcome {
    let mut pointer = trap::pointer();
    pointer.limit = 0x90 * 16 - 1;
    let short = &raw const pointer;
    // SAFETY: the exceptions' gates stay within the limit.
    let result = trap::catch(|| unsafe { core::arch::asm!("lidt [{}]", "int 0x90", in(reg) short) });
    trap::load();
    let Err(trap) = result else { return Err(crate::harness::wrong(format_args!("no trap"))) };
    check!(trap.is(vector::GP, idt(0x90)), "got {trap}");
    Ok(())
}

/// Long mode has neither task gates nor 16-bit gates.
fn gate_of_wrong_type() -> Outcome {
    for kind in [0u64, 5, 6, 7, 0xc] {
        let mut gate = trap::gate(0x90);
        gate.0 = gate.0 & !(0xf << 40) | kind << 40;
        trap::set_gate(0x90, gate);
        expect!(GP(idt(0x90)), exec!("int 0x90", 0, 0, 0, 0));
    }
    Ok(())
}

/// The code segment of a gate: error code is its selector, not the gate's.
fn gate_selector_bad() -> Outcome {
    let target = trap::gate(0x90).0;
    let with = |selector: u16| {
        let gate = Gate(target & !(0xffff << 16) | u64::from(selector) << 16, trap::gate(0x90).1);
        trap::set_gate(0x90, gate);
    };
    with(0);
    expect!(GP(0), exec!("int 0x90", 0, 0, 0, 0));
    with(DATA);
    expect!(GP(DATA), exec!("int 0x90", 0, 0, 0, 0));
    with(USER_CODE64);
    expect!(GP(USER_CODE64 & !3), exec!("int 0x90", 0, 0, 0, 0));
    with(0xfff0);
    expect!(GP(0xfff0), exec!("int 0x90", 0, 0, 0, 0));
    with(gdt::SCRATCH);
    gdt::set(gdt::SCRATCH, gdt::get(CODE64) & !(1 << 47));
    expect!(NP(gdt::SCRATCH), exec!("int 0x90", 0, 0, 0, 0));
    Ok(())
}

/// Segment loads: index, table bit, no requested privilege in the code.
fn bad_selector_codes() -> Outcome {
    expect!(GP(0xfff8), exec!("mov ds, ecx", 0, 0xfff8, 0, 0));
    expect!(GP(0xfff8), exec!("mov es, ecx", 0, 0xfffb, 0, 0));
    expect!(GP(0x14), exec!("mov fs, ecx", 0, 0x17, 0, 0));
    expect!(GP(gdt::TSS), exec!("mov ds, ecx", 0, gdt::TSS, 0, 0));
    expect!(GP(CODE64), exec!("mov ss, ecx", 0, CODE64, 0, 0));
    expect!(GP(0x28), exec!("mov ss, ecx", 0, 0x28, 0, 0));
    gdt::set(gdt::SCRATCH, gdt::get(DATA) & !(1 << 47));
    expect!(NP(gdt::SCRATCH), exec!("mov ds, ecx", 0, gdt::SCRATCH, 0, 0));
    expect!(SS(gdt::SCRATCH), exec!("mov ss, ecx", 0, gdt::SCRATCH, 0, 0));
    Ok(())
}

/// In 64-bit mode SS may be null, with a requested privilege equal to the current one.
fn null_stack_selector() -> Outcome {
    let got = exec!("mov r8d, ss; mov ss, ecx; push rax; mov eax, ss; pop rcx; mov ss, r8d", 1, 0, 0, 0);
    check_eq!(got.rax, 0, "SS");
    wrong_in_tcg!("allows any requested privilege");
    expect!(GP(0), exec!("mov ss, ecx", 0, 3, 0, 0));
    Ok(())
}

/// A page fault whose gate is absent becomes a double fault, with error code zero on its stack.
fn double_fault() -> Outcome {
    let mut gate = trap::gate(vector::PF);
    gate.0 &= !(1 << 47);
    trap::set_gate(vector::PF, gate);
    let trap = expect!(DF(0), exec!("mov rax, [rdx]", 0, 0, HIGH, 0));
    check_eq!(trap.cr2, HIGH, "CR2");
    check_eq!(trap.cs, CODE64, "CS");
    Ok(())
}

/// A stack that cannot be pushed to: the second page fault makes the double fault.
fn double_fault_by_stack() -> Outcome {
    let mut gate = trap::gate(vector::UD);
    gate.0 &= !(7 << 32);
    trap::set_gate(vector::UD, gate);
    let mut gate = trap::gate(vector::PF);
    gate.0 &= !(7 << 32);
    trap::set_gate(vector::PF, gate);
    let trap = expect!(DF(0), exec!("mov rsp, rdx; ud2", 0, 0, HIGH + 0x800, 0));
    check_eq!(trap.rsp, HIGH + 0x800, "RSP");
    check_eq!(trap.cr2 & !0xfff, HIGH, "page in CR2");
    Ok(())
}

/// Without an interrupt stack the frame goes to the current one, aligned to 16 bytes.
fn stack_is_aligned() -> Outcome {
    let stack = pages::map_new(HIGH, pages::W);
    let mut gate = trap::gate(0x91);
    gate.0 &= !(7 << 32);
    trap::set_gate(0x91, gate);
    trap::handle(0x91, |frame| frame.rax = frame as *mut _ as u64);
    for offset in 0..16 {
        let top = stack + 2048 + offset;
        let got = exec!("mov r8, rsp; mov rsp, rdx; int 0x91; xchg rsp, r8; mov rcx, r8", 0, 0, top, 0);
        check_eq!(got.rcx, top, "RSP after IRET");
        // The frame ends with RIP to SS, 40 bytes under the aligned top.
        let end = got.rax + core::mem::size_of::<trap::Frame>() as u64;
        check_eq!(end, top & !15, "top of the frame");
    }
    Ok(())
}

fn trap_gate_keeps_if() -> Outcome {
    // The handler's own flags: pushed by hand in place of our stub.
    unsafe extern "C" {
        fn delivery_flags();
    }
    let target = delivery_flags as *const () as u64;
    trap::set_gate(0x92, Gate::new(target, CODE64, 5, 0));
    let mut gate = Gate::new(target, CODE64, 5, 0);
    gate.0 |= 1 << 40;
    trap::set_gate(0x93, gate);
    let flags = 0x4000 | 0x200 | 0x40000;
    let got = exec!("int 0x92", 0, 0, 0, flags);
    // NT and IF are cleared by an interrupt gate, AC is not; a trap gate leaves IF.
    check_eq!(got.rax & (0x4000 | 0x200), 0, "flags in the handler of an interrupt gate");
    check_eq!(got.flags & flags, flags, "flags after IRET");
    let got = exec!("int 0x93", 0, 0, 0, 0x200);
    check_eq!(got.rax & 0x200, 0x200, "IF in the handler of a trap gate");
    crate::hw::cpu::cli();
    Ok(())
}

/// The privilege of a gate is checked for INT n only; in ring 0 everything is allowed.
fn software_int_privilege() -> Outcome {
    trap::handle(vector::GP, |frame| frame.rax = frame.error);
    // INT 13 pushes no error code, though the stub expects one: so it is not tried; but INT 3 by CD works.
    trap::handle(vector::BP, |frame| frame.rax = 3);
    check_eq!(exec!(".byte 0xcd, 3", 0, 0, 0, 0).rax, 3, "INT 3 in two bytes");
    Ok(())
}
