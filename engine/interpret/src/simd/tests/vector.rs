//! Every instruction of a long list, against the same instruction executed directly.

#![allow(unsafe_code)] // executes instructions by inline assembly to compare with

use std::arch::asm;

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::{DATA, Numbers, cpu};
use crate::simd::host_offers;

/// Runs `$name xmm1, xmm2` natively and through a stub, register and memory form, on the same numbers.
macro_rules! legacy {
    ($($code:ident $name:literal)*) => {$({
        let mut numbers = Numbers(0x1234_5678_9abc_def1);
        let mut cpu = cpu();
        for _ in 0..20 {
            let (a, b, mask) = (numbers.wide(), numbers.wide(), numbers.wide());
            let mut native = a;
            // SAFETY: an instruction on the registers that are named.
            unsafe {
                asm!("movups xmm1, [{a}]", "movups xmm2, [{b}]", "movups xmm0, [{m}]",
                     concat!($name, " xmm1, xmm2"), "movups [{a}], xmm1",
                     a = in(reg) &raw mut native, b = in(reg) &raw const b, m = in(reg) &raw const mask,
                     out("xmm0") _, out("xmm1") _, out("xmm2") _);
            }
            let fpu = &mut cpu.state.fpu;
            fpu.ymm_high = [0x77; 16];
            (fpu.legacy.xmm[0], fpu.legacy.xmm[5], fpu.legacy.xmm[13]) = (mask, a, b);
            cpu.run(Instruction::with2(Code::$code, Register::XMM5, Register::XMM13).unwrap()).unwrap();
            assert_eq!(cpu.state.fpu.legacy.xmm[5], native, "{} of {a:#x} and {b:#x}", $name);
            assert_eq!(cpu.state.fpu.legacy.xmm[13], b);
            assert_eq!(cpu.state.fpu.ymm_high, [0x77; 16], "{}", $name);
            cpu.state.fpu.legacy.xmm[5] = a;
            cpu.poke(DATA, b.to_le_bytes());
            let memory = MemoryOperand::with_displ(DATA, 8);
            cpu.run(Instruction::with2(Code::$code, Register::XMM5, memory).unwrap()).unwrap();
            assert_eq!(cpu.state.fpu.legacy.xmm[5], native, "{} of {a:#x} and memory {b:#x}", $name);
        }
    })*};
}

#[test]
fn sse_and_sse2() {
    legacy! {
        Addps_xmm_xmmm128 "addps" Addpd_xmm_xmmm128 "addpd" Addss_xmm_xmmm32 "addss" Addsd_xmm_xmmm64 "addsd"
        Subps_xmm_xmmm128 "subps" Mulpd_xmm_xmmm128 "mulpd" Divps_xmm_xmmm128 "divps" Divsd_xmm_xmmm64 "divsd"
        Sqrtps_xmm_xmmm128 "sqrtps" Sqrtsd_xmm_xmmm64 "sqrtsd" Minps_xmm_xmmm128 "minps" Maxpd_xmm_xmmm128 "maxpd"
        Rcpps_xmm_xmmm128 "rcpps" Rsqrtps_xmm_xmmm128 "rsqrtps" Rcpss_xmm_xmmm32 "rcpss"
        Andps_xmm_xmmm128 "andps" Andnpd_xmm_xmmm128 "andnpd" Orps_xmm_xmmm128 "orps" Xorpd_xmm_xmmm128 "xorpd"
        Unpcklps_xmm_xmmm128 "unpcklps" Unpckhpd_xmm_xmmm128 "unpckhpd"
        Cvtps2pd_xmm_xmmm64 "cvtps2pd" Cvtpd2ps_xmm_xmmm128 "cvtpd2ps" Cvtss2sd_xmm_xmmm32 "cvtss2sd"
        Cvtsd2ss_xmm_xmmm64 "cvtsd2ss" Cvtdq2ps_xmm_xmmm128 "cvtdq2ps" Cvtps2dq_xmm_xmmm128 "cvtps2dq"
        Cvttps2dq_xmm_xmmm128 "cvttps2dq" Cvtdq2pd_xmm_xmmm64 "cvtdq2pd" Cvtpd2dq_xmm_xmmm128 "cvtpd2dq"
        Cvttpd2dq_xmm_xmmm128 "cvttpd2dq"
        Punpcklbw_xmm_xmmm128 "punpcklbw" Punpcklwd_xmm_xmmm128 "punpcklwd" Punpckldq_xmm_xmmm128 "punpckldq"
        Punpcklqdq_xmm_xmmm128 "punpcklqdq" Punpckhbw_xmm_xmmm128 "punpckhbw" Punpckhqdq_xmm_xmmm128 "punpckhqdq"
        Packsswb_xmm_xmmm128 "packsswb" Packuswb_xmm_xmmm128 "packuswb" Packssdw_xmm_xmmm128 "packssdw"
        Pcmpgtb_xmm_xmmm128 "pcmpgtb" Pcmpgtd_xmm_xmmm128 "pcmpgtd" Pcmpeqb_xmm_xmmm128 "pcmpeqb"
        Pcmpeqw_xmm_xmmm128 "pcmpeqw" Pcmpeqd_xmm_xmmm128 "pcmpeqd"
        Psrlw_xmm_xmmm128 "psrlw" Psrld_xmm_xmmm128 "psrld" Psrlq_xmm_xmmm128 "psrlq" Psraw_xmm_xmmm128 "psraw"
        Psllq_xmm_xmmm128 "psllq" Paddb_xmm_xmmm128 "paddb" Paddq_xmm_xmmm128 "paddq" Paddsb_xmm_xmmm128 "paddsb"
        Paddusw_xmm_xmmm128 "paddusw" Psubb_xmm_xmmm128 "psubb" Psubq_xmm_xmmm128 "psubq"
        Psubsw_xmm_xmmm128 "psubsw" Psubusb_xmm_xmmm128 "psubusb" Pmullw_xmm_xmmm128 "pmullw"
        Pmulhw_xmm_xmmm128 "pmulhw" Pmulhuw_xmm_xmmm128 "pmulhuw" Pmuludq_xmm_xmmm128 "pmuludq"
        Pmaddwd_xmm_xmmm128 "pmaddwd" Psadbw_xmm_xmmm128 "psadbw" Pavgb_xmm_xmmm128 "pavgb"
        Pminub_xmm_xmmm128 "pminub" Pmaxsw_xmm_xmmm128 "pmaxsw" Pand_xmm_xmmm128 "pand" Pandn_xmm_xmmm128 "pandn"
        Por_xmm_xmmm128 "por" Pxor_xmm_xmmm128 "pxor"
        Movaps_xmm_xmmm128 "movaps" Movdqu_xmm_xmmm128 "movdqu" Movq_xmm_xmmm64 "movq"
    }
}

