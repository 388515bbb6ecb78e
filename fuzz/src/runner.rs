//! Runs targets in worker processes and tells what came of it.
//!
//! A worker that panics or crashes ends; one that hangs on an input or swells is ended. In each case the input is
//! known by its index, and is written to a file that replays it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::target::Target;
use crate::worker::{DONE, progress};
use crate::{corpus, generate};

/// Time for one input. The slowest takes milliseconds; a busy host may take its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident memory of a worker, in bytes.
const MOST_MEMORY: u64 = 2 << 30;

/// How often workers are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all inputs.
    pub seed: u64,
    /// Inputs for a target, at most.
    pub inputs: u64,
    /// Time for a target, at most.
    pub time: Duration,
    /// Worker processes for a target.
    pub jobs: u64,
    /// Where findings go.
    pub findings: PathBuf,
}

/// An input that a target did not come through.
#[derive(Debug)]
pub struct Finding {
    /// Its index.
    pub index: u64,
    /// What happened.
    pub what: String,
    /// The input.
    pub file: PathBuf,
}

/// What came of a target.
#[derive(Debug)]
pub struct Report {
    /// Inputs that went through.
    pub inputs: u64,
    /// The first that did not.
    pub finding: Option<Finding>,
}

struct Worker {
    child: Child,
    progress: PathBuf,
    /// The index it was last seen at, and since when.
    seen: (u64, Instant),
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.progress);
    }
}

/// Runs a target.
///
/// # Errors
/// Where the host does not start workers or take their files.
pub fn run(target: &Target, plan: &Plan) -> Result<Report> {
    std::fs::create_dir_all(&plan.findings)
        .with_context(|| format!("cannot make {}", plan.findings.display()))?;
    let mut workers = (0..plan.jobs).map(|job| start(target, plan, job)).collect::<Result<Vec<_>>>()?;
    let mut report = Report { inputs: 0, finding: None };
    while !workers.is_empty() && report.finding.is_none() {
        std::thread::sleep(LOOK);
        let mut left = vec![];
        for mut worker in workers {
            let ended = worker.child.try_wait().context("cannot ask for a worker")?;
            let (index, done) = progress(&worker.progress).unwrap_or((0, 0));
            let trouble = match ended {
                Some(status) if status.success() && index == DONE => None,
                Some(status) => Some(format!("the worker ended with {status}")),
                None => {
                    let trouble = worker.trouble(index);
                    if trouble.is_none() {
                        left.push(worker);
                        continue;
                    }
                    trouble
                }
            };
            report.inputs += done;
            if let Some(what) = trouble {
                let file = save(target, plan, index)?;
                report.finding = Some(Finding { index, what, file });
            }
        }
        workers = left;
    }
    report.inputs +=
        workers.iter().filter_map(|worker| progress(&worker.progress)).map(|(_, done)| done).sum::<u64>();
    Ok(report)
}

fn start(target: &Target, plan: &Plan, job: u64) -> Result<Worker> {
    let progress = plan.findings.join(format!("{}.{job}.progress", target.name));
    let program = std::env::current_exe().context("cannot find this program")?;
    let share = plan.inputs / plan.jobs + u64::from(job < plan.inputs % plan.jobs);
    let child = Command::new(program)
        .arg("worker")
        .arg(target.name)
        .args(
            [plan.seed, job, plan.jobs, share, plan.time.as_millis() as u64].map(|number| number.to_string()),
        )
        .arg(&progress)
        .spawn()
        .context("cannot start a worker")?;
    Ok(Worker { child, progress, seen: (u64::MAX, Instant::now()) })
}

impl Worker {
    /// What is wrong with a worker that still runs.
    fn trouble(&mut self, index: u64) -> Option<String> {
        if self.seen.0 != index {
            self.seen = (index, Instant::now());
        }
        if self.seen.1.elapsed() > PATIENCE {
            return Some(format!("it did not come back within {} seconds", PATIENCE.as_secs()));
        }
        let memory = resident(self.child.id());
        (memory > MOST_MEMORY).then(|| format!("it took {} MiB of memory", memory >> 20))
    }
}

/// Resident memory of a process in bytes (proc(5), statm).
fn resident(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// Writes the input of this index to a file.
fn save(target: &Target, plan: &Plan, index: u64) -> Result<PathBuf> {
    let input = generate::input(plan.seed, index, &corpus::seeds(target), target.longest);
    let file = plan.findings.join(format!("{}-{}-{index}", target.name, plan.seed));
    std::fs::write(&file, input).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Makes a failing input smaller as long as it fails: `fails` says whether an input does.
pub fn shrink(mut input: Vec<u8>, fails: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<Vec<u8>> {
    let mut piece = input.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < input.len() {
            let end = (at + piece).min(input.len());
            let shorter = [&input[..at], &input[end..]].concat();
            let mut plainer = input.clone();
            plainer[at..end].fill(0);
            if fails(&shorter)? {
                input = shorter;
            } else {
                if plainer != input && fails(&plainer)? {
                    input = plainer;
                }
                at = end;
            }
        }
        if piece == 1 {
            return Ok(input);
        }
        piece = piece.div_ceil(2);
    }
}

/// Does the target fail on the input in this file? Asked of a process of its own.
///
/// # Errors
/// Where the host does not start it.
pub fn fails(target: &Target, file: &Path) -> Result<bool> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(["replay", target.name])
        .arg(file)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(!status.success());
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_leaves_what_it_takes() {
        let input: Vec<u8> = (0..100).collect();
        let mut fails = |input: &[u8]| Ok(input.contains(&17) && input.contains(&80));
        assert_eq!(shrink(input, &mut fails).unwrap(), [17, 80]);
    }
}
