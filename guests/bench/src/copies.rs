//! A workload several times at once, each in a process of its own.

use std::io::{self, PipeReader, Read, Write};
use std::time::Duration;

use crate::kernel::Child;
use crate::measure::{Amount, Measured, measure};
use crate::workload::Workload;

/// What one copy tells: digest, first round, rounds, their time; nanoseconds.
type Wire = [u8; 32];

fn to_wire(measured: &Measured) -> Wire {
    let nanos = |time: Duration| time.as_nanos() as u64;
    let words = [measured.digest, nanos(measured.first), measured.rounds, nanos(measured.steady)];
    let mut wire = [0; 32];
    wire.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    wire
}

fn from_wire(wire: &Wire) -> Measured {
    let mut words = wire.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let mut word = || words.next().unwrap_or_default();
    Measured {
        digest: word(),
        first: Duration::from_nanos(word()),
        rounds: word(),
        steady: Duration::from_nanos(word()),
    }
}

/// Runs `count` copies at once. Those that are done before the others do not go on, so let all take the same time.
///
/// # Errors
/// Those of any of them.
pub fn measure_copies(workload: &Workload, amount: Amount, count: usize) -> io::Result<Measured> {
    let mut running: Vec<(Child, PipeReader)> = vec![];
    // Each waits for a byte out of this pipe, so that they start together.
    let (gate, mut open) = io::pipe()?;
    for _ in 0..count {
        let (result, mut tell) = io::pipe()?;
        let child = Child::start(|| {
            let measured = (&gate)
                .read_exact(&mut [0])
                .and_then(|()| measure(workload, amount))
                .and_then(|measured| tell.write_all(&to_wire(&measured)));
            if let Err(error) = &measured {
                eprintln!("{}: {error}", workload.name);
            }
            i32::from(measured.is_err())
        })?;
        running.push((child, result));
    }
    open.write_all(&vec![0; count])?;
    let mut all: Option<Measured> = None;
    for (child, mut result) in running {
        let mut wire = [0; 32];
        let told = result.read_exact(&mut wire);
        child.wait()?;
        told?;
        let one = from_wire(&wire);
        all = Some(all.map_or(Ok(one), |all| all.and(one))?);
    }
    all.ok_or_else(|| io::Error::other("no copies"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn copies_do_the_rounds_of_one_each() {
        let syscall = workload::all().find(|workload| workload.name == "syscall").unwrap();
        let both = measure_copies(syscall, Amount::Rounds(5), 2).unwrap();
        let one = measure(syscall, Amount::Rounds(5)).unwrap();
        assert_eq!((both.rounds, both.digest), (10, one.digest));
        assert!(both.steady > Duration::ZERO);
    }
}
