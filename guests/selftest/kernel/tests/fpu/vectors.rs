//! Packed integers, from SSE2 to SSE4.2.

use core::arch::asm;

use crate::harness::Outcome;

family!("fpu": sse2_integers, sse2_shifts, sse2_shuffles, ssse3, sse41, sse42_strings, sse42_crc, masked_store);

/// Applies an instruction to XMM0 and XMM1; XMM0 after it.
macro_rules! apply {
    ($code:literal, $a:expr, $b:expr) => {{
        let (a, b): (u128, u128) = ($a, $b);
        let mut out = 0u128;
        // SAFETY: touches two vector registers.
        unsafe {
            asm!(
                "movdqu xmm0, [{a}]", "movdqu xmm1, [{b}]", $code, "movdqu [{out}], xmm0",
                a = in(reg) &raw const a, b = in(reg) &raw const b, out = in(reg) &raw mut out,
                out("xmm0") _, out("xmm1") _, out("rax") _, out("rcx") _, out("rdx") _,
            );
        }
        out
    }};
}

/// Fails unless an instruction gives a value.
macro_rules! check_vector {
    ($code:literal, $a:expr, $b:expr, $want:expr) => {{
        let (got, want): (u128, u128) = (apply!($code, $a, $b), $want);
        check!(got == want, "{}: {got:#034x}, expected {want:#034x}", $code);
    }};
}

const A: u128 = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;
const B: u128 = 0xf0e0_d0c0_b0a0_9080_7060_5040_3020_1000;

fn sse2_integers() -> Outcome {
    check_vector!("paddb xmm0, xmm1", A, B, 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_feff);
    check_vector!("paddq xmm0, xmm1", A, B, 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_feff);
    check_vector!("paddusb xmm0, xmm1", A, A, 0x0022_4466_88aa_ccee_ffff_ffff_ffff_ffff);
    check_vector!("paddsb xmm0, xmm1", A, A, 0x0022_4466_7f7f_7f7f_8080_8080_98ba_dcfe);
    check_vector!("psubw xmm0, xmm1", B, A, 0xf0cf_ae8d_6c4b_2a09_e7c7_a585_6343_2101);
    check_vector!("pmullw xmm0, xmm1", 0x0003_0002_ffff_8000, 0x0005_ffff_ffff_0002, 0x000f_fffe_0001_0000);
    check_vector!("pmulhw xmm0, xmm1", 0x4000_ffff_8000, 0x0004_0002_8000, 0x0001_ffff_4000);
    check_vector!("pmulhuw xmm0, xmm1", 0xffff_8000, 0xffff_0002, 0xfffe_0001);
    check_vector!("pmaddwd xmm0, xmm1", 0x0003_0002, 0x0005_0007, 29);
    check_vector!("pmuludq xmm0, xmm1", 0xffff_ffff, 0xffff_ffff, 0xffff_fffe_0000_0001);
    check_vector!("psadbw xmm0, xmm1", 0x0102_0304, 0x0400_0001, 3 + 2 + 3 + 3);
    check_vector!("pavgb xmm0, xmm1", 0x01ff, 0x02ff, 0x02ff);
    check_vector!("pminub xmm0, xmm1", 0x01ff, 0x02fe, 0x01fe);
    check_vector!("pmaxsw xmm0, xmm1", 0xffff_0001, 0x0001_ffff, 0x0001_0001);
    check_vector!("pcmpeqb xmm0, xmm1", 0x01_0203, 0x01_0003, u128::MAX ^ 0xff00);
    check_vector!("pcmpgtd xmm0, xmm1", 0x8000_0000_0000_0005, 0x0000_0000_0000_0004, 0x0000_0000_ffff_ffff);
    check_vector!("pandn xmm0, xmm1", A, u128::MAX, !A);
    check_vector!("pxor xmm0, xmm0", A, B, 0);
    Ok(())
}