#[test]
fn sse3_to_sse4_2() {
    use iced_x86::CpuidFeature as F;
    if ![F::SSE3, F::SSSE3, F::SSE4_1, F::SSE4_2].into_iter().all(host_offers) {
        return;
    }
    legacy! {
        Addsubps_xmm_xmmm128 "addsubps" Haddpd_xmm_xmmm128 "haddpd" Hsubps_xmm_xmmm128 "hsubps"
        Movsldup_xmm_xmmm128 "movsldup" Movshdup_xmm_xmmm128 "movshdup" Movddup_xmm_xmmm64 "movddup"
        Pshufb_xmm_xmmm128 "pshufb" Phaddw_xmm_xmmm128 "phaddw" Phsubsw_xmm_xmmm128 "phsubsw"
        Pmaddubsw_xmm_xmmm128 "pmaddubsw" Psignd_xmm_xmmm128 "psignd" Pmulhrsw_xmm_xmmm128 "pmulhrsw"
        Pabsb_xmm_xmmm128 "pabsb" Pblendvb_xmm_xmmm128 "pblendvb" Blendvps_xmm_xmmm128 "blendvps"
        Blendvpd_xmm_xmmm128 "blendvpd" Pmovsxbw_xmm_xmmm64 "pmovsxbw" Pmovzxbq_xmm_xmmm16 "pmovzxbq"
        Pmuldq_xmm_xmmm128 "pmuldq" Pcmpeqq_xmm_xmmm128 "pcmpeqq" Pcmpgtq_xmm_xmmm128 "pcmpgtq"
        Packusdw_xmm_xmmm128 "packusdw" Pminsb_xmm_xmmm128 "pminsb" Pmaxud_xmm_xmmm128 "pmaxud"
        Pmulld_xmm_xmmm128 "pmulld" Phminposuw_xmm_xmmm128 "phminposuw"
    }
}

#[test]
fn aes_sha_and_gfni() {
    use iced_x86::CpuidFeature as F;
    if host_offers(F::AES) {
        legacy! {
            Aesenc_xmm_xmmm128 "aesenc" Aesenclast_xmm_xmmm128 "aesenclast" Aesdec_xmm_xmmm128 "aesdec"
            Aesdeclast_xmm_xmmm128 "aesdeclast" Aesimc_xmm_xmmm128 "aesimc"
        }
    }
    if host_offers(F::SHA) {
        legacy! {
            Sha1nexte_xmm_xmmm128 "sha1nexte" Sha1msg1_xmm_xmmm128 "sha1msg1" Sha1msg2_xmm_xmmm128 "sha1msg2"
            Sha256rnds2_xmm_xmmm128 "sha256rnds2" Sha256msg1_xmm_xmmm128 "sha256msg1"
            Sha256msg2_xmm_xmmm128 "sha256msg2"
        }
    }
    if host_offers(F::GFNI) {
        legacy! { Gf2p8mulb_xmm_xmmm128 "gf2p8mulb" }
    }
}
