//! A virtual machine and its life.
//!
//! ```text
//!               run()                  pause()
//!   created ───────────► running ◄──────────────► paused
//!      ▲                  │   │       resume()       │
//!      │ build            │   └── guest resets, and reboot is on: loads again, goes on running
//!                         ▼                          │
//!                      stopped ◄─────────────────────┘
//!           power-off, reset, triple fault, debug exit, stop(), …     restart(): back to created
//! ```
//!
//! **Threads.** [`Vm::run`] runs vCPU 0 on the calling thread and each further vCPU on a thread of its own;
//! the board adds one for its alarm clock and one for each console. All have ended when `run` returns, and
//! all output is written. Everything else here may be called from any thread.
//!
//! **What holds in each state.**
//! - *created*: no vCPU has run, virtual time stands at its start, the kernel is loaded.
//! - *running*: each vCPU is inside its engine, asleep in HLT, or waits for its start-up IPI.
//! - *paused*: every vCPU has left its engine and its state is exact; virtual time stands, so no chip acts.
//!   Input from the host waits in front of its serial port, output of the guest behind it.
//! - *stopped*: as paused, for good; the last state can be looked at and saved.
//!
//! **Leaving an engine.** Whoever wants something of a vCPU records what it is (in [`Life`], in its local
//! APIC, in the board's `Control`) and then raises the vCPU's attention. The vCPU takes the flag down and
//! then looks at what was recorded, so nothing is missed and nothing is handled twice.
//!
//! **Pausing** waits until every vCPU has parked, and only then stops the clock: a vCPU that still runs
//! never sees time stand. A machine that ends meanwhile is not paused.
//!
//! **Ending.** The first reason counts. It is recorded and every vCPU is told; a vCPU between its engine and
//! its next look at the record may still handle an INIT or a start-up IPI, which then has no effect.
//!
//! **Reset in place** happens when all vCPU threads have ended: chips as after power-up, the images loaded
//! again, vCPUs as after reset. RAM keeps what the loader does not overwrite, as on a warm reset. Virtual
//! time goes on. Whoever wants to decide at each reset whether it is to happen lets the run end, all output of the guest
//! being written then, and calls [`Vm::restart`].

mod check;
mod config;
mod life;
mod outcome;
mod plug;
mod state;
mod vcpu_loop;

use std::sync::{Arc, Mutex};

use base::{GuestMemory, VirtualClock};
use engine::{Attention, Board, CpuModel, Engine, Statistics, Vcpu};
use x86::CpuState;

use crate::board::{ConsoleInput, CpuPort, Equipment, Mainboard, lock};
use crate::chip::Request;
use crate::firmware::{self, MOST_VCPUS};
use crate::load::{self, KernelKind};

pub use check::check;
pub use config::{Images, VmConfig, Wires};
pub use outcome::{BuildError, Outcome, RestartError, StateError, VmRestoreError};
pub use state::{VcpuState, VmState};

use life::{Ending, Life};

/// More than this and guest-physical addresses run out (46 bits, and the hole).
const MOST_MEMORY: u64 = 1 << 45;

/// A vCPU with what its thread needs.
struct Seat {
    vcpu: Mutex<Box<dyn Vcpu>>,
    attention: Arc<Attention>,
    /// Counters as the vCPU last left its engine.
    statistics: Mutex<Statistics>,
}

/// A virtual machine. Share it in an [`Arc`] to control it while it runs.
pub struct Vm {
    config: VmConfig,
    /// For a reset in place; where there is none the files' memory is given back once they are loaded.
    images: Option<Images>,
    memory: Arc<GuestMemory>,
    board: Arc<Mainboard>,
    seats: Vec<Seat>,
    life: Life,
}

impl Vm {
    /// Builds a machine and loads its kernel. Nothing of the host is taken before the configuration and the
    /// images are known to be good.
    ///
    /// # Errors
    /// [`BuildError`] says what is wrong.
    pub fn new(
        config: VmConfig,
        images: Images,
        wires: Wires,
        engine: &dyn Engine,
    ) -> Result<Self, BuildError> {
        if !(1..=MOST_VCPUS).contains(&config.vcpus) {
            return Err(BuildError::Vcpus(config.vcpus));
        }
        if config.memory > MOST_MEMORY {
            return Err(BuildError::TooMuchMemory(config.memory));
        }
        images.request(&config, |request| load::plan(request).map(|_| ()))?;
        let memory = Arc::new(GuestMemory::new(config.memory)?);
        if config.vcpus > 1 {
            memory.watch().share();
        }
        let clock = Arc::new(VirtualClock::default());
        clock.pause();
        clock.set(0);
        let attention: Vec<_> = (0..config.vcpus).map(|_| Arc::new(Attention::default())).collect();
        let board = Arc::new(Mainboard::new(Equipment {
            attention: attention.clone(),
            clock,
            unix_nanoseconds: wires.unix_nanoseconds,
            memory: config.memory,
            consoles: wires.consoles,
        }));
        for plug in wires.functions {
            board.plug(&memory, plug).map_err(BuildError::Function)?;
        }
        let model = CpuModel { level: config.cpu, vcpus: config.vcpus };
        let seat = |(index, attention): (u32, Arc<Attention>)| {
            let port: Arc<dyn Board> = Arc::new(CpuPort::new(Arc::clone(&board), index as usize));
            let vcpu = Mutex::new(engine.vcpu(index, &model, &memory, &attention, &port)?);
            Ok(Seat { vcpu, attention, statistics: Mutex::default() })
        };
        let seats = (0..).zip(attention).map(seat).collect::<Result<_, BuildError>>()?;
        let mut vm = Self { config, images: None, memory, board, seats, life: Life::default() };
        vm.load(&images)?;
        vm.images = vm.config.reboot.then_some(images);
        Ok(vm)
    }

