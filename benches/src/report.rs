//! The outcome as data: medians, spreads, ratios, means.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::collection::{Collection, Pairs, Samples};
use crate::contender::Contender;
use crate::host::Host;
use crate::memory::Memory;
use crate::stats::{geometric_mean, median, spread};
use crate::workload::Workload;

/// The class of the rows about whole machines.
pub const BOOT: &str = "boot";
/// The means over compute and SIMD together: what a program does without the kernel.
pub const USER: &str = "compute+simd";

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// Who took part, with their versions.
    pub contenders: Vec<Entrant>,
    /// Seconds that rounds were counted in, for each workload.
    pub seconds: f64,
    /// A row for each workload, by class.
    pub rows: Vec<Row>,
    /// Geometric means over the rows of a class.
    pub means: Vec<Mean>,
    /// Two at once on two processors, beside one.
    pub pairs: Vec<Pair>,
    /// By contender: the geometric mean of the ratios.
    pub pair_means: BTreeMap<&'static str, f64>,
    /// What the machines' processes hold.
    pub memory: Vec<Held>,
    /// What went wrong.
    pub notes: Vec<String>,
}

/// One who took part.
#[derive(Debug, Serialize)]
pub struct Entrant {
    /// Its name.
    pub name: &'static str,
    /// What it says of itself.
    pub version: String,
}

/// A workload's outcome.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was done.
    #[serde(flatten)]
    pub workload: Workload,
    /// By contender.
    pub cells: Vec<Cell>,
}

/// A contender's outcome for a workload.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// Who.
    pub contender: &'static str,
    /// Seconds that a round of the work took, one number for each round of the comparison.
    pub seconds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// From the least to the greatest, as a share of the median, where there is more than one.
    pub spread: Option<f64>,
    /// Seconds that the first round took, whatever has to be loaded or translated first included; the median.
    pub first: Option<f64>,
    /// The median in multiples of the host's own.
    pub times_native: Option<f64>,
    /// TCG's median in multiples of this one.
    pub faster_than_tcg: Option<f64>,
}

/// A class's outcome for a contender.
#[derive(Debug, Serialize)]
pub struct Mean {
    /// The class.
    pub class: &'static str,
    /// Who.
    pub contender: &'static str,
    /// The geometric mean of the multiples of the host's time.
    pub times_native: Option<f64>,
    /// The greatest of them.
    pub worst: Option<f64>,
    /// The geometric mean of how many times faster than TCG.
    pub faster_than_tcg: Option<f64>,
    /// The least of them.
    pub least_faster: Option<f64>,
}

/// One and two copies on two processors.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// What was done.
    pub workload: String,
    /// Who.
    pub contender: &'static str,
    /// Seconds of a round where there is one copy; the median.
    pub one: f64,
    /// Seconds of a round of each of two; the median.
    pub two: f64,
    /// Two over one.
    pub ratio: f64,
}

/// What a machine's process holds: medians, in bytes.
#[derive(Debug, Serialize)]
pub struct Held {
    /// Who.
    pub contender: &'static str,
    /// After the boot.
    pub after_boot: Memory,
    /// After all workloads.
    pub at_end: Memory,
}

