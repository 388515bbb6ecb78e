//! A state machine that tells what each word of a text is: an integer, a fraction, a power, hexadecimal, or none of these.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Sign,
    Zero,
    Integer,
    Fraction,
    Exponent,
    ExponentSign,
    Power,
    HexMark,
    Hex,
    Invalid,
}

impl State {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start, b'+' | b'-') => Self::Sign,
            (Self::Start, b'0') => Self::Zero,
            (Self::Start | Self::Sign | Self::Zero | Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Start | Self::Sign | Self::Zero | Self::Integer, b'.') => Self::Fraction,
            (Self::Zero, b'x') => Self::HexMark,
            (Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::Power, b'0'..=b'9') => Self::Power,
            (Self::HexMark | Self::Hex, b'0'..=b'9' | b'a'..=b'f') => Self::Hex,
            _ => Self::Invalid,
        }
    }
}

/// How many words end in each state, and how many steps lead into it.
fn scan(text: &[u8], ends: &mut [u32; 11], steps: &mut [u32; 11]) {
    let mut state = State::Start;
    for &byte in text {
        if byte == b',' {
            ends[state as usize] += 1;
            state = State::Start;
        } else {
            state = state.next(byte);
            steps[state as usize] += 1;
        }
    }
}

fn text(words: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "5012", "-874", "+122", "35.54400", ".1234500", "-110.700", "0x1f", "5.500e+3", "-.123e-2",
        "T0.3e-1F", "1T3.4e4z", "0",
    ];
    let mut random = Random::new(13);
    (0..words).flat_map(|_| [WORDS[random.below(WORDS.len())], ","]).flat_map(str::bytes).collect()
}

pub fn start() -> io::Result<Round> {
    let text = text(60_000);
    Ok(Box::new(move || {
        let (mut ends, mut steps) = ([0; 11], [0; 11]);
        scan(&text, &mut ends, &mut steps);
        let mut digest = Digest::default();
        ends.into_iter().chain(steps).for_each(|count| digest.add(u64::from(count)));
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(word: &str) -> State {
        word.bytes().fold(State::Start, State::next)
    }

    #[test]
    fn words_are_what_they_are() {
        assert_eq!([end("5012"), end("-0"), end("0")], [State::Integer, State::Integer, State::Zero]);
        assert_eq!([end("-.5"), end("1e9"), end("1e-9")], [State::Fraction, State::Power, State::Power]);
        assert_eq!([end("0x1f"), end("1x1"), end("T")], [State::Hex, State::Invalid, State::Invalid]);
        let (mut ends, mut steps) = ([0; 11], [0; 11]);
        scan(b"12,3,.1,", &mut ends, &mut steps);
        assert_eq!((ends[State::Integer as usize], ends[State::Fraction as usize]), (2, 1));
        assert_eq!(steps.iter().sum::<u32>(), 5);
    }
}
