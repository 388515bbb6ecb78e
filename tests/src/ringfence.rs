//! A run of the `ringfence` command.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use crate::{Ended, program};

/// How long a run may take; minutes, since the host may be busy with other things.
const LIMIT: Duration = Duration::from_secs(600);

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// A command line that is to be run.
#[derive(Debug)]
pub struct Ringfence {
    arguments: Vec<OsString>,
    /// `None` if it is written later.
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

impl Ringfence {
    /// `ringfence WORDS`.
    pub fn new<Word: AsRef<OsStr>>(words: impl IntoIterator<Item = Word>) -> Self {
        let arguments = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Self { arguments, stdin: Some(vec![]), limit: LIMIT }
    }

    /// One more word.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.arguments.push(word.as_ref().to_owned());
        self
    }

    /// More words.
    pub fn args<Word: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = Word>) -> Self {
        self.arguments.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// What it gets on standard input, and then the end of it.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Standard input stays open, for [`Running::types`].
    pub fn keyboard(mut self) -> Self {
        self.stdin = None;
        self
    }

    /// It may take so long.
    pub fn limit_minutes(mut self, minutes: u64) -> Self {
        self.limit = Duration::from_secs(60 * minutes);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Where it cannot be run, or does not end.
    pub fn run(self) -> Result<Ended> {
        self.start()?.end()
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub fn start(self) -> Result<Running> {
        let program = program::ringfence()?;
        heed_signals()?;
        let words: Vec<_> = self.arguments.iter().map(|word| word.to_string_lossy()).collect();
        let shown = format!("ringfence {}", words.join(" "));
        let mut child = Command::new(program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {shown}"))?;
        let (Some(mut input), Some(out), Some(err)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("{shown} has no pipes");
        };
        let keyboard = match self.stdin {
            Some(bytes) => {
                // A program that ends, or wants no input, closes the pipe; that is its right.
                thread::spawn(move || drop(input.write_all(&bytes)));
                None
            }
            None => Some(input),
        };
        let [out, err] = [Box::new(out) as Box<dyn Read + Send>, Box::new(err)].map(Collector::start);
        let until = Instant::now() + self.limit;
        Ok(Running { child, shown, keyboard, out, seen: 0, err, until })
    }
}

/// What this process was started to ignore, in the background or by nohup(1), `ringfence` would ignore, too.
#[allow(unsafe_code)] // signal(2)
fn heed_signals() -> Result<()> {
    for heeded in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(heeded, SigHandler::SigDfl) }?;
    }
    Ok(())
}

/// A run under way. Killed when it is dropped.
pub struct Running {
    child: Child,
    shown: String,
    keyboard: Option<ChildStdin>,
    out: Collector,
    /// What of it has been waited for.
    seen: usize,
    err: Collector,
    until: Instant,
}

impl Running {
    /// Waits until standard output contains these words.
    ///
    /// # Errors
    /// Where it ends without them, or takes too long.
    pub fn wait_for(mut self, words: &str) -> Result<Self> {
        if self.out.wait_for(words.as_bytes(), 0, self.until).is_some() {
            return Ok(self);
        }
        let ended = self.end()?;
        bail!("`{words}` never came\n{ended}")
    }

    /// Waits until standard output contains these words after those that were waited for in this way before.
    ///
    /// # Errors
    /// Where it ends without them, or takes too long.
    pub fn wait_for_next(mut self, words: &str) -> Result<Self> {
        if let Some(end) = self.out.wait_for(words.as_bytes(), self.seen, self.until) {
            self.seen = end;
            return Ok(self);
        }
        let ended = self.end()?;
        bail!("`{words}` never came\n{ended}")
    }

    /// Writes to its standard input, where that stays open.
    ///
    /// # Errors
    /// Where it is closed.
    pub fn types(mut self, text: &str) -> Result<Self> {
        let keyboard = self.keyboard.as_mut().context("standard input is closed")?;
        keyboard.write_all(text.as_bytes()).with_context(|| format!("{} takes no input", self.shown))?;
        Ok(self)
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn signal(self, signal: Signal) -> Result<Self> {
        let pid = Pid::from_raw(self.child.id().try_into()?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.shown))?;
        Ok(self)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where it takes too long.
    pub fn end(mut self) -> Result<Ended> {
        drop(self.keyboard.take());
        let status = self.wait()?;
        let too_late = status.is_none();
        let status = match status {
            Some(status) => status,
            None => {
                self.child.kill()?;
                self.child.wait()?
            }
        };
        let (stdout, stderr) = (self.out.take(), self.err.take());
        let ended = Ended { command: self.shown.clone(), status, stdout, stderr };
        if too_late {
            bail!("it did not end\n{ended}");
        }
        Ok(ended)
    }

    fn wait(&mut self) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > self.until {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has mostly ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads an output to its end, so that the program never waits for us.
struct Collector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    so_far: Mutex<SoFar>,
    more: Condvar,
}

#[derive(Default)]
struct SoFar {
    bytes: Vec<u8>,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector {
    fn start(mut output: Box<dyn Read + Send>) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut buffer = [0; 65536];
                loop {
                    let count = output.read(&mut buffer).unwrap_or(0);
                    let mut so_far = shared.lock();
                    so_far.bytes.extend_from_slice(&buffer[..count]);
                    so_far.ended = count == 0;
                    shared.more.notify_all();
                    if so_far.ended {
                        return;
                    }
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Where the words end that came after `from`; none if they will not come, or not in time.
    fn wait_for(&mut self, words: &[u8], from: usize, until: Instant) -> Option<usize> {
        let mut so_far = self.shared.lock();
        loop {
            let new = so_far.bytes.get(from..).unwrap_or_default();
            if let Some(at) = new.windows(words.len().max(1)).position(|window| window == words) {
                return Some(from + at + words.len());
            }
            let left = until.saturating_duration_since(Instant::now());
            if so_far.ended || left.is_zero() {
                return None;
            }
            so_far = self.shared.more.wait_timeout(so_far, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All that came to the end.
    fn take(&mut self) -> Vec<u8> {
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, what it read is there.
            let _ = thread.join();
        }
        std::mem::take(&mut self.shared.lock().bytes)
    }
}
