//! A disk in memory whose requests can be held back.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use base::Bell;
use ringfence_virtio::back::{Block, Completion, Facts, Failure, Op, Request, SECTOR};

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    held: Vec<Request>,
    /// Hold requests back instead of doing them.
    holds: bool,
    /// So many requests fit.
    room: usize,
    done: Vec<Completion>,
    log: Vec<(Op, u64, u64)>,
}

/// The disk, as the test sees it. Clones are the same disk.
#[derive(Clone)]
pub struct RamDisk {
    state: Arc<Mutex<State>>,
    bell: Arc<Bell>,
    pub facts: Facts,
}

impl RamDisk {
    pub fn new(sectors: u64) -> Self {
        let state =
            State { bytes: vec![0; (sectors * SECTOR) as usize], room: usize::MAX, ..State::default() };
        let facts = Facts { sectors, discard: true, write_zeroes: true, ..Facts::default() };
        Self { state: Arc::new(Mutex::new(state)), bell: Arc::new(Bell::new().unwrap()), facts }
    }

    /// From now on requests are held back, or not any longer.
    pub fn hold(&self, holds: bool) {
        let mut state = self.state.lock().unwrap();
        state.holds = holds;
        if !holds {
            let held = std::mem::take(&mut state.held);
            held.into_iter().for_each(|request| state.perform(request));
            self.bell.ring();
        }
    }

    /// Only so many requests fit at a time.
    pub fn limit(&self, room: usize) {
        self.state.lock().unwrap().room = room;
    }

    pub fn held(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    /// What was done, in order: operation, first sector, sectors.
    pub fn log(&self) -> Vec<(Op, u64, u64)> {
        self.state.lock().unwrap().log.clone()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().bytes.clone()
    }
}

impl State {
    fn perform(&mut self, request: Request) {
        let Request { tag, op, sector, sectors, data } = request;
        self.log.push((op, sector, sectors));
        let (from, to) = ((sector * SECTOR) as usize, ((sector + sectors) * SECTOR) as usize);
        let result = match (self.bytes.get_mut(from..to), op) {
            (None, _) => Err(Failure::Io),
            (Some(_), Op::Flush | Op::Discard) => Ok(()),
            (Some(bytes), Op::Read) => {
                assert_eq!(data.write(0, bytes), bytes.len());
                Ok(())
            }
            (Some(bytes), Op::Write) => {
                assert_eq!(data.read(0, bytes), bytes.len());
                Ok(())
            }
            (Some(bytes), Op::WriteZeroes { .. }) => {
                bytes.fill(0);
                Ok(())
            }
        };
        self.done.push(Completion { tag, result });
    }
}

impl Block for RamDisk {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let mut state = self.state.lock().unwrap();
        if state.held.len() + state.done.len() >= state.room {
            return Err(request);
        }
        if state.holds {
            state.held.push(request);
        } else {
            state.perform(request);
            self.bell.ring();
        }
        Ok(())
    }

    fn complete(&mut self, into: &mut Vec<Completion>) -> bool {
        self.bell.answer();
        into.append(&mut self.state.lock().unwrap().done);
        false
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
