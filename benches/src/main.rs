//! `ringfence-measure`: the same programs natively, in Ringfence, in QEMU's emulator and in user-mode Linux.
//!
//! All run one static benchmark program, which does rounds of each [`workload`] and tells the time of a round; the virtual machines from the same
//! initial RAM disk, with the same kernel ([`files`]). A [`contender`] is started, and its [`marks`] are read against the host's
//! clock ([`run`]). Contenders take turns, round by round, so that whatever else the host does meets all alike. What comes in is
//! [collected](collection), and [reported](report) as medians, ratios and means: as a [`table`], as JSON, and as a [picture](plot).

mod collection;
mod contender;
mod files;
mod host;
mod marks;
mod memory;
mod plot;
mod report;
mod run;
mod stats;
mod table;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;

use collection::Collection;
use contender::{Contender, Task};
use files::Files;
use host::Host;
use report::Report;

/// Measures Ringfence against the host itself, QEMU's emulator and user-mode Linux.
#[derive(Debug, Parser)]
#[command(name = "ringfence-measure", version, max_term_width = 100)]
struct Arguments {
    /// Who takes part; all that are installed unless given
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    contenders: Vec<String>,
    /// Workloads and classes of them; all unless given
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    workloads: Vec<String>,
    /// Workloads to run one and two at once, on two processors
    #[arg(long, value_delimiter = ',', value_name = "NAME", default_value = "sort,sha256,vm,matrix")]
    pairs: Vec<String>,
    /// Leaves those out
    #[arg(long, conflicts_with = "pairs")]
    no_pairs: bool,
    /// Rounds; the interpreter takes part in the first only
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long to count rounds of a workload, each time
    #[arg(long, default_value_t = 0.3, value_name = "S")]
    seconds: f64,
    /// The `ringfence` to measure
    #[arg(long, default_value = "target/release/ringfence", value_name = "PROGRAM")]
    ringfence: PathBuf,
    /// Writes all of the outcome as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws it
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measures nothing: leaves kernel, initial RAM disk and benchmark program in a folder, to run by hand
    #[arg(long, value_name = "FOLDER")]
    prepare: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringfence-measure: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Was all well?
fn measure(arguments: &Arguments) -> Result<bool> {
    if let Some(folder) = &arguments.prepare {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        return Files::prepare(folder).map(|_| true);
    }
    let host = Host::now();
    let folder = tempfile::tempdir().context("cannot make a folder for the files")?;
    let files = Files::prepare(folder.path())?;
    let all = workload::list(&files.bench)?;
    let workloads = workload::choose(&all, &arguments.workloads)?;
    let pairs = if arguments.no_pairs { vec![] } else { workload::choose(&all, &arguments.pairs)? };
    let contenders = contenders(arguments)?;

    let task = |workloads: &[workload::Workload], copies, vcpus| Task {
        workloads: workloads.iter().map(|workload| workload.name.clone()).collect(),
        seconds: arguments.seconds,
        copies,
        vcpus,
    };
    let mut collection = Collection::default();
    for round in 1..=arguments.rounds {
        for (contender, _) in &contenders {
            let contender = *contender;
            if contender == Contender::Interpret && round > 1 {
                continue;
            }
            eprintln!("round {round}: {contender}");
            let run = |task: &Task| run::run(contender, &arguments.ringfence, &files, task);
            match run(&task(&workloads, 1, 1)) {
                Ok(run) => collection.add(contender, run),
                Err(error) => collection.note(format!("{contender}: {error:#}")),
            }
            if contender == Contender::Translate {
                let mut command = Command::new(&arguments.ringfence);
                command.args(["run", "--engine", contender.name(), "debian", "--", "true"]);
                match run::whole(command) {
                    Ok(seconds) => collection.whole.entry(contender).or_default().push(seconds),
                    Err(error) => collection.note(format!("{error:#}")),
                }
            }
            if contender.has_processors() && !pairs.is_empty() {
                match run(&task(&pairs, 1, 2)).and_then(|one| Ok((one, run(&task(&pairs, 2, 2))?))) {
                    Ok((one, two)) => collection.add_pair(contender, one, two),
                    Err(error) => collection.note(format!("{contender} on two processors: {error:#}")),
                }
            }
        }
    }
    let report = Report::new(host, &contenders, &workloads, arguments.seconds, collection);
    print!("{report}");
    let write = |path: &Option<PathBuf>, text: &dyn Fn() -> Result<String>| match path {
        Some(path) => fs::write(path, text()?).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
    };
    write(&arguments.json, &|| Ok(serde_json::to_string_pretty(&report)?))?;
    write(&arguments.svg, &|| Ok(plot::draw(&report)))?;
    Ok(report.notes.is_empty())
}

/// Who takes part: those asked for, which then must be there, or all that are there.
fn contenders(arguments: &Arguments) -> Result<Vec<(Contender, String)>> {
    let asked = !arguments.contenders.is_empty();
    let mut chosen = if asked {
        arguments.contenders.iter().map(|name| Contender::named(name)).collect::<Result<_>>()?
    } else {
        Contender::ALL.to_vec()
    };
    chosen.sort();
    chosen.dedup();
    let mut present = vec![];
    for contender in chosen {
        match contender.version(&arguments.ringfence) {
            Some(version) => present.push((contender, version)),
            None => {
                let program = contender.program(&arguments.ringfence).unwrap_or_default();
                let message = format!("{contender} is not here: {} cannot be run", program.display());
                if asked || program == arguments.ringfence {
                    bail!("{message}; see docs/measuring.md");
                }
                eprintln!("{message}");
            }
        }
    }
    Ok(present)
}
