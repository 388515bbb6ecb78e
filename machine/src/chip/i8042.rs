//! The 8042 keyboard controller, ports 60h and 64h, with nothing plugged in (IBM PS/2 Hardware Interface
//! Technical Reference, keyboard and auxiliary device controller).
//!
//! It passes its self-test, has one port and no auxiliary one, drives A20 (which the machine keeps open) and
//! the reset line. A byte for the keyboard is answered by what the controller itself says when no keyboard
//! acknowledges: FEh with the time-out bit, at once, so that a driver need not wait.

use std::collections::VecDeque;

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::{Chip, Output, Request, ensure};

const STATUS_FULL: u8 = 1 << 0;
const STATUS_SYSTEM: u8 = 1 << 2;
const STATUS_COMMAND: u8 = 1 << 3;
const STATUS_UNLOCKED: u8 = 1 << 4;
const STATUS_TIMEOUT: u8 = 1 << 6;

const CONFIG_INTERRUPT: u8 = 1 << 0;
const CONFIG_SYSTEM: u8 = 1 << 2;
const CONFIG_DISABLED: u8 = 1 << 4;
const CONFIG_NO_AUXILIARY: u8 = 1 << 5;

const OUTPUT_NO_RESET: u8 = 1 << 0;
const OUTPUT_A20: u8 = 1 << 1;

/// Answers the guest has not read yet; more than this and the oldest go.
const MOST: usize = 16;

/// An answer and whether it reports a time-out.
type Answer = (u8, bool);

/// The controller.
#[derive(Clone, Debug)]
pub struct I8042 {
    /// Internal RAM; byte 0 is the configuration.
    ram: [u8; 32],
    output_port: u8,
    /// The command that waits for a byte at port 60h.
    command: Option<u8>,
    last_was_command: bool,
    answers: VecDeque<Answer>,
    request: Option<Request>,
}

/// The controller at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `I8042`
pub struct I8042State {
    pub ram: [u8; 32],
    pub output_port: u8,
    pub command: Option<u8>,
    pub last_was_command: bool,
    pub answers: Vec<Answer>,
}

impl Default for I8042 {
    fn default() -> Self {
        let mut ram = [0; 32];
        ram[0] = CONFIG_SYSTEM | CONFIG_DISABLED | CONFIG_NO_AUXILIARY;
        Self {
            ram,
            output_port: OUTPUT_NO_RESET | OUTPUT_A20,
            command: None,
            last_was_command: false,
            answers: VecDeque::new(),
            request: None,
        }
    }
}

impl I8042 {
    /// The offset that stands for port 64h.
    pub const PORT_64: u16 = 1;

    fn answer(&mut self, byte: u8) {
        self.push((byte, false));
    }

