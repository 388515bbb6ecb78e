//! The developers' door to the differential checks.

use std::num::NonZero;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use compare::campaign::{Campaign, Summary};
use compare::{CompareError, parse_mnemonics};
use engine::Engine;
use indicatif::{ProgressBar, ProgressStyle};

/// Differential checks between Ringfence's engines and the host's own CPU.
#[derive(Debug, Parser)]
#[command(name = "ringfence-compare", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs random instruction sequences on the host's CPU and in an engine; all they leave must agree.
    ///
    /// A difference is made as small as it goes and printed with the --seed and --index that make it again.
    Native(NativeArguments),
}

#[derive(Debug, clap::Args)]
struct NativeArguments {
    /// The engine under test.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// Sequences to run.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// The seed of everything; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the sequence of this index.
    #[arg(long)]
    index: Option<u64>,
    /// Only these instructions, by mnemonic or family: add,imul,x87.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The x87 pointers (FIP, FDP, FOP) do not count. Belongs to a replay's arguments.
    #[arg(long)]
    no_x87_pointers: bool,
    /// Threads; each has a child process of its own.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Ends after so many different reports.
    #[arg(long, default_value_t = 5)]
    reports: usize,
    /// Shows a progress bar.
    #[arg(long)]
    progress: bool,
    /// Lists how often each instruction ran.
    #[arg(long)]
    coverage: bool,
}

/// An engine by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum EngineName {
    /// The reference CPU.
    #[default]
    Interpret,
    /// The binary translator.
    Translate,
    /// The binary translator, its user code in mirrors.
    Mirrored,
}

impl EngineName {
    fn engine(self) -> &'static dyn Engine {
        match self {
            Self::Interpret => &interpret::Interpreter,
            Self::Translate => &translate::Translator,
            Self::Mirrored => &translate::Mirrored { far: true },
        }
    }
}

fn main() -> ExitCode {
    let Command::Native(arguments) = Arguments::parse().command;
    match native(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringfence-compare: {error}");
            ExitCode::from(2)
        }
    }
}

fn native(arguments: &NativeArguments) -> Result<bool, CompareError> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let campaign = Campaign {
        seed,
        first: arguments.index.unwrap_or(0),
        count: if arguments.index.is_some() { 1 } else { arguments.count },
        jobs: arguments.jobs,
        only: parse_mnemonics(&arguments.only)?,
        x87_pointers: !arguments.no_x87_pointers,
        most_reports: arguments.reports,
    };
    let engine = arguments.engine.engine();
    println!("native against {}: seed {seed}, {} sequences", engine.name(), campaign.count);
    let bar = if arguments.progress { ProgressBar::new(campaign.count) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    let began = Instant::now();
    let summary = campaign.run(engine, &|cases| bar.inc(cases))?;
    bar.finish_and_clear();
    Ok(tell(&summary, &campaign, began, arguments.coverage))
}

/// Prints what came of it. True if all is well.
fn tell(summary: &Summary, campaign: &Campaign, began: Instant, coverage: bool) -> bool {
    if coverage {
        for (mnemonic, times) in summary.coverage.by_mnemonic() {
            println!("  {times:>9} {mnemonic:?}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = NonZero::new((seconds * 1000.0) as u64).map_or(0, |ms| summary.cases * 1000 / ms);
    println!("{} sequences in {seconds:.1} s ({rate}/s)", summary.cases);
    print!("{}", summary.coverage);
    for report in &summary.reports {
        println!("\nDIFFERENCE {report}");
    }
    let missing = summary.coverage.missing(&summary.catalog);
    let whole = campaign.only.is_empty() && campaign.count >= compare::ENOUGH && summary.reports.is_empty();
    if whole && !missing.is_empty() {
        println!("\nnever exercised: {missing:?}");
        return false;
    }
    if summary.differing > 0 {
        println!("\n{} sequences differ", summary.differing);
    }
    summary.differing == 0
}
