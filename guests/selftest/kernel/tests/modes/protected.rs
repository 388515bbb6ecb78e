//! 32-bit protected mode without paging: instructions that 64-bit mode dropped or changed.

use super::{check_end, check_fault};
use crate::harness::Outcome;
use crate::hw::pages;
use crate::modes::{Ended, Excursion, Registers};
use crate::tests::memory::{load, store};

family!("modes":
    protected_inc_dec, protected_push_all, protected_decimal, protected_bound, protected_into, protected_far_pointers, protected_arpl,
    protected_addressing16, protected_loop_and_jcxz, protected_wraps_at_4g, protected_salc, protected_flags, protected_cpuid_lm,
    protected_extensions,
);

/// Runs code with EAX to EDI given.
fn run(registers: Registers, code: &[u8]) -> Ended {
    let mut excursion = Excursion::new();
    excursion.registers = registers;
    excursion.registers.flags |= 2;
    excursion.run(code)
}

fn with(eax: u32, ecx: u32) -> Registers {
    Registers { eax, ecx, ..Default::default() }
}

/// 40 to 4F are INC and DEC here.
fn protected_inc_dec() -> Outcome {
    let code = snippet!(32, inc_dec: ".byte 0x40, 0x40, 0x49" "ret");
    let end = check_end!(run(with(5, 9), code), "inc eax, inc eax, dec ecx");
    check_eq!(end.eax, 7, "EAX");
    check_eq!(end.ecx, 8, "ECX");
    Ok(())
}

fn protected_push_all() -> Outcome {
    let code = snippet!(32, push_all: "mov ebx, esp" "pushad" "mov ecx, [esp + 28]" "mov edx, [esp + 12]" "sub edx, ebx" "mov [esp], edx" "popad" "sub ebx, esp" "ret");
    let end = check_end!(run(with(0x1234, 0), code), "pushad");
    check_eq!(end.edi, 0, "ESP as it was pushed, against ESP before");
    check_eq!(end.eax, 0x1234, "EAX");
    check_eq!(end.ebx, 0, "ESP after popad");
    Ok(())
}

fn protected_decimal() -> Outcome {
    // 79 + 35 = 114 decimal.
    let end = check_end!(run(with(0x79, 0x35), snippet!(32, daa: "add al, cl" "daa" "ret")), "daa");
    check_eq!(end.eax, 0x14, "AL after daa");
    check_eq!(end.flags & 0x11, 0x11, "carries after daa");
    let end = check_end!(run(with(0x12, 0x35), snippet!(32, das: "sub al, cl" "das" "ret")), "das");
    check_eq!(end.eax, 0x77, "AL after das");
    check_eq!(end.flags & 1, 1, "borrow after das");
    let end = check_end!(run(with(0x0008, 0x09), snippet!(32, aaa: "add al, cl" "aaa" "ret")), "aaa");
    check_eq!(end.eax, 0x0107, "AX after aaa");
    let end = check_end!(run(with(0x0203, 0x09), snippet!(32, aas: "sub al, cl" "aas" "ret")), "aas");
    check_eq!(end.eax, 0x0104, "AX after aas");
    let end = check_end!(run(with(63, 0), snippet!(32, aam: "aam" "ret")), "aam");
    check_eq!(end.eax, 0x0603, "AX after aam");
    let end = check_end!(run(with(0x0603, 0), snippet!(32, aad: "aad" "ret")), "aad");
    check_eq!(end.eax, 63, "AX after aad");
    check_fault!(run(with(1, 0), snippet!(32, aam_zero: ".byte 0xd4, 0" "ret")), DE(0), "aam by zero");
    Ok(())
}

fn protected_bound() -> Outcome {
    let at = pages::frame();
    store(at, 5u32);
    store(at + 4, 10u32);
    let code = snippet!(32, bound: "bound eax, [ecx]" "ret");
    for index in [5u32, 10] {
        check_end!(run(with(index, at as u32), code), "bound of {index}");
    }
    for index in [4u32, 11, 0xffff_ffff] {
        let fault = check_fault!(run(with(index, at as u32), code), BR(0), "bound of {index}");
        check_eq!(fault.eip, code.as_ptr() as u32, "EIP");
    }
    Ok(())
}

fn protected_into() -> Outcome {
    let code = snippet!(32, into: "add al, cl" ".byte 0xce" "ret");
    check_end!(run(with(1, 1), code), "into without overflow");
    let fault = check_fault!(run(with(0x7f, 1), code), OF(0), "into with overflow");
    check_eq!(fault.eip, code.as_ptr() as u32 + 3, "EIP behind INTO");
    Ok(())
}

fn protected_far_pointers() -> Outcome {
    let at = pages::frame();
    store(at, 0x1122_3344u32);
    store(at + 4, 0x28u16);
    let code = snippet!(32, les: ".byte 0xc4, 0x01" "mov edx, es" "push ds" "pop es" "ret");
    let end = check_end!(run(with(0, at as u32), code), "les eax, [ecx]");
    check_eq!(end.eax, 0x1122_3344, "EAX");
    check_eq!(end.edx, 0x28, "ES");
    Ok(())
}

