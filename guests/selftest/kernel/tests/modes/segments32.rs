//! Segment limits and types in protected mode.

use super::{check_end, check_fault};
use crate::harness::Outcome;
use crate::hw::gdt::{self, CODE32, SCRATCH};
use crate::hw::pages;
use crate::modes::{Ended, Excursion, Registers, data_segment};
use crate::tests::memory::store;

family!("modes":
    limit_of_data, limit_of_stack, limit_in_pages, expand_down, expand_down_16, read_only_data, execute_only_code, null_segment,
    limit_of_code, base_is_added, not_present_segment, stack_segment_rules,
);

/// Writes (or with `dx` 0 reads) a byte, word or double word at ES:ECX with ES = BX.
fn access(selector: u16, offset: u32, kind: u32) -> Ended {
    let mut excursion = Excursion::new();
    excursion.registers =
        Registers { ecx: offset, edx: kind, ebx: selector.into(), flags: 2, ..Default::default() };
    excursion.run(snippet!(32, segment_access:
        "mov es, ebx"
        "cmp edx, 1"
        "je 2f"
        "cmp edx, 2"
        "je 3f"
        "cmp edx, 4"
        "je 4f"
        "mov al, es:[ecx]"
        "jmp 5f"
        "2: mov es:[ecx], al"
        "jmp 5f"
        "3: mov es:[ecx], ax"
        "jmp 5f"
        "4: mov es:[ecx], eax"
        "5: mov ebx, 0x18"
        "mov es, ebx"
        "ret"))
}

/// A data segment at a frame of its own with a limit of 7ffh.
fn limit_of_data() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = pages::frame();
    gdt::set(SCRATCH, data_segment(3, at, 0x7ff, 4));
    check_end!(access(SCRATCH, 0x7ff, 1), "byte at the limit");
    check_end!(access(SCRATCH, 0x7fc, 4), "double word at the limit");
    check_fault!(access(SCRATCH, 0x800, 1), GP(0), "byte beyond the limit");
    check_fault!(access(SCRATCH, 0x800, 0), GP(0), "read beyond the limit");
    check_fault!(access(SCRATCH, 0x7ff, 2), GP(0), "word across the limit");
    check_fault!(access(SCRATCH, 0x7fd, 4), GP(0), "double word across the limit");
    check_fault!(access(SCRATCH, 0xffff_ffff, 4), GP(0), "double word across 4 GiB");
    Ok(())
}

/// The same through SS is #SS.
fn limit_of_stack() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = pages::frame();
    gdt::set(SCRATCH, data_segment(3, at, 0x7ff, 4));
    let run = |esp: u32, code: &[u8]| {
        let mut excursion = Excursion::new();
        excursion.registers = Registers { ecx: esp, ebx: SCRATCH.into(), flags: 2, ..Default::default() };
        excursion.run(code)
    };
    // The fault's own frame needs a good stack: it is a gate through the ring's current one, so
    // only accesses that leave ESP good are tried.
    let store = snippet!(32, stack_store: "mov ss, ebx" "mov edi, esp" "mov esp, 0x400" "mov ebp, ecx" "mov [ebp], eax" "mov ebx, 0x18" "mov ss, ebx" "mov esp, edi" "ret");
    check_end!(run(0x7fc, store), "double word at the limit");
    check_fault!(run(0x7fd, store), SS(0), "double word across the limit");
    let store = snippet!(32, stack_override: "mov ss, ebx" "mov edi, esp" "mov esp, 0x400" "mov ss:[ecx], eax" "mov ebx, 0x18" "mov ss, ebx" "mov esp, edi" "ret");
    check_fault!(run(0x800, store), SS(0), "override by SS beyond the limit");
    let store = snippet!(32, stack_ds: "mov ss, ebx" "mov edi, esp" "mov esp, 0x400" "mov ebp, edi" "mov ds:[ebp - 64], eax" "mov ebx, 0x18" "mov ss, ebx" "mov esp, edi" "ret");
    check_end!(run(0, store), "EBP with an override by DS");
    Ok(())
}

/// With G the limit counts pages and its low 12 bits are ones.
fn limit_in_pages() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = pages::frame();
    gdt::set(SCRATCH, data_segment(3, at, 0, 0xc));
    check_end!(access(SCRATCH, 0xfff, 1), "byte at the limit");
    check_fault!(access(SCRATCH, 0x1000, 1), GP(0), "byte beyond the limit");
    Ok(())
}

/// An expand-down segment holds what lies beyond its limit, up to 4 GiB with B.
fn expand_down() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = pages::frame();
    gdt::set(SCRATCH, data_segment(7, at, 0x7ff, 4));
    check_fault!(access(SCRATCH, 0x7ff, 1), GP(0), "byte at the limit");
    check_fault!(access(SCRATCH, 0, 1), GP(0), "byte at zero");
    check_end!(access(SCRATCH, 0x800, 1), "byte beyond the limit");
    check_fault!(access(SCRATCH, 0xffff_fffd, 4), GP(0), "double word across 4 GiB");
    Ok(())
}

