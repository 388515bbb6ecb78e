//! MOVS and STOS upwards, as many elements at once as lie in one page of RAM each of source and
//! destination. These two make up memcpy, memset and clear_page of most guests.
//!
//! Only what is proven good is done here. Everything else — devices, page crossings, segment limits,
//! wrapping addresses, alignment checks, faults — gives zero and is left to the element-wise way, which then
//! does or raises exactly what it must.

use base::{PAGE_SIZE, RamOffset};
use x86::Gpr;
use x86::flags::DF;

use super::{advance, destination, index};
use crate::access::Place;
use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::Op;
use crate::raised::Raised;
use crate::walk::Access;
use crate::width::Width;

/// Fewer elements than this are not worth the proof.
const WORTH: u64 = 4;

/// The linear address of an index register, and how many whole elements, `count` at most, can be reached
/// from it in its page without wrapping round or leaving the segment.
fn run<T: Width>(
    cpu: &mut Cpu,
    op: &Op,
    register: Gpr,
    segment: u8,
    count: u64,
    access: Access,
) -> (u64, u64) {
    let offset = index(cpu, op, register);
    let to_wrap = (u64::MAX >> op.address_shift) - offset;
    let count = count.min(to_wrap / T::SIZE);
    // The segment's base need not be a multiple of a page, so the page is that of the linear address.
    let Ok(linear) = cpu.linear(segment, offset, 1, access) else { return (0, 0) };
    let count = count.min((PAGE_SIZE - linear % PAGE_SIZE) / T::SIZE);
    if count == 0 || cpu.linear(segment, offset, count * T::SIZE, access).is_err() {
        return (0, 0);
    }
    (linear, count)
}

/// May elements be handled together at all?
fn possible(cpu: &Cpu, count: u64) -> bool {
    count >= WORTH && cpu.state.rflags & DF == 0 && cpu.mode.view != View::UserAligned
}

/// MOVS. Gives the number of elements done.
pub(super) fn copy<T: Width>(cpu: &mut Cpu, op: &Op, count: u64) -> Result<u64, Raised> {
    if !possible(cpu, count) {
        return Ok(0);
    }
    let to_segment = destination(cpu);
    let (from, count) = run::<T>(cpu, op, Gpr::Rsi, op.segment, count, Access::Read);
    let (to, count) = run::<T>(cpu, op, Gpr::Rdi, to_segment, count, Access::Write);
    if count < WORTH {
        return Ok(0);
    }
    let Place::Ram(source) = cpu.translate(from, Access::Read, cpu.mode.view, op.segment)? else {
        return Ok(0);
    };
    let Place::Ram(target) = cpu.translate(to, Access::Write, cpu.mode.view, to_segment)? else {
        return Ok(0);
    };
    let bytes = count * T::SIZE;
    let hit = if target.0 > source.0 && target.0 - source.0 < bytes {
        // The destination runs into the source: what was just stored is loaded again.
        (0..count).fold(false, |hit, n| {
            let value: T = cpu.memory.load(RamOffset(source.0 + n * T::SIZE));
            hit | cpu.memory.store(RamOffset(target.0 + n * T::SIZE), value)
        })
    } else {
        cpu.memory.copy(source, target, bytes)
    };
    cpu.leave |= hit;
    advance::<T>(cpu, op, Gpr::Rsi, count);
    advance::<T>(cpu, op, Gpr::Rdi, count);
    Ok(count)
}

/// STOS. Gives the number of elements done.
pub(super) fn fill<T: Width>(cpu: &mut Cpu, op: &Op, count: u64) -> Result<u64, Raised> {
    if !possible(cpu, count) {
        return Ok(0);
    }
    let segment = destination(cpu);
    let (to, count) = run::<T>(cpu, op, Gpr::Rdi, segment, count, Access::Write);
    if count < WORTH {
        return Ok(0);
    }
    let Place::Ram(target) = cpu.translate(to, Access::Write, cpu.mode.view, segment)? else {
        return Ok(0);
    };
    let value = T::get(cpu, Gpr::Rax as u8);
    cpu.leave |= cpu.memory.fill(target, value, count);
    advance::<T>(cpu, op, Gpr::Rdi, count);
    Ok(count)
}
