//! A machine at rest, but for its RAM.

use base::RestoreError;
use engine::Signals;
use serde::{Deserialize, Serialize};
use x86::CpuState;

use super::Vm;
use super::check::check;
use super::outcome::{StateError, VmRestoreError};
use crate::board::{BoardState, lock};

/// The state of all chips and vCPUs. RAM is saved apart, because it is moved in other ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmState {
    /// Counts up when this type or [`CpuState`] changes shape.
    pub version: u16,
    /// The board.
    pub board: BoardState,
    /// The vCPUs, by number.
    pub cpus: Vec<VcpuState>,
}

/// A vCPU at rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VcpuState {
    /// The CPU.
    pub cpu: CpuState,
    /// An NMI is on its way to it.
    pub nmi: bool,
    /// An INIT is.
    pub init: bool,
    /// A start-up IPI is; its page is with the local APIC.
    pub start_up: bool,
}

impl VcpuState {
    fn new(cpu: CpuState, signals: Signals) -> Self {
        let up = |signal| signals.contains(signal);
        Self { cpu, nmi: up(Signals::NMI), init: up(Signals::INIT), start_up: up(Signals::SIPI) }
    }

    fn signals(&self) -> Signals {
        let mut signals = Signals::empty();
        signals.set(Signals::NMI, self.nmi);
        signals.set(Signals::INIT, self.init);
        signals.set(Signals::SIPI, self.start_up);
        signals
    }
}

impl VmState {
    /// What this build writes and reads.
    pub const VERSION: u16 = 1;
}

impl Vm {
    /// Saves the machine, which must stand: not yet started, paused, or stopped.
    ///
    /// # Errors
    /// [`StateError::Running`] otherwise.
    pub fn save(&self) -> Result<VmState, StateError> {
        self.life.while_standing(|| VmState {
            version: VmState::VERSION,
            board: self.board.save(),
            cpus: self
                .seats
                .iter()
                .map(|seat| VcpuState::new(lock(&seat.vcpu).state(), seat.attention.peek()))
                .collect(),
        })
    }

    /// Restores a machine of the same configuration, which must stand. The state may come from anywhere: it
    /// is checked. If it is refused, the machine must not be run.
    ///
    /// # Errors
    /// [`VmRestoreError`] says whether the machine or the state is not fit.
    pub fn restore(&self, state: &VmState) -> Result<(), VmRestoreError> {
        Ok(self.life.while_standing(|| self.restore_standing(state))??)
    }

    fn restore_standing(&self, state: &VmState) -> Result<(), RestoreError> {
        let VmState { version, board, cpus } = state;
        if *version != VmState::VERSION {
            return Err(RestoreError::Version { kind: "vm", wanted: VmState::VERSION, found: *version });
        }
        let invalid = |reason: String| RestoreError::Invalid { kind: "cpu", reason };
        if cpus.len() != self.seats.len() {
            return Err(invalid(format!(
                "{} vCPUs are saved, this machine has {}",
                cpus.len(),
                self.seats.len()
            )));
        }
        for vcpu in cpus {
            check(&vcpu.cpu).map_err(|reason| invalid(reason.to_owned()))?;
        }
        for seat in &self.seats {
            seat.attention.take(Signals::all());
        }
        self.board.restore(board)?;
        for (seat, vcpu) in self.seats.iter().zip(cpus) {
            lock(&seat.vcpu).set_state(&vcpu.cpu);
            seat.attention.raise(vcpu.signals());
        }
        Ok(())
    }
}
