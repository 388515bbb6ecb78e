//! A network whose other end is the test.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use base::{Bell, Buffer};
use ringfence_virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

#[derive(Default)]
struct State {
    sent: Vec<(Header, Vec<u8>)>,
    coming: VecDeque<(Header, Vec<u8>)>,
    full: bool,
    unplugged: bool,
    accepted: Offloads,
    dropped: usize,
}

/// The cable, as the test sees it. Clones are the same cable.
#[derive(Clone)]
pub struct Cable {
    state: Arc<Mutex<State>>,
    bell: Arc<Bell>,
    facts: NetFacts,
}

impl Cable {
    /// One that takes and leaves these offloads.
    pub fn new(offloads: Offloads) -> Self {
        let facts = NetFacts { mac: [2, 0, 0, 0, 0, 9], mtu: 1500, from_guest: offloads, to_guest: offloads };
        Self { state: Arc::default(), bell: Arc::new(Bell::new().unwrap()), facts }
    }

    /// Sends a frame to the guest.
    pub fn give(&self, header: Header, frame: &[u8]) {
        self.state.lock().unwrap().coming.push_back((header, frame.to_vec()));
        self.bell.ring();
    }

    /// What the guest has sent.
    pub fn sent(&self) -> Vec<(Header, Vec<u8>)> {
        self.state.lock().unwrap().sent.clone()
    }

    /// Frames on their way to the guest.
    pub fn coming(&self) -> usize {
        self.state.lock().unwrap().coming.len()
    }

    /// Frames that did not fit.
    pub fn dropped(&self) -> usize {
        self.state.lock().unwrap().dropped
    }

    /// No more fits, or it does again.
    pub fn fill(&self, full: bool) {
        self.state.lock().unwrap().full = full;
        self.bell.ring();
    }

    /// Pulls the plug, or puts it in.
    pub fn plug(&self, plugged: bool) {
        self.state.lock().unwrap().unplugged = !plugged;
        self.bell.ring();
    }

    /// What the guest takes.
    pub fn accepted(&self) -> Offloads {
        self.state.lock().unwrap().accepted
    }
}

impl Net for Cable {
    fn facts(&self) -> NetFacts {
        self.facts
    }

    fn accept(&mut self, to_guest: Offloads) {
        self.state.lock().unwrap().accepted = to_guest;
    }

    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent {
        let mut state = self.state.lock().unwrap();
        if state.full {
            return Sent::Full;
        }
        let mut bytes = vec![0; frame.len() as usize];
        frame.read(0, &mut bytes);
        state.sent.push((*header, bytes));
        Sent::Taken
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        self.bell.answer();
        let mut state = self.state.lock().unwrap();
        while let Some((header, frame)) = state.coming.pop_front() {
            if frame.len() as u64 <= into.len() {
                into.write(0, &frame);
                return Received::Frame(header, frame.len() as u64);
            }
            state.dropped += 1;
        }
        Received::Nothing
    }

    fn link(&self) -> bool {
        !self.state.lock().unwrap().unplugged
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
