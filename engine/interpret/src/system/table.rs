//! The descriptor-table registers: LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR (SDM vol. 3, 2.4).

use iced_x86::{Instruction, Mnemonic};
use x86::control::cr4;
use x86::paging::is_canonical;
use x86::{Segment, TableRegister, Vector, access};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::system::descriptor::{Descriptor, is_null, kind};
use crate::walk::Access;
use crate::width::Width;

/// Bits 8–12 of the last doubleword of a 16-byte descriptor: zero, so that no code loads it as a segment.
const UPPER_TYPE: u64 = 0x1f << 40;

impl Cpu {
    /// #GP(0) unless the code runs at CPL 0.
    #[inline]
    pub fn require_supervisor(&mut self) -> Step {
        if self.mode.cpl == 0 { Ok(()) } else { Err(self.gp()) }
    }

    /// #UD in real and virtual-8086 mode, which know no selectors.
    pub fn require_protected(&mut self) -> Step {
        if self.mode.protected && !self.mode.v86 { Ok(()) } else { Err(self.ud()) }
    }

    /// #GP(0) where CR4.UMIP keeps user code from looking at system registers.
    pub fn require_visible(&mut self) -> Step {
        if self.mode.cpl > 0 && self.state.cr4 & cr4::UMIP != 0 { Err(self.gp()) } else { Ok(()) }
    }

    /// The segment of a system descriptor: its base has 64 bits in long mode.
    fn system_segment(&mut self, found: &Descriptor) -> Result<Segment, Raised> {
        if !self.mode.long {
            return Ok(found.segment);
        }
        let Some(upper) = self.upper_half(found)? else {
            return Err(self.gp_selector(found.selector));
        };
        let base = found.segment.base | upper << 32;
        if upper & UPPER_TYPE != 0 || !is_canonical(base) {
            return Err(self.gp_selector(found.selector));
        }
        Ok(Segment { base, ..found.segment })
    }
}

/// Loads limit and base; `extra` is how many bytes of the base count.
fn load_table(cpu: &mut Cpu, op: &Op) -> Result<TableRegister, Raised> {
    cpu.require_supervisor()?;
    let bytes = if op.extra == 8 { 10 } else { 6 };
    let linear = cpu.address(op, bytes, Access::Read)?;
    let mut raw = [0; 10];
    cpu.read_bytes(linear, &mut raw[..bytes as usize], op.segment)?;
    let [limit_low, limit_high, base @ ..] = raw;
    let base = u64::from_le_bytes(base) & u64::MAX >> (64 - 8 * op.extra);
    if cpu.mode.long && !is_canonical(base) {
        return Err(cpu.gp());
    }
    Ok(TableRegister { base, limit: u16::from_le_bytes([limit_low, limit_high]) })
}

fn lgdt(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.state.gdtr = load_table(cpu, op)?;
    Ok(())
}

fn lidt(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.state.idtr = load_table(cpu, op)?;
    Ok(())
}

/// Outside 64-bit code all 32 bits of the base are stored, whatever the operand size.
fn store_table(cpu: &mut Cpu, op: &Op, table: TableRegister) -> Step {
    cpu.require_visible()?;
    let bytes = if cpu.mode.is_64() { 10 } else { 6 };
    let mut raw = [0; 10];
    raw[..2].copy_from_slice(&table.limit.to_le_bytes());
    raw[2..].copy_from_slice(&table.base.to_le_bytes());
    let linear = cpu.address(op, bytes, Access::Write)?;
    cpu.write_bytes(linear, &raw[..bytes as usize], op.segment)
}

fn sgdt(cpu: &mut Cpu, op: &Op) -> Step {
    store_table(cpu, op, cpu.state.gdtr)
}

fn sidt(cpu: &mut Cpu, op: &Op) -> Step {
    store_table(cpu, op, cpu.state.idtr)
}

/// A 16-bit operand, from a register or memory.
pub(crate) fn word(cpu: &mut Cpu, op: &Op) -> Result<u16, Raised> {
    if op.kinds[0] == Kind::Register { Ok(u16::get(cpu, op.dst)) } else { cpu.load::<u16>(op) }
}

/// A system register to a 16-bit memory operand, or to a register of any width.
pub(crate) fn put_word(cpu: &mut Cpu, op: &Op, value: u64) -> Step {
    match (op.kinds[0], op.width) {
        (Kind::Memory, _) => return cpu.store(op, value as u16),
        (_, 2) => u16::set(cpu, op.dst, value as u16),
        (_, 4) => u32::set(cpu, op.dst, value as u32),
        _ => u64::set(cpu, op.dst, value),
    }
    Ok(())
}

fn lldt(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_protected()?;
    cpu.require_supervisor()?;
    let selector = word(cpu, op)?;
    if is_null(selector) {
        cpu.state.ldtr = Segment { selector, ..Segment::default() };
        return Ok(());
    }
    let found = system_descriptor(cpu, selector, |kind| kind == kind::LDT)?;
    cpu.state.ldtr = cpu.system_segment(&found)?;
    Ok(())
}

fn ltr(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_protected()?;
    cpu.require_supervisor()?;
    let selector = word(cpu, op)?;
    if is_null(selector) {
        return Err(cpu.gp());
    }
    let long = cpu.mode.long;
    let mut found =
        system_descriptor(cpu, selector, |kind| kind == kind::TSS || kind == kind::TSS_16 && !long)?;
    let segment = cpu.system_segment(&found)?;
    cpu.change_type(&mut found, kind::BUSY, 0)?;
    cpu.state.tr = Segment { access: found.access(), ..segment };
    Ok(())
}

/// A present descriptor of a wanted type in the GDT.
fn system_descriptor(
    cpu: &mut Cpu,
    selector: u16,
    wanted: impl Fn(u16) -> bool,
) -> Result<Descriptor, Raised> {
    const IN_LDT: u16 = 4;
    if selector & IN_LDT != 0 {
        return Err(cpu.gp_selector(selector));
    }
    let found = cpu.descriptor(selector, Vector::GeneralProtection)?;
    if !found.system_kind().is_some_and(wanted) {
        return Err(cpu.gp_selector(selector));
    }
    if found.access() & access::PRESENT == 0 {
        return Err(cpu.selector_fault(Vector::SegmentNotPresent, selector));
    }
    Ok(found)
}

fn sldt(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_protected()?;
    cpu.require_visible()?;
    put_word(cpu, op, u64::from(cpu.state.ldtr.selector))
}

fn str(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_protected()?;
    cpu.require_visible()?;
    put_word(cpu, op, u64::from(cpu.state.tr.selector))
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    use iced_x86::Code;
    op.extra = match instruction.code() {
        Code::Lgdt_m1664 | Code::Lidt_m1664 => 8,
        Code::Lgdt_m1632 | Code::Lidt_m1632 => 4,
        Code::Lgdt_m1632_16 | Code::Lidt_m1632_16 => 3,
        _ => op.extra,
    };
    Some(match instruction.mnemonic() {
        Mnemonic::Lgdt => lgdt,
        Mnemonic::Lidt => lidt,
        Mnemonic::Sgdt => sgdt,
        Mnemonic::Sidt => sidt,
        Mnemonic::Lldt => lldt,
        Mnemonic::Ltr => ltr,
        Mnemonic::Sldt => sldt,
        Mnemonic::Str => str,
        _ => return None,
    })
}
