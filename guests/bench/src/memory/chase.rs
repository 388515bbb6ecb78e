//! A chain of pointers through all lines of a buffer, in random order: each load waits for the one before.

use std::io;

use crate::random::Random;
use crate::workload::Round;

/// A cache line: which comes next, and its own number in the chain.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    next: u32,
    number: u32,
}

/// One cycle through all of them.
fn chain(lines: usize) -> Vec<Line> {
    let mut order: Vec<u32> = (0..lines as u32).collect();
    Random::new(41).shuffle(&mut order);
    let mut chain = vec![Line { next: 0, number: 0 }; lines];
    for (number, place) in order.iter().enumerate() {
        let next = order[(number + 1) % lines];
        chain[*place as usize] = Line { next, number: number as u32 };
    }
    chain
}

/// Each round goes on where the one before stopped, or a large buffer would be in the caches after all. The lines'
/// numbers tell whether the way was the right one.
pub fn start(bytes: usize, steps: usize) -> io::Result<Round> {
    let chain = chain(bytes / size_of::<Line>());
    let mut at = 0_u32;
    Ok(Box::new(move || {
        let from = chain[at as usize].number as usize;
        for _ in 0..steps {
            at = chain[at as usize].next;
        }
        let gone = (chain[at as usize].number as usize + chain.len() - from) % chain.len();
        if gone != steps % chain.len() {
            return Err(io::Error::other(format!("{steps} steps led {gone} further")));
        }
        Ok(steps as u64)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_goes_through_all_lines() {
        let chain = chain(100);
        let mut seen = [false; 100];
        let mut at = 0;
        for _ in 0..100 {
            assert!(!std::mem::replace(&mut seen[at], true));
            at = chain[at].next as usize;
        }
        assert_eq!(at, 0);
    }
}
