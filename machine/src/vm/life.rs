//! Where a machine is in its life; the diagram and the contracts are at the head of [`crate::vm`].

use std::sync::{Condvar, Mutex, PoisonError};

use base::GuestPhys;
use engine::EngineError;

use super::outcome::{BuildError, Outcome, RestartError, StateError};
use crate::board::lock;
use crate::chip::Request;

/// Why a run ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// A chip was asked to.
    Request(Request),
    /// A triple fault.
    TripleFault(String),
    /// Execution outside RAM.
    BadFetch(GuestPhys),
    /// [`super::Vm::stop`].
    Stopped,
    /// The host failed.
    EngineFailed(EngineError),
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Request(Request::PowerOff) => Self::PowerOff,
            Ending::Request(Request::Reset) => Self::Reset,
            Ending::Request(Request::DebugExit(code)) => Self::DebugExit(code),
            Ending::Request(Request::GuestPanic) => Self::GuestPanic,
            Ending::TripleFault(text) => Self::TripleFault(text),
            Ending::BadFetch(at) => Self::BadFetch(at),
            Ending::Stopped => Self::Stopped,
            Ending::EngineFailed(error) => Self::EngineFailed(error),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Created,
    Running,
    Stopped,
}

#[derive(Debug, Default)]
struct Record {
    phase: Phase,
    vcpus: usize,
    /// Is the machine to stand?
    pause: bool,
    stop: bool,
    /// vCPUs that wait for the end of a pause.
    parked: usize,
    ending: Option<Ending>,
}

/// What a vCPU does after it has looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Enter the engine.
    Go,
    /// End the thread.
    Leave,
}

/// The record of a machine's life.
#[derive(Debug, Default)]
pub(super) struct Life {
    record: Mutex<Record>,
    changed: Condvar,
}

impl Life {
    pub(super) fn begin(&self, vcpus: usize) -> Result<(), StateError> {
        let mut record = lock(&self.record);
        match record.phase {
            Phase::Created => {}
            Phase::Running => return Err(StateError::Running),
            Phase::Stopped => return Err(StateError::NotRunning),
        }
        record.phase = Phase::Running;
        record.vcpus = vcpus;
        Ok(())
    }

    /// From the end back to the start, if `reset` succeeds.
    pub(super) fn begin_again(
        &self,
        reset: impl FnOnce() -> Result<(), BuildError>,
    ) -> Result<(), RestartError> {
        let mut record = lock(&self.record);
        if record.phase != Phase::Stopped {
            return Err(StateError::Running.into());
        }
        reset()?;
        record.phase = Phase::Created;
        record.ending = None;
        record.pause = false;
        Ok(())
    }

    pub(super) fn end(&self) {
        lock(&self.record).phase = Phase::Stopped;
        self.changed.notify_all();
    }

    /// Records a reason to end, if it is the first.
    pub(super) fn ends_by(&self, ending: Ending) {
        lock(&self.record).ending.get_or_insert(ending);
        self.changed.notify_all();
    }

    pub(super) fn take_ending(&self) -> Ending {
        lock(&self.record).ending.take().unwrap_or(Ending::Stopped)
    }

    pub(super) fn stop(&self) {
        lock(&self.record).stop = true;
        self.changed.notify_all();
    }

    /// A vCPU looks what it is to do, and stands while the machine is paused.
    pub(super) fn look(&self) -> Next {
        let mut record = lock(&self.record);
        loop {
            if record.stop {
                record.ending.get_or_insert(Ending::Stopped);
                self.changed.notify_all();
            }
            if record.ending.is_some() {
                return Next::Leave;
            }
            if !record.pause {
                return Next::Go;
            }
            record.parked += 1;
            self.changed.notify_all();
            let stands = |record: &mut Record| record.pause && !record.stop && record.ending.is_none();
            record = self.changed.wait_while(record, stands).unwrap_or_else(PoisonError::into_inner);
            record.parked -= 1;
        }
    }

    /// Asks for a pause, tells the vCPUs by `tell`, waits until all stand, and then does `standing`.
    pub(super) fn pause(&self, tell: impl FnOnce(), standing: impl FnOnce()) -> Result<(), StateError> {
        let mut record = lock(&self.record);
        if record.phase != Phase::Running || record.ending.is_some() {
            return Err(StateError::NotRunning);
        }
        record.pause = true;
        drop(record);
        tell();
        let record = lock(&self.record);
        let moves = |record: &mut Record| {
            record.pause
                && record.parked < record.vcpus
                && record.ending.is_none()
                && record.phase == Phase::Running
        };
        let mut record = self.changed.wait_while(record, moves).unwrap_or_else(PoisonError::into_inner);
        if !record.pause {
            return Ok(()); // somebody has resumed it before we saw it stand
        }
        if record.parked < record.vcpus {
            record.pause = false;
            return Err(StateError::NotRunning);
        }
        standing();
        Ok(())
    }

    /// Ends a pause; `before` is done while all still stand.
    pub(super) fn resume(&self, before: impl FnOnce()) -> Result<(), StateError> {
        let mut record = lock(&self.record);
        if record.phase != Phase::Running {
            return Err(StateError::NotRunning);
        }
        if record.pause {
            before();
            record.pause = false;
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Does something while no vCPU can move.
    pub(super) fn while_standing<R>(&self, action: impl FnOnce() -> R) -> Result<R, StateError> {
        let record = lock(&self.record);
        let stands = record.phase != Phase::Running || record.pause && record.parked == record.vcpus;
        if !stands {
            return Err(StateError::Running);
        }
        let result = action();
        drop(record);
        Ok(result)
    }
}