impl Report {
    /// The outcome of a collection.
    pub fn new(
        host: Host,
        contenders: &[(Contender, String)],
        workloads: &[Workload],
        seconds: f64,
        collection: Collection,
    ) -> Self {
        let row = |workload: &Workload, samples: &Samples| Row {
            workload: workload.clone(),
            cells: cells(samples, collection.first.get(&workload.name)),
        };
        let machine = |name: &str, about: &str, samples: &Samples| {
            let [name, class, about] = [name, BOOT, about].map(str::to_owned);
            (!samples.is_empty()).then(|| row(&Workload { name, class, about }, samples))
        };
        let mut rows: Vec<Row> = workloads
            .iter()
            .filter_map(|workload| Some(row(workload, collection.rounds.get(&workload.name)?)))
            .collect();
        rows.extend(machine("boot", "from the start to user space", &collection.boot));
        // A whole life of ours stands beside the mere boot of the others.
        let mut whole = collection.whole.clone();
        if let Some(boot) = collection.boot.get(&Contender::Tcg).filter(|_| !whole.is_empty()) {
            whole.insert(Contender::Tcg, boot.clone());
        }
        rows.extend(machine(
            "run",
            "`ringfence run debian -- true` from start to end; TCG's boot alone",
            &whole,
        ));
        let pairs = pairs(&collection.pairs);
        Self {
            host,
            contenders: contenders
                .iter()
                .map(|(contender, version)| Entrant { name: contender.name(), version: version.clone() })
                .collect(),
            seconds,
            means: means(contenders, &rows),
            rows,
            pair_means: pair_means(&pairs),
            pairs,
            memory: held(&collection.memory),
            notes: collection.notes,
        }
    }
}

fn cells(samples: &Samples, first: Option<&Samples>) -> Vec<Cell> {
    let of = |contender: Contender| samples.get(&contender).and_then(|seconds| median(seconds));
    let (native, tcg) = (of(Contender::Native), of(Contender::Tcg));
    let cell = |(contender, seconds): (&Contender, &Vec<f64>)| {
        let middle = median(seconds)?;
        Some(Cell {
            contender: contender.name(),
            seconds: seconds.clone(),
            median: middle,
            spread: spread(seconds),
            first: first.and_then(|first| median(first.get(contender)?)),
            times_native: native.map(|native| middle / native),
            faster_than_tcg: tcg.map(|tcg| tcg / middle),
        })
    };
    samples.iter().filter_map(cell).collect()
}

fn means(contenders: &[(Contender, String)], rows: &[Row]) -> Vec<Mean> {
    let classes = ["compute", "simd", USER, "v3", "memory", "kernel", "programs", BOOT];
    let mean = |class: &'static str, contender: Contender| {
        let cells = || {
            rows.iter()
                .filter(move |row| match class {
                    USER => matches!(&*row.workload.class, "compute" | "simd"),
                    class => row.workload.class == class,
                })
                .flat_map(|row| &row.cells)
                .filter(move |cell| cell.contender == contender.name())
        };
        let native: Vec<f64> = cells().filter_map(|cell| cell.times_native).collect();
        let tcg: Vec<f64> = cells().filter_map(|cell| cell.faster_than_tcg).collect();
        Some(Mean {
            class,
            contender: contender.name(),
            times_native: geometric_mean(&native),
            worst: native.iter().copied().reduce(f64::max),
            faster_than_tcg: geometric_mean(&tcg),
            least_faster: tcg.iter().copied().reduce(f64::min),
        })
        .filter(|mean| mean.times_native.is_some() || mean.faster_than_tcg.is_some())
    };
    classes.iter().flat_map(|class| contenders.iter().filter_map(|(one, _)| mean(class, *one))).collect()
}

fn pairs(collected: &BTreeMap<String, Pairs>) -> Vec<Pair> {
    let pair = |workload: &String, contender: &Contender, (one, two): &(Vec<f64>, Vec<f64>)| {
        let (one, two) = (median(one)?, median(two)?);
        Some(Pair { workload: workload.clone(), contender: contender.name(), one, two, ratio: two / one })
    };
    collected
        .iter()
        .flat_map(|(workload, by)| {
            by.iter().filter_map(move |(contender, both)| pair(workload, contender, both))
        })
        .collect()
}

fn pair_means(pairs: &[Pair]) -> BTreeMap<&'static str, f64> {
    let mut ratios = BTreeMap::<&'static str, Vec<f64>>::new();
    pairs.iter().for_each(|pair| ratios.entry(pair.contender).or_default().push(pair.ratio));
    ratios.into_iter().filter_map(|(contender, ratios)| Some((contender, geometric_mean(&ratios)?))).collect()
}

