//! Memory operands: first where they shall lie, then by which base, index, scale and displacement.

use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind, Register};
use x86::Gpr;

use super::builder::Builder;
use super::{registers, values};
use crate::layout::{ARENA, DATA, offset};
use base::PAGE_SIZE;

/// A 16- or 32-byte operand of SSE usually has to be aligned.
fn is_vector(size: usize) -> bool {
    matches!(size, 16 | 32)
}

impl Builder<'_> {
    /// Chooses where `size` bytes shall lie.
    pub fn place(&mut self, size: usize) -> u64 {
        let size = size.max(1) as u64;
        let boundary = |random: &mut fastrand::Rng, at: u64| at - random.u64(1..size.max(2)).min(size);
        let random = &mut *self.random;
        if self.faulty && random.u8(..4) == 0 {
            let crossing = |random: &mut fastrand::Rng, page: u64| boundary(random, ARENA + page * PAGE_SIZE);
            return match random.u8(..16) {
                0..6 => DATA[2].at + random.u64(..PAGE_SIZE - size), // a write to constants
                6 => crossing(random, 2),
                7 => crossing(random, 3),
                8 => crossing(random, 4),
                9 => crossing(random, 5),
                10 => crossing(random, 0),
                11 => ARENA + 3 * PAGE_SIZE + random.u64(..PAGE_SIZE),
                12 => 1 << random.u32(46..64),
                13 => random.u64(..),
                14 => 0x0000_8000_0000_0000 - random.u64(..=size),
                _ => random.u64(..) << 47,
            };
        }
        let crosses = random.u8(..8) == 0 && !(is_vector(size as usize) && random.u8(..4) != 0);
        if crosses && size > 1 {
            return boundary(random, ARENA + PAGE_SIZE);
        }
        let page = [DATA[0].at, DATA[1].at, DATA[3].at][random.usize(..3)];
        let at = page + random.u64(..PAGE_SIZE - size);
        let align = if is_vector(size as usize) { random.u8(..8) != 0 } else { random.bool() };
        if align && size.is_power_of_two() { at & !(size - 1) } else { at }
    }

    /// Gives the memory at `at` a value that suits `size`, most of the time.
    pub fn furnish(&mut self, at: u64, size: MemorySize) {
        if self.random.u8(..4) == 0 {
            return;
        }
        let bytes = values::memory(self.random, size);
        let len = size.size().clamp(1, bytes.len());
        if let Some(place) = offset(at) {
            self.case.start.patch(place, &bytes[..len]);
        }
    }

    /// Fills in the operand: `size` tells what lies there. Gives the linear address if it is known.
    pub fn memory_operand(&mut self, instruction: &mut Instruction, n: u32, size: MemorySize) -> Option<u64> {
        instruction.set_op_kind(n, OpKind::Memory);
        let bytes = match size {
            MemorySize::Fxsave_512Byte | MemorySize::Fxsave64_512Byte => 512,
            size => size.size(),
        };
        let mut at = self.place(bytes);
        if bytes > 32 {
            at = self.whole(at, bytes);
        }
        if instruction.cpuid_features().contains(&CpuidFeature::SHA) {
            at &= !0xf; // AMD's do not insist on it
        }
        let segment = match self.random.u8(..24) {
            0 => Register::FS,
            1 => Register::GS,
            2 => [Register::DS, Register::ES, Register::SS, Register::CS][self.random.usize(..4)],
            _ => Register::None,
        };
        let base = match segment {
            Register::FS => self.case.start.fs_base,
            Register::GS => self.case.start.gs_base,
            _ => 0,
        };
        instruction.set_segment_prefix(segment);
        if !self.address(instruction, at.wrapping_sub(base)) {
            self.wild(instruction);
            return None;
        }
        match instruction.mnemonic() {
            Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => self.furnish_mxcsr(at),
            Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => {
                self.furnish(at, MemorySize::UInt64);
                self.furnish_mxcsr(at + 24);
            }
            _ => self.furnish(at, size),
        }
        Some(at)
    }

    /// A value for MXCSR: of bits that every CPU has, or with one that none has.
    fn furnish_mxcsr(&mut self, at: u64) {
        let mut value = self.random.u32(..0x1_0000) | if self.random.bool() { 0x1f80 } else { 0 };
        if self.random.u8(..8) == 0 {
            value |= 1 << self.random.u32(18..32);
        }
        if let Some(place) = offset(at) {
            self.case.start.patch(place, &value.to_le_bytes());
        }
    }

    /// Big operands stay whole: how much of one is written before a fault is for each CPU to decide.
    fn whole(&mut self, at: u64, bytes: usize) -> u64 {
        let page = [DATA[0].at, DATA[1].at, DATA[3].at][self.random.usize(..3)];
        let at = page + at % (PAGE_SIZE - bytes as u64);
        if self.random.u8(..8) == 0 { at } else { at & !0x3f }
    }

    /// Expresses an effective address. False if no known register and no displacement leads there.
    fn address(&mut self, instruction: &mut Instruction, at: u64) -> bool {
        let form = self.random.u8(..16);
        if form == 0 && i32::try_from(at.wrapping_sub(self.ip()) as i64).is_ok() && at >> 31 == 0 {
            instruction.set_memory_base(Register::RIP);
            instruction.set_memory_displ_size(8);
            instruction.set_memory_displacement64(at);
            return true;
        }
        if form == 1 && i64::from(at as i32) as u64 == at {
            instruction.set_memory_displ_size(8);
            instruction.set_memory_displacement64(at);
            return true;
        }
        let narrow = form == 2 && at >> 32 == 0;
        let index = if form > 8 { self.known_register(|n, _| n != Gpr::Rsp as usize) } else { None };
        let scale = self.random.u32(..4);
        let offset = index.map_or(0, |(_, value)| value << scale);
        let fits = |value: u64| {
            let rest = at.wrapping_sub(offset).wrapping_sub(value);
            narrow || i64::from(rest as i32) as u64 == rest
        };
        let base = match self.known_register(|_, value| fits(value)) {
            Some(base) => base,
            // None leads there: load one that does.
            None if self.random.u8(..8) != 0 => {
                let number = self.random.usize(..16);
                if number == Gpr::Rsp as usize || index.is_some_and(|(n, _)| n == number) {
                    return false;
                }
                let near = at.wrapping_sub(offset).wrapping_sub(self.random.u64(..256));
                self.load(super::gpr(number), near);
                (number, near)
            }
            None => return false,
        };
        let rest = at.wrapping_sub(offset).wrapping_sub(base.1);
        let first = if narrow { Register::EAX } else { Register::RAX };
        instruction.set_memory_base(first + base.0 as u32);
        if let Some((number, _)) = index {
            instruction.set_memory_index(first + number as u32);
            instruction.set_memory_index_scale(1 << scale);
        }
        self.displace(instruction, rest, narrow);
        true
    }

    fn displace(&mut self, instruction: &mut Instruction, rest: u64, narrow: bool) {
        let byte = if narrow { i64::from(rest as i32) } else { rest as i64 };
        let short = i8::try_from(byte).is_ok() && self.random.u8(..4) != 0;
        let size = match () {
            () if byte == 0 && short => 0,
            () if short => 1,
            () if narrow => 4,
            () => 8,
        };
        instruction.set_memory_displ_size(size);
        instruction.set_memory_displacement64(if narrow { u64::from(rest as u32) } else { rest });
    }

    /// An operand by whatever registers, wherever they point.
    fn wild(&mut self, instruction: &mut Instruction) {
        instruction.set_memory_base(Register::RAX + self.random.u32(..16));
        if self.random.bool() {
            let index = self.random.u32(..16);
            if index != Gpr::Rsp as u32 {
                instruction.set_memory_index(Register::RAX + index);
                instruction.set_memory_index_scale(1 << self.random.u32(..4));
            }
        }
        let rest = self.random.i8(..) as i64 as u64;
        self.displace(instruction, rest, false);
    }

    /// A register of known value that satisfies the condition, chosen at random.
    fn known_register(&mut self, fits: impl Fn(usize, u64) -> bool) -> Option<(usize, u64)> {
        let first = self.random.usize(..16);
        (0..16).map(|n| (n + first) % 16).find_map(|n| {
            let value = self.known[n]?;
            fits(n, value).then_some((n, value))
        })
    }

    /// Sees to it that an implicit pointer (RSI, RDI, RBX, RBP) leads somewhere, most of the time.
    pub fn aim(&mut self, register: Gpr, size: MemorySize) {
        let known = self.known[register as usize].and_then(offset).is_some();
        if known && self.random.bool() || self.random.u8(..8) == 0 {
            return;
        }
        let at =
            if self.random.u8(..4) == 0 { registers::pointer(self.random) } else { self.place(size.size()) };
        self.load(register, at);
        self.furnish(at, size);
    }
}
