//! String instructions, repeated, reversed and interrupted by faults.

use crate::harness::Outcome;
use crate::hw::cpu::flags::{CF, DF, STATUS, ZF};
use crate::hw::pages::{self, HIGH, W};
use crate::tests::memory::{load, store};
use crate::trap::{self, vector};

family!("integer":
    movs, stos_lods, backwards, repeat_zero_times, repeat_with_ecx, scas, cmps,
    movs_fault, movs_restart, stos_fault_backwards, overlapping_movs, segment_override,
);

fn movs() -> Outcome {
    let at = pages::frame();
    for index in 0..64u64 {
        store(at + index, index as u8);
    }
    let got = exec!("rep movsb", 0, 13, 0, STATUS; at, at + 1001);
    check_eq!(got.rcx, 0, "RCX");
    check_eq!(got.rsi, at + 13, "RSI");
    check_eq!(got.rdi, at + 1014, "RDI");
    check_eq!(got.flags & STATUS, STATUS, "flags");
    check_eq!(load::<u64>(at + 1001), 0x0706_0504_0302_0100u64, "bytes moved");
    check_eq!(load::<u8>(at + 1014), 0, "byte behind");
    let got = exec!("rep movsq", 0, 3, 0, 0; at, at + 2000);
    check_eq!(got.rsi, at + 24, "RSI after movsq");
    check_eq!(load::<u64>(at + 2016), 0x1716_1514_1312_1110u64, "last word of movsq");
    let got = exec!("movsw", 0, 3, 0, 0; at, at + 3000);
    check_eq!(got.rcx, 3, "RCX after movsw without REP");
    check_eq!(got.rdi, at + 3002, "RDI after movsw");
    Ok(())
}

fn stos_lods() -> Outcome {
    let at = pages::frame();
    let got = exec!("rep stosd", 0xaabb_ccdd_1122_3344u64, 3, 0, 0; 0, at);
    check_eq!(got.rdi, at + 12, "RDI");
    check_eq!(load::<u64>(at + 4), 0x1122_3344_1122_3344u64, "words stored");
    check_eq!(load::<u32>(at + 12), 0, "word behind");
    store(at, 0x8877_6655_4433_2211u64);
    check_eq!(exec!("lodsd", u64::MAX, 0, 0, 0; at).rax, 0x4433_2211, "lodsd");
    check_eq!(exec!("lodsw", u64::MAX, 0, 0, 0; at).rax, 0xffff_ffff_ffff_2211u64, "lodsw");
    let got = exec!("rep lodsb", 0, 8, 0, 0; at);
    check_eq!(got.rax, 0x88, "rep lodsb");
    check_eq!(got.rsi, at + 8, "RSI after rep lodsb");
    Ok(())
}

fn backwards() -> Outcome {
    let at = pages::frame();
    store(at, 0x0807_0605_0403_0201u64);
    let got = exec!("rep movsw", 0, 4, 0, DF; at + 6, at + 106);
    check_eq!(got.rsi, at - 2, "RSI");
    check_eq!(got.rdi, at + 98, "RDI");
    check_eq!(load::<u64>(at + 100), 0x0807_0605_0403_0201u64, "words moved");
    // An overlapping forward copy repeats its first byte; the backward one does not.
    exec!("rep movsb", 0, 7, 0, DF; at + 6, at + 7);
    check_eq!(load::<u64>(at), 0x0706_0504_0302_0101u64, "overlap");
    Ok(())
}

fn overlapping_movs() -> Outcome {
    let at = pages::frame();
    store(at, 0x55u8);
    exec!("rep movsb", 0, 4000, 0, 0; at, at + 1);
    check_eq!(load::<u64>(at + 3993), 0x5555_5555_5555_5555u64, "pattern");
    check_eq!(load::<u8>(at + 4001), 0, "byte behind");
    store(at, 0x0102_0304u32);
    exec!("rep movsb", 0, 8, 0, 0; at, at + 3);
    check_eq!(load::<u64>(at), 0x0304_0203_0402_0304u64, "period of three");
    Ok(())
}

/// With RCX zero nothing is touched, not even an unmapped page, and no flag changes.
fn repeat_zero_times() -> Outcome {
    let got = exec!("rep movsb", 0, 0, 0, 0; HIGH, HIGH + 4096);
    check_eq!(got.rsi, HIGH, "RSI");
    let got = exec!("repe cmpsb", 0, 0, 0, STATUS & !ZF; HIGH, HIGH);
    check_eq!(got.flags & STATUS, STATUS & !ZF, "flags after repe cmpsb");
    exec!("rep stosq", 0, 0, 0, 0; 0, HIGH);
    exec!("repne scasb", 0, 0, 0, 0; 0, HIGH);
    Ok(())
}

/// A 32-bit address size counts ECX and moves ESI and EDI.
fn repeat_with_ecx() -> Outcome {
    let at = pages::frame();
    store(at, 0x1234_5678u32);
    let got = exec!(".byte 0x67; rep movsb", 0, 0x5_0000_0004u64, 0, 0; at | 9 << 32, at + 64);
    check_eq!(load::<u32>(at + 64), 0x1234_5678, "bytes moved");
    check_eq!(got.rcx, 0, "RCX");
    check_eq!(got.rsi, at + 4, "RSI");
    Ok(())
}

