//! Open questions: differences that the manuals leave to each CPU.
//!
//! A case that differs by one of these is not compared. Each is as narrow as it can be told from the two ends
//! and the instruction that the host's CPU stopped at.

use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind, Register};
use x86::paging::is_canonical;
use x86::{Gpr, Vector, flags, page_fault};

use crate::case::Case;
use crate::difference::Difference;
use crate::end::{End, Stop};
use crate::layout::{self, CODE, CODE_BYTES, IMAGE_BYTES, background};

const PF: u32 = Vector::PageFault as u32;
const GP: u32 = Vector::GeneralProtection as u32;
const SS: u32 = Vector::StackFault as u32;
const UD: u32 = Vector::InvalidOpcode as u32;
const XM: u32 = Vector::SimdError as u32;
const AC: u32 = Vector::AlignmentCheck as u32;
const DB: u32 = Vector::Debug as u32;

/// Bytes of its operand that FXSAVE writes.
const FXSAVE_USED: u64 = 416;
/// MXCSR: misaligned operands are no error (AMD).
const MXCSR_MM: u32 = 1 << 17;

/// The open question that the differences are about, if they are about one.
pub fn question(
    case: &Case,
    expected: &End,
    found: &End,
    differences: &[Difference],
) -> Option<&'static str> {
    if found.stop == Stop::EXCEPTION && found.vector == GP {
        let instruction = case.instruction(case.step_at(found.rip)?);
        if loads_mxcsr(&instruction) && has_mm(case, linear(&instruction, found)) {
            return Some("MXCSR.MM is there for some CPUs");
        }
        if instruction.cpuid_features().contains(&CpuidFeature::SHA) {
            return Some("some CPUs do not insist on the alignment of SHA operands");
        }
    }
    if found.stop == Stop::EXCEPTION && found.vector == AC && expected.rip != found.rip {
        let instruction = case.instruction(case.step_at(found.rip)?);
        if is_long(&instruction) {
            return Some("a vector operand is not aligned under AC");
        }
    }
    if expected.stop != Stop::EXCEPTION {
        return None;
    }
    let step = case.step_at(expected.rip)?;
    let only_memory = differences.iter().all(|difference| difference.what.starts_with("memory"));
    if step.companion && only_memory && expected.rip == found.rip {
        return Some("stopped before it had hidden what tells of the CPU");
    }
    let instruction = case.instruction(step);
    let at = offset(&instruction, expected);
    let wraps = at.checked_add(instruction.memory_size().size() as u64).is_none();
    if expected.vector == GP && is_based(&instruction) && (wraps || !is_canonical(at)) {
        return Some("an offset into FS or GS is not canonical, its linear address is");
    }
    let vectors = [expected.vector, if found.stop == Stop::EXCEPTION { found.vector } else { 0 }];
    if vectors.contains(&AC) && is_long(&instruction) {
        return Some("a vector operand is not aligned under AC");
    }
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let only_flags = differences.len() == 1 && differences[0].what == "rflags";
    if vectors == [DB, DB] && repeats && only_flags && expected.rflags ^ found.rflags == flags::RF {
        return Some("RF in the middle of a repeated instruction under single step");
    }
    let writing = matches!(instruction.op0_kind(), OpKind::MemoryESRDI | OpKind::MemoryESEDI);
    let over_code = (CODE..=CODE + CODE_BYTES as u64).contains(&expected.gpr[Gpr::Rdi as usize]);
    if repeats && writing && over_code {
        return Some("a repeated store over the instruction itself");
    }
    if instruction.is_vsib() && expected.vector == DB {
        return Some("a gather under single step");
    }
    if instruction.mnemonic() == Mnemonic::Call && vectors.contains(&GP) && vectors[0] != vectors[1] {
        return Some("a call can neither push nor arrive");
    }
    if is_masked_store(&instruction) && [PF, GP, SS].contains(&expected.vector) {
        return Some("a store with an empty mask may fault");
    }
    let saves = matches!(instruction.mnemonic(), Mnemonic::Fxsave | Mnemonic::Fxsave64);
    let reached = expected.cr2.wrapping_sub(linear(&instruction, expected));
    if saves && expected.vector == PF && (FXSAVE_USED..512).contains(&reached) {
        return Some("the end of FXSAVE's operand, which it does not write, is not there");
    }
    if found.stop != Stop::EXCEPTION || found.rip != expected.rip {
        return None;
    }
    two_faults(&instruction, expected, found)
        .or_else(|| simd_flags(&instruction, expected, found, differences))
}

