//! Integer programs with answers that everybody knows.

use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    report.expect("primes below 200000", primes(200_000), 17_984);
    report.expect("ways to place 8 queens", queens(8, 0, 0, 0), 92);
    report.expect("longest Collatz start below 30000", collatz(30_000), 26_623);
    report.value("divisions", divisions(20_000 * scale.rounds));
    let text = text(10_000);
    let packed = pack(&text);
    report.value("packed text", format_args!("{} bytes, {}", packed.len(), Digest::of(&packed)));
    report.check("unpacked again", unpack(&packed) == text);
}

/// So many words of a vocabulary of 200.
fn text(words: usize) -> Vec<u8> {
    let mut generator = Generator::new(3);
    let word = |generator: &mut Generator| -> Vec<u8> {
        let length = 1 + generator.below(9);
        (0..length).map(|_| b"etaoinshrdlu"[generator.below(12)]).chain([b' ']).collect()
    };
    let vocabulary: Vec<Vec<u8>> = (0..200).map(|_| word(&mut generator)).collect();
    (0..words).flat_map(|_| vocabulary[generator.below(200)].clone()).collect()
}

fn primes(below: usize) -> usize {
    let mut composite = vec![false; below];
    let mut count = 0;
    for number in 2..below {
        if !composite[number] {
            count += 1;
            (number * number..below).step_by(number).for_each(|multiple| composite[multiple] = true);
        }
    }
    count
}

/// Solutions with the rest of the rows, given the columns and diagonals under attack.
fn queens(size: u32, columns: u32, left: u32, right: u32) -> u32 {
    let all = (1 << size) - 1;
    if columns == all {
        return 1;
    }
    let mut free = all & !(columns | left | right);
    let mut ways = 0;
    while free != 0 {
        let place = free & free.wrapping_neg();
        free ^= place;
        ways += queens(size, columns | place, (left | place) << 1, (right | place) >> 1);
    }
    ways
}

fn collatz(below: u64) -> u64 {
    let steps = |start: u64| {
        let mut number = start;
        let mut steps = 0_u32;
        while number != 1 {
            number = if number.is_multiple_of(2) { number / 2 } else { 3 * number + 1 };
            steps += 1;
        }
        steps
    };
    // The last maximum would also do, but the first is the known one.
    (1..below).rev().max_by_key(|start| steps(*start)).unwrap_or(0)
}

/// Quotients and remainders of all widths, signed and not.
fn divisions(rounds: u32) -> Digest {
    let mut generator = Generator::new(9);
    let mut digest = Digest::new();
    for _ in 0..rounds {
        let (a, shift, b) = (generator.next(), generator.next() % 63, generator.next());
        let b = (b >> shift) | 1;
        digest.number(a / b);
        digest.number(a % b);
        digest.number((a.cast_signed() / (b.cast_signed() | 2)).cast_unsigned());
        digest.number((a.cast_signed() % (b.cast_signed() | 2)).cast_unsigned());
        let (wide, narrow) =
            (u128::from(a) << 64 | u128::from(b), u128::from(generator.next() | 1) << (shift / 2));
        digest.number((wide / narrow) as u64);
        digest.number((wide % narrow) as u64);
        digest.number(a as u32 / (b as u32 | 1));
        digest.number(u64::from(a as u16 % (b as u16 | 1)));
        digest.number(u64::from(a as u8 / (b as u8 | 1)));
    }
    digest
}

/// LZ77 in its plainest form: (distance, length, next byte), found by a hash of three bytes.
fn pack(text: &[u8]) -> Vec<u8> {
    let mut last = vec![usize::MAX; 1 << 12];
    let mut packed = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let mut length = 0;
        let mut distance = 0;
        if let Some(&[a, b, c]) = text.get(at..at + 3) {
            let key = (usize::from(a) << 8 ^ usize::from(b) << 4 ^ usize::from(c)) % last.len();
            let before = std::mem::replace(&mut last[key], at);
            if before != usize::MAX && at - before < 1 << 16 {
                distance = at - before;
                // The last byte is left to be the literal that ends each step.
                length = (at..text.len() - 1)
                    .take(255)
                    .take_while(|here| text[*here] == text[here - distance])
                    .count();
            }
        }
        packed.extend_from_slice(&(distance as u16).to_le_bytes());
        packed.push(length as u8);
        packed.push(text[at + length]);
        at += length + 1;
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for step in packed.chunks_exact(4) {
        let distance = usize::from(u16::from_le_bytes([step[0], step[1]]));
        for _ in 0..step[2] {
            text.push(text[text.len() - distance]);
        }
        text.push(step[3]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(primes(100), 25);
        assert_eq!(queens(6, 0, 0, 0), 4);
        assert_eq!(collatz(100), 97);
    }

    #[test]
    fn packing_makes_smaller_and_loses_nothing() {
        let text = b"she sells sea shells on the sea shore ".repeat(20);
        let packed = pack(&text);
        assert!(packed.len() < text.len() / 2);
        assert_eq!(unpack(&packed), text);
        for short in 0..8 {
            assert_eq!(unpack(&pack(&text[..short])), text[..short]);
        }
    }
}
