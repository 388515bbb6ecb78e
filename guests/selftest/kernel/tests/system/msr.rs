//! Model-specific registers.

use crate::harness::Outcome;
use crate::hw::cpu::{self, msr};
use crate::hw::cpuid;

family!("msr": efer, efer_reserved, efer_lme_while_paging, unknown, system_call_registers, pat, pat_reserved, apic_base_reserved, mtrr, upper_halves);

fn efer() -> Outcome {
    let value = cpu::rdmsr(msr::EFER);
    check_eq!(value & 0x500, 0x500, "LME and LMA");
    cpu::wrmsr(msr::EFER, value | 1);
    check_eq!(cpu::rdmsr(msr::EFER), value | 1, "EFER with SCE");
    // LMA is the CPU's: writing it changes nothing.
    cpu::wrmsr(msr::EFER, value & !0x400);
    check_eq!(cpu::rdmsr(msr::EFER) & 0x400, 0x400, "LMA after it was cleared");
    Ok(())
}

fn efer_reserved() -> Outcome {
    wrong_in_tcg!("ignores reserved bits of EFER");
    for bit in [2, 9, 20, 63] {
        expect!(GP(0), cpu::wrmsr(msr::EFER, cpu::rdmsr(msr::EFER) | 1 << bit));
    }
    Ok(())
}

fn efer_lme_while_paging() -> Outcome {
    wrong_in_tcg!("ignores it");
    expect!(GP(0), cpu::wrmsr(msr::EFER, cpu::rdmsr(msr::EFER) & !0x100));
    Ok(())
}

fn unknown() -> Outcome {
    wrong_in_tcg!("knows all registers");
    for number in [0x1234_5678, 0xc001_fff0, 0x4fff_ffff] {
        expect!(GP(0), cpu::rdmsr(number));
        expect!(GP(0), cpu::wrmsr(number, 0));
    }
    Ok(())
}

fn system_call_registers() -> Outcome {
    for (number, value) in [
        (msr::STAR, 0x0023_0010_1234_5678u64),
        (msr::FMASK, 0x4_7700),
        (msr::SYSENTER_CS, 0x10),
        (msr::SYSENTER_ESP, 0xffff_8000_0000_1000),
        (msr::SYSENTER_EIP, 0xffff_8000_0000_2000),
    ] {
        let old = cpu::rdmsr(number);
        cpu::wrmsr(number, value);
        check_eq!(cpu::rdmsr(number), value, "MSR {number:#x}");
        cpu::wrmsr(number, old);
    }
    Ok(())
}

fn pat() -> Outcome {
    need!(PAT);
    let old = cpu::rdmsr(msr::PAT);
    cpu::wrmsr(msr::PAT, 0x0007_0406_0107_0506);
    check_eq!(cpu::rdmsr(msr::PAT), 0x0007_0406_0107_0506u64, "PAT");
    cpu::wrmsr(msr::PAT, old);
    Ok(())
}

/// Memory types 2, 3 and 8 do not exist.
fn pat_reserved() -> Outcome {
    need!(PAT);
    wrong_in_tcg!("takes any memory type");
    for kind in [2u64, 3, 8] {
        expect!(GP(0), cpu::wrmsr(msr::PAT, kind));
    }
    Ok(())
}

fn apic_base_reserved() -> Outcome {
    wrong_in_tcg!("ignores reserved bits of APIC_BASE");
    expect!(GP(0), cpu::wrmsr(msr::APIC_BASE, cpu::rdmsr(msr::APIC_BASE) | 1));
    expect!(GP(0), cpu::wrmsr(msr::APIC_BASE, cpu::rdmsr(msr::APIC_BASE) | 1 << 62));
    Ok(())
}

fn mtrr() -> Outcome {
    need!(MTRR);
    let count = cpu::rdmsr(0xfe) & 0xff;
    for index in 0..count as u32 {
        cpu::rdmsr(0x200 + index * 2);
        cpu::rdmsr(0x201 + index * 2);
    }
    cpu::rdmsr(0x2ff);
    if cpu::rdmsr(0xfe) & 1 << 8 != 0 {
        cpu::rdmsr(0x250);
        cpu::rdmsr(0x26f);
    }
    Ok(())
}

/// RDMSR and CPUID clear the upper halves of what they write; ECX is read without its own.
fn upper_halves() -> Outcome {
    let got = exec!("rdmsr", u64::MAX, 0xffff_ffff_0000_0000u64 | u64::from(msr::EFER), u64::MAX, 0);
    check_eq!(got.rax, cpu::rdmsr(msr::EFER) as u32, "RAX after RDMSR");
    check_eq!(got.rdx, 0, "RDX after RDMSR");
    let got = exec!(
        "mov r8, rbx; cpuid; mov rsi, rbx; mov rbx, r8",
        0xffff_ffff_0000_0000u64,
        u64::MAX,
        u64::MAX,
        0
    );
    check_eq!(got.rax, cpuid::leaf(0, 0).eax, "RAX after CPUID");
    check_eq!(got.rsi, cpuid::leaf(0, 0).ebx, "RBX after CPUID");
    Ok(())
}
