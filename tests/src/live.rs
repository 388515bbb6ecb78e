//! A machine in our own process, with a shell of its Debian guest on its first serial port: for stories in which
//! somebody has to reach the running machine.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use engine::Engine;
use machine::board::ConsoleInput;
use machine::pci::Plug;
use machine::{Images, Outcome, Vm, VmConfig, Wires};

use crate::Stage;

/// How long a guest may take for anything.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the guest has written so far.
#[derive(Clone, Default)]
struct Screen(Arc<(Mutex<String>, Condvar)>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (text, more) = &*self.0;
        text.lock().expect("nobody fails with the lock").push_str(&String::from_utf8_lossy(bytes));
        more.notify_all();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A running machine.
pub struct Live {
    /// The machine.
    pub vm: Arc<Vm>,
    screen: Screen,
    keyboard: ConsoleInput,
    commands: usize,
    thread: Option<JoinHandle<Result<Outcome>>>,
}

impl Live {
    /// Boots Debian with these devices, to a shell.
    ///
    /// # Errors
    /// Where the image cannot be had, or the guest does not come to its shell.
    pub fn boot(stage: &Stage, functions: Vec<Plug>) -> Result<Self> {
        match stage.engine().map(|engine| engine.name) {
            Some("translate") => Self::boot_on(&translate::Translator, stage.vcpus(), functions),
            _ => Self::boot_on(&interpret::Interpreter, stage.vcpus(), functions),
        }
    }

    /// The same on an engine of one's choice.
    ///
    /// # Errors
    /// As [`Live::boot`].
    pub fn boot_on(engine: &dyn Engine, vcpus: u32, functions: Vec<Plug>) -> Result<Self> {
        let recipe = images::Recipe::of("debian")?;
        let image = images::Store::open_default()?.ensure(recipe, embedded::AGENT, &mut images::Silent)?;
        // Where there is no channel to the host, the agent gives the console a shell.
        let command_line = format!("{} ringfence.channel=none", image.manifest.command_line);
        let config = VmConfig { command_line, vcpus, ..VmConfig::default() };
        let files =
            Images { kernel: image.kernel.into(), initrd: image.initrd.map(Into::into), ..Images::default() };
        let screen = Screen::default();
        let consoles = [Some(Box::new(screen.clone()) as Box<_>), None, None, None];
        let wires = Wires { consoles, functions, ..Wires::default() };
        let vm = Arc::new(Vm::new(config, files, wires, engine)?);
        let keyboard = vm.console_input(0).context("the machine has no serial port")?;
        let thread = std::thread::spawn({
            let vm = Arc::clone(&vm);
            move || Ok(vm.run()?)
        });
        let mut live = Self { vm, screen, keyboard, commands: 0, thread: Some(thread) };
        live.await_text(0, "# ")?;
        live.say("stty -echo; PS1=; dmesg -n 1")?;
        Ok(live)
    }

    /// Waits for a text after `from`. Gives where it begins.
    fn await_text(&self, from: usize, wanted: &str) -> Result<usize> {
        let (text, more) = &*self.screen.0;
        let until = Instant::now() + PATIENCE;
        let mut text = text.lock().expect("nobody fails with the lock");
        loop {
            if let Some(at) = text.get(from..).and_then(|text| text.find(wanted)) {
                return Ok(from + at);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the guest does not say {wanted:?}; it said:\n{}", text.get(from..).unwrap_or(""));
            }
            text = more.wait_timeout(text, left).expect("nobody fails with the lock").0;
        }
    }

    /// Runs a command in the guest's shell. Gives what it prints.
    ///
    /// # Errors
    /// Where it fails, or does not end.
    pub fn say(&mut self, command: &str) -> Result<String> {
        self.commands += 1;
        let number = self.commands;
        let from = self.screen.0.0.lock().expect("nobody fails with the lock").len();
        // The sum keeps the echo of the command from being taken for its end.
        let line = format!("{command}\necho \"end of $(({number}+0)): $?\"\n");
        ensure!(self.keyboard.send_all(line.as_bytes()), "the machine has ended");
        let end = format!("end of {number}: ");
        let at = self.await_text(from, &end)?;
        let after = self.await_text(at, "\n")?;
        let text = self.screen.0.0.lock().expect("nobody fails with the lock");
        let status = text[at + end.len()..after].trim();
        let said = text[from..at].replace('\r', "");
        ensure!(status == "0", "`{command}` ends with status {status}:\n{said}");
        Ok(said)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.vm.stop();
        if let Some(thread) = self.thread.take() {
            // How it ended is of no interest any more.
            let _ = thread.join();
        }
    }
}