fn sse2_shifts() -> Outcome {
    check_vector!("psllw xmm0, 4", 0x8001_1234, 0, 0x0010_2340);
    check_vector!("psrad xmm0, 31", 0x8000_0000_7fff_ffff, 0, 0xffff_ffff_0000_0000);
    check_vector!("psrlq xmm0, xmm1", 1u128 << 127 | 0x100, 4, 1u128 << 123 | 0x10);
    // A count beyond the width clears, or fills with the sign.
    check_vector!("psllq xmm0, xmm1", A, 64, 0);
    check_vector!("psllq xmm0, xmm1", A, 1 << 32, 0);
    check_vector!("psraw xmm0, xmm1", 0x8000_7fff, 1 << 40, 0xffff_0000);
    check_vector!("pslldq xmm0, 3", A, 0, A << 24);
    check_vector!("psrldq xmm0, 15", A, 0, A >> 120);
    check_vector!("psrldq xmm0, 16", A, 0, 0);
    Ok(())
}

fn sse2_shuffles() -> Outcome {
    check_vector!("pshufd xmm0, xmm1, 0x1b", 0, A, 0xccdd_eeff_8899_aabb_4455_6677_0011_2233);
    check_vector!("pshuflw xmm0, xmm1, 0x1b", 0, A, 0x0011_2233_4455_6677_eeff_ccdd_aabb_8899);
    check_vector!("pshufhw xmm0, xmm1, 0", 0, A, 0x6677_6677_6677_6677_8899_aabb_ccdd_eeff);
    check_vector!(
        "punpcklbw xmm0, xmm1",
        0x0807_0605_0403_0201,
        0x1817_1615_1413_1211,
        0x1808_1707_1606_1505_1404_1303_1202_1101
    );
    check_vector!("punpckhqdq xmm0, xmm1", A, B, B & !(u64::MAX as u128) | A >> 64);
    check_vector!("packuswb xmm0, xmm1", 0x0100_ffff_007f_0005, 0, 0xff00_7f05);
    check_vector!("packssdw xmm0, xmm1", 0x7fff_ffff_ffff_0000, 0, 0x7fff_8000);
    check_vector!("mov eax, 0x1234; pinsrw xmm0, eax, 3", 0, 0, 0x1234 << 48);
    Ok(())
}

fn ssse3() -> Outcome {
    need!(SSSE3);
    check_vector!(
        "pshufb xmm0, xmm1",
        A,
        0x8000_0102_0304_0506_0708_090a_0b0c_0d0f,
        0x00ff_eedd_ccbb_aa99_8877_6655_4433_2200
    );
    check_vector!("palignr xmm0, xmm1, 4", A, B, A << 96 | B >> 32);
    check_vector!("palignr xmm0, xmm1, 20", A, B, A >> 32);
    check_vector!("pabsd xmm0, xmm1", 0, 0xffff_fffe_8000_0000, 0x0000_0002_8000_0000);
    check_vector!("psignw xmm0, xmm1", 0x0005_0006_0007, 0xffff_0000_0001, 0xfffb_0000_0007);
    check_vector!(
        "phaddd xmm0, xmm1",
        0x0000_0002_0000_0001,
        0x0000_0004_0000_0003,
        0x0000_0000_0000_0007_0000_0000_0000_0003
    );
    check_vector!("pmaddubsw xmm0, xmm1", 0xff02, 0x0203, 0x0204);
    check_vector!("pmulhrsw xmm0, xmm1", 0x4000_8000, 0x4000_8000, 0x2000_8000);
    Ok(())
}

