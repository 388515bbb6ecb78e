//! Steps: each named, timed, and the end of the run when it fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tally::Tally;

/// A run: the steps so far, with their times.
pub struct Run {
    root: PathBuf,
    began: Instant,
    steps: Vec<(String, Duration)>,
    tally: Tally,
}

impl Run {
    /// A run whose commands start in `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), began: Instant::now(), steps: vec![], tally: Tally::default() }
    }

    /// Runs one step.
    pub fn step(&mut self, name: &str, work: impl FnOnce(&mut Tally) -> Result<()>) -> Result<()> {
        println!("\n── {name}");
        let began = Instant::now();
        let result = work(&mut self.tally);
        self.steps.push((name.to_owned(), began.elapsed()));
        result.with_context(|| format!("the step “{name}” failed"))
    }

    /// Runs a command as a step.
    pub fn command(&mut self, name: &str, command: Command) -> Result<()> {
        let root = self.root.clone();
        self.step(name, |tally| execute(command, &root, tally))
    }

    /// Prints the steps, their times, and how it ended.
    pub fn tell(&self, result: &Result<()>) {
        println!("\n── summary");
        for (name, time) in &self.steps {
            println!("{:>8.1} s  {name}", time.as_secs_f64());
        }
        println!("{:>8.1} s  in all", self.began.elapsed().as_secs_f64());
        match result {
            Ok(()) if self.tally.any() => println!("{}", self.tally.line(self.began.elapsed())),
            Ok(()) => println!("all is well"),
            Err(error) => println!("FAILED: {error:#}"),
        }
    }
}

/// Runs a command to its end, passes its output on and counts the tests it reports.
fn execute(mut command: Command, root: &Path, tally: &mut Tally) -> Result<()> {
    let shown = shown(&command);
    println!("{shown}");
    let mut child = command
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if let Some(output) = child.stdout.take() {
        let mut line = vec![];
        let mut output = BufReader::new(output);
        while output.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            tally.note(&text);
            line.clear();
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_first_failure_ends_the_run_and_is_named() {
        let mut run = Run::new(Path::new("/"));
        let result = run
            .command("good", shell("echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured;'"))
            .and_then(|()| run.command("bad", shell("exit 3")))
            .and_then(|()| run.command("never", shell("true")));
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("“bad”") && message.contains("exit status: 3"), "{message}");
        assert_eq!(run.steps.len(), 2);
        assert!(run.tally.line(Duration::ZERO).contains("3 passed"));
    }
}
