//! CRC-32 in both common polynomials, by table and bit by bit.

use crate::Scale;
use crate::generate::Generator;
use crate::report::Report;

/// The polynomial of Ethernet and gzip, bit-reversed.
pub const IEEE: u32 = 0xedb8_8320;
/// Castagnoli's, that of the CRC32 instruction, bit-reversed.
pub const CASTAGNOLI: u32 = 0x82f6_3b78;

pub fn run(report: &mut Report, scale: &Scale) {
    let data = Generator::new(32).bytes(256 << 10);
    for (name, polynomial) in [("crc32", IEEE), ("crc32c", CASTAGNOLI)] {
        let table = table(polynomial);
        let mut by_table = 0;
        for _ in 0..scale.rounds {
            by_table =
                !data.iter().fold(!by_table, |crc, byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)]);
        }
        report.value(name, format_args!("{by_table:08x}"));
        let bits = data[..4096].iter().fold(!0, |crc, byte| step(polynomial, crc, *byte));
        let fast =
            data[..4096].iter().fold(!0, |crc: u32, byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)]);
        report.check(&format!("{name} bit by bit"), bits == fast);
    }
}

/// One byte more, bit by bit.
pub fn step(polynomial: u32, crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { polynomial } else { 0 })
}

fn table(polynomial: u32) -> [u32; 256] {
    std::array::from_fn(|byte| step(polynomial, 0, byte as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_are_the_catalogued_ones() {
        // The "check" of each in the catalogue of parametrised CRC algorithms: the CRC of "123456789".
        for (polynomial, check) in [(IEEE, 0xcbf4_3926), (CASTAGNOLI, 0xe306_9283)] {
            assert_eq!(!b"123456789".iter().fold(!0, |crc, byte| step(polynomial, crc, *byte)), check);
        }
    }
}
