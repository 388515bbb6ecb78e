//! The wires, and the thread that carries what is said.

use std::time::Duration;

use agent::Request;
use crossbeam_channel::{Receiver, Select, TryRecvError, never};

use super::hub::{Hub, News};

/// While so many bytes wait for the guest, nobody is heard who wants to say more.
const BACKLOG: usize = 64 << 10;
/// How often a guest that takes nothing is tried again.
const RETRY: Duration = Duration::from_millis(2);

/// Sends to the guest; gives how many bytes were taken, the first ones.
pub type ToGuest = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// A byte channel to the guest.
pub struct Wire {
    /// What the guest says. Disconnected when the machine is gone.
    pub from_guest: Receiver<Vec<u8>>,
    /// What it gets.
    pub to_guest: ToGuest,
    /// Tells that something was taken out of `from_guest`.
    pub taken: Box<dyn Fn() + Send>,
}

/// The hub's thread: until all wires are gone, or all who could say something.
pub fn carry(mut hub: Hub, mut wires: Vec<Wire>, news: &Receiver<News>, requests: &Receiver<Request>) {
    let mut gone = 0;
    while gone < wires.len() {
        if let Some((wire, bytes)) = hub.outgoing()
            && !bytes.is_empty()
        {
            let taken = (wires[wire].to_guest)(bytes).min(bytes.len());
            bytes.drain(..taken);
        }
        let mut select = Select::new();
        for wire in &wires {
            select.recv(&wire.from_guest);
        }
        let told = select.recv(news);
        if hub.backlog() < BACKLOG {
            select.recv(requests);
        }
        let ready = match hub.backlog() {
            0 => select.ready(),
            _ => match select.ready_timeout(RETRY) {
                Ok(ready) => ready,
                Err(_) => continue,
            },
        };
        drop(select);
        if ready == told {
            match news.try_recv() {
                Ok(news) => hub.learn(news),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
        } else if ready > told {
            match requests.try_recv() {
                Ok(request) => hub.pass_on(&request),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
        } else {
            match wires[ready].from_guest.try_recv() {
                Ok(bytes) => {
                    (wires[ready].taken)();
                    hub.hear(ready, &bytes);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    wires[ready].from_guest = never();
                    gone += 1;
                }
            }
        }
    }
}
