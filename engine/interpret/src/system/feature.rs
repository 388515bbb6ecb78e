//! The features of a CPU model: one table that CPUID's bits, the decoder's gate and CR4's valid bits all
//! come from, so that CPUID says exactly what works.

use std::sync::OnceLock;

use engine::{CpuLevel, CpuModel};
use iced_x86::CpuidFeature::{self, *};
use iced_x86::DecoderOptions;
use x86::control::cr4;

use crate::simd::host_offers;

/// A register of a CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reg {
    Eax,
    Ebx,
    Ecx,
    Edx,
}
use Reg::{Eax, Ebx, Ecx, Edx};

/// Who offers a feature.
#[derive(Clone, Copy)]
enum Offer {
    /// Every model.
    Always,
    /// Models from a psABI level on.
    From(CpuLevel),
    /// The same, where the host has it: its instructions run natively.
    Native(CpuLevel),
}
use CpuLevel::{Host, V2, V3};
use Offer::{Always, From, Native};

/// A CPUID bit.
pub(crate) struct Feature {
    /// Leaf, subleaf, register, bit.
    pub bit: (u32, u32, Reg, u32),
    offer: Offer,
    /// The instructions that come with it, in iced's terms.
    instructions: &'static [CpuidFeature],
    /// The bits of CR4 that come with it.
    cr4: u64,
}

const fn bit(
    leaf: u32,
    register: Reg,
    bit: u32,
    offer: Offer,
    instructions: &'static [CpuidFeature],
) -> Feature {
    Feature { bit: (leaf, 0, register, bit), offer, instructions, cr4: 0 }
}

const fn subleaf(subleaf: u32, feature: Feature) -> Feature {
    let (leaf, _, register, bit) = feature.bit;
    Feature { bit: (leaf, subleaf, register, bit), ..feature }
}

const fn with_cr4(feature: Feature, cr4: u64) -> Feature {
    Feature { cr4, ..feature }
}

