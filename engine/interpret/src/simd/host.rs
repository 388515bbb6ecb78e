//! What the host's CPU can execute for us.

use std::arch::is_x86_feature_detected as detected;

use iced_x86::CpuidFeature as F;

/// Can instructions of this feature be executed here? False for features that are none of this module's.
///
/// A guest is offered no more than that. Features whose instructions are emulated wholly in software do not
/// depend on the host.
pub(crate) fn host_offers(feature: F) -> bool {
    match feature {
        F::FPU | F::FPU287 | F::FPU387 | F::FXSR | F::XSAVE | F::XSAVEOPT | F::XSAVEC | F::MMX => true,
        // Part of every 64-bit CPU.
        F::SSE | F::SSE2 => true,
        F::SSE3 => detected!("sse3"),
        F::SSSE3 => detected!("ssse3"),
        F::SSE4_1 => detected!("sse4.1"),
        F::SSE4_2 => detected!("sse4.2"),
        F::AES => detected!("aes"),
        F::PCLMULQDQ => detected!("pclmulqdq"),
        F::SHA => detected!("sha"),
        F::GFNI => detected!("gfni"),
        F::AVX => detected!("avx"),
        F::AVX2 => detected!("avx2"),
        F::FMA => detected!("fma"),
        F::F16C => detected!("f16c"),
        F::VAES => detected!("vaes") && detected!("avx"),
        F::VPCLMULQDQ => detected!("vpclmulqdq") && detected!("avx"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_64_bit_cpu_has_is_offered_and_what_nobody_wrote_is_not() {
        assert!([F::FPU, F::MMX, F::SSE, F::SSE2, F::FXSR, F::XSAVE].into_iter().all(host_offers));
        assert!(![F::AVX512F, F::XSAVES, F::SSE4A, F::D3NOW, F::XOP].into_iter().any(host_offers));
    }
}
