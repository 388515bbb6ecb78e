//! A device's interrupts: messages by MSI-X, or the INTA pin and the interrupt status register (4.1.4.5).

use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::{RestoreError, Saved};
use engine::Width;
use machine::pci::{MsiMessage, Msix, PciWiring};
use serde::{Deserialize, Serialize};

use crate::interrupt::Interrupt;

/// No vector.
const NO_VECTOR: u16 = 0xffff;
const STATUS_QUEUE: u8 = 1;
const STATUS_CONFIG: u8 = 2;

#[derive(Debug)]
struct Pins {
    msix: Msix,
    /// The interrupt status register.
    status: u8,
    /// The guest has switched the pin off.
    disabled: bool,
}

impl Pins {
    fn level(&self) -> bool {
        self.status != 0 && !self.disabled && !self.msix.enabled()
    }
}

/// The interrupts.
pub(super) struct PciInterrupts {
    wiring: PciWiring,
    pins: Mutex<Pins>,
    config_vector: AtomicU16,
    /// By queue.
    vectors: Box<[AtomicU16]>,
    /// Counts changes of the device configuration.
    generation: AtomicU8,
}

impl PciInterrupts {
    /// A vector for each queue and one for the configuration.
    pub fn new(wiring: PciWiring, queues: u16) -> Self {
        let msix = Msix::new(usize::from(queues) + 1);
        Self {
            wiring,
            pins: Mutex::new(Pins { msix, status: 0, disabled: false }),
            config_vector: AtomicU16::new(NO_VECTOR),
            vectors: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            generation: AtomicU8::new(0),
        }
    }

    pub fn wiring(&self) -> &PciWiring {
        &self.wiring
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the table; what becomes due is sent.
    pub fn with_msix<R>(&self, action: impl FnOnce(&mut Msix) -> R) -> R {
        action(&mut self.pins().msix)
    }

    /// A store to the table.
    pub fn write_table(&self, offset: u64, width: Width, value: u64) {
        let due = self.with_msix(|msix| msix.write(offset, width, value));
        due.into_iter().for_each(|message| self.wiring.send(message));
    }

    /// The guest has written MSI-X's control register, switched the pin on or off, or made the device a bus master or none.
    pub fn configure(&self, control: u16, disabled: bool, master: bool) {
        let mut pins = self.pins();
        pins.disabled = disabled;
        let due = pins.msix.set_control(control, master);
        self.wiring.set_pin(pins.level());
        drop(pins);
        due.into_iter().for_each(|message| self.wiring.send(message));
    }

    /// The interrupt status register is read: that answers the interrupt.
    pub fn take_status(&self) -> u8 {
        let mut pins = self.pins();
        let status = std::mem::take(&mut pins.status);
        self.wiring.set_pin(false);
        status
    }

    /// Does the device ask for an interrupt by its pin? (Bit 3 of the PCI status register.)
    pub fn is_pending(&self) -> bool {
        self.pins().status != 0
    }

    pub fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::Relaxed)
    }

    pub fn vector(&self, queue: u16) -> u16 {
        self.vectors.get(usize::from(queue)).map_or(NO_VECTOR, |vector| vector.load(Ordering::Relaxed))
    }

    /// A vector that the table has; any other is none, which is what the driver then reads (4.1.5.1.2.1).
    fn checked(&self, vector: u16) -> u16 {
        if usize::from(vector) <= self.vectors.len() { vector } else { NO_VECTOR }
    }

    pub fn set_config_vector(&self, vector: u16) {
        self.config_vector.store(self.checked(vector), Ordering::Relaxed);
    }

    pub fn set_vector(&self, queue: u16, vector: u16) {
        if let Some(of_queue) = self.vectors.get(usize::from(queue)) {
            of_queue.store(self.checked(vector), Ordering::Relaxed);
        }
    }

    pub fn generation(&self) -> u8 {
        self.generation.load(Ordering::SeqCst)
    }

    fn raise(&self, vector: u16, status: u8) {
        let mut pins = self.pins();
        let due: Option<MsiMessage> = if pins.msix.enabled() {
            pins.msix.raise(vector)
        } else {
            pins.status |= status;
            self.wiring.set_pin(pins.level());
            None
        };
        drop(pins);
        if let Some(message) = due {
            self.wiring.send(message);
        }
    }

    /// The driver has reset the device: no vectors, no interrupt. The table is PCI's and stays.
    pub fn reset_device(&self) {
        self.set_config_vector(NO_VECTOR);
        (0..self.vectors.len() as u16).for_each(|queue| self.set_vector(queue, NO_VECTOR));
        self.take_status();
    }

    /// The machine has been reset.
    pub fn reset(&self) {
        self.reset_device();
        let mut pins = self.pins();
        *pins = Pins { msix: Msix::new(self.vectors.len() + 1), status: 0, disabled: false };
        self.wiring.resume_pin(false);
    }
}

impl Interrupt for PciInterrupts {
    fn queue(&self, queue: u16) {
        self.raise(self.vector(queue), STATUS_QUEUE);
    }

    fn config(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.raise(self.config_vector(), STATUS_CONFIG);
    }
}

/// A device's interrupts at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InterruptsState {
    msix: Msix,
    status: u8,
    disabled: bool,
    config_vector: u16,
    vectors: Vec<u16>,
    generation: u8,
}

impl PciInterrupts {
    pub fn state(&self) -> InterruptsState {
        let Self { wiring: _, pins, config_vector: _, vectors, generation: _ } = self;
        let pins = pins.lock().unwrap_or_else(PoisonError::into_inner);
        let Pins { msix, status, disabled } = &*pins;
        InterruptsState {
            msix: msix.save(),
            status: *status,
            disabled: *disabled,
            config_vector: self.config_vector(),
            vectors: vectors.iter().map(|vector| vector.load(Ordering::Relaxed)).collect(),
            generation: self.generation(),
        }
    }

    /// Puts a state back.
    ///
    /// # Errors
    /// Where it cannot be; nothing is changed then.
    pub fn restore(&self, state: InterruptsState) -> Result<(), RestoreError> {
        let InterruptsState { msix, status, disabled, config_vector, vectors, generation } = state;
        let known = |vector: &u16| self.checked(*vector) == *vector;
        if vectors.len() != self.vectors.len() || !vectors.iter().chain([&config_vector]).all(known) {
            return Err(super::invalid("its interrupt vectors are another device's"));
        }
        let mut pins = self.pins();
        pins.msix.restore(msix)?;
        pins.status = status & (STATUS_QUEUE | STATUS_CONFIG);
        pins.disabled = disabled;
        self.wiring.resume_pin(pins.level());
        drop(pins);
        self.set_config_vector(config_vector);
        (0..).zip(vectors).for_each(|(queue, vector)| self.set_vector(queue, vector));
        self.generation.store(generation, Ordering::SeqCst);
        Ok(())
    }
}
