//! Differential checks between engines and the host's own CPU.

#![deny(missing_docs)]

pub mod end;
pub mod layout;
pub mod native;
pub mod start;
pub mod subject;

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The native child.
    #[error(transparent)]
    Native(#[from] native::NativeError),
}
