//! SYSCALL and SYSRET.
//!
//! The entry point records what it finds and returns by SYSRET.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::cpu::{self, flags, msr};
use crate::hw::gdt::{CODE64, USER_CODE32, USER_CODE64, USER_DATA};
use crate::hw::pages;
use crate::tests::memory::load;
use crate::tests::user::{CODE32_AT, CODE64_AT, User};
use crate::trap::{self, vector};

family!("privilege":
    syscall_needs_sce, syscall_registers, syscall_mask, sysret_flags, sysret_to_compatibility, sysret_needs_ring_0, syscall_step,
    syscall_keeps_interrupts_out,
);

global_asm!(
    r#"
    .pushsection .text
syscall_entry:
    mov [rip + syscall_rsp], rsp
    lea rsp, [rip + syscall_stack_top]
    pushfq
    pop [rip + syscall_flags]
    mov [rip + syscall_rcx], rcx
    mov [rip + syscall_r11], r11
    mov [rip + syscall_cs], cs
    mov [rip + syscall_ss], ss
    mov rsp, [rip + syscall_rsp]
    sysretq
    .popsection
    .pushsection .bss
    .balign 16
    .skip 256
syscall_stack_top:
syscall_rsp: .quad 0
syscall_flags: .quad 0
syscall_rcx: .quad 0
syscall_r11: .quad 0
syscall_cs: .quad 0
syscall_ss: .quad 0
    .popsection
"#
);

unsafe extern "C" {
    fn syscall_entry();
    static syscall_flags: AtomicU64;
    static syscall_rcx: AtomicU64;
    static syscall_r11: AtomicU64;
    static syscall_cs: AtomicU64;
    static syscall_ss: AtomicU64;
}

/// A value the entry point recorded.
macro_rules! recorded {
    ($name:ident) => {
        // SAFETY: a word of our own.
        unsafe { $name.load(Ordering::Relaxed) }
    };
}

/// Sets the MSRs up; `mask` is FMASK.
fn enable(mask: u64) {
    cpu::wrmsr(msr::EFER, cpu::rdmsr(msr::EFER) | 1);
    cpu::wrmsr(msr::STAR, u64::from(USER_CODE32) << 48 | u64::from(CODE64) << 32);
    cpu::wrmsr(msr::LSTAR, syscall_entry as *const () as u64);
    cpu::wrmsr(msr::FMASK, mask);
}

/// SYSCALL, then INT3.
fn caller() -> User {
    User::code64(snippet!(64, syscall_caller: "nop" "syscall" "int3"))
}

fn syscall_needs_sce() -> Outcome {
    need!(SYSCALL);
    let trap = caller().run();
    check!(trap.is(vector::UD, 0), "got {trap}");
    expect!(UD(0), exec!("sysretq", 0, 0, 0, 0));
    Ok(())
}

fn syscall_registers() -> Outcome {
    need!(SYSCALL);
    enable(0);
    let mut user = caller();
    user.rflags = flags::STATUS | flags::DF | 2;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(recorded!(syscall_rcx), CODE64_AT + 3, "RCX at the entry point");
    check_eq!(recorded!(syscall_r11), user.rflags, "R11 at the entry point");
    check_eq!(recorded!(syscall_cs) as u16, CODE64, "CS at the entry point");
    check_eq!(recorded!(syscall_ss) as u16, CODE64 + 8, "SS at the entry point");
    check_eq!(trap.cs, USER_CODE64, "CS after SYSRET");
    check_eq!(trap.ss, USER_DATA, "SS after SYSRET");
    check_eq!(trap.rip, CODE64_AT + 4, "RIP after INT3");
    check_eq!(trap.rsp, user.rsp, "RSP");
    check_eq!(trap.rflags, user.rflags, "flags after SYSRET");
    Ok(())
}

fn syscall_mask() -> Outcome {
    need!(SYSCALL);
    let mask = flags::DF | flags::CF | flags::NT | flags::AC | flags::IF;
    enable(mask);
    let mut user = caller();
    user.rflags = flags::DF | flags::CF | flags::ZF | flags::AC | 2;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(recorded!(syscall_r11), user.rflags, "R11 at the entry point");
    check_eq!(recorded!(syscall_flags) & mask, 0, "masked flags at the entry point");
    wrong_in_tcg!("clears all status flags");
    check_eq!(recorded!(syscall_flags), flags::ZF | 2, "flags at the entry point");
    Ok(())
}

/// SYSRET takes the flags from R11, without RF and VM, and reserved bits as they must be.
fn sysret_flags() -> Outcome {
    need!(SYSCALL);
    enable(0);
    pages::map_user_code(CODE64_AT, snippet!(64, sysret_target: "int3"));
    for (r11, want) in [
        (0u64, 2u64),
        (flags::STATUS | flags::ID | flags::NT, flags::STATUS | flags::ID | flags::NT | 2),
        (flags::RF | 1 << 17 | 1 << 3 | 1 << 15, 2),
    ] {
        if r11 & flags::RF != 0 {
            wrong_in_tcg!("keeps RF and VM");
        }
        let trap = expect!(BP(0), exec!("mov r11, rsi; sysretq", 0, CODE64_AT, 0, 0; r11));
        check_eq!(trap.rflags, want, "flags for R11 = {r11:#x}");
    }
    Ok(())
}

fn sysret_to_compatibility() -> Outcome {
    need!(SYSCALL);
    enable(0);
    pages::map_user_code(CODE32_AT, snippet!(32, sysret_compat: "mov eax, 0x1234" "int3"));
    let trap =
        expect!(BP(0), exec!("mov r11d, 2; sysret", u64::MAX, 0xffff_ffff_0000_0000u64 | CODE32_AT, 0, 0));
    check_eq!(trap.cs, USER_CODE32, "CS");
    check_eq!(trap.ss, USER_DATA, "SS");
    check_eq!(trap.rip, CODE32_AT + 6, "RIP");
    check_eq!(trap.rax, 0x1234, "RAX");
    Ok(())
}

fn sysret_needs_ring_0() -> Outcome {
    need!(SYSCALL);
    enable(0);
    let trap = User::code64(snippet!(64, sysret_in_ring3: "sysretq")).run();
    check!(trap.is(vector::GP, 0), "got {trap}");
    Ok(())
}

/// With TF masked, a single step sees SYSCALL to SYSRET as one instruction.
fn syscall_step() -> Outcome {
    static STEPS: AtomicU64 = AtomicU64::new(0);
    STEPS.store(0, Ordering::Relaxed);
    need!(SYSCALL);
    enable(flags::TF);
    trap::handle(vector::DB, |frame| {
        // The addresses' low digits, one after the other.
        STEPS.store(STEPS.load(Ordering::Relaxed) << 4 | frame.rip & 15, Ordering::Relaxed);
        cpu::set_dr6(0xffff_0ff0);
    });
    let mut user = caller();
    user.rflags |= flags::TF;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    // Behind NOP (at 1) and behind SYSCALL (at 3); INT3 clears TF.
    check_eq!(STEPS.load(Ordering::Relaxed), 0x13, "addresses of the traps");
    check_eq!(load::<u8>(CODE64_AT + 3), 0xcc, "INT3");
    Ok(())
}

fn syscall_keeps_interrupts_out() -> Outcome {
    need!(SYSCALL);
    enable(flags::IF);
    let mut user = caller();
    user.rflags |= flags::IF;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(recorded!(syscall_flags) & flags::IF, 0, "IF at the entry point");
    check_eq!(trap.rflags & flags::IF, flags::IF, "IF after SYSRET");
    Ok(())
}
