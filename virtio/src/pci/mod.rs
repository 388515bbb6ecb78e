//! The PCI transport (4.1): a device on the bus, as drivers of virtio 1.x find it.
//!
//! ```text
//!   vCPU ── config space, BAR ──► registers ── start, reset ──┐
//!     └──── notify ──► a bit and a bell ──────────────────────┼──► the device's thread ──► front ──► back-end
//!   vCPU ◄── MSI-X or INTA ◄── interrupts ◄───────────────────┘
//! ```
//!
//! **Lock order**: configuration space, then registers, then the device, then its interrupts, then the
//! board's. A notification takes none of them.

mod common;
mod interrupts;
mod layout;
mod state;
mod worker;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use base::{Record, RestoreError, Saved};
use engine::Width;
use machine::pci::{ConfigSpace, MSIX_CONTROL, PciFunction, PciWiring, Plug, Window};

use crate::device::Device;
use crate::interrupt::Interrupt;
use crate::mistake::Mistake;
use crate::queue::Queue;
use crate::rings::{Rings, feature};
use common::{Common, CommonState, Event, Live, Status};
use interrupts::PciInterrupts;
use layout::{BAR, Group, NOTIFY_STEP, Places, config_space, group};
use worker::Shared;

/// Queues that a device can have: the bits of the word for notifications.
const MOST_QUEUES: usize = 64;
const COMMAND: u8 = 0x04;
const COMMAND_PIN_OFF: u32 = 1 << 10;
const PCI_STATUS: u8 = 0x06;
const PCI_STATUS_PENDING: u32 = 1 << 3;

/// A virtio device on the PCI bus.
pub struct VirtioPci {
    config: Mutex<ConfigSpace>,
    places: Places,
    registers: Mutex<Registers>,
    interrupts: Arc<PciInterrupts>,
    shared: Arc<Shared>,
    queues: u16,
    thread: Option<JoinHandle<()>>,
}

struct Registers {
    common: Common,
    /// What the status shows until a reset is done.
    last: Status,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VirtioPci {
    /// Puts a front on the bus. Its thread runs until it is dropped.
    ///
    /// # Errors
    /// Where the host has no descriptor or thread left.
    ///
    /// # Panics
    /// If the front wants more than 64 queues.
    pub fn new(device: Box<dyn Device>, wiring: PciWiring) -> io::Result<Self> {
        let most = device.queues();
        assert!(most.len() <= MOST_QUEUES, "{} has too many queues", device.name());
        let queues = most.len() as u16;
        let offered =
            device.features() | feature::VERSION_1 | feature::RING_INDIRECT_DESC | feature::RING_EVENT_IDX;
        let id = device.id();
        let interrupts = Arc::new(PciInterrupts::new(wiring, queues));
        let (config, places) = interrupts.with_msix(|msix| config_space(id, queues, msix));
        let shared = Arc::new(Shared::new(device, Arc::clone(&interrupts))?);
        let wakes = shared.wakes()?;
        let thread = std::thread::Builder::new().name(format!("virtio-{id:?}").to_lowercase()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&wakes)
        })?;
        Ok(Self {
            config: Mutex::new(config),
            places,
            registers: Mutex::new(Registers { common: Common::new(offered, most), last: Status::empty() }),
            interrupts,
            shared,
            queues,
            thread: Some(thread),
        })
    }

    /// The same, for [`machine::Wires::functions`].
    pub fn plug(device: impl Device + 'static) -> Plug {
        Box::new(move |wiring| Ok(Arc::new(Self::new(Box::new(device), wiring)?) as Arc<dyn PciFunction>))
    }

    /// What the command register and MSI-X's control register say now.
    fn obey(&self, config: &ConfigSpace) {
        let control = config.read(self.places.msix + MSIX_CONTROL as u8, Width::Word);
        let pin_off = config.read(COMMAND, Width::Word) & COMMAND_PIN_OFF != 0;
        self.interrupts.configure(control as u16, pin_off, config.is_master());
    }

    fn status(&self, registers: &Registers) -> Status {
        if self.shared.is_resetting() {
            return registers.last;
        }
        let mut status = registers.common.state.status;
        status.set(Status::NEEDS_RESET, self.shared.is_broken());
        status
    }

    fn read_common(&self, offset: u64, width: Width) -> u64 {
        let registers = lock(&self.registers);
        registers.common.read(
            offset,
            width,
            &Live {
                status: self.status(&registers),
                generation: self.interrupts.generation(),
                config_vector: self.interrupts.config_vector(),
                vector: &|queue| self.interrupts.vector(queue),
            },
        )
    }

    fn write_common(&self, offset: u64, width: Width, value: u64) {
        let mut registers = lock(&self.registers);
        if self.shared.is_resetting() {
            return; // the driver is to wait
        }
        let status = self.status(&registers);
        match registers.common.write(offset, width, value) {
            Some(Event::ConfigVector(vector)) => self.interrupts.set_config_vector(vector),
            Some(Event::QueueVector(queue, vector)) => self.interrupts.set_vector(queue, vector),
            Some(Event::Start) => self.shared.start(self.rings(&registers.common)),
            Some(Event::Reset) => {
                registers.last = status;
                self.shared.reset();
            }
            None => {}
        }
    }

    /// The queues as the driver has described them.
    fn rings(&self, common: &Common) -> Result<Rings, Mistake> {
        let CommonState { features, queues, .. } = &common.state;
        let has = |feature| features & feature != 0;
        let ring_features = (has(feature::RING_INDIRECT_DESC), has(feature::RING_EVENT_IDX));
        let interrupt: Arc<dyn Interrupt> = self.interrupts.clone();
        let memory = &self.interrupts.wiring().memory;
        let queue = |((number, config), most): ((u16, _), &u16)| {
            Queue::new(number, config, *most, ring_features, memory, &interrupt)
        };
        let queues = (0..).zip(queues).zip(common.most()).map(queue).collect::<Result<_, _>>()?;
        Ok(Rings::new(*features, queues, interrupt))
    }

    fn read_device(&self, offset: u64, width: Width) -> u64 {
        let bytes = self.shared.lock().device.config();
        let byte = |n: u64| bytes.get((offset + n) as usize).copied().unwrap_or(0);
        (0..width.bytes()).rev().fold(0, |value, n| value << 8 | u64::from(byte(n)))
    }

    fn write_device(&self, offset: u64, width: Width, value: u64) {
        let mut work = self.shared.lock();
        if offset + width.bytes() <= work.device.config().len() as u64 {
            work.device.write_config(offset as usize, &value.to_le_bytes()[..width.bytes() as usize]);
        }
    }

    fn read_group(&self, group: Group, offset: u64, width: Width) -> u64 {
        match group {
            Group::Common => self.read_common(offset, width),
            Group::InterruptStatus if offset == 0 => self.interrupts.take_status().into(),
            Group::Device => self.read_device(offset, width),
            Group::MsixTable => self.interrupts.with_msix(|msix| msix.read(offset, width)),
            Group::MsixPending => self.interrupts.with_msix(|msix| msix.read_pending(offset, width)),
            Group::Notify | Group::InterruptStatus => 0,
        }
    }

    /// What the window through configuration space shows (4.1.4.9): the offset, and the width if it is one.
    fn window(&self, config: &ConfigSpace) -> Option<(u64, Width)> {
        let at = self.places.window;
        let field = |offset: u8| config.read(at + offset, Width::Dword);
        let width = Width::from_bytes(field(12).into()).filter(|width| *width != Width::Qword)?;
        let offset = u64::from(field(8));
        let fits = field(4) as u8 == BAR && offset.is_multiple_of(width.bytes());
        fits.then_some((offset, width))
    }
}

