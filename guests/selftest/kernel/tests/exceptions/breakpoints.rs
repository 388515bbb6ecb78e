//! Debug registers: breakpoints on data and on instructions.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr4_bits, flags};
use crate::hw::pages;
use crate::tests::memory::load;
use crate::trap::{self, vector};

global_asm!(
    ".pushsection .text",
    "breakpoint_here:",
    "xor eax, eax",
    "breakpoint_target:",
    "inc eax",
    "ret",
    ".popsection"
);

family!("exceptions":
    data_write, data_read, data_length, data_crossing, io_breakpoint, instruction, general_detect, aliases_dr4_dr5,
    data_in_string,
);

static DR6: AtomicU64 = AtomicU64::new(0);
static RIP: AtomicU64 = AtomicU64::new(0);

fn record(frame: &mut trap::Frame) {
    DR6.store(frame.dr6, Ordering::Relaxed);
    RIP.store(frame.rip, Ordering::Relaxed);
    cpu::set_dr6(0xffff_0ff0);
}

/// Arms breakpoint `number` (0 to 3) at `address`: `kind` 0 execute, 1 write, 2 I/O, 3 access;
/// `length` as DR7 encodes it (0, 1, 3, 2 for 1, 2, 4, 8 bytes).
fn arm(number: u32, address: u64, kind: u64, length: u64) {
    trap::handle(vector::DB, record);
    // SAFETY: debug registers only watch.
    unsafe {
        match number {
            0 => asm!("mov dr0, {}", in(reg) address),
            1 => asm!("mov dr1, {}", in(reg) address),
            2 => asm!("mov dr2, {}", in(reg) address),
            _ => asm!("mov dr3, {}", in(reg) address),
        }
    }
    cpu::set_dr6(0xffff_0ff0);
    cpu::set_dr7(0x400 | 2 << (number * 2) | (kind | length << 2) << (16 + number * 4));
}

fn hits() -> u32 {
    trap::count(vector::DB)
}

/// A trap after the write, with the breakpoint's bit in DR6.
fn data_write() -> Outcome {
    for number in 0..4 {
        let at = pages::frame();
        arm(number, at + 8, 1, 3);
        exec!("mov eax, [rdx + 8]", 0, 0, at, 0);
        check_eq!(hits(), 0, "hits of breakpoint {number} after a read");
        exec!("mov [rdx + 12], eax; mov [rdx + 4], eax", 0, 0, at, 0);
        check_eq!(hits(), 0, "hits of breakpoint {number} after writes beside it");
        let got = exec!("mov [rdx + 8], eax; lea rcx, [rip]; nop", 0, 0, at, 0);
        check_eq!(hits(), 1, "hits of breakpoint {number}");
        // RIP is that of the instruction behind the store, the 7-byte LEA.
        check_eq!(RIP.load(Ordering::Relaxed), got.rcx - 7, "RIP of breakpoint {number}");
        check_eq!(DR6.load(Ordering::Relaxed) & 0xe00f, 1 << number, "DR6 of breakpoint {number}");
    }
    Ok(())
}

fn data_read() -> Outcome {
    let at = pages::frame();
    arm(1, at, 3, 0);
    exec!("mov al, [rdx]; nop", 0, 0, at, 0);
    check_eq!(hits(), 1, "hits after a read");
    exec!("mov [rdx], al; nop", 0, 0, at, 0);
    check_eq!(hits(), 2, "hits after a write");
    exec!("lea rax, [rdx]; prefetcht0 [rdx]; nop", 0, 0, at, 0);
    check_eq!(hits(), 2, "hits after no access");
    Ok(())
}

fn data_length() -> Outcome {
    for (length, bytes) in [(0, 1), (1, 2), (3, 4), (2, 8)] {
        let at = pages::frame() + 64;
        arm(0, at, 1, length);
        for offset in 0..16u64 {
            let before = hits();
            exec!("mov byte ptr [rdx], 0; nop", 0, 0, at - 4 + offset, 0);
            let inside = (4..4 + bytes).contains(&offset);
            check_eq!(hits() - before, u32::from(inside), "byte {offset} with length {bytes}");
        }
    }
    Ok(())
}

