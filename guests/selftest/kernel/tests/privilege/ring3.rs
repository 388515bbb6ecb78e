//! What ring 3 may not do, and what it silently does not do.

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr0_bits, cr4_bits, flags};
use crate::tests::user::User;
use crate::trap::{self, vector};

family!("privilege":
    privileged_instructions, popf_in_ring3, int_gate_privilege, ring3_stack_switch, time_stamp_disable, alignment_check_in_ring3,
    umip, interrupts_in_ring3, cpuid_in_ring3,
);

/// Runs a snippet in ring 3 and fails unless it ends with a vector and error code.
macro_rules! ring3 {
    ($name:ident $vector:ident($error:expr): $($line:literal)+) => {{
        let trap = User::code64(snippet!(64, $name: $($line)+)).run();
        check!(trap.is(vector::$vector, $error), "{}: {trap}", stringify!($name));
        trap
    }};
}

fn privileged_instructions() -> Outcome {
    ring3!(ring3_hlt GP(0): "hlt");
    ring3!(ring3_cli GP(0): "cli");
    ring3!(ring3_sti GP(0): "sti");
    ring3!(ring3_mov_to_cr3 GP(0): "mov cr3, rax");
    ring3!(ring3_mov_from_cr0 GP(0): "mov rax, cr0");
    ring3!(ring3_mov_dr GP(0): "mov rax, dr7");
    ring3!(ring3_rdmsr GP(0): "rdmsr");
    ring3!(ring3_wrmsr GP(0): "wrmsr");
    ring3!(ring3_lgdt GP(0): "lgdt [rsp]");
    ring3!(ring3_lidt GP(0): "lidt [rsp]");
    ring3!(ring3_ltr GP(0): "ltr ax");
    ring3!(ring3_lldt GP(0): "lldt ax");
    ring3!(ring3_clts GP(0): "clts");
    ring3!(ring3_lmsw GP(0): "lmsw ax");
    ring3!(ring3_invlpg GP(0): "invlpg [rsp]");
    ring3!(ring3_wbinvd GP(0): "wbinvd");
    ring3!(ring3_swapgs GP(0): "swapgs");
    ring3!(ring3_in GP(0): "in al, 0x80");
    ring3!(ring3_out GP(0): "out dx, eax");
    Ok(())
}

/// IF and IOPL stay as they are, without a fault.
fn popf_in_ring3() -> Outcome {
    let trap = ring3!(ring3_popf BP(0): "push 0x3ad7" "popfq" "int3");
    check_eq!(trap.rflags, 0x08d7, "flags");
    let mut user = User::code64(snippet!(64, ring3_popf_if: "push 2" "popfq" "int3"));
    user.rflags |= flags::IF;
    check_eq!(user.run().rflags, flags::IF | 2, "flags after popf of zero");
    Ok(())
}

/// INT n from ring 3 needs a gate of privilege 3; faults and interrupts do not.
fn int_gate_privilege() -> Outcome {
    let code = vector_error(0x50);
    ring3!(ring3_int_50 GP(code): "int 0x50");
    let code = vector_error(vector::PF.into());
    ring3!(ring3_int_14 GP(code): "int 14");
    let trap = User::code64(snippet!(64, ring3_int_80: "int 0x80")).run();
    check!(trap.is(0x80, 0), "int 0x80: {trap}");
    Ok(())
}

/// The error code for a gate (QEMU 7.2 gives its offset instead of its index).
fn vector_error(vector: u64) -> u64 {
    vector << if crate::hw::cpuid::is_tcg() { 4 } else { 3 } | 2
}

/// A gate without an interrupt stack takes RSP0; the user's stack is in the frame.
fn ring3_stack_switch() -> Outcome {
    let mut gate = trap::gate(0x80);
    gate.0 &= !(7 << 32);
    trap::set_gate(0x80, gate);
    trap::handle(0x80, |frame| {
        frame.rax = &raw const *frame as u64 + core::mem::size_of::<trap::Frame>() as u64;
    });
    let user = User::code64(snippet!(64, ring3_switch: "int 0x80" "int3"));
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    // SAFETY: our own task-state segment.
    let rsp0 = unsafe { (&raw const (*crate::hw::gdt::tss(0)).rsp).read_unaligned()[0] };
    check_eq!(trap.rax, rsp0, "top of the frame");
    check_eq!(trap.rsp, user.rsp, "user's RSP");
    Ok(())
}

fn time_stamp_disable() -> Outcome {
    ring3!(ring3_rdtsc BP(0): "rdtsc" "int3");
    cpu::set_cr4(cpu::cr4() | cr4_bits::TSD);
    ring3!(ring3_rdtsc_off GP(0): "rdtsc");
    exec!("rdtsc", 0, 0, 0, 0);
    Ok(())
}

/// #AC wants CR0.AM, EFLAGS.AC and ring 3.
fn alignment_check_in_ring3() -> Outcome {
    let mut user =
        User::code64(snippet!(64, ring3_alignment: "mov rax, [rsp + 4]" "mov ax, [rsp + 1]" "int3"));
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "without AM and AC: {trap}");
    user.rflags |= flags::AC;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "without AM: {trap}");
    cpu::set_cr0(cpu::cr0() | cr0_bits::AM);
    wrong_in_tcg!("raises no #AC");
    let trap = user.run();
    check!(trap.is(vector::AC, 0), "with AM and AC: {trap}");
    check_eq!(trap.rip, user.rip, "RIP");
    Ok(())
}

fn umip() -> Outcome {
    need!(UMIP);
    ring3!(ring3_sgdt BP(0): "sgdt [rsp - 16]" "sidt [rsp - 32]" "sldt ax" "str cx" "smsw dx" "int3");
    cpu::set_cr4(cpu::cr4() | cr4_bits::UMIP);
    ring3!(umip_sgdt GP(0): "sgdt [rsp - 16]");
    ring3!(umip_sidt GP(0): "sidt [rsp - 16]");
    ring3!(umip_sldt GP(0): "sldt ax");
    ring3!(umip_str GP(0): "str ax");
    ring3!(umip_smsw GP(0): "smsw ax");
    exec!("smsw ax; str ax; sldt ax", 0, 0, 0, 0);
    Ok(())
}

/// A pending interrupt is taken on the way to ring 3, before its first instruction.
fn interrupts_in_ring3() -> Outcome {
    let vector = crate::hw::pic::pending_timer()?;
    let mut user = User::code64(snippet!(64, ring3_interrupted: "int3"));
    user.rflags |= flags::IF;
    let trap = user.run();
    check!(trap.is(vector, 0), "got {trap}");
    check_eq!(trap.rip, user.rip, "RIP");
    check_eq!(trap.cs, 0x33, "CS");
    Ok(())
}

fn cpuid_in_ring3() -> Outcome {
    let trap = ring3!(ring3_cpuid BP(0): "xor eax, eax" "cpuid" "int3");
    check_eq!(trap.rax, crate::hw::cpuid::leaf(0, 0).eax, "EAX");
    Ok(())
}