fn loads_mxcsr(instruction: &Instruction) -> bool {
    use Mnemonic::{Fxrstor, Fxrstor64, Ldmxcsr, Vldmxcsr};
    matches!(instruction.mnemonic(), Fxrstor | Fxrstor64 | Ldmxcsr | Vldmxcsr)
}

/// Has the value that is loaded from `linear` into MXCSR, or from an FXSAVE image there, MXCSR.MM set?
fn has_mm(case: &Case, linear: u64) -> bool {
    const MXCSR_AT: u64 = 24;
    let mut image = background(case.seed);
    for patch in case.start.patches() {
        let at = usize::from(patch.at).min(IMAGE_BYTES);
        let len = usize::from(patch.len).min(IMAGE_BYTES - at);
        image[at..at + len].copy_from_slice(&patch.bytes[..len]);
    }
    [linear, linear.wrapping_add(MXCSR_AT)].into_iter().any(|at| {
        let third = layout::offset(at.wrapping_add(2)); // the byte with bits 16 to 23
        third.is_some_and(|third| u32::from(image[third]) << 16 & MXCSR_MM != 0)
    })
}

/// SDM vol. 2, MASKMOVDQU: "may signal faults even if the mask is all 0s".
fn is_masked_store(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu)
}

/// Has it a memory operand that alignment checking may overlook (SDM vol. 2, MOVUPS: "may or may not be
/// generated")?
fn is_long(instruction: &Instruction) -> bool {
    instruction.memory_size().size() > 8 || instruction.is_vsib() || is_masked_store(instruction)
}

/// Is its memory operand in FS or GS?
fn is_based(instruction: &Instruction) -> bool {
    matches!(instruction.memory_segment(), Register::FS | Register::GS)
}

/// The offset of the memory operand within its segment.
fn offset(instruction: &Instruction, end: &End) -> u64 {
    let value = |register: Register| match register {
        Register::None => 0,
        Register::RIP | Register::EIP => 0, // the displacement has it all
        _ => end.gpr[register.number() & 15],
    };
    let sum = value(instruction.memory_base())
        .wrapping_add(value(instruction.memory_index()).wrapping_mul(instruction.memory_index_scale().into()))
        .wrapping_add(instruction.memory_displacement64());
    if instruction.memory_base().size() == 4 { sum & 0xffff_ffff } else { sum }
}

/// The linear address of the memory operand.
fn linear(instruction: &Instruction, end: &End) -> u64 {
    let base = match instruction.memory_segment() {
        Register::FS => end.fs_base,
        Register::GS => end.gs_base,
        _ => 0,
    };
    offset(instruction, end).wrapping_add(base)
}

/// An instruction with two things wrong: which of them is told is open (SDM vol. 3, table 6-2: the order
/// within a class of priority is implementation-specific).
fn two_faults(instruction: &Instruction, expected: &End, found: &End) -> Option<&'static str> {
    let told = |end: &End| (end.vector, end.error, end.cr2);
    if told(expected) == told(found) {
        return None;
    }
    let vectors = [expected.vector, found.vector];
    let two_operands = matches!(
        instruction.mnemonic(),
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq
    );
    if two_operands && vectors.iter().all(|vector| [PF, GP, AC].contains(vector)) {
        return Some("both operands of a comparison fault");
    }
    if instruction.is_invalid() && vectors.contains(&UD) && vectors.contains(&GP) {
        return Some("an invalid instruction is too long as well");
    }
    let fetches = |end: &End| end.vector == PF && end.error & page_fault::FETCH != 0;
    if instruction.is_invalid() && vectors.contains(&UD) && (fetches(expected) || fetches(found)) {
        return Some("bytes of an invalid instruction are not all there");
    }
    let big = matches!(
        instruction.memory_size(),
        MemorySize::Fxsave_512Byte
            | MemorySize::Fxsave64_512Byte
            | MemorySize::FpuEnv14
            | MemorySize::FpuEnv28
            | MemorySize::FpuState94
            | MemorySize::FpuState108
    );
    let memory = vectors.iter().all(|vector| [PF, GP, SS].contains(vector));
    let long = big || matches!(instruction.memory_size(), MemorySize::Float80 | MemorySize::Bcd);
    if long && memory && vectors[0] != vectors[1] {
        return Some("a big operand reaches beyond the canonical addresses");
    }
    if big && vectors == [PF, PF] && near(expected.cr2, found.cr2) {
        return Some("a big operand is not all there");
    }
    let vector_operand = matches!(instruction.memory_size().size(), 16 | 32);
    if vector_operand && vectors.contains(&PF) && (vectors.contains(&GP) || vectors.contains(&SS)) {
        return Some("an operand is neither aligned nor present");
    }
    None
}

