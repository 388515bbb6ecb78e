//! A UART between the guest and the host's two ends of its line.
//!
//! Output is taken by a thread of its own, in pieces: it starts a moment after the first byte, so that a
//! burst costs the host a few writes and not one for each byte, and the guest's thread never waits for the
//! host's file. Input waits in a queue of bounded length, from which the receiver's FIFO is filled up as the
//! guest reads it.
//!
//! Lock order: the UART, then the queue.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use base::{Record, RestoreError};
use engine::Width;

use super::line::Line;
use super::seat::{Seat, Seated, Wiring, lock};
use crate::bus::PortDevice;
use crate::chip::Uart;

/// Input that waits for the guest.
const QUEUE: usize = 64 << 10;
/// How long the writer lets output gather.
const GATHER: Duration = Duration::from_micros(500);
/// Output at which it gathers no longer.
const ENOUGH: usize = 4 << 10;

#[derive(Debug, Default)]
struct Ends {
    input: VecDeque<u8>,
    /// Output waits to be written.
    written: bool,
    /// So much of it that it should go now.
    enough: bool,
    /// The machine is paused: input waits here, output in the UART.
    standing: bool,
    /// The machine has stopped: no more will come.
    closed: bool,
}

impl Ends {
    fn stands(&self) -> bool {
        self.standing && !self.closed
    }
}

/// A serial port.
pub struct Serial {
    seat: Seat<Uart>,
    ends: Mutex<Ends>,
    /// Rings for the writer.
    output: Condvar,
    /// Rings for whoever waits to send.
    room: Condvar,
    /// Does somebody take the output?
    connected: bool,
}

impl Serial {
    /// A port on this line. What a port that is not `connected` sends is lost.
    pub fn new(wiring: &Wiring, slot: usize, line: Line, connected: bool) -> Self {
        Self {
            seat: Seat::new(Uart::default(), wiring, slot, Some(line)),
            ends: Mutex::default(),
            output: Condvar::new(),
            room: Condvar::new(),
            connected,
        }
    }

    /// As after reset; input that waits is kept.
    pub fn reset(&self) {
        self.seat.with(|uart, _| {
            let mut fresh = Uart::default();
            fresh.keep_output_of(uart);
            *uart = fresh;
        });
    }

    /// The thread that takes the output: writes to `sink` until the port is closed and empty. A sink that
    /// fails is not asked again; the guest's output goes nowhere then.
    pub fn write_out(&self, sink: &mut dyn Write) {
        let mut bytes = Vec::new();
        let mut broken = false;
        loop {
            let closed = self.await_output();
            bytes.clear();
            self.seat.with(|uart, _| {
                if !lock(&self.ends).stands() {
                    uart.take_output(&mut bytes);
                }
            });
            if bytes.is_empty() && closed {
                return;
            }
            if !bytes.is_empty()
                && !broken
                && let Err(error) = sink.write_all(&bytes).and_then(|()| sink.flush())
            {
                tracing::warn!(%error, "the console's output cannot be written; the rest of it is lost");
                broken = true;
            }
        }
    }

