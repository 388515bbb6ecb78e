//! Far returns: RETF and IRET (SDM vol. 2), to the same or an outer level, to virtual-8086 mode.

use iced_x86::{Instruction, Mnemonic};
use x86::{Gpr, SegmentRegister, Vector, access, flags};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::{Raised, Step};
use crate::system::descriptor::{Descriptor, RPL, is_null};
use crate::system::segment::virtual_segment;
use crate::system::stack::Stack;

/// The stack to return to.
enum OuterStack {
    Segment(Descriptor),
    /// Null, for 64-bit code of levels 0 to 2.
    Null(u8),
}

impl Cpu {
    /// The code segment that a far return names.
    fn return_code(&mut self, selector: u16) -> Result<Descriptor, Raised> {
        if is_null(selector) {
            return Err(self.gp());
        }
        let code = self.descriptor(selector, Vector::GeneralProtection)?;
        let level = if code.is_conforming() { code.dpl() <= code.rpl() } else { code.dpl() == code.rpl() };
        let both = access::LONG | access::DB;
        let two_modes = self.mode.long && code.access() & both == both;
        if !code.is_code() || code.rpl() < self.mode.cpl || !level || two_modes {
            return Err(self.gp_selector(selector));
        }
        if !code.segment.is_present() {
            return Err(self.selector_fault(Vector::SegmentNotPresent, selector));
        }
        Ok(code)
    }

    /// The stack segment that a far return names for `code`.
    fn return_stack(&mut self, selector: u16, code: &Descriptor) -> Result<OuterStack, Raised> {
        let cpl = code.rpl();
        if is_null(selector) {
            let to_64 = self.mode.long && code.access() & access::LONG != 0;
            if !to_64 || cpl == 3 || selector & RPL != u16::from(cpl) {
                return Err(self.gp());
            }
            return Ok(OuterStack::Null(cpl));
        }
        let ss = self.descriptor(selector, Vector::GeneralProtection)?;
        if ss.rpl() != cpl || ss.dpl() != cpl || !ss.is_writable_data() {
            return Err(self.gp_selector(selector));
        }
        if !ss.segment.is_present() {
            return Err(self.selector_fault(Vector::StackFault, selector));
        }
        Ok(OuterStack::Segment(ss))
    }

    /// Takes CS, RIP and, where given, SS and RSP, and refreshes. All but the tables' pages is checked.
    fn go_back(&mut self, mut code: Descriptor, rip: u64, stack: Option<(OuterStack, u64)>) -> Step {
        self.mark_accessed(&mut code)?;
        let cpl = code.rpl();
        if let Some((outer, pointer)) = stack {
            let big = match outer {
                OuterStack::Segment(mut ss) => {
                    self.mark_accessed(&mut ss)?;
                    *self.state.segment_mut(SegmentRegister::Ss) = ss.segment;
                    ss.access() & access::DB != 0
                }
                OuterStack::Null(cpl) => {
                    self.load_null_ss(cpl);
                    true
                }
            };
            let to_64 = self.mode.long && code.access() & access::LONG != 0;
            let old = self.get(Gpr::Rsp);
            self.set(
                Gpr::Rsp,
                match () {
                    () if to_64 => pointer,
                    () if big => pointer & 0xffff_ffff,
                    () => old & !0xffff | pointer & 0xffff,
                },
            );
        }
        if cpl > self.mode.cpl {
            self.drop_inner_segments(cpl);
        }
        self.load_cs(&code, cpl);
        self.set_next(rip);
        Ok(())
    }

    /// The flags that IRET of so many bytes may change.
    fn returned_flags(&self, width: u64) -> u64 {
        let mut mask = flags::STATUS | flags::TF | flags::DF | flags::NT;
        if width > 2 {
            mask |= flags::RF | flags::AC | flags::ID;
        }
        if u64::from(self.mode.cpl) <= (self.state.rflags & flags::IOPL) >> 12 {
            mask |= flags::IF;
        }
        if self.mode.cpl == 0 {
            mask |= flags::IOPL;
        }
        mask
    }

    /// IRET's end: flags, and NMIs may come again.
    fn finish_iret(&mut self, mask: u64, flags: u64) {
        self.set_rflags(self.rflags() & !mask | flags & mask);
        self.state.events.nmi_blocked = false;
        self.refresh();
    }
}

