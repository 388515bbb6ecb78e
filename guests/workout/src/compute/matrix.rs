//! Matrix products, in integers and in floating point.

use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

const SIZE: usize = 64;

type Matrix<T> = Vec<[T; SIZE]>;

pub fn run(report: &mut Report, scale: &Scale) {
    let mut generator = Generator::new(64);
    let integers: Matrix<u64> = (0..SIZE).map(|_| std::array::from_fn(|_| generator.next())).collect();
    // Small enough that powers neither overflow nor vanish.
    let floats: Matrix<f64> = (0..SIZE)
        .map(|_| std::array::from_fn(|_| (generator.next() >> 11) as f64 / 2_f64.powi(58)))
        .collect();
    let (mut product, mut real) = (integers.clone(), floats.clone());
    for _ in 0..4 * scale.rounds {
        product = multiply(&product, &integers, |sum, a, b| u64::wrapping_add(sum, a.wrapping_mul(b)));
        real = multiply(&real, &floats, |sum, a, b| sum + a * b);
    }
    let mut digest = Digest::new();
    product.iter().flatten().for_each(|number| digest.number(*number));
    report.value("integer powers", digest);
    let mut digest = Digest::new();
    real.iter().flatten().for_each(|number| digest.number(number.to_bits()));
    report.value("floating-point powers", digest);
}

fn multiply<T: Copy + Default>(
    left: &Matrix<T>,
    right: &Matrix<T>,
    step: impl Fn(T, T, T) -> T,
) -> Matrix<T> {
    let mut product = vec![[T::default(); SIZE]; SIZE];
    for (row, out) in left.iter().zip(&mut product) {
        for (factor, line) in row.iter().zip(right) {
            for (sum, element) in out.iter_mut().zip(line) {
                *sum = step(*sum, *factor, *element);
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_rows_times_columns() {
        let mut left = vec![[0; SIZE]; SIZE];
        let mut right = left.clone();
        (left[2][5], left[2][6]) = (3, 4);
        (right[5][9], right[6][9]) = (10, 100);
        let product = multiply(&left, &right, |sum: u64, a, b| sum + a * b);
        assert_eq!(product[2][9], 430);
        assert_eq!(product.iter().flatten().sum::<u64>(), 430);
    }
}