/// An access that touches any watched byte hits.
fn data_crossing() -> Outcome {
    let at = pages::frame() + 64;
    arm(2, at, 1, 3);
    exec!("mov [rdx - 7], rax; nop", 0, 0, at, 0);
    check_eq!(hits(), 1, "hits of a word that ends in the range");
    exec!("mov [rdx - 8], rax; nop", 0, 0, at, 0);
    check_eq!(hits(), 1, "hits of a word that ends before the range");
    exec!("mov [rdx + 3], rax; nop", 0, 0, at, 0);
    check_eq!(hits(), 2, "hits of a word that starts at its last byte");
    Ok(())
}

/// REP traps after the element that hit.
fn data_in_string() -> Outcome {
    let at = pages::frame();
    arm(0, at + 5, 1, 0);
    let got = exec!("rep stosb; nop", 1, 10, 0, 0; 0, at);
    check_eq!(hits(), 1, "hits");
    check_eq!(got.rcx, 0, "RCX at the end");
    check_eq!(load::<u8>(at + 9), 1, "last byte");
    Ok(())
}

/// With CR4.DE, kind 2 watches a port.
fn io_breakpoint() -> Outcome {
    need!(DE);
    cpu::set_cr4(cpu::cr4() | cr4_bits::DE);
    arm(0, 0x80, 2, 0);
    exec!("out 0x80, al; nop", 0, 0, 0, 0);
    check_eq!(hits(), 1, "hits");
    exec!("in al, 0x84; nop", 0, 0, 0, 0);
    check_eq!(hits(), 1, "hits after another port");
    Ok(())
}

/// A fault before the instruction, which RF lets pass once.
fn instruction() -> Outcome {
    unsafe extern "C" {
        fn breakpoint_here();
        fn breakpoint_target();
    }
    let (here, target) = (breakpoint_here as *const () as u64, breakpoint_target as *const () as u64);
    arm(0, target, 0, 0);
    trap::handle(vector::DB, |frame| {
        record(frame);
        frame.rflags |= flags::RF;
    });
    for round in 1..=2 {
        let got = exec!("call rcx", 0, here, 0, 0);
        check_eq!(got.rax, 1, "result in round {round}");
        check_eq!(hits(), round, "hits in round {round}");
        check_eq!(RIP.load(Ordering::Relaxed), target, "RIP in round {round}");
    }
    check_eq!(DR6.load(Ordering::Relaxed) & 0xe00f, 1, "DR6");
    Ok(())
}

/// DR7.GD makes any access to a debug register fault, and is cleared on the way in.
fn general_detect() -> Outcome {
    wrong_in_tcg!("ignores DR7.GD");
    trap::handle(vector::DB, |frame| {
        frame.rdx = cpu::dr7();
        frame.rip += 3;
        record(frame);
    });
    let got = exec!("mov eax, 0x2400; mov dr7, rax; mov rax, dr0; nop", 0, 0, 0, 0);
    check_eq!(hits(), 1, "hits");
    check_eq!(got.rdx, 0x400, "DR7 in the handler");
    check_eq!(DR6.load(Ordering::Relaxed) & 0xe00f, 0x2000, "BD in DR6");
    Ok(())
}

/// DR4 and DR5 are DR6 and DR7 unless CR4.DE is set.
fn aliases_dr4_dr5() -> Outcome {
    need!(DE);
    cpu::set_dr6(0xffff_0ff0);
    check_eq!(exec!(".byte 0x0f, 0x21, 0xe0", 0, 0, 0, 0).rax, cpu::dr6(), "DR4");
    check_eq!(exec!(".byte 0x0f, 0x21, 0xe8", 0, 0, 0, 0).rax, cpu::dr7(), "DR5");
    cpu::set_cr4(cpu::cr4() | cr4_bits::DE);
    expect!(UD(0), exec!(".byte 0x0f, 0x21, 0xe0", 0, 0, 0, 0));
    Ok(())
}
