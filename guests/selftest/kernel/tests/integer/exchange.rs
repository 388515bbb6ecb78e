//! Exchanges: XCHG, XADD, CMPXCHG and its wide forms, LOCK.

use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, OF, PF, SF, STATUS, ZF};
use crate::hw::pages::{self, HIGH};
use crate::tests::memory::{load, store};

family!("integer": xchg, xadd, cmpxchg, cmpxchg_writes_always, cmpxchg8b, cmpxchg16b, lock_forms, lock_is_refused, lock_mov_is_refused);

fn xchg() -> Outcome {
    let got = exec!("xchg eax, ecx", u64::MAX, 0x1_0000_0002u64, 0, STATUS);
    check_eq!(got.rax, 2, "eax after xchg");
    check_eq!(got.rcx, 0xffff_ffffu64, "ecx after xchg");
    check_eq!(got.flags & STATUS, STATUS, "flags after xchg");
    // 90 is a NOP and keeps the upper half; 41 90 is XCHG R8D, EAX.
    check_eq!(exec!(".byte 0x90", u64::MAX, 0, 0, 0).rax, u64::MAX, "rax after nop");
    let got = exec!("mov r8d, 7; .byte 0x41, 0x90; mov rcx, r8", 0x1_0000_0009u64, 0, 0, 0);
    check_eq!(got.rax, 7, "eax after xchg r8d, eax");
    check_eq!(got.rcx, 9, "r8 after xchg r8d, eax");
    let at = pages::frame();
    store(at, 0x1111_2222u64);
    let got = exec!("xchg [rdx], ax", 0xabcd, 0, at, 0);
    check_eq!(got.rax, 0x2222, "ax after xchg with memory");
    check_eq!(load::<u64>(at), 0x1111_abcd, "memory after xchg");
    Ok(())
}

fn xadd() -> Outcome {
    let got = exec!("xadd al, cl", 0x1ff, 0x201, 0, 0);
    check_eq!(got.rax, 0x100, "al after xadd");
    check_eq!(got.rcx, 0x2ff, "cl after xadd");
    check_eq!(got.flags & (CF | ZF | SF), CF | ZF, "flags of xadd");
    let got = exec!("xadd rax, rax", 21, 0, 0, 0);
    check_eq!(got.rax, 42, "xadd of a register with itself");
    let at = pages::frame();
    store(at, 0x7fff_ffffu64);
    let got = exec!("lock xadd [rdx], ecx", 0, 1, at, 0);
    check_eq!(got.rcx, 0x7fff_ffffu64, "ecx after xadd with memory");
    check_eq!(load::<u64>(at), 0x8000_0000u64, "memory after xadd");
    check_eq!(got.flags & STATUS & !(1 << 4), OF | SF | PF, "flags of xadd with memory");
    Ok(())
}

fn cmpxchg() -> Outcome {
    let got = exec!("cmpxchg ecx, edx", 0xffff_ffff_0000_0005u64, 0xeeee_eeee_0000_0005u64, 7, 0);
    check_eq!(got.flags & ZF, ZF, "ZF of an equal cmpxchg");
    check_eq!(got.rcx, 7, "destination of an equal cmpxchg");
    check_eq!(got.rax, 0xffff_ffff_0000_0005u64, "accumulator of an equal cmpxchg");
    let got = exec!("cmpxchg cx, dx", 0x1_0005, 0x2_0009, 7, 0);
    check_eq!(got.flags & (ZF | CF | SF), CF | SF, "flags of an unequal cmpxchg");
    check_eq!(got.rcx, 0x2_0009, "destination of an unequal cmpxchg");
    check_eq!(got.rax, 0x1_0009, "accumulator of an unequal cmpxchg");
    let got = exec!("cmpxchg ecx, edx", 1, 0x1_0000_0002u64, 7, 0);
    check_eq!(got.rax, 2, "accumulator of an unequal 32-bit cmpxchg");
    Ok(())
}

/// A comparison that fails writes the old value back, so a read-only page faults either way.
fn cmpxchg_writes_always() -> Outcome {
    let physical = pages::map_new(HIGH, 0);
    store(physical, 5u64);
    let trap = expect!(PF(3), exec!("cmpxchg [rdx], rcx", 1, 2, HIGH, 0));
    check_eq!(trap.cr2, HIGH, "CR2");
    check_eq!(trap.rax, 1, "RAX after the fault");
    expect!(PF(3), exec!("cmpxchg8b [rsi]", 1, 2, 0, 0; HIGH));
    check_eq!(load::<u64>(physical), 5, "memory");
    Ok(())
}

