//! Families of instructions, so that each gets its share whatever the number of its encodings.

use iced_x86::{Code, CpuidFeature, FlowControl, Mnemonic, OpCodeOperandKind};

/// A family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each named by what it holds
pub enum Family {
    Integer,
    Bits,
    String,
    Stack,
    Branch,
    System,
    X87,
    Mmx,
    Sse,
    Sse2,
    Sse3,
    Ssse3,
    Sse41,
    Sse42,
    Crypto,
    Avx,
    Avx2,
    Fma,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Integer,
        Self::Bits,
        Self::String,
        Self::Stack,
        Self::Branch,
        Self::System,
        Self::X87,
        Self::Mmx,
        Self::Sse,
        Self::Sse2,
        Self::Sse3,
        Self::Ssse3,
        Self::Sse41,
        Self::Sse42,
        Self::Crypto,
        Self::Avx,
        Self::Avx2,
        Self::Fma,
    ];

    /// How often cases are mainly of this family, as a weight.
    pub fn weight(self) -> u32 {
        match self {
            Self::Integer => 30,
            Self::Bits | Self::String => 8,
            Self::Stack | Self::Branch => 4,
            Self::System => 1,
            Self::X87 => 16,
            Self::Mmx => 6,
            Self::Sse | Self::Sse2 => 8,
            Self::Sse3 | Self::Ssse3 | Self::Sse42 | Self::Crypto => 3,
            Self::Sse41 | Self::Avx2 | Self::Fma => 5,
            Self::Avx => 8,
        }
    }

    /// The family of an instruction.
    pub fn of(code: Code) -> Self {
        use CpuidFeature as F;
        let has = |features: &[F]| code.cpuid_features().iter().any(|f| features.contains(f));
        let info = code.op_code();
        if code.flow_control() != FlowControl::Next && !has(&[F::FPU]) {
            return Self::Branch;
        }
        if code.is_privileged() {
            return Self::System;
        }
        if has(&[F::FMA]) {
            return Self::Fma;
        }
        if has(&[F::AES, F::PCLMULQDQ, F::SHA, F::GFNI, F::VAES, F::VPCLMULQDQ]) {
            return Self::Crypto;
        }
        if has(&[F::AVX2]) {
            return Self::Avx2;
        }
        if has(&[F::AVX, F::F16C]) {
            return Self::Avx;
        }
        let mmx = |kind: &OpCodeOperandKind| {
            use OpCodeOperandKind as K;
            matches!(kind, K::mm_reg | K::mm_rm | K::mm_or_mem)
        };
        if has(&[F::MMX]) || info.op_kinds().iter().any(mmx) {
            return Self::Mmx;
        }
        for (features, family) in [
            (&[F::FPU, F::FPU287, F::FPU387][..], Self::X87),
            (&[F::SSE4_2, F::POPCNT][..], Self::Sse42),
            (&[F::SSE4_1][..], Self::Sse41),
            (&[F::SSSE3][..], Self::Ssse3),
            (&[F::SSE3][..], Self::Sse3),
            (&[F::SSE2][..], Self::Sse2),
            (&[F::SSE, F::FXSR][..], Self::Sse),
            (&[F::BMI1, F::BMI2, F::LZCNT, F::ADX, F::MOVBE][..], Self::Bits),
        ] {
            if has(features) {
                return family;
            }
        }
        use Mnemonic as M;
        match code.mnemonic() {
            M::Bt | M::Bts | M::Btr | M::Btc | M::Bsf | M::Bsr | M::Bswap => Self::Bits,
            M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd => {
                Self::Bits
            }
            _ if code.is_string_instruction() => Self::String,
            M::Xlatb => Self::String,
            _ if code.is_stack_instruction() => Self::Stack,
            _ => Self::Integer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_listed_and_found() {
        assert_eq!(Family::of(Code::Add_rm32_r32), Family::Integer);
        assert_eq!(Family::of(Code::Movsb_m8_m8), Family::String);
        assert_eq!(Family::of(Code::Fsqrt), Family::X87);
        assert_eq!(Family::of(Code::Pshufb_mm_mmm64), Family::Mmx);
        assert_eq!(Family::of(Code::Pshufb_xmm_xmmm128), Family::Ssse3);
        assert_eq!(Family::of(Code::Jo_rel8_64), Family::Branch);
        assert_eq!(Family::of(Code::Hlt), Family::System);
        assert!(Code::values().all(|code| Family::ALL.contains(&Family::of(code))));
    }
}
