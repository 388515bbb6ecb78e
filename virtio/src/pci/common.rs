//! The common configuration (4.1.4.3): features, status and the description of each queue. Pure registers: what a
//! write causes is handed to the transport.
//!
//! Nothing that a device in use relies on can be changed under it: features are frozen by `FEATURES_OK`,
//! queues by `DRIVER_OK`.

use bitflags::bitflags;
use engine::Width;
use serde::{Deserialize, Serialize};

use crate::queue::QueueConfig;
use crate::rings::feature;

bitflags! {
    /// The device status (2.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Status: u8 {
        const ACKNOWLEDGE = 1;
        const DRIVER = 2;
        const DRIVER_OK = 4;
        const FEATURES_OK = 8;
        const NEEDS_RESET = 64;
        const FAILED = 128;

        /// What the driver may set.
        const DRIVERS = Self::ACKNOWLEDGE.bits() | Self::DRIVER.bits() | Self::DRIVER_OK.bits()
            | Self::FEATURES_OK.bits() | Self::FAILED.bits();
    }
}

/// What a write causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The driver has reset the device. The registers are as at the start.
    Reset,
    /// The driver is ready.
    Start,
    /// The vector for changes of the configuration.
    ConfigVector(u16),
    /// A queue's vector.
    QueueVector(u16, u16),
}

/// What the registers show that is not theirs.
pub(super) struct Live<'a> {
    /// The status, if it is not that of the registers.
    pub status: Status,
    pub generation: u8,
    pub config_vector: u16,
    pub vector: &'a dyn Fn(u16) -> u16,
}

/// The registers at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommonState {
    device_feature_select: u32,
    driver_feature_select: u32,
    pub features: u64,
    pub status: Status,
    queue_select: u16,
    pub queues: Vec<QueueConfig>,
}

/// The registers.
#[derive(Clone, Debug)]
pub(super) struct Common {
    offered: u64,
    /// The largest size of each queue.
    most: Vec<u16>,
    pub state: CommonState,
}

const LEN: usize = 56;

impl Common {
    pub fn new(offered: u64, most: Vec<u16>) -> Self {
        let mut common = Self { offered, most, state: CommonState::default() };
        common.reset();
        common
    }

    pub fn most(&self) -> &[u16] {
        &self.most
    }

    pub fn reset(&mut self) {
        let queue = |&size: &u16| QueueConfig { size, ..QueueConfig::default() };
        let queues = self.most.iter().map(queue).collect();
        self.state = CommonState { queues, ..CommonState::default() };
    }

    /// Can a state be one of these registers'?
    pub fn fits(&self, state: &CommonState) -> bool {
        let agreed = state.status.contains(Status::FEATURES_OK);
        let ready = state.status.contains(Status::DRIVER_OK);
        state.queues.len() == self.most.len()
            && (!agreed || self.acceptable(state.features))
            && (!ready || agreed)
            && state.status.bits() & !(Status::DRIVERS | Status::NEEDS_RESET).bits() == 0
    }

    fn acceptable(&self, features: u64) -> bool {
        features & !self.offered == 0 && features & feature::VERSION_1 != 0
    }

    fn selected(&self) -> QueueConfig {
        // A queue that does not exist has size 0 (4.1.4.3.2).
        self.state.queues.get(usize::from(self.state.queue_select)).copied().unwrap_or_default()
    }

