//! Engines and their virtual CPUs.

use std::sync::Arc;

use base::GuestMemory;
use x86::CpuState;

use crate::attention::Attention;
use crate::board::Board;
use crate::cpu::CpuModel;
use crate::exit::Exit;

/// Something that executes guest instructions.
pub trait Engine: Send + Sync {
    /// As the command line calls it.
    fn name(&self) -> &'static str;

    /// A vCPU in the state after reset. `index` is its number and APIC id. All vCPUs of a machine share
    /// `memory` and are made before the first one runs; `board` and `attention` are this vCPU's own.
    ///
    /// # Errors
    /// [`EngineError`] when the host does not give what the engine needs.
    fn vcpu(
        &self,
        index: u32,
        model: &CpuModel,
        memory: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
    ) -> Result<Box<dyn Vcpu>, EngineError>;
}

/// How far to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Until something else ends it.
    Unlimited,
    /// So many guest instructions; a string instruction's every iteration may count as one. For lock-step
    /// comparison and tests.
    Instructions(u64),
}

/// One virtual CPU. It may be moved to another thread between two calls.
pub trait Vcpu: Send {
    /// Executes guest instructions until there is a reason not to.
    ///
    /// # Errors
    /// [`EngineError`] only for failures of the host; whatever the guest does is an [`Exit`].
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError>;

    /// The whole architectural state. Exact between two calls of `run`.
    fn state(&self) -> CpuState;

    /// Replaces the state; cached translations of the old one are forgotten. The state must be one that
    /// [`Vcpu::state`] of some engine gave or that was checked like a restored snapshot.
    fn set_state(&mut self, state: &CpuState);

    /// Counters since the vCPU was made.
    fn statistics(&self) -> Statistics;

    /// Further counters of the engine's own, each with a name for a person to read.
    fn details(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Counters that every engine keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Guest instructions executed; zero where the engine cannot tell.
    pub instructions: u64,
    /// Blocks decoded or translated.
    pub blocks: u64,
    /// Cached blocks thrown away because their code was written.
    pub invalidations: u64,
    /// Exceptions delivered.
    pub exceptions: u64,
    /// Interrupts delivered.
    pub interrupts: u64,
    /// Port and MMIO accesses.
    pub device_accesses: u64,
    /// Guest page walks.
    pub page_walks: u64,
}

/// A failure of the host, not of the guest.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The host's kernel refused something.
    #[error("the host refused {what}: {source}")]
    Host {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// This host or build cannot run such a vCPU.
    #[error("the {engine} engine cannot run here: {reason}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// Why, and what to do.
        reason: String,
    },
}
