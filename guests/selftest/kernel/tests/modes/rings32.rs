//! Rings in protected mode: the 32-bit TSS, gates inward, IRET and RETF outward, SYSENTER.

use super::check_fault;
use crate::harness::Outcome;
use crate::hw::cpu::{self, msr};
use crate::hw::gdt::{self, CODE32, DATA, SCRATCH};
use crate::hw::pages;
use crate::modes::{Ended, Excursion, Registers, set_gate, task_segment};
use crate::tests::memory::{load, store};

family!("modes":
    iret_to_ring3_32, interrupt_from_ring3, call_gate_with_parameters, bad_inner_stack, sysenter32, sysexit32, ring3_privileged_32,
    segments_cleared_on_return,
);

const USER_CODE: u32 = 0x23;
const USER_DATA: u32 = 0x2b;
/// The selector of the 32-bit TSS.
const TASK: u16 = SCRATCH + 0x10;

/// A TSS with SS0:ESP0; its address and that of the inner stack's top.
fn task() -> (u64, u32) {
    let (task, stack) = (pages::frame(), pages::frame() as u32 + 0x1000);
    store(task + 4, stack);
    store(task + 8, u32::from(DATA));
    // No I/O permission map.
    store(task + 102, 0xffffu16);
    gdt::set(TASK, task_segment(task));
    (task, stack)
}

/// Loads the TSS and goes to ring 3 by IRETD: to the code at EBX with the stack at ECX.
fn to_ring3(code: &[u8], stack: u32) -> Ended {
    // An earlier LTR has made it busy.
    gdt::set(TASK, gdt::get(TASK) & !(2 << 40));
    let mut excursion = Excursion::new();
    excursion.registers =
        Registers { eax: TASK.into(), ebx: code.as_ptr() as u32, ecx: stack, flags: 2, ..Default::default() };
    excursion.run(snippet!(32, to_ring3:
        "ltr ax"
        "mov edx, 0x2b"
        "mov ds, edx"
        "mov es, edx"
        "push 0x2b"
        "push ecx"
        "push 0x202"
        "push 0x23"
        "push ebx"
        "iretd"))
}

fn iret_to_ring3_32() -> Outcome {
    let (_, stack) = task();
    let outer = pages::frame() as u32 + 0x800;
    let code = snippet!(32, ring3_32: "mov eax, cs" "push eax" "int 0x80");
    let ended = to_ring3(code, outer);
    let Some(fault) = ended.fault else { return Err(crate::harness::wrong(format_args!("no end"))) };
    check_eq!(fault.vector, 0x80, "vector");
    check_eq!(ended.registers.eax, USER_CODE, "CS in ring 3");
    check_eq!(fault.cs, USER_CODE, "CS in the frame");
    check_eq!(fault.ss, USER_DATA, "SS in the frame");
    check_eq!(fault.esp, outer - 4, "ESP in the frame");
    check_eq!(fault.flags & 0x3200, 0x200, "IF and IOPL in the frame");
    check_eq!(load::<u32>(u64::from(stack) - 4), USER_DATA, "SS on the inner stack");
    Ok(())
}

/// A handler in ring 0 returns to ring 3, where it goes on.
fn interrupt_from_ring3() -> Outcome {
    task();
    let handler = snippet!(32, ring0_handler: "mov ecx, ss" "mov edx, cs" "iretd");
    set_gate(0x44, handler.as_ptr() as u32, CODE32, 0xe, 3);
    let ended =
        to_ring3(snippet!(32, ring3_int: "int 0x44" "mov esi, ss" "int 0x80"), pages::frame() as u32 + 0x800);
    let Some(fault) = ended.fault else { return Err(crate::harness::wrong(format_args!("no end"))) };
    check_eq!(fault.vector, 0x80, "vector");
    check_eq!(ended.registers.ecx, DATA, "SS in the handler");
    check_eq!(ended.registers.edx, CODE32, "CS in the handler");
    check_eq!(ended.registers.esi, USER_DATA, "SS after the return");
    Ok(())
}

/// A gate with two parameters copies them to the inner stack; RETF drops them on both.
fn call_gate_with_parameters() -> Outcome {
    task();
    let target = snippet!(32, parameters_target: "mov eax, [esp + 8]" "mov edx, [esp + 12]" "mov ecx, [esp + 16]" ".byte 0xca, 8, 0");
    let offset = target.as_ptr() as u64;
    gdt::set(
        SCRATCH,
        offset & 0xffff | u64::from(CODE32) << 16 | 2 << 32 | 0xec << 40 | (offset >> 16) << 48,
    );
    let outer = pages::frame() as u32 + 0x800;
    let code = snippet!(32, parameters_caller: "push 0x1111" "push 0x2222" ".byte 0x9a" ".long 0" ".short 0x50" "int 0x80");
    let ended = to_ring3(code, outer);
    let Some(fault) = ended.fault else { return Err(crate::harness::wrong(format_args!("no end"))) };
    check_eq!(fault.vector, 0x80, "vector (error {:#x})", fault.error);
    check_eq!(ended.registers.eax, 0x2222, "last parameter");
    check_eq!(ended.registers.edx, 0x1111, "first parameter");
    check_eq!(ended.registers.ecx, outer - 8, "ESP pushed");
    check_eq!(fault.esp, outer, "ESP after the return");
    Ok(())
}

