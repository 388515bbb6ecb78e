//! One instruction executed as it stands, on a whole machine's registers: what stubs are compared with.

use std::mem::offset_of;
use std::num::NonZeroUsize;

use iced_x86::{Code as Opcode, Encoder, Instruction, MemoryOperand, Register};
use x86::{Fpu, Legacy};

use crate::simd::arena::{Arena, Entry};
use crate::simd::code::Code;

/// Bytes of memory operands: an XSAVE area and then some.
pub(super) const MEMORY: usize = 1024;

/// The registers. RDI points to them, RSI to `memory`, RSP is the host's.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Machine {
    pub legacy: Legacy,
    pub ymm: [[u128; 2]; 16],
    pub memory: [u8; MEMORY],
    pub gpr: [u64; 16],
    pub flags: u64,
    pub host_mxcsr: u32,
}

impl Default for Machine {
    fn default() -> Self {
        let legacy = Fpu::default().legacy;
        Self { legacy, ymm: [[0; 2]; 16], memory: [0; MEMORY], gpr: [0; 16], flags: 2, host_mxcsr: 0 }
    }
}

/// Registers that an instruction under test may name.
pub(super) const GENERAL: [usize; 13] = [0, 1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15];
const SAVED: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

/// Executes it on this machine. Memory operands are relative to RSI.
pub(super) fn run(instruction: &Instruction, machine: &mut Machine) {
    let mut bytes = Bytes(Encoder::new(64));
    SAVED.into_iter().for_each(|register| bytes.add(Instruction::with1(Opcode::Push_r64, register)));
    bytes.memory(Opcode::Stmxcsr_m32, offset_of!(Machine, host_mxcsr));
    bytes.memory(Opcode::Fxrstor64_m512byte, offset_of!(Machine, legacy));
    for n in 0..16 {
        let register = Register::YMM0 + n as u32;
        bytes.add(Instruction::with2(Opcode::VEX_Vmovdqu_ymm_ymmm256, register, ymm(n)));
    }
    bytes.memory(Opcode::Push_rm64, offset_of!(Machine, flags));
    bytes.add(Ok(Instruction::with(Opcode::Popfq)));
    for n in GENERAL.into_iter().chain([6]) {
        bytes.add(Instruction::with2(Opcode::Mov_r64_rm64, Register::RAX + n as u32, general(n)));
    }
    bytes.add(Ok(*instruction));
    for n in GENERAL {
        bytes.add(Instruction::with2(Opcode::Mov_rm64_r64, general(n), Register::RAX + n as u32));
    }
    bytes.add(Ok(Instruction::with(Opcode::Pushfq)));
    bytes.memory(Opcode::Pop_rm64, offset_of!(Machine, flags));
    bytes.memory(Opcode::Fxsave64_m512byte, offset_of!(Machine, legacy));
    for n in 0..16 {
        let register = Register::YMM0 + n as u32;
        bytes.add(Instruction::with2(Opcode::VEX_Vmovdqu_ymmm256_ymm, ymm(n), register));
    }
    bytes.memory(Opcode::Ldmxcsr_m32, offset_of!(Machine, host_mxcsr));
    for code in [Opcode::Fninit, Opcode::VEX_Vzeroupper] {
        bytes.add(Ok(Instruction::with(code)));
    }
    SAVED.into_iter().rev().for_each(|register| bytes.add(Instruction::with1(Opcode::Pop_r64, register)));
    bytes.add(Ok(Instruction::with(Opcode::Retnq)));
    let mut arena = Arena::new(NonZeroUsize::new(4096).unwrap()).unwrap();
    let entry: Entry<Machine> = arena.publish(&Code::other(bytes.0.take_buffer())).unwrap();
    machine.gpr[6] = machine.memory.as_ptr() as u64;
    entry.call(machine);
    arena.release(entry);
}

struct Bytes(Encoder);

impl Bytes {
    fn add(&mut self, instruction: Result<Instruction, iced_x86::IcedError>) {
        self.0.encode(&instruction.unwrap(), 0).unwrap();
    }

    fn memory(&mut self, code: Opcode, at: usize) {
        self.add(Instruction::with1(code, place(at)));
    }
}

fn place(at: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RDI, at as i64)
}

fn ymm(n: usize) -> MemoryOperand {
    place(offset_of!(Machine, ymm) + 32 * n)
}

fn general(n: usize) -> MemoryOperand {
    place(offset_of!(Machine, gpr) + 8 * n)
}
