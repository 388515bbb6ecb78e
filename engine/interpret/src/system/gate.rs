//! Through a gate of the IDT, or a vector of real mode's table (SDM vol. 3, 6.10–6.14 and 20.1.4).

use x86::paging::is_canonical;
use x86::{Exception, Gpr, Segment, SegmentRegister, Vector, access, flags};

use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::FLAT;
use crate::raised::{Raised, Step};
use crate::system::descriptor::{Descriptor, RPL, kind};
use crate::system::stack::Stack;

/// Why a gate is taken: software may only take gates of its own privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Interrupts, exceptions, and INT1.
    Hardware,
    /// INT n.
    Software,
    /// INT3 and INTO, which virtual-8086 mode does not hold back.
    Breakpoint,
}

/// What goes through a gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub vector: u8,
    pub error_code: Option<u32>,
    pub cause: Cause,
    /// The address to return to.
    pub rip: u64,
    /// The pushed flags have RF set.
    pub resume: bool,
}

/// A gate of the IDT.
struct Gate {
    /// Type field.
    kind: u16,
    /// Interrupt stack table index, in long mode.
    ist: u8,
    selector: u16,
    offset: u64,
}

/// Where a gate leads, checked.
struct Target {
    code: Descriptor,
    /// Privilege level of the handler.
    cpl: u8,
}

impl Cpu {
    /// Saves where the CPU is and goes to the handler of a vector. Changes no register if it faults.
    ///
    /// # Errors
    /// #GP, #NP, #TS, #SS, with EXT in the error code unless the program asked for it by INT; #PF.
    pub fn enter(&mut self, entry: &Entry) -> Step {
        const EXT: u32 = 1;
        let entered = match () {
            () if !self.mode.protected => self.enter_real(entry),
            () if self.mode.long => self.enter_long(entry),
            () => self.enter_protected(entry),
        };
        if entered.is_err() && entry.cause == Cause::Hardware && self.raised.vector != Vector::PageFault {
            self.raised.error_code |= EXT;
        }
        entered
    }

    fn enter_real(&mut self, entry: &Entry) -> Step {
        let offset = 4 * u64::from(entry.vector);
        if offset + 3 > u64::from(self.state.idtr.limit) {
            return Err(self.idt_fault(Vector::GeneralProtection, entry));
        }
        let at = self.table_address(self.state.idtr.base, offset);
        let pointer = self.read_as::<u32>(View::Supervisor, at, FLAT)?;
        let mut stack = Stack::current(self);
        stack.push(self, 2, self.rflags())?;
        stack.push(self, 2, u64::from(self.state.segment(SegmentRegister::Cs).selector))?;
        stack.push(self, 2, entry.rip)?;
        stack.commit(self);
        let cs = self.state.segment_mut(SegmentRegister::Cs);
        cs.selector = (pointer >> 16) as u16;
        cs.base = u64::from(cs.selector) << 4;
        self.arrive(u64::from(pointer & 0xffff), flags::IF | flags::AC);
        Ok(())
    }

    fn enter_long(&mut self, entry: &Entry) -> Step {
        let gate = self.gate_long(entry)?;
        let mut target = self.gate_target(gate.selector)?;
        if target.code.access() & (access::LONG | access::DB) != access::LONG {
            return Err(self.gp_selector(gate.selector));
        }
        let inward = target.cpl < self.mode.cpl;
        let top = match gate.ist {
            0 if inward => self.stack_of_level(target.cpl)?,
            0 => self.get(Gpr::Rsp),
            ist => self.interrupt_stack(ist)?,
        };
        let mut stack = Stack::flat(self, top & !0xf, target.cpl);
        stack.push(self, 8, u64::from(self.state.segment(SegmentRegister::Ss).selector))?;
        stack.push(self, 8, self.get(Gpr::Rsp))?;
        stack.push(self, 8, self.pushed_flags(entry))?;
        stack.push(self, 8, u64::from(self.state.segment(SegmentRegister::Cs).selector))?;
        stack.push(self, 8, entry.rip)?;
        if let Some(error_code) = entry.error_code {
            stack.push(self, 8, u64::from(error_code))?;
        }
        if !is_canonical(gate.offset) {
            return Err(self.gp());
        }
        self.mark_accessed(&mut target.code)?;
        if inward {
            self.load_null_ss(target.cpl);
        }
        stack.commit(self);
        self.load_cs(&target.code, target.cpl);
        self.arrive(gate.offset, masked(gate.kind));
        Ok(())
    }

