//! FNSTENV, FLDENV, FNSAVE, FRSTOR: the environment in its four layouts (SDM vol. 1, 8.1.10, figures 8-9 to 8-12).
//!
//! Protected-mode layouts hold selector and offset of the last instruction and operand. As on every CPU since
//! Haswell the selectors read as zero (CPUID.(EAX=7,ECX=0):EBX bit 13 says so). Real-mode layouts hold linear
//! addresses, so those are what FIP and FDP are there.

use iced_x86::{Code, Instruction};
use x86::Legacy;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;
use crate::simd::x87::Registers;
use crate::walk::Access;

/// ST(0) to ST(7) behind the environment of FNSAVE, ten bytes each.
const STACK: usize = 80;

/// A layout: fields of 2 or 4 bytes, for protected or real mode.
#[derive(Clone, Copy)]
struct Layout {
    wide: bool,
    real: bool,
}

impl Layout {
    fn of<const WIDE: bool>(cpu: &Cpu) -> Self {
        Self { wide: WIDE, real: !cpu.mode.protected || cpu.mode.v86 }
    }

    /// Bytes of the environment: seven fields.
    fn size(self) -> usize {
        if self.wide { 28 } else { 14 }
    }

    /// The seven fields of this state.
    fn fields(self, x87: &Legacy) -> [u32; 7] {
        let (fip, fdp, fop) = (x87.fip as u32, x87.fdp as u32, u32::from(x87.fop));
        let [fcw, fsw, ftw] = [x87.fcw, x87.fsw, x87.tag_word()].map(|word| u32::from(word) | 0xffff_0000);
        match (self.wide, self.real) {
            (_, false) if self.wide => [fcw, fsw, ftw, fip, fop << 16, fdp, 0xffff_0000],
            (_, false) => [fcw, fsw, ftw, fip, 0, fdp, 0],
            (true, true) => {
                let low = |address: u32| address & 0xffff | 0xffff_0000;
                let high = |address: u32| address >> 16 << 12;
                [fcw, fsw, ftw, low(fip), high(fip) | fop, low(fdp), high(fdp)]
            }
            (false, true) => {
                let high = |address: u32| address >> 16 << 12;
                [fcw, fsw, ftw, fip, high(fip) | fop, fdp, high(fdp)]
            }
        }
    }

    fn encode(self, x87: &Legacy, into: &mut [u8]) {
        let size = if self.wide { 4 } else { 2 };
        for (field, bytes) in self.fields(x87).into_iter().zip(into.chunks_exact_mut(size)) {
            bytes.copy_from_slice(&field.to_le_bytes()[..size]);
        }
    }

    fn decode(self, from: &[u8], x87: &mut Legacy) {
        let size = if self.wide { 4 } else { 2 };
        let mut fields = [0u32; 7];
        for (field, bytes) in fields.iter_mut().zip(from.chunks_exact(size)) {
            let mut whole = [0; 4];
            whole[..size].copy_from_slice(bytes);
            *field = u32::from_le_bytes(whole);
        }
        let [fcw, fsw, ftw, ip, ip_high, dp, dp_high] = fields;
        let (fip, fdp, fop) = match self.real {
            true => {
                let address = |low: u32, high: u32| low & 0xffff | (high >> 12) << 16;
                (address(ip, ip_high), address(dp, dp_high), ip_high)
            }
            false if self.wide => (ip, dp, ip_high >> 16),
            false => (ip, dp, 0),
        };
        x87.set_words(fcw as u16, fsw as u16);
        x87.ftw = (0..8).fold(0, |tags, n| tags | u8::from(ftw >> (2 * n) & 3 != 3) << n);
        (x87.fip, x87.fdp, x87.fop) = (fip.into(), fdp.into(), fop as u16 & 0x7ff);
    }
}

/// FNSTENV masks all errors afterwards.
fn fnstenv<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    let layout = Layout::of::<WIDE>(cpu);
    let mut image = [0; 28];
    let image = &mut image[..layout.size()];
    layout.encode(&cpu.state.fpu.legacy, image);
    let linear = cpu.address(op, image.len() as u64, Access::Write)?;
    cpu.write_bytes(linear, image, op.segment)?;
    let x87 = &mut cpu.state.fpu.legacy;
    x87.set_control(x87.fcw | 0x3f);
    Ok(())
}

fn fldenv<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.wait()?;
    let layout = Layout::of::<WIDE>(cpu);
    let mut image = [0; 28];
    let image = &mut image[..layout.size()];
    let linear = cpu.address(op, image.len() as u64, Access::Read)?;
    cpu.read_bytes(linear, image, op.segment)?;
    layout.decode(image, &mut cpu.state.fpu.legacy);
    Ok(())
}

/// FNSAVE initializes afterwards.
fn fnsave<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    let layout = Layout::of::<WIDE>(cpu);
    let mut image = [0; 28 + STACK];
    let image = &mut image[..layout.size() + STACK];
    let (environment, stack) = image.split_at_mut(layout.size());
    layout.encode(&cpu.state.fpu.legacy, environment);
    for (register, bytes) in cpu.state.fpu.legacy.st.iter().zip(stack.chunks_exact_mut(10)) {
        bytes.copy_from_slice(&register.to_le_bytes()[..10]);
    }
    let linear = cpu.address(op, image.len() as u64, Access::Write)?;
    cpu.write_bytes(linear, image, op.segment)?;
    cpu.state.fpu.legacy.initialize();
    Ok(())
}

fn frstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.wait()?;
    let layout = Layout::of::<WIDE>(cpu);
    let mut image = [0; 28 + STACK];
    let image = &mut image[..layout.size() + STACK];
    let linear = cpu.address(op, image.len() as u64, Access::Read)?;
    cpu.read_bytes(linear, image, op.segment)?;
    let (environment, stack) = image.split_at(layout.size());
    layout.decode(environment, &mut cpu.state.fpu.legacy);
    for (register, bytes) in cpu.state.fpu.legacy.st.iter_mut().zip(stack.chunks_exact(10)) {
        let mut whole = [0; 16];
        whole[..10].copy_from_slice(bytes);
        *register = u128::from_le_bytes(whole);
    }
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Fnstenv_m14byte => fnstenv::<false>,
        Code::Fnstenv_m28byte => fnstenv::<true>,
        Code::Fldenv_m14byte => fldenv::<false>,
        Code::Fldenv_m28byte => fldenv::<true>,
        Code::Fnsave_m94byte => fnsave::<false>,
        Code::Fnsave_m108byte => fnsave::<true>,
        Code::Frstor_m94byte => frstor::<false>,
        Code::Frstor_m108byte => frstor::<true>,
        _ => return None,
    })
}
