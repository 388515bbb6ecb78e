//! Where other threads meet a vCPU: what they want of it before it goes on in translated code.
//!
//! Translated code asks nobody, so whoever wants something of it makes its poll fault (`emit/block.rs`) and,
//! where it may not go on before, waits until the vCPU has left. Everything is private to a vCPU (its maps, its
//! blocks, its frame), and only its own thread changes them; others leave *orders*, which the vCPU carries out
//! before it enters translated code again.
//!
//! ```text
//!   vCPU                                      another thread
//!   carries out its orders                    leaves an order
//!   poll ← calm                               wanted ← true              (a full fence)
//!   inside ← true            (a full fence)   inside?  no: the vCPU will find the order
//!   wanted? attention?  yes: inside ← false             yes: poll ← nowhere, and to be sure
//!          │ no              and all over               waits until it is not inside, or not wanted any more
//!   … translated code …
//!   inside ← false
//! ```
//!
//! Each side stores, fences, then looks at the other's word, so that at least one sees the other. `wanted` is taken back by
//! the vCPU alone, when it is not inside, just before it takes the orders.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::Runner;

use crate::frame::Frame;
use crate::map::NOWHERE;
use crate::mirror::tracee::Kick;

/// The most pages kept in a list of orders; beyond that the order is for all.
const MOST: usize = 512;

/// Looks that are cheap, before a waiting thread lets others have the processor.
const SPINS: u32 = 2000;

/// The orders left since the last look.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Pages that may not be written without asking.
    pub forbidden: Pages,
    /// Pages whose code was written.
    pub stale: Pages,
}

/// Some pages by number, or all.
#[derive(Debug)]
pub(crate) enum Pages {
    Some(Vec<usize>),
    All,
}

impl Default for Pages {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Pages {
    fn add(&mut self, page: usize) {
        if let Self::Some(pages) = self {
            if pages.len() < MOST {
                pages.push(page);
            } else {
                *self = Self::All;
            }
        }
    }
}

/// A vCPU's station.
pub(crate) struct Station {
    /// The vCPU is in translated code, or about to enter it.
    inside: AtomicBool,
    /// There are orders.
    wanted: AtomicBool,
    orders: Mutex<Orders>,
    poll: PollSwitch,
    /// The mirror that the vCPU is in, which does not poll.
    mirror: Mutex<Option<Kick>>,
}

impl Station {
    /// For the vCPU with this frame, which outlives the station's last use: the vCPU leaves the watch's list, and takes its
    /// kick back, before it goes.
    pub fn new(frame: *mut Frame) -> Self {
        Self {
            inside: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            orders: Mutex::default(),
            poll: PollSwitch(frame),
            mirror: Mutex::default(),
        }
    }

    /// About to enter translated code, unless somebody wants something (`attention` looks whether it is the
    /// machine): then false, and the vCPU is not inside.
    pub fn enter(&self, attention: impl Fn() -> bool) -> bool {
        self.poll.calm();
        self.inside.swap(true, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) || attention() {
            self.inside.store(false, Ordering::Release);
            return false;
        }
        true
    }

    /// The same, for code in a mirror.
    pub fn enter_mirror(&self, kick: Kick, attention: impl Fn() -> bool) -> bool {
        *self.mirror() = Some(kick);
        let entered = self.enter(attention);
        if !entered {
            *self.mirror() = None;
        }
        entered
    }

    /// A mirror was left.
    pub fn leave_mirror(&self) {
        self.leave();
        *self.mirror() = None;
    }

    /// Translated code was left.
    pub fn leave(&self) {
        self.inside.store(false, Ordering::Release);
    }

    /// Takes the orders, if there are any.
    pub fn take(&self) -> Option<Orders> {
        if !self.wanted.load(Ordering::Relaxed) {
            return None;
        }
        self.wanted.store(false, Ordering::SeqCst);
        Some(std::mem::take(&mut *self.orders()))
    }

    /// Makes translated code leave at its next block.
    pub fn alarm(&self) {
        self.poll.alarm();
        if let Some(kick) = *self.mirror() {
            kick.kick();
        }
    }

    fn mirror(&self) -> MutexGuard<'_, Option<Kick>> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, add: impl FnOnce(&mut Orders)) {
        add(&mut self.orders());
        self.wanted.swap(true, Ordering::SeqCst);
        if self.inside.load(Ordering::SeqCst) {
            self.alarm();
        }
    }
}

impl Runner for Station {
    fn forbid(&self, page: usize) {
        self.order(|orders| orders.forbidden.add(page));
    }

    fn forbid_all(&self) {
        self.order(|orders| orders.forbidden = Pages::All);
    }

    fn stale(&self, page: usize) {
        self.order(|orders| orders.stale.add(page));
    }

    fn settle(&self) {
        let mut looks = 0;
        // Alarmed it is already, by the order.
        while self.inside.load(Ordering::SeqCst) && self.wanted.load(Ordering::SeqCst) {
            looks += 1;
            if looks < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Makes the poll of translated code fault or not.
struct PollSwitch(*mut Frame);

// SAFETY: only the one field is touched, by single stores.
#[allow(unsafe_code)]
unsafe impl Send for PollSwitch {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for PollSwitch {}

impl PollSwitch {
    #[allow(unsafe_code)] // a word of the frame that other threads write
    fn set(&self, value: u64) {
        // SAFETY: the frame outlives the switch's last use (see `Station::new`).
        unsafe { (&raw mut (*self.0).poll).write_volatile(value) };
    }

    fn alarm(&self) {
        self.set(NOWHERE);
    }

    #[allow(unsafe_code)] // a word of the frame that other threads write
    fn calm(&self) {
        // SAFETY: as above.
        self.set(unsafe { (&raw const (*self.0).calm.0).read_volatile() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FramePage;
    use std::time::Duration;

    #[test]
    fn an_order_keeps_out_who_is_out_and_is_waited_for_where_one_is_in() {
        let mut frame = FramePage::new().unwrap();
        frame.frame().calm = crate::frame::Line(1);
        let station = Station::new(frame.address());
        assert!(station.enter(|| false));
        std::thread::scope(|scope| {
            station.forbid(7);
            let waiter = scope.spawn(|| station.settle());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiter.is_finished(), "the vCPU is still inside");
            station.leave();
        });
        assert_eq!(frame.frame().poll, NOWHERE);
        assert!(!station.enter(|| false), "the order is not carried out");
        station.settle(); // at once: it is outside
        let orders = station.take().unwrap();
        assert!(matches!(orders.forbidden, Pages::Some(pages) if pages == [7]));
        assert!(!station.enter(|| true), "the machine wants attention");
        assert!(station.enter(|| false));
        assert_eq!(frame.frame().poll, 1);
        station.settle(); // at once: it entered after it had obeyed
        assert!(station.take().is_none());
    }

    #[test]
    fn orders_do_not_grow_without_bound() {
        let mut frame = FramePage::new().unwrap();
        let station = Station::new(frame.frame());
        (0..=MOST).for_each(|page| station.stale(page));
        station.forbid_all();
        station.forbid(3);
        let orders = station.take().unwrap();
        assert!(matches!((orders.stale, orders.forbidden), (Pages::All, Pages::All)));
    }
}