fn protected_arpl() -> Outcome {
    let code = snippet!(32, arpl: "arpl ax, cx" "ret");
    let end = check_end!(run(with(0x20, 0x13), code), "arpl that raises");
    check_eq!(end.eax, 0x23, "AX");
    check_eq!(end.flags & 0x40, 0x40, "ZF");
    let end = check_end!(run(with(0x23, 0x11), code), "arpl that does not");
    check_eq!(end.eax, 0x23, "AX");
    check_eq!(end.flags & 0x40, 0, "ZF");
    Ok(())
}

/// 16-bit addresses: BX + SI, BP + disp8, disp16, wrapping at 64 KiB.
fn protected_addressing16() -> Outcome {
    let registers = Registers { ebx: 0x7_4000, esi: 0x9_0100, ebp: 0xfff0, ..Default::default() };
    let code = snippet!(32, addressing16:
        ".byte 0x67, 0x8d, 0x00"
        ".byte 0x67, 0x8d, 0x4e, 0x20"
        ".byte 0x67, 0x8d, 0x16, 0x34, 0x12"
        ".byte 0x67, 0x8d, 0x78, 0xff"
        "ret");
    let end = check_end!(run(registers, code), "lea with 16-bit addresses");
    check_eq!(end.eax, 0x4100, "[bx + si]");
    check_eq!(end.ecx, 0x0010, "[bp + 20h]");
    check_eq!(end.edx, 0x1234, "[1234h]");
    check_eq!(end.edi, 0x40ff, "[bx + si - 1]");
    Ok(())
}

fn protected_loop_and_jcxz() -> Outcome {
    let code = snippet!(32, loop16: "xor eax, eax" "2: inc eax" ".byte 0x67" "loop 2b" "ret");
    let end = check_end!(run(with(0, 0x5_0003), code), "loop with CX");
    check_eq!(end.eax, 3, "rounds");
    check_eq!(end.ecx, 0x5_0000, "ECX");
    Ok(())
}

/// Addresses are sums modulo 2^32.
fn protected_wraps_at_4g() -> Outcome {
    let at = pages::frame();
    store(at, 0x4242u32);
    let registers = Registers { ecx: at as u32 + 0x1000, edx: 0x4000_0000 - 0x400, ..Default::default() };
    let end = check_end!(
        run(registers, snippet!(32, wraps: "mov eax, [ecx + edx * 4]" "ret")),
        "mov eax, [ecx + edx * 4]"
    );
    check_eq!(end.eax, 0x4242, "EAX");
    Ok(())
}

fn protected_salc() -> Outcome {
    let end = check_end!(run(with(0x5500, 0), snippet!(32, salc: "stc" ".byte 0xd6" "ret")), "salc");
    check_eq!(end.eax, 0x55ff, "EAX");
    Ok(())
}

/// Every flag a program may change, in and out; and the ALU's are those of 64-bit mode.
fn protected_flags() -> Outcome {
    for flags in [0x8d5u32, 0x400, 0x4000, 0x4_0000, 0x20_0000] {
        let end = check_end!(
            run(Registers { flags, ..Default::default() }, snippet!(32, flags_nothing: "nop" "ret")),
            "nop"
        );
        check_eq!(end.flags, flags | 2, "flags");
    }
    let end = check_end!(run(with(0x7fff_ffff, 1), snippet!(32, flags_add: "add eax, ecx" "ret")), "add");
    check_eq!(end.flags & 0x8d5, 0x894, "flags of an overflow");
    Ok(())
}

fn protected_cpuid_lm() -> Outcome {
    let end = check_end!(run(with(0x8000_0001, 0), snippet!(32, cpuid_lm: "cpuid" "ret")), "cpuid");
    check_eq!(end.edx >> 29 & 1, 1, "LM bit outside of long mode");
    let end = check_end!(run(with(0, 0xc000_0080), snippet!(32, efer: "rdmsr" "ret")), "rdmsr of EFER");
    check_eq!(end.eax & 0x500, 0, "LME and LMA in EFER");
    Ok(())
}

/// SSE, CMPXCHG8B and x87 as in 64-bit mode; the upper registers are out of reach.
fn protected_extensions() -> Outcome {
    let at = pages::frame();
    store(at, 3.0f64);
    let code = snippet!(32, extensions: "movsd xmm0, [ecx]" "addsd xmm0, xmm0" "movsd [ecx + 8], xmm0" "fninit" "fld qword ptr [ecx]" "fsqrt" "fstp qword ptr [ecx + 16]" "ret");
    check_end!(run(with(0, at as u32), code), "SSE2 and x87");
    check_eq!(load::<u64>(at + 8), 6.0f64.to_bits(), "3 + 3");
    check_eq!(load::<u64>(at + 16), 0x3ffb_b67a_e858_4caau64, "sqrt 3");
    Ok(())
}
