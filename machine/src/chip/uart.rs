//! The 16550A UART (National Semiconductor PC16550D data sheet).
//!
//! Our own rather than vm-superio's `Serial`, which ignores FCR (a guest can neither reset the FIFOs nor
//! set a trigger level, and IIR claims a FIFO before there is one), has no character time-out, reports no
//! modem-status change, and hands every byte to its writer by itself.
//!
//! The line has no speed: a byte written leaves at once for the `output` buffer, which the host empties in
//! pieces of any size. When the host does not, the buffer fills, the transmitter FIFO behind it fills, THRE
//! stays off, and the guest waits as on a line with flow control; nothing is lost and nothing grows without
//! bound. Input works the same way round: the host asks for `room` first.

use std::collections::VecDeque;

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::{Chip, Output, ensure};

/// Bytes of output kept for the host before the guest has to wait.
pub const OUTPUT_CAPACITY: usize = 64 << 10;
/// Bytes in each FIFO.
const FIFO: usize = 16;

const IER_RECEIVED: u8 = 1;
const IER_EMPTY: u8 = 2;
const IER_LINE: u8 = 4;
const IER_MODEM: u8 = 8;

const IIR_NONE: u8 = 1;
const IIR_MODEM: u8 = 0;
const IIR_EMPTY: u8 = 2;
const IIR_RECEIVED: u8 = 4;
const IIR_TIMEOUT: u8 = 0xc;
const IIR_LINE: u8 = 6;
const IIR_FIFO: u8 = 0xc0;

const LCR_BREAK: u8 = 1 << 6;
const LCR_DLAB: u8 = 1 << 7;

const MCR_OUT2: u8 = 1 << 3;
const MCR_LOOP: u8 = 1 << 4;

const LSR_READY: u8 = 1;
const LSR_OVERRUN: u8 = 2;
const LSR_BREAK: u8 = 1 << 4;
const LSR_ERRORS: u8 = 0x1e;
const LSR_EMPTY: u8 = 0x60;

/// The host is there and ready: CTS, DSR and DCD.
const MODEM_READY: u8 = 0xb0;

/// A UART.
#[derive(Clone, Debug)]
pub struct Uart {
    divisor: u16,
    ier: u8,
    lcr: u8,
    mcr: u8,
    /// Errors of LSR.
    errors: u8,
    /// MSR, with its change bits.
    msr: u8,
    scratch: u8,
    fifo_enabled: bool,
    /// Bytes at which the receiver interrupts.
    trigger: usize,
    /// “Transmitter empty” waits to be reported.
    empty_pending: bool,
    /// When a byte last came or went, for the character time-out.
    last_receive: u64,
    timed_out: bool,
    received: VecDeque<u8>,
    transmitter: VecDeque<u8>,
    output: VecDeque<u8>,
}

/// A UART at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `Uart`
pub struct UartState {
    pub divisor: u16,
    pub ier: u8,
    pub lcr: u8,
    pub mcr: u8,
    pub errors: u8,
    pub msr: u8,
    pub scratch: u8,
    pub fifo_enabled: bool,
    pub trigger: u8,
    pub empty_pending: bool,
    pub last_receive: u64,
    pub timed_out: bool,
    pub received: Vec<u8>,
    pub transmitter: Vec<u8>,
    pub output: Vec<u8>,
}

impl Default for Uart {
    fn default() -> Self {
        Self {
            divisor: 12, // 9600 baud
            ier: 0,
            lcr: 0,
            mcr: 0,
            errors: 0,
            msr: MODEM_READY,
            scratch: 0,
            fifo_enabled: false,
            trigger: 1,
            empty_pending: false,
            last_receive: 0,
            timed_out: false,
            received: VecDeque::new(),
            transmitter: VecDeque::new(),
            output: VecDeque::new(),
        }
    }
}

impl Uart {
    fn depth(&self) -> usize {
        if self.fifo_enabled { FIFO } else { 1 }
    }

    fn is_loop(&self) -> bool {
        self.mcr & MCR_LOOP != 0
    }

    /// How many bytes the receiver takes now.
    pub fn room(&self) -> usize {
        if self.is_loop() { 0 } else { self.depth() - self.received.len() }
    }

