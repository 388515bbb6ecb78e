//! The process that runs inputs: one after the other, until it is told to stop or something goes wrong.
//!
//! Before each input it writes the input's index into a file. Whoever looks at that file knows how far it came, and
//! which input it was that crashed or hung it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::target::Target;
use crate::{corpus, generate};

/// What a worker is to do.
#[derive(Clone, Debug)]
pub struct Work {
    /// The seed of all inputs.
    pub seed: u64,
    /// The first index.
    pub first: u64,
    /// From one index to the next: how many workers share the target.
    pub stride: u64,
    /// How many inputs, at most.
    pub inputs: u64,
    /// For how long, at most.
    pub time: Duration,
    /// The file for the index.
    pub progress: PathBuf,
}

/// What stands in the file when all is done.
pub const DONE: u64 = u64::MAX;

/// Runs them. A panic goes through: the process ends by it.
pub fn work(target: &Target, work: &Work) -> Result<()> {
    let file =
        File::create(&work.progress).with_context(|| format!("cannot write {}", work.progress.display()))?;
    let note = |at: u64, value: u64| {
        file.write_all_at(&value.to_le_bytes(), at).context("cannot write how far it came")
    };
    let seeds = corpus::seeds(target);
    let began = Instant::now();
    let mut done = 0;
    while done < work.inputs && began.elapsed() < work.time {
        let index = work.first + done * work.stride;
        note(0, index)?;
        note(8, done)?;
        (target.run)(&generate::input(work.seed, index, &seeds, target.longest));
        done += 1;
    }
    note(8, done)?;
    note(0, DONE)
}

/// How far a worker came: the index it is or was at (or [`DONE`]), and how many inputs it has finished.
pub fn progress(file: &Path) -> Option<(u64, u64)> {
    let bytes = std::fs::read(file).ok()?;
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    Some((number(0)?, number(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tells_how_far_it_came() {
        let progress_file = std::env::temp_dir().join(format!("ringfence-fuzz-{}", std::process::id()));
        let target = crate::target::by_name("agent").unwrap();
        let plan = Work {
            seed: 1,
            first: 1,
            stride: 2,
            inputs: 40,
            time: Duration::from_secs(60),
            progress: progress_file.clone(),
        };
        work(target, &plan).unwrap();
        let came = progress(&progress_file);
        std::fs::remove_file(&progress_file).unwrap();
        assert_eq!(came, Some((DONE, 40)));
    }
}
