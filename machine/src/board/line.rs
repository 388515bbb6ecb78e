//! Interrupt lines: the levels on them, and a device's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::interrupts::Interrupts;
use crate::chip::{Output, PINS};

/// For each global system interrupt the devices that assert it, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wires([u32; PINS]);

impl Wires {
    /// One device's contribution changes; gives the level of the line.
    pub fn set(&mut self, gsi: u8, source: u32, asserted: bool) -> bool {
        let sources = &mut self.0[usize::from(gsi)];
        *sources = if asserted { *sources | source } else { *sources & !source };
        *sources != 0
    }

    /// The level at an input of the 8259s: 10 and 11 also get the lines from 16 up, in turn.
    pub fn reaches(&self, irq: u8) -> bool {
        let shares = |gsi: usize| matches!(irq, 10 | 11) && gsi % 2 == usize::from(irq % 2);
        self.0[usize::from(irq)] != 0 || (16..PINS).any(|gsi| shares(gsi) && self.0[gsi] != 0)
    }
}

impl Saved for Wires {
    type State = Self;
    const KIND: &'static str = "interrupt-lines";
    const VERSION: u16 = 1;

    fn save(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, state: Self) -> Result<(), RestoreError> {
        *self = state;
        Ok(())
    }
}

/// A device's wire to the interrupt controllers. Lines of several devices may share an input: it is
/// asserted while any of them is.
#[derive(Debug)]
pub struct Line {
    interrupts: Arc<Interrupts>,
    gsi: u8,
    /// The bit of this device among those on the input.
    source: u32,
    asserted: AtomicBool,
}

impl Line {
    pub(super) fn new(interrupts: Arc<Interrupts>, gsi: u8, source: u32) -> Self {
        Self { interrupts, gsi, source, asserted: AtomicBool::new(false) }
    }

    /// Sets the line. Call it under the lock of the device, so that levels arrive in order.
    pub fn set(&self, output: Output) {
        let asserted = output != Output::Low;
        if output == Output::Pulse && self.asserted.load(Ordering::Relaxed) {
            self.interrupts.set_line(self.gsi, self.source, false);
        } else if self.asserted.load(Ordering::Relaxed) == asserted {
            return;
        }
        self.asserted.store(asserted, Ordering::Relaxed);
        self.interrupts.set_line(self.gsi, self.source, asserted);
    }

    /// Sets what the line believes its level is, after the controllers were reset or restored.
    pub fn resume(&self, asserted: bool) {
        self.asserted.store(asserted, Ordering::Relaxed);
        self.interrupts.set_line(self.gsi, self.source, asserted);
    }
}
