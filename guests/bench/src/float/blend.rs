//! One picture laid over another: bytes, widened, multiplied and packed again.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

const BYTES: usize = 256 << 10;

/// `under` · (255 − `alpha`) + `over` · `alpha`, divided by 255 and rounded.
#[inline(always)]
pub fn blend(under: &[u8], over: &[u8], alpha: &[u8], out: &mut [u8]) {
    for (((under, over), alpha), out) in under.iter().zip(over).zip(alpha).zip(out) {
        let alpha = u16::from(*alpha);
        let sum = u16::from(*under) * (255 - alpha) + u16::from(*over) * alpha + 128;
        *out = ((sum + (sum >> 8)) >> 8) as u8;
    }
}

/// The sum of the differences of neighbours, and the brightest.
fn edges(picture: &[u8]) -> (u32, u8) {
    let sum = picture.iter().zip(&picture[1..]).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    (sum, picture.iter().copied().fold(0, u8::max))
}

pub fn start() -> io::Result<Round> {
    Ok(rounds(blend))
}

/// Rounds with a blend of one's own.
pub fn rounds(blend: impl Fn(&[u8], &[u8], &[u8], &mut [u8]) + 'static) -> Round {
    let mut random = Random::new(35);
    let mut picture = || -> Vec<u8> { (0..BYTES).map(|_| random.number() as u8).collect() };
    let (under, over, alpha) = (picture(), picture(), picture());
    let (mut one, mut other) = (vec![0; BYTES], vec![0; BYTES]);
    Box::new(move || {
        let mut digest = Digest::default();
        one.copy_from_slice(&under);
        for _ in 0..16 {
            blend(&one, &over, &alpha, &mut other);
            std::mem::swap(&mut one, &mut other);
            let (sum, most) = edges(&one);
            digest.add(u64::from(sum + u32::from(most)));
        }
        Ok(digest.value())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_all_of_it() {
        let (under, over) = ([0, 10, 200, 255], [255, 20, 100, 255]);
        let blended = |alpha: u8| {
            let mut out = [0; 4];
            blend(&under, &over, &[alpha; 4], &mut out);
            out
        };
        assert_eq!((blended(0), blended(255)), (under, over));
        assert_eq!(blended(128)[2], 150);
        assert_eq!(edges(&[1, 5, 2]), (7, 5));
    }
}