    /// Firmware tables, kernel and vCPUs as at the start.
    fn load(&self, images: &Images) -> Result<KernelKind, BuildError> {
        let Self { config, memory, .. } = self;
        self.board.pci.assign();
        let (kind, cpu) = images.request(config, |request| -> Result<_, BuildError> {
            let plan = load::plan(request)?;
            // The plan was made for this size of memory, so none of this misses RAM.
            for table in firmware::tables(config.vcpus, config.memory) {
                memory.write(table.at, &table.bytes).map_err(|_| base::MemoryError::Size(config.memory))?;
            }
            plan.apply(memory).map_err(|_| base::MemoryError::Size(config.memory))?;
            Ok((plan.kind, plan.cpu))
        })?;
        let mut waiting = CpuState::default();
        waiting.init(false);
        for (index, seat) in self.seats.iter().enumerate() {
            lock(&seat.vcpu).set_state(if index == 0 { &cpu } else { &waiting });
        }
        tracing::debug!(?kind, "kernel loaded");
        Ok(kind)
    }

    /// Runs the machine until it ends.
    ///
    /// # Errors
    /// [`StateError::Running`] if it already runs, [`StateError::NotRunning`] if it has ended.
    pub fn run(&self) -> Result<Outcome, StateError> {
        self.life.begin(self.seats.len())?;
        self.board.resume();
        let ending = self.board.power(|| {
            loop {
                let ending = self.run_vcpus();
                let Some(images) = &self.images else { return ending };
                match ending {
                    Ending::Request(Request::Reset) => {
                        if let Err(error) = self.reset(images) {
                            tracing::error!(%error, "the machine cannot start anew");
                            return ending;
                        }
                    }
                    ending => return ending,
                }
            }
        });
        self.board.pause();
        self.life.end();
        Ok(ending.into())
    }

    /// Runs all vCPUs until the machine has a reason to end.
    fn run_vcpus(&self) -> Ending {
        std::thread::scope(|scope| {
            for index in 1..self.seats.len() {
                scope.spawn(move || self.run_vcpu(index));
            }
            self.run_vcpu(0);
        });
        self.life.take_ending()
    }

    /// Everything as after power-up, and the kernel loaded again. No vCPU runs.
    fn reset(&self, images: &Images) -> Result<(), BuildError> {
        for seat in &self.seats {
            seat.attention.take(engine::Signals::all());
        }
        self.board.control().take(); // what several vCPUs asked at once
        self.board.reset();
        self.load(images)?;
        Ok(())
    }

    /// Puts a machine that has ended back to its start, as a reset would; it can be [run](Vm::run) again. One that was
    /// [stopped](Vm::stop) stays so.
    ///
    /// # Errors
    /// [`RestartError::State`] unless it has ended; [`RestartError::Build`] as [`Vm::new`], and then it stays ended.
    pub fn restart(&self, images: &Images) -> Result<(), RestartError> {
        self.life.begin_again(|| self.reset(images))
    }

    /// Makes every vCPU leave its engine and stops virtual time; returns when it has happened. Pausing a
    /// paused machine does nothing.
    ///
    /// # Errors
    /// [`StateError::NotRunning`] if it has not been started or has ended, also meanwhile.
    pub fn pause(&self) -> Result<(), StateError> {
        self.life.pause(|| self.kick(), || self.board.pause())
    }

    /// Lets a paused machine go on. Resuming a running machine does nothing.
    ///
    /// # Errors
    /// [`StateError::NotRunning`] if it has not been started or has ended.
    pub fn resume(&self) -> Result<(), StateError> {
        self.life.resume(|| self.board.resume())
    }

    /// Ends the run, from wherever it is; [`Vm::run`] then returns [`Outcome::Stopped`], a run that has not
    /// begun does so at once.
    pub fn stop(&self) {
        self.life.stop();
        self.kick();
    }

    /// Makes every vCPU leave its engine for a moment.
    pub fn kick(&self) {
        self.board.control().stop_all();
    }

    /// The host's end of the receiver of COM1 to COM4; `index` is 0 to 3.
    pub fn console_input(&self, index: usize) -> Option<ConsoleInput> {
        self.board.console_input(index)
    }

    /// Presses the power button: a guest with ACPI shuts down by itself.
    pub fn press_power_button(&self) {
        self.board.press_power_button();
    }

    /// Pulls the NMI line: a guest that is stuck may say where.
    pub fn pull_nmi(&self) {
        self.board.interrupts.pull_nmi();
    }

    /// The configuration.
    pub fn config(&self) -> &VmConfig {
        &self.config
    }

    /// Guest memory.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Virtual time in nanoseconds.
    pub fn time(&self) -> u64 {
        self.board.clock().now()
    }

    /// The engine's own further counters of each vCPU, by name. Waits for a vCPU that runs.
    pub fn details(&self) -> Vec<Vec<(String, u64)>> {
        self.seats.iter().map(|seat| lock(&seat.vcpu).details()).collect()
    }

    /// Each vCPU's counters, as it last left its engine; [`Vm::kick`] makes it leave.
    pub fn statistics(&self) -> Vec<Statistics> {
        self.seats.iter().map(|seat| *lock(&seat.statistics)).collect()
    }
}

#[cfg(test)]
mod tests;