/// `extra` is the number of bytes to release besides.
fn retf(cpu: &mut Cpu, op: &Op) -> Step {
    let (width, release) = (u64::from(op.width), u64::from(op.extra));
    let mut stack = Stack::current(cpu);
    let rip = stack.pop(cpu, width)?;
    let selector = stack.pop(cpu, width)? as u16;
    if !cpu.mode.protected || cpu.mode.v86 {
        cpu.go_far_real(selector, rip)?;
        stack.skip(release);
        stack.commit(cpu);
        return Ok(());
    }
    let code = cpu.return_code(selector)?;
    cpu.check_entry(&code.segment, rip)?;
    stack.skip(release);
    if code.rpl() == cpu.mode.cpl {
        cpu.go_back(code, rip, None)?;
        stack.commit(cpu);
    } else {
        let pointer = stack.pop(cpu, width)?;
        let ss = stack.pop(cpu, width)? as u16;
        let outer = cpu.return_stack(ss, &code)?;
        cpu.go_back(code, rip, Some((outer, pointer)))?;
        cpu.refresh();
        let mut stack = Stack::current(cpu);
        stack.skip(release);
        stack.commit(cpu);
    }
    cpu.refresh();
    Ok(())
}

fn iret(cpu: &mut Cpu, op: &Op) -> Step {
    let width = u64::from(op.width);
    let mask = cpu.returned_flags(width);
    if !cpu.mode.protected || cpu.mode.v86 {
        return iret_real(cpu, width, mask);
    }
    if cpu.state.rflags & flags::NT != 0 {
        if !cpu.mode.long {
            tracing::debug!("the guest asks for a task switch by hardware (IRET under NT): refused");
        }
        return Err(cpu.gp());
    }
    let mut stack = Stack::current(cpu);
    let rip = stack.pop(cpu, width)?;
    let selector = stack.pop(cpu, width)? as u16;
    let flags = stack.pop(cpu, width)?;
    if !cpu.mode.long && width == 4 && flags & flags::VM != 0 && cpu.mode.cpl == 0 {
        return iret_to_v86(cpu, stack, [rip, u64::from(selector), flags]);
    }
    let code = cpu.return_code(selector)?;
    cpu.check_entry(&code.segment, rip)?;
    // 64-bit code always returns with a stack.
    if code.rpl() == cpu.mode.cpl && !cpu.mode.is_64() {
        cpu.go_back(code, rip, None)?;
        stack.commit(cpu);
    } else {
        let pointer = stack.pop(cpu, width)?;
        let ss = stack.pop(cpu, width)? as u16;
        let outer = cpu.return_stack(ss, &code)?;
        cpu.go_back(code, rip, Some((outer, pointer)))?;
    }
    cpu.finish_iret(mask, flags);
    Ok(())
}

/// In real mode, and in virtual-8086 mode under IOPL 3.
fn iret_real(cpu: &mut Cpu, width: u64, mask: u64) -> Step {
    if cpu.mode.v86 && cpu.state.rflags & flags::IOPL != flags::IOPL {
        return Err(cpu.gp());
    }
    let mut stack = Stack::current(cpu);
    let rip = stack.pop(cpu, width)?;
    let selector = stack.pop(cpu, width)? as u16;
    let flags = stack.pop(cpu, width)?;
    cpu.go_far_real(selector, rip)?;
    stack.commit(cpu);
    cpu.finish_iret(mask, flags);
    Ok(())
}

fn iret_to_v86(cpu: &mut Cpu, mut stack: Stack, [rip, cs, flags]: [u64; 3]) -> Step {
    let pointer = stack.pop(cpu, 4)?;
    let mut selectors = [0; 5];
    for selector in &mut selectors {
        *selector = stack.pop(cpu, 4)? as u16;
    }
    if rip > 0xffff {
        return Err(cpu.gp());
    }
    let [ss, es, ds, fs, gs] = selectors.map(virtual_segment);
    cpu.state.segments = [es, virtual_segment(cs as u16), ss, ds, fs, gs];
    cpu.set(Gpr::Rsp, pointer);
    cpu.set_next(rip);
    let mask = flags::STATUS | flags::TF | flags::IF | flags::DF | flags::IOPL | flags::NT;
    let mask = mask | flags::RF | flags::VM | flags::AC | flags::ID;
    cpu.finish_iret(mask, flags);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    use iced_x86::Code;
    let (width, exec): (_, Exec) = match instruction.code() {
        Code::Retfw | Code::Retfw_imm16 => (2, retf),
        Code::Retfd | Code::Retfd_imm16 => (4, retf),
        Code::Retfq | Code::Retfq_imm16 => (8, retf),
        Code::Iretw => (2, iret),
        Code::Iretd => (4, iret),
        Code::Iretq => (8, iret),
        _ => return None,
    };
    op.width = width;
    op.extra = if instruction.mnemonic() == Mnemonic::Retf { op.imm as u32 } else { 0 };
    op.ends_block = true;
    Some(exec)
}
