//! `ringfence-measure`: the same programs natively, in Ringfence on each engine, and in QEMU's emulator.
//!
//! All of them run the same static busybox; the virtual machines the same kernel and the same initial RAM disk, into which a
//! script is put as `/init` ([`script`]). A [`contender`] runs it and times the marks that it prints, by the host's clock. Rounds
//! are interleaved, so that whatever else the host does meets all alike; the table ([`table`]) gives medians and ratios.

mod contender;
mod script;
mod table;
mod timing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use images::{Initramfs, Recipe, Silent, Store};

use contender::{Contender, Files};
use script::WORKLOADS;
use table::Table;

/// Measures Ringfence against the host itself and against QEMU's emulator.
#[derive(Debug, Parser)]
#[command(name = "ringfence-measure", version, max_term_width = 100)]
struct Arguments {
    /// Engines of Ringfence's
    #[arg(long, value_delimiter = ',', default_value = "interpret,translate")]
    engines: Vec<String>,
    /// Workloads; all unless given
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Rounds; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How much work: multiplies each workload
    #[arg(long, default_value_t = 1)]
    scale: u32,
    /// The `ringfence` to measure
    #[arg(long, default_value = "target/release/ringfence")]
    ringfence: PathBuf,
    /// Leaves QEMU out
    #[arg(long)]
    no_qemu: bool,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfence-measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    for name in &arguments.workloads {
        if !WORKLOADS.iter().any(|workload| workload.name == name) {
            let known: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
            bail!("there is no workload `{name}`; there are {}", known.join(", "));
        }
    }
    let chosen: Vec<_> = WORKLOADS
        .iter()
        .filter(|workload| {
            arguments.workloads.is_empty() || arguments.workloads.iter().any(|name| name == workload.name)
        })
        .collect();
    let folder = tempfile::tempdir().context("cannot make a folder for the files")?;
    let files = Files::prepare(folder.path(), &image()?, &chosen, arguments.scale)?;
    let mut contenders = vec![Contender::Native];
    if !arguments.no_qemu {
        contenders.push(Contender::Qemu);
    }
    contenders.extend(
        arguments.engines.iter().map(|engine| Contender::Ringfence {
            program: arguments.ringfence.clone(),
            engine: engine.clone(),
        }),
    );

    let mut table = Table::new(&contenders);
    for round in 0..arguments.rounds {
        for contender in &contenders {
            eprintln!("round {}: {}", round + 1, contender.name());
            let timings = contender.run(&files).with_context(|| contender.name())?;
            table.add(contender, timings)?;
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&table.outcome())?)
    } else {
        print!("{table}")
    }
    Ok(())
}

/// Debian's kernel for virtual machines, and its busybox.
fn image() -> Result<(Vec<u8>, Initramfs)> {
    let store = Store::open_default()?;
    let image = store.ensure(Recipe::of("debian")?, embedded::AGENT, &mut Silent)?;
    let initrd = image.initrd.context("the image `debian` has no initial RAM disk")?;
    Ok((image.kernel, Initramfs::read(&initrd)?))
}
