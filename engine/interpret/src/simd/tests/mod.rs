//! A CPU with a few pages of memory, to execute single instructions on.

mod differential;
mod fault;
mod float;
mod mode;
mod native;
mod save;
mod x87;

use std::sync::Arc;

use base::{GuestMemory, RamOffset};
use engine::{Attention, BareBoard, CpuLevel, CpuModel};
use iced_x86::{Encoder, Instruction};
use x86::control::{cr0, cr4, efer};
use x86::{CpuState, Exception, SegmentRegister, Vector, access, xfeature};

use crate::cpu::Cpu;
use crate::decode::{Decoded, decode};
use crate::op::NEXT;

/// Data for memory operands: identity-mapped, writable. The page before is read-only, the one behind absent.
const DATA: u64 = 0x1_1000;
/// Read-only.
const READ_ONLY: u64 = DATA - 0x1000;
/// Not present.
const ABSENT: u64 = DATA + 0x1000;
/// Where instructions stand.
const CODE: u64 = 0x8000;

/// 64-bit code at CPL 0 with all of SSE and AVX on.
fn cpu() -> Cpu {
    let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
    let entry = |at: u64, value: u64| _ = memory.store(RamOffset(at), value);
    [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003)]
        .into_iter()
        .for_each(|(at, value)| entry(at, value));
    (0..256).for_each(|page| entry(0x4000 + 8 * page, page << 12 | 3));
    entry(0x4000 + 8 * (READ_ONLY >> 12), READ_ONLY | 1);
    entry(0x4000 + 8 * (ABSENT >> 12), 0);
    let model = CpuModel { level: CpuLevel::Host, vcpus: 1 };
    let mut cpu = Cpu::new(0, model, memory, Arc::new(Attention::default()), Arc::new(BareBoard::default()));
    let mut state =
        CpuState { rip: CODE, cr3: 0x1000, xcr0: xfeature::X87 | xfeature::SSE, ..CpuState::default() };
    state.cr0 = cr0::PE | cr0::PG | cr0::WP | cr0::NE | cr0::MP | cr0::ET;
    state.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
    if super::host_offers(iced_x86::CpuidFeature::AVX) {
        state.xcr0 |= xfeature::AVX;
    }
    state.msrs.efer = efer::LME | efer::LMA;
    state.segment_mut(SegmentRegister::Cs).access |= access::LONG | access::CODE;
    cpu.import(&state);
    cpu
}

/// 32-bit protected mode without paging, likewise.
fn cpu_32() -> Cpu {
    let mut cpu = cpu();
    let mut state = cpu.export();
    state.cr0 &= !cr0::PG;
    state.msrs.efer = 0;
    for segment in &mut state.segments {
        segment.limit = 0xffff_ffff;
        segment.base = 0;
        segment.access = segment.access & !access::LONG | access::DB | access::WRITABLE;
    }
    cpu.import(&state);
    assert_eq!(cpu.mode.code_bits, 32);
    cpu
}

impl Cpu {
    /// Executes one instruction given as bytes.
    fn execute(&mut self, bytes: &[u8]) -> Result<(), Exception> {
        let Decoded::Op(op) = decode(&self.model, bytes, self.rip, self.mode.code_bits) else {
            panic!("{bytes:02x?} is not a whole instruction");
        };
        self.gpr[usize::from(NEXT)] = self.rip + u64::from(op.len);
        (op.exec)(self, &op).map_err(|_| self.raised)
    }

    /// Executes one instruction given as iced has it.
    fn run(&mut self, instruction: Instruction) -> Result<(), Exception> {
        let mut encoder = Encoder::new(self.mode.code_bits.into());
        encoder.encode(&instruction, self.rip).unwrap();
        self.execute(&encoder.take_buffer())
    }

    fn poke<const N: usize>(&self, at: u64, bytes: [u8; N]) {
        self.memory.write_at(RamOffset(at), &bytes);
    }

    fn peek<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_at(RamOffset(at), &mut bytes);
        bytes
    }
}

/// The exception of a vector.
fn exception(vector: Vector) -> Result<(), Exception> {
    Err(Exception::new(vector))
}

/// A stream of numbers that looks random and is the same every time (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) | u128::from(self.next()) << 64
    }
}
