//! A byte through two pipes, there and back between two processes.

use std::io::{self, Read, Write};

use super::Child;
use crate::workload::Round;

const TURNS: u64 = 300;

pub fn start() -> io::Result<Round> {
    let ((mut theirs, mut out), (mut back, mut answer)) = (io::pipe()?, io::pipe()?);
    let child = Child::start(|| {
        let mut byte = [0];
        // Until it is killed.
        while theirs.read_exact(&mut byte).and_then(|()| answer.write_all(&[!byte[0]])).is_ok() {}
        1
    })?;
    drop((theirs, answer));
    Ok(Box::new(move || {
        let (mut sum, mut byte) = (0, [0]);
        for turn in 0..TURNS {
            out.write_all(&[turn as u8])?;
            back.read_exact(&mut byte)?;
            sum += u64::from(byte[0]);
        }
        // The child lives as long as the rounds do.
        let _alive = &child;
        Ok(sum)
    }))
}