    /// Waits for output and lets it gather. True when the port is closed.
    fn await_output(&self) -> bool {
        let ends = lock(&self.ends);
        let idle = |ends: &mut Ends| !ends.closed && (!ends.written || ends.standing);
        let ends = self.output.wait_while(ends, idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = |ends: &mut Ends| !ends.enough && !ends.closed;
        let waited = self.output.wait_timeout_while(ends, GATHER, gathering);
        let mut ends = waited.unwrap_or_else(PoisonError::into_inner).0;
        ends.written = false;
        ends.enough = false;
        ends.closed
    }

    /// Opens the port for another run.
    pub fn open(&self) {
        let mut ends = lock(&self.ends);
        ends.closed = false;
        ends.written = true; // a restored UART may hold output
    }

    /// The machine is paused, or goes on. Nothing changes the UART while it stands.
    pub fn stand(&self, standing: bool) {
        let mut ends = lock(&self.ends);
        ends.standing = standing;
        ends.written = true; // output may have waited
        drop(ends);
        self.output.notify_all();
        // Goes on with what waited; when it is to stand, this waits for who is at the UART just now.
        self.seat.with(|uart, now| self.refill(uart, now));
    }

    /// The machine has stopped.
    pub fn close(&self) {
        lock(&self.ends).closed = true;
        self.output.notify_all();
        self.room.notify_all();
    }

    /// Queues input. Gives how many bytes were taken.
    fn send(&self, bytes: &[u8]) -> usize {
        let mut ends = lock(&self.ends);
        let taken = bytes.len().min(QUEUE - ends.input.len());
        ends.input.extend(&bytes[..taken]);
        drop(ends);
        self.seat.with(|uart, now| self.refill(uart, now));
        taken
    }

    /// Fills the receiver's FIFO from the queue.
    fn refill(&self, uart: &mut Uart, now: u64) {
        let mut ends = lock(&self.ends);
        if ends.stands() {
            return;
        }
        let room = uart.room().min(ends.input.len());
        if room > 0 {
            let bytes: Vec<u8> = ends.input.drain(..room).collect();
            uart.receive(&bytes, now);
            self.room.notify_all();
        }
    }

    /// Tells the writer about output, if it must be told.
    fn announce(&self, uart: &mut Uart) {
        if !self.connected {
            uart.take_output(&mut Vec::new());
            return;
        }
        let waiting = uart.output_len();
        if waiting == 1 || waiting == ENOUGH {
            let mut ends = lock(&self.ends);
            ends.written = true;
            ends.enough = waiting >= ENOUGH;
            self.output.notify_all();
        }
    }
}

impl PortDevice for Serial {
    fn read(&self, offset: u16, _: Width) -> u32 {
        use crate::chip::Chip;
        self.seat.with(|uart, now| {
            let value = uart.read(offset, now);
            if offset == 0 {
                self.refill(uart, now);
            }
            value.into()
        })
    }

    fn write(&self, offset: u16, _: Width, value: u32) {
        use crate::chip::Chip;
        self.seat.with(|uart, now| {
            uart.write(offset, value as u8, now);
            match offset {
                0 => self.announce(uart),
                2 | 4 => self.refill(uart, now), // a FIFO was emptied, or the loop opened
                _ => {}
            }
        });
    }
}

impl Seated for Serial {
    fn expire(&self) {
        self.seat.expire();
    }

    fn save(&self) -> Record {
        self.seat.save()
    }

    fn restore(&self, record: &Record) -> Result<(), RestoreError> {
        self.seat.restore(record)?;
        self.open();
        self.output.notify_all();
        Ok(())
    }
}

/// The host's end of a serial port's receiver. Clones feed the same port.
#[derive(Clone)]
pub struct ConsoleInput(pub(crate) Arc<Serial>);

impl ConsoleInput {
    /// How many bytes [`send`](Self::send) would take now.
    pub fn room(&self) -> usize {
        QUEUE - lock(&self.0.ends).input.len()
    }

    /// Sends bytes to the guest without waiting. Gives how many were taken, the first ones.
    pub fn send(&self, bytes: &[u8]) -> usize {
        self.0.send(bytes)
    }

    /// Sends all bytes, waiting for the guest to read. False if the machine stopped before all were taken.
    pub fn send_all(&self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = self.send(bytes);
            bytes = &bytes[taken..];
            if !bytes.is_empty() {
                let ends = lock(&self.0.ends);
                let full = |ends: &mut Ends| ends.input.len() == QUEUE && !ends.closed;
                let ends = self.0.room.wait_while(ends, full).unwrap_or_else(PoisonError::into_inner);
                if ends.closed {
                    return false;
                }
            }
        }
        true
    }
}
