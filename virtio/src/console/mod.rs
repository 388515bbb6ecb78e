//! A console with several ports (5.3): terminals, and channels between programs in the guest and on the host.
//!
//! ```text
//!   queues   0 1   2 3       4 5      6 7
//!            port  control   port 1   port 2 …      first to the guest, then from it
//! ```
//!
//! A driver that has not agreed on several ports has the first one only, and no control queues.
//!
//! Nothing here holds a chain of descriptors between two calls: output that the back-end does not take stays in the ring,
//! and [`Port`] remembers how much of it is done.

mod control;
mod port;

use std::os::fd::BorrowedFd;

use base::{Record, RestoreError, Saved};
use serde::{Deserialize, Serialize};

use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress};
use crate::rings::Rings;
use control::{Control, Event};
pub use port::Port;
use port::PortState;

const SIZE: u64 = 1 << 0;
const MULTIPORT: u64 = 1 << 1;
const EMERGENCY_WRITE: u64 = 1 << 2;

const QUEUE_SIZE: u16 = 128;
const CONTROL_IN: u16 = 2;
const CONTROL_OUT: u16 = 3;
/// Ports that a console can have: two queues each, and 64 in all.
pub const MOST_PORTS: usize = 31;
/// Where in the configuration the byte to be written at once goes.
const EMERGENCY: usize = 8;

/// The front.
pub struct Console {
    ports: Vec<Port>,
    control: Control,
}

/// The queue to the guest; the one from it follows.
fn queue_of(port: usize) -> u16 {
    if port == 0 { 0 } else { 2 + 2 * port as u16 }
}

impl Console {
    /// A console with these ports.
    ///
    /// # Panics
    /// With none, or more than [`MOST_PORTS`].
    pub fn new(ports: Vec<Port>) -> Self {
        assert!((1..=MOST_PORTS).contains(&ports.len()), "no console has {} ports", ports.len());
        Self { ports, control: Control::default() }
    }

    /// Looks at everything that may have changed, on either side.
    fn turn(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let multiport = rings.has(MULTIPORT);
        let mut progress = if multiport { self.hear(rings)? } else { Progress::Done };
        let ports = if multiport { self.ports.len() } else { 1 };
        for number in 0..ports {
            let port = &mut self.ports[number];
            if port.look() {
                if number == 0 && !multiport {
                    rings.config_changed();
                }
                self.control.tell(port.news(number));
            }
            let queue = queue_of(number);
            if port.send(rings.queue(queue + 1))? == Progress::More
                || port.receive(rings.queue(queue), multiport)? == Progress::More
            {
                progress = Progress::More;
            }
        }
        if multiport {
            let was_full = self.control.is_full();
            self.control.send(rings.queue(CONTROL_IN))?;
            if was_full && !self.control.is_full() {
                progress = Progress::More;
            }
        }
        Ok(progress)
    }

    /// Reads the driver's control messages.
    fn hear(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let Self { ports, control } = self;
        let queue = rings.queue(CONTROL_OUT);
        let progress = queue.each(|queue, chain| {
            if control.is_full() {
                return Ok(Fate::Full);
            }
            if let Some((id, event, value)) = control::parse(&chain.readable) {
                match event {
                    Event::DeviceReady if value == 1 => control.announce(ports.len()),
                    Event::PortReady if value == 1 => {
                        if let Some(port) = ports.get_mut(id as usize) {
                            control.tell(port.introduce(id as usize));
                        }
                    }
                    Event::PortOpen => {
                        if let Some(port) = ports.get_mut(id as usize) {
                            port.opened(value != 0);
                        }
                    }
                    _ => {}
                }
            }
            queue.push(chain.head, 0)?;
            Ok(Fate::Taken)
        })?;
        queue.signal()?;
        Ok(progress)
    }
}

impl Device for Console {
    fn id(&self) -> DeviceId {
        DeviceId::Console
    }

    fn name(&self) -> String {
        "the console".to_owned()
    }

    fn features(&self) -> u64 {
        SIZE | MULTIPORT | EMERGENCY_WRITE
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2 + 2 * self.ports.len()]
    }

    fn config(&self) -> Vec<u8> {
        let (columns, rows) = self.ports[0].size().unwrap_or((0, 0));
        let mut bytes = [columns.to_le_bytes(), rows.to_le_bytes()].concat();
        bytes.extend((self.ports.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        if offset == EMERGENCY
            && let [byte, ..] = bytes
        {
            self.ports[0].write_at_once(*byte);
        }
    }

    fn kick(&mut self, rings: &mut Rings, _: u16) -> Result<Progress, Mistake> {
        self.turn(rings)
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        self.ports.iter().map(Port::wake).collect()
    }

    fn woken(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        self.ports.iter_mut().for_each(Port::answer);
        self.turn(rings)
    }

    fn reset(&mut self) {
        self.ports.iter_mut().for_each(Port::reset);
        self.control = Control::default();
    }

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

/// A console at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleState {
    ports: Vec<PortState>,
    control: Control,
}

impl Saved for Console {
    type State = ConsoleState;
    const KIND: &'static str = "virtio-console";
    const VERSION: u16 = 1;

    fn save(&self) -> ConsoleState {
        let Self { ports, control } = self;
        ConsoleState { ports: ports.iter().map(Port::state).collect(), control: control.clone() }
    }

    fn restore(&mut self, state: ConsoleState) -> Result<(), RestoreError> {
        let ConsoleState { ports, control } = state;
        if ports.len() != self.ports.len() || !control.is_sound() {
            let reason = "it has other ports, or too many messages".to_owned();
            return Err(RestoreError::Invalid { kind: Self::KIND, reason });
        }
        self.ports.iter_mut().zip(ports).for_each(|(port, state)| port.resume(state));
        self.control = control;
        Ok(())
    }
}
