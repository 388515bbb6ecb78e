//! `cargo xtask test`: everything that must hold before a change goes in.

use anyhow::Result;

use crate::cargo::{FUZZ, STORIES, built, cargo, program};
use crate::check;
use crate::step::Run;
use crate::tree::Tree;

/// How much of it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Less of each: 50 000 random sequences instead of a million, a few seconds of fuzzing, no whole machines
    #[arg(long)]
    quick: bool,
    /// Random instruction sequences to run natively and in the engines
    #[arg(long, value_name = "N")]
    sequences: Option<u64>,
    /// The seed of the random sequences and of the fuzz targets' inputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Seconds for each fuzz target
    #[arg(long, value_name = "S")]
    fuzz: Option<u64>,
}

/// Everything.
pub fn all(run: &mut Run, tree: &Tree, options: &Options) -> Result<()> {
    check::all(run, tree)?;
    let stories = tree.has("tests/Cargo.toml");
    let excluded: &[&str] = if stories { &["--exclude", STORIES] } else { &[] };
    let everywhere =
        |words: &[&'static str]| cargo(&[words, &["--release", "--workspace"], excluded].concat());

    // With all targets, the programs come out with the same features as the tests, and are built once.
    run.command("build", everywhere(&["build", "--quiet", "--all-targets"]))?;
    run.command("tests of the crates", everywhere(&["test", "--quiet", "--no-fail-fast"]))?;

    let (seed, jobs) =
        (options.seed.to_string(), std::thread::available_parallelism().map_or(1, usize::from).to_string());
    let sequences = options.sequences.unwrap_or(if options.quick { 50_000 } else { 1_000_000 });
    // A mirror takes longer for each: it is stopped at least once.
    for (engine, sequences) in
        [("interpret", sequences), ("translate", sequences), ("mirrored", sequences / 5)]
    {
        let sequences = sequences.to_string();
        let mut words =
            vec!["native", "--engine", engine, "--count", &sequences, "--seed", &seed, "--jobs", &jobs];
        if engine != "interpret" {
            // It does not keep where the last x87 instruction and operand were: see docs/translator.md.
            words.push("--no-x87-pointers");
        }
        let name = format!("random sequences against the host's CPU: {engine}");
        run.command(&name, program(tree, "release", "ringfence-compare", &words))?;
    }

    // In a profile of its own, for the checks of arithmetic.
    let fuzz = ["build", "--quiet", "--profile", "fuzz", "--package", FUZZ];
    run.command("build of the fuzz targets", cargo(&fuzz))?;
    let time = options.fuzz.unwrap_or(if options.quick { 2 } else { 10 }).to_string();
    run.command("fuzz targets", program(tree, "fuzz", FUZZ, &["run", "--seed", &seed, "--time", &time]))?;

    if stories && !options.quick {
        let mut stories = cargo(&["test", "--release", "--package", STORIES]);
        // The program that is there: by themselves they would build another, with the features that it has when alone.
        stories.env("RINGFENCE", built(tree, "release", "ringfence"));
        run.command("whole machines", stories)?;
    }
    Ok(())
}
