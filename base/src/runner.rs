//! Those who run code made from guest memory, and write guest memory, without asking the
//! [watch](crate::Watch) at each step: the vCPUs of an engine that keeps maps and translations of its own.
//!
//! Two things can go wrong between CPUs, and for both the watch turns to the runners.
//!
//! *Somebody caches code of a page that a runner may write.* The runner announces each page by
//! [`Watch::grant`](crate::Watch::grant) before it enters it into a map; whoever caches code puts the page under
//! watch first and then looks who may write it. One of the two sees the other, since both orders are
//! sequentially consistent: either the runner finds the page under watch and is not granted it, or it is found, told
//! to [`forbid`](Runner::forbid) the page, and waited for ([`Runner::settle`]). Only then are the bytes read, so
//! every store that went unseen lies before them, and every later one is seen.
//!
//! ```text
//!   runner                                who caches code
//!   announces page P                      puts P under watch
//!   is P under watch?  yes: not granted   who announced P?  runner: forbid(P), settle()
//!          │ no                                  │            (it has left translated code, and will take P
//!   enters P into its map                        │             from its maps before it goes back)
//!   stores to P, unseen                   reads the bytes
//! ```
//!
//! *Somebody writes code that a runner has cached.* The runner is told by [`stale`](Runner::stale), before the
//! writer's next store: so a CPU that sees what the writer stored afterwards has been told as well, and leaves its
//! old code at the next block, at the latest before an instruction that serialises.

use std::fmt;

/// A vCPU that writes memory and runs cached code by itself. All methods may be called on any thread, by one caller at a
/// time, and do not call the watch back.
pub trait Runner: Send + Sync {
    /// The runner may no longer write this page (by number) without asking; it takes it from its maps before it
    /// next runs translated code. Does not wait.
    fn forbid(&self, page: usize);

    /// The same for all pages.
    fn forbid_all(&self);

    /// Code of this page that the runner has cached was written: it drops that before it next
    /// enters a block. Does not wait.
    fn stale(&self, page: usize);

    /// Waits until the runner is not in translated code, or has entered it after it had obeyed.
    fn settle(&self);
}

/// A runner's place in the records of the watch.
#[derive(Debug)]
pub struct Enlisted {
    pub(crate) number: u64,
}

impl Enlisted {
    /// Runners share eight bits: those of a machine with more vCPUs are asked together.
    pub(crate) fn bit(&self) -> u8 {
        1 << (self.number % 8)
    }
}

/// The list of them.
#[derive(Default)]
pub(crate) struct Runners {
    list: Vec<(Enlisted, std::sync::Arc<dyn Runner>)>,
    next: u64,
}

impl Runners {
    pub fn enlist(&mut self, runner: std::sync::Arc<dyn Runner>) -> Enlisted {
        let number = self.next;
        self.next += 1;
        self.list.push((Enlisted { number }, runner));
        Enlisted { number }
    }

    pub fn dismiss(&mut self, who: &Enlisted) {
        self.list.retain(|(enlisted, _)| enlisted.number != who.number);
    }

    /// Those that `bits` may stand for.
    pub fn of(&self, bits: u8) -> impl Iterator<Item = &dyn Runner> {
        self.list.iter().filter(move |(enlisted, _)| enlisted.bit() & bits != 0).map(|(_, runner)| &**runner)
    }
}

impl fmt::Debug for Runners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runners({})", self.list.len())
    }
}
