//! Port I/O: IN, OUT, INS, OUTS (SDM vol. 1, chapter 19).
//!
//! The repeated forms go element by element: each is complete, with its registers, before the next
//! begins. A fault, or a round's end, leaves RIP at the instruction with what remains to be done in rCX.

use engine::Width as BusWidth;
use iced_x86::{Instruction, Mnemonic, Register};
use x86::control::cr4;
use x86::{Gpr, SegmentRegister, flags};

use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::{Exec, FLAT, Kind, Op, Repeat};
use crate::raised::Step;
use crate::walk::Access;
use crate::width::Width;

/// Elements in a round: an interrupt waits no longer.
const ROUND: u32 = 512;

impl Cpu {
    /// #GP(0) unless CPL ≤ IOPL, or the task may use the ports.
    fn require_port(&mut self, port: u16, bytes: u64) -> Step {
        let iopl = (self.state.rflags & flags::IOPL) >> 12;
        let checked = self.mode.v86 || u64::from(self.mode.cpl) > iopl;
        if self.mode.protected && checked && !self.ports_are_free(port, bytes)? {
            return Err(self.gp());
        }
        Ok(())
    }

    fn port_in(&mut self, port: u16, bytes: u64) -> u32 {
        self.statistics.device_accesses += 1;
        self.note_port(port, bytes);
        self.board.port_in(port, bus_width(bytes))
    }

    fn port_out(&mut self, port: u16, bytes: u64, value: u32) {
        self.statistics.device_accesses += 1;
        self.note_port(port, bytes);
        self.board.port_out(port, bus_width(bytes), value);
    }

    /// Remembers the I/O breakpoints (under CR4.DE) that an access meets.
    fn note_port(&mut self, port: u16, bytes: u64) {
        if self.state.dr7 & 0xff == 0 || self.state.cr4 & cr4::DE == 0 {
            return;
        }
        let (first, dr7) = (u64::from(port), self.state.dr7);
        for n in 0..4 {
            let (on, kind) = (dr7 >> (2 * n) & 3 != 0, dr7 >> (16 + 4 * n) & 3);
            let length = [1, 2, 8, 4][(dr7 >> (18 + 4 * n) & 3) as usize];
            let at = self.state.dr[n] & !(length - 1);
            if on && kind == 2 && first < at.saturating_add(length) && at < first + bytes {
                self.debug_hits |= 1 << n;
            }
        }
    }
}

fn bus_width(bytes: u64) -> BusWidth {
    BusWidth::from_bytes(bytes).unwrap_or(BusWidth::Byte)
}

/// The port: an immediate or DX. `extra` says which operand it is.
fn port(cpu: &Cpu, op: &Op) -> u16 {
    if op.kinds[op.extra as usize & 1] == Kind::Immediate {
        u16::from(op.imm as u8)
    } else {
        cpu.get(Gpr::Rdx) as u16
    }
}

fn input<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let port = port(cpu, op);
    cpu.require_port(port, T::SIZE)?;
    let value = cpu.port_in(port, T::SIZE);
    T::set(cpu, Gpr::Rax as u8, T::from_u64(u64::from(value)));
    Ok(())
}

fn output<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let port = port(cpu, op);
    cpu.require_port(port, T::SIZE)?;
    let value = T::get(cpu, Gpr::Rax as u8).to_u64() as u32;
    cpu.port_out(port, T::SIZE, value);
    Ok(())
}

/// rCX, rSI or rDI, cut to the address size.
fn counter(cpu: &Cpu, op: &Op, register: Gpr) -> u64 {
    cpu.get(register) << op.address_shift >> op.address_shift
}

fn set_counter(cpu: &mut Cpu, op: &Op, register: Gpr, value: u64) {
    match op.address_bytes() {
        2 => u16::set(cpu, register as u8, value as u16),
        4 => u32::set(cpu, register as u8, value as u32),
        _ => cpu.set(register, value),
    }
}

/// Repeats `one` by the prefix. After a round that leaves something to do, RIP stays.
fn repeat(cpu: &mut Cpu, op: &Op, one: impl Fn(&mut Cpu, &Op) -> Step) -> Step {
    if op.repeat == Repeat::None {
        return one(cpu, op);
    }
    let round = if cpu.mode.stepping { 1 } else { ROUND };
    for _ in 0..round {
        let left = counter(cpu, op, Gpr::Rcx);
        if left == 0 {
            return Ok(());
        }
        one(cpu, op)?;
        set_counter(cpu, op, Gpr::Rcx, left - 1);
    }
    if counter(cpu, op, Gpr::Rcx) != 0 {
        cpu.set_next(cpu.rip);
        cpu.leave = true;
    }
    Ok(())
}

fn advance<T: Width>(cpu: &mut Cpu, op: &Op, register: Gpr) {
    let at = cpu.get(register);
    let by = if cpu.state.rflags & flags::DF != 0 { T::SIZE.wrapping_neg() } else { T::SIZE };
    set_counter(cpu, op, register, at.wrapping_add(by));
}

/// The right to store is proved before the port is read: reading may change the device. The right to the
/// port is asked for even if there is nothing to repeat, as AMD's CPUs do.
fn input_string<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_port(cpu.get(Gpr::Rdx) as u16, T::SIZE)?;
    repeat(cpu, op, |cpu, op| {
        let port = cpu.get(Gpr::Rdx) as u16;
        cpu.require_port(port, T::SIZE)?;
        let es = if cpu.mode.is_64() { FLAT } else { SegmentRegister::Es as u8 };
        let linear = cpu.linear(es, counter(cpu, op, Gpr::Rdi), T::SIZE, Access::Write)?;
        cpu.prove_write(linear, T::SIZE, es)?;
        if cpu.mode.view == View::UserAligned {
            cpu.check_alignment::<T>(linear)?;
        }
        let value = cpu.port_in(port, T::SIZE);
        cpu.write(linear, T::from_u64(u64::from(value)), es)?;
        advance::<T>(cpu, op, Gpr::Rdi);
        Ok(())
    })
}

fn output_string<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_port(cpu.get(Gpr::Rdx) as u16, T::SIZE)?;
    repeat(cpu, op, |cpu, op| {
        let port = cpu.get(Gpr::Rdx) as u16;
        cpu.require_port(port, T::SIZE)?;
        let linear = cpu.linear(op.segment, counter(cpu, op, Gpr::Rsi), T::SIZE, Access::Read)?;
        let value = cpu.read::<T>(linear, op.segment)?.to_u64() as u32;
        cpu.port_out(port, T::SIZE, value);
        advance::<T>(cpu, op, Gpr::Rsi);
        Ok(())
    })
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let by_width =
        |register: Register, execs: [Exec; 3]| execs[register.size().trailing_zeros() as usize % 3];
    Some(match instruction.mnemonic() {
        // One operand is the accumulator, the other the port.
        Mnemonic::In => {
            op.extra = 1;
            by_width(instruction.op0_register(), [input::<u8>, input::<u16>, input::<u32>])
        }
        Mnemonic::Out => {
            op.extra = 0;
            by_width(instruction.op1_register(), [output::<u8>, output::<u16>, output::<u32>])
        }
        Mnemonic::Insb => input_string::<u8>,
        Mnemonic::Insw => input_string::<u16>,
        Mnemonic::Insd => input_string::<u32>,
        Mnemonic::Outsb => output_string::<u8>,
        Mnemonic::Outsw => output_string::<u16>,
        Mnemonic::Outsd => output_string::<u32>,
        _ => return None,
    })
}
