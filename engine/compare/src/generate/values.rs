//! Numbers worth trying: corners of integers and of floating-point formats, and plain random ones.

use fastrand::Rng;
use iced_x86::MemorySize;

/// An integer of up to 64 bits.
pub fn integer(random: &mut Rng) -> u64 {
    match random.u8(..12) {
        0 => 0,
        1 => u64::MAX,
        2 => 1,
        3 => 1 << random.u32(..64),
        4 => (1 << random.u32(..64)) - 1,
        5 => u64::MAX << random.u32(..64),
        6 | 7 => random.u64(..256),
        8 => (random.i8(..)) as i64 as u64,
        9 => 0x0101_0101_0101_0101 * random.u64(..256),
        _ => random.u64(..),
    }
}

/// A single-precision number.
pub fn single(random: &mut Rng) -> u32 {
    let sign = random.u32(..2) << 31;
    sign | match random.u8(..16) {
        0 => 0,
        1 => 0x7f80_0000,
        2 => 0x7fc0_0000 | random.u32(..1 << 22),
        3 => 0x7f80_0001 | random.u32(..1 << 22),
        4 => random.u32(..1 << 23),
        5 => 0x0080_0000 | random.u32(..4),
        6 => 0x7f7f_ffff,
        7 => (random.i32(-70..70) as f32 * 0.5).to_bits() & !(1 << 31),
        8 => (1u64 << random.u32(..64)) as f32 as u32 & 0x7fff_ffff,
        9 => ((1u64 << random.u32(..64)) as f32).to_bits(),
        10 => (random.i64(..) as f32).to_bits() & 0x7fff_ffff,
        11..14 => (random.u32(110..145) << 23) | random.u32(..1 << 23),
        _ => random.u32(..1 << 31),
    }
}

/// A double-precision number.
pub fn double(random: &mut Rng) -> u64 {
    let sign = random.u64(..2) << 63;
    sign | match random.u8(..16) {
        0 => 0,
        1 => 0x7ff << 52,
        2 => 0xfff << 51 & !(1 << 63) | random.u64(..1 << 51),
        3 => 0x7ff << 52 | 1 | random.u64(..1 << 51),
        4 => random.u64(..1 << 52),
        5 => 1 << 52 | random.u64(..4),
        6 => 0x7fef_ffff_ffff_ffff,
        7 => (random.i32(-70..70) as f64 * 0.5).to_bits() & !(1 << 63),
        8 => f64::from(f32::from_bits(single(random))).to_bits() & !(1 << 63),
        9 => ((1u64 << random.u32(..64)) as f64).to_bits(),
        10 => (random.i64(..) as f64).to_bits() & !(1 << 63),
        11..14 => (random.u64(980..1070) << 52) | random.u64(..1 << 52),
        _ => random.u64(..1 << 63),
    }
}

/// An 80-bit number, invalid encodings (pseudo-infinities, unnormals) included.
pub fn extended(random: &mut Rng) -> u128 {
    let integer_bit = 1u128 << 63;
    let exponent = |e: u32| u128::from(e) << 64;
    let fraction = u128::from(random.u64(..1 << 63));
    let sign = u128::from(random.u8(..2)) << 79;
    sign | match random.u8(..20) {
        0 => 0,
        1 => exponent(0x7fff) | integer_bit,
        2 => exponent(0x7fff) | integer_bit | 1 << 62 | fraction >> 1,
        3 => exponent(0x7fff) | integer_bit | 1 | fraction >> 1,
        4 => fraction,
        5 => integer_bit | fraction,
        6 => exponent(0x7fff) | fraction,
        7 => exponent(random.u32(1..0x7fff)) | fraction,
        8 => exponent(0x3fff) | integer_bit,
        9 => exponent(0x7ffe) | integer_bit | fraction,
        10 => exponent(1) | integer_bit | fraction,
        11 => exponent(0x3fff + random.u32(..70)) | integer_bit | u128::from(random.u64(..8)) << 60,
        12..18 => exponent(random.u32(0x3fdf..0x4040)) | integer_bit | fraction,
        _ => exponent(random.u32(1..0x7fff)) | integer_bit | fraction,
    }
}

/// A vector register: lanes of one format.
pub fn vector(random: &mut Rng) -> u128 {
    let wide = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
    match random.u8(..10) {
        0 => 0,
        1 => u128::MAX,
        2..5 => (0..4).fold(0, |all, n| all | u128::from(single(random)) << (32 * n)),
        5..7 => wide(double(random), double(random)),
        7 => (0..16).fold(0, |all, n| all | u128::from(random.u8(..) & 0x8f) << (8 * n)),
        8 => wide(integer(random), integer(random)),
        _ => random.u128(..),
    }
}

/// Bytes that suit a memory operand; those behind its size count for nothing.
pub fn memory(random: &mut Rng, size: MemorySize) -> [u8; 32] {
    let mut bytes = [0; 32];
    let fill = |bytes: &mut [u8; 32], width: usize, next: &mut dyn FnMut() -> u128| {
        for lane in bytes.chunks_mut(width) {
            lane.copy_from_slice(&next().to_le_bytes()[..lane.len()]);
        }
    };
    match size.element_type() {
        MemorySize::Float32 => fill(&mut bytes, 4, &mut || single(random).into()),
        MemorySize::Float64 => fill(&mut bytes, 8, &mut || double(random).into()),
        MemorySize::Float80 => bytes[..16].copy_from_slice(&extended(random).to_le_bytes()),
        MemorySize::Bcd => {
            // Ten bytes: eighteen digits, sometimes one that is none, and the sign.
            bytes[..9].iter_mut().for_each(|byte| *byte = random.u8(..10) | random.u8(..10) << 4);
            if random.u8(..8) == 0 {
                bytes[random.usize(..9)] = random.u8(..);
            }
            bytes[9] = random.u8(..2) << 7;
        }
        MemorySize::Float16 => fill(&mut bytes, 2, &mut || u128::from(random.u16(..))),
        element => {
            let width = element.size().clamp(1, 8);
            let width = if width.is_power_of_two() { width } else { 8 };
            fill(&mut bytes, width, &mut || integer(random).into());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_corners_are_hit() {
        let mut random = Rng::with_seed(3);
        let singles: Vec<f32> = (0..2000).map(|_| f32::from_bits(single(&mut random))).collect();
        let doubles: Vec<f64> = (0..2000).map(|_| f64::from_bits(double(&mut random))).collect();
        assert!(singles.iter().any(|x| x.is_nan()) && doubles.iter().any(|x| x.is_nan()));
        assert!(singles.iter().any(|x| x.is_subnormal()) && doubles.iter().any(|x| x.is_subnormal()));
        assert!(singles.contains(&f32::NEG_INFINITY) && doubles.contains(&f64::INFINITY));
        assert!((0..2000).all(|_| extended(&mut random) >> 80 == 0));
    }

    #[test]
    fn memory_suits_its_type() {
        let mut random = Rng::with_seed(4);
        for size in MemorySize::values() {
            memory(&mut random, size);
        }
        let digits = memory(&mut random, MemorySize::Bcd);
        assert_eq!(digits[9] & 0x7f, 0);
    }
}