fn cmpxchg8b() -> Outcome {
    need!(CX8);
    let at = pages::frame();
    store(at, 0x2222_2222_1111_1111u64);
    let code = |a: u64, d: u64| {
        exec!(
            "mov r9, rbx; mov ebx, 0x33333333; lock cmpxchg8b [rsi]; mov rbx, r9",
            a, 0x4444_4444u64, d, STATUS & !ZF; at
        )
    };
    let got = code(1, 2);
    check_eq!(got.flags & STATUS, STATUS & !ZF, "flags of an unequal cmpxchg8b");
    check_eq!(got.rax, 0x1111_1111, "eax of an unequal cmpxchg8b");
    check_eq!(got.rdx, 0x2222_2222, "edx of an unequal cmpxchg8b");
    let got = code(0x1111_1111, 0x2222_2222);
    check_eq!(got.flags & STATUS, STATUS, "flags of an equal cmpxchg8b");
    check_eq!(load::<u64>(at), 0x4444_4444_3333_3333u64, "memory of an equal cmpxchg8b");
    expect!(UD, exec!(".byte 0x0f, 0xc7, 0xc8", 0, 0, 0, 0));
    Ok(())
}

fn cmpxchg16b() -> Outcome {
    need!(CX16);
    let at = pages::frame();
    store(at, 0x1111u64);
    store(at + 8, 0x2222u64);
    let code = |a: u64, d: u64, at: u64| {
        exec!(
            "mov r9, rbx; mov ebx, 0x3333; lock cmpxchg16b [rsi]; mov rbx, r9",
            a, 0x4444, d, 0; at
        )
    };
    let got = code(1, 2, at);
    check_eq!(got.flags & ZF, 0, "ZF of an unequal cmpxchg16b");
    check_eq!(got.rax, 0x1111, "rax of an unequal cmpxchg16b");
    check_eq!(got.rdx, 0x2222, "rdx of an unequal cmpxchg16b");
    let got = code(0x1111, 0x2222, at);
    check_eq!(got.flags & ZF, ZF, "ZF of an equal cmpxchg16b");
    check_eq!(load::<u64>(at), 0x3333, "low half");
    check_eq!(load::<u64>(at + 8), 0x4444, "high half");
    expect!(GP(0), code(0, 0, at + 8));
    Ok(())
}

fn lock_forms() -> Outcome {
    let at = pages::frame();
    let got = exec!(
        "lock add qword ptr [rdx], rcx; lock sub qword ptr [rdx], 1; lock or qword ptr [rdx], 0x100
         lock and qword ptr [rdx], -2; lock xor qword ptr [rdx], 0x10; lock inc qword ptr [rdx]
         lock dec qword ptr [rdx]; lock not qword ptr [rdx]; lock neg qword ptr [rdx]
         lock adc qword ptr [rdx], 0; mov rax, [rdx]",
        0,
        5,
        at,
        0
    );
    // 5 - 1 = 4; 104h; 104h; 114h; not and neg make 115h; the carry of NEG makes 116h.
    check_eq!(got.rax, 0x116, "after a row of locked operations");
    Ok(())
}

/// LOCK is for read-modify-write of memory alone.
fn lock_is_refused() -> Outcome {
    let at = pages::frame();
    expect!(UD, exec!(".byte 0xf0; add eax, ecx", 0, 0, at, 0));
    expect!(UD, exec!(".byte 0xf0; add eax, [rdx]", 0, 0, at, 0));
    expect!(UD, exec!(".byte 0xf0; cmp [rdx], eax", 0, 0, at, 0));
    expect!(UD, exec!(".byte 0xf0; nop", 0, 0, at, 0));
    Ok(())
}

/// The manual allows LOCK for a list of instructions that MOV, BT and SHL are not on.
fn lock_mov_is_refused() -> Outcome {
    wrong_in_tcg!("executes LOCK MOV, LOCK BT and LOCK SHL");
    let at = pages::frame();
    expect!(UD, exec!(".byte 0xf0; mov [rdx], eax", 0, 0, at, 0));
    expect!(UD, exec!(".byte 0xf0; bt [rdx], eax", 0, 0, at, 0));
    expect!(UD, exec!(".byte 0xf0; shl dword ptr [rdx], 1", 0, 0, at, 0));
    Ok(())
}