/// Every feature, in the order of leaves and bits.
pub(crate) static FEATURES: &[Feature] = &[
    // Leaf 1, ECX.
    bit(1, Ecx, 0, Native(V2), &[SSE3]),
    bit(1, Ecx, 1, Native(Host), &[PCLMULQDQ]),
    bit(1, Ecx, 9, Native(V2), &[SSSE3]),
    bit(1, Ecx, 12, Native(V3), &[FMA]),
    bit(1, Ecx, 13, From(V2), &[CMPXCHG16B]),
    with_cr4(bit(1, Ecx, 17, Always, &[]), cr4::PCIDE),
    bit(1, Ecx, 19, Native(V2), &[SSE4_1]),
    bit(1, Ecx, 20, Native(V2), &[SSE4_2]),
    bit(1, Ecx, 21, Always, &[]), // x2APIC
    bit(1, Ecx, 22, From(V3), &[MOVBE]),
    bit(1, Ecx, 23, From(V2), &[POPCNT]),
    bit(1, Ecx, 24, Always, &[]), // TSC deadline
    bit(1, Ecx, 25, Native(Host), &[AES]),
    with_cr4(bit(1, Ecx, 26, From(V3), &[XSAVE]), cr4::OSXSAVE),
    bit(1, Ecx, 28, Native(V3), &[AVX]),
    bit(1, Ecx, 29, Native(V3), &[F16C]),
    bit(1, Ecx, 30, From(Host), &[RDRAND]),
    bit(1, Ecx, 31, Always, &[]), // a hypervisor
    // Leaf 1, EDX.
    bit(1, Edx, 0, Always, &[FPU, FPU287, FPU387]),
    with_cr4(bit(1, Edx, 2, Always, &[]), cr4::DE),
    with_cr4(bit(1, Edx, 3, Always, &[]), cr4::PSE),
    with_cr4(bit(1, Edx, 4, Always, &[TSC]), cr4::TSD),
    bit(1, Edx, 5, Always, &[MSR]),
    with_cr4(bit(1, Edx, 6, Always, &[]), cr4::PAE),
    with_cr4(bit(1, Edx, 7, Always, &[]), cr4::MCE),
    bit(1, Edx, 8, Always, &[CX8]),
    bit(1, Edx, 9, Always, &[]), // APIC
    bit(1, Edx, 11, Always, &[SEP]),
    bit(1, Edx, 12, Always, &[]), // MTRR
    with_cr4(bit(1, Edx, 13, Always, &[]), cr4::PGE),
    bit(1, Edx, 14, Always, &[]), // machine-check architecture, without banks
    bit(1, Edx, 15, Always, &[CMOV]),
    bit(1, Edx, 16, Always, &[]), // PAT
    bit(1, Edx, 17, Always, &[]), // PSE-36
    bit(1, Edx, 19, Always, &[CLFSH]),
    bit(1, Edx, 23, Always, &[MMX]),
    with_cr4(bit(1, Edx, 24, Always, &[FXSR]), cr4::OSFXSR),
    with_cr4(bit(1, Edx, 25, Always, &[SSE]), cr4::OSXMMEXCPT),
    bit(1, Edx, 26, Always, &[SSE2]),
    bit(1, Edx, 27, Always, &[]), // self-snoop
    // Leaf 6, EAX.
    bit(6, Eax, 2, Always, &[]), // the APIC timer always runs
    // Leaf 7, EBX.
    with_cr4(bit(7, Ebx, 0, Always, &[FSGSBASE]), cr4::FSGSBASE),
    bit(7, Ebx, 1, Always, &[]), // IA32_TSC_ADJUST
    bit(7, Ebx, 3, From(V3), &[BMI1]),
    bit(7, Ebx, 5, Native(V3), &[AVX2]),
    with_cr4(bit(7, Ebx, 7, Always, &[]), cr4::SMEP),
    bit(7, Ebx, 8, From(V3), &[BMI2]),
    bit(7, Ebx, 9, Always, &[]), // fast REP MOVSB
    bit(7, Ebx, 10, Always, &[INVPCID]),
    bit(7, Ebx, 13, Always, &[]), // no FPU CS and DS
    bit(7, Ebx, 18, From(Host), &[RDSEED]),
    bit(7, Ebx, 19, From(Host), &[ADX]),
    with_cr4(bit(7, Ebx, 20, Always, &[SMAP]), cr4::SMAP),
    bit(7, Ebx, 23, Always, &[CLFLUSHOPT]),
    bit(7, Ebx, 24, Always, &[CLWB]),
    bit(7, Ebx, 29, Native(Host), &[SHA]),
    // Leaf 7, ECX and EDX.
    with_cr4(bit(7, Ecx, 2, Always, &[]), cr4::UMIP),
    bit(7, Ecx, 8, Native(Host), &[GFNI]),
    bit(7, Ecx, 9, Native(Host), &[VAES]),
    bit(7, Ecx, 10, Native(Host), &[VPCLMULQDQ]),
    bit(7, Ecx, 22, Always, &[RDPID]),
    bit(7, Edx, 4, Always, &[]),  // fast short REP MOVSB
    bit(7, Edx, 26, Always, &[]), // IA32_SPEC_CTRL, IA32_PRED_CMD
    bit(7, Edx, 27, Always, &[]), // STIBP
    bit(7, Edx, 29, Always, &[]), // IA32_ARCH_CAPABILITIES
    bit(7, Edx, 31, Always, &[]), // SSBD
    // Leaf 0Dh, subleaf 1, EAX.
    subleaf(1, bit(0xd, Eax, 0, Native(V3), &[XSAVEOPT])),
    subleaf(1, bit(0xd, Eax, 1, Native(V3), &[XSAVEC])),
    subleaf(1, bit(0xd, Eax, 2, From(V3), &[])), // XGETBV with ECX = 1
    // Extended leaves.
    bit(0x8000_0001, Ecx, 0, Always, &[]), // LAHF and SAHF in 64-bit code
    bit(0x8000_0001, Ecx, 5, From(V3), &[LZCNT]),
    bit(0x8000_0001, Ecx, 8, Always, &[PREFETCHW]),
    bit(0x8000_0001, Edx, 11, Always, &[SYSCALL]),
    bit(0x8000_0001, Edx, 20, Always, &[]), // NX
    bit(0x8000_0001, Edx, 26, Always, &[]), // 1 GiB pages
    bit(0x8000_0001, Edx, 27, Always, &[RDTSCP]),
    bit(0x8000_0001, Edx, 29, Always, &[X64]),
    bit(0x8000_0007, Edx, 8, Always, &[]), // invariant TSC
];

