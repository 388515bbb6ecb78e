//! Calls of methods through tables: who is called changes from call to call.

use std::hint::black_box;
use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

/// Something with a size that depends on another's.
trait Shape {
    fn grow(&mut self, by: u64) -> u64;
}

struct Square(u64);
struct Box3(u64, u64);
struct Ring(u64, u64);
struct Line(u64);
struct Heap(Vec<u64>);

impl Shape for Square {
    fn grow(&mut self, by: u64) -> u64 {
        self.0 = (self.0 + by) & 0xffff;
        self.0 * self.0
    }
}

impl Shape for Box3 {
    fn grow(&mut self, by: u64) -> u64 {
        (self.0, self.1) = (self.1, self.0 ^ by);
        self.0.wrapping_mul(self.1)
    }
}

impl Shape for Ring {
    fn grow(&mut self, by: u64) -> u64 {
        self.1 = self.1.wrapping_add(self.0 | by);
        self.1 - self.1 / 3
    }
}

impl Shape for Line {
    fn grow(&mut self, by: u64) -> u64 {
        self.0 = self.0.rotate_left(1) ^ by;
        self.0
    }
}

impl Shape for Heap {
    fn grow(&mut self, by: u64) -> u64 {
        let place = (by % self.0.len() as u64) as usize;
        self.0[place] += 1;
        self.0[place]
    }
}

fn shapes() -> Vec<Box<dyn Shape>> {
    let mut random = Random::new(21);
    (0..500)
        .map(|at| -> Box<dyn Shape> {
            match random.below(5) {
                0 => Box::new(Square(at)),
                1 => Box::new(Box3(at, at + 1)),
                2 => Box::new(Ring(at, at)),
                3 => Box::new(Line(at)),
                _ => Box::new(Heap(vec![at; 5])),
            }
        })
        .collect()
}

pub fn start() -> io::Result<Round> {
    Ok(Box::new(|| {
        let (mut shapes, mut sum) = (black_box(shapes()), 0_u64);
        for _ in 0..600 {
            for shape in &mut shapes {
                sum = sum.wrapping_add(shape.grow(sum & 0xff));
            }
        }
        let mut digest = Digest::default();
        digest.add(sum);
        Ok(digest.value())
    }))
}
