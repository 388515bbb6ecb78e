//! Matrices of 16-bit integers: multiply, pick bits, sum up.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

const SIDE: usize = 112;

type Grid<T> = Vec<[T; SIDE]>;

/// The product. Each factor is taken by rows, so the inner loop goes down a column.
fn product(a: &Grid<i16>, b: &Grid<i16>, out: &mut Grid<i32>) {
    for (row, out) in a.iter().zip(out) {
        for (column, out) in out.iter_mut().enumerate() {
            *out = 0;
            for (x, line) in row.iter().zip(b) {
                *out = out.wrapping_add(i32::from(*x) * i32::from(line[column]));
            }
        }
    }
}

/// Sums up, and starts anew whenever the sum goes over `limit`; counts how often, and rises and falls.
fn sum(grid: &Grid<i32>, limit: i32) -> i32 {
    let (mut sum, mut count, mut before) = (0_i32, 0_i32, 0_i32);
    for value in grid.iter().flatten() {
        sum = sum.wrapping_add(*value >> 8);
        if sum > limit {
            count = count.wrapping_add(10);
            sum = 0;
        } else if *value > before {
            count = count.wrapping_add(1);
        }
        before = *value;
    }
    count
}

/// Bits 2 to 5 times bits 5 to 11 of each number.
fn pick(grid: &Grid<i32>) -> i32 {
    grid.iter().flatten().fold(0, |sum, value| {
        let (low, high) = (value >> 2 & 0xf, value >> 5 & 0x7f);
        sum.wrapping_add(low.wrapping_mul(high))
    })
}

pub fn start() -> io::Result<Round> {
    let mut random = Random::new(12);
    let mut grid =
        || -> Grid<i16> { (0..SIDE).map(|_| std::array::from_fn(|_| random.number() as i16)).collect() };
    let (a, b) = (grid(), grid());
    let mut out = vec![[0; SIDE]; SIDE];
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        for (one, other) in [(&a, &b), (&b, &a), (&a, &a), (&b, &b), (&a, &b), (&b, &a)] {
            product(std::hint::black_box(one), other, &mut out);
            digest.add(sum(&out, 1 << 20) as u64);
            digest.add(pick(&out) as u64);
        }
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_times_one_is_itself() {
        let mut one = vec![[0_i16; SIDE]; SIDE];
        let mut grid = vec![[0_i16; SIDE]; SIDE];
        for at in 0..SIDE {
            one[at][at] = 1;
            grid[at] = std::array::from_fn(|column| (at * 100 + column) as i16 - 3000);
        }
        let mut out = vec![[0; SIDE]; SIDE];
        product(&grid, &one, &mut out);
        assert!(
            out.iter().flatten().eq(grid.iter().flatten().map(|x| i32::from(*x)).collect::<Vec<_>>().iter())
        );
        assert_eq!(pick(&vec![[0b101_0010_1100; SIDE]]), SIDE as i32 * (0b1011 * 0b10_1001));
    }
}
