//! The command line.

use std::time::Duration;

use crate::measure::Amount;
use crate::workload::{self, Class, Workload};

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Name all workloads.
    List,
    /// Run some.
    Run(Arguments),
}

/// What to run, and how.
#[derive(Debug)]
pub struct Arguments {
    /// In this order.
    pub workloads: Vec<Workload>,
    /// How long each.
    pub amount: Amount,
    /// How many at once.
    pub copies: usize,
    /// The one CPU to run on.
    pub pin: Option<usize>,
    /// Prints marks for a program.
    pub marks: bool,
}

const USAGE: &str = "bench list | bench NAME… [--seconds S | --rounds N] [--copies N] [--pin CPU] [--marks]\n\
                     NAME is a workload or class out of `bench list`, or `all`";

impl Arguments {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// In words, for the user.
    pub fn parse(words: &[String]) -> Result<Task, String> {
        if words == ["list"] {
            return Ok(Task::List);
        }
        let mut arguments = Self {
            workloads: vec![],
            amount: Amount::Time(Duration::from_millis(300)),
            copies: 1,
            pin: None,
            marks: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().map(String::as_str);
            match word.as_str() {
                "--seconds" => arguments.amount = Amount::Time(seconds(value())?),
                "--rounds" => arguments.amount = Amount::Rounds(number(value(), 1, 1_000_000_000)?),
                "--copies" => arguments.copies = number(value(), 1, 256)? as usize,
                "--pin" => arguments.pin = Some(number(value(), 0, 1023)? as usize),
                "--marks" => arguments.marks = true,
                name => arguments.workloads.extend(named(name)?),
            }
        }
        if arguments.workloads.is_empty() {
            return Err(USAGE.to_owned());
        }
        Ok(Task::Run(arguments))
    }
}

fn named(name: &str) -> Result<Vec<Workload>, String> {
    let class = Class::ALL.into_iter().find(|class| class.name() == name);
    let chosen =
        |workload: &&Workload| name == "all" || workload.name == name || Some(workload.class) == class;
    let found: Vec<Workload> = workload::all().filter(chosen).copied().collect();
    if found.is_empty() { Err(format!("there is no `{name}`\n{USAGE}")) } else { Ok(found) }
}

fn seconds(word: Option<&str>) -> Result<Duration, String> {
    let value = word.and_then(|word| word.parse::<f64>().ok()).filter(|value| (0.0..=3600.0).contains(value));
    value.map(Duration::from_secs_f64).ok_or_else(|| "--seconds takes a time from 0 to 3600".to_owned())
}

fn number(word: Option<&str>, least: u64, most: u64) -> Result<u64, String> {
    let value = word.and_then(|word| word.parse().ok()).filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| format!("a number from {least} to {most} is wanted here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, String> {
        Arguments::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn names_classes_and_options() {
        let Ok(Task::Run(run)) = parse("fork simd --rounds 3 --copies 2 --pin 0 --marks") else { panic!() };
        assert_eq!(run.workloads[0].name, "fork");
        assert!(run.workloads.len() > 3 && run.workloads[1..].iter().all(|w| w.class == Class::Simd));
        assert_eq!((run.amount, run.copies, run.pin, run.marks), (Amount::Rounds(3), 2, Some(0), true));
        let Ok(Task::Run(run)) = parse("all --seconds 0.5") else { panic!() };
        assert_eq!(run.workloads.len(), workload::all().count());
        assert_eq!(run.amount, Amount::Time(Duration::from_millis(500)));
        assert!(matches!(parse("list"), Ok(Task::List)));
        for wrong in
            ["", "--marks", "dance", "all --seconds", "all --seconds -1", "all --rounds 0", "all --copies x"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
