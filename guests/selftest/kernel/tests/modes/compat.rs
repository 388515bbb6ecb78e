//! Compatibility mode: 32-bit code under the 64-bit kernel.

use crate::harness::Outcome;
use crate::hw::gdt::{self, SCRATCH, USER_CODE32, USER_CODE64, USER_DATA};
use crate::hw::pages::{self, LOW, U, W};
use crate::modes::data_segment;
use crate::tests::memory::{load, store};
use crate::tests::user::{CODE32_AT, User};
use crate::trap::vector;

family!("modes":
    compat_instructions, compat_upper_halves, compat_limits, compat_to_64_and_back, compat_into_and_bound, compat_far_pointers,
    compat_address_wraps, compat_segment_bases, compat_page_fault, compat_stack_fault, compat_16_bit_code,
);

/// Runs a snippet in compatibility mode; it ends with INT3.
macro_rules! compat {
    ($name:ident: $($line:literal)+) => {
        User::code32(snippet!(32, $name: $($line)+))
    };
}

fn compat_instructions() -> Outcome {
    let mut user = compat!(compat_instructions: ".byte 0x40" "push eax" "pushad" "popad" "pop ecx" "mov edx, esp" "int3");
    user.rax = 0x41;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rcx, 0x42, "ECX");
    check_eq!(trap.rdx, user.rsp, "ESP");
    Ok(())
}

/// Results are zero extended; what 32-bit code cannot name is not lost on the way.
fn compat_upper_halves() -> Outcome {
    let mut user = compat!(compat_upper: "mov eax, -1" "inc ecx" "int3");
    (user.rax, user.rcx) = (u64::MAX, 7);
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rax, 0xffff_ffffu64, "RAX");
    check_eq!(trap.rcx, 8, "RCX");
    Ok(())
}

/// Limits count here, unlike in 64-bit mode.
fn compat_limits() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = LOW + 0x20_0000;
    pages::map_new(at, U | W);
    gdt::set(SCRATCH, data_segment(0x63, at, 0x7ff, 4));
    let mut user = compat!(compat_limits: "mov es, eax" "mov al, es:[ecx]" "int3");
    user.rax = (SCRATCH | 3).into();
    user.rcx = 0x7ff;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "at the limit: {trap}");
    user.rcx = 0x800;
    let trap = user.run();
    check!(trap.is(vector::GP, 0), "beyond the limit: {trap}");
    Ok(())
}

/// A far jump changes the mode, both ways, in ring 3.
fn compat_to_64_and_back() -> Outcome {
    pages::map_user_code(
        CODE32_AT + 0x4000,
        snippet!(64, compat_in_64:
        ".byte 0x48, 0xff, 0xc0"
        "mov r8, -1"
        "mov ecx, cs"
        "push 0x23"
        "push rdx"
        "retfq"),
    );
    let mut user = compat!(compat_in_32:
        "mov edx, esi"
        ".byte 0xea"
        ".long 0x40104000"
        ".short 0x33"
        "nop"
        "mov edi, cs"
        "int3");
    user.rsi = CODE32_AT + 10;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rax, 1, "RAX, incremented in 64-bit mode");
    check_eq!(trap.rcx, USER_CODE64, "CS in 64-bit mode");
    check_eq!(trap.rdi, USER_CODE32, "CS at the end");
    check_eq!(trap.r8, u64::MAX, "R8, kept through compatibility mode");
    Ok(())
}

fn compat_into_and_bound() -> Outcome {
    let trap = compat!(compat_into: "mov al, 0x7f" "inc al" ".byte 0xce" "int3").run();
    check!(trap.is(vector::OF, 0), "into: {trap}");
    let trap = compat!(compat_bound: "push 5" "push 3" "mov eax, 9" "bound eax, [esp]" "int3").run();
    check!(trap.is(vector::BR, 0), "bound: {trap}");
    Ok(())
}

fn compat_far_pointers() -> Outcome {
    let trap =
        compat!(compat_les: "push 0x2b" "push 0x1234" ".byte 0xc4, 0x04, 0x24" "mov ecx, es" "int3").run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rax, 0x1234, "EAX");
    check_eq!(trap.rcx, USER_DATA, "ES");
    Ok(())
}

fn compat_address_wraps() -> Outcome {
    let physical = pages::map_new(LOW + 0x20_0000, U | W);
    store(physical, 0x55u8);
    let mut user = compat!(compat_wraps: "mov al, [ecx + edx]" "int3");
    (user.rcx, user.rdx) = (0x8000_0000, LOW + 0x20_0000 + 0x8000_0000);
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rax & 0xff, 0x55, "byte");
    Ok(())
}

fn compat_segment_bases() -> Outcome {
    let physical = pages::map_new(LOW + 0x20_0000, U | W);
    store(physical + 8, 0x66u8);
    gdt::set(SCRATCH, data_segment(0x63, LOW + 0x20_0000, 0xfff, 4));
    let mut user = compat!(compat_base: "mov fs, eax" "mov ds, eax" "mov cl, fs:[8]" "mov dl, [8]" "int3");
    user.rax = (SCRATCH | 3).into();
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rcx, 0x66, "byte through FS");
    check_eq!(trap.rdx, 0x66, "byte through DS");
    Ok(())
}

fn compat_page_fault() -> Outcome {
    let mut user = compat!(compat_fault: "mov al, [ecx]" "int3");
    user.rcx = LOW + 0x30_0123;
    let trap = user.run();
    check!(trap.is(vector::PF, 4), "got {trap}");
    check_eq!(trap.cr2, LOW + 0x30_0123, "CR2");
    check_eq!(trap.cs, USER_CODE32, "CS");
    Ok(())
}

/// A limited stack segment.
fn compat_stack_fault() -> Outcome {
    wrong_in_tcg!("checks no segment limits");
    let at = LOW + 0x20_0000;
    pages::map_new(at, U | W);
    gdt::set(SCRATCH, data_segment(0x63, at, 0x7ff, 4));
    let mut user = compat!(compat_stack: "push eax" "push eax" "int3");
    user.ss = SCRATCH | 3;
    user.rsp = 0x804;
    let trap = user.run();
    check!(trap.is(vector::SS, 0), "got {trap}");
    user.rsp = 0x800;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "at the limit: {trap}");
    check_eq!(trap.rsp, 0x7f8, "ESP");
    check_eq!(load::<u32>(at + 0x7fc), 0, "double word pushed");
    Ok(())
}

/// A code segment without D runs 16-bit code.
fn compat_16_bit_code() -> Outcome {
    gdt::set(SCRATCH, data_segment(0x6b, CODE32_AT, 0xfff, 0));
    let mut user = User::code32(snippet!(16, compat_16: "mov ax, 0x1234" "mov ecx, 0x56789abc" "int3"));
    user.cs = SCRATCH | 3;
    user.rip = 0;
    user.rax = 0xaaaa_0000;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "got {trap}");
    check_eq!(trap.rax, 0xaaaa_1234u64, "EAX");
    check_eq!(trap.rcx, 0x5678_9abc, "ECX");
    check_eq!(trap.rip, 10, "IP");
    Ok(())
}
