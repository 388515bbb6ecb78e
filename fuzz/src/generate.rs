//! Inputs out of a seed and an index.

use fastrand::Rng;

/// Numbers at which something begins or ends.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xfff,
    0x1000,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// The input of this index. `longest` bounds its length; `seeds` may be empty.
pub fn input(seed: u64, index: u64, seeds: &[Vec<u8>], longest: usize) -> Vec<u8> {
    // Every seed as it is comes first.
    if let Some(seed) = usize::try_from(index).ok().and_then(|index| seeds.get(index)) {
        return seed[..seed.len().min(longest)].to_vec();
    }
    let mut rng = Rng::with_seed(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut input = match seeds.len() {
        0 => noise(&mut rng, longest),
        // Now and then from nothing, to get away from the seeds.
        _ if rng.u8(..) < 16 => noise(&mut rng, longest),
        count => seeds[rng.usize(..count)].clone(),
    };
    for _ in 0..1 << rng.u32(..5) {
        mutate(&mut rng, &mut input, seeds, longest);
    }
    input.truncate(longest);
    input
}

fn noise(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let most = longest >> rng.u32(..8);
    let length = rng.usize(..=most);
    (0..length).map(|_| rng.u8(..)).collect()
}

/// Changes one thing.
fn mutate(rng: &mut Rng, input: &mut Vec<u8>, seeds: &[Vec<u8>], longest: usize) {
    if input.is_empty() {
        *input = noise(rng, longest.min(64));
        return;
    }
    let at = place(rng, input.len());
    let left = input.len() - at;
    let most = left.min(1 << rng.u32(..8));
    let span = 1 + rng.usize(..most);
    match rng.u8(..10) {
        0 => input[at] ^= 1 << rng.u8(..8),
        1 => input[at] = rng.u8(..),
        2 => input[at] = input[at].wrapping_add(rng.u8(..8)).wrapping_sub(4),
        3 | 4 => {
            // A number of any width and order becomes an edge, or nearly.
            let edge = EDGES[rng.usize(..EDGES.len())].wrapping_add(rng.u64(..3)).wrapping_sub(1);
            let width = [1, 2, 4, 8][rng.usize(..4)].min(left);
            let mut bytes = edge.to_le_bytes()[..width].to_vec();
            if rng.bool() {
                bytes.reverse();
            }
            input[at..at + width].copy_from_slice(&bytes);
        }
        5 => {
            let digits = format!("{:x}", EDGES[rng.usize(..EDGES.len())]);
            let width = digits.len().min(left);
            input[at..at + width].copy_from_slice(&digits.as_bytes()[..width]);
        }
        6 => drop(input.drain(at..at + span)),
        7 if input.len() + span <= longest => {
            let copy = input[at..at + span].to_vec();
            let to = rng.usize(..=input.len());
            drop(input.splice(to..to, copy));
        }
        8 if !seeds.is_empty() => {
            let other = &seeds[rng.usize(..seeds.len())];
            let from = place(rng, other.len().max(1)).min(other.len());
            let piece = other[from..].iter().copied().take(span);
            drop(input.splice(at..at + span, piece));
        }
        9 => input.truncate(at),
        _ => input[at..at + span].iter_mut().for_each(|byte| *byte = rng.u8(..)),
    }
}

/// A place: in headers more often than in what follows them.
fn place(rng: &mut Rng, length: usize) -> usize {
    let most = length >> (rng.u32(..4) * 2) | 1;
    rng.usize(..most).min(length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_function_of_seed_and_index() {
        let seeds = [vec![1; 100], vec![2; 5]];
        let some = |seed| (0..500).map(|index| input(seed, index, &seeds, 200)).collect::<Vec<_>>();
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
        assert_eq!(some(7)[..2], seeds);
        assert!(some(7).iter().all(|input| input.len() <= 200));
        let different: std::collections::HashSet<_> = some(7).into_iter().collect();
        assert!(different.len() > 400, "{}", different.len());
    }

    #[test]
    fn no_seeds_are_needed() {
        let lengths: Vec<_> = (0..100).map(|index| input(1, index, &[], 64).len()).collect();
        assert!(lengths.iter().any(|length| *length > 30) && lengths.iter().all(|length| *length <= 64));
    }
}
