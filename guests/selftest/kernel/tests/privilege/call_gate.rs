//! Call gates in long mode.

use core::arch::global_asm;

use crate::harness::Outcome;
use crate::hw::gdt::{self, CODE64, SCRATCH, USER_CODE64, USER_DATA};
use crate::hw::pages::{self, HIGH, W};
use crate::tests::memory::load;
use crate::tests::user::{CODE64_AT, User};
use crate::trap::vector;

family!("privilege": call_gate_inward, call_gate_same_ring, call_gate_privilege, call_gate_not_present, call_gate_malformed, far_return_outward);

global_asm!(
    r#"
    .pushsection .text
call_gate_target:
    mov rdx, rsp
    mov esi, cs
    mov edi, ss
    .byte 0x48, 0xcb
    .popsection
"#
);

unsafe extern "C" {
    fn call_gate_target();
}

/// Writes the 16-byte gate of privilege `dpl` to the target.
fn install(selector: u16, dpl: u64) {
    let target = call_gate_target as *const () as u64;
    gdt::set(
        selector,
        target & 0xffff | u64::from(CODE64) << 16 | (0x8c | dpl << 5) << 40 | (target >> 16 & 0xffff) << 48,
    );
    gdt::set(selector + 8, target >> 32);
}

/// CALL FAR through a pointer on the stack whose selector is CX.
fn caller() -> User {
    User::code64(snippet!(64, gate_caller: "sub rsp, 16" "mov [rsp + 4], cx" ".byte 0xff, 0x1c, 0x24" "int3"))
}

/// Sets RSP0 to a page of its own; its address.
fn own_stack() -> u64 {
    let stack = pages::map_new(HIGH, W) + 0x1000;
    // SAFETY: our own task-state segment.
    unsafe { (&raw mut (*gdt::tss(0)).rsp).cast::<u64>().write_unaligned(stack) };
    stack
}

/// To ring 0 on RSP0, with SS null and SS, RSP, CS, RIP pushed.
fn call_gate_inward() -> Outcome {
    let stack = own_stack();
    install(SCRATCH, 3);
    let mut user = caller();
    user.rcx = SCRATCH.into();
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rdx, stack - 32, "RSP in ring 0");
    check_eq!(trap.rsi, CODE64, "CS in ring 0");
    check_eq!(trap.rdi, 0, "SS in ring 0");
    check_eq!(trap.cs, USER_CODE64, "CS after the return");
    check_eq!(trap.ss, USER_DATA, "SS after the return");
    check_eq!(trap.rsp, user.rsp - 16, "RSP after the return");
    check_eq!(load::<u64>(stack - 8), USER_DATA, "SS pushed");
    check_eq!(load::<u64>(stack - 16), user.rsp - 16, "RSP pushed");
    check_eq!(load::<u64>(stack - 24), USER_CODE64, "CS pushed");
    check_eq!(load::<u64>(stack - 32), CODE64_AT + 12, "RIP pushed");
    Ok(())
}

fn call_gate_same_ring() -> Outcome {
    install(SCRATCH, 0);
    let got = exec!(
        "mov r9, rsp; sub rsp, 16; mov [rsp + 4], cx; mov r8, rsp; .byte 0xff, 0x1c, 0x24; sub r8, rdx; mov rax, r8; mov rsp, r9",
        0,
        SCRATCH,
        0,
        0
    );
    check_eq!(got.rax, 16, "bytes pushed (a gate is 64 bits wide)");
    check_eq!(got.rdi, 0x18, "SS");
    Ok(())
}

fn call_gate_privilege() -> Outcome {
    install(SCRATCH, 0);
    let mut user = caller();
    user.rcx = SCRATCH.into();
    let trap = user.run();
    check!(trap.is(vector::GP, SCRATCH.into()), "gate of ring 0: {trap}");
    install(SCRATCH, 2);
    user.rcx = (SCRATCH | 3).into();
    let trap = user.run();
    check!(trap.is(vector::GP, SCRATCH.into()), "gate of ring 2: {trap}");
    Ok(())
}

fn call_gate_not_present() -> Outcome {
    install(SCRATCH, 3);
    gdt::set(SCRATCH, gdt::get(SCRATCH) & !(1 << 47));
    let mut user = caller();
    user.rcx = SCRATCH.into();
    let trap = user.run();
    check!(trap.is(vector::NP, SCRATCH.into()), "got {trap}");
    Ok(())
}

/// The type of the upper half must be zero, the target 64-bit code.
fn call_gate_malformed() -> Outcome {
    let mut user = caller();
    user.rcx = SCRATCH.into();
    install(SCRATCH, 3);
    gdt::set(SCRATCH + 8, gdt::get(SCRATCH + 8) | 1 << 40);
    let trap = user.run();
    check!(trap.is(vector::GP, SCRATCH.into()), "type in the upper half: {trap}");
    install(SCRATCH, 3);
    gdt::set(SCRATCH, gdt::get(SCRATCH) & !(0xffff << 16) | u64::from(gdt::CODE32) << 16);
    let trap = user.run();
    check!(trap.is(vector::GP, gdt::CODE32.into()), "32-bit code: {trap}");
    Ok(())
}

/// RETF to ring 3 pops RSP and SS.
fn far_return_outward() -> Outcome {
    pages::map_user_code(CODE64_AT, snippet!(64, far_outward: "mov eax, ss" "int3"));
    let trap =
        expect!(BP(0), exec!("push 0x2b; push 0x5678; push 0x33; push rdx; retfq", 0, 0, CODE64_AT, 0));
    check_eq!(trap.rax, USER_DATA, "SS");
    check_eq!(trap.rsp, 0x5678, "RSP");
    check_eq!(trap.cs, USER_CODE64, "CS");
    Ok(())
}
