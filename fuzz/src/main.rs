//! `ringfence-fuzz`: runs the fuzz targets.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use fuzz::runner::{Plan, fails, run, shrink};
use fuzz::target::{TARGETS, Target, by_name};
use fuzz::worker::{Work, work};

/// Runs Ringfence's fuzz targets: arbitrary input must not make anything panic, hang or swell.
///
/// Build it with checks: cargo run --profile fuzz --package ringfence-fuzz -- run
#[derive(Debug, Parser)]
#[command(name = "ringfence-fuzz", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the targets
    List,
    /// Runs targets, one after the other
    Run(RunArguments),
    /// Runs one input
    Replay {
        /// The target
        #[arg(value_parser = target)]
        target: &'static str,
        /// The input
        file: PathBuf,
    },
    /// Makes a failing input smaller and prints where it is
    Shrink {
        /// The target
        #[arg(value_parser = target)]
        target: &'static str,
        /// The input
        file: PathBuf,
    },
    /// What the runner starts
    #[command(hide = true)]
    Worker {
        /// The target.
        #[arg(value_parser = target)]
        target: &'static str,
        /// The seed.
        seed: u64,
        /// The first index.
        first: u64,
        /// From one index to the next.
        stride: u64,
        /// Inputs.
        inputs: u64,
        /// Milliseconds.
        time: u64,
        /// The file for the index.
        progress: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Targets; all unless given
    #[arg(value_parser = target)]
    targets: Vec<&'static str>,
    /// The seed of all inputs; another one each time unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds for each target
    #[arg(long, default_value_t = 10)]
    time: u64,
    /// Inputs for each target, at most
    #[arg(long, default_value_t = u64::MAX)]
    inputs: u64,
    /// Worker processes; as many as CPUs unless given
    #[arg(long)]
    jobs: Option<u64>,
    /// Where findings go
    #[arg(long, default_value = "target/fuzz-findings")]
    findings: PathBuf,
}

fn target(name: &str) -> Result<&'static str, String> {
    by_name(name).map(|target| target.name).ok_or_else(|| "see `ringfence-fuzz list`".to_owned())
}

/// The target of a name that was checked.
fn named(name: &str) -> Result<&'static Target> {
    by_name(name).context("no such target")
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::List => {
            TARGETS.iter().for_each(|target| println!("{:<12} {}", target.name, target.about));
            Ok(true)
        }
        Command::Run(arguments) => run_all(&arguments),
        Command::Replay { target, file } => replay(target, &file),
        Command::Shrink { target, file } => make_small(target, &file),
        Command::Worker { target, seed, first, stride, inputs, time, progress } => {
            let plan = Work { seed, first, stride, inputs, time: Duration::from_millis(time), progress };
            named(target).and_then(|target| work(target, &plan)).map(|()| true)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringfence-fuzz: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_all(arguments: &RunArguments) -> Result<bool> {
    if let Err(reason) = translate::Translator::supported() {
        println!("the target `translator` does nothing here: {reason}");
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let jobs =
        arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as u64));
    println!("seed {seed}, {} s for each target, {jobs} workers", arguments.time);
    let plan = Plan {
        seed,
        inputs: arguments.inputs,
        time: Duration::from_secs(arguments.time),
        jobs: jobs.max(1),
        findings: arguments.findings.clone(),
    };
    let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let names = if arguments.targets.is_empty() { &all } else { &arguments.targets };
    let mut good = true;
    for name in names {
        let (target, began) = (named(name)?, Instant::now());
        let report = run(target, &plan)?;
        let verdict = if report.finding.is_some() { "FAILED" } else { "ok" };
        println!(
            "{:<12} {:>9} inputs in {:.1} s: {verdict}",
            name,
            report.inputs,
            began.elapsed().as_secs_f64()
        );
        if let Some(finding) = report.finding {
            good = false;
            println!("  input {}: {} (its message is above)", finding.index, finding.what);
            println!("  again: ringfence-fuzz replay {name} {}", finding.file.display());
        }
    }
    Ok(good)
}

fn replay(name: &str, file: &PathBuf) -> Result<bool> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    (named(name)?.run)(&input);
    println!("{name}: {} bytes: ok", input.len());
    Ok(true)
}

fn make_small(name: &str, file: &PathBuf) -> Result<bool> {
    let target = named(name)?;
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let small_file = file.with_extension("small");
    let mut try_one = |input: &[u8]| {
        std::fs::write(&small_file, input)?;
        fails(target, &small_file)
    };
    if !try_one(&input)? {
        println!("{name}: this input does not fail");
        return Ok(false);
    }
    let small = shrink(input, &mut try_one)?;
    std::fs::write(&small_file, &small)?;
    println!("{} bytes: {}", small.len(), small_file.display());
    println!("{small:02x?}");
    Ok(true)
}
