//! CPUID: what it says must be so.

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr4_bits};
use crate::hw::cpuid::{self, Feature, is_amd, leaf};
use crate::hw::pages;

family!("cpuid": leaves, baseline_features, dependencies, features_work, control_bits_accepted, control_bits_refused, address_widths, extended_duplicates, topology);

fn leaves() -> Outcome {
    check!(leaf(0, 0).eax >= 1, "highest leaf {:#x}", leaf(0, 0).eax);
    check!(leaf(0x8000_0000, 0).eax >= 0x8000_0008, "highest extended leaf {:#x}", leaf(0x8000_0000, 0).eax);
    check!(cpuid::vendor().iter().all(u8::is_ascii_graphic), "vendor with unprintable characters");
    Ok(())
}

/// What every CPU with long mode has (the psABI's x86-64-v1).
fn baseline_features() -> Outcome {
    for feature in [
        cpuid::FPU,
        cpuid::TSC,
        cpuid::MSR,
        cpuid::PAE,
        cpuid::CX8,
        cpuid::APIC,
        cpuid::PGE,
        cpuid::CMOV,
        cpuid::MMX,
        cpuid::FXSR,
        cpuid::SSE,
        cpuid::SSE2,
        cpuid::SYSCALL,
        cpuid::LM,
    ] {
        check!(feature.is_offered(), "no {}", feature.name);
    }
    Ok(())
}

/// Features that make no sense without another one.
fn dependencies() -> Outcome {
    for (feature, base) in [
        (cpuid::SSSE3, cpuid::SSE3),
        (cpuid::SSE41, cpuid::SSSE3),
        (cpuid::SSE42, cpuid::SSE41),
        (cpuid::AVX, cpuid::XSAVE),
        (cpuid::AVX2, cpuid::AVX),
        (cpuid::FMA, cpuid::AVX),
        (cpuid::F16C, cpuid::AVX),
        (cpuid::XSAVEOPT, cpuid::XSAVE),
        (cpuid::XSAVES, cpuid::XSAVEC),
        (cpuid::TSC_DEADLINE, cpuid::APIC),
        (cpuid::X2APIC, cpuid::APIC),
    ] {
        check!(!feature.is_offered() || base.is_offered(), "{} without {}", feature.name, base.name);
    }
    Ok(())
}

/// One instruction of each feature.
fn features_work() -> Outcome {
    macro_rules! table {
        ($($feature:ident $code:literal;)*) => {
            [$((cpuid::$feature, || {
                exec!($code, 1, 1, 1, 0; SCRATCH.load(core::sync::atomic::Ordering::Relaxed));
            })),*]
        };
    }
    use core::sync::atomic::{AtomicU64, Ordering};
    static SCRATCH: AtomicU64 = AtomicU64::new(0);
    SCRATCH.store(pages::frame(), Ordering::Relaxed);
    let table: [(Feature, fn()); 31] = table! {
        CX8 "push rbx; cmpxchg8b [rsi]; pop rbx";
        CX16 "push rbx; cmpxchg16b [rsi]; pop rbx";
        CMOV "cmovz eax, ecx";
        CLFLUSH "clflush [rsi]";
        MMX "pxor mm0, mm0; emms";
        SSE "xorps xmm0, xmm0; prefetcht0 [rsi]; sfence";
        SSE2 "xorpd xmm0, xmm0; lfence; mfence; pause";
        SSE3 "addsubpd xmm0, xmm0; fninit; fld1; fisttp dword ptr [rsi]";
        SSSE3 "pabsb xmm0, xmm0";
        SSE41 "pmulld xmm0, xmm0";
        SSE42 "pcmpgtq xmm0, xmm0";
        POPCNT "popcnt eax, ecx";
        MOVBE "movbe eax, [rsi]";
        AES "aesenc xmm0, xmm0";
        PCLMULQDQ "pclmulqdq xmm0, xmm0, 0";
        RDRAND "rdrand eax";
        RDSEED "rdseed eax";
        BMI1 "andn eax, ecx, edx";
        BMI2 "rorx eax, ecx, 3";
        ADX "adcx eax, ecx";
        SHA "sha1nexte xmm0, xmm0";
        CLFLUSHOPT "clflushopt [rsi]";
        CLWB "clwb [rsi]";
        LAHF "lahf; sahf";
        ABM "lzcnt eax, ecx";
        PREFETCHW "prefetchw [rsi]";
        RDTSCP "rdtscp";
        RDPID "rdpid rax";
        TSC "rdtsc";
        FXSR "fxsave64 [rsi]; fxrstor64 [rsi]";
        ERMS "mov rdi, rsi; rep movsb";
    };
    for (feature, run) in table {
        if feature.is_offered()
            && let Err(trap) = crate::trap::catch(run)
        {
            check!(false, "{} is offered: {trap}", feature.name);
        }
    }
    Ok(())
}