    fn push(&mut self, answer: Answer) {
        if self.answers.len() == MOST {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    fn status(&self) -> u8 {
        let answer = match self.answers.front() {
            Some((_, true)) => STATUS_FULL | STATUS_TIMEOUT,
            Some((_, false)) => STATUS_FULL,
            None => 0,
        };
        let command = if self.last_was_command { STATUS_COMMAND } else { 0 };
        answer | command | STATUS_UNLOCKED | self.ram[0] & STATUS_SYSTEM
    }

    fn set_output_port(&mut self, value: u8) {
        self.output_port = value;
        if value & OUTPUT_NO_RESET == 0 {
            self.request = Some(Request::Reset);
        }
    }

    fn run(&mut self, command: u8) {
        self.command = None;
        match command {
            0x20..=0x3f => self.answer(self.ram[usize::from(command & 0x1f)]),
            0x60..=0x7f | 0xd1..=0xd4 => self.command = Some(command),
            0xa9 => self.answer(1), // the auxiliary port's clock line is stuck: there is none
            0xaa => {
                self.answers.clear();
                self.ram[0] |= CONFIG_SYSTEM;
                self.answer(0x55);
            }
            0xab => self.answer(0),
            0xad => self.ram[0] |= CONFIG_DISABLED,
            0xae => self.ram[0] &= !CONFIG_DISABLED,
            0xc0 => self.answer(0x80), // not locked
            0xd0 => self.answer(self.output_port),
            // Each of the four lines whose bit is clear is pulsed; line 0 is the reset.
            0xf0..=0xff if command & 1 == 0 => self.request = Some(Request::Reset),
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        match self.command.take() {
            Some(command @ 0x60..=0x7f) => {
                let value = if command == 0x60 { value | CONFIG_NO_AUXILIARY } else { value };
                self.ram[usize::from(command & 0x1f)] = value;
            }
            Some(0xd1) => self.set_output_port(value),
            // Loop-backs; without an auxiliary port both come from the keyboard's.
            Some(0xd2 | 0xd3) => self.answer(value),
            _ => self.push((0xfe, true)),
        }
    }
}

impl Chip for I8042 {
    fn read(&mut self, offset: u16, _now: u64) -> u8 {
        match offset {
            Self::PORT_64 => self.status(),
            _ => self.answers.pop_front().map_or(0, |(byte, _)| byte),
        }
    }

    fn write(&mut self, offset: u16, value: u8, _now: u64) {
        self.last_was_command = offset == Self::PORT_64;
        if self.last_was_command { self.run(value) } else { self.data(value) }
    }

    fn output(&mut self) -> Output {
        (self.ram[0] & CONFIG_INTERRUPT != 0 && !self.answers.is_empty()).into()
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }
}

impl Saved for I8042 {
    type State = I8042State;
    const KIND: &'static str = "i8042";
    const VERSION: u16 = 1;

    fn save(&self) -> I8042State {
        // A request is consumed by the glue before anyone can save.
        let Self { ram, output_port, command, last_was_command, answers, request: _ } = self.clone();
        I8042State { ram, output_port, command, last_was_command, answers: answers.into() }
    }

    fn restore(&mut self, state: I8042State) -> Result<(), RestoreError> {
        let I8042State { ram, output_port, command, last_was_command, answers } = state;
        ensure::<Self>(answers.len() <= MOST, "more answers than it keeps")?;
        *self = Self { ram, output_port, command, last_was_command, answers: answers.into(), request: None };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(chip: &mut I8042, command: u8) -> Option<u8> {
        chip.write(1, command, 0);
        (chip.read(1, 0) & STATUS_FULL != 0).then(|| chip.read(0, 0))
    }

    #[test]
    fn the_tests_pass_and_there_is_no_auxiliary_port() {
        let mut chip = I8042::default();
        assert_eq!(chip.read(1, 0), STATUS_SYSTEM | STATUS_UNLOCKED);
        assert_eq!(command(&mut chip, 0xaa), Some(0x55));
        assert_eq!(command(&mut chip, 0xab), Some(0));
        assert_ne!(command(&mut chip, 0xa9), Some(0));
        assert_eq!(command(&mut chip, 0xa8), None);
    }

    #[test]
    fn the_configuration_is_kept() {
        let mut chip = I8042::default();
        command(&mut chip, 0x60);
        assert_eq!(chip.read(1, 0) & STATUS_COMMAND, STATUS_COMMAND);
        chip.write(0, 0x45, 0);
        assert_eq!(chip.read(1, 0) & STATUS_COMMAND, 0);
        assert_eq!(command(&mut chip, 0x20), Some(0x65), "the auxiliary port stays off");
    }

    #[test]
    fn a_missing_keyboard_times_out_and_interrupts() {
        let mut chip = I8042::default();
        command(&mut chip, 0x60);
        chip.write(0, CONFIG_INTERRUPT, 0);
        chip.write(0, 0xf2, 0);
        assert_eq!(chip.output(), Output::High);
        assert_eq!(chip.read(1, 0) & (STATUS_TIMEOUT | STATUS_FULL), STATUS_TIMEOUT | STATUS_FULL);
        assert_eq!((chip.read(0, 0), chip.output()), (0xfe, Output::Low));
    }

    #[test]
    fn both_ways_to_pull_reset() {
        let mut chip = I8042::default();
        command(&mut chip, 0xff);
        assert_eq!(chip.request(), None, "no line is pulsed");
        command(&mut chip, 0xfe);
        assert_eq!((chip.request(), chip.request()), (Some(Request::Reset), None));
        command(&mut chip, 0xd1);
        chip.write(0, 0xdd, 0);
        assert_eq!((chip.request(), command(&mut chip, 0xd0)), (None, Some(0xdd)), "A20 off is only noted");
        command(&mut chip, 0xd1);
        chip.write(0, 0xfe, 0);
        assert_eq!(chip.request(), Some(Request::Reset));
    }

    #[test]
    fn unread_answers_are_bounded() {
        let mut chip = I8042::default();
        for byte in 0..200 {
            chip.write(0, byte, 0);
        }
        assert_eq!(chip.answers.len(), MOST);
    }

    #[test]
    fn the_state_round_trips() {
        let mut chip = I8042::default();
        command(&mut chip, 0xd2);
        chip.write(0, 0x42, 0);
        chip.write(1, 0x61, 0);
        let mut copy = I8042::default();
        copy.restore_record(&chip.to_record()).unwrap();
        assert_eq!(copy.save(), chip.save());
        let mut bad = chip.save();
        bad.answers = vec![(0, false); MOST + 1];
        assert!(copy.restore(bad).is_err());
    }
}
