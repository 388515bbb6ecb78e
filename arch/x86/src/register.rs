//! Register numbers as the encoding has them.

use serde::{Deserialize, Serialize};

/// The general registers, numbered as in ModRM with REX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)] // the manual's own names
pub enum Gpr {
    Rax = 0,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

/// The segment registers, numbered as in MOV Sreg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)] // the manual's own names
pub enum SegmentRegister {
    Es = 0,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
}
