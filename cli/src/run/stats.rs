//! What `--stats` prints.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use engine::Statistics;
use serde::Serialize;

/// What the engine did in a run.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// The engine's name.
    pub engine: &'static str,
    /// Seconds from the start of the machine to its end.
    pub seconds: f64,
    /// Instructions a second, all vCPUs together.
    pub instructions_per_second: f64,
    /// Each vCPU's counters.
    pub vcpus: Vec<VcpuStats>,
}

/// One vCPU's.
#[derive(Clone, Debug, Serialize)]
pub struct VcpuStats {
    /// What every engine counts.
    #[serde(flatten)]
    pub counters: Statistics,
    /// What this one counts besides, by name.
    pub details: BTreeMap<String, u64>,
}

impl Stats {
    /// Of a run that took so long.
    pub fn new(
        engine: &'static str,
        time: Duration,
        counters: Vec<Statistics>,
        details: Vec<Vec<(String, u64)>>,
    ) -> Self {
        let seconds = time.as_secs_f64();
        let instructions: u64 = counters.iter().map(|vcpu| vcpu.instructions).sum();
        let details = details.into_iter().chain(std::iter::repeat_with(Vec::new));
        let vcpus = counters
            .into_iter()
            .zip(details)
            .map(|(counters, details)| VcpuStats { counters, details: details.into_iter().collect() })
            .collect();
        let instructions_per_second = if seconds > 0.0 { instructions as f64 / seconds } else { 0.0 };
        Self { engine, seconds, instructions_per_second, vcpus }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, seconds, instructions_per_second, vcpus } = self;
        let millions = instructions_per_second / 1e6;
        writeln!(f, "engine {engine}, {seconds:.2} s, {millions:.1} million instructions a second")?;
        for (index, vcpu) in vcpus.iter().enumerate() {
            let Statistics {
                instructions,
                blocks,
                invalidations,
                exceptions,
                interrupts,
                device_accesses,
                page_walks,
            } = &vcpu.counters;
            write!(f, "vCPU {index}:")?;
            for (name, count) in [
                ("instructions", instructions),
                ("blocks", blocks),
                ("blocks thrown away", invalidations),
                ("exceptions", exceptions),
                ("interrupts", interrupts),
                ("device accesses", device_accesses),
                ("page walks", page_walks),
            ] {
                write!(f, "\n  {name:<20} {count:>16}")?;
            }
            for (name, count) in &vcpu.details {
                write!(f, "\n  {name:<36} {count:>16}")?;
            }
            if index + 1 < vcpus.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let vcpu = Statistics { instructions: 3_000_000, interrupts: 7, ..Statistics::default() };
        let stats = Stats::new(
            "interpret",
            Duration::from_millis(1500),
            vec![vcpu, vcpu],
            vec![vec![("exits: link".to_owned(), 5)]],
        );
        let text = stats.to_string();
        assert!(
            text.starts_with("engine interpret, 1.50 s, 4.0 million instructions a second\nvCPU 0:\n"),
            "{text}"
        );
        assert!(text.contains("vCPU 1:") && text.contains("instructions                  3000000"), "{text}");
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["vcpus"][1]["interrupts"], 7);
        assert_eq!(json["vcpus"][0]["details"]["exits: link"], 5);
        assert!(text.contains("exits: link"), "{text}");
        assert_eq!(Stats::new("x", Duration::ZERO, vec![], vec![]).instructions_per_second, 0.0);
    }
}
