//! What a front is.
//!
//! **Life of a front**, as the transport drives it, all under one lock:
//!
//! ```text
//!              DRIVER_OK              the driver writes 0 to the status, and `idle`
//!   ┌───────┐  start   ┌─────────┐  reset
//!   │ fresh ├─────────►│ running ├────────► fresh
//!   └───────┘          └─────────┘
//!                kick, woken: on the device's thread
//! ```
//!
//! - [`Device::kick`] and [`Device::woken`] run on the device's own thread, never a vCPU's; they do not wait. They are
//!   called without need too: a front finds nothing to do then.
//! - Before a reset, and before the machine is paused or saved, kicks cease and `woken` goes on until the front is
//!   [idle](Device::idle): nothing of it is with its back-end then, and no one else writes to guest memory.
//! - After a pause or a restore every queue is kicked.
//! - A [`Mistake`] of the driver ends kicks until it resets the device.

use std::os::fd::BorrowedFd;

use base::{Record, RestoreError};

use crate::mistake::Mistake;
use crate::queue::Progress;
use crate::rings::Rings;

/// A device's number (section 5) with what PCI says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceId {
    /// 5.1.
    Net = 1,
    /// 5.2.
    Block = 2,
    /// 5.3.
    Console = 3,
    /// 5.4.
    Entropy = 4,
    /// 5.5.
    Balloon = 5,
    /// 5.10.
    Socket = 19,
    /// 5.11.
    FileSystem = 26,
}

impl DeviceId {
    /// PCI's class code (PCI Code and ID Assignment 1.11).
    pub const fn class(self) -> u32 {
        match self {
            Self::Net => 0x02_0000,
            Self::Block | Self::FileSystem => 0x01_8000,
            Self::Console => 0x07_8000,
            Self::Entropy | Self::Balloon => 0xff_0000,
            Self::Socket => 0x02_8000,
        }
    }
}

/// A front.
pub trait Device: Send {
    /// Which device.
    fn id(&self) -> DeviceId;
    /// What it is called in messages: “disk vda”.
    fn name(&self) -> String;
    /// The feature bits that are its own; those of rings and transport are not.
    fn features(&self) -> u64;
    /// The largest size of each queue: powers of two, at most 1024.
    fn queues(&self) -> Vec<u16>;
    /// The device-specific configuration as it reads now.
    fn config(&self) -> Vec<u8>;
    /// The driver writes there; `offset` and length lie within [`Device::config`].
    fn write_config(&mut self, _offset: usize, _bytes: &[u8]) {}
    /// The driver is ready: features and queues are as they stay.
    fn start(&mut self, _rings: &mut Rings) {}
    /// The driver says that a queue has new buffers.
    ///
    /// # Errors
    /// The driver's mistake.
    fn kick(&mut self, rings: &mut Rings, queue: u16) -> Result<Progress, Mistake>;
    /// What the thread waits for besides kicks: always the same descriptors.
    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
    /// Is there a use for that wake now? One that stays readable while it is not taken care of must not be
    /// listened to.
    fn listens(&self, _wake: usize) -> bool {
        true
    }
    /// A wake is readable. [`Progress::More`] asks for a kick of every queue: there is room again for what was
    /// left in one. No chain is taken here but those that news of the back-end go into.
    ///
    /// # Errors
    /// The driver's mistake.
    fn woken(&mut self, _rings: &mut Rings) -> Result<Progress, Mistake> {
        Ok(Progress::Done)
    }
    /// Is nothing with the back-end that touches guest memory?
    fn idle(&self) -> bool {
        true
    }
    /// As at the start. It is [idle](Device::idle).
    fn reset(&mut self);
    /// The front's own state at rest; its queues are the transport's.
    fn save(&self) -> Record;
    /// Puts a state back. [`Device::start`] is not called for it.
    ///
    /// # Errors
    /// As [`base::Saved::restore_record`].
    fn restore(&mut self, record: &Record) -> Result<(), RestoreError>;
}
