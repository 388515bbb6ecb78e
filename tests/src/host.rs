//! What a process holds of the host's.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Counts of a process's things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads, but for the clocks of translators' mirrors.
    pub threads: usize,
    /// Mappings that have a name: of files, rings, shared memory. Those without are allocators' and translators'; so are some that
    /// have one.
    pub mappings: usize,
    /// Resident memory, in bytes.
    pub resident: u64,
}

impl Holdings {
    /// Those of this very process.
    ///
    /// # Errors
    /// Where there is no `/proc` (proc(5)).
    pub fn own() -> Result<Self> {
        let here = PathBuf::from("/proc/self");
        let entries = |name: &str| -> Result<usize> { Ok(fs::read_dir(here.join(name))?.count()) };
        let pages: u64 = fs::read_to_string(here.join("statm"))?
            .split(' ')
            .nth(1)
            .context("statm has no second number")?
            .parse()?;
        Ok(Self {
            // One of them is for the counting.
            descriptors: entries("fd")? - 1,
            threads: fs::read_dir(here.join("task"))?.filter(|task| !is_of_mirror(task)).count(),
            mappings: fs::read_to_string(here.join("maps"))?.lines().filter(|line| counts(line)).count(),
            resident: pages * 4096,
        })
    }

    /// Waits until this process holds no more than this, and at most so many bytes more of memory.
    ///
    /// # Errors
    /// Where it goes on holding more.
    pub fn come_back(&self, bytes: u64) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let now = Self::own()?;
            if now.descriptors <= self.descriptors
                && now.threads <= self.threads
                && now.mappings <= self.mappings
                && now.resident <= self.resident + bytes
            {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("something is left: {self:?} became {now:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What a translator maps as the guest runs and computes: RAM a second time, mirrors, the frames of address spaces.
const OF_TRANSLATORS: [&str; 3] = ["ringfence-ram", "ringfence-mirror", "ringfence-frame"];

/// A line of `/proc/PID/maps`, whose sixth word is the name: is it what a device may leave?
fn counts(line: &str) -> bool {
    let name = line.split_ascii_whitespace().nth(5);
    name.is_some_and(|name| !OF_TRANSLATORS.iter().any(|of| name.contains(of)))
}

/// Is a thread the clock of a mirror?
fn is_of_mirror(task: &std::io::Result<fs::DirEntry>) -> bool {
    let name = task.as_ref().ok().and_then(|task| fs::read_to_string(task.path().join("comm")).ok());
    name.is_some_and(|name| name.trim() == "mirror-alarm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_counted() {
        let before = Holdings::own().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = Holdings::own().unwrap();
        assert!(after.descriptors >= before.descriptors + 90, "{before:?} {after:?}");
        assert!(after.threads > 0 && after.mappings > 10 && after.resident > 1 << 20);
        drop(files);
    }
}
