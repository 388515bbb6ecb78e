//! Floating point: the x87's 80 bits, SSE in all rounding modes, series as `bc` and `awk` would sum them, and
//! digits.

mod series;
mod sse;
mod text;
mod x87;

use std::io;

use crate::Scale;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    x87::run(report, scale);
    sse::run(report, scale);
    series::run(report, scale);
    text::run(report, scale);
    Ok(())
}

/// Values of doubles at which something happens, by their bits.
const DOUBLES: [u64; 20] = [
    0x0000_0000_0000_0000, // 0
    0x8000_0000_0000_0000, // -0
    0x3ff0_0000_0000_0000, // 1
    0xbff0_0000_0000_0000, // -1
    0x3ff8_0000_0000_0000, // 1.5
    0x4004_0000_0000_0000, // 2.5, a tie
    0x0000_0000_0000_0001, // the least subnormal
    0x800f_ffff_ffff_ffff, // the greatest negative subnormal
    0x0010_0000_0000_0000, // the least normal
    0x7fef_ffff_ffff_ffff, // the greatest
    0x7ff0_0000_0000_0000, // infinity
    0xfff0_0000_0000_0000, // -infinity
    0x7ff8_0000_0000_1234, // a quiet NaN
    0xfff4_0000_0000_0005, // a signalling NaN
    0x4009_21fb_5444_2d18, // pi
    0x3fd5_5555_5555_5555, // 1/3
    0x41df_ffff_ffe0_0000, // 2^31 - 0.5
    0x43e0_0000_0000_0000, // 2^63
    0x380f_ffff_ffff_ffff, // below the least normal single
    0x47ef_ffff_f000_0000, // above the greatest single
];
