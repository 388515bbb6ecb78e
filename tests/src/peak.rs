//! How much memory a process takes at most.

use std::fs;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it is looked at. The kernel keeps the peak; what may be missed is the last moment.
const PERIOD: Duration = Duration::from_millis(50);

/// Watches a process until it ends.
pub struct Peak {
    thread: JoinHandle<u64>,
}

impl Peak {
    /// Watches the process of this number.
    pub fn of(id: u32) -> Self {
        let path = format!("/proc/{id}/status");
        let look = move || fs::read_to_string(&path).ok().and_then(|status| high_water(&status));
        // Once at once, however late the thread is.
        let mut peak = look().unwrap_or(0);
        let thread = thread::spawn(move || {
            while let Some(bytes) = look() {
                peak = bytes.max(peak);
                thread::sleep(PERIOD);
            }
            peak
        });
        Self { thread }
    }

    /// The most resident memory it had, in bytes. Waits for its end.
    pub fn bytes(self) -> u64 {
        // It does not panic; if it did, nothing was seen.
        self.thread.join().unwrap_or(0)
    }
}

/// `VmHWM` in the text of `/proc/PID/status` (proc_pid_status(5)); a process that is no more has none.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    #[test]
    fn the_peak_of_a_process_is_what_its_kernel_says() {
        assert_eq!(high_water("Name:\tx\nVmHWM:\t    1024 kB\nVmRSS:\t 512 kB\n"), Some(1 << 20));
        assert_eq!(high_water("Name:\tzombie\n"), None);
        let mut cat = Command::new("cat");
        let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // What it says shows that it has begun.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let peak = Peak::of(child.id());
        // It closes its input, which ends it.
        child.wait().unwrap();
        assert!(peak.bytes() > 100 << 10);
    }
}
