//! A fast Fourier transform (Cooley and Tukey, radix 2, in place) and its inverse.

use std::f64::consts::PI;
use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

/// Points, as a power of two.
const BITS: u32 = 14;

type Complex = (f64, f64);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// e^(−2πi·k/n) for k < n/2, by halving angles: sums and products give the same bits everywhere.
fn twiddles(bits: u32) -> Vec<Complex> {
    // Roots of the powers of two: −1, −i, e^(−πi/4), …
    let mut roots = vec![(-1.0, 0.0)];
    for _ in 1..bits {
        let (x, _): Complex = roots[roots.len() - 1];
        let half = ((1.0 + x) / 2.0_f64).sqrt();
        roots.push((half, -((1.0 - x) / 2.0).sqrt()));
    }
    let power = |k: usize| {
        // The k-th power as the product of the roots that k's bits ask for.
        (0..bits)
            .filter(|bit| k >> bit & 1 == 1)
            .fold((1.0, 0.0), |product, bit| times(product, roots[(bits - 1 - bit) as usize]))
    };
    (0..1 << (bits - 1)).map(power).collect()
}

fn transform(points: &mut [Complex], twiddles: &[Complex]) {
    let count = points.len();
    let shift = usize::BITS - count.trailing_zeros();
    for at in 0..count {
        let mirrored = at.reverse_bits() >> shift;
        if at < mirrored {
            points.swap(at, mirrored);
        }
    }
    let mut half = 1;
    while half < count {
        let stride = count / half / 2;
        for group in points.chunks_exact_mut(2 * half) {
            let (low, high) = group.split_at_mut(half);
            for ((a, b), w) in low.iter_mut().zip(high).zip(twiddles.iter().step_by(stride)) {
                let product = times(*b, *w);
                (*a, *b) = ((a.0 + product.0, a.1 + product.1), (a.0 - product.0, a.1 - product.1));
            }
        }
        half *= 2;
    }
}

/// By swapping the parts before and after.
fn inverse(points: &mut [Complex], twiddles: &[Complex]) {
    let scale = 1.0 / points.len() as f64;
    points.iter_mut().for_each(|point| *point = (point.1, point.0));
    transform(points, twiddles);
    points.iter_mut().for_each(|point| *point = (point.1 * scale, point.0 * scale));
}

pub fn start() -> io::Result<Round> {
    let (twiddles, mut random) = (twiddles(BITS), Random::new(33));
    let signal: Vec<Complex> =
        (0..1 << BITS).map(|at| ((f64::from(at) * PI / 50.0) % 1.0, random.fraction())).collect();
    let mut points = signal.clone();
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        points.copy_from_slice(&signal);
        for _ in 0..2 {
            transform(&mut points, &twiddles);
            points.iter().step_by(97).for_each(|point| digest.add_float(point.0));
            inverse(&mut points, &twiddles);
        }
        if points.iter().zip(&signal).any(|(a, b)| (a.0 - b.0).abs() > 1e-9) {
            return Err(io::Error::other("the signal does not come back"));
        }
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_transform_of_the_definition() {
        let (bits, mut random) = (5, Random::new(1));
        let signal: Vec<Complex> = (0..1 << bits).map(|_| (random.fraction(), random.fraction())).collect();
        let mut fast = signal.clone();
        transform(&mut fast, &twiddles(bits));
        let count = signal.len() as f64;
        for (k, fast) in fast.iter().enumerate() {
            let slow = signal.iter().enumerate().fold((0.0, 0.0), |sum: Complex, (n, x)| {
                let angle = -2.0 * PI * (k * n) as f64 / count;
                let product = times(*x, (angle.cos(), angle.sin()));
                (sum.0 + product.0, sum.1 + product.1)
            });
            assert!(
                (fast.0 - slow.0).abs() < 1e-12 && (fast.1 - slow.1).abs() < 1e-12,
                "{k}: {fast:?} {slow:?}"
            );
        }
    }
}
