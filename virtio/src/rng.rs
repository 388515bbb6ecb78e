//! A source of random numbers (5.4): one queue of buffers, filled with the host's best bytes.
//!
//! The bytes come from the kernel's generator through the `getrandom` crate, which never waits once the host has
//! booted. A request gets at most [`MOST`] bytes, as the standard allows, so that a guest that asks for gigabytes
//! does not keep the thread busy.

use base::{Record, RestoreError, Saved};

use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress};
use crate::rings::Rings;

/// Bytes for one request, at most.
const MOST: usize = 64 << 10;
const QUEUE_SIZE: u16 = 64;

/// The front. It needs no back-end.
#[derive(Debug, Default)]
pub struct Rng {
    bytes: Vec<u8>,
}

impl Device for Rng {
    fn id(&self) -> DeviceId {
        DeviceId::Entropy
    }

    fn name(&self) -> String {
        "the source of random numbers".to_owned()
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn kick(&mut self, rings: &mut Rings, queue: u16) -> Result<Progress, Mistake> {
        let ring = rings.queue(queue);
        let progress = ring.each(|ring, chain| {
            let what = "a buffer of no bytes that the device may write";
            if chain.writable.is_empty() {
                return Err(Mistake::Request { queue, what });
            }
            self.bytes.resize(chain.writable.len().min(MOST as u64) as usize, 0);
            if let Err(error) = getrandom::fill(&mut self.bytes) {
                tracing::warn!(%error, "the host gives no random numbers");
                self.bytes.clear(); // the guest asks again, or another source
            }
            let len = chain.writable.write(0, &self.bytes);
            ring.push(chain.head, len as u32)?;
            Ok(Fate::Taken)
        })?;
        ring.signal()?;
        Ok(progress)
    }

    fn reset(&mut self) {}

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

/// It has none of its own.
impl Saved for Rng {
    type State = ();
    const KIND: &'static str = "virtio-rng";
    const VERSION: u16 = 1;

    fn save(&self) {
        let Self { bytes: _ } = self;
    }

    fn restore(&mut self, (): ()) -> Result<(), RestoreError> {
        Ok(())
    }
}
