//! Words at random places of a large table, changed and changed back (after the HPC Challenge's RandomAccess).

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

/// Words of the table: 64 MiB.
const WORDS: usize = 8 << 20;
const UPDATES: usize = 250_000;

fn pass(table: &mut [u64], digest: &mut Digest) {
    let (mut random, mut sum) = (Random::new(42), 0_u64);
    for _ in 0..UPDATES {
        let number = random.number();
        let word = &mut table[number as usize % WORDS];
        sum = sum.wrapping_add(*word);
        *word ^= number;
    }
    digest.add(sum);
}

pub fn start() -> io::Result<Round> {
    let mut table: Vec<u64> = (0..WORDS as u64).collect();
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        pass(&mut table, &mut digest);
        pass(&mut table, &mut digest);
        Ok(digest.value())
    }))
}
