//! The mark that an instruction did not complete.

/// An exception is in [`Cpu::raised`](crate::cpu::Cpu): the instruction has changed nothing. One byte, so that
/// results stay in registers; made only by [`Cpu::raise`](crate::cpu::Cpu::raise).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised(pub(crate) ());

/// What an instruction's function gives.
pub(crate) type Step = Result<(), Raised>;
