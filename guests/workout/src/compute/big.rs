//! Numbers of many digits, as `bc` has them: pi by Machin's formula, a factorial, a power.

use std::fmt::Write as _;

use crate::Scale;
use crate::digest::Digest;
use crate::report::Report;

/// A digit of a big number.
const BASE: u64 = 1_000_000_000;

pub fn run(report: &mut Report, scale: &Scale) {
    let digits = pi(1000 * scale.rounds.min(10) as usize);
    report.value("pi's last digits", &digits[digits.len() - 30..]);
    report.value("pi", Digest::of(digits.as_bytes()));
    let factorial = (2..=1000).fold(vec![1], multiply);
    report.value("1000!", Digest::of(text(&factorial).as_bytes()));
    let power = (0..521).fold(vec![1], |product, _| multiply(product, 2));
    report.expect("2^521 begins and ends", ends(&text(&power)), "686479…057152".to_owned());
}

fn ends(digits: &str) -> String {
    format!("{}…{}", &digits[..6], &digits[digits.len() - 6..])
}

/// Digits of pi: "3" and `count` decimals. Fixed point with one element before the point, most significant
/// first.
fn pi(count: usize) -> String {
    // Two elements more than asked for take up the rounding.
    let length = count / 9 + 3;
    let mut sum = vec![0; length];
    // pi = 16 arctan 1/5 - 4 arctan 1/239
    arctangent(&mut sum, 16, 5, false);
    arctangent(&mut sum, 4, 239, true);
    let mut digits = sum[0].to_string();
    for part in &sum[1..] {
        let _ = write!(digits, "{part:09}");
    }
    digits.truncate(1 + count);
    digits
}

/// Adds or subtracts `factor` times the arctangent of 1/`inverse`, by its series.
fn arctangent(sum: &mut [u64], factor: u64, inverse: u64, mut subtract: bool) {
    let mut power = vec![0; sum.len()];
    power[0] = factor;
    divide(&mut power, inverse);
    for odd in (1..).step_by(2) {
        let mut term = power.clone();
        divide(&mut term, odd);
        if term.iter().all(|digit| *digit == 0) {
            break;
        }
        if subtract {
            take(sum, &term);
        } else {
            add(sum, &term);
        }
        subtract = !subtract;
        divide(&mut power, inverse * inverse);
    }
}

fn divide(number: &mut [u64], divisor: u64) {
    let mut rest = 0;
    for digit in number {
        let dividend = rest * BASE + *digit;
        *digit = dividend / divisor;
        rest = dividend % divisor;
    }
}

fn add(sum: &mut [u64], term: &[u64]) {
    let mut carry = 0;
    for (digit, more) in sum.iter_mut().zip(term).rev() {
        *digit += more + carry;
        carry = *digit / BASE;
        *digit %= BASE;
    }
}

fn take(sum: &mut [u64], term: &[u64]) {
    let mut borrow = 0;
    for (digit, less) in sum.iter_mut().zip(term).rev() {
        let left = *digit + BASE - less - borrow;
        borrow = u64::from(left < BASE);
        *digit = left % BASE;
    }
}

/// A product, least significant digit first.
fn multiply(mut number: Vec<u64>, factor: u64) -> Vec<u64> {
    let mut carry = 0;
    for digit in &mut number {
        let product = *digit * factor + carry;
        *digit = product % BASE;
        carry = product / BASE;
    }
    if carry > 0 {
        number.push(carry);
    }
    number
}

/// The decimal digits of a number that has its least significant digit first.
fn text(number: &[u64]) -> String {
    let mut digits = number.iter().rev();
    let mut text = digits.next().map(u64::to_string).unwrap_or_default();
    for digit in digits {
        let _ = write!(text, "{digit:09}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pi_is_pi() {
        assert_eq!(pi(50), "314159265358979323846264338327950288419716939937510");
        assert!(pi(1000).ends_with("64201989"));
    }

    #[test]
    fn products_are_right() {
        assert_eq!(text(&(2..=25).fold(vec![1], multiply)), "15511210043330985984000000");
    }
}
