//! Far jumps and calls (SDM vol. 3, 5.8): to a code segment directly, or through a call gate.
//!
//! Task switches by hardware are not offered: 64-bit CPUs have none, and no system that we run uses them
//! on its way. A jump to a TSS or a task gate raises #GP with its selector and says so in the log.

use iced_x86::{Code, Instruction, Mnemonic};
use x86::paging::is_canonical;
use x86::{Segment, SegmentRegister, Vector, access};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::system::descriptor::{Descriptor, is_null, kind};
use crate::system::gate::gate_offset;
use crate::system::stack::Stack;
use crate::walk::Access;

/// Where a far transfer leads.
struct Target {
    code: Descriptor,
    offset: u64,
    /// Bytes in what a call pushes: its operand size, or that of the gate.
    width: u64,
    /// Through a call gate: how many parameters go along.
    parameters: Option<u64>,
}

impl Cpu {
    /// #GP(0) unless code in this segment can stand at `offset`.
    pub fn check_entry(&mut self, code: &Segment, offset: u64) -> Step {
        let good = if self.mode.long && code.access & access::LONG != 0 {
            is_canonical(offset)
        } else {
            offset <= u64::from(code.limit)
        };
        if good { Ok(()) } else { Err(self.gp()) }
    }

    /// Goes to a checked place in a checked code segment without a change of privilege.
    fn go_far(&mut self, target: &mut Target) -> Step {
        self.check_entry(&target.code.segment, target.offset)?;
        self.mark_accessed(&mut target.code)?;
        self.load_cs(&target.code, self.mode.cpl);
        self.set_next(target.offset);
        self.refresh();
        Ok(())
    }

    /// Goes far in real or virtual-8086 mode.
    ///
    /// # Errors
    /// #GP(0) beyond the limit.
    pub fn go_far_real(&mut self, selector: u16, offset: u64) -> Step {
        if offset > u64::from(self.state.segment(SegmentRegister::Cs).limit) {
            return Err(self.gp());
        }
        self.load_real_segment(SegmentRegister::Cs, selector);
        self.set_next(offset);
        self.refresh();
        Ok(())
    }

    /// Looks up what a far pointer names. `call` may enter an inner level through a gate.
    fn far_target(&mut self, selector: u16, offset: u64, width: u64, call: bool) -> Result<Target, Raised> {
        if is_null(selector) {
            return Err(self.gp());
        }
        let found = self.descriptor(selector, Vector::GeneralProtection)?;
        if found.is_code() {
            let allowed = if found.is_conforming() {
                found.dpl() <= self.mode.cpl
            } else {
                found.rpl() <= self.mode.cpl && found.dpl() == self.mode.cpl
            };
            self.check_code(&found, allowed)?;
            return Ok(Target { code: found, offset, width, parameters: None });
        }
        match found.system_kind() {
            Some(kind::CALL_GATE) => self.call_gate(&found, if self.mode.long { 8 } else { 4 }, call),
            Some(kind::CALL_GATE_16) if !self.mode.long => self.call_gate(&found, 2, call),
            other => {
                if matches!(other, Some(kind::TSS_16 | kind::TSS | kind::TASK_GATE)) {
                    tracing::debug!("the guest asks for a task switch by hardware ({selector:#x}): refused");
                }
                Err(self.gp_selector(selector))
            }
        }
    }

    /// A code segment that may be entered (`allowed`), exists and is of one mode only.
    fn check_code(&mut self, code: &Descriptor, allowed: bool) -> Step {
        let both = access::LONG | access::DB;
        if !allowed || self.mode.long && code.access() & both == both {
            return Err(self.gp_selector(code.selector));
        }
        if !code.segment.is_present() {
            return Err(self.selector_fault(Vector::SegmentNotPresent, code.selector));
        }
        Ok(())
    }

    fn call_gate(&mut self, gate: &Descriptor, width: u64, call: bool) -> Result<Target, Raised> {
        if gate.dpl() < self.mode.cpl || gate.rpl() > gate.dpl() {
            return Err(self.gp_selector(gate.selector));
        }
        if !gate.segment.is_present() {
            return Err(self.selector_fault(Vector::SegmentNotPresent, gate.selector));
        }
        let mut offset = gate_offset(gate.raw);
        if width == 2 {
            offset &= 0xffff;
        }
        if self.mode.long {
            match self.upper_half(gate)? {
                Some(upper) if upper >> 40 & 0x1f == 0 => offset |= upper << 32,
                _ => return Err(self.gp_selector(gate.selector)),
            }
        }
        let selector = (gate.raw >> 16) as u16;
        if is_null(selector) {
            return Err(self.gp());
        }
        let code = self.descriptor(selector, Vector::GeneralProtection)?;
        let level = if code.is_conforming() || call {
            code.dpl() <= self.mode.cpl
        } else {
            code.dpl() == self.mode.cpl
        };
        let wide = !self.mode.long || code.access() & access::LONG != 0;
        self.check_code(&code, code.is_code() && level && wide)?;
        let parameters = if width == 8 { 0 } else { gate.raw >> 32 & 0x1f };
        Ok(Target { code, offset, width, parameters: Some(parameters) })
    }

