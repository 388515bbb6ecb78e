//! Loads of segment registers (SDM vol. 2, MOV; vol. 3, 3.4 and 5.5): the checks, and MOV, PUSH, POP and
//! LDS to LGS.

use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::{Segment, SegmentRegister, Shadow, Vector, access};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::system::descriptor::{Descriptor, RPL, is_null};
use crate::system::stack::Stack;
use crate::walk::Access;
use crate::width::Width;

const REGISTERS: [SegmentRegister; 6] = [
    SegmentRegister::Es,
    SegmentRegister::Cs,
    SegmentRegister::Ss,
    SegmentRegister::Ds,
    SegmentRegister::Fs,
    SegmentRegister::Gs,
];

/// The segment register of this number.
fn register(number: u8) -> SegmentRegister {
    REGISTERS[usize::from(number) % REGISTERS.len()]
}

impl Cpu {
    /// Loads a segment register other than CS.
    ///
    /// # Errors
    /// #GP, #NP, #SS by the descriptor; #PF of its table.
    pub fn load_segment(&mut self, register: SegmentRegister, selector: u16) -> Step {
        if !self.mode.protected || self.mode.v86 {
            self.load_real_segment(register, selector);
        } else if register == SegmentRegister::Ss {
            self.load_ss(selector)?;
        } else {
            *self.state.segment_mut(register) = self.data_segment(selector)?;
        }
        // Only SS and CS bear on the mode, and only SS comes here.
        if register == SegmentRegister::Ss {
            self.refresh();
        }
        Ok(())
    }

    /// Real mode keeps limit and rights of what was loaded before (“unreal mode”).
    pub fn load_real_segment(&mut self, register: SegmentRegister, selector: u16) {
        let segment = self.state.segment_mut(register);
        if self.mode.v86 {
            *segment = virtual_segment(selector);
        } else if segment.is_present() {
            segment.selector = selector;
            segment.base = u64::from(selector) << 4;
        } else {
            *segment = Segment::real(selector);
        }
    }

    /// What ES, DS, FS or GS becomes with a selector.
    fn data_segment(&mut self, selector: u16) -> Result<Segment, Raised> {
        if is_null(selector) {
            return Ok(Segment { selector, ..Segment::default() });
        }
        let mut found = self.descriptor(selector, Vector::GeneralProtection)?;
        let readable = found.access() & access::NOT_SYSTEM != 0
            && found.access() & (access::CODE | access::WRITABLE) != access::CODE;
        let beyond = found.rpl() > found.dpl() || self.mode.cpl > found.dpl();
        if !readable || beyond && !found.is_conforming() {
            return Err(self.gp_selector(selector));
        }
        if !found.segment.is_present() {
            return Err(self.selector_fault(Vector::SegmentNotPresent, selector));
        }
        self.mark_accessed(&mut found)?;
        Ok(found.segment)
    }

    fn load_ss(&mut self, selector: u16) -> Step {
        let cpl = self.mode.cpl;
        if is_null(selector) {
            if !self.mode.is_64() || cpl == 3 || u16::from(cpl) != selector & RPL {
                return Err(self.gp());
            }
            self.load_null_ss(cpl);
            return Ok(());
        }
        let mut found = self.descriptor(selector, Vector::GeneralProtection)?;
        if found.rpl() != cpl || found.dpl() != cpl || !found.is_writable_data() {
            return Err(self.gp_selector(selector));
        }
        if !found.segment.is_present() {
            return Err(self.selector_fault(Vector::StackFault, selector));
        }
        self.mark_accessed(&mut found)?;
        *self.state.segment_mut(SegmentRegister::Ss) = found.segment;
        Ok(())
    }

    /// SS becomes null, as 64-bit code of inner levels has it. Its DPL stays what tells the CPL.
    pub fn load_null_ss(&mut self, cpl: u8) {
        *self.state.segment_mut(SegmentRegister::Ss) =
            Segment { selector: u16::from(cpl), access: u16::from(cpl) << 5, ..Segment::default() };
    }

    /// The SS that a task state segment names for an inner privilege level.
    ///
    /// # Errors
    /// #TS or #SS with the selector, #PF.
    pub fn inner_ss(&mut self, selector: u16, cpl: u8) -> Result<Descriptor, Raised> {
        let ss = self.descriptor(selector, Vector::InvalidTss)?;
        if ss.rpl() != cpl || ss.dpl() != cpl || !ss.is_writable_data() {
            return Err(self.selector_fault(Vector::InvalidTss, selector));
        }
        if !ss.segment.is_present() {
            return Err(self.selector_fault(Vector::StackFault, selector));
        }
        Ok(ss)
    }

    /// CS becomes a checked code segment, with `cpl` in its selector. The caller sees to SS and refreshes.
    pub fn load_cs(&mut self, code: &Descriptor, cpl: u8) {
        let selector = code.selector & !RPL | u16::from(cpl);
        *self.state.segment_mut(SegmentRegister::Cs) = Segment { selector, ..code.segment };
    }

