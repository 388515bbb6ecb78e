//! Five bodies that attract each other: square roots and divisions, one after the other.

use std::io;

use crate::digest::Digest;
use crate::workload::Round;

#[derive(Debug, Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

const fn body(mass: f64, place: [f64; 3], speed: [f64; 3]) -> Body {
    Body { place, speed, mass }
}

/// A sun and four planets; the units are chosen for round numbers.
const BODIES: [Body; 5] = [
    body(40.0, [0.0; 3], [0.0, -0.0025, 0.0]),
    body(0.04, [5.0, -1.0, -0.1], [0.5, 2.7, -0.02]),
    body(0.01, [8.0, 4.0, -0.4], [-1.0, 1.8, 0.008]),
    body(0.002, [13.0, -15.0, -0.2], [1.1, 0.9, -0.01]),
    body(0.002, [15.0, -26.0, 0.2], [1.0, 0.6, -0.03]),
];

fn step(bodies: &mut [Body; 5], time: f64) {
    for first in 0..bodies.len() {
        let (head, tail) = bodies.split_at_mut(first + 1);
        let one = &mut head[first];
        for other in tail {
            let between: [f64; 3] = std::array::from_fn(|axis| one.place[axis] - other.place[axis]);
            let square = between.iter().fold(0.0, |sum, x| sum + x * x);
            let pull = time / (square * square.sqrt());
            for (axis, distance) in between.iter().enumerate() {
                one.speed[axis] -= distance * other.mass * pull;
                other.speed[axis] += distance * one.mass * pull;
            }
        }
    }
    for body in bodies {
        for (place, speed) in body.place.iter_mut().zip(body.speed) {
            *place += time * speed;
        }
    }
}

pub fn start() -> io::Result<Round> {
    Ok(Box::new(|| {
        let mut bodies = BODIES;
        for _ in 0..40_000 {
            step(&mut bodies, 0.01);
        }
        let mut digest = Digest::default();
        bodies.iter().flat_map(|body| body.place).for_each(|x| digest.add_float(x));
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(bodies: &[Body; 5]) -> f64 {
        let square = |v: [f64; 3]| v.iter().map(|x| x * x).sum::<f64>();
        let moving: f64 = bodies.iter().map(|body| 0.5 * body.mass * square(body.speed)).sum();
        let mut bound = 0.0;
        for (at, one) in bodies.iter().enumerate() {
            for other in &bodies[..at] {
                let between = std::array::from_fn(|axis| one.place[axis] - other.place[axis]);
                bound += one.mass * other.mass / square(between).sqrt();
            }
        }
        moving - bound
    }

    #[test]
    fn energy_is_kept() {
        let mut bodies = BODIES;
        let before = energy(&bodies);
        (0..10_000).for_each(|_| step(&mut bodies, 0.001));
        assert!((energy(&bodies) / before - 1.0).abs() < 1e-3, "{before} {}", energy(&bodies));
        assert!((bodies[1].place[0] - BODIES[1].place[0]).abs() > 0.1);
    }
}
