//! Faults that an instruction raises by what it is.

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr0_bits, flags};
use crate::hw::pages::{self, HIGH, W};
use crate::tests::memory::load;
use crate::trap;

family!("exceptions":
    invalid_opcode, resume_flag_of_faults, ud0_ud1, int3, int_n, int1, into_is_invalid, removed_in_64_bit,
    overlong_instruction, longest_instruction, non_canonical_data, non_canonical_stack, alignment_check,
    reserved_cr0, reserved_cr3, reserved_cr4, reserved_cr8, reserved_debug_bits, mode_bits, privileged_values,
);

fn invalid_opcode() -> Outcome {
    let trap = expect!(UD(0), exec!("ud2", 0, 0, 0, 0));
    check_eq!(load::<u16>(trap.rip), 0x0b0f, "bytes at RIP");
    check_eq!(trap.cs, 0x10, "CS");
    check_eq!(trap.ss, 0x18, "SS");
    Ok(())
}

/// A fault's frame has RF set, so that the restart is not stopped by its own breakpoint again.
fn resume_flag_of_faults() -> Outcome {
    wrong_in_tcg!("leaves RF clear");
    let trap = expect!(UD(0), exec!("ud2", 0, 0, 0, 0));
    check_eq!(trap.rflags & flags::RF, flags::RF, "RF in the frame of #UD");
    let trap = expect!(PF, exec!("mov rax, [rdx]", 0, 0, HIGH, 0));
    check_eq!(trap.rflags & flags::RF, flags::RF, "RF in the frame of #PF");
    let trap = expect!(GP, exec!("mov ds, ecx", 0, 0xfff8, 0, 0));
    check_eq!(trap.rflags & flags::RF, flags::RF, "RF in the frame of #GP");
    Ok(())
}

fn ud0_ud1() -> Outcome {
    expect!(UD(0), exec!(".byte 0x0f, 0xff, 0xc0", 0, 0, 0, 0));
    expect!(UD(0), exec!(".byte 0x0f, 0xb9, 0xc0", 0, 0, 0, 0));
    // MOV to CS, and to a segment register that is not there.
    expect!(UD(0), exec!(".byte 0x8e, 0xc8", 0, 0, 0, 0));
    expect!(UD(0), exec!(".byte 0x8e, 0xf0", 0, 0, 0, 0));
    // LEA and BOUND-like forms need memory.
    expect!(UD(0), exec!(".byte 0x8d, 0xc0", 0, 0, 0, 0));
    // CR1 and CR5 do not exist.
    expect!(UD(0), exec!(".byte 0x0f, 0x20, 0xc8", 0, 0, 0, 0));
    expect!(UD(0), exec!(".byte 0x0f, 0x20, 0xe8", 0, 0, 0, 0));
    Ok(())
}

/// INT3 is a trap: RIP is behind it.
fn int3() -> Outcome {
    let trap = expect!(BP(0), exec!("int3", 0, 0, 0, 0));
    check_eq!(load::<u8>(trap.rip - 1), 0xcc, "byte before RIP");
    check_eq!(trap.rflags & flags::RF, 0, "RF in the frame of a trap");
    Ok(())
}

/// INT n pushes no error code, even for vectors that have one.
fn int_n() -> Outcome {
    trap::handle(0x80, |frame| frame.rax = 0x1234);
    check_eq!(exec!("int 0x80", 0, 0, 0, 0).rax, 0x1234, "RAX set by the handler");
    check_eq!(trap::count(0x80), 1, "count");
    // INT clears IF and TF in the handler and IRET brings the flags back.
    trap::handle(0x81, |frame| frame.rflags |= flags::CF);
    let got = exec!("int 0x81", 0, 0, 0, flags::ZF);
    check_eq!(got.flags & flags::STATUS, flags::CF | flags::ZF, "flags after IRET");
    Ok(())
}

/// INT1 (ICEBP) is a trap by vector 1 that sets no bit of DR6.
fn int1() -> Outcome {
    wrong_in_tcg!("raises #UD for F1");
    cpu::set_dr6(0xffff_0ff0);
    let trap = expect!(DB, exec!(".byte 0xf1", 0, 0, 0, 0));
    check_eq!(load::<u8>(trap.rip - 1), 0xf1, "byte before RIP");
    check_eq!(trap.dr6 & 0xe00f, 0, "causes in DR6");
    Ok(())
}

fn into_is_invalid() -> Outcome {
    expect!(UD(0), exec!(".byte 0xce", 0, 0, 0, flags::OF));
    Ok(())
}

fn removed_in_64_bit() -> Outcome {
    macro_rules! refused {
        ($($name:literal $($byte:literal),+;)*) => {
            $(expect!(UD(0), exec!(concat!(".byte ", stringify!($($byte),+)), 0, 0, 0, 0));)*
        };
    }
    refused! {
        "push es" 0x06; "pop es" 0x07; "push cs" 0x0e; "push ss" 0x16; "push ds" 0x1e;
        "daa" 0x27; "das" 0x2f; "aaa" 0x37; "aas" 0x3f; "pusha" 0x60; "popa" 0x61;
        "call far immediate" 0x9a, 0, 0, 0, 0, 0, 0; "aam" 0xd4, 10; "aad" 0xd5, 10;
        "salc" 0xd6; "jmp far immediate" 0xea, 0, 0, 0, 0, 0, 0; "alias of group 1" 0x82, 0xc0, 0;
    }
    Ok(())
}

/// 16 bytes are too many, whatever they mean.
fn overlong_instruction() -> Outcome {
    expect!(GP(0), exec!(".skip 15, 0x66; nop", 0, 0, 0, 0));
    expect!(GP(0), exec!(".skip 14, 0x2e; mov eax, ecx", 0, 0, 0, 0));
    Ok(())
}

