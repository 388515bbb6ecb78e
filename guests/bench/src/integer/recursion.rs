//! Functions that call themselves.

use std::hint::black_box;
use std::io;

use crate::digest::Digest;
use crate::workload::Round;

/// Fibonacci's numbers, the slow way.
#[inline(never)]
fn fibonacci(n: u64) -> u64 {
    if n < 2 { n } else { black_box(fibonacci(n - 1)) + black_box(fibonacci(n - 2)) }
}

/// Ackermann's function, for the depth of its calls.
#[inline(never)]
fn ackermann(m: u64, n: u64) -> u64 {
    match (m, n) {
        (0, n) => n + 1,
        (m, 0) => ackermann(m - 1, 1),
        (m, n) => ackermann(m - 1, black_box(ackermann(m, n - 1))),
    }
}

pub fn start() -> io::Result<Round> {
    Ok(Box::new(|| {
        let mut digest = Digest::default();
        digest.add(fibonacci(black_box(27)));
        digest.add(ackermann(2, black_box(300)));
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!((fibonacci(20), ackermann(2, 5)), (6765, 13));
    }
}
