//! The registers of a virtio device, as a driver uses them (virtio 1.2, 4.1.4.3).

use core::fmt;

use crate::harness::{Outcome, wrong};
use crate::hw::time;

use super::mmio;
use super::ring::{self, Rings};

/// Kinds of devices (section 5).
pub const NET: u16 = 1;
pub const BLOCK: u16 = 2;
pub const CONSOLE: u16 = 3;
pub const ENTROPY: u16 = 4;
pub const SOCKET: u16 = 19;
pub const FILES: u16 = 26;

/// Status bits (2.1).
pub const READY: u8 = 1 | 2 | 8 | 4;
pub const FEATURES_OK: u8 = 8;
pub const NEEDS_RESET: u8 = 64;

/// Feature bits (section 6).
pub const VERSION_1: u64 = 1 << 32;
pub const INDIRECT_DESC: u64 = 1 << 28;

/// Registers of the common configuration, by offset.
pub const STATUS: u64 = 20;
pub const QUEUE_SIZE: u64 = 24;
pub const QUEUE_ENABLE: u64 = 28;
pub const QUEUE_TABLE: u64 = 32;

/// How long a device may take, in ms: the host may be busy.
pub const PATIENCE: u64 = 60_000;

/// Where the groups of registers are.
#[derive(Clone, Copy, Default)]
pub struct Registers {
    pub bar: u64,
    pub common: u64,
    pub notify: u64,
    /// Bytes from one queue's notification register to the next one's.
    pub step: u64,
    pub interrupt: u64,
    pub config: u64,
    /// The MSI-X capability in configuration space.
    pub msix: u8,
    /// The MSI-X table.
    pub table: u64,
}

/// A device.
#[derive(Clone, Copy)]
pub struct Driver {
    /// Its number on the bus.
    pub device: u8,
    /// What it is.
    pub kind: u16,
    pub registers: Registers,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {} (kind {})", self.device, self.kind)
    }
}

impl Driver {
    /// Reads a register of the common configuration.
    pub fn read(&self, offset: u64, width: u64) -> u64 {
        mmio::read(self.registers.common + offset, width)
    }

    /// Writes one.
    pub fn write(&self, offset: u64, width: u64, value: u64) {
        mmio::write(self.registers.common + offset, width, value);
    }

    /// The status.
    pub fn status(&self) -> u8 {
        self.read(STATUS, 1) as u8
    }

    /// Sets bits of the status; zero resets.
    pub fn set_status(&self, status: u8) {
        self.write(STATUS, 1, status.into());
    }

    /// Resets the device and waits for it.
    pub fn reset(&self) -> Outcome {
        self.set_status(0);
        check!(time::wait_until(PATIENCE, || self.status() == 0), "{self} is never reset");
        Ok(())
    }

    /// Negotiates up to `FEATURES_OK`, with a device that has been reset.
    pub fn negotiate(&self, features: u64) -> Outcome {
        self.reset()?;
        self.set_status(1 | 2);
        for half in 0..2 {
            self.write(8, 4, half);
            self.write(12, 4, features >> (32 * half) & 0xffff_ffff);
        }
        self.set_status(1 | 2 | FEATURES_OK);
        check!(self.status() & FEATURES_OK != 0, "{self} does not agree to features {features:#x}");
        Ok(())
    }

    /// How many queues there are.
    pub fn queues(&self) -> u16 {
        self.read(18, 2) as u16
    }

    /// The size of a queue, which is selected then.
    pub fn queue_size(&self, queue: u16) -> u16 {
        self.write(22, 2, queue.into());
        self.read(QUEUE_SIZE, 2) as u16
    }

    /// Describes a queue and enables it.
    pub fn set_up(&self, queue: u16, size: u16, rings: Rings) {
        self.write(22, 2, queue.into());
        self.write(QUEUE_SIZE, 2, size.into());
        for (n, at) in (0..).zip([rings.table, rings.available, rings.used]) {
            self.write(QUEUE_TABLE + 8 * n, 4, at & 0xffff_ffff);
            self.write(QUEUE_TABLE + 8 * n + 4, 4, at >> 32);
        }
        self.write(QUEUE_ENABLE, 2, 1);
    }

    /// Everything right: all queues, with indirect tables, up to `DRIVER_OK`.
    pub fn start(&self) -> Outcome {
        self.start_with(VERSION_1 | INDIRECT_DESC)
    }

    /// The same with these features.
    pub fn start_with(&self, features: u64) -> Outcome {
        self.negotiate(features)?;
        for queue in 0..self.queues().min(ring::MOST) {
            let size = self.queue_size(queue).min(ring::SIZE);
            self.set_up(queue, size, ring::fresh(queue));
        }
        self.set_status(READY);
        check_eq!(self.status(), READY, "status of {self} after DRIVER_OK");
        Ok(())
    }

    /// Notifies a queue.
    pub fn kick(&self, queue: u16) {
        mmio::write(self.registers.notify + u64::from(queue) * self.registers.step, 2, queue.into());
    }

    /// A queue whose chains the device takes as soon as it is notified, and none that waits for the world outside.
    pub fn eager_queue(&self) -> u16 {
        match self.kind {
            NET | CONSOLE | SOCKET | FILES => 1,
            _ => 0,
        }
    }

    /// Offers a chain on the eager queue.
    pub fn offer(&self, head: u16) {
        let queue = self.eager_queue();
        ring::offer(queue, head);
        self.kick(queue);
    }

    /// Is a reset needed?
    pub fn is_broken(&self) -> bool {
        self.status() & NEEDS_RESET != 0
    }

    /// The device says that it needs a reset.
    pub fn notices(&self, what: &str) -> Outcome {
        if time::wait_until(PATIENCE, || self.is_broken()) {
            return Ok(());
        }
        Err(wrong(format_args!("{self} does not notice: {what}")))
    }

    /// After a reset the device does its work.
    pub fn recovers(&self) -> Outcome {
        self.start()?;
        super::proof::works(self)
    }
}
