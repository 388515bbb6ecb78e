//! SYSENTER and SYSEXIT.

use core::arch::global_asm;

use crate::harness::Outcome;
use crate::hw::cpu::{self, flags, msr};
use crate::hw::cpuid;
use crate::hw::gdt::{CODE64, USER_CODE64};
use crate::hw::pages::{self, U, W};
use crate::tests::user::{CODE32_AT, CODE64_AT, User};
use crate::trap::{self, vector};

family!("privilege": sysenter, sysenter_from_compatibility, sysenter_without_segment, sysexit, sysexit_to_compatibility);

global_asm!(
    r#"
    .pushsection .text
sysenter_entry:
    int 0xf0
    .popsection
    .pushsection .bss
    .balign 16
    .skip 512
sysenter_stack_top:
    .popsection
"#
);

unsafe extern "C" {
    fn sysenter_entry();
    static sysenter_stack_top: u8;
}

fn enable() {
    cpu::wrmsr(msr::SYSENTER_CS, CODE64.into());
    cpu::wrmsr(msr::SYSENTER_EIP, sysenter_entry as *const () as u64);
    cpu::wrmsr(msr::SYSENTER_ESP, &raw const sysenter_stack_top as u64);
}

/// Fails unless the entry point was reached as it should.
fn check_entry(trap: &trap::Trap) -> Outcome {
    check!(trap.is(0xf0, 0), "got {trap}");
    check_eq!(trap.cs, CODE64, "CS");
    check_eq!(trap.ss, CODE64 + 8, "SS");
    check_eq!(trap.rsp, &raw const sysenter_stack_top as u64, "RSP");
    check_eq!(trap.rflags & flags::IF, 0, "IF");
    check_eq!(trap.rflags & flags::CF, flags::CF, "CF");
    Ok(())
}

fn sysenter() -> Outcome {
    need!(SEP);
    if cpuid::is_amd() {
        absent!("AMD's CPUs have no SYSENTER in long mode");
    }
    enable();
    let mut user = User::code64(snippet!(64, sysenter64: "sysenter"));
    user.rflags = flags::IF | flags::CF | 2;
    check_entry(&user.run())
}

fn sysenter_from_compatibility() -> Outcome {
    need!(SEP);
    if cpuid::is_amd() {
        absent!("AMD's CPUs have no SYSENTER in long mode");
    }
    enable();
    let mut user = User::code32(snippet!(32, sysenter32: "sysenter"));
    user.rflags = flags::IF | flags::CF | 2;
    check_entry(&user.run())
}

fn sysenter_without_segment() -> Outcome {
    need!(SEP);
    if cpuid::is_amd() {
        absent!("AMD's CPUs have no SYSENTER in long mode");
    }
    enable();
    cpu::wrmsr(msr::SYSENTER_CS, 0);
    let trap = User::code64(snippet!(64, sysenter_null: "sysenter")).run();
    check!(trap.is(vector::GP, 0), "got {trap}");
    Ok(())
}

/// With REX.W to 64-bit mode: RCX is the stack, RDX the target.
fn sysexit() -> Outcome {
    need!(SEP);
    if cpuid::is_amd() {
        absent!("AMD's CPUs have no SYSEXIT in long mode");
    }
    enable();
    pages::map_user_code(CODE64_AT, snippet!(64, sysexit64: "push rax" "int3"));
    pages::map_new(CODE64_AT + 0x1000, U | W);
    let trap = expect!(BP(0), exec!(".byte 0x48, 0x0f, 0x35", 0, CODE64_AT + 0x1800, CODE64_AT, 0));
    check_eq!(trap.cs, USER_CODE64, "CS");
    check_eq!(trap.ss, USER_CODE64 + 8, "SS");
    check_eq!(trap.rsp, CODE64_AT + 0x17f8, "RSP");
    Ok(())
}

fn sysexit_to_compatibility() -> Outcome {
    need!(SEP);
    if cpuid::is_amd() {
        absent!("AMD's CPUs have no SYSEXIT in long mode");
    }
    enable();
    pages::map_user_code(CODE32_AT, snippet!(32, sysexit32: "push eax" "int3"));
    pages::map_new(CODE32_AT + 0x1000, U | W);
    let trap = expect!(BP(0), exec!("sysexit", 0, CODE32_AT + 0x1800, CODE32_AT, 0));
    check_eq!(trap.cs, (CODE64 + 16) | 3, "CS");
    check_eq!(trap.ss, (CODE64 + 24) | 3, "SS");
    check_eq!(trap.rsp, CODE32_AT + 0x17fc, "RSP");
    let trap = User::code64(snippet!(64, sysexit_in_ring3: "sysexit")).run();
    check!(trap.is(vector::GP, 0), "in ring 3: {trap}");
    Ok(())
}
