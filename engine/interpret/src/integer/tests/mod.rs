//! A CPU on a board with nothing on it, and tests that put instructions through it one by one.

mod branch;
mod compat;
mod differential;
mod exchange;
mod form;
mod misc;
mod native;
mod stack;
mod string;

use std::sync::{Arc, Mutex, PoisonError};

use ::base::{GuestMemory, RamOffset, Scalar};
use engine::{Attention, BareBoard, CpuLevel, CpuModel};
use x86::control::{cr0, efer};
use x86::{CpuState, Exception, Segment, SegmentRegister, access};

use crate::cpu::Cpu;
use crate::decode::{Decoded, LONGEST, decode};
use crate::op::{NEXT, Op};

/// Where instructions are put to be executed.
pub(super) const CODE: u64 = 0x1000;
/// A page that belongs to the test.
pub(super) const DATA: u64 = 0x8000;
/// The initial stack pointer.
pub(super) const STACK: u64 = 0x7000;

/// A CPU and its board.
pub(super) struct Bench {
    pub cpu: Cpu,
    stores: Arc<Mutex<Vec<(u64, u64, u64)>>>,
}

impl Bench {
    /// A CPU at privilege 0 without paging in code of 16 (real mode), 32 or 64 bits, with flat segments.
    pub fn new(bits: u8) -> Self {
        let stores = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&stores);
        // Remembers what is stored to it, and answers loads with a constant of the address.
        let board = BareBoard::with(move |at, width, value| {
            if let Some(value) = value {
                let mut stores = seen.lock().unwrap_or_else(PoisonError::into_inner);
                stores.push((at.0, width.bytes(), value));
            }
            (at.0 & 0xff) * 0x0101_0101_0101_0101
        });
        let memory = Arc::new(GuestMemory::new(0x20_0000).unwrap());
        let model = CpuModel { level: CpuLevel::Host, vcpus: 1 };
        let attention = Arc::new(Attention::default());
        let mut cpu = Cpu::new(0, model, memory, attention, Arc::new(board));
        let mut state = CpuState { rip: CODE, ..CpuState::default() };
        let usual = access::PRESENT | access::NOT_SYSTEM | access::WRITABLE | access::ACCESSED;
        let big = access::DB;
        let (code, data) = match bits {
            64 => (access::CODE | access::LONG, big),
            32 => (access::CODE | big, big),
            _ => (0, 0),
        };
        if bits == 16 {
            state.segments = [Segment::real(0); 6];
        } else {
            state.segments = [Segment::flat(0x10, usual | data); 6];
            state.segments[SegmentRegister::Cs as usize] = Segment::flat(8, usual | code);
            state.cr0 |= cr0::PE;
        }
        if bits == 64 {
            state.msrs.efer = efer::LME | efer::LMA;
        }
        state.gpr[4] = STACK;
        cpu.import(&state);
        Self { cpu, stores }
    }

    /// Decodes an instruction as if it stood at [`CODE`].
    pub fn decode(&self, bytes: &[u8]) -> Op {
        match decode(&self.cpu.model, bytes, CODE, self.cpu.mode.code_bits) {
            Decoded::Op(op) => op,
            Decoded::Incomplete => panic!("{bytes:02x?} is no whole instruction"),
        }
    }

    /// Puts an instruction at [`CODE`] and executes it; leaves RIP where it goes on.
    pub fn run(&mut self, bytes: &[u8]) -> Result<(), Exception> {
        assert!(bytes.len() <= LONGEST);
        let op = self.decode(bytes);
        assert_eq!(usize::from(op.len), bytes.len(), "{bytes:02x?} is more than an instruction");
        self.cpu.rip = CODE;
        self.cpu.leave = false;
        self.cpu.gpr[usize::from(NEXT)] = CODE + u64::from(op.len);
        (op.exec)(&mut self.cpu, &op).map_err(|_| self.cpu.raised)?;
        self.cpu.rip = self.cpu.next();
        Ok(())
    }

    /// Executes the instruction until it has let go of RIP: repeated string instructions.
    pub fn run_whole(&mut self, bytes: &[u8]) -> Result<(), Exception> {
        loop {
            self.run(bytes)?;
            if self.cpu.rip != CODE {
                return Ok(());
            }
        }
    }

    /// Stores to RAM.
    pub fn put<T: Scalar>(&self, at: u64, value: T) {
        self.cpu.memory.store(RamOffset(at), value);
    }

    /// Loads from RAM.
    pub fn peek<T: Scalar>(&self, at: u64) -> T {
        self.cpu.memory.load(RamOffset(at))
    }

    /// Stores that devices have seen: address, bytes, value.
    pub fn device_stores(&self) -> Vec<(u64, u64, u64)> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
