//! What other threads want of a vCPU.
//!
//! A word of flags that the engine looks at between blocks, and a way to wake or interrupt the vCPU's
//! thread. The order is: record what is wanted (set the bit in the APIC's IRR, say), then
//! [`Attention::raise`]. The engine takes a flag down *before* it looks at what was recorded, so nothing is lost.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

bitflags::bitflags! {
    /// What is wanted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Signals: u32 {
        /// The local APIC may have an interrupt to deliver. The engine's to handle.
        const INTERRUPT = 1 << 0;
        /// A non-maskable interrupt. The engine's to handle.
        const NMI = 1 << 1;
        /// Leave [`run`](crate::Vcpu::run): pause, save, halt. The machine's to handle.
        const STOP = 1 << 2;
        /// INIT. The machine's to handle.
        const INIT = 1 << 3;
        /// A start-up IPI. The machine's to handle; the vector is with the APIC.
        const SIPI = 1 << 4;

        /// Those that make `run` return [`Exit::Signalled`](crate::Exit::Signalled).
        const MACHINE = Self::STOP.bits() | Self::INIT.bits() | Self::SIPI.bits();
    }
}

type Kick = Box<dyn Fn() + Send + Sync>;

/// One vCPU's flags and doorbell. Shared between its thread and all others.
#[derive(Default)]
pub struct Attention {
    flags: AtomicU32,
    asleep: Mutex<bool>,
    bell: Condvar,
    kick: Mutex<Option<Kick>>,
}

impl fmt::Debug for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attention({:?})", self.peek())
    }
}

impl Attention {
    /// Raises flags and wakes the vCPU's thread if it sleeps.
    pub fn raise(&self, signals: Signals) {
        let before = self.flags.fetch_or(signals.bits(), Ordering::SeqCst);
        if before & signals.bits() == signals.bits() {
            return; // already up, so already rung
        }
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        if *asleep {
            self.bell.notify_all();
        }
        drop(asleep);
        if let Some(kick) = &*self.kick.lock().unwrap_or_else(PoisonError::into_inner) {
            kick();
        }
    }

    /// Are any flags up? The engine's test between blocks.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.flags.load(Ordering::Relaxed) != 0
    }

    /// The flags as they are.
    #[inline]
    pub fn peek(&self) -> Signals {
        Signals::from_bits_truncate(self.flags.load(Ordering::SeqCst))
    }

    /// Takes these flags down and gives those of them that were up.
    #[inline]
    pub fn take(&self, signals: Signals) -> Signals {
        Signals::from_bits_truncate(self.flags.fetch_and(!signals.bits(), Ordering::SeqCst)) & signals
    }

    /// Sleeps until a flag is up, or for `limit`.
    pub fn sleep(&self, limit: Option<Duration>) {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep = true;
        let idle = |_: &mut bool| !self.any();
        let mut asleep = match limit {
            Some(limit) => {
                self.bell.wait_timeout_while(asleep, limit, idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.bell.wait_while(asleep, idle).unwrap_or_else(PoisonError::into_inner),
        };
        *asleep = false;
    }

    /// How to interrupt an engine that does not look at the flags by itself: called by `raise` on the
    /// raising thread.
    pub fn set_kick(&self, kick: Option<Kick>) {
        *self.kick.lock().unwrap_or_else(PoisonError::into_inner) = kick;
    }

    /// The word of flags, for code that an engine generates.
    pub fn word(&self) -> *const u32 {
        self.flags.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_sleeper_wakes_when_a_flag_goes_up() {
        let attention = Arc::new(Attention::default());
        let sleeper = std::thread::spawn({
            let attention = Arc::clone(&attention);
            move || {
                attention.sleep(None);
                attention.take(Signals::INTERRUPT | Signals::NMI)
            }
        });
        attention.raise(Signals::NMI | Signals::STOP);
        assert_eq!(sleeper.join().unwrap(), Signals::NMI);
        assert_eq!(attention.peek(), Signals::STOP, "what was not taken stays up");
    }

    #[test]
    fn a_sleep_ends_by_its_limit() {
        let attention = Attention::default();
        attention.sleep(Some(Duration::from_millis(1)));
        assert!(!attention.any());
    }
}