/// Up to 64 KiB without B.
fn expand_down_16() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = pages::frame();
    gdt::set(SCRATCH, data_segment(7, at, 0x7ff, 0));
    check_end!(access(SCRATCH, 0x800, 1), "byte beyond the limit");
    check_fault!(access(SCRATCH, 0x7ff, 1), GP(0), "byte at the limit");
    check_fault!(access(SCRATCH, 0x1_0000, 1), GP(0), "byte beyond 64 KiB");
    check_fault!(access(SCRATCH, 0xffff, 2), GP(0), "word across 64 KiB");
    Ok(())
}

fn read_only_data() -> Outcome {
    wrong_in_tcg!("checks no segment types at accesses");
    gdt::set(SCRATCH, data_segment(1, pages::frame(), 0xfff, 4));
    check_end!(access(SCRATCH, 0, 0), "read");
    check_fault!(access(SCRATCH, 0, 1), GP(0), "write");
    gdt::set(SCRATCH, data_segment(0xb, pages::frame(), 0xfff, 4));
    check_end!(access(SCRATCH, 0, 0), "read of code");
    check_fault!(access(SCRATCH, 0, 1), GP(0), "write to code");
    Ok(())
}

/// Code that is not readable cannot be loaded as data.
fn execute_only_code() -> Outcome {
    gdt::set(SCRATCH, data_segment(9, 0, 0xf_ffff, 0xc));
    check_fault!(access(SCRATCH, 0, 0), GP(SCRATCH), "load of ES");
    Ok(())
}

fn null_segment() -> Outcome {
    wrong_in_tcg!("checks no segment types at accesses");
    for selector in 0..4 {
        check_fault!(
            access(selector, pages::frame() as u32, 0),
            GP(0),
            "read through null selector {selector}"
        );
    }
    Ok(())
}

/// A fetch beyond the code segment's limit.
fn limit_of_code() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = pages::frame();
    // Two NOPs, the second one the last byte inside.
    store(at + 0x7fe, 0x9090_9090u32);
    gdt::set(SCRATCH, data_segment(0xb, at, 0x7ff, 4));
    let mut excursion = Excursion::new();
    excursion.registers = Registers { ebx: SCRATCH.into(), ecx: 0x7fe, flags: 2, ..Default::default() };
    let fault =
        check_fault!(excursion.run(snippet!(32, code_limit: "push ebx" "push ecx" "retf")), GP(0), "fetch");
    check_eq!(fault.eip, 0x800, "EIP");
    check_eq!(fault.cs, SCRATCH, "CS");
    // A jump there faults at the jump.
    excursion.registers.ecx = 0x800;
    let fault = check_fault!(
        excursion.run(snippet!(32, code_limit_jump: "push ebx" "push ecx" "retf")),
        GP(0),
        "far return"
    );
    check_eq!(fault.cs, CODE32, "CS");
    Ok(())
}

fn base_is_added() -> Outcome {
    let at = pages::frame();
    gdt::set(SCRATCH, data_segment(3, at + 0x100, 0xff, 4));
    let mut excursion = Excursion::new();
    excursion.registers =
        Registers { eax: 0x1234, ebx: SCRATCH.into(), ecx: 0x20, flags: 2, ..Default::default() };
    check_end!(
        excursion.run(snippet!(32, base_added: "mov fs, ebx" "mov fs:[ecx], eax" "ret")),
        "store through FS"
    );
    check_eq!(crate::tests::memory::load::<u32>(at + 0x120), 0x1234, "double word");
    Ok(())
}

fn not_present_segment() -> Outcome {
    gdt::set(SCRATCH, data_segment(3, 0, 0xfff, 4) & !(1 << 47));
    check_fault!(access(SCRATCH, 0, 0), NP(SCRATCH), "load of ES");
    let mut excursion = Excursion::new();
    excursion.registers = Registers { ebx: SCRATCH.into(), flags: 2, ..Default::default() };
    check_fault!(excursion.run(snippet!(32, absent_stack: "mov ss, ebx" "ret")), SS(SCRATCH), "load of SS");
    Ok(())
}

/// SS takes writable data of the current privilege, and nothing null.
fn stack_segment_rules() -> Outcome {
    let load = |selector: u16| {
        let mut excursion = Excursion::new();
        excursion.registers = Registers { ebx: selector.into(), flags: 2, ..Default::default() };
        excursion.run(snippet!(32, stack_rules: "mov ss, ebx" "ret"))
    };
    check_fault!(load(0), GP(0), "null");
    check_fault!(load(CODE32), GP(CODE32), "code");
    check_fault!(load(0x2b), GP(0x28), "ring 3's data");
    check_fault!(load(gdt::DATA | 1), GP(gdt::DATA), "requested privilege 1");
    gdt::set(SCRATCH, data_segment(1, 0, 0xf_ffff, 0xc));
    check_fault!(load(SCRATCH), GP(SCRATCH), "read-only data");
    Ok(())
}
