//! Elementary functions by our own series, so that every operation is one that IEEE 754 defines to the last
//! bit.

use crate::Scale;
use crate::digest::Digest;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    for (name, function) in [("exp", exp as fn(f64) -> f64), ("ln", ln), ("sin", sin)] {
        let mut digest = Digest::new();
        for step in 1..=5000 * scale.rounds {
            digest.number(function(f64::from(step) / 512.0).to_bits());
        }
        report.value(name, digest);
        report.value(&format!("{name}(1.25)"), format_args!("{:.20e}", function(1.25)));
    }
    let identity =
        (1..=1000).map(|step| f64::from(step) / 16.0).all(|x| (exp(ln(x)) / x - 1.0).abs() < 1e-14);
    report.check("exp(ln(x)) is x", identity);
    let circle = (1..=1000).map(|step| f64::from(step) / 64.0);
    report.check("sin and its shift lie on a circle", circle.map(off_circle).all(|off| off < 1e-13));
    let mut harmonic = 0.0;
    let mut narrow = 0.0_f32;
    for n in 1..=100_000 {
        harmonic += 1.0 / f64::from(n);
        narrow += 1.0 / n as f32;
    }
    report.value("harmonic sum", format_args!("{harmonic:.17} {narrow:.9}"));
}

/// By halving until small, the series, and squaring back.
fn exp(x: f64) -> f64 {
    let halvings = 10;
    let small = x / f64::from(1 << halvings);
    let (mut term, mut sum) = (1.0, 0.0);
    for n in 1..12 {
        term *= small / f64::from(n);
        sum += term;
    }
    // (1 + s)^2 = 1 + (2s + s^2): keeps the digits that adding 1 would lose.
    (0..halvings).fold(sum, |sum, _| sum * (2.0 + sum)) + 1.0
}

/// By exponent and significand, and the series of the inverse hyperbolic tangent.
fn ln(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let bits = x.to_bits();
    let exponent = ((bits >> 52) as i32) - 1023;
    let significand = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    let t = (significand - 1.0) / (significand + 1.0);
    let (mut power, mut sum) = (t, 0.0);
    for odd in (1..40).step_by(2) {
        sum += power / f64::from(odd);
        power *= t * t;
    }
    f64::from(exponent) * LN_2 + 2.0 * sum
}

/// By the nearest multiple of pi, and the series.
fn sin(x: f64) -> f64 {
    use std::f64::consts::PI;
    let turns = (x / PI).round();
    let small = x - turns * PI;
    let (mut term, mut sum) = (small, small);
    for n in 1..12 {
        let n = f64::from(n);
        term *= -small * small / ((2.0 * n) * (2.0 * n + 1.0));
        sum += term;
    }
    if turns % 2.0 == 0.0 { sum } else { -sum }
}

fn off_circle(x: f64) -> f64 {
    let (sine, cosine) = (sin(x), sin(x + std::f64::consts::FRAC_PI_2));
    (sine * sine + cosine * cosine - 1.0).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_are_what_they_are_called() {
        for step in 1..200 {
            let x = f64::from(step) / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp({x})");
            assert!((ln(x) - x.ln()).abs() < 1e-14, "ln({x})");
            assert!((sin(x) - x.sin()).abs() < 1e-13, "sin({x})");
        }
    }
}
