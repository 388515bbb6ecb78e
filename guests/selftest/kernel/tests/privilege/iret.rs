//! IRET in 64-bit mode.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::cpu::flags;
use crate::hw::gdt::{CODE64, DATA, USER_CODE32, USER_CODE64, USER_DATA};
use crate::hw::pages::{self, HIGH, W};
use crate::tests::user::User;
use crate::trap::{self, vector};

family!("privilege":
    iret_same_ring, iret_pops_stack_always, iret_to_ring3_flags, iret_to_compatibility, iret_bad_selectors, iret_nt, iret_narrow,
    iret_non_canonical, iret_step, iret_clears_segments,
);

/// IRETQ with a frame of RIP (the label 2), CS = RAX, flags = RCX, RSP (as it is), SS = RDX.
macro_rules! iret {
    ($cs:expr, $flags:expr, $ss:expr) => {
        exec!(
            "mov r8, rsp; lea r9, [rip + 2f]
             push rdx; push r8; push rcx; push rax; push r9; iretq
             2: mov rsp, r8",
            $cs,
            $flags,
            $ss,
            0
        )
    };
}

fn iret_same_ring() -> Outcome {
    let got = iret!(CODE64, flags::STATUS | flags::DF | 2, DATA);
    check_eq!(got.flags & !flags::DF, flags::STATUS | 2, "flags");
    // A null stack segment is allowed in ring 0 of 64-bit mode.
    let got = exec!(
        "mov r8, rsp; lea r9, [rip + 2f]
         push 0; push r8; push 2; push 0x10; push r9; iretq
         2: mov eax, ss; mov ecx, 0x18; mov ss, ecx",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 0, "SS");
    Ok(())
}

/// RSP and SS come from the frame even without a change of ring.
fn iret_pops_stack_always() -> Outcome {
    let stack = pages::map_new(HIGH, W) + 0x800;
    let got = exec!(
        "mov r8, rsp; lea r9, [rip + 2f]
         push 0x18; push rdx; push 2; push 0x10; push r9; iretq
         2: mov rax, rsp; mov rsp, r8",
        0,
        0,
        stack,
        0
    );
    check_eq!(got.rax, stack, "RSP");
    Ok(())
}

fn iret_to_ring3_flags() -> Outcome {
    let mut user = User::code64(snippet!(64, iret_flags: "int3"));
    for rflags in
        [2, flags::STATUS | 2, flags::AC | flags::ID | flags::NT | flags::DF | 2, 3 << 12 | flags::IF | 2]
    {
        user.rflags = rflags;
        let trap = user.run();
        check!(trap.is(vector::BP, 0), "got {trap}");
        check_eq!(trap.rflags, rflags, "flags");
    }
    Ok(())
}

/// The mode comes from the descriptor: 40 is INC EAX there, a REX prefix here.
fn iret_to_compatibility() -> Outcome {
    let mut user =
        User::code32(snippet!(32, iret_compat: "xor eax, eax" ".byte 0x40" "mov ecx, eax" "push ecx" "int3"));
    user.rax = 7;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.cs, USER_CODE32, "CS");
    check_eq!(trap.rcx, 1, "ECX");
    check_eq!(trap.rsp, user.rsp - 4, "RSP");
    Ok(())
}

fn iret_bad_selectors() -> Outcome {
    expect!(GP(0), iret!(0, 2, DATA));
    expect!(GP(DATA), iret!(DATA, 2, DATA));
    // To an inner ring's requested privilege from an outer one is impossible, to ring 3 with SS of ring 0 as well.
    expect!(GP(DATA), iret!(USER_CODE64, 2, DATA));
    expect!(GP(0x30), iret!(0x30, 2, DATA));
    expect!(GP(0), iret!(USER_CODE64, 2, 0));
    expect!(GP(USER_DATA & !3), iret!(CODE64, 2, USER_DATA));
    expect!(GP(0xfff8), iret!(0xfff8, 2, DATA));
    Ok(())
}

/// Long mode has no task switches: a set NT faults.
fn iret_nt() -> Outcome {
    expect!(GP(0), exec!("push r11; or dword ptr [rsp], 0x4000; popfq; iretq", 0, 0, 0, 0));
    Ok(())
}

/// Without REX.W the frame has 32-bit slots.
fn iret_narrow() -> Outcome {
    let got = exec!(
        "mov r8, rsp; sub rsp, 64; lea r9, [rip + 2f]
         mov [rsp], r9d; mov dword ptr [rsp + 4], 0x10; mov dword ptr [rsp + 8], 0x47
         mov [rsp + 12], r8d; mov dword ptr [rsp + 16], 0x18
         .byte 0xcf
         2: mov rax, rsp; mov rsp, r8; sub rax, r8",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 0, "RSP against its start");
    Ok(())
}

fn iret_non_canonical() -> Outcome {
    let got = expect!(
        GP(0),
        exec!(
            "mov r8, rsp; push 0x18; push r8; push 2; push 0x10; push rdx; iretq",
            0,
            0,
            0x8000_0000_0000_0000u64,
            0
        )
    );
    check_eq!(got.cs, CODE64, "CS");
    Ok(())
}

/// TF set by IRET traps after the first instruction it returns to.
fn iret_step() -> Outcome {
    static STEPS: AtomicU64 = AtomicU64::new(0);
    STEPS.store(0, Ordering::Relaxed);
    trap::handle(vector::DB, |frame| {
        STEPS.store(STEPS.load(Ordering::Relaxed) << 4 | frame.rip & 15, Ordering::Relaxed);
        crate::hw::cpu::set_dr6(0xffff_0ff0);
    });
    let mut user = User::code64(snippet!(64, iret_stepped: "nop" "xor eax, eax" "int3"));
    user.rflags |= flags::TF;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(STEPS.load(Ordering::Relaxed), 0x13, "addresses of the traps");
    Ok(())
}

/// On the way to an outer ring, data segments of the inner one become null.
fn iret_clears_segments() -> Outcome {
    pages::map_user_code(
        crate::tests::user::CODE64_AT,
        snippet!(64, iret_segments: "mov eax, ds" "mov ecx, es" "mov edx, fs" "int3"),
    );
    let trap = expect!(
        BP(0),
        exec!(
            "mov eax, 0x2b; mov es, eax; mov eax, 0x18; mov fs, eax
         push 0x2b; push rsp; push 2; push 0x33; push rdx; iretq",
            0,
            0,
            crate::tests::user::CODE64_AT,
            0
        )
    );
    check_eq!(trap.rax, 0, "DS of ring 0");
    check_eq!(trap.rcx, USER_DATA, "ES of ring 3");
    check_eq!(trap.rdx, 0, "FS of ring 0");
    Ok(())
}
