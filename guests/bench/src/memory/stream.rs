//! Long arrays of doubles, from end to end (after McCalpin's STREAM).

use std::io;

use crate::digest::Digest;
use crate::workload::Round;

/// Of each of the three arrays.
const LENGTH: usize = 2 << 20;

pub fn start() -> io::Result<Round> {
    let scalar = 3.0;
    let a: Vec<f64> = (0..LENGTH).map(|at| (at % 1000) as f64).collect();
    let (mut b, mut c) = (vec![1.0; LENGTH], vec![0.0; LENGTH]);
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        let mut note =
            |array: &[f64]| array.iter().step_by(LENGTH / 64 + 1).for_each(|x| digest.add_float(*x));
        c.copy_from_slice(&a);
        note(&c);
        for (b, c) in b.iter_mut().zip(&c) {
            *b = scalar * c;
        }
        note(&b);
        for ((c, a), b) in c.iter_mut().zip(&a).zip(&b) {
            *c = a + b;
        }
        note(&c);
        for ((b, c), a) in b.iter_mut().zip(&c).zip(&a) {
            *b = a + scalar * c;
        }
        note(&b);
        Ok(digest.value())
    }))
}
