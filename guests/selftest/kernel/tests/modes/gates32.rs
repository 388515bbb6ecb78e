//! Gates and far transfers inside ring 0 of protected mode.

use super::{check_end, check_fault};
use crate::harness::Outcome;
use crate::hw::gdt::{self, CODE32, SCRATCH};
use crate::modes::{Excursion, Registers, set_gate};

family!("modes": far_call32, far_call_direct, call_gate32, interrupt_and_iret32, trap_gate32, gate_faults32, iret_changes_flags);

fn run(eax: u32, ebx: u32, code: &[u8]) -> crate::modes::Ended {
    let mut excursion = Excursion::new();
    excursion.registers = Registers { eax, ebx, flags: 2, ..Default::default() };
    excursion.run(code)
}

/// CALL FAR through memory; RETF that drops a parameter.
fn far_call32() -> Outcome {
    let target = snippet!(32, far_target: "mov eax, [esp + 8]" "mov edx, [esp + 4]" ".byte 0xca, 4, 0");
    let code = snippet!(32, far_caller: "mov ecx, esp" "sub esp, 8" "mov [esp], ebx" "mov dword ptr [esp + 4], 8" "mov edi, esp" "push 0x77" ".byte 0xff, 0x1f" "add esp, 8" "sub ecx, esp" "ret");
    let end = check_end!(run(0, target.as_ptr() as u32, code), "call far");
    check_eq!(end.eax, 0x77, "parameter");
    check_eq!(end.edx, CODE32, "CS pushed");
    check_eq!(end.ecx, 0, "ESP");
    Ok(())
}

/// PUSH CS may leave the upper half of its slot as it was.
fn far_call_direct() -> Outcome {
    let end = check_end!(
        run(
            0,
            0,
            snippet!(32, far_direct: "mov ecx, esp" ".byte 0x0e" "call 2f" "sub ecx, esp" "ret" "2: mov eax, 0x55" "mov edx, [esp + 4]" "retf")
        ),
        "push cs, call, retf"
    );
    check_eq!(end.eax, 0x55, "EAX");
    check_eq!(end.edx as u16, CODE32, "CS pushed");
    check_eq!(end.ecx, 0, "ESP");
    Ok(())
}

/// A gate of the same ring pushes CS and EIP; its own offset counts, not the caller's.
fn call_gate32() -> Outcome {
    let target = snippet!(32, gate32_target: "mov eax, 0x66" "mov edx, esp" "retf");
    let offset = target.as_ptr() as u64;
    gdt::set(SCRATCH, offset & 0xffff | u64::from(CODE32) << 16 | 0x8c << 40 | (offset >> 16) << 48);
    let code = snippet!(32, gate32_caller: "sub esp, 8" "mov [esp + 4], ebx" "mov ecx, esp" ".byte 0xff, 0x1c, 0x24" "sub ecx, edx" "add esp, 8" "ret");
    let end = check_end!(run(0, SCRATCH.into(), code), "call through a gate");
    check_eq!(end.eax, 0x66, "EAX");
    check_eq!(end.ecx, 8, "bytes pushed");
    gdt::set(SCRATCH, gdt::get(SCRATCH) & !(1 << 47));
    check_fault!(run(0, SCRATCH.into(), code), NP(SCRATCH), "call through an absent gate");
    Ok(())
}

fn interrupt_and_iret32() -> Outcome {
    let handler = snippet!(32, handler32: "pushfd" "pop ecx" "mov edx, [esp + 4]" "mov eax, 0x88" "iretd");
    set_gate(0x40, handler.as_ptr() as u32, CODE32, 0xe, 0);
    let mut excursion = Excursion::new();
    excursion.registers.flags = 0x202 | 0x8d5;
    let end = check_end!(excursion.run(snippet!(32, int32: "int 0x40" "cli" "ret")), "int 40h");
    check_eq!(end.eax, 0x88, "EAX");
    check_eq!(end.ecx & 0x200, 0, "IF in an interrupt gate's handler");
    check_eq!(end.edx, CODE32, "CS pushed");
    check_eq!(end.flags & 0x8d5, 0x8d5, "flags after IRET");
    Ok(())
}

fn trap_gate32() -> Outcome {
    let handler = snippet!(32, handler32_trap: "pushfd" "pop ecx" "iretd");
    set_gate(0x41, handler.as_ptr() as u32, CODE32, 0xf, 0);
    let mut excursion = Excursion::new();
    excursion.registers.flags = 0x202;
    let end = check_end!(excursion.run(snippet!(32, int32_trap: "int 0x41" "cli" "ret")), "int 41h");
    check_eq!(end.ecx & 0x200, 0x200, "IF in a trap gate's handler");
    Ok(())
}

/// Error codes name the gate's index and the IDT.
fn gate_faults32() -> Outcome {
    let code = snippet!(32, int32_bad: "int 0x42" "ret");
    set_gate(0x42, 0, CODE32, 0xc, 0);
    check_fault!(run(0, 0, code), GP(0x42 * 8 + 2), "gate of a wrong type");
    set_gate(0x42, 0, 0, 0xe, 0);
    check_fault!(run(0, 0, code), GP(0), "gate with a null selector");
    set_gate(0x42, 0, gdt::DATA, 0xe, 0);
    check_fault!(run(0, 0, code), GP(gdt::DATA), "gate to data");
    Ok(())
}

/// IRETD in ring 0 may set IOPL, NT, AC, ID and all else but VM's path.
fn iret_changes_flags() -> Outcome {
    let code = snippet!(32, iret32: "push eax" ".byte 0x0e" "call 2f" "pushfd" "pop ecx" "push 2" "popfd" "ret" "2: iretd");
    for flags in [0x3000u32, 0x24_0000, 0x8d5 | 0x400] {
        let end = check_end!(run(flags | 2, 0, code), "iretd");
        check_eq!(end.ecx, flags | 2, "flags");
    }
    Ok(())
}
