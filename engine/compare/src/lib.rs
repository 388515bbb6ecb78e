//! Differential checks between engines and the host's own CPU.

#![deny(missing_docs)]

pub mod case;
pub mod end;
pub mod generate;
pub mod guest;
pub mod layout;
pub mod native;
pub mod offer;
pub mod start;
pub mod subject;
pub mod taint;

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The native child.
    #[error(transparent)]
    Native(#[from] native::NativeError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// Memory for the guest.
    #[error(transparent)]
    Memory(#[from] base::MemoryError),
    /// Our own layout does not fit the guest's memory.
    #[error(transparent)]
    OutOfRam(#[from] base::OutOfRam),
    /// The engine does not execute CPUID in long mode.
    #[error("the engine does not answer CPUID leaf {leaf:#x}: it stopped with {exit:?}")]
    Unanswered {
        /// The leaf asked for.
        leaf: u32,
        /// How it stopped.
        exit: engine::Exit,
    },
}
