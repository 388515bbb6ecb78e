//! One contender runs one task.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::contender::{Contender, MEMORY, Task};
use crate::files::Files;
use crate::marks::{Done, Event, Marks};
use crate::memory::Memory;

/// The longest that may pass without a mark.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Seconds from the start until user space ran.
    pub boot: f64,
    /// Workloads that got done.
    pub done: BTreeMap<String, Done>,
    /// Workloads that went wrong.
    pub failed: Vec<String>,
    /// What the machine's process held after the boot, and at the end.
    pub memory: Option<(Memory, Memory)>,
}

/// A process in a group of its own, which goes when we do: user-mode Linux has a process for each of its guest's.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // They may have ended; then there is nothing to kill, and only the status to be had.
        if let Ok(group) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// Runs a task.
///
/// # Errors
/// The contender cannot be started, does not reach user space, or ends before the task does.
pub fn run(contender: Contender, ringfence: &Path, files: &Files, task: &Task) -> Result<Run> {
    let command = contender.command(ringfence, files, task);
    let mut run = Run::default();
    let mut after_boot = None;
    let mut up = false;
    watch(command, |event, at, process| {
        let memory = || contender.is_one_process().then(|| Memory::of(process, MEMORY << 20)).transpose();
        match event {
            Event::Up => {
                (up, run.boot) = (true, at.as_secs_f64());
                after_boot = memory()?;
            }
            Event::Done(name, done) => drop(run.done.insert(name, done)),
            Event::Failed(name) => run.failed.push(name),
            Event::Absent(_) => {}
            Event::End => run.memory = after_boot.zip(memory()?),
        }
        Ok(())
    })?;
    if !up {
        bail!("user space was not reached");
    }
    Ok(run)
}

/// Seconds that a command takes from its start to its end, which must be a good one.
pub fn whole(mut command: Command) -> Result<f64> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| shown(&command))?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", shown(&command), output.status, said.trim());
    }
    Ok(seconds)
}

/// Runs a command to its end and tells of each mark as it is read. All marks must come, and a last one.
fn watch(mut command: Command, mut tell: impl FnMut(Event, Duration, u32) -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut running = Running(command.spawn().with_context(|| format!("cannot run {}", shown(&command)))?);
    let (output, errors) = (running.0.stdout.take(), running.0.stderr.take());
    let (send, lines) = mpsc::channel();
    if let Some(output) = output {
        std::thread::spawn(move || {
            let (mut output, mut line) = (BufReader::new(output), vec![]);
            while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if send.send((begun.elapsed(), text)).is_err() {
                    break;
                }
                line.clear();
            }
        });
    }
    let said = std::thread::spawn(move || {
        errors.map(std::io::read_to_string).and_then(Result::ok).unwrap_or_default()
    });
    let (mut marks, mut last, mut ended, mut deadline) =
        (Marks::default(), String::new(), false, begun + PATIENCE);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((at, line)) => {
                if let Some(event) = marks.line(&line, at) {
                    ended |= event == Event::End;
                    deadline = Instant::now() + PATIENCE;
                    tell(event, at, running.0.id())?;
                }
                last = line;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let running = marks.running().unwrap_or("the boot").to_owned();
                bail!("nothing was heard for {PATIENCE:?}, in {running}; its last line was: {last}");
            }
        }
    }
    let status = running.0.wait()?;
    let said = said.join().unwrap_or_default();
    if !ended {
        let place = marks.running().unwrap_or("no workload");
        bail!("ended with {status} in {place}; its last line was: {last}; {}", said.trim());
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_host_runs_a_task_with_the_benchmark_program() {
        let folder = tempfile::tempdir().unwrap();
        let bench = folder.path().join("bench");
        std::fs::write(&bench, embedded::BENCH).unwrap();
        std::fs::set_permissions(&bench, PermissionsExt::from_mode(0o755)).unwrap();
        // A process that another test has begun to start has it open for writing until it runs its own program.
        while Command::new(&bench).arg("list").output().is_err_and(|error| error.kind() == BUSY) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let files = Files { kernel: "".into(), initrd: "".into(), busybox: "".into(), bench };
        let names = ["grid", "syscall", "dance"].map(str::to_owned).to_vec();
        for copies in [1, 2] {
            let task = Task { workloads: names.clone(), seconds: 0.01, copies, vcpus: copies };
            let run = run(Contender::Native, Path::new(""), &files, &task).unwrap();
            assert!(
                run.done["grid"].round > 0.0 && run.done["syscall"].rounds >= u64::from(copies),
                "{run:?}"
            );
            assert_eq!((run.done.len(), run.failed), (2, vec!["dance".to_owned()]));
            assert!(run.memory.is_none());
        }
    }

    /// It is open for writing (ETXTBSY).
    const BUSY: std::io::ErrorKind = std::io::ErrorKind::ExecutableFileBusy;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn marks_are_told_with_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let (heard, mut seen) = (folder.path().join("heard"), vec![]);
        // It goes on when the first has been heard, which a busy host may not do at once.
        let script = format!(
            "echo @up; until [ -e {} ]; do sleep 0.01; done; sleep 0.1; echo @begin a; sleep 0.1
             echo @end a 1f 2 1000 50000000 100000000; echo @done",
            heard.display()
        );
        watch(shell(&script), |event, at, _| {
            seen.push((event, at));
            Ok(std::fs::write(&heard, "")?)
        })
        .unwrap();
        assert_eq!(seen.len(), 3);
        assert!(matches!(&seen[1], (Event::Done(name, done), _) if name == "a" && done.rounds == 2));
        assert!(seen[2].1 - seen[0].1 >= Duration::from_millis(200));
    }

    #[test]
    fn an_early_end_is_an_error_that_says_where() {
        let error = watch(shell("echo @up; echo @begin a; echo oops; exit 3"), |_, _, _| Ok(())).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("exit status: 3") && message.contains("in a") && message.contains("oops"),
            "{message}"
        );
    }

    #[test]
    fn a_whole_run_is_timed_or_fails() {
        assert!(whole(shell("sleep 0.05")).unwrap() >= 0.05);
        assert!(whole(shell("echo no >&2; false")).unwrap_err().to_string().contains("no"));
    }
}