fn held(collected: &BTreeMap<Contender, Vec<(Memory, Memory)>>) -> Vec<Held> {
    let middle = |values: Vec<u64>| {
        median(&values.into_iter().map(|value| value as f64).collect::<Vec<_>>()).unwrap_or_default() as u64
    };
    let memory = |all: Vec<Memory>| Memory {
        besides: middle(all.iter().map(|memory| memory.besides).collect()),
        tables: middle(all.iter().map(|memory| memory.tables).collect()),
        guest: middle(all.iter().map(|memory| memory.guest).collect()),
    };
    collected
        .iter()
        .filter(|(_, samples)| !samples.is_empty())
        .map(|(contender, samples)| Held {
            contender: contender.name(),
            after_boot: memory(samples.iter().map(|(after_boot, _)| *after_boot).collect()),
            at_end: memory(samples.iter().map(|(_, at_end)| *at_end).collect()),
        })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two contenders and two workloads: `sort` is 2 times native, `planets` 8 times; TCG is 4 times slower than that.
    pub fn report() -> Report {
        let mut collection = Collection::default();
        let three = |seconds: f64| vec![seconds * 0.9, seconds, seconds * 1.3];
        let row = |native: f64, ours: f64| -> Samples {
            [(Contender::Native, native), (Contender::Translate, ours), (Contender::Tcg, 4.0 * ours)]
                .map(|(contender, seconds)| (contender, three(seconds)))
                .into()
        };
        collection.rounds =
            [("sort".to_owned(), row(1e-3, 2e-3)), ("planets".to_owned(), row(1e-3, 8e-3))].into();
        collection.boot = [(Contender::Translate, three(1.0)), (Contender::Tcg, three(3.0))].into();
        collection.whole = [(Contender::Translate, three(2.0))].into();
        collection.pairs =
            [("sort".to_owned(), [(Contender::Translate, (vec![1.0], vec![1.1]))].into())].into();
        let memory = |besides| Memory { besides, tables: 1 << 20, guest: 100 << 20 };
        collection.memory = [(Contender::Translate, vec![(memory(30 << 20), memory(60 << 20))])].into();
        collection.notes = vec!["a <note>".to_owned()];
        let contenders = [Contender::Native, Contender::Translate, Contender::Tcg]
            .map(|contender| (contender, "1.0".to_owned()));
        let workloads = [("sort", "compute"), ("planets", "simd")].map(|(name, class)| Workload {
            name: name.to_owned(),
            class: class.to_owned(),
            about: "work".to_owned(),
        });
        Report::new(Host::default(), &contenders, &workloads, 0.3, collection)
    }

    #[test]
    fn ratios_are_of_medians() {
        let report = report();
        let ours = &report.rows[0].cells[1];
        assert_eq!((ours.contender, ours.median, ours.times_native), ("translate", 2e-3, Some(2.0)));
        assert_eq!(ours.faster_than_tcg, Some(4.0));
        assert!((ours.spread.unwrap() - 0.4).abs() < 1e-9);
    }

    #[test]
    fn means_are_of_classes() {
        let report = report();
        let mean = |class: &str| {
            report.means.iter().find(|mean| mean.class == class && mean.contender == "translate").unwrap()
        };
        assert_eq!(mean("compute").times_native, Some(2.0));
        let user = mean(USER);
        assert!((user.times_native.unwrap() - 4.0).abs() < 1e-9, "{user:?}");
        assert_eq!((user.worst, user.least_faster), (Some(8.0), Some(4.0)));
        // The boot at 3 times and the whole run at 1.5 times TCG's speed; the host does not boot.
        assert_eq!((mean(BOOT).times_native, mean(BOOT).least_faster), (None, Some(1.5)));
        assert!(report.means.iter().all(|mean| mean.class != "kernel"));
    }

    #[test]
    fn all_of_it_is_json() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["rows"][0]["name"], "sort");
        assert_eq!(json["rows"][0]["cells"][2]["seconds"].as_array().unwrap().len(), 3);
        assert_eq!(json["pairs"][0]["ratio"], 1.1);
        assert_eq!(json["memory"][0]["at_end"]["besides"], 60 << 20);
    }
}