/// Bits of CR4 and the feature that allows them.
const CONTROL_BITS: &[(Feature, u64)] = &[
    (cpuid::VME, 1 << 0),
    (cpuid::VME, 1 << 1),
    (cpuid::TSC, 1 << 2),
    (cpuid::DE, 1 << 3),
    (cpuid::PSE, 1 << 4),
    (cpuid::PGE, 1 << 7),
    (cpuid::UMIP, cr4_bits::UMIP),
    (cpuid::FSGSBASE, cr4_bits::FSGSBASE),
    (cpuid::PCID, cr4_bits::PCIDE),
    (cpuid::XSAVE, cr4_bits::OSXSAVE),
    (cpuid::SMEP, cr4_bits::SMEP),
    (cpuid::SMAP, cr4_bits::SMAP),
    (cpuid::PKU, 1 << 22),
];

fn control_bits_accepted() -> Outcome {
    let cr4 = cpu::cr4();
    for &(feature, bit) in CONTROL_BITS {
        if feature.is_offered() {
            cpu::set_cr4(cr4 | bit);
            let after = cpu::cr4();
            cpu::set_cr4(cr4);
            check_eq!(after, cr4 | bit, "CR4 with the bit of {}", feature.name);
        }
    }
    Ok(())
}

fn control_bits_refused() -> Outcome {
    wrong_in_tcg!("ignores them");
    for &(feature, bit) in CONTROL_BITS {
        if !feature.is_offered() && feature.name != "vme" {
            match crate::trap::catch(|| cpu::set_cr4(cpu::cr4() | bit)) {
                Err(trap) => check!(trap.is(13, 0), "CR4 bit of {}: {trap}", feature.name),
                Ok(()) => check!(false, "CR4 takes the bit of {}, which is not offered", feature.name),
            }
        }
    }
    Ok(())
}

fn address_widths() -> Outcome {
    let widths = leaf(0x8000_0008, 0).eax;
    check!((32..=52).contains(&(widths & 0xff)), "{} physical address bits", widths & 0xff);
    let linear = widths >> 8 & 0xff;
    check!(linear == 48 || linear == 57, "{linear} linear address bits");
    Ok(())
}

/// On AMD's CPUs the extended leaf repeats most of leaf 1.
fn extended_duplicates() -> Outcome {
    if !is_amd() {
        absent!("only AMD's CPUs repeat leaf 1");
    }
    let mask = 0x0183_f3ff;
    check_eq!(leaf(0x8000_0001, 0).edx & mask, leaf(1, 0).edx & mask, "EDX");
    Ok(())
}

/// Leaf 1 and leaf 0Bh name the same APIC ID and a sensible number of CPUs.
fn topology() -> Outcome {
    let one = leaf(1, 0);
    if leaf(0, 0).eax >= 0xb && leaf(0xb, 0).ebx != 0 {
        check_eq!(leaf(0xb, 0).edx & 0xff, one.ebx >> 24, "APIC ID");
        check_eq!(leaf(0xb, 0).ecx >> 8 & 0xff, 1, "type of the first level");
    }
    if one.edx >> 28 & 1 != 0 {
        check!(one.ebx >> 16 & 0xff >= 1, "no logical CPUs in the package");
    }
    // CLFLUSH's line size in eight bytes.
    let line = (one.ebx >> 8 & 0xff) * 8;
    check!(!cpuid::CLFLUSH.is_offered() || line.is_power_of_two(), "cache line of {line} bytes");
    // SAFETY: CPUID changes the four registers only.
    unsafe {
        asm!("mov {0}, rbx", "cpuid", "mov rbx, {0}", out(reg) _, inout("eax") 0 => _, out("ecx") _, out("edx") _)
    };
    Ok(())
}
