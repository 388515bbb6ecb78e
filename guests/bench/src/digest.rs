//! A result in one number: what a round of work computed, so that a wrong machine is found out.

/// A running digest. No cryptography: the work is what should take the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds a number.
    pub fn add(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Adds a number by its bits.
    pub fn add_float(&mut self, number: f64) {
        self.add(number.to_bits());
    }

    /// Adds bytes.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.add(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        for &byte in words.remainder() {
            self.add(u64::from(byte));
        }
        self.add(bytes.len() as u64);
    }

    /// The digest of all that was added.
    pub fn value(self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut digest = Digest::default();
        digest.add_bytes(bytes);
        digest.value()
    }

    #[test]
    fn every_byte_and_their_order_count() {
        let all =
            [&b""[..], b"\0", b"\0\0", b"abcdefgh", b"abcdefgi", b"bacdefgh", b"abcdefgh\0", b"abcdefgh\x01"];
        let digests: std::collections::BTreeSet<u64> = all.into_iter().map(of).collect();
        assert_eq!(digests.len(), all.len());
    }
}
