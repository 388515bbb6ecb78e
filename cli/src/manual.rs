//! Completions and manual pages, both made from the definition of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;

/// Prints the completions for `shell`.
pub fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringfence", &mut text);
    print(&text)
}

/// Prints the manual page, or writes all of them to `directory`.
pub fn manual(directory: Option<&Path>) -> Result<u8, Failure> {
    let Some(directory) = directory else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut text)
            .map_err(|error| Failure::new(Exit::Failure, error))?;
        return print(&text);
    };
    let cannot = |error| {
        Failure::new(Exit::Failure, format!("cannot write manual pages to {}: {error}", directory.display()))
    };
    fs::create_dir_all(directory).map_err(cannot)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(cannot)?;
    Ok(0)
}

fn print(text: &[u8]) -> Result<u8, Failure> {
    match io::stdout().write_all(text) {
        // A reader that has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::new(Exit::Failure, format!("cannot write standard output: {error}"))),
        Ok(()) => Ok(0),
    }
}
