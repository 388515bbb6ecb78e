//! The outcome: medians of the rounds, and ratios to the host itself and to QEMU.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::contender::Contender;
use crate::script::WORKLOADS;
use crate::timing::Timings;

/// The row of the time to user space.
const BOOT: &str = "boot";

/// All measurements.
pub struct Table {
    contenders: Vec<String>,
    /// By workload, then by contender: seconds, one for each round.
    seconds: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// By workload: the digest that all must agree on.
    results: BTreeMap<String, String>,
    /// By contender: instructions a second, one number for each round.
    speeds: BTreeMap<String, Vec<f64>>,
}

/// All of the outcome as data.
#[derive(Debug, Serialize)]
pub struct Outcome {
    rows: Vec<Row>,
    /// By engine: guest instructions a second over whole runs, boot and idle time included; medians. Engines that do
    /// not count instructions are left out.
    instructions_per_second: BTreeMap<String, f64>,
}

/// A contender's outcome for a workload.
#[derive(Debug, Serialize)]
pub struct Cell {
    contender: String,
    /// Seconds, one for each round.
    seconds: Vec<f64>,
    median: f64,
    /// The median over the host's own.
    times_native: Option<f64>,
    /// QEMU's median over this one: how many times faster.
    faster_than_qemu: Option<f64>,
}

/// A workload's outcome.
#[derive(Debug, Serialize)]
pub struct Row {
    workload: String,
    about: &'static str,
    cells: Vec<Cell>,
}

impl Table {
    /// No rounds yet.
    pub fn new(contenders: &[Contender]) -> Self {
        let contenders = contenders.iter().map(Contender::name).collect();
        Self { contenders, seconds: BTreeMap::new(), results: BTreeMap::new(), speeds: BTreeMap::new() }
    }

    /// Takes a round in. A result that differs from another contender's is an error.
    pub fn add(&mut self, contender: &Contender, timings: Timings) -> Result<()> {
        let name = contender.name();
        let mut note = |workload: &str, time: std::time::Duration| {
            let row = self.seconds.entry(workload.to_owned()).or_default();
            row.entry(name.clone()).or_default().push(time.as_secs_f64());
        };
        if *contender != Contender::Native {
            note(BOOT, timings.up);
        }
        if let Some(counted) = timings.engine {
            self.speeds.entry(name.clone()).or_default().push(counted.instructions_per_second);
        }
        for (workload, (time, result)) in timings.workloads {
            note(&workload, time);
            let agreed = self.results.entry(workload.clone()).or_insert_with(|| result.clone());
            if *agreed != result {
                bail!("{name} computes `{result}` for {workload}, and another `{agreed}`");
            }
        }
        Ok(())
    }

    /// The outcome as data.
    pub fn outcome(&self) -> Outcome {
        Outcome { rows: self.rows(), instructions_per_second: self.speeds() }
    }

    fn speeds(&self) -> BTreeMap<String, f64> {
        self.speeds.iter().map(|(name, speeds)| (name.clone(), median(speeds))).collect()
    }

    /// In the order of the workloads.
    fn rows(&self) -> Vec<Row> {
        let names = WORKLOADS.iter().map(|workload| (workload.name, workload.about));
        let rows = std::iter::once((BOOT, "from the program's start to the guest's user space")).chain(names);
        rows.filter_map(|(name, about)| Some(self.row(name, about, self.seconds.get(name)?))).collect()
    }

    fn row(&self, workload: &str, about: &'static str, seconds: &BTreeMap<String, Vec<f64>>) -> Row {
        let median_of = |name: &str| seconds.get(name).map(|seconds| median(seconds));
        let (native, qemu) = (median_of("native"), median_of("qemu tcg"));
        let cell = |name: &String| {
            let median = median_of(name)?;
            Some(Cell {
                contender: name.clone(),
                seconds: seconds.get(name)?.clone(),
                median,
                times_native: native.map(|native| median / native),
                faster_than_qemu: qemu.map(|qemu| qemu / median),
            })
        };
        Row { workload: workload.to_owned(), about, cells: self.contenders.iter().filter_map(cell).collect() }
    }
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}", "")?;
        for name in &self.contenders {
            write!(f, " | {name:^27}")?;
        }
        writeln!(f)?;
        for row in self.rows() {
            write!(f, "{:<8}", row.workload)?;
            for name in &self.contenders {
                let Some(cell) = row.cells.iter().find(|cell| cell.contender == *name) else {
                    write!(f, " | {:27}", "")?;
                    continue;
                };
                let ratio = |value: Option<f64>, unit: &str| {
                    value.map_or_else(String::new, |value| format!("{value:.1}{unit}"))
                };
                let native = ratio(cell.times_native, "×");
                let qemu = ratio(cell.faster_than_qemu, "q");
                write!(f, " | {:>9.3} s {native:>7} {qemu:>7}", cell.median)?;
            }
            writeln!(f, " | {}", row.about)?;
        }
        // The translator counts only what it interprets, which says nothing of its speed.
        for (name, speed) in self.speeds().into_iter().filter(|(name, _)| name != "translate") {
            writeln!(f, "{name}: {:.1} million guest instructions a second, boot included", speed / 1e6)?;
        }
        writeln!(f, "×: times the host's own time; q: QEMU's time over this one. Medians.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Counted;
    use std::time::Duration;

    fn timings(up: u64, shell: u64, result: &str) -> Timings {
        let shell = (Duration::from_millis(shell), result.to_owned());
        Timings {
            up: Duration::from_millis(up),
            workloads: [("shell".to_owned(), shell)].into(),
            engine: None,
        }
    }

    #[test]
    fn medians_and_ratios() {
        let mut table = Table::new(&[Contender::Native, Contender::Qemu]);
        for (native, qemu) in [(100, 900), (100, 1000), (300, 5000)] {
            table.add(&Contender::Native, timings(1, native, "r")).unwrap();
            table.add(&Contender::Qemu, timings(2000, qemu, "r")).unwrap();
        }
        let rows = table.rows();
        assert_eq!((rows[0].workload.as_str(), rows[0].cells.len()), ("boot", 1));
        let qemu = &rows[1].cells[1];
        assert_eq!((qemu.median, qemu.times_native), (1.0, Some(10.0)));
        assert!(table.to_string().contains("10.0×"));
    }

    #[test]
    fn speeds_are_medians_too() {
        let engine = Contender::Ringfence { program: "ringfence".into(), engine: "interpret".to_owned() };
        let mut table = Table::new(std::slice::from_ref(&engine));
        for speed in [60e6, 80e6, 10e6] {
            let engine_said = Some(Counted { instructions_per_second: speed });
            table.add(&engine, Timings { engine: engine_said, ..timings(1, 1, "r") }).unwrap();
        }
        assert_eq!(table.outcome().instructions_per_second["interpret"], 60e6);
        assert!(table.to_string().contains("interpret: 60.0 million"));
    }

    #[test]
    fn a_wrong_result_is_no_result() {
        let mut table = Table::new(&[Contender::Native, Contender::Qemu]);
        table.add(&Contender::Native, timings(1, 1, "right")).unwrap();
        assert!(table.add(&Contender::Qemu, timings(1, 1, "wrong")).is_err());
    }
}