/// Instructions that every x86-64 processor has and no bit announces; and those in the space of hints, which
/// are no-ops where the feature is absent (ENDBR, RDSSP, CLDEMOTE, PREFETCHWT1).
const UNANNOUNCED: &[CpuidFeature] = &[
    INTEL8086,
    INTEL186,
    INTEL286,
    INTEL386,
    INTEL486,
    FPU387SL_ONLY,
    MULTIBYTENOP,
    PAUSE,
    CPUID,
    RDPMC,
    CET_IBT,
    CET_SS,
    CLDEMOTE,
    PREFETCHWT1,
];

impl Feature {
    /// Does the model offer it?
    pub fn offered(&self, model: &CpuModel) -> bool {
        match self.offer {
            Always => true,
            From(level) => rank(model.level) >= rank(level),
            Native(level) => {
                let host = || self.instructions.iter().all(|&feature| host_offers(feature));
                rank(model.level) >= rank(level) && host()
            }
        }
    }
}

fn rank(level: CpuLevel) -> u8 {
    match level {
        CpuLevel::V1 => 1,
        V2 => 2,
        V3 => 3,
        Host => 4,
    }
}

/// A model's answers, worked out once a level: decoding asks for every instruction.
struct Answers {
    /// By iced's number of the feature.
    offered: [bool; 256],
    decoder_options: u32,
}

fn answers(model: &CpuModel) -> &'static Answers {
    static LEVELS: [OnceLock<Answers>; 4] = [const { OnceLock::new() }; 4];
    LEVELS[usize::from(rank(model.level)) - 1].get_or_init(|| {
        let mut offered = [false; 256];
        for feature in CpuidFeature::values() {
            if let Some(answer) = offered.get_mut(feature as usize) {
                *answer = UNANNOUNCED.contains(&feature)
                    || FEATURES
                        .iter()
                        .any(|known| known.instructions.contains(&feature) && known.offered(model));
            }
        }
        let without = |feature: CpuidFeature, option| {
            if offered[feature as usize] { DecoderOptions::NONE } else { option }
        };
        let decoder_options = DecoderOptions::NO_WBNOINVD
            | without(BMI1, DecoderOptions::NO_MPFX_0FBC)
            | without(LZCNT, DecoderOptions::NO_MPFX_0FBD);
        Answers { offered, decoder_options }
    })
}

/// Does the CPU model offer the instructions of this feature?
pub(crate) fn offers(model: &CpuModel, feature: CpuidFeature) -> bool {
    answers(model).offered.get(feature as usize).copied().unwrap_or(false)
}

/// The bits of CR4 that exist in this model.
pub(crate) fn cr4_bits(model: &CpuModel) -> u64 {
    FEATURES.iter().filter(|known| known.offered(model)).fold(cr4::PCE, |bits, known| bits | known.cr4)
}

/// How the decoder reads what older processors read otherwise: TZCNT and LZCNT are BSF and BSR there.
pub(crate) fn decoder_options(model: &CpuModel) -> u32 {
    answers(model).decoder_options
}
