//! CRC-32, byte for byte through a table: each step waits for the one before.

use std::io;

use crate::random::Random;
use crate::workload::Round;

/// The table of the polynomial of IEEE 802.3, reflected.
fn table() -> [u32; 256] {
    std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn crc(table: &[u32; 256], bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

pub fn start() -> io::Result<Round> {
    let (table, mut random) = (table(), Random::new(14));
    let bytes: Vec<u8> = (0..1 << 20).map(|_| random.number() as u8).collect();
    Ok(Box::new(move || Ok(u64::from(crc(&table, &bytes)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_the_standards() {
        assert_eq!(crc(&table(), b"123456789"), 0xcbf4_3926);
    }
}
