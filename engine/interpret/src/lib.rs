//! The reference CPU: plain and obviously right. It is the oracle for the other engines, the cold tier
//! of the translator, and an engine of its own. The only code it generates are the small stubs in which
//! `simd` lets the host execute floating-point and vector instructions.
//!
//! How an instruction gets executed:
//!
//! ```text
//!  guest bytes ──iced-x86──► Instruction ──lower (one table a family)──► Op { exec, operands }
//!                                                                          │ cached in a Block
//!  run loop: events? → block at RIP → for each Op: exec(&mut Cpu, &Op) ────┘
//! ```
//!
//! * [`op::Op`] is an instruction after decoding: its semantics as a function, its operands as numbers.
//! * [`cpu::Cpu`] is what such a function works on: registers, lazy flags, the TLB, memory, the board.
//! * The families (`integer`, `system`, `simd`) each have a `lower` that is the one place
//!   which says what their instructions do.
//! * A function that cannot complete calls [`cpu::Cpu::raise`] and returns its [`Raised`]; it must not have
//!   changed anything then. So every exception is precise.
//!
//! Self-modifying code is right because each block keeps the [`base::Watch`] generation of its page, and
//! a store that hits cached code ends the block it stands in.

#![deny(missing_docs)]

mod access;
mod block;
mod cpu;
mod decode;
mod integer;
mod interpreter;
mod mode;
mod op;
mod prepared;
mod raised;
mod run;
mod segmentation;
mod simd;
mod status;
mod system;
mod tier;
mod tlb;
mod walk;
mod width;

pub use interpreter::Interpreter;
pub use prepared::Prepared;
pub use tier::{Facts, Mapped, Probed, Seen, Tier};
pub use tlb::Flush;
