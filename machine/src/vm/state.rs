//! A machine at rest, but for its RAM.

use base::RestoreError;
use serde::{Deserialize, Serialize};
use x86::CpuState;

use super::Vm;
use super::check::check;
use super::outcome::StateError;
use crate::board::{BoardState, lock};

/// The state of all chips and vCPUs. RAM is saved apart, because it is moved in other ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmState {
    /// Counts up when this type or [`CpuState`] changes shape.
    pub version: u16,
    /// The board.
    pub board: BoardState,
    /// The vCPUs, by number.
    pub cpus: Vec<CpuState>,
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
            cpus: self.seats.iter().map(|seat| lock(&seat.vcpu).state()).collect(),
        })
    }

    /// Restores a machine of the same configuration, which must stand. The state may come from anywhere: it
    /// is checked. Where that fails, the machine must not be run.
    ///
    /// # Errors
    /// [`StateError::Running`] if it runs; inside, why the state is refused.
    pub fn restore(&self, state: &VmState) -> Result<Result<(), RestoreError>, StateError> {
        self.life.while_standing(|| self.restore_standing(state))
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
        for cpu in cpus {
            check(cpu).map_err(|reason| invalid(reason.to_owned()))?;
        }
        self.board.restore(board)?;
        for (seat, cpu) in self.seats.iter().zip(cpus) {
            lock(&seat.vcpu).set_state(cpu);
        }
        Ok(())
    }
}
