//! An interface that may only do so much: a token bucket for each direction, before any back-end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use base::Buffer;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

use super::alarm::Alarm;
use crate::block::Limits;

/// The limit.
pub struct Limited {
    inner: Box<dyn Net>,
    from_guest: Limits,
    to_guest: Limits,
    began: Instant,
    /// What the device waits for: the inner wake, unless it is too early for it, and the alarm.
    wake: Epoll,
    alarm: Alarm,
    /// When a frame of the guest that was refused may be sent. What comes for the guest may answer the alarm first, and
    /// must set it again; not the other way round, since a device that has sent receives, too.
    refused: Option<Duration>,
    listening: bool,
}

impl Limited {
    /// Lets an interface send, and receive, so many bytes a second.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn new(inner: Box<dyn Net>, rate: u64) -> io::Result<Self> {
        let wake = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let alarm = Alarm::new()?;
        wake.add(inner.wake(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        wake.add(alarm.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let limit = Limits::new(None, Some(rate));
        Ok(Self {
            inner,
            from_guest: limit,
            to_guest: limit,
            began: Instant::now(),
            wake,
            alarm,
            refused: None,
            listening: true,
        })
    }

    /// Listens to the inner wake, or not.
    fn listen(&mut self, listening: bool) {
        if self.listening != listening {
            let events = if listening { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
            // It is in there, so nothing can fail; if it did, the old state would stay, and be tried again.
            if self.wake.modify(self.inner.wake(), &mut EpollEvent::new(events, 0)).is_ok() {
                self.listening = listening;
            }
        }
    }

    fn until(&mut self, early: Duration) {
        self.alarm.at(Some(self.began + early));
    }
}

impl Net for Limited {
    fn facts(&self) -> NetFacts {
        self.inner.facts()
    }

    fn accept(&mut self, to_guest: Offloads) {
        // The device begins anew: nobody waits to send.
        self.refused = None;
        self.inner.accept(to_guest);
    }

    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent {
        self.alarm.answer();
        let now = self.began.elapsed();
        // Asked first, paid for once it is sent: the back-end may be full, too.
        self.refused = self.from_guest.begin(now, 0).err();
        if let Some(early) = self.refused {
            self.until(early);
            return Sent::Full;
        }
        let sent = self.inner.send(header, frame);
        if sent == Sent::Taken {
            let _ = self.from_guest.begin(now, frame.len());
        }
        sent
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        self.alarm.answer();
        if let Some(early) = self.refused {
            self.until(early);
        }
        let now = self.began.elapsed();
        if let Err(early) = self.to_guest.begin(now, 0) {
            self.listen(false);
            self.until(early);
            return Received::Nothing;
        }
        self.listen(true);
        let received = self.inner.receive(into);
        if let Received::Frame(_, len) = received {
            let _ = self.to_guest.begin(now, len);
        }
        received
    }

    fn link(&self) -> bool {
        self.inner.link()
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{Echo, LONG, buffer, readable};

    #[test]
    fn both_directions_keep_the_rate_and_the_wake_says_when_to_go_on() {
        let (echo, _bell) = Echo::new();
        let mut limited = Limited::new(Box::new(echo), 1_000_000).unwrap();
        let frame = buffer(1000);
        let (mut sent, mut received) = (0u64, 0u64);
        let began = Instant::now();
        while sent.min(received) < 900_000 {
            while limited.send(&Header::default(), &frame) == Sent::Taken {
                sent += 1000;
                assert!(sent < 10_000_000);
            }
            while let Received::Frame(_, len) = limited.receive(&frame) {
                received += len;
            }
            assert!(readable(limited.wake(), LONG), "no news of when to go on");
        }
        // A burst is a tenth of a second's worth. A busy host may keep this thread waiting for longer than a burst lasts, and
        // what accrues meanwhile is lost: how long it may take is a matter of `Limit`'s tests.
        let most = (began.elapsed().as_secs_f64() * 1e6 + 102_000.0) as u64;
        for bytes in [sent, received] {
            assert!(bytes <= most, "{bytes}, at most {most}");
        }
    }

    #[test]
    fn to_receive_after_the_alarm_leaves_it_to_who_waits_to_send() {
        let (echo, _bell) = Echo::new();
        let mut limited = Limited::new(Box::new(echo), 100_000).unwrap();
        let frame = buffer(1000);
        while limited.send(&Header::default(), &frame) == Sent::Taken {}
        while limited.receive(&frame) != Received::Nothing {}
        std::thread::sleep(Duration::from_millis(50));
        // It went off; this hears it, and is no help to who sends.
        while limited.receive(&frame) != Received::Nothing {}
        assert!(readable(limited.wake(), LONG), "a frame waits forever");
        assert_eq!(limited.send(&Header::default(), &frame), Sent::Taken);
    }

    #[test]
    fn while_it_is_too_early_the_wake_is_silent() {
        let (echo, bell) = Echo::new();
        // The next may come in a quarter of an hour.
        let mut limited = Limited::new(Box::new(echo), 1).unwrap();
        let frame = buffer(1000);
        assert_eq!(limited.send(&Header::default(), &frame), Sent::Taken);
        assert_eq!(limited.receive(&frame), Received::Frame(Header::default(), 1000));
        bell.ring();
        assert_eq!(limited.receive(&frame), Received::Nothing);
        assert!(!readable(limited.wake(), 20));
    }
}