    /// On a return to an outer level: what its code may not use becomes null.
    pub fn drop_inner_segments(&mut self, cpl: u8) {
        for register in [SegmentRegister::Es, SegmentRegister::Ds, SegmentRegister::Fs, SegmentRegister::Gs] {
            let segment = self.state.segment_mut(register);
            let conforming = access::CODE | access::CONFORMING;
            if segment.dpl() < cpl && segment.access & conforming != conforming {
                // The base stays: 64-bit programs have one in FS and GS under a null selector.
                *segment = Segment { base: segment.base, ..Segment::default() };
            }
        }
    }
}

/// A segment of virtual-8086 mode.
pub(crate) fn virtual_segment(selector: u16) -> Segment {
    let real = Segment::real(selector);
    Segment { access: real.access | access::DPL, ..real }
}

fn load(cpu: &mut Cpu, op: &Op, selector: u16) -> Step {
    cpu.load_segment(register(op.dst), selector)?;
    hold_off(cpu, op);
    Ok(())
}

/// After SS is loaded, the stack pointer can be too before anything interrupts.
fn hold_off(cpu: &mut Cpu, op: &Op) {
    if register(op.dst) == SegmentRegister::Ss {
        cpu.state.events.shadow = Shadow::MovSs;
    }
}

fn from_register(cpu: &mut Cpu, op: &Op) -> Step {
    let selector = u16::get(cpu, op.src);
    load(cpu, op, selector)
}

fn from_memory(cpu: &mut Cpu, op: &Op) -> Step {
    let selector = cpu.load::<u16>(op)?;
    load(cpu, op, selector)
}

/// To a register of 16 bits, or zero-extended to a wider one.
fn to_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let selector = cpu.state.segments[usize::from(op.src) % 6].selector;
    T::set(cpu, op.dst, T::from_u64(u64::from(selector)));
    Ok(())
}

fn to_memory(cpu: &mut Cpu, op: &Op) -> Step {
    let selector = cpu.state.segments[usize::from(op.src) % 6].selector;
    cpu.store(op, selector)
}

/// Zero-extended to the operand size.
fn push(cpu: &mut Cpu, op: &Op) -> Step {
    let selector = cpu.state.segments[usize::from(op.dst) % 6].selector;
    let mut stack = Stack::current(cpu);
    stack.push(cpu, u64::from(op.extra), u64::from(selector))?;
    stack.commit(cpu);
    Ok(())
}

fn pop(cpu: &mut Cpu, op: &Op) -> Step {
    let mut stack = Stack::current(cpu);
    let selector = stack.peek(cpu, 0, 2)? as u16;
    stack.skip(u64::from(op.extra));
    // The pointer moves by the size of the old stack.
    cpu.load_segment(register(op.dst), selector)?;
    stack.commit(cpu);
    hold_off(cpu, op);
    Ok(())
}

/// LDS, LES, LFS, LGS, LSS: `extra` is the segment register, the operand an offset and a selector behind it.
fn far_pointer<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let linear = cpu.address(op, T::SIZE + 2, Access::Read)?;
    let offset = cpu.read::<T>(linear, op.segment)?;
    let behind = cpu.wrap(linear.wrapping_add(T::SIZE));
    let selector = cpu.read::<u16>(behind, op.segment)?;
    cpu.load_segment(register(op.extra as u8), selector)?;
    T::set(cpu, op.dst, offset);
    Ok(())
}

fn far_pointers(op: &mut Op, register: SegmentRegister) -> Option<Exec> {
    op.extra = register as u32;
    op.ends_block = register == SegmentRegister::Ss;
    Some(match op.width {
        2 => far_pointer::<u16>,
        4 => far_pointer::<u32>,
        8 => far_pointer::<u64>,
        _ => return None,
    })
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let is_segment = |n: u32| {
        instruction.op_kind(n) == OpKind::Register && instruction.op_register(n).is_segment_register()
    };
    match instruction.mnemonic() {
        Mnemonic::Mov if is_segment(0) => {
            if op.dst == SegmentRegister::Cs as u8 {
                return None; // #UD
            }
            op.ends_block = op.dst == SegmentRegister::Ss as u8;
            Some(if op.kinds[1] == Kind::Register { from_register } else { from_memory })
        }
        Mnemonic::Mov if is_segment(1) => Some(match (op.kinds[0], op.width) {
            (Kind::Memory, _) => to_memory,
            (_, 2) => to_register::<u16>,
            (_, 4) => to_register::<u32>,
            _ => to_register::<u64>,
        }),
        Mnemonic::Push if is_segment(0) => {
            op.extra = instruction.stack_pointer_increment().unsigned_abs();
            Some(push)
        }
        Mnemonic::Pop if is_segment(0) => {
            op.extra = instruction.stack_pointer_increment().unsigned_abs();
            op.ends_block = op.dst == SegmentRegister::Ss as u8;
            Some(pop)
        }
        Mnemonic::Lds => far_pointers(op, SegmentRegister::Ds),
        Mnemonic::Les => far_pointers(op, SegmentRegister::Es),
        Mnemonic::Lss => far_pointers(op, SegmentRegister::Ss),
        Mnemonic::Lfs => far_pointers(op, SegmentRegister::Fs),
        Mnemonic::Lgs => far_pointers(op, SegmentRegister::Gs),
        _ => None,
    }
}
