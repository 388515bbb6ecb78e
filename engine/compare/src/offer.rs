//! Which instruction-set extensions a CPU offers, by its own CPUID, in iced's terms.

use iced_x86::{CpuidFeature, Instruction};

/// What one CPUID leaf answers: EAX, EBX, ECX, EDX.
pub type Answer = [u32; 4];

/// The leaves that matter, with their subleaf 0.
pub const LEAVES: [u32; 3] = [1, 7, 0x8000_0001];

/// A set of extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    words: [u64; 4],
}

const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// Extensions by leaf, register and bit (SDM vol. 2, CPUID; APM vol. 3, appendix E).
const BITS: &[(u32, usize, u32, &[CpuidFeature])] = &[
    (1, EDX, 0, &[CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387]),
    (1, EDX, 8, &[CpuidFeature::CX8]),
    (1, EDX, 15, &[CpuidFeature::CMOV]),
    (1, EDX, 19, &[CpuidFeature::CLFSH]),
    (1, EDX, 23, &[CpuidFeature::MMX]),
    (1, EDX, 24, &[CpuidFeature::FXSR]),
    (1, EDX, 25, &[CpuidFeature::SSE]),
    (1, EDX, 26, &[CpuidFeature::SSE2]),
    (1, ECX, 0, &[CpuidFeature::SSE3]),
    (1, ECX, 1, &[CpuidFeature::PCLMULQDQ]),
    (1, ECX, 9, &[CpuidFeature::SSSE3]),
    (1, ECX, 12, &[CpuidFeature::FMA]),
    (1, ECX, 13, &[CpuidFeature::CMPXCHG16B]),
    (1, ECX, 19, &[CpuidFeature::SSE4_1]),
    (1, ECX, 20, &[CpuidFeature::SSE4_2]),
    (1, ECX, 22, &[CpuidFeature::MOVBE]),
    (1, ECX, 23, &[CpuidFeature::POPCNT]),
    (1, ECX, 25, &[CpuidFeature::AES]),
    (1, ECX, 26, &[CpuidFeature::XSAVE]),
    (1, ECX, 28, &[CpuidFeature::AVX]),
    (1, ECX, 29, &[CpuidFeature::F16C]),
    (7, EBX, 0, &[CpuidFeature::FSGSBASE]),
    (7, EBX, 3, &[CpuidFeature::BMI1]),
    (7, EBX, 5, &[CpuidFeature::AVX2]),
    (7, EBX, 8, &[CpuidFeature::BMI2]),
    (7, EBX, 19, &[CpuidFeature::ADX]),
    (7, EBX, 20, &[CpuidFeature::SMAP]),
    (7, EBX, 23, &[CpuidFeature::CLFLUSHOPT]),
    (7, EBX, 24, &[CpuidFeature::CLWB]),
    (7, EBX, 29, &[CpuidFeature::SHA]),
    (7, ECX, 8, &[CpuidFeature::GFNI]),
    (7, ECX, 9, &[CpuidFeature::VAES]),
    (7, ECX, 10, &[CpuidFeature::VPCLMULQDQ]),
    (0x8000_0001, ECX, 5, &[CpuidFeature::LZCNT]),
    (0x8000_0001, ECX, 8, &[CpuidFeature::PREFETCHW]),
];

/// What every x86-64 CPU has.
const ALWAYS: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::MSR,
    CpuidFeature::PAUSE,
    CpuidFeature::MULTIBYTENOP,
];

impl Offer {
    /// What the CPU with these answers to [`LEAVES`] offers.
    pub fn of(answers: &[Answer; 3]) -> Self {
        let mut offer = Self { words: [0; 4] };
        ALWAYS.iter().for_each(|&feature| offer.add(feature));
        for &(leaf, register, bit, features) in BITS {
            let answer = LEAVES.iter().position(|&l| l == leaf).map_or([0; 4], |n| answers[n]);
            if answer[register] >> bit & 1 != 0 {
                features.iter().for_each(|&feature| offer.add(feature));
            }
        }
        offer
    }

    /// What the host's CPU offers.
    pub fn of_host() -> Self {
        let highest = core::arch::x86_64::__cpuid(0).eax;
        let highest_extended = core::arch::x86_64::__cpuid(0x8000_0000).eax;
        Self::of(&LEAVES.map(|leaf| {
            let limit = if leaf < 0x8000_0000 { highest } else { highest_extended };
            if leaf > limit {
                return [0; 4];
            }
            let answer = core::arch::x86_64::__cpuid_count(leaf, 0);
            [answer.eax, answer.ebx, answer.ecx, answer.edx]
        }))
    }

    fn add(&mut self, feature: CpuidFeature) {
        self.words[feature as usize / 64] |= 1 << (feature as usize % 64);
    }

    /// Is it offered?
    pub fn has(&self, feature: CpuidFeature) -> bool {
        self.words.get(feature as usize / 64).is_some_and(|word| word >> (feature as usize % 64) & 1 != 0)
    }

    /// Is all that the instruction needs offered?
    pub fn covers(&self, instruction: &Instruction) -> bool {
        instruction.cpuid_features().iter().all(|&feature| self.has(feature))
    }

    /// What both offer.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.words.iter_mut().zip(other.words).for_each(|(word, other)| *word &= other);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_offers_what_every_64_bit_host_does() {
        let host = Offer::of_host();
        assert!(host.has(CpuidFeature::SSE2) && host.has(CpuidFeature::X64));
        assert!(!host.has(CpuidFeature::KNC));
        assert!(!host.and(&Offer::of(&[[0; 4]; 3])).has(CpuidFeature::SSE2));
    }
}