impl PciFunction for VirtioPci {
    fn config_read(&self, register: u8, width: Width) -> u32 {
        let mut config = lock(&self.config);
        if self.places.is_window_data(register)
            && let Some((offset, window)) = self.window(&config)
        {
            drop(config);
            let value = self.read(BAR, offset, window) as u32;
            config = lock(&self.config);
            let data = (register & !3, Width::Dword);
            config.write(data.0, data.1, value);
        }
        let mut value = config.read(register, width);
        if register == PCI_STATUS && self.interrupts.is_pending() {
            value |= PCI_STATUS_PENDING;
        }
        value
    }

    fn config_write(&self, register: u8, width: Width, value: u32) {
        let mut config = lock(&self.config);
        let was_master = config.is_master();
        config.write(register, width, value);
        self.obey(&config);
        if config.is_master() != was_master {
            self.shared.set_master(!was_master);
            drop(config);
            self.shared.settle();
            return;
        }
        if self.places.is_window_data(register)
            && let Some((offset, window)) = self.window(&config)
        {
            let data = config.read(register & !3, Width::Dword);
            drop(config);
            self.write(BAR, offset, window, u64::from(data) & window.ones());
        }
    }

    fn windows(&self) -> Vec<Window> {
        lock(&self.config).windows()
    }

    fn read(&self, _: u8, offset: u64, width: Width) -> u64 {
        group(offset).map_or(0, |(group, offset)| self.read_group(group, offset, width))
    }

    fn write(&self, _: u8, offset: u64, width: Width, value: u64) {
        match group(offset) {
            Some((Group::Notify, offset)) => {
                let queue = offset / NOTIFY_STEP;
                if queue < u64::from(self.queues) {
                    self.shared.kick(queue as u16);
                }
            }
            Some((Group::Common, offset)) => self.write_common(offset, width, value),
            Some((Group::Device, offset)) => self.write_device(offset, width, value),
            Some((Group::MsixTable, offset)) => self.interrupts.write_table(offset, width, value),
            Some((Group::InterruptStatus | Group::MsixPending, _)) | None => {}
        }
    }

    fn stand(&self, standing: bool) {
        self.shared.stand(standing);
    }

    fn reset(&self) {
        self.shared.reset_and_wait();
        lock(&self.registers).common.reset();
        self.interrupts.reset();
        lock(&self.config).reset();
        self.shared.set_master(false);
    }

    fn save(&self) -> Record {
        Saved::to_record(&self)
    }

    fn restore(&self, record: &Record) -> Result<(), RestoreError> {
        Saved::restore_record(&mut { self }, record)
    }
}

impl Drop for VirtioPci {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; that it panicked has been said already.
            let _ = thread.join();
        }
        self.interrupts.reset(); // whoever comes into the slot next finds the pin at rest
    }
}

fn invalid(reason: &str) -> RestoreError {
    RestoreError::Invalid { kind: <&VirtioPci as Saved>::KIND, reason: reason.to_owned() }
}
