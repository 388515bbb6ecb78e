//! Operand widths.

use base::Scalar;

use crate::cpu::Cpu;
use crate::op::HIGH;

/// A general-register operand width: how it is read from and merged into the 64-bit register.
pub(crate) trait Width: Scalar + std::fmt::Debug {
    /// Bits.
    const BITS: u32 = Self::SIZE as u32 * 8;
    /// The mask of the width in 64 bits.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// Reads a register.
    fn get(cpu: &Cpu, register: u8) -> Self;
    /// Writes a register: 32-bit writes clear the upper half, narrower ones keep the rest.
    fn set(cpu: &mut Cpu, register: u8, value: Self);
    /// Sign-extends to 64 bits.
    #[inline(always)]
    fn signed(self) -> i64 {
        (self.to_u64() << (64 - Self::BITS)) as i64 >> (64 - Self::BITS)
    }
}

impl Width for u8 {
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        if register < HIGH {
            cpu.gpr[usize::from(register)] as u8
        } else {
            (cpu.gpr[usize::from(register & 3)] >> 8) as u8
        }
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        if register < HIGH {
            let slot = &mut cpu.gpr[usize::from(register)];
            *slot = *slot & !0xff | u64::from(value);
        } else {
            let slot = &mut cpu.gpr[usize::from(register & 3)];
            *slot = *slot & !0xff00 | u64::from(value) << 8;
        }
    }
}

impl Width for u16 {
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        cpu.gpr[usize::from(register)] as u16
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        let slot = &mut cpu.gpr[usize::from(register)];
        *slot = *slot & !0xffff | u64::from(value);
    }
}

impl Width for u32 {
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        cpu.gpr[usize::from(register)] as u32
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        cpu.gpr[usize::from(register)] = u64::from(value);
    }
}

impl Width for u64 {
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        cpu.gpr[usize::from(register)]
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        cpu.gpr[usize::from(register)] = value;
    }
}
