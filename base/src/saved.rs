//! Saved state: what a device or a vCPU looks like at rest, typed and versioned, so that snapshot, clone,
//! migration and swap-out are one mechanism with different destinations.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something whose whole state can be taken out and put back.
///
/// `save` destructures its own type exhaustively, so that a new field cannot be forgotten; `restore`
/// treats the state as hostile: it checks every invariant that the rest of the code relies on.
pub trait Saved {
    /// The state at rest: data only.
    type State: Serialize + DeserializeOwned;
    /// Names the kind of thing in a snapshot; never reused for another.
    const KIND: &'static str;
    /// Counts up when `State` changes shape.
    const VERSION: u16;

    /// Takes the state out; the thing itself is not changed.
    fn save(&self) -> Self::State;

    /// Puts a state back.
    ///
    /// # Errors
    /// [`RestoreError::Invalid`] if the state breaks an invariant; the thing is then unchanged.
    fn restore(&mut self, state: Self::State) -> Result<(), RestoreError>;

    /// The state as a record to store or send.
    fn to_record(&self) -> Record {
        let payload = postcard::to_stdvec(&self.save()).unwrap_or_default();
        Record { kind: Self::KIND.to_owned(), version: Self::VERSION, payload }
    }

    /// Restores from a record.
    ///
    /// # Errors
    /// As [`Saved::restore`], and where the record is of another kind or version, is malformed, or has
    /// bytes left over.
    fn restore_record(&mut self, record: &Record) -> Result<(), RestoreError> {
        if record.kind != Self::KIND {
            return Err(RestoreError::Kind { wanted: Self::KIND, found: record.kind.clone() });
        }
        if record.version != Self::VERSION {
            return Err(RestoreError::Version {
                kind: Self::KIND,
                wanted: Self::VERSION,
                found: record.version,
            });
        }
        let (state, rest) = postcard::take_from_bytes(&record.payload)
            .map_err(|error| RestoreError::Malformed { kind: Self::KIND, reason: error.to_string() })?;
        if !rest.is_empty() {
            return Err(RestoreError::Leftover { kind: Self::KIND, bytes: rest.len() });
        }
        self.restore(state)
    }
}

/// One saved state with the name and version it was saved under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`Saved::KIND`].
    pub kind: String,
    /// [`Saved::VERSION`].
    pub version: u16,
    /// The state in postcard's encoding.
    pub payload: Vec<u8>,
}

/// Why a state could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The record belongs to something else.
    #[error("the snapshot has a record of kind `{found}` where `{wanted}` belongs")]
    Kind {
        /// What was to be restored.
        wanted: &'static str,
        /// What the record says it is.
        found: String,
    },
    /// The record is of a version this build does not read.
    #[error("the snapshot's `{kind}` is version {found}, this build reads version {wanted}")]
    Version {
        /// What was to be restored.
        kind: &'static str,
        /// The version this build reads.
        wanted: u16,
        /// The version found.
        found: u16,
    },
    /// The payload does not decode.
    #[error("the snapshot's `{kind}` is damaged: {reason}")]
    Malformed {
        /// What was to be restored.
        kind: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// The payload is longer than the state.
    #[error("the snapshot's `{kind}` has {bytes} bytes left over")]
    Leftover {
        /// What was to be restored.
        kind: &'static str,
        /// Bytes left over.
        bytes: usize,
    },
    /// The state decodes but cannot be.
    #[error("the snapshot's `{kind}` is invalid: {reason}")]
    Invalid {
        /// What was to be restored.
        kind: &'static str,
        /// The invariant that does not hold.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Counter {
        value: u32,
    }

    impl Saved for Counter {
        type State = u32;
        const KIND: &'static str = "counter";
        const VERSION: u16 = 2;

        fn save(&self) -> u32 {
            let Self { value } = self;
            *value
        }

        fn restore(&mut self, state: u32) -> Result<(), RestoreError> {
            self.value = state;
            Ok(())
        }
    }

    #[test]
    fn a_record_round_trips_and_anything_else_is_refused() {
        let record = Counter { value: 77 }.to_record();
        let mut counter = Counter::default();
        counter.restore_record(&record).unwrap();
        assert_eq!(counter.value, 77);

        let refuse = |change: fn(&mut Record)| {
            let mut record = record.clone();
            change(&mut record);
            Counter::default().restore_record(&record).unwrap_err()
        };
        assert!(matches!(refuse(|r| r.kind = "other".into()), RestoreError::Kind { .. }));
        assert!(matches!(refuse(|r| r.version = 3), RestoreError::Version { .. }));
        assert!(matches!(refuse(|r| r.payload.push(0)), RestoreError::Leftover { bytes: 1, .. }));
        assert!(matches!(refuse(|r| r.payload.clear()), RestoreError::Malformed { .. }));
    }
}
