//! PCI: one bus, reached by configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) and in
//! memory ([`Ecam`]).
//!
//! A function is whatever implements [`PciFunction`]: it owns its [`ConfigSpace`] and decodes its own BARs.
//! The bus keeps a table of what the BARs decode now, made anew after every write to a function's
//! configuration space, so that an access costs one look-up under a read lock.
//!
//! INTx pins reach the global system interrupts 16 to 19, as [`interrupt_of`] has it; the DSDT's `_PRT` says
//! the same. Message-signalled interrupts go through [`crate::board::Interrupts::message`].

mod assign;
mod config_space;
mod ecam;
mod host_bridge;
mod msix;
mod ports;
mod wiring;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use engine::Width;

pub use config_space::{Bar, ConfigSpace, Identity};
pub use ecam::{ECAM, ECAM_LEN, Ecam};
pub use host_bridge::HostBridge;
pub use msix::{MSIX_CAPABILITY, MSIX_CONTROL, MSIX_CONTROL_WRITABLE, MsiMessage, Msix};
pub use ports::{ConfigAddressPort, ConfigDataPort};
pub use wiring::{PciWiring, Plug};

/// A device and function number, 0 to 255: device × 8 + function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

impl Slot {
    /// A device's function.
    pub const fn new(device: u8, function: u8) -> Self {
        Self(device << 3 | function & 7)
    }

    /// The device number, 0 to 31.
    pub const fn device(self) -> u8 {
        self.0 >> 3
    }
}

/// The global system interrupt of a device's INTx pin (0 is INTA).
pub const fn interrupt_of(device: u8, pin: u8) -> u8 {
    16 + (device + pin) % 4
}

/// Which address space a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Ports.
    Port,
    /// Memory.
    Memory,
}

/// What one BAR decodes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The address space.
    pub space: Space,
    /// The first address.
    pub start: u64,
    /// Bytes; not zero.
    pub len: u64,
    /// The number of the BAR.
    pub bar: u8,
}

/// A function on the bus. Called by any vCPU's thread; it locks itself.
pub trait PciFunction: Send + Sync {
    /// A load from configuration space; `register` + width stays within an aligned doubleword.
    fn config_read(&self, register: u8, width: Width) -> u32;
    /// A store there.
    fn config_write(&self, register: u8, width: Width, value: u32);
    /// What the BARs decode, as command register and BARs stand.
    fn windows(&self) -> Vec<Window>;
    /// A load from a BAR's window; bits beyond `width` are ignored.
    fn read(&self, bar: u8, offset: u64, width: Width) -> u64;
    /// A store there.
    fn write(&self, bar: u8, offset: u64, width: Width, value: u64);
    /// The machine stands or goes on; it stands at first. When this returns from making it stand, nothing
    /// of the function changes by itself any more, nor guest memory by it.
    fn stand(&self, _standing: bool) {}
    /// As after reset.
    fn reset(&self);
    /// The state at rest.
    fn save(&self) -> base::Record;
    /// Puts a state back.
    ///
    /// # Errors
    /// As [`base::Saved::restore_record`].
    fn restore(&self, record: &base::Record) -> Result<(), base::RestoreError>;
}

type Function = Arc<dyn PciFunction>;

/// Bus 0.
#[derive(Default)]
pub struct PciBus {
    /// By slot.
    functions: RwLock<Vec<(Slot, Function)>>,
    windows: RwLock<Vec<(Window, Function)>>,
    /// The machine runs, and so do functions that are added.
    runs: Mutex<bool>,
    /// CF8h.
    address: Mutex<u32>,
}

const ENABLE: u32 = 1 << 31;

impl PciBus {
    /// Puts a function on the bus.
    ///
    /// # Panics
    /// If the slot is taken: the board's plan is wrong.
    pub fn add(&self, slot: Slot, function: Function) {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        function.stand(!*runs);
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        let at = functions.partition_point(|(taken, _)| *taken < slot);
        assert!(functions.get(at).is_none_or(|(taken, _)| *taken != slot), "two PCI functions in one slot");
        functions.insert(at, (slot, function));
        drop((functions, runs));
        self.remap();
    }

