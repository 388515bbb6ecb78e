//! The registers that a case starts with.

use fastrand::Rng;
use x86::flags::{DF, IF, RESERVED_ONE, STATUS};
use x86::{Fpu, Gpr};

use super::values;
use crate::layout::{ARENA, DATA};
use crate::start::Start;
use base::PAGE_SIZE;

/// MXCSR after reset: all exceptions masked.
const MXCSR: u32 = 0x1f80;
const MXCSR_FTZ: u32 = 1 << 15;
const MXCSR_DAZ: u32 = 1 << 6;

/// Fills in all registers.
pub fn fill(random: &mut Rng, start: &mut Start) {
    for register in &mut start.gpr {
        *register = match random.u8(..10) {
            0..4 => pointer(random),
            4..7 => random.u64(..64),
            _ => values::integer(random),
        };
    }
    start.gpr[Gpr::Rsp as usize] = stack(random);
    start.rflags = RESERVED_ONE | IF | random.u64(..) & STATUS;
    if random.u8(..8) == 0 {
        start.rflags |= DF;
    }
    start.fs_base = pointer(random) & !7;
    start.gs_base = if random.bool() { 0 } else { pointer(random) };
    floating_point(random, &mut start.fpu);
}

/// An address in or near the data pages.
pub fn pointer(random: &mut Rng) -> u64 {
    let page = DATA[random.usize(..DATA.len())].at;
    match random.u8(..4) {
        0 => ARENA + PAGE_SIZE + random.u64(..64) - 32,
        1 => page + random.u64(..PAGE_SIZE),
        _ => page + (random.u64(..PAGE_SIZE) & !0xf),
    }
}

/// An address for the stack: mostly with room on both sides.
fn stack(random: &mut Rng) -> u64 {
    match random.u8(..16) {
        0 => pointer(random),
        1 => DATA[3].at + random.u64(..32),
        _ => [DATA[1].at, DATA[3].at][random.usize(..2)] + (random.u64(256..PAGE_SIZE - 256) & !7),
    }
}

fn floating_point(random: &mut Rng, fpu: &mut Fpu) {
    *fpu = Fpu::default();
    let legacy = &mut fpu.legacy;
    legacy.fcw = 0x37f;
    if random.u8(..3) == 0 {
        // Precision and rounding.
        legacy.fcw = legacy.fcw & !0xf00 | (random.u16(..16) << 8);
    }
    if random.u8(..8) == 0 {
        legacy.fcw ^= random.u16(..0x40); // unmasked exceptions
    }
    legacy.fsw = random.u16(..8) << 11 | (random.u16(..) & 0x4700);
    if random.u8(..8) == 0 {
        legacy.fsw |= random.u16(..0x80);
    }
    if legacy.fsw & 0x3f & !legacy.fcw != 0 {
        legacy.fsw |= 0x8080; // an unmasked exception is pending: ES and B
    } else {
        legacy.fsw &= !0x8080;
    }
    legacy.ftw = match random.u8(..4) {
        0 => 0,
        1 => 0xff,
        _ => random.u8(..),
    };
    legacy.st.iter_mut().for_each(|st| *st = values::extended(random));
    legacy.xmm.iter_mut().for_each(|xmm| *xmm = values::vector(random));
    fpu.ymm_high.iter_mut().for_each(|high| *high = values::vector(random));
    legacy.mxcsr = MXCSR;
    if random.u8(..3) == 0 {
        legacy.mxcsr |= random.u32(..4) << 13 | random.u32(..) & (MXCSR_FTZ | MXCSR_DAZ);
    }
    if random.u8(..8) == 0 {
        legacy.mxcsr ^= random.u32(..0x40) << 7; // unmasked exceptions
    }
    if random.u8(..4) == 0 {
        legacy.mxcsr |= random.u32(..0x40); // flags that stick
    }
}