    fn enter_protected(&mut self, entry: &Entry) -> Step {
        let iopl = (self.state.rflags & flags::IOPL) >> 12;
        if self.mode.v86 && entry.cause == Cause::Software && iopl < 3 {
            return Err(self.gp());
        }
        let gate = self.gate_protected(entry)?;
        let mut target = self.gate_target(gate.selector)?;
        let width = if matches!(gate.kind, kind::INTERRUPT_GATE | kind::TRAP_GATE) { 4 } else { 2 };
        let from = self.state.segments;
        let (mut stack, ss) = if target.cpl < self.mode.cpl {
            if self.mode.v86 && target.cpl != 0 {
                return Err(self.gp_selector(gate.selector));
            }
            let (selector, pointer) = self.stack_segment_of_level(target.cpl)?;
            let ss = self.inner_ss(selector, target.cpl)?;
            let mut stack = Stack::inner(self, ss.segment, pointer, target.cpl);
            if self.mode.v86 {
                for register in
                    [SegmentRegister::Gs, SegmentRegister::Fs, SegmentRegister::Ds, SegmentRegister::Es]
                {
                    stack.push(self, width, u64::from(from[register as usize].selector))?;
                }
            }
            stack.push(self, width, u64::from(from[SegmentRegister::Ss as usize].selector))?;
            stack.push(self, width, self.get(Gpr::Rsp))?;
            (stack, Some(ss))
        } else if self.mode.v86 {
            return Err(self.gp_selector(gate.selector));
        } else {
            (Stack::current(self), None)
        };
        stack.push(self, width, self.pushed_flags(entry))?;
        stack.push(self, width, u64::from(from[SegmentRegister::Cs as usize].selector))?;
        stack.push(self, width, entry.rip)?;
        if let Some(error_code) = entry.error_code {
            stack.push(self, width, u64::from(error_code))?;
        }
        let offset = if width == 4 { gate.offset } else { gate.offset & 0xffff };
        if offset > u64::from(target.code.segment.limit) {
            return Err(self.gp());
        }
        self.mark_accessed(&mut target.code)?;
        if let Some(mut ss) = ss {
            self.mark_accessed(&mut ss)?;
            *self.state.segment_mut(SegmentRegister::Ss) = ss.segment;
        }
        if self.mode.v86 {
            for register in
                [SegmentRegister::Gs, SegmentRegister::Fs, SegmentRegister::Ds, SegmentRegister::Es]
            {
                *self.state.segment_mut(register) = Segment::default();
            }
        }
        stack.commit(self);
        self.load_cs(&target.code, target.cpl);
        self.arrive(offset, masked(gate.kind));
        Ok(())
    }

    /// Goes on at `rip`, with these flags and those that every gate clears taken down.
    fn arrive(&mut self, rip: u64, clear: u64) {
        self.state.rflags &= !(clear | flags::TF | flags::NT | flags::RF | flags::VM);
        self.rip = rip;
        self.set_next(rip);
        self.refresh();
    }

    fn pushed_flags(&self, entry: &Entry) -> u64 {
        let flags = self.rflags();
        if entry.resume { flags | flags::RF } else { flags }
    }

    /// An exception about the IDT's entry: the code has the vector and the IDT bit.
    #[cold]
    fn idt_fault(&mut self, vector: Vector, entry: &Entry) -> Raised {
        self.raise(Exception::with_code(vector, u32::from(entry.vector) << 3 | 2))
    }

    fn gate_long(&mut self, entry: &Entry) -> Result<Gate, Raised> {
        let offset = 16 * u64::from(entry.vector);
        if offset + 15 > u64::from(self.state.idtr.limit) {
            return Err(self.idt_fault(Vector::GeneralProtection, entry));
        }
        let at = self.state.idtr.base.wrapping_add(offset);
        let low = self.read_as::<u64>(View::Supervisor, at, FLAT)?;
        let high = self.read_as::<u64>(View::Supervisor, at.wrapping_add(8), FLAT)?;
        let gate = Gate { offset: gate_offset(low) | high << 32, ..self.checked_gate(entry, low)? };
        match gate.kind {
            kind::INTERRUPT_GATE | kind::TRAP_GATE => Ok(gate),
            _ => Err(self.idt_fault(Vector::GeneralProtection, entry)),
        }
    }

    fn gate_protected(&mut self, entry: &Entry) -> Result<Gate, Raised> {
        let offset = 8 * u64::from(entry.vector);
        if offset + 7 > u64::from(self.state.idtr.limit) {
            return Err(self.idt_fault(Vector::GeneralProtection, entry));
        }
        let at = self.table_address(self.state.idtr.base, offset);
        let low = self.read_as::<u64>(View::Supervisor, at, FLAT)?;
        let gate = self.checked_gate(entry, low)?;
        match gate.kind {
            kind::INTERRUPT_GATE | kind::TRAP_GATE | kind::INTERRUPT_GATE_16 | kind::TRAP_GATE_16 => Ok(gate),
            _ => Err(self.idt_fault(Vector::GeneralProtection, entry)),
        }
    }

    /// A gate of whatever type, if it may be taken and is present.
    fn checked_gate(&mut self, entry: &Entry, low: u64) -> Result<Gate, Raised> {
        let rights = (low >> 40) as u16;
        let known = matches!(rights & (access::NOT_SYSTEM | access::TYPE), 5..=7 | 14 | 15);
        let dpl = (rights & access::DPL) >> 5;
        if !known || entry.cause != Cause::Hardware && dpl < u16::from(self.mode.cpl) {
            return Err(self.idt_fault(Vector::GeneralProtection, entry));
        }
        if rights & access::PRESENT == 0 {
            return Err(self.idt_fault(Vector::SegmentNotPresent, entry));
        }
        Ok(Gate {
            kind: rights & access::TYPE,
            ist: (low >> 32) as u8 & 7,
            selector: (low >> 16) as u16,
            offset: gate_offset(low),
        })
    }

    /// The handler's code segment.
    fn gate_target(&mut self, selector: u16) -> Result<Target, Raised> {
        if selector & !RPL == 0 {
            return Err(self.gp());
        }
        let code = self.descriptor(selector, Vector::GeneralProtection)?;
        if !code.is_code() || code.dpl() > self.mode.cpl {
            return Err(self.gp_selector(selector));
        }
        if !code.segment.is_present() {
            return Err(self.selector_fault(Vector::SegmentNotPresent, selector));
        }
        let cpl = if code.is_conforming() { self.mode.cpl } else { code.dpl() };
        Ok(Target { code, cpl })
    }
}

/// The offset in the low 8 bytes of a gate.
pub(crate) fn gate_offset(low: u64) -> u64 {
    low & 0xffff | low >> 32 & 0xffff_0000
}

/// What else a gate of this type clears.
fn masked(kind: u16) -> u64 {
    match kind {
        kind::INTERRUPT_GATE | kind::INTERRUPT_GATE_16 => flags::IF,
        _ => 0,
    }
}
