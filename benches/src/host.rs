//! The machine that was measured on.

use std::fs;
use std::time::SystemTime;

use serde::Serialize;

/// What a reader of the figures must know about it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// The processor's name.
    pub processor: String,
    /// How many there are.
    pub processors: usize,
    /// The load of the last minute before, in processes.
    pub load: f64,
    /// When.
    pub date: String,
}

impl Host {
    /// This one, now.
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, load) = (read("/proc/cpuinfo"), read("/proc/loadavg"));
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        Self {
            processor: model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_processor() {
        let host = Host::now();
        assert!(host.processors > 0 && !host.processor.is_empty() && host.load >= 0.0);
    }
}