/// Within the biggest operand of each other, perhaps across the end of the address space.
fn near(one: u64, other: u64) -> bool {
    one.wrapping_sub(other).min(other.wrapping_sub(one)) < 512
}

/// What is left behind by an instruction that raises #XM, where CPUs differ from each other.
fn simd_flags(
    instruction: &Instruction,
    expected: &End,
    found: &End,
    differences: &[Difference],
) -> Option<&'static str> {
    const OVERFLOW_UNDERFLOW: u32 = 3 << 3;
    const PRECISION: u32 = 1 << 5;
    if [expected.vector, found.vector] != [XM, XM] {
        return None;
    }
    let (one, other) = (expected.fpu.legacy.mxcsr, found.fpu.legacy.mxcsr);
    let unmasked = one & OVERFLOW_UNDERFLOW & !(one >> 7);
    if one ^ other == PRECISION && unmasked != 0 && differences.len() == 1 {
        return Some("the precision flag beside an unmasked overflow or underflow");
    }
    let dot =
        matches!(instruction.mnemonic(), Mnemonic::Dpps | Mnemonic::Dppd | Mnemonic::Vdpps | Mnemonic::Vdppd);
    if dot && differences.iter().all(|difference| difference.what == "mxcsr") {
        return Some("how far a dot product goes on beside an unmasked exception");
    }
    let mmx = (0..instruction.op_count())
        .any(|n| instruction.op_kind(n) == OpKind::Register && instruction.op_register(n).is_mm());
    let x87 = |name: &str| ["fsw", "ftw"].contains(&name) || name.starts_with("st");
    if mmx && differences.iter().all(|difference| x87(&difference.what)) {
        return Some("whether a conversion that raises #XM has left x87 for MMX");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Step;
    use crate::start::Start;

    /// A case of one instruction.
    fn case(code: &[u8], mnemonic: Mnemonic) -> Case {
        let mut start = Start { code_len: code.len() as u32, ..Start::default() };
        start.code[..code.len()].copy_from_slice(code);
        let step = Step { at: 0, len: code.len() as u8, mnemonic, undefined: 0, companion: false };
        Case { seed: 1, index: 0, start, steps: vec![step], undefined: 0 }
    }

    fn fault(vector: u32, cr2: u64) -> End {
        End { stop: Stop::EXCEPTION, rip: CODE, vector, cr2, ..End::default() }
    }

    #[test]
    fn which_operand_faults_first_is_open_where_there_are_two() {
        let cmpsb = case(&[0xa6], Mnemonic::Cmpsb);
        assert!(question(&cmpsb, &fault(PF, 8), &fault(PF, 16), &[]).is_some());
        assert!(question(&cmpsb, &fault(PF, 8), &fault(UD, 0), &[]).is_none());
        let load = case(&[0x8a, 0x00], Mnemonic::Mov);
        assert!(question(&load, &fault(PF, 8), &fault(PF, 16), &[]).is_none());
    }

    #[test]
    fn a_difference_that_is_no_fault_is_not_open() {
        let cmpsb = case(&[0xa6], Mnemonic::Cmpsb);
        let end = End { rip: layout::EXIT, ..End::default() };
        assert!(question(&cmpsb, &end, &End { hash: 1, ..end }, &[]).is_none());
    }

    #[test]
    fn the_bit_that_some_cpus_have_in_mxcsr_is_told_from_others() {
        // LDMXCSR [20000000h]
        let mut ldmxcsr = case(&[0x0f, 0xae, 0x14, 0x25, 0, 0, 0, 0x20], Mnemonic::Ldmxcsr);
        let went_on = End { rip: layout::EXIT, ..End::default() };
        ldmxcsr.start.patch(0, &[0x80, 0x1f, 0x02, 0]);
        assert!(question(&ldmxcsr, &went_on, &fault(GP, 0), &[]).is_some());
        ldmxcsr.start.patch(0, &[0x80, 0x1f, 0x00, 0]);
        ldmxcsr.start.patch(24, &[0; 4]);
        assert!(question(&ldmxcsr, &went_on, &fault(GP, 0), &[]).is_none());
    }
}
