//! The machine on a thread of its own, as the [driver](super::driver) needs it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::bounded;
use engine::{Engine, Statistics};
use interpret::Interpreter;
use machine::board::ConsoleInput;
use machine::pci::Plug;
use machine::{BuildError, Images, Vm, VmConfig, Wires};
use translate::Translator;

use super::driver::{Guest, Port};
use super::ending::Ending;
use crate::args::EngineChoice;
use crate::channel::Wire;
use crate::console::{Log, Sink, Taps};

/// The engine of this choice for a machine.
pub fn engine(choice: EngineChoice, config: &VmConfig) -> Box<dyn Engine> {
    match choice {
        EngineChoice::Auto if Translator::fits(config.vcpus, config.memory).is_err() => Box::new(Interpreter),
        EngineChoice::Auto | EngineChoice::Translate => Box::new(Translator),
        EngineChoice::Interpret => Box::new(Interpreter),
    }
}

/// A machine that is built and has not begun.
pub struct Machine {
    vm: Arc<Vm>,
    guest: Guest,
    com2: Option<Wire>,
    taps: Taps,
    off: crossbeam_channel::Sender<Ending>,
}

/// A look at a machine that may have ended, and a hand on one that has.
#[derive(Clone)]
pub struct View {
    vm: Arc<Vm>,
    again: crossbeam_channel::Sender<()>,
}

impl Machine {
    /// Builds a machine with these devices whose COM1 is also written to `log`.
    ///
    /// # Errors
    /// As [`Vm::new`].
    pub fn build(
        config: VmConfig,
        images: Images,
        functions: Vec<Plug>,
        engine: &dyn Engine,
        log: Option<Log>,
    ) -> Result<Self, BuildError> {
        let taps = Taps::default();
        let (com1, console) = Sink::new(log, taps.clone());
        let (com2, channel) = Sink::new(None, Taps::default());
        let wires = Wires {
            consoles: [Some(Box::new(com1)), Some(Box::new(com2)), None, None],
            functions,
            unix_nanoseconds: unix_nanoseconds(),
        };
        let vm = Arc::new(Vm::new(config, images, wires, engine)?);
        let (off, off_end) = bounded(1);
        let com2 =
            Some(Wire { from_guest: channel, to_guest: port(vm.console_input(1)), taken: Box::new(|| ()) });
        let com1 = port(vm.console_input(0));
        let stop = Box::new({
            let vm = Arc::clone(&vm);
            move || vm.stop()
        });
        let guest = Guest { console, agent: None, com1, stop, off: off_end, restart: None };
        Ok(Self { vm, guest, com2, taps, off })
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where the host gives no thread.
    pub fn start(self) -> io::Result<(Guest, View)> {
        let Self { vm, guest, com2: _, taps: _, off } = self;
        let (again, go) = bounded(1);
        let view = View { vm: Arc::clone(&vm), again };
        thread::Builder::new().name("vcpu0".to_owned()).spawn(move || {
            loop {
                let ending = match vm.run() {
                    Ok(outcome) => outcome.into(),
                    Err(error) => Ending::Host(error.to_string()),
                };
                // Nobody waits for it where the user was in haste.
                if off.send(ending).is_err() || go.recv().is_err() {
                    return;
                }
            }
        })?;
        Ok((guest, view))
    }
}

impl Machine {
    /// The second serial port's wire, and the machine without it.
    pub fn with_wire(mut self) -> (Self, Option<Wire>) {
        let wire = self.com2.take();
        (self, wire)
    }

    /// Those who watch its console.
    pub fn taps(&self) -> Taps {
        self.taps.clone()
    }

    /// The machine itself.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }
}

impl View {
    /// Lets a machine that has ended begin anew.
    ///
    /// # Errors
    /// As [`Vm::restart`], in words.
    pub fn restart(&self, images: &Images) -> Result<(), String> {
        self.vm.restart(images).map_err(|error| format!("the machine cannot start anew: {error}"))?;
        // Its thread waits for this.
        self.again.send(()).map_err(|_| "the machine's thread is gone".to_owned())
    }

    /// The engine's own further counters of each vCPU.
    pub fn details(&self) -> Vec<Vec<(String, u64)>> {
        self.vm.details()
    }

    /// Each vCPU's counters.
    pub fn statistics(&self) -> Vec<Statistics> {
        self.vm.statistics()
    }
}

fn port(input: Option<ConsoleInput>) -> Port {
    match input {
        Some(input) => Box::new(move |bytes| input.send(bytes)),
        // There is no such port, so what is sent to it is lost.
        None => Box::new(<[u8]>::len),
    }
}

/// The time of day, before and after 1970.
fn unix_nanoseconds() -> i64 {
    let nanoseconds = |span: std::time::Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => nanoseconds(since),
        Err(error) => -nanoseconds(error.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_by_their_names() {
        let one = VmConfig::default();
        let two = VmConfig { vcpus: 2, ..VmConfig::default() };
        assert_eq!(engine(EngineChoice::Interpret, &one).name(), "interpret");
        assert_eq!(engine(EngineChoice::Translate, &two).name(), "translate");
        for config in [one, two, VmConfig { vcpus: 255, ..VmConfig::default() }] {
            let fits = Translator::fits(config.vcpus, config.memory).is_ok();
            let fastest = if fits { "translate" } else { "interpret" };
            assert_eq!(engine(EngineChoice::Auto, &config).name(), fastest, "{} vCPUs", config.vcpus);
        }
    }
}
