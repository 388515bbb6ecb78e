//! The seam between a machine and whatever executes guest instructions.
//!
//! A machine makes an [`Engine`] for its memory and CPU model and asks it for one [`Vcpu`] per virtual
//! CPU. Each vCPU lives on a thread of its own, which loops over [`Vcpu::run`]:
//!
//! ```text
//!             Attention (interrupt, NMI, INIT, SIPI, stop)      from any thread
//!                  │
//!   machine ────── run() ─────► engine executes … ──► Exit
//!                  ▲   │
//!   Board: ports, MMIO, APIC MSRs, interrupt vectors, time      called on the vCPU's own thread
//! ```
//!
//! The engine calls the [`Board`] in the middle of an instruction, because a reference CPU cannot leave an
//! instruction half done; an engine over KVM answers its exits by the same calls. So every engine sees the
//! same devices in the same way, and a machine does not know which engine it has.
//!
//! What an engine owes: the guest-visible behaviour of [`x86::CpuState`] exactly; every write to RAM
//! reported to [`base::Watch`]; [`Attention`] looked at often enough that an interrupt waits for no more
//! than a few thousand instructions; no panic and no unbounded work whatever the guest does.

#![deny(missing_docs)]

mod attention;
mod bare;
mod board;
mod cpu;
mod exit;
mod vcpu;

pub use attention::{Attention, Signals};
pub use bare::BareBoard;
pub use board::{Board, MsrDenied, Width};
pub use cpu::{CpuLevel, CpuModel};
pub use exit::Exit;
pub use vcpu::{Budget, Engine, EngineError, Statistics, Vcpu};
