//! A B-tree: inserted into, walked by ranges, emptied.

use std::collections::BTreeMap;
use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

pub fn start() -> io::Result<Round> {
    let mut random = Random::new(20);
    let keys: Vec<u32> = (0..15_000).map(|_| random.number() as u32).collect();
    Ok(Box::new(move || {
        let (mut tree, mut digest) = (BTreeMap::new(), Digest::default());
        for (at, key) in keys.iter().enumerate() {
            tree.insert(*key, at as u64);
        }
        for key in keys.iter().step_by(8) {
            digest.add(tree.range(key..).take(10).map(|(_, at)| at).sum());
        }
        for key in keys.iter().step_by(2) {
            digest.add(tree.remove(key).unwrap_or_default());
        }
        digest.add(tree.len() as u64);
        Ok(digest.value())
    }))
}
