//! How a run ends, and why a machine cannot be built.

use base::{GuestPhys, MemoryError, RestoreError};
use engine::EngineError;

use crate::firmware::MOST_VCPUS;
use crate::load::LoadError;

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// The guest switched itself off.
    PowerOff,
    /// The guest reset the machine, and the configuration does not let it start anew.
    Reset,
    /// A triple fault. The text says how the guest came to it.
    TripleFault(String),
    /// The guest executed something that is not RAM.
    BadFetch(GuestPhys),
    /// The guest wrote to the debug-exit port; the exit code that follows.
    DebugExit(u32),
    /// The guest says that its kernel has crashed.
    GuestPanic,
    /// It was stopped from outside.
    Stopped,
    /// The host failed the engine.
    EngineFailed(EngineError),
}

/// Why a machine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The kernel or its companions.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A number of vCPUs that cannot be.
    #[error("a machine has 1 to {MOST_VCPUS} vCPUs; {0} is not")]
    Vcpus(u32),
    /// A device on the PCI bus.
    #[error("a device cannot be made: {0}")]
    Function(std::io::Error),
    /// More memory than the guest's physical addresses reach.
    #[error("{0} bytes of memory are more than a machine can address; ask for at most 32 TiB")]
    TooMuchMemory(u64),
}

/// A call that does not fit what the machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It needs a running machine.
    #[error("the machine is not running")]
    NotRunning,
    /// It needs a machine that stands: not yet started, paused, or stopped.
    #[error("the machine is running; pause it first")]
    Running,
}

/// Why a machine was not put back to its start.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// It has not ended.
    #[error(transparent)]
    State(#[from] StateError),
    /// What it starts with.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Why a machine was not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VmRestoreError {
    /// The machine is running.
    #[error(transparent)]
    Machine(#[from] StateError),
    /// The state is refused.
    #[error(transparent)]
    State(#[from] RestoreError),
}
