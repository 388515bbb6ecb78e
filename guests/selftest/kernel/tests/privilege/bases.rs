//! FS and GS: bases by MSR, by instruction, by SWAPGS.

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr4_bits, msr};
use crate::tests::user::User;
use crate::trap::vector;

family!("privilege": swapgs, base_msrs, fsgsbase, fsgsbase_off, base_by_selector);

fn swapgs() -> Outcome {
    cpu::wrmsr(msr::GS_BASE, 0x1111);
    cpu::wrmsr(msr::KERNEL_GS_BASE, 0x2222);
    exec!("swapgs", 0, 0, 0, 0);
    check_eq!(cpu::rdmsr(msr::GS_BASE), 0x2222, "GS base");
    check_eq!(cpu::rdmsr(msr::KERNEL_GS_BASE), 0x1111, "kernel GS base");
    Ok(())
}

fn base_msrs() -> Outcome {
    for number in [msr::FS_BASE, msr::GS_BASE, msr::KERNEL_GS_BASE, msr::LSTAR, msr::CSTAR] {
        for value in [0xffff_8000_1234_5678u64, 0x7fff_ffff_ffff] {
            cpu::wrmsr(number, value);
            check_eq!(cpu::rdmsr(number), value, "MSR {number:#x}");
        }
        cpu::wrmsr(number, 0);
        wrong_in_tcg!("takes non-canonical bases");
        expect!(GP(0), cpu::wrmsr(number, 0x8000_0000_0000));
    }
    Ok(())
}

fn fsgsbase() -> Outcome {
    need!(FSGSBASE);
    cpu::set_cr4(cpu::cr4() | cr4_bits::FSGSBASE);
    let got = exec!(
        "wrfsbase rcx; rdfsbase rax; wrgsbase rdx; rdgsbase rdx",
        0,
        0x1234_5678_9abcu64,
        0xffff_9000_0000_0000u64,
        0
    );
    check_eq!(got.rax, 0x1234_5678_9abcu64, "FS base");
    check_eq!(got.rdx, 0xffff_9000_0000_0000u64, "GS base");
    check_eq!(cpu::rdmsr(msr::FS_BASE), 0x1234_5678_9abcu64, "FS base by MSR");
    check_eq!(
        exec!("wrfsbase ecx; rdfsbase rax", 0, u64::MAX, 0, 0).rax,
        0xffff_ffffu64,
        "FS base by 32 bits"
    );
    let trap = User::code64(snippet!(64, fsgsbase_ring3: "rdfsbase rax" "int3")).run();
    check!(trap.is(vector::BP, 0), "in ring 3: {trap}");
    wrong_in_tcg!("takes non-canonical bases");
    expect!(GP(0), exec!("wrgsbase rcx", 0, 0x8000_0000_0000u64, 0, 0));
    Ok(())
}

fn fsgsbase_off() -> Outcome {
    need!(FSGSBASE);
    expect!(UD(0), exec!("rdfsbase rax", 0, 0, 0, 0));
    expect!(UD(0), exec!("wrgsbase rax", 0, 0, 0, 0));
    Ok(())
}

/// A selector brings its descriptor's 32-bit base along.
fn base_by_selector() -> Outcome {
    use crate::hw::gdt;
    gdt::set(gdt::SCRATCH, gdt::system(0x93, 0x1234_5678, 0xffff));
    cpu::wrmsr(msr::FS_BASE, 0xffff_8000_0000_0000);
    exec!("mov fs, ecx", 0, gdt::SCRATCH, 0, 0);
    check_eq!(cpu::rdmsr(msr::FS_BASE), 0x1234_5678, "FS base");
    exec!("xor ecx, ecx; mov fs, ecx", 0, 0, 0, 0);
    Ok(())
}
