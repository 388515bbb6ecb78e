//! Instructions that not every processor has, held against plain code where they are there.

#![allow(unsafe_code)] // calls of functions that need a processor feature, after a look whether it is there

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u64, _mm_shuffle_epi8, _popcnt64,
};

use super::aes::{self, State};
use super::checksum::{CASTAGNOLI, step};
use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    let mut numbers = Generator::new(11);
    let pairs: Vec<(u128, u128)> =
        (0..200 * scale.rounds).map(|_| (wide(&mut numbers), wide(&mut numbers))).collect();

    compare(report, &pairs, "popcnt", is_x86_feature_detected!("popcnt"), count, |a, b| {
        // SAFETY: the processor has POPCNT, or compare() does not call this.
        unsafe { popcnt(a, b) }
    });
    compare(report, &pairs, "crc32 instruction", is_x86_feature_detected!("sse4.2"), castagnoli, |a, b| {
        // SAFETY: as above, SSE4.2.
        unsafe { crc32(a, b) }
    });
    compare(
        report,
        &pairs,
        "carry-less products",
        is_x86_feature_detected!("pclmulqdq"),
        carry_less,
        |a, b| {
            // SAFETY: as above, PCLMULQDQ.
            unsafe { pclmulqdq(a, b) }
        },
    );
    compare(report, &pairs, "byte shuffles", is_x86_feature_detected!("ssse3"), shuffle, |a, b| {
        // SAFETY: as above, SSSE3.
        unsafe { pshufb(a, b) }
    });
    compare(report, &pairs, "AES rounds", is_x86_feature_detected!("aes"), aes_round, |a, b| {
        // SAFETY: as above, AES.
        unsafe { aesenc(a, b) }
    });
}

/// Prints the plain results, and FAIL where the instruction is there and gives others.
fn compare(
    report: &mut Report,
    pairs: &[(u128, u128)],
    name: &str,
    present: bool,
    plain: fn(u128, u128) -> u128,
    instruction: fn(u128, u128) -> u128,
) {
    let mut digest = Digest::new();
    let mut right = true;
    for &(a, b) in pairs {
        let result = plain(a, b);
        right &= !present || instruction(a, b) == result;
        digest.bytes(&result.to_le_bytes());
    }
    report.value(name, digest);
    report.check(&format!("{name} where there are such"), right);
}

fn wide(numbers: &mut Generator) -> u128 {
    u128::from(numbers.next()) << 64 | u128::from(numbers.next())
}

fn vector(number: u128) -> __m128i {
    // SAFETY: both are 16 bytes of which every pattern is a value.
    unsafe { std::mem::transmute(number) }
}

fn number(vector: __m128i) -> u128 {
    // SAFETY: as in vector().
    unsafe { std::mem::transmute(vector) }
}

fn count(a: u128, b: u128) -> u128 {
    // Shift and mask, as the compiler would make POPCNT of count_ones() only where it may.
    (0..128).map(|bit| ((a ^ b) >> bit) & 1).sum()
}

#[target_feature(enable = "popcnt")]
fn popcnt(a: u128, b: u128) -> u128 {
    let mixed = a ^ b;
    let ones = _popcnt64((mixed as u64).cast_signed()) + _popcnt64(((mixed >> 64) as u64).cast_signed());
    u128::from(ones.cast_unsigned())
}

fn castagnoli(a: u128, b: u128) -> u128 {
    let bytes = (a as u64).to_le_bytes().into_iter().chain([b as u8]);
    u128::from(bytes.fold((b >> 96) as u32, |crc, byte| step(CASTAGNOLI, crc, byte)))
}

#[target_feature(enable = "sse4.2")]
fn crc32(a: u128, b: u128) -> u128 {
    let crc = _mm_crc32_u64((b >> 96) as u64, a as u64);
    u128::from(_mm_crc32_u8(crc as u32, b as u8))
}

fn carry_less(a: u128, b: u128) -> u128 {
    // The low half of one times the high half of the other.
    let (a, b) = (a & u128::from(u64::MAX), b >> 64);
    (0..64).filter(|bit| b >> bit & 1 == 1).fold(0, |product, bit| product ^ (a << bit))
}

#[target_feature(enable = "pclmulqdq")]
fn pclmulqdq(a: u128, b: u128) -> u128 {
    number(_mm_clmulepi64_si128::<0x10>(vector(a), vector(b)))
}

fn shuffle(a: u128, b: u128) -> u128 {
    let from = a.to_le_bytes();
    let pick = |index: u8| if index & 0x80 == 0 { from[usize::from(index % 16)] } else { 0 };
    u128::from_le_bytes(b.to_le_bytes().map(pick))
}

#[target_feature(enable = "ssse3")]
fn pshufb(a: u128, b: u128) -> u128 {
    number(_mm_shuffle_epi8(vector(a), vector(b)))
}

fn aes_round(a: u128, b: u128) -> u128 {
    let (state, key): (State, State) = (a.to_le_bytes(), b.to_le_bytes());
    u128::from_le_bytes(aes::encrypt_round(state, key))
}

#[target_feature(enable = "aes")]
fn aesenc(a: u128, b: u128) -> u128 {
    number(_mm_aesenc_si128(vector(a), vector(b)))
}