    /// Bytes from the host. Gives how many were taken: at most [`room`](Self::room).
    pub fn receive(&mut self, bytes: &[u8], now: u64) -> usize {
        let taken = bytes.len().min(self.room());
        if taken > 0 {
            self.received.extend(&bytes[..taken]);
            self.touch(now);
        }
        taken
    }

    /// Bytes that wait for the host.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Moves all output to `into`, also what waited in the transmitter.
    pub fn take_output(&mut self, into: &mut Vec<u8>) {
        into.extend(self.output.drain(..));
        if !self.transmitter.is_empty() {
            into.extend(self.transmitter.drain(..));
            self.empty_pending = true;
        }
    }

    /// Takes over what another UART has not handed to the host yet: a reset does not unsend.
    pub fn keep_output_of(&mut self, other: &mut Self) {
        self.output = std::mem::take(&mut other.output);
    }

    /// The receiver's time-out starts anew.
    fn touch(&mut self, now: u64) {
        self.last_receive = now;
        self.timed_out = false;
    }

    /// Four characters of line time, in nanoseconds.
    fn timeout(&self) -> u64 {
        let bits = u64::from(7 + (self.lcr & 3) + (self.lcr >> 2 & 1) + (self.lcr >> 3 & 1));
        (4 * bits * u64::from(self.divisor.max(1)) * 16 * 1_000_000_000 / 1_843_200).min(5_000_000)
    }

    fn transmit(&mut self, byte: u8, now: u64) {
        if self.is_loop() {
            if self.received.len() < self.depth() {
                self.received.push_back(byte);
                self.touch(now);
            } else {
                self.errors |= LSR_OVERRUN;
            }
            self.empty_pending = true;
        } else if self.output.len() < OUTPUT_CAPACITY && self.transmitter.is_empty() {
            self.output.push_back(byte);
            self.empty_pending = true;
        } else {
            self.empty_pending = false;
            if self.transmitter.len() < self.depth() {
                self.transmitter.push_back(byte);
            } // else the guest did not wait for THRE, and the byte is lost as in hardware
        }
    }

    fn line_status(&self) -> u8 {
        let empty = if self.transmitter.is_empty() { LSR_EMPTY } else { 0 };
        let ready = if self.received.is_empty() { 0 } else { LSR_READY };
        self.errors | empty | ready
    }

