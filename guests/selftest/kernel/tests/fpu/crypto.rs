//! AES, carry-less multiplication and SHA.

use core::arch::asm;

use crate::harness::Outcome;

family!("fpu": aes, pclmulqdq, rdrand, rdseed, sha);

/// One round and one key step on XMM0 and XMM1; XMM0 after it.
macro_rules! apply {
    ($code:literal, $a:expr, $b:expr) => {{
        let (a, b): (u128, u128) = ($a, $b);
        let mut out = 0u128;
        // SAFETY: touches two vector registers.
        unsafe {
            asm!(
                "movdqu xmm0, [{a}]", "movdqu xmm1, [{b}]", $code, "movdqu [{out}], xmm0",
                a = in(reg) &raw const a, b = in(reg) &raw const b, out = in(reg) &raw mut out,
                out("xmm0") _, out("xmm1") _,
            );
        }
        out
    }};
}

/// The example of Intel's AES white paper (323641): one state, one key.
fn aes() -> Outcome {
    need!(AES);
    let (state, key) =
        (0x7b5b_5465_7374_5665_6374_6f72_5d53_475du128, 0x4869_2853_6861_7929_5b47_7565_726f_6e5du128);
    check!(apply!("aesenc xmm0, xmm1", state, key) == 0xa831_1c2f_9fdb_a3c5_8b10_4b58_ded7_e595, "aesenc");
    check!(
        apply!("aesenclast xmm0, xmm1", state, key) == 0xc7fb_881e_938c_5964_177e_c425_53fd_c611,
        "aesenclast"
    );
    check!(apply!("aesdec xmm0, xmm1", state, key) == 0x138a_c342_faea_2787_b58e_b95e_b730_392a, "aesdec");
    check!(
        apply!("aesdeclast xmm0, xmm1", state, key) == 0xc5a3_91ef_6b31_7f95_d410_637b_72a5_93d0,
        "aesdeclast"
    );
    check!(
        apply!("aesimc xmm0, xmm1", 0, 0x4869_2853_6861_7929_5b47_7565_726f_6e5d)
            == 0x597f_8df1_09ef_aa15_f39b_c5a1_19d8_59b6,
        "aesimc"
    );
    // FIPS 197, appendix A.1: the first step of the key expansion.
    let key = u128::from_le_bytes([
        0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
    ]);
    let step = apply!("aeskeygenassist xmm0, xmm1, 1", 0, key);
    check!((step >> 96) as u32 == 0x01eb_848b, "aeskeygenassist {step:#x}");
    Ok(())
}

fn pclmulqdq() -> Outcome {
    need!(PCLMULQDQ);
    let (a, b) =
        (0x7b5b_5465_7374_5665_6374_6f72_5d53_475du128, 0x4869_2853_6861_7929_5b47_7565_726f_6e5du128);
    check!(
        apply!("pclmulqdq xmm0, xmm1, 0", a, b) == 0x1d4d_84c8_5c34_40c0_9296_33d5_d36f_0451,
        "low by low"
    );
    check!(
        apply!("pclmulqdq xmm0, xmm1, 0x11", a, b) == product((a >> 64) as u64, (b >> 64) as u64),
        "high by high"
    );
    check!(apply!("pclmulqdq xmm0, xmm1, 1", a, b) == product((a >> 64) as u64, b as u64), "high by low");
    Ok(())
}

/// A product without carries, bit by bit.
fn product(a: u64, b: u64) -> u128 {
    (0..64).filter(|bit| b >> bit & 1 != 0).fold(0, |sum, bit| sum ^ u128::from(a) << bit)
}

/// Random numbers come with CF set and all other flags clear, and are not always the same.
fn rdrand() -> Outcome {
    need!(RDRAND);
    let draw = || exec!("2: rdrand rax; jnc 2b", 0, 0, 0, 0x8d5);
    let (first, second) = (draw(), draw());
    check_eq!(first.flags & 0x8d5, 1, "flags");
    check!(first.rax != second.rax, "the same number twice: {:#x}", first.rax);
    check_eq!(
        exec!("2: rdrand ax; jnc 2b", 0x1234_0000, 0, 0, 0).rax >> 16,
        0x1234,
        "upper part after rdrand ax"
    );
    Ok(())
}

fn rdseed() -> Outcome {
    need!(RDSEED);
    let draw = || exec!("2: rdseed rax; jnc 2b", 0, 0, 0, 0).rax;
    let (first, second) = (draw(), draw());
    check!(first != second, "the same number twice: {first:#x}");
    Ok(())
}

/// The message schedule of SHA-256 against its definition.
fn sha() -> Outcome {
    need!(SHA);
    let words = [0x6162_6380u32, 0x1111_2222, 0x3333_4444, 0x5555_6666, 0x7777_8888];
    let pack = |w: &[u32]| w.iter().rev().fold(0u128, |v, &word| v << 32 | u128::from(word));
    let sigma = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
    let want: [u32; 4] = core::array::from_fn(|i| words[i].wrapping_add(sigma(words[i + 1])));
    let got = apply!("sha256msg1 xmm0, xmm1", pack(&words[..4]), pack(&words[4..]));
    check!(got == pack(&want), "sha256msg1");
    Ok(())
}
