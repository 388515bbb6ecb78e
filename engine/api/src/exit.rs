//! Why a vCPU stopped running.

use base::GuestPhys;

/// Why [`Vcpu::run`](crate::Vcpu::run) came back. The CPU state is between two instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// HLT with nothing to do: run again when [`Attention`](crate::Attention) is raised.
    Halted,
    /// A signal is up that the machine handles: STOP, INIT or SIPI.
    Signalled,
    /// A triple fault. The text says how it came to it, for the person who looks.
    Shutdown(String),
    /// The budget is used up.
    Budget,
    /// Guest code ran somewhere it cannot: instruction fetch outside RAM.
    BadFetch(GuestPhys),
}
