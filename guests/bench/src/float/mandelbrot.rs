//! The Mandelbrot set, eight points at a time.

use std::io;

use crate::digest::Digest;
use crate::workload::Round;

/// Points at a time.
pub const LANES: usize = 8;
const STEPS: u32 = 60;
const WIDTH: usize = 320;
const HEIGHT: usize = 320;

/// How many steps each point takes to leave, at most [`STEPS`].
#[inline(always)]
pub fn escape(cx: [f32; LANES], cy: f32) -> [u32; LANES] {
    let (mut x, mut y, mut count) = ([0.0_f32; LANES], [0.0_f32; LANES], [0_u32; LANES]);
    for _ in 0..STEPS {
        let mut inside = 0;
        for lane in 0..LANES {
            let (xx, yy, xy) = (x[lane] * x[lane], y[lane] * y[lane], x[lane] * y[lane]);
            // A point that left stays away: it grows, up to infinity and to no number, which is not less.
            let within = u32::from(xx + yy < 4.0);
            count[lane] += within;
            inside |= within;
            x[lane] = xx - yy + cx[lane];
            y[lane] = xy + xy + cy;
        }
        if inside == 0 {
            break;
        }
    }
    count
}

pub fn start() -> io::Result<Round> {
    Ok(rounds(escape))
}

/// Rounds with a way to escape of one's own.
pub fn rounds(escape: impl Fn([f32; LANES], f32) -> [u32; LANES] + 'static) -> Round {
    Box::new(move || {
        let mut digest = Digest::default();
        for row in 0..HEIGHT {
            let cy = row as f32 / HEIGHT as f32 * 2.0 - 1.0;
            for column in (0..WIDTH).step_by(LANES) {
                let cx = std::array::from_fn(|lane| (column + lane) as f32 / WIDTH as f32 * 3.0 - 2.2);
                digest.add(escape(cx, cy).iter().fold(0, |sum, count| sum * 61 + u64::from(*count)));
            }
        }
        Ok(digest.value())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_leave_when_they_do() {
        // 0 and −1 never; 2 after one step: |2|² = 4; 1 after 0, 1, 2: two.
        assert_eq!(escape([0.0, -1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0], 0.0)[..4], [STEPS, STEPS, 1, 2]);
    }
}
