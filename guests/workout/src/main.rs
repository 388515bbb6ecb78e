//! The workout: a program that asks much of a kernel and a CPU, and prints what it saw.
//!
//! ```text
//! ringfence-workout FAMILY… [--scale N] [--stream MB] [--seconds N]      FAMILY: all, or any of those in FAMILIES
//! ```
//!
//! It prints lines `family: name: value`. The values do not depend on the machine (no process numbers,
//! addresses or times among them), so that the report of a guest can be compared byte for byte with the
//! host's; the few that depend on the make of the processor say so. What can be judged on the spot is: a
//! wrong value says FAIL, and the program exits with 1. It needs a kernel with `/proc` and `/dev/shm` or
//! `memfd`, no files, and no network.
//!
//! With `--vsock` it is a pipe to a socket instead, for tests of these.
//!
//! It runs on the plainest x86-64 processor. Where it tries instructions that not all have, it prints what
//! they should give in any case, and where they are there they have to give just that.

use std::env;
use std::io;
use std::process::ExitCode;

mod access;
mod child;
mod compute;
mod digest;
mod float;
mod fork;
mod generate;
mod mmap;
mod pipe;
mod report;
mod selfmod;
mod signal;
mod stress;
mod threads;
mod time;
mod trap;
mod vsock;

use report::Report;

/// How much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Multiplies the rounds of everything that goes in rounds.
    pub rounds: u32,
    /// The length of the stream to hash, in MiB.
    pub stream: u32,
    /// How long everything happens at once, in seconds.
    pub seconds: u32,
}

/// A family's name and its work.
type Family = (&'static str, fn(&mut Report, &Scale) -> io::Result<()>);

/// In the order in which `all` runs them.
const FAMILIES: [Family; 10] = [
    ("fork", fork::run),
    ("signal", signal::run),
    ("mmap", mmap::run),
    ("pipe", pipe::run),
    ("threads", threads::run),
    ("float", float::run),
    ("compute", compute::run),
    ("selfmod", selfmod::run),
    ("time", time::run),
    ("stress", stress::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // As which process the fork family runs us.
    if let [flag, rest @ ..] = &arguments[..]
        && flag == fork::EXECUTED
    {
        return fork::executed(rest);
    }
    if let [flag, rest @ ..] = &arguments[..]
        && flag == vsock::FLAG
    {
        return vsock::run(rest);
    }
    match parse(&arguments) {
        Ok((families, scale)) => work(&families, &scale),
        Err(message) => {
            eprintln!("ringfence-workout: {message}");
            ExitCode::from(2)
        }
    }
}

fn work(families: &[Family], scale: &Scale) -> ExitCode {
    let mut failures = 0;
    for (name, family) in families {
        let mut report = Report::new(name);
        if let Err(error) = family(&mut report, scale) {
            report.value("FAIL", error);
            failures += 1;
        }
        failures += report.failures();
    }
    ExitCode::from(u8::from(failures > 0))
}

fn parse(arguments: &[String]) -> Result<(Vec<Family>, Scale), String> {
    let mut scale = Scale { rounds: 1, stream: 4, seconds: 2 };
    let mut families = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments
                .next()
                .and_then(|value| value.parse().ok())
                .filter(|value| (1..=4096).contains(value));
            value.ok_or_else(|| format!("{argument} takes a number from 1 to 4096"))
        };
        match argument.as_str() {
            "--scale" => scale.rounds = number()?,
            "--stream" => scale.stream = number()?,
            "--seconds" => scale.seconds = number()?,
            "all" => families.extend(FAMILIES),
            name => {
                let family = FAMILIES.into_iter().find(|(family, _)| *family == name);
                families.push(family.ok_or_else(|| format!("there is no family {name}; {}", usage()))?);
            }
        }
    }
    if families.is_empty() {
        return Err(usage());
    }
    Ok((families, scale))
}

fn usage() -> String {
    let names: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    format!("say which of: all, {} [--scale N] [--stream MB] [--seconds N]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Vec<&'static str>, Scale), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).map(|(families, scale)| (families.into_iter().map(|(name, _)| name).collect(), scale))
    }

    #[test]
    fn families_and_amounts_are_arguments() {
        assert_eq!(
            parsed("pipe fork").unwrap(),
            (vec!["pipe", "fork"], Scale { rounds: 1, stream: 4, seconds: 2 })
        );
        let (families, scale) = parsed("--scale 3 all --stream 64 --seconds 60").unwrap();
        assert_eq!(families.len(), FAMILIES.len());
        assert_eq!(scale, Scale { rounds: 3, stream: 64, seconds: 60 });
        for wrong in ["", "--scale 2", "dance", "all --scale", "all --scale 0", "all --stream x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
