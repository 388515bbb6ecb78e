//! Doubles as digits and back.

use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    let mut generator = Generator::new(17);
    let mut digest = Digest::new();
    let mut right = true;
    for _ in 0..2000 * scale.rounds {
        let number = f64::from_bits(generator.next());
        if number.is_nan() {
            continue;
        }
        let short = format!("{number:e}");
        right &= short.parse::<f64>().is_ok_and(|read| read.to_bits() == number.to_bits());
        let long = format!("{number:.40e}");
        right &= long.parse::<f64>().is_ok_and(|read| read.to_bits() == number.to_bits());
        digest.bytes(short.as_bytes());
        digest.bytes(long.as_bytes());
    }
    report.value("digits", digest);
    report.check("digits read back", right);
    report.value("2/3 to 60 digits", format_args!("{:.60}", 2.0 / 3.0));
    report.value("the least double", format_args!("{:.10e}", f64::from_bits(1)));
}