    fn call_far(&mut self, selector: u16, offset: u64, width: u64) -> Step {
        if !self.mode.protected || self.mode.v86 {
            let stack = self.push_return(Stack::current(self), width)?;
            self.go_far_real(selector, offset)?;
            stack.commit(self);
            return Ok(());
        }
        let mut target = self.far_target(selector, offset, width, true)?;
        if target.parameters.is_some() && !target.code.is_conforming() && target.code.dpl() < self.mode.cpl {
            return self.call_inner(&mut target);
        }
        let stack = self.push_return(Stack::current(self), target.width)?;
        self.go_far(&mut target)?;
        stack.commit(self);
        Ok(())
    }

    /// Pushes CS and the return address.
    fn push_return(&mut self, mut stack: Stack, width: u64) -> Result<Stack, Raised> {
        let cs = self.state.segment(SegmentRegister::Cs).selector;
        stack.push(self, width, u64::from(cs))?;
        stack.push(self, width, self.next())?;
        Ok(stack)
    }

    /// Through a call gate to an inner level, on its own stack.
    fn call_inner(&mut self, target: &mut Target) -> Step {
        let (cpl, width) = (target.code.dpl(), target.width);
        let old = Stack::current(self);
        let ss = if self.mode.long {
            None
        } else {
            let (selector, pointer) = self.stack_segment_of_level(cpl)?;
            Some((self.inner_ss(selector, cpl)?, pointer))
        };
        let mut stack = match &ss {
            Some((ss, pointer)) => Stack::inner(self, ss.segment, *pointer, cpl),
            None => {
                let pointer = self.stack_of_level(cpl)?;
                Stack::flat(self, pointer, cpl)
            }
        };
        stack.push(self, width, u64::from(self.state.segment(SegmentRegister::Ss).selector))?;
        stack.push(self, width, old.pointer)?;
        for n in (0..target.parameters.unwrap_or(0)).rev() {
            let parameter = old.peek(self, n * width, width)?;
            stack.push(self, width, parameter)?;
        }
        let stack = self.push_return(stack, width)?;
        self.check_entry(&target.code.segment, target.offset)?;
        self.mark_accessed(&mut target.code)?;
        match ss {
            Some((mut ss, _)) => {
                self.mark_accessed(&mut ss)?;
                *self.state.segment_mut(SegmentRegister::Ss) = ss.segment;
            }
            None => self.load_null_ss(cpl),
        }
        stack.commit(self);
        self.load_cs(&target.code, cpl);
        self.set_next(target.offset);
        self.refresh();
        Ok(())
    }
}

/// Selector and offset of the operand; `width` of the op is that of the offset.
fn pointer(cpu: &mut Cpu, op: &Op) -> Result<(u16, u64), Raised> {
    if op.kinds[0] == Kind::Immediate {
        return Ok((op.extra as u16, op.imm));
    }
    let width = u64::from(op.width);
    let linear = cpu.address(op, width + 2, Access::Read)?;
    let mut raw = [0; 10];
    cpu.read_bytes(linear, &mut raw[..usize::from(op.width) + 2], op.segment)?;
    let selector = u16::from_le_bytes([raw[usize::from(op.width)], raw[usize::from(op.width) + 1]]);
    let mut offset = [0; 8];
    offset[..usize::from(op.width)].copy_from_slice(&raw[..usize::from(op.width)]);
    Ok((selector, u64::from_le_bytes(offset)))
}

fn jump(cpu: &mut Cpu, op: &Op) -> Step {
    let (selector, offset) = pointer(cpu, op)?;
    if !cpu.mode.protected || cpu.mode.v86 {
        return cpu.go_far_real(selector, offset);
    }
    let mut target = cpu.far_target(selector, offset, u64::from(op.width), false)?;
    cpu.go_far(&mut target)
}

fn call(cpu: &mut Cpu, op: &Op) -> Step {
    let (selector, offset) = pointer(cpu, op)?;
    cpu.call_far(selector, offset, u64::from(op.width))
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let width = match instruction.code() {
        Code::Jmp_ptr1616 | Code::Jmp_m1616 | Code::Call_ptr1616 | Code::Call_m1616 => 2,
        Code::Jmp_ptr1632 | Code::Jmp_m1632 | Code::Call_ptr1632 | Code::Call_m1632 => 4,
        Code::Jmp_m1664 | Code::Call_m1664 => 8,
        _ => return None,
    };
    op.width = width;
    op.ends_block = true;
    Some(if instruction.mnemonic() == Mnemonic::Jmp { jump } else { call })
}
