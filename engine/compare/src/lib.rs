//! Differential checks between engines and the host's own CPU.
//!
//! The host has the guests' instruction set, so the oracle is free: random user-mode instruction sequences
//! must leave the same registers, defined flags, extended state, memory and fault address on the host's CPU
//! and in an engine.
//!
//! ```text
//!  seed, index ──generate──► Case ──┬──► native::Native (a sandboxed child) ──► End ┐
//!                                   └──► guest::Guest (a vCPU of an engine) ──► End ┴─ difference ─► shrink ─► report
//! ```
//!
//! * [`generate`] makes a [`case::Case`]: a [`start::Start`] (registers, code, memory) and what is known of
//!   its instructions, above all which flags they leave undefined ([`taint`]).
//! * A [`subject::Subject`] runs it and gives an [`end::End`]: the host's CPU ([`native`]) or an engine
//!   ([`guest`]).
//! * [`difference`] compares two ends, [`open`] knows what CPUs are free to do differently; [`shrink`] makes
//!   a differing case small; [`report`] tells it.
//! * [`campaign`] does that for many cases on several threads and keeps count ([`coverage`]).
//!
//! [`lockstep`] is another kind of check: two engines run a whole VM side by side.

#![deny(missing_docs)]

pub mod campaign;
pub mod case;
pub mod coverage;
pub mod difference;
pub mod end;
pub mod generate;
pub mod guest;
pub mod layout;
pub mod lockstep;
pub mod native;
pub mod offer;
pub mod open;
pub mod report;
pub mod shrink;
pub mod start;
pub mod subject;
pub mod taint;

use iced_x86::{Code, Mnemonic};

use generate::Family;

/// Cases that exercise every family there is, as good as surely.
pub const ENOUGH: u64 = 10_000;

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
    /// No such mnemonic.
    #[error("{0:?} is neither an instruction's mnemonic, as the manual has it, nor a family's name")]
    Mnemonic(String),
    /// The instructions chosen are not offered or not comparable.
    #[error("none of the instructions asked for is offered by both sides and comparable")]
    NothingToRun,
    /// A worker panicked.
    #[error("a worker panicked; its message is above")]
    Panicked,
}

/// Mnemonics by name, in any case; the name of a [`generate::Family`] stands for all of its mnemonics.
///
/// # Errors
/// [`CompareError::Mnemonic`] for a name that is none.
pub fn parse_mnemonics(names: &[String]) -> Result<Vec<Mnemonic>, CompareError> {
    let mut all = vec![];
    for name in names {
        let family = Family::ALL.into_iter().find(|family| format!("{family:?}").eq_ignore_ascii_case(name));
        let before = all.len();
        match family {
            Some(family) => {
                all.extend(Code::values().filter(|c| Family::of(*c) == family).map(Code::mnemonic));
            }
            None => all.extend(
                Mnemonic::values().filter(|mnemonic| format!("{mnemonic:?}").eq_ignore_ascii_case(name)),
            ),
        }
        if all.len() == before {
            return Err(CompareError::Mnemonic(name.clone()));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_are_found_in_any_case() {
        let names = ["ADD".to_owned(), "pshufb".to_owned()];
        assert_eq!(parse_mnemonics(&names).unwrap(), [Mnemonic::Add, Mnemonic::Pshufb]);
        assert!(parse_mnemonics(&["string".to_owned()]).unwrap().contains(&Mnemonic::Movsb));
        assert!(matches!(parse_mnemonics(&["nonsense".to_owned()]), Err(CompareError::Mnemonic(_))));
    }
}
