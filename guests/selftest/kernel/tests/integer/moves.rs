//! Moves: extension, partial registers, addresses, conditions.

use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, OF, PF, SF, STATUS, ZF};
use crate::hw::pages::{self, HIGH};
use crate::tests::memory::{load, store};

family!("integer": movsx_movzx, partial_registers, accumulator_extensions, lea, cmov, setcc, xlat, moffs, mov_to_memory);

fn movsx_movzx() -> Outcome {
    let value = 0x0123_4567_89ab_8dffu64;
    check_eq!(exec!("movzx eax, cl", u64::MAX, value, 0, 0).rax, 0xff, "movzx eax, cl");
    check_eq!(exec!("movzx rax, cx", u64::MAX, value, 0, 0).rax, 0x8dff, "movzx rax, cx");
    check_eq!(exec!("movzx ax, ch", 0, value, 0, 0).rax, 0x8d, "movzx ax, ch");
    check_eq!(exec!("movsx ax, cl", 0x10000, value, 0, 0).rax, 0x1ffff, "movsx ax, cl");
    check_eq!(exec!("movsx eax, cx", u64::MAX, value, 0, 0).rax, 0xffff_8dffu64, "movsx eax, cx");
    check_eq!(exec!("movsx rax, cl", 0, value, 0, 0).rax, u64::MAX, "movsx rax, cl");
    check_eq!(exec!("movsxd rax, ecx", 0, value, 0, 0).rax, 0xffff_ffff_89ab_8dffu64, "movsxd rax, ecx");
    // MOVSXD without REX.W moves 32 bits and clears the upper half.
    check_eq!(exec!(".byte 0x63, 0xc1", u64::MAX, value, 0, 0).rax, 0x89ab_8dffu64, "movsxd eax, ecx");
    Ok(())
}

fn partial_registers() -> Outcome {
    let value = 0x0123_4567_89ab_cdefu64;
    check_eq!(exec!("mov eax, 1", value, 0, 0, 0).rax, 1, "mov eax");
    check_eq!(exec!("mov ax, 1", value, 0, 0, 0).rax, 0x0123_4567_89ab_0001u64, "mov ax");
    check_eq!(exec!("mov al, 1", value, 0, 0, 0).rax, 0x0123_4567_89ab_cd01u64, "mov al");
    check_eq!(exec!("mov ah, 1", value, 0, 0, 0).rax, 0x0123_4567_89ab_01efu64, "mov ah");
    check_eq!(exec!("mov ah, ch", value, 0x7700, 0, 0).rax, 0x0123_4567_89ab_77efu64, "mov ah, ch");
    check_eq!(exec!("add ah, al", 0x01ff, 0, 0, 0).rax, 0x00ff, "add ah, al");
    check_eq!(exec!("mov dh, 9", 0, 0, value, 0).rdx, 0x0123_4567_89ab_09efu64, "mov dh");
    // With any REX prefix the same encodings name SPL, BPL, SIL and DIL.
    let got = exec!("mov sil, 5; mov rax, rsi", 0, 0, 0, 0; value);
    check_eq!(got.rax, 0x0123_4567_89ab_cd05u64, "mov sil");
    let got =
        exec!("mov r8, -1; mov r8b, 3; mov r8w, 0x1234; mov rax, r8; mov r8d, 9; mov rcx, r8", 0, 0, 0, 0);
    check_eq!(got.rax, 0xffff_ffff_ffff_1234u64, "mov r8w");
    check_eq!(got.rcx, 9, "mov r8d");
    Ok(())
}

fn accumulator_extensions() -> Outcome {
    check_eq!(exec!("cbw", 0x1_0080, 0, 0, 0).rax, 0x1_ff80, "cbw");
    check_eq!(exec!("cwde", 0x8000, 0, 0, 0).rax, 0xffff_8000u64, "cwde");
    check_eq!(exec!("cdqe", 0x8000_0000u64, 0, 0, 0).rax, 0xffff_ffff_8000_0000u64, "cdqe");
    check_eq!(exec!("cwd", 0x8000, 0, 0x1_0000, 0).rdx, 0x1_ffff, "cwd");
    check_eq!(exec!("cdq", 0x8000_0000u64, 0, 0, 0).rdx, 0xffff_ffffu64, "cdq");
    check_eq!(exec!("cqo", 1u64 << 63, 0, 0, 0).rdx, u64::MAX, "cqo");
    Ok(())
}

