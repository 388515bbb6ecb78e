//! The messages on a console's control queues (5.3.6.2).

use std::collections::VecDeque;

use base::Buffer;
use serde::{Deserialize, Serialize};

use super::MOST_PORTS;
use crate::mistake::Mistake;
use crate::queue::Queue;

/// Messages that wait for the guest. A driver that asks for more is not heard until it has read some.
const MOST: usize = 8 * MOST_PORTS;
/// Bytes in a message, the name of a port included.
const MOST_BYTES: usize = 8 + super::port::MOST_NAME + 1;
/// Bytes of a message without a name.
const HEAD: usize = 8;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Event {
    DeviceReady = 0,
    PortAdd = 1,
    PortReady = 3,
    ConsolePort = 4,
    Resize = 5,
    PortOpen = 6,
    PortName = 7,
}

/// A message: port, event, value.
pub(super) fn message(port: usize, event: Event, value: u16) -> Vec<u8> {
    let mut bytes = (port as u32).to_le_bytes().to_vec();
    bytes.extend((event as u16).to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes
}

/// Reads one of the driver's; `None` for those that mean nothing here.
pub(super) fn parse(bytes: &Buffer) -> Option<(u32, Event, u16)> {
    let mut head = [0; HEAD];
    if bytes.read(0, &mut head) < HEAD {
        return None;
    }
    let [i0, i1, i2, i3, e0, e1, v0, v1] = head;
    let event = match u16::from_le_bytes([e0, e1]) {
        0 => Event::DeviceReady,
        3 => Event::PortReady,
        6 => Event::PortOpen,
        _ => return None,
    };
    Some((u32::from_le_bytes([i0, i1, i2, i3]), event, u16::from_le_bytes([v0, v1])))
}

/// The messages that wait for the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Control {
    messages: VecDeque<Vec<u8>>,
}

impl Control {
    pub fn is_full(&self) -> bool {
        self.messages.len() >= MOST
    }

    pub fn is_sound(&self) -> bool {
        // One round of news about each port may go beyond.
        self.messages.len() <= 2 * MOST && self.messages.iter().all(|message| message.len() <= MOST_BYTES)
    }

    pub fn tell(&mut self, messages: Vec<Vec<u8>>) {
        let room = (2 * MOST).saturating_sub(self.messages.len());
        self.messages.extend(messages.into_iter().take(room));
    }

    /// The driver is ready: these ports are there.
    pub fn announce(&mut self, ports: usize) {
        self.tell((0..ports).map(|port| message(port, Event::PortAdd, 0)).collect());
    }

    /// Sends what there is room for.
    pub fn send(&mut self, queue: &mut Queue) -> Result<(), Mistake> {
        while let Some(message) = self.messages.front() {
            if let Some(chain) = queue.pop()? {
                let len = chain.writable.write(0, message);
                queue.push(chain.head, len as u32)?;
                self.messages.pop_front();
            } else if !queue.listen()? {
                break;
            }
        }
        queue.signal()
    }
}