/// A stack segment of the wrong privilege in the TSS is an invalid TSS.
fn bad_inner_stack() -> Outcome {
    let (address, _) = task();
    // The handler of #TS must not need the bad stack: so the selector is bad for ring 1 alone.
    store(address + 12, 0x600u32);
    store(address + 16, USER_DATA);
    gdt::set(SCRATCH, gdt::get(CODE32) | 1 << 45);
    let target = snippet!(32, ring1_target: "retf");
    let offset = target.as_ptr() as u64;
    gdt::set(SCRATCH + 8, offset & 0xffff | u64::from(SCRATCH) << 16 | 0xec << 40 | (offset >> 16) << 48);
    let code = snippet!(32, ring1_caller: ".byte 0x9a" ".long 0" ".short 0x58" "int 0x80");
    check_fault!(
        to_ring3(code, pages::frame() as u32 + 0x800),
        TS(USER_DATA & !3),
        "stack of ring 3 for ring 1"
    );
    Ok(())
}

/// Sets the SYSENTER MSRs; the entry point raises vector F0.
fn sysenter_msrs(stack: u32) {
    let entry = snippet!(32, sysenter32_entry: "mov eax, ss" "int 0xf0");
    cpu::wrmsr(msr::SYSENTER_CS, 0x10);
    cpu::wrmsr(msr::SYSENTER_EIP, entry.as_ptr() as u64);
    cpu::wrmsr(msr::SYSENTER_ESP, stack.into());
}

/// CS is the MSR's, SS the selector behind it, both flat.
fn sysenter32() -> Outcome {
    need!(SEP);
    task();
    let stack = pages::frame() as u32 + 0x1000;
    sysenter_msrs(stack);
    let ended = to_ring3(snippet!(32, sysenter_ring3: "sysenter"), pages::frame() as u32 + 0x800);
    let Some(fault) = ended.fault else { return Err(crate::harness::wrong(format_args!("no end"))) };
    check_eq!(fault.vector, 0xf0, "vector (error {:#x})", fault.error);
    check_eq!(fault.cs, 0x10, "CS");
    check_eq!(ended.registers.eax, 0x18, "SS");
    check_eq!(fault.esp, stack, "ESP");
    check_eq!(fault.flags & 0x200, 0, "IF");
    Ok(())
}

/// To CS + 16 and CS + 24, ESP from ECX, EIP from EDX.
fn sysexit32() -> Outcome {
    need!(SEP);
    let (_, _) = task();
    sysenter_msrs(pages::frame() as u32 + 0x1000);
    let outer = pages::frame() as u32 + 0x800;
    let target = snippet!(32, sysexit32_target: "mov eax, cs" "mov ebx, ss" "int 0x80");
    let mut excursion = Excursion::new();
    excursion.registers = Registers {
        eax: TASK.into(),
        ecx: outer,
        edx: target.as_ptr() as u32,
        flags: 2,
        ..Default::default()
    };
    let ended = excursion.run(snippet!(32, sysexit32_caller: "ltr ax" "sysexit"));
    let Some(fault) = ended.fault else { return Err(crate::harness::wrong(format_args!("no end"))) };
    check_eq!(fault.vector, 0x80, "vector (error {:#x})", fault.error);
    check_eq!(ended.registers.eax, USER_CODE, "CS");
    check_eq!(ended.registers.ebx, USER_DATA, "SS");
    check_eq!(fault.esp, outer, "ESP");
    Ok(())
}

fn ring3_privileged_32() -> Outcome {
    task();
    let outer = pages::frame() as u32 + 0x800;
    check_fault!(to_ring3(snippet!(32, ring3_hlt_32: "hlt"), outer), GP(0), "hlt");
    check_fault!(to_ring3(snippet!(32, ring3_cli_32: "cli"), outer), GP(0), "cli");
    check_fault!(to_ring3(snippet!(32, ring3_out_32: "out 0x80, al"), outer), GP(0), "out");
    check_fault!(to_ring3(snippet!(32, ring3_int_32: "int 0x50"), outer), GP(0x282), "int 50h");
    check_fault!(
        to_ring3(snippet!(32, ring3_ds_32: "mov ecx, 0x18" "mov ds, ecx"), outer),
        GP(0x18),
        "load of ring 0's data"
    );
    Ok(())
}

/// Data segments of the inner ring are made null on the way out.
fn segments_cleared_on_return() -> Outcome {
    task();
    let handler =
        snippet!(32, clearing_handler: "mov ecx, 0x18" "mov fs, ecx" "mov ecx, 0x2b" "mov gs, ecx" "iretd");
    set_gate(0x45, handler.as_ptr() as u32, CODE32, 0xe, 3);
    let ended = to_ring3(
        snippet!(32, ring3_cleared: "int 0x45" "mov esi, fs" "mov edi, gs" "int 0x80"),
        pages::frame() as u32 + 0x800,
    );
    check_eq!(ended.registers.esi, 0, "FS of ring 0");
    check_eq!(ended.registers.edi, USER_DATA, "GS of ring 3");
    Ok(())
}