fn lea() -> Outcome {
    let got = exec!("lea rax, [rcx + rdx * 8 - 16]", 0, 0x1000, 4, STATUS);
    check_eq!(got.rax, 0x1010, "lea rax");
    check_eq!(got.flags & STATUS, STATUS, "flags after lea");
    check_eq!(exec!("lea rax, [rcx + 2]", 0, u64::MAX, 0, 0).rax, 1, "lea that wraps at 64 bits");
    check_eq!(exec!("lea eax, [rcx + 2]", 0, u64::MAX, 0, 0).rax, 1, "lea cut to 32 bits");
    check_eq!(exec!("lea ax, [rcx + 2]", 0x50000, 0xffff, 0, 0).rax, 0x50001, "lea cut to 16 bits");
    // A 32-bit address size wraps at 32 bits before it is extended.
    check_eq!(
        exec!("lea rax, [ecx + edx * 2]", 0, 0x8000_0000u64, 0x4000_0001u64, 0).rax,
        2,
        "lea [ecx + edx * 2]"
    );
    let got = exec!("lea rax, [rip + 2f]; jmp 2f; ud2; 2: lea rcx, [rip]; sub rcx, rax", 0, 0, 0, 0);
    check_eq!(got.rcx, 7, "RIP-relative address");
    Ok(())
}

type Condition = fn(u64) -> bool;

/// All conditions by the flags they read.
const CONDITIONS: [(u64, Condition); 8] = [
    (0, |f| f & OF != 0),
    (2, |f| f & CF != 0),
    (4, |f| f & ZF != 0),
    (6, |f| f & (CF | ZF) != 0),
    (8, |f| f & SF != 0),
    (10, |f| f & PF != 0),
    (12, |f| (f & SF != 0) != (f & OF != 0)),
    (14, |f| f & ZF != 0 || (f & SF != 0) != (f & OF != 0)),
];

fn setcc() -> Outcome {
    for flags in (0..=STATUS).filter(|flags| flags & !STATUS == 0) {
        let mut bits = 0u64;
        macro_rules! set {
            ($($number:literal $name:literal),*) => {
                $(
                    let got = exec!(concat!($name, " cl"), 0, 0xff00, 0, flags);
                    check_eq!(got.rcx & !1, 0xff00, concat!("register after ", $name));
                    bits |= (got.rcx & 1) << $number;
                )*
            };
        }
        set!(0 "seto", 1 "setno", 2 "setb", 3 "setae", 4 "sete", 5 "setne", 6 "setbe", 7 "seta",
             8 "sets", 9 "setns", 10 "setp", 11 "setnp", 12 "setl", 13 "setge", 14 "setle", 15 "setg");
        for (number, holds) in CONDITIONS {
            let want = if holds(flags) { 1 } else { 2 };
            check_eq!(bits >> number & 3, want, "condition {number} with flags {flags:#x}");
        }
    }
    Ok(())
}

fn cmov() -> Outcome {
    check_eq!(exec!("cmove eax, ecx", u64::MAX, 5, 0, ZF).rax, 5, "cmove taken");
    // Not taken, it still clears the upper half of a 32-bit destination, and still reads memory.
    check_eq!(exec!("cmove eax, ecx", u64::MAX, 5, 0, 0).rax, 0xffff_ffffu64, "cmove not taken");
    check_eq!(exec!("cmove ax, cx", u64::MAX, 5, 0, 0).rax, u64::MAX, "16-bit cmove not taken");
    expect!(PF(0), exec!("cmove eax, [rdx]", 0, 0, HIGH, 0));
    check_eq!(exec!("cmovg rax, rcx", 0, 5, 0, OF | SF).rax, 5, "cmovg");
    Ok(())
}

fn xlat() -> Outcome {
    let at = pages::frame();
    store(at + 0xfe, 0x42u8);
    let got = exec!("mov r8, rbx; mov rbx, rdx; xlatb; mov rbx, r8", 0xaafe, 0, at, 0);
    check_eq!(got.rax, 0xaa42, "xlat");
    Ok(())
}

/// MOV with a 64-bit absolute address.
fn moffs() -> Outcome {
    let physical = pages::frame();
    pages::map(HIGH, physical, pages::W);
    store(physical + 8, 0x1122_3344u64);
    let got = exec!(".byte 0x48, 0xa1; .quad 0x8000000008", 0, 0, 0, 0);
    check_eq!(got.rax, 0x1122_3344, "mov rax, [moffs64]");
    exec!(".byte 0xa2; .quad 0x8000000008", 0x55, 0, 0, 0);
    check_eq!(load::<u64>(physical + 8), 0x1122_3355, "memory after mov [moffs64], al");
    Ok(())
}

fn mov_to_memory() -> Outcome {
    let at = pages::frame();
    store(at, u64::MAX);
    exec!("mov qword ptr [rdx], -2; mov dword ptr [rdx + 8], -2; mov word ptr [rdx + 16], 1", 0, 0, at, 0);
    check_eq!(load::<u64>(at), u64::MAX - 1, "sign-extended immediate");
    check_eq!(load::<u64>(at + 8), 0xffff_fffeu64, "32-bit immediate");
    exec!("mov [rdx + rcx * 2 + 1], ah", 0xab00, 4, at, 0);
    check_eq!(load::<u8>(at + 9), 0xab, "mov from AH");
    check_eq!(exec!("movnti [rdx], rcx; mov rax, [rdx]", 0, 0x1234, at, 0).rax, 0x1234, "movnti");
    Ok(())
}
