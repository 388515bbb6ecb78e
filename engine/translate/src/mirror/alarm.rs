//! A clock that makes translated code come back after a while: a program in a shadow map is not asked for anything until then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Rings after a while. Setting it again while it runs costs a store.
pub(crate) struct Alarm {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    start: Instant,
}

struct Shared {
    /// When to ring, in nanoseconds since the start; zero for not at all.
    due: AtomicU64,
    ends: AtomicBool,
}

impl Alarm {
    /// A clock that calls `ring` on a thread of its own.
    pub fn new(ring: impl Fn() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { due: AtomicU64::new(0), ends: AtomicBool::new(false) });
        let (of_thread, start) = (Arc::clone(&shared), Instant::now());
        let body = move || {
            exact_sleep();
            of_thread.run(start, &ring);
        };
        let thread = thread::Builder::new().name("mirror-alarm".into()).spawn(body)?;
        Ok(Self { shared, thread: Some(thread), start })
    }

    /// Rings after so long, and not before.
    pub fn set(&self, after: Duration) {
        let due = (self.start.elapsed() + after).as_nanos() as u64;
        if self.shared.due.swap(due.max(1), Ordering::SeqCst) == 0
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, start: Instant, ring: &impl Fn()) {
        while !self.ends.load(Ordering::SeqCst) {
            let due = self.due.load(Ordering::SeqCst);
            let now = start.elapsed().as_nanos() as u64;
            if due == 0 {
                thread::park();
            } else if now < due {
                thread::park_timeout(Duration::from_nanos(due - now));
            } else if self.due.compare_exchange(due, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                ring();
            }
        }
    }
}

/// Linux lets a thread oversleep by fifty microseconds otherwise.
#[allow(unsafe_code)] // prctl
fn exact_sleep() {
    // SAFETY: a number, no pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn it_rings_once_for_each_time_it_ran_out() {
        let mut rounds = 0;
        while rounds < 3 {
            let rung = Arc::new(AtomicU32::new(0));
            let of_alarm = Arc::clone(&rung);
            let alarm = Alarm::new(move || {
                of_alarm.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
            let before = Instant::now();
            alarm.set(Duration::from_millis(5));
            alarm.set(Duration::from_millis(10));
            // A busy host may have let the first run out in between.
            let counts = before.elapsed() < Duration::from_millis(5);
            while rung.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            let took = before.elapsed();
            alarm.set(Duration::from_secs(1000));
            drop(alarm);
            if counts {
                assert!(took >= Duration::from_millis(10));
                assert_eq!(rung.load(Ordering::SeqCst), 1);
                rounds += 1;
            }
        }
    }
}
