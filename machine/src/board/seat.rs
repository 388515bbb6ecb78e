//! Where a pure chip sits: its lock, and the wires for its interrupt, its deadline and its requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Record, RestoreError, Saved, VirtualClock};
use engine::Width;

use super::alarm::AlarmClock;
use super::control::Control;
use super::line::Line;
use crate::bus::PortDevice;
use crate::chip::{Chip, Output};

/// Locks, whatever became of the thread that held the lock before: a chip is sound between two accesses.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every seat is wired to.
#[derive(Clone)]
pub struct Wiring {
    /// Virtual time.
    pub clock: Arc<VirtualClock>,
    /// Deadlines.
    pub alarm: Arc<AlarmClock>,
    /// Requests.
    pub control: Arc<Control>,
}

/// A chip in its seat.
pub struct Seat<C> {
    chip: Mutex<C>,
    wiring: Wiring,
    line: Option<Line>,
    slot: usize,
}

impl<C: Chip> Seat<C> {
    /// Seats a chip; `slot` is its own in the alarm clock.
    pub fn new(chip: C, wiring: &Wiring, slot: usize, line: Option<Line>) -> Self {
        Self { chip: Mutex::new(chip), wiring: wiring.clone(), line, slot }
    }

    /// Does something with the chip, and carries its outputs on.
    pub fn with<R>(&self, action: impl FnOnce(&mut C, u64) -> R) -> R {
        let mut chip = lock(&self.chip);
        let now = self.wiring.clock.now();
        chip.advance(now);
        let result = action(&mut chip, now);
        if let Some(line) = &self.line {
            line.set(chip.output());
        }
        self.wiring.alarm.set(self.slot, chip.deadline());
        let request = chip.request();
        drop(chip);
        if let Some(request) = request {
            self.wiring.control.ask(request);
        }
        result
    }

    /// Puts a chip as it is after reset.
    pub fn replace(&self, chip: C) {
        *lock(&self.chip) = chip;
        self.rewire();
    }

    /// Tells the line and the alarm clock anew what the chip's outputs are.
    fn rewire(&self) {
        let mut chip = lock(&self.chip);
        if let Some(line) = &self.line {
            line.resume(chip.output() != Output::Low);
        }
        self.wiring.alarm.set(self.slot, chip.deadline());
    }
}

/// A seat as the board sees it, whatever chip is in it.
pub trait Seated: Send + Sync {
    /// The deadline has come.
    fn expire(&self);
    /// The chip's state.
    fn save(&self) -> Record;
    /// Puts a state back.
    ///
    /// # Errors
    /// As [`Saved::restore_record`].
    fn restore(&self, record: &Record) -> Result<(), RestoreError>;
}

impl<C: Chip + Saved> Seated for Seat<C> {
    fn expire(&self) {
        self.with(|_, _| ());
    }

    fn save(&self) -> Record {
        lock(&self.chip).to_record()
    }

    fn restore(&self, record: &Record) -> Result<(), RestoreError> {
        lock(&self.chip).restore_record(record)?;
        self.rewire();
        Ok(())
    }
}

impl<C: Chip> PortDevice for Seat<C> {
    fn read(&self, offset: u16, _: Width) -> u32 {
        self.with(|chip, now| chip.read(offset, now)).into()
    }

    fn write(&self, offset: u16, _: Width, value: u32) {
        self.with(|chip, now| chip.write(offset, value as u8, now));
    }
}

/// One port of a chip whose ports lie apart: stands for this offset.
pub struct At<C>(pub Arc<Seat<C>>, pub u16);

impl<C: Chip> PortDevice for At<C> {
    fn read(&self, offset: u16, width: Width) -> u32 {
        self.0.read(self.1 + offset, width)
    }

    fn write(&self, offset: u16, width: Width, value: u32) {
        self.0.write(self.1 + offset, width, value);
    }
}
