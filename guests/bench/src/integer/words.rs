//! The words of a text, counted in a hash table.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;

use crate::digest::Digest;
use crate::text::prose;
use crate::workload::Round;

pub fn start() -> io::Result<Round> {
    let text = prose(256 << 10, 19);
    Ok(Box::new(move || {
        // SipHash with a fixed key, so that every run does the same work.
        let mut counts = HashMap::<Vec<u8>, u64, BuildHasherDefault<DefaultHasher>>::default();
        for word in text.as_bytes().split(|byte| b" .\n".contains(byte)) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_vec(), 1)),
            }
        }
        let mut digest = Digest::default();
        digest.add(counts.len() as u64);
        digest.add(counts.values().fold(0, |sum, count| sum ^ count.wrapping_mul(*count + 1)));
        Ok(digest.value())
    }))
}
