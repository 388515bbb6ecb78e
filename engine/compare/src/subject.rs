//! Whatever can run a case: the host's CPU, or a vCPU of an engine.

use crate::CompareError;
use crate::end::End;
use crate::start::Start;

/// Runs cases one by one.
pub trait Subject {
    /// As reports call it.
    fn name(&self) -> &str;

    /// Runs a case from its start and says how it ended.
    ///
    /// # Errors
    /// [`CompareError`] for failures of the host; whatever the case does is an [`End`].
    fn run(&mut self, start: &Start) -> Result<End, CompareError>;
}