    /// A load, of any width anywhere.
    pub fn read(&self, offset: u64, width: Width, live: &Live<'_>) -> u64 {
        let half = |bits: u64, select: u32| match select {
            0 => bits as u32,
            1 => (bits >> 32) as u32,
            _ => 0,
        };
        let (state, queue) = (&self.state, self.selected());
        let mut bytes = [0; LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &state.device_feature_select.to_le_bytes());
        put(4, &half(self.offered, state.device_feature_select).to_le_bytes());
        put(8, &state.driver_feature_select.to_le_bytes());
        put(12, &half(state.features, state.driver_feature_select).to_le_bytes());
        put(16, &live.config_vector.to_le_bytes());
        put(18, &(self.most.len() as u16).to_le_bytes());
        put(20, &[live.status.bits(), live.generation]);
        put(22, &state.queue_select.to_le_bytes());
        put(24, &queue.size.to_le_bytes());
        put(26, &(live.vector)(state.queue_select).to_le_bytes());
        put(28, &u16::from(queue.enabled).to_le_bytes());
        put(30, &state.queue_select.to_le_bytes()); // where the queue is notified
        put(32, &queue.descriptors.to_le_bytes());
        put(40, &queue.available.to_le_bytes());
        put(48, &queue.used.to_le_bytes());
        let byte = |n: u64| bytes.get((offset + n) as usize).copied().unwrap_or(0);
        (0..width.bytes()).rev().fold(0, |value, n| value << 8 | u64::from(byte(n)))
    }

    /// A store. Each register takes its own width only, those of 64 bits also their halves (4.1.3.1).
    pub fn write(&mut self, offset: u64, width: Width, value: u64) -> Option<Event> {
        match (offset, width) {
            (0, Width::Dword) => self.state.device_feature_select = value as u32,
            (8, Width::Dword) => self.state.driver_feature_select = value as u32,
            (12, Width::Dword) => self.write_features(value as u32),
            (16, Width::Word) => return Some(Event::ConfigVector(value as u16)),
            (20, Width::Byte) => return self.write_status(Status::from_bits_truncate(value as u8)),
            (22, Width::Word) => self.state.queue_select = value as u16,
            (26, Width::Word) => return Some(Event::QueueVector(self.state.queue_select, value as u16)),
            (24 | 28, Width::Word) | (32..LEN64, Width::Dword | Width::Qword) => {
                self.write_queue(offset, width, value);
            }
            _ => {}
        }
        None
    }

    fn write_features(&mut self, value: u32) {
        let CommonState { features, status, driver_feature_select, .. } = &mut self.state;
        if status.contains(Status::FEATURES_OK) {
            return;
        }
        match *driver_feature_select {
            0 => *features = *features & !0xffff_ffff | u64::from(value),
            1 => *features = *features & 0xffff_ffff | u64::from(value) << 32,
            _ => {}
        }
    }

    fn write_status(&mut self, value: Status) -> Option<Event> {
        if value.is_empty() {
            self.reset();
            return Some(Event::Reset);
        }
        let mut new = value & (Status::DRIVERS - self.state.status);
        if new.contains(Status::FEATURES_OK) && !self.acceptable(self.state.features) {
            new -= Status::FEATURES_OK; // the driver reads it back and gives up (3.1.1)
        }
        let agreed = (self.state.status | new).contains(Status::FEATURES_OK);
        if !agreed {
            new -= Status::DRIVER_OK;
        }
        self.state.status |= new;
        new.contains(Status::DRIVER_OK).then_some(Event::Start)
    }

    fn write_queue(&mut self, offset: u64, width: Width, value: u64) {
        if self.state.status.contains(Status::DRIVER_OK) {
            return;
        }
        let Some(queue) = self.state.queues.get_mut(usize::from(self.state.queue_select)) else { return };
        let register = match offset {
            24 => return queue.size = value as u16,
            // Writing 0 is not for the driver (4.1.4.3.2).
            28 => return queue.enabled |= value == 1,
            32 | 36 => &mut queue.descriptors,
            40 | 44 => &mut queue.available,
            48 | 52 => &mut queue.used,
            _ => return,
        };
        *register = match (width, offset % 8) {
            (Width::Qword, 0) => value,
            (Width::Dword, 0) => *register & !0xffff_ffff | value & 0xffff_ffff,
            (Width::Dword, 4) => *register & 0xffff_ffff | value << 32,
            _ => return,
        };
    }
}

const LEN64: u64 = LEN as u64;