fn sse41() -> Outcome {
    need!(SSE41);
    check_vector!("pmulld xmm0, xmm1", 0xffff_ffff_0001_0000, 0x0000_0005_0001_0001, 0xffff_fffb_0001_0000);
    check_vector!("pmovzxbw xmm0, xmm1", 0, 0x0807_0605_0403_0201, 0x0008_0007_0006_0005_0004_0003_0002_0001);
    check_vector!("pmovsxwd xmm0, xmm1", 0, 0x8000_7fff_ffff_0001, 0xffff_8000_0000_7fff_ffff_ffff_0000_0001);
    check_vector!("pblendw xmm0, xmm1, 0x0f", A, B, A & !(u64::MAX as u128) | B & u64::MAX as u128);
    check_vector!("pminud xmm0, xmm1", 0xffff_ffff_0000_0001, 0x0000_0001_ffff_ffff, 0x0000_0001_0000_0001);
    check_vector!("packusdw xmm0, xmm1", 0x0001_0000_ffff_ffff, 0, 0xffff_0000);
    check_vector!("pextrb eax, xmm0, 5; movd xmm0, eax", A, 0, 0xaa);
    check_vector!("mov rax, -1; pinsrd xmm0, eax, 2", 0, 0, 0xffff_ffffu128 << 64);
    check_vector!("phminposuw xmm0, xmm1", 0, 0x0009_0008_0007_0006_0005_0002_0003_0004, 2 << 16 | 2);
    check_vector!(
        "roundsd xmm0, xmm1, 9",
        0,
        u128::from((-2.5f64).to_bits()),
        u128::from((-3.0f64).to_bits())
    );
    check_vector!(
        "dpps xmm0, xmm1, 0xf1",
        0x4040_0000_4000_0000,
        0x40a0_0000_4080_0000,
        u128::from(23f32.to_bits())
    );
    // Element 0 goes to element 1, elements 2 and 3 are cleared.
    check_vector!("insertps xmm0, xmm1, 0x1c", A, 0x1234_5678, 0x1234_5678_ccdd_eeff);
    let flags = exec!("pxor xmm0, xmm0; ptest xmm0, xmm0", 0, 0, 0, 0x8d5).flags;
    check_eq!(flags & 0x8d5, 0x41, "flags of ptest of zero");
    Ok(())
}

fn sse42_strings() -> Outcome {
    need!(SSE42);
    let text = u128::from_le_bytes(*b"hello, world\0\0\0\0");
    let set = u128::from_le_bytes(*b"wo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    // Any of "wo": the first is at 4.
    check_vector!("pcmpistri xmm0, xmm1, 0; movd xmm0, ecx", set, text, 4);
    // The most significant match: at 8, the second "o".
    check_vector!("pcmpistri xmm0, xmm1, 0x40; movd xmm0, ecx", set, text, 8);
    let part = u128::from_le_bytes(*b"wor\0\0\0\0\0\0\0\0\0\0\0\0\0");
    check_vector!("pcmpistri xmm0, xmm1, 0x0c; movd xmm0, ecx", part, text, 7);
    let range = u128::from_le_bytes(*b"az\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    check_vector!("pcmpistrm xmm0, xmm1, 0x04", range, text, 0b1111_1001_1111);
    check_vector!("mov eax, 2; mov edx, 12; pcmpestri xmm0, xmm1, 0; movd xmm0, ecx", set, text, 4);
    Ok(())
}

fn sse42_crc() -> Outcome {
    need!(SSE42);
    // CRC-32C of "123456789" is e3069283.
    let mut crc = 0xffff_ffffu64;
    crc = exec!("crc32 rax, rcx", crc, u64::from_le_bytes(*b"12345678"), 0, 0).rax;
    crc = exec!("crc32 eax, cl", crc, b'9', 0, 0).rax;
    check_eq!(!crc as u32, 0xe306_9283u32, "crc32c");
    Ok(())
}

fn masked_store() -> Outcome {
    let mut out = [0x11u8; 16];
    let (value, mask) = (A, 0x80_00_80u128);
    // SAFETY: writes at most 16 bytes at `out`.
    unsafe {
        asm!("movdqu xmm0, [{}]", "movdqu xmm1, [{}]", "maskmovdqu xmm0, xmm1", in(reg) &raw const value, in(reg) &raw const mask,
             in("rdi") &raw mut out, out("xmm0") _, out("xmm1") _);
    }
    check_eq!(
        u64::from_le_bytes(out[..8].try_into().unwrap_or_default()),
        0x1111_1111_11dd_11ffu64,
        "bytes stored"
    );
    Ok(())
}
