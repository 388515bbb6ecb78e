//! Those who watch the console from outside.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// Bytes of what was written last, for those who come.
const RECENT: usize = 16 << 10;
/// Pieces under way to one who watches. The guest does not wait for him.
const UNDER_WAY: usize = 256;

/// What one who watches gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tapped {
    /// The console wrote.
    Output(Vec<u8>),
    /// He was too slow: so many bytes are missing here.
    Lost(u64),
}

#[derive(Debug)]
struct Tap {
    watcher: Sender<Tapped>,
    lost: u64,
}

#[derive(Debug, Default)]
struct Inner {
    recent: VecDeque<u8>,
    taps: Vec<Tap>,
}

/// All of them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Taps(Arc<Mutex<Inner>>);

impl Taps {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One comes, and gets what was written last.
    pub fn open(&self) -> Receiver<Tapped> {
        let (watcher, tapped) = bounded(UNDER_WAY);
        let mut inner = self.inner();
        let recent: Vec<u8> = inner.recent.iter().copied().collect();
        if !recent.is_empty() {
            // It is the first, so there is room.
            let _ = watcher.try_send(Tapped::Output(recent));
        }
        inner.taps.push(Tap { watcher, lost: 0 });
        tapped
    }

    /// The console writes.
    pub fn write(&self, bytes: &[u8]) {
        let mut inner = self.inner();
        let Inner { recent, taps } = &mut *inner;
        let last = &bytes[bytes.len().saturating_sub(RECENT)..];
        recent.drain(..(recent.len() + last.len()).saturating_sub(RECENT));
        recent.extend(last);
        taps.retain_mut(|tap| tap.pass(bytes));
    }
}

impl Tap {
    /// False if nobody watches any more.
    fn pass(&mut self, bytes: &[u8]) -> bool {
        if self.lost > 0 {
            match self.watcher.try_send(Tapped::Lost(self.lost)) {
                Ok(()) => self.lost = 0,
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        let sent = match self.lost {
            0 => self.watcher.try_send(Tapped::Output(bytes.to_vec())),
            _ => Err(TrySendError::Full(Tapped::Lost(0))),
        };
        match sent {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost += bytes.len() as u64;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_gets_the_last_and_then_what_is_new() {
        let taps = Taps::default();
        taps.write(&vec![b'x'; 2 * RECENT]);
        taps.write(b"login: ");
        let tapped = taps.open();
        taps.write(b"root");
        let all: Vec<_> = tapped.try_iter().collect();
        let Tapped::Output(recent) = &all[0] else { panic!("{all:?}") };
        assert_eq!(recent.len(), RECENT);
        assert!(recent.ends_with(b"xlogin: "));
        assert_eq!(all[1..], [Tapped::Output(b"root".to_vec())]);
        drop(tapped);
        taps.write(b"!");
        assert!(taps.inner().taps.is_empty());
    }

    #[test]
    fn who_is_too_slow_is_told_what_is_missing() {
        let taps = Taps::default();
        let tapped = taps.open();
        for _ in 0..UNDER_WAY + 3 {
            taps.write(b"12345");
        }
        assert_eq!(tapped.try_iter().count(), UNDER_WAY);
        taps.write(b"again");
        let expected = [Tapped::Lost(15), Tapped::Output(b"again".to_vec())];
        assert_eq!(tapped.try_iter().collect::<Vec<_>>(), expected);
    }
}
