//! The outcome as text.

use std::fmt::{self, Display, Formatter};

use crate::report::{BOOT, Cell, Held, Mean, Pair, Report};

/// Of a column.
const WIDTH: usize = 22;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        writeln!(
            f,
            "{}, {} processors; load {:.2}; {}",
            host.processor, host.processors, host.load, host.date
        )?;
        for entrant in &self.contenders {
            writeln!(f, "{:<10} {}", entrant.name, entrant.version)?;
        }
        let mut class = "";
        for row in &self.rows {
            if row.workload.class != class {
                self.end_class(f, class)?;
                class = &row.workload.class;
                write!(f, "\n{class:<14}")?;
                self.contenders.iter().try_for_each(|entrant| write!(f, "|{:^WIDTH$}", entrant.name))?;
                writeln!(f)?;
            }
            write!(f, "{:<14}", row.workload.name)?;
            for entrant in &self.contenders {
                let cell = row.cells.iter().find(|cell| cell.contender == entrant.name);
                write!(f, "|{:WIDTH$}", cell.map(show).unwrap_or_default())?;
            }
            writeln!(f, "| {}", row.workload.about)?;
        }
        self.end_class(f, class)?;
        self.memory.iter().try_for_each(|held| write!(f, "\n{held}"))?;
        if !self.pairs.is_empty() {
            writeln!(f, "\ntwo at once on two processors, beside one:")?;
            self.pairs.iter().try_for_each(|pair| writeln!(f, "{pair}"))?;
            for (contender, ratio) in &self.pair_means {
                writeln!(f, "{:<14} {contender:<10} {ratio:>29.2}×", "= mean")?;
            }
        }
        writeln!(
            f,
            "\n×: times the host's own time; q: TCG's time over this one; ±: from least to greatest. Medians."
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "WRONG: {note}"))
    }
}

impl Report {
    /// The means after a class's rows.
    fn end_class(&self, f: &mut Formatter<'_>, class: &str) -> fmt::Result {
        let mut line = |class: &str, label: &str| {
            let means: Vec<&Mean> = self.means.iter().filter(|mean| mean.class == class).collect();
            if means.is_empty() || class == BOOT {
                return Ok(());
            }
            write!(f, "{label:<14}")?;
            for entrant in &self.contenders {
                let mean = means.iter().find(|mean| mean.contender == entrant.name);
                write!(f, "|{:WIDTH$}", mean.map(|mean| mean.to_string()).unwrap_or_default())?;
            }
            writeln!(f, "| geometric mean, worst")
        };
        line(class, "= mean")?;
        if class == "simd" { line(crate::report::USER, "= with above") } else { Ok(()) }
    }
}

/// The host in seconds, the others in multiples.
fn show(cell: &Cell) -> String {
    let spread = cell.spread.map(|spread| format!("±{:.0}%", spread * 100.0)).unwrap_or_default();
    let tcg = cell.faster_than_tcg.filter(|_| !["native", "tcg"].contains(&cell.contender));
    let tcg = tcg.map(|tcg| format!("{tcg:.1}q")).unwrap_or_default();
    match cell.times_native {
        Some(times) if cell.contender != "native" => format!("{:>7}× {spread:>5} {tcg:>6} ", short(times)),
        _ => format!("{:>9} {spread:>4} {tcg:>6}", time(cell.median)),
    }
}

impl Display for Mean {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.contender == "native" {
            return Ok(());
        }
        let times = self.times_native.map(short).unwrap_or_default();
        let worst = self.worst.map(|worst| format!("≤{}", short(worst))).unwrap_or_default();
        let tcg = self.faster_than_tcg.filter(|_| self.contender != "tcg");
        let tcg = tcg.map(|tcg| format!("{tcg:.1}q")).unwrap_or_default();
        f.pad(&format!("{times:>7}× {worst:>5} {tcg:>6} "))
    }
}

impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { workload, contender, one, two, ratio } = self;
        write!(f, "{workload:<14} {contender:<10} {:>9} → {:>9} {ratio:>6.2}×", time(*one), time(*two))
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        write!(f, "{:<10} holds besides the guest's memory", self.contender)?;
        for (when, memory) in [("after boot", self.after_boot), ("at the end", self.at_end)] {
            write!(
                f,
                "; {when} {:.1} MiB and {:.1} of page tables",
                mib(memory.besides),
                mib(memory.tables)
            )?;
        }
        Ok(())
    }
}

/// Three digits or so.
fn short(number: f64) -> String {
    let places = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    format!("{number:.places$}")
}

fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{} s", short(seconds)),
        1e-3.. => format!("{} ms", short(seconds * 1e3)),
        _ => format!("{} µs", short(seconds * 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn the_table_has_times_ratios_and_means() {
        let table = report().to_string();
        let line = |name: &str| {
            table.lines().find(|line| line.starts_with(name) && !line.contains("native")).unwrap_or_default()
        };
        let has = |name: &str, parts: &[&str]| {
            assert!(parts.iter().all(|part| line(name).contains(part)), "{name}:\n{table}");
        };
        has("sort", &["1.00 ms", "2.00×", "4.0q", "±40%", "8.00×", "work"]);
        has("= with above", &["4.00×", "≤8.00", "4.0q"]);
        has("boot", &["1.00 s", "3.0q"]);
        has("translate  holds", &["30.0 MiB and 1.0", "at the end 60.0 MiB"]);
        has("WRONG", &["a <note>"]);
        has("= mean         translate", &["1.10×"]);
    }

    #[test]
    fn columns_are_columns() {
        let table = report().to_string();
        let bars = |line: &str| {
            line.chars().enumerate().filter(|(_, c)| *c == '|').map(|(at, _)| at).collect::<Vec<_>>()
        };
        let rows: Vec<_> = table.lines().filter(|line| line.contains('|')).collect();
        let first = bars(rows[1]);
        assert!(rows.len() > 6 && rows.iter().all(|row| first.starts_with(&bars(row))), "{table}");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([short(1.234), short(12.34), short(123.4)], ["1.23", "12.3", "123"]);
        assert_eq!([time(1.5), time(2e-3), time(3.25e-6)], ["1.50 s", "2.00 ms", "3.25 µs"]);
    }
}
