//! The product of two matrices of doubles.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

const SIDE: usize = 160;

/// A square one, by rows.
pub type Matrix = Vec<[f64; SIDE]>;

/// Row by row, so that the inner loop goes along rows of both. `fold` takes two factors and a sum.
#[inline(always)]
pub fn product(a: &Matrix, b: &Matrix, out: &mut Matrix, fold: impl Fn(f64, f64, f64) -> f64) {
    for (row, out) in a.iter().zip(out) {
        out.fill(0.0);
        for (x, line) in row.iter().zip(b) {
            for (out, y) in out.iter_mut().zip(line) {
                *out = fold(*x, *y, *out);
            }
        }
    }
}

pub fn start() -> io::Result<Round> {
    Ok(rounds(|a, b, out| product(a, b, out, |x, y, sum| sum + x * y)))
}

/// Rounds with a product of one's own.
pub fn rounds(product: impl Fn(&Matrix, &Matrix, &mut Matrix) + 'static) -> Round {
    let mut random = Random::new(31);
    let mut matrix =
        || -> Matrix { (0..SIDE).map(|_| std::array::from_fn(|_| random.fraction() - 0.5)).collect() };
    let (a, b) = (matrix(), matrix());
    let mut out = vec![[0.0; SIDE]; SIDE];
    Box::new(move || {
        let mut digest = Digest::default();
        for (one, other) in [(&a, &b), (&b, &a)] {
            product(one, other, &mut out);
            out.iter().enumerate().for_each(|(at, row)| digest.add_float(row[at]));
        }
        Ok(digest.value())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_meet_columns() {
        let mut a = vec![[0.0; SIDE]; SIDE];
        let mut b = a.clone();
        (a[1][2], a[1][3], b[2][5], b[3][5]) = (2.0, 3.0, 5.0, 7.0);
        let mut out = a.clone();
        product(&a, &b, &mut out, |x, y, sum| sum + x * y);
        assert_eq!(out[1][5], 31.0);
        assert_eq!(out.iter().flatten().filter(|x| **x != 0.0).count(), 1);
    }
}