/// 15 are allowed.
fn longest_instruction() -> Outcome {
    exec!(".skip 14, 0x66; nop", 0, 0, 0, 0);
    check_eq!(exec!(".skip 13, 0x2e; mov eax, ecx", 0, 5, 0, 0).rax, 5, "15-byte mov");
    Ok(())
}

fn non_canonical_data() -> Outcome {
    let bad = 0x0000_8000_0000_0000u64;
    expect!(GP(0), exec!("mov rax, [rdx]", 0, 0, bad, 0));
    expect!(GP(0), exec!("mov [rdx], rax", 0, 0, 0xffff_7fff_ffff_ffffu64, 0));
    // A word that starts canonical, on a page that is there, and ends beyond.
    pages::map_new(bad - 4096, W);
    let trap = expect!(GP(0), exec!("mov rax, [rdx]", 0, 0, bad - 4, 0));
    check_eq!(trap.rdx, bad - 4, "RDX");
    expect!(GP(0), exec!("lock inc qword ptr [rdx]", 0, 0, bad, 0));
    Ok(())
}

/// The same through the stack, or with RBP or RSP as the base, is #SS.
fn non_canonical_stack() -> Outcome {
    wrong_in_tcg!("raises #GP");
    let bad = 0x0000_8000_0000_0008u64;
    expect!(SS(0), exec!("mov r8, rbp; mov rbp, rdx; mov rax, [rbp]; mov rbp, r8", 0, 0, bad, 0));
    expect!(SS(0), exec!("mov r8, rsp; mov rsp, rdx; push rax; mov rsp, r8", 0, 0, bad, 0));
    expect!(SS(0), exec!("mov r8, rsp; mov rsp, rdx; pop rax; mov rsp, r8", 0, 0, bad, 0));
    expect!(SS(0), exec!("mov r8, rsp; mov rsp, rdx; call 2f; 2: mov rsp, r8", 0, 0, bad, 0));
    // An override by FS makes it #GP again.
    expect!(GP(0), exec!("mov r8, rbp; mov rbp, rdx; mov rax, fs:[rbp]; mov rbp, r8", 0, 0, bad, 0));
    Ok(())
}

/// AC and CR0.AM together check alignment in ring 3 only.
fn alignment_check() -> Outcome {
    cpu::set_cr0(cpu::cr0() | cr0_bits::AM);
    let at = pages::map_new(HIGH, W);
    let got = exec!("mov eax, [rdx + 1]", 0, 0, at, flags::AC);
    check_eq!(got.rax, 0, "supervisor load");
    Ok(())
}

fn reserved_cr0() -> Outcome {
    wrong_in_tcg!("ignores what is wrong with a new CR0");
    expect!(GP(0), cpu::set_cr0(cpu::cr0() | 1 << 32));
    // NW needs CD.
    expect!(GP(0), cpu::set_cr0(cpu::cr0() | 1 << 29));
    Ok(())
}

fn reserved_cr3() -> Outcome {
    wrong_in_tcg!("takes reserved bits of CR3 for address bits");
    expect!(GP(0), cpu::set_cr3(cpu::cr3() | 1 << 62));
    Ok(())
}

fn reserved_cr4() -> Outcome {
    wrong_in_tcg!("never ends the MOV");
    expect!(GP(0), cpu::set_cr4(cpu::cr4() | 1 << 31));
    expect!(GP(0), cpu::set_cr4(cpu::cr4() | 1 << 63));
    Ok(())
}

fn reserved_cr8() -> Outcome {
    wrong_in_tcg!("ignores reserved bits of CR8");
    expect!(GP(0), cpu::set_cr8(16));
    Ok(())
}

fn reserved_debug_bits() -> Outcome {
    wrong_in_tcg!("ignores reserved bits of DR6 and DR7");
    expect!(GP(0), cpu::set_dr7(1 << 32));
    expect!(GP(0), cpu::set_dr6(1 << 32));
    Ok(())
}

/// In long mode neither PAE nor protection can be switched off.
fn mode_bits() -> Outcome {
    wrong_in_tcg!("switches them off and is lost");
    expect!(GP(0), cpu::set_cr4(cpu::cr4() & !(1 << 5)));
    expect!(GP(0), cpu::set_cr0(cpu::cr0() & !1));
    Ok(())
}

/// The values read back where some bits are fixed.
fn privileged_values() -> Outcome {
    let cr0 = cpu::cr0();
    cpu::set_cr0(cr0 & !0x10);
    check_eq!(cpu::cr0(), cr0, "CR0 after clearing ET");
    let msw: u64;
    // SAFETY: reads the low half of CR0.
    unsafe { asm!("smsw {}", out(reg) msw) };
    check_eq!(msw as u16, cr0 as u16, "SMSW");
    // LMSW can set PE but not clear it.
    // SAFETY: changes TS alone.
    unsafe { asm!("lmsw {0:x}", in(reg) 8u64) };
    check_eq!(cpu::cr0() & 0xf, 0x9, "CR0 after LMSW of 8");
    // SAFETY: clears TS.
    unsafe { asm!("clts") };
    check_eq!(cpu::cr0() & 0xf, 0x1, "CR0 after CLTS");
    cpu::set_dr6(0);
    check_eq!(cpu::dr6() & 0xffff_0ff0, 0xffff_0ff0, "DR6 after a write of zero");
    cpu::set_dr7(0);
    check_eq!(cpu::dr7(), 0x400, "DR7 after a write of zero");
    Ok(())
}