fn scas() -> Outcome {
    let at = pages::frame();
    store(at, 0x0000_0000_0042_0000u64);
    let got = exec!("repne scasb", 0x42, 100, 0, 0; 0, at);
    check_eq!(got.rdi, at + 3, "RDI after a match");
    check_eq!(got.rcx, 97, "RCX after a match");
    check_eq!(got.flags & (ZF | CF), ZF, "flags after a match");
    let got = exec!("repne scasb", 0x99, 8, 0, 0; 0, at);
    check_eq!(got.rcx, 0, "RCX without a match");
    check_eq!(got.flags & ZF, 0, "ZF without a match");
    let got = exec!("repe scasw", 0, 8, 0, 0; 0, at);
    check_eq!(got.rdi, at + 4, "RDI after repe scasw");
    // AX - [DI] is 0 - 42h: a borrow.
    check_eq!(got.flags & (CF | ZF), CF, "flags after repe scasw");
    Ok(())
}

fn cmps() -> Outcome {
    let at = pages::frame();
    store(at, 0x0000_0005_0000_0001u64);
    store(at + 64, 0x0000_0004_0000_0001u64);
    let got = exec!("repe cmpsd", 0, 10, 0, 0; at, at + 64);
    check_eq!(got.rcx, 8, "RCX");
    check_eq!(got.rsi, at + 8, "RSI");
    // [RSI] - [RDI] is 5 - 4: no borrow.
    check_eq!(got.flags & (CF | ZF), 0, "flags");
    let got = exec!("repne cmpsb", 0, 10, 0, 0; at + 4, at + 64);
    check_eq!(got.rcx, 8, "RCX after repne cmpsb");
    check_eq!(got.flags & ZF, ZF, "ZF after repne cmpsb");
    Ok(())
}

/// A fault in the middle leaves the registers at the element that faulted.
fn movs_fault() -> Outcome {
    let source = pages::frame();
    let target = pages::map_new(HIGH, W);
    store(source, 0x1111_2222_3333_4444u64);
    let trap = expect!(PF(2), exec!("rep movsd", 0, 100, 0, 0; source, HIGH + 4096 - 8));
    check_eq!(trap.cr2, HIGH + 4096, "CR2");
    check_eq!(trap.rcx, 98, "RCX");
    check_eq!(trap.rsi, source + 8, "RSI");
    check_eq!(trap.rdi, HIGH + 4096, "RDI");
    check_eq!(load::<u64>(target + 4088), 0x1111_2222_3333_4444u64, "what was moved");
    // And an element that itself crosses into the missing page is not moved at all.
    let trap = expect!(PF(2), exec!("rep movsq", 0, 2, 0, 0; source, HIGH + 4096 - 4));
    check_eq!(trap.rcx, 2, "RCX of a crossing element");
    check_eq!(trap.cr2, HIGH + 4096, "CR2 of a crossing element");
    Ok(())
}

/// A handler that maps the page and returns lets the instruction run to its end.
fn movs_restart() -> Outcome {
    let source = pages::frame();
    for index in 0..512u64 {
        store(source + index * 8, index);
    }
    trap::handle(vector::PF, |frame| {
        let page = frame.cr2 & !4095;
        pages::map_new(page, W);
    });
    let got = exec!("rep movsq", 0, 512, 0, 0; source, HIGH + 2048);
    check_eq!(trap::count(vector::PF), 2, "faults taken");
    check_eq!(got.rcx, 0, "RCX");
    check_eq!(got.rdi, HIGH + 2048 + 4096, "RDI");
    for index in [0u64, 255, 256, 511] {
        check_eq!(load::<u64>(HIGH + 2048 + index * 8), index, "word {index}");
    }
    Ok(())
}

fn stos_fault_backwards() -> Outcome {
    pages::map_new(HIGH + 4096, W);
    let trap = expect!(PF(2), exec!("rep stosb", 0x77, 4097, 0, DF; 0, HIGH + 8191));
    check_eq!(trap.cr2, HIGH + 4095, "CR2");
    check_eq!(trap.rcx, 1, "RCX");
    check_eq!(trap.rdi, HIGH + 4095, "RDI");
    check_eq!(trap.rflags & DF, DF, "DF in the frame");
    check_eq!(load::<u64>(HIGH + 4096), 0x7777_7777_7777_7777u64, "what was stored");
    Ok(())
}

/// The source segment can be overridden, the destination's cannot.
fn segment_override() -> Outcome {
    let at = pages::frame();
    store(at + 0x100, 0x42u8);
    crate::hw::cpu::wrmsr(crate::hw::cpu::msr::FS_BASE, 0x100);
    exec!(".byte 0x64; movsb", 0, 0, 0, 0; at, at + 0x200);
    check_eq!(load::<u8>(at + 0x200), 0x42, "byte moved through FS");
    let got = exec!("xor eax, eax; .byte 0x64; lodsb", 0, 0, 0, 0; at);
    check_eq!(got.rax, 0x42, "byte loaded through FS");
    Ok(())
}
