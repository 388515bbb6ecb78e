//! The developers' door: `cargo xtask check` and `cargo xtask test`.
//!
//! Both are lists of [`step`]s, run one after the other; the first that fails ends the run and is named.
//! The [`check`]s of the house are written here, one rule a file, each over the files of the [`tree`].

mod cargo;
mod check;
mod test;

mod finding;
mod step;
mod tally;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use step::Run;
use tree::Tree;

/// The developers' door.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Formatting, lints and the rules of the house: some seconds after a change
    Check {
        /// Only the rules of the house, which need no compiler
        #[arg(long)]
        house: bool,
    },
    /// Everything: the checks, all tests, the differential run, the fuzz targets, whole machines
    Test(test::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let tree = match Tree::read() {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut run = Run::new(tree.root());
    let result = match arguments.command {
        Command::Check { house: true } => check::house(&mut run, &tree),
        Command::Check { house: false } => check::all(&mut run, &tree),
        Command::Test(options) => test::all(&mut run, &tree, &options),
    };
    run.tell(&result);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
