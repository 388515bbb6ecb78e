//! What handlers write down.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

static LOG: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Adds a character; what does not fit is lost. Async-signal-safe.
pub fn note(character: u8) {
    if let Some(slot) = LOG.get(LENGTH.fetch_add(1, SeqCst)) {
        slot.store(character, SeqCst);
    }
}

/// Returns what was noted, and begins anew.
pub fn take() -> String {
    let length = LENGTH.swap(0, SeqCst).min(LOG.len());
    LOG[..length].iter().map(|slot| char::from(slot.load(SeqCst))).collect()
}
