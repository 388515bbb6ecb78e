//! Many findings in one short line.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A running SHA-256 over findings, shown by its first 16 bytes.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::new();
        digest.bytes(bytes);
        digest
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds a number.
    pub fn number(&mut self, number: impl Into<u64>) {
        self.0.update(number.into().to_le_bytes());
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0.clone().finalize()[..16]))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha_256_of_all_that_was_added() {
        // FIPS 180-2, appendix B.1: SHA-256 of "abc".
        let mut digest = Digest::of(b"a");
        digest.bytes(b"bc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223");
        let mut numbers = Digest::new();
        numbers.number(0x0102_u16);
        assert_eq!(numbers.to_string(), Digest::of(&[2, 1, 0, 0, 0, 0, 0, 0]).to_string());
    }
}
