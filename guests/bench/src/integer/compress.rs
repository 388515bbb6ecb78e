//! Compression after the manner of LZ4: a hash table of the last place of each four bytes, matches copied byte by byte, words at odd
//! addresses.
//!
//! The stream is a row of: a byte whose upper half is the number of literals and whose lower half is the match's length less
//! four, each followed by bytes of 255 and a last one where it is 15 or more; the literals; the distance, two bytes. The last has literals
//! only.

use std::io;

use crate::digest::Digest;
use crate::text::prose;
use crate::workload::Round;

const HASH_BITS: u32 = 13;
const SHORTEST: usize = 4;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put_length(mut rest: usize, out: &mut Vec<u8>) {
    while rest >= 255 {
        out.push(255);
        rest -= 255;
    }
    out.push(rest as u8);
}

fn put(literals: &[u8], repeat: Option<(usize, usize)>, out: &mut Vec<u8>) {
    let long = repeat.map_or(0, |(length, _)| length - SHORTEST);
    out.push((literals.len().min(15) << 4 | long.min(15)) as u8);
    if literals.len() >= 15 {
        put_length(literals.len() - 15, out);
    }
    out.extend_from_slice(literals);
    if let Some((_, distance)) = repeat {
        out.extend_from_slice(&(distance as u16).to_le_bytes());
        if long >= 15 {
            put_length(long - 15, out);
        }
    }
}

fn compress(bytes: &[u8], places: &mut [u32], out: &mut Vec<u8>) {
    out.clear();
    places.fill(u32::MAX);
    let (mut at, mut literals) = (0, 0);
    while at + SHORTEST <= bytes.len() {
        let here = word(bytes, at);
        let slot = (here.wrapping_mul(2_654_435_761) >> (32 - HASH_BITS)) as usize;
        let place = std::mem::replace(&mut places[slot], at as u32) as usize;
        if place >= at || at - place > 0xffff || word(bytes, place) != here {
            at += 1;
            continue;
        }
        let same = bytes[at + SHORTEST..].iter().zip(&bytes[place + SHORTEST..]).take_while(|(a, b)| a == b);
        let length = SHORTEST + same.count();
        put(&bytes[literals..at], Some((length, at - place)), out);
        at += length;
        literals = at;
    }
    put(&bytes[literals..], None, out);
}

/// Undoes it; `None` for what [`compress`] does not write.
fn expand(stream: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let mut rest = stream.iter();
    let take_length = |rest: &mut std::slice::Iter<'_, u8>, short: u8| {
        let (mut length, mut last) = (usize::from(short), if short == 15 { 255 } else { 0 });
        while last == 255 {
            last = *rest.next()?;
            length += usize::from(last);
        }
        Some(length)
    };
    while let Some(&token) = rest.next() {
        let count = take_length(&mut rest, token >> 4)?;
        let (literals, after) = rest.as_slice().split_at_checked(count)?;
        out.extend_from_slice(literals);
        let [low, high, after @ ..] = after else { return Some(()) };
        rest = after.iter();
        let length = SHORTEST + take_length(&mut rest, token & 15)?;
        let from = out.len().checked_sub(usize::from(u16::from_le_bytes([*low, *high])))?;
        for at in from..from + length {
            out.push(*out.get(at)?);
        }
    }
    None
}

pub fn start() -> io::Result<Round> {
    let text = prose(256 << 10, 16).into_bytes();
    let mut places = vec![0; 1 << HASH_BITS];
    let (mut packed, mut back) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len() + 64));
    Ok(Box::new(move || {
        compress(&text, &mut places, &mut packed);
        if expand(&packed, &mut back).is_none() || back != text {
            return Err(io::Error::other("what was compressed does not come back"));
        }
        let mut digest = Digest::default();
        digest.add_bytes(&packed);
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_is_compressed_comes_back() {
        let mut random = Random::new(1);
        let noise: Vec<u8> = (0..5000).map(|_| random.number() as u8).collect();
        let text = prose(20_000, 2).into_bytes();
        let (mut places, mut packed, mut back) = (vec![0; 1 << HASH_BITS], vec![], vec![]);
        for input in [&b""[..], b"abc", b"abcdabcd", &[7; 100_000], &noise, &text] {
            compress(input, &mut places, &mut packed);
            expand(&packed, &mut back).unwrap();
            assert_eq!(back, input);
        }
        assert!(packed.len() < text.len() * 3 / 4, "{} of {}", packed.len(), text.len());
    }
}
