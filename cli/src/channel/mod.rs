//! The channel to the guest's agent, shared by all who run commands in the guest.
//!
//! ```text
//!   a port of a virtio console ─┐                    ┌── Line: the command of `ringfence run`
//!   COM2 ───────────────────────┴─► Hub, on a thread ┼── Line: one of `ringfence exec`
//!                                                    └── …
//! ```
//!
//! The agent chooses the wire: it is the one on which it says Hello. The [`Hub`] knows nothing of commands but their
//! numbers and how much is under way; what is said on a [`Line`] is up to who has it. Nothing here grows without
//! bound, whatever the guest says: see [`route`].

mod hub;
mod port;
mod route;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use agent::{Reply, Request, SessionId};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use hub::Hub;

pub use hub::News;
pub use port::AgentPort;
pub use wire::Wire;

/// Requests under way to the hub.
const UNDER_WAY: usize = 64;

/// A hand on the channel. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct Channel {
    news: Sender<News>,
    requests: Sender<Request>,
    next: Arc<AtomicU32>,
    up: Arc<AtomicBool>,
}

/// One command's part of the channel. When it is dropped the command is hung up.
#[derive(Debug)]
pub struct Line {
    /// The command's number.
    pub id: SessionId,
    /// What the agent says of it. A Hello comes first, when the agent is there; another one means that all is lost, for the
    /// guest has started anew. Disconnected when the machine is gone.
    pub replies: Receiver<Reply>,
    /// What the agent shall hear. Full for a while when the guest does not read.
    pub requests: Sender<Request>,
    /// Hears of the end of it.
    pub news: Sender<News>,
}

impl Channel {
    /// Starts the hub's thread over these wires.
    ///
    /// # Errors
    /// Where the host gives no thread.
    pub fn start(wires: Vec<Wire>) -> io::Result<Self> {
        // There are as many as there are lines.
        let (news, coming) = unbounded();
        let (requests, incoming) = bounded(UNDER_WAY);
        let up = Arc::new(AtomicBool::new(false));
        let hub = Hub::new(wires.len(), Arc::clone(&up));
        thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || wire::carry(hub, wires, &coming, &incoming))?;
        Ok(Self { news, requests, next: Arc::new(AtomicU32::new(1)), up })
    }

    /// A line for one more command.
    pub fn open(&self) -> Line {
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, replies) = unbounded();
        // Where the hub is gone, so is the sender, and with it the line.
        let _ = self.news.send(News::Comes(id, sender));
        Line { id, replies, requests: self.requests.clone(), news: self.news.clone() }
    }

    /// The machine starts anew: all lines are dead, and the agent is waited for.
    pub fn restart(&self) {
        let _ = self.news.send(News::Restart);
    }

    /// Is the agent there?
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Asks the agent to turn the guest off, when it is there.
    pub fn power_off(&self) {
        let _ = self.news.send(News::PowerOff);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.news.send(News::Goes(self.id));
    }
}
