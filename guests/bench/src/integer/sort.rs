//! Integers, put into order.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

pub fn start() -> io::Result<Round> {
    let mut random = Random::new(15);
    let numbers: Vec<u64> = (0..1 << 18).map(|_| random.number()).collect();
    let mut sorted = numbers.clone();
    Ok(Box::new(move || {
        sorted.copy_from_slice(&numbers);
        sorted.sort_unstable();
        let mut digest = Digest::default();
        sorted.iter().step_by(257).for_each(|number| digest.add(*number));
        Ok(digest.value())
    }))
}