    /// The interrupt with the highest priority, as IIR has it.
    fn identification(&self) -> u8 {
        if self.ier & IER_LINE != 0 && self.errors != 0 {
            IIR_LINE
        } else if self.ier & IER_RECEIVED != 0 && self.received.len() >= self.trigger {
            IIR_RECEIVED
        } else if self.ier & IER_RECEIVED != 0 && self.timed_out && !self.received.is_empty() {
            IIR_TIMEOUT
        } else if self.ier & IER_EMPTY != 0 && self.empty_pending {
            IIR_EMPTY
        } else if self.ier & IER_MODEM != 0 && self.msr & 0xf != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    fn set_fifo_control(&mut self, value: u8) {
        let enabled = value & 1 != 0;
        if enabled != self.fifo_enabled || value & 2 != 0 {
            self.received.clear();
            self.timed_out = false;
        }
        if enabled != self.fifo_enabled || value & 4 != 0 {
            self.transmitter.clear();
            self.empty_pending = true;
        }
        self.fifo_enabled = enabled;
        self.trigger = if enabled { [1, 4, 8, 14][usize::from(value >> 6)] } else { 1 };
    }

    fn set_modem_control(&mut self, value: u8) {
        self.mcr = value & 0x1f;
        // In the loop RTS, DTR, OUT1 and OUT2 come back as CTS, DSR, RI and DCD.
        let lines = if self.is_loop() {
            (value & 2) << 3 | (value & 1) << 5 | (value & 4) << 4 | (value & 8) << 4
        } else {
            MODEM_READY
        };
        let before = self.msr;
        let changed = (before ^ lines) >> 4;
        let rang = changed & 4 & before >> 4; // RI counts when it ends
        self.msr = before & 0xf | changed & 0b1011 | rang | lines;
    }
}

impl Chip for Uart {
    fn read(&mut self, offset: u16, now: u64) -> u8 {
        let dlab = self.lcr & LCR_DLAB != 0;
        match offset {
            0 if dlab => self.divisor as u8,
            1 if dlab => (self.divisor >> 8) as u8,
            0 => {
                self.touch(now);
                self.received.pop_front().unwrap_or(0)
            }
            1 => self.ier,
            2 => {
                let identification = self.identification();
                if identification == IIR_EMPTY {
                    self.empty_pending = false;
                }
                identification | if self.fifo_enabled { IIR_FIFO } else { 0 }
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => {
                let status = self.line_status();
                self.errors = 0;
                status
            }
            6 => {
                let status = self.msr;
                self.msr &= 0xf0;
                status
            }
            _ => self.scratch,
        }
    }

    fn write(&mut self, offset: u16, value: u8, now: u64) {
        let dlab = self.lcr & LCR_DLAB != 0;
        match offset {
            0 if dlab => self.divisor = self.divisor & 0xff00 | u16::from(value),
            1 if dlab => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            0 => self.transmit(value, now),
            1 => {
                // Enabling “transmitter empty” while it is empty reports it.
                if value & !self.ier & IER_EMPTY != 0 && self.transmitter.is_empty() {
                    self.empty_pending = true;
                }
                self.ier = value & 0xf;
            }
            2 => self.set_fifo_control(value),
            3 => {
                if value & !self.lcr & LCR_BREAK != 0 && self.is_loop() {
                    self.errors |= LSR_BREAK;
                }
                self.lcr = value;
            }
            4 => self.set_modem_control(value),
            7 => self.scratch = value,
            _ => {} // LSR and MSR are for reading
        }
    }

    fn advance(&mut self, now: u64) {
        if !self.received.is_empty() && now >= self.last_receive.saturating_add(self.timeout()) {
            self.timed_out = true;
        }
    }

    fn deadline(&self) -> Option<u64> {
        let waits = self.fifo_enabled
            && !self.timed_out
            && self.ier & IER_RECEIVED != 0
            && (1..self.trigger).contains(&self.received.len());
        waits.then(|| self.last_receive.saturating_add(self.timeout()))
    }

    fn output(&mut self) -> Output {
        // OUT2 gates the line on a PC, and is off in the loop.
        let gated = self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2;
        (gated && self.identification() != IIR_NONE).into()
    }
}

impl Saved for Uart {
    type State = UartState;
    const KIND: &'static str = "16550a";
    const VERSION: u16 = 1;

    fn save(&self) -> UartState {
        let Self {
            divisor,
            ier,
            lcr,
            mcr,
            errors,
            msr,
            scratch,
            fifo_enabled,
            trigger,
            empty_pending,
            last_receive,
            timed_out,
            received,
            transmitter,
            output,
        } = self.clone();
        UartState {
            divisor,
            ier,
            lcr,
            mcr,
            errors,
            msr,
            scratch,
            fifo_enabled,
            trigger: trigger as u8,
            empty_pending,
            last_receive,
            timed_out,
            received: received.into(),
            transmitter: transmitter.into(),
            output: output.into(),
        }
    }

    fn restore(&mut self, state: UartState) -> Result<(), RestoreError> {
        let UartState {
            divisor,
            ier,
            lcr,
            mcr,
            errors,
            msr,
            scratch,
            fifo_enabled,
            trigger,
            empty_pending,
            last_receive,
            timed_out,
            received,
            transmitter,
            output,
        } = state;
        ensure::<Self>(ier & !0xf == 0 && mcr & !0x1f == 0 && errors & !LSR_ERRORS == 0, "a reserved bit")?;
        let depth = if fifo_enabled { FIFO } else { 1 };
        ensure::<Self>(received.len() <= depth && transmitter.len() <= depth, "a FIFO is too full")?;
        ensure::<Self>(output.len() <= OUTPUT_CAPACITY, "the output is too long")?;
        ensure::<Self>(
            matches!(trigger, 1 | 4 | 8 | 14) && (fifo_enabled || trigger == 1),
            "the trigger level",
        )?;
        *self = Self {
            divisor,
            ier,
            lcr,
            mcr,
            errors,
            msr,
            scratch,
            fifo_enabled,
            trigger: trigger.into(),
            empty_pending,
            last_receive,
            timed_out,
            received: received.into(),
            transmitter: transmitter.into(),
            output: output.into(),
        };
        Ok(())
    }
}

#[cfg(test)]
#[path = "uart_tests.rs"]
mod tests;
