//! SHA-256 in plain arithmetic (FIPS 180-4).

use std::io;

use crate::random::Random;
use crate::workload::Round;

/// The first 32 bits of the fractional part of a root of `n`, to the power of 1/`degree`.
fn root_bits(n: u64, degree: u32) -> u32 {
    // The largest r with r^degree ≤ n · 2^(32 · degree); its low 32 bits are the fraction's.
    let (mut low, mut high) = (0_u128, 1 << 36);
    let at_most = |r: u128| -> bool {
        // In halves: r^3 takes up to 108 bits, and n · 2^96 up to 105.
        r.pow(degree) <= u128::from(n) << (32 * degree)
    };
    while high - low > 1 {
        let middle = (low + high) / 2;
        if at_most(middle) { low = middle } else { high = middle }
    }
    low as u32
}

/// What the algorithm starts from.
pub struct Constants {
    initial: [u32; 8],
    rounds: [u32; 64],
}

impl Constants {
    /// Section 4.2.2 and 5.3.3: from the cube roots and square roots of the first primes.
    fn new() -> Self {
        let mut primes = (2..).filter(|n: &u64| (2..*n).all(|divisor| !n.is_multiple_of(divisor)));
        let primes: [u64; 64] = std::array::from_fn(|_| primes.next().unwrap_or_default());
        Self {
            initial: std::array::from_fn(|at| root_bits(primes[at], 2)),
            rounds: std::array::from_fn(|at| root_bits(primes[at], 3)),
        }
    }

    /// Section 6.2.2.
    #[inline(always)]
    pub fn block(&self, state: &mut [u32; 8], block: &[u8; 64]) {
        let mut w = [0_u32; 64];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for t in 16..64 {
            let s0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ w[t - 15] >> 3;
            let s1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ w[t - 2] >> 10;
            w[t] = w[t - 16].wrapping_add(s0).wrapping_add(w[t - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        for (k, w) in self.rounds.iter().zip(&w) {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = e & f ^ !e & g;
            let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(*k).wrapping_add(*w);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = a & b ^ a & c ^ b & c;
            (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
            (d, c, b, a) = (c, b, a, t1.wrapping_add(s0.wrapping_add(majority)));
        }
        for (word, by) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(by);
        }
    }

    fn hash(&self, bytes: &[u8], block: impl Fn(&Self, &mut [u32; 8], &[u8; 64])) -> [u32; 8] {
        let mut state = self.initial;
        let (blocks, rest) = bytes.as_chunks();
        blocks.iter().for_each(|bytes| block(self, &mut state, bytes));
        let mut last = [0; 128];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        let length = if rest.len() < 56 { 64 } else { 128 };
        last[length - 8..length].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
        last[..length].as_chunks().0.iter().for_each(|bytes| block(self, &mut state, bytes));
        state
    }
}

pub fn start() -> io::Result<Round> {
    Ok(rounds(Constants::block))
}

/// Rounds with the work on a block of one's own.
pub fn rounds(block: impl Fn(&Constants, &mut [u32; 8], &[u8; 64]) + 'static) -> Round {
    let (constants, mut random) = (Constants::new(), Random::new(17));
    let bytes: Vec<u8> = (0..1 << 20).map(|_| random.number() as u8).collect();
    Box::new(move || {
        let hash = constants.hash(&bytes, &block);
        Ok(u64::from(hash[0]) << 32 | u64::from(hash[7]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        let constants = Constants::new();
        assert_eq!((constants.initial[0], constants.rounds[63]), (0x6a09_e667, 0xc671_78f2));
        let hash = |text: &str| constants.hash(text.as_bytes(), Constants::block);
        assert_eq!(hash("abc")[..2], [0xba78_16bf, 0x8f01_cfea]);
        assert_eq!(
            hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")[..2],
            [0x248d_6a61, 0xd206_38b8]
        );
        assert_eq!(hash("")[7], 0x7852_b855);
    }
}