    /// Takes a function off the bus. It ends when it is dropped.
    pub fn remove(&self, slot: Slot) -> Option<Arc<dyn PciFunction>> {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        let at = functions.iter().position(|(taken, _)| *taken == slot)?;
        let (_, function) = functions.remove(at);
        drop(functions);
        self.remap();
        Some(function)
    }

    /// The lowest device number above 0 that nobody has.
    pub fn free_slot(&self) -> Option<Slot> {
        let slots = self.slots();
        (1..32).map(|device| Slot::new(device, 0)).find(|slot| !slots.contains(slot))
    }

    /// Who is on the bus, by slot.
    pub fn slots(&self) -> Vec<Slot> {
        self.functions().iter().map(|(slot, _)| *slot).collect()
    }

    fn functions(&self) -> Vec<(Slot, Function)> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn function(&self, slot: Slot) -> Option<Function> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.iter().find(|(at, _)| *at == slot).map(|(_, function)| Arc::clone(function))
    }

    /// Makes the table of windows anew.
    fn remap(&self) {
        let windows = self
            .functions()
            .iter()
            .flat_map(|(_, function)| {
                function.windows().into_iter().map(|window| (window, Arc::clone(function)))
            })
            .collect();
        *self.windows.write().unwrap_or_else(PoisonError::into_inner) = windows;
    }

    fn address(&self) -> u32 {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_address(&self, value: u32) {
        // Bits 24–30 and 0–1 are wired to zero.
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = value & 0x80ff_fffc;
    }

    /// The slot and register that CF8h points to.
    fn selected(&self) -> Option<(Slot, u8)> {
        let address = self.address();
        let here = address & ENABLE != 0 && address >> 16 & 0xff == 0;
        here.then_some((Slot((address >> 8) as u8), address as u8))
    }

    /// A load from a function's configuration space, within an aligned doubleword; all ones where there is
    /// none.
    pub fn config_read(&self, slot: Slot, register: u8, width: Width) -> u32 {
        self.function(slot).map_or(u32::MAX, |function| function.config_read(register, width))
    }

    /// A store there.
    pub fn config_write(&self, slot: Slot, register: u8, width: Width, value: u32) {
        if let Some(function) = self.function(slot) {
            function.config_write(register, width, value);
            self.remap();
        }
    }

    /// All functions stand, or go on.
    pub fn stand(&self, standing: bool) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = !standing;
        self.functions().iter().for_each(|(_, function)| function.stand(standing));
    }

    /// The window that holds a whole access, and the offset in it.
    fn window(&self, space: Space, at: u64, width: Width) -> Option<(Function, u8, u64)> {
        let windows = self.windows.read().unwrap_or_else(PoisonError::into_inner);
        windows.iter().find_map(|(window, function)| {
            let offset = at.checked_sub(window.start)?;
            let fits = window.space == space && offset < window.len && window.len - offset >= width.bytes();
            fits.then(|| (Arc::clone(function), window.bar, offset))
        })
    }

    /// A load from the window of some function's BAR; all ones where there is none.
    pub fn read(&self, space: Space, at: u64, width: Width) -> u64 {
        self.window(space, at, width)
            .map_or(u64::MAX, |(function, bar, offset)| function.read(bar, offset, width))
            & width.ones()
    }

    /// A store there.
    pub fn write(&self, space: Space, at: u64, width: Width, value: u64) {
        if let Some((function, bar, offset)) = self.window(space, at, width) {
            function.write(bar, offset, width, value);
        }
    }

    /// All functions as after reset.
    pub fn reset(&self) {
        self.set_address(0);
        for (_, function) in self.functions() {
            function.reset();
        }
        self.remap();
    }

    /// CF8h and the functions' states, by slot.
    pub fn save(&self) -> (u32, Vec<base::Record>) {
        (self.address(), self.functions().iter().map(|(_, function)| function.save()).collect())
    }

    /// Puts them back.
    ///
    /// # Errors
    /// If a function is missing or refuses.
    pub fn restore(&self, address: u32, records: &[base::Record]) -> Result<(), base::RestoreError> {
        let functions = self.functions();
        if records.len() != functions.len() {
            let reason = format!("{} PCI functions are saved, {} are here", records.len(), functions.len());
            return Err(base::RestoreError::Invalid { kind: "pci", reason });
        }
        for ((_, function), record) in functions.iter().zip(records) {
            function.restore(record)?;
        }
        self.set_address(address);
        self.remap();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
