//! A small machine to try system instructions on: flat memory with page tables, a GDT, an IDT, a TSS, and a
//! board that remembers what it was asked.
//!
//! Every vector's handler is an instruction of its own, HLT, so where the CPU stops says what was raised.

mod board;
mod chaos;
mod control;
mod debug;
mod deliver;
mod identity;
mod port;
mod segment;
mod transfer;

use std::sync::Arc;

use base::{GuestMemory, RamOffset};
use engine::{Attention, CpuLevel, CpuModel, Exit};
use x86::control::{cr0, cr4, efer};
use x86::{CpuState, Gpr, Segment, SegmentRegister, TableRegister, access, flags};

use crate::block::BlockCache;
use crate::cpu::Cpu;
use crate::run::run;
use board::TestBoard;

/// Where instructions under test stand.
pub const CODE: u64 = 0x1_0000;
/// The top of the stack that code starts with.
pub const STACK: u64 = 0x2_0000;
/// Stack of level 0 in the TSS; IST 1 behind it.
pub const STACK_0: u64 = 0x3_0000;
pub const IST_1: u64 = 0x3_8000;
/// Data to play with.
pub const DATA: u64 = 0x4_0000;
/// The handler of vector n stands at `HANDLERS + 16 * n`.
pub const HANDLERS: u64 = 0x5_0000;
pub const GDT: u64 = 0x8000;
pub const IDT: u64 = 0x9000;
pub const TSS: u64 = 0xb000;
/// A page that is not mapped under paging.
pub const ABSENT: u64 = 0x7_0000;

/// Selectors of the GDT.
pub mod sel {
    pub const CODE_64: u16 = 0x08;
    pub const DATA: u16 = 0x10;
    pub const CODE_32: u16 = 0x18;
    pub const USER_CODE_32: u16 = 0x23;
    pub const USER_DATA: u16 = 0x2b;
    pub const USER_CODE_64: u16 = 0x33;
    pub const TSS: u16 = 0x38;
    pub const CODE_16: u16 = 0x48;
    pub const DATA_16: u16 = 0x50;
    /// A call gate to 64-bit code at `HANDLERS` (16 bytes), open to CPL 3.
    pub const CALL_GATE_64: u16 = 0x58;
    /// A call gate to 32-bit code at `HANDLERS` with one parameter, open to CPL 3.
    pub const CALL_GATE_32: u16 = 0x68;
    pub const CONFORMING_32: u16 = 0x70;
    pub const ABSENT_DATA: u16 = 0x78;
    pub const LDT: u16 = 0x80;
    pub const READ_ONLY: u16 = 0x90;
    /// Beyond the limit.
    pub const BEYOND: u16 = 0xa0;
}

const GDT_ENTRIES: [u64; 20] = [
    0,
    0x00af_9a00_0000_ffff, // 64-bit code
    0x00cf_9200_0000_ffff,
    0x00cf_9a00_0000_ffff, // 32-bit code
    0x00cf_fa00_0000_ffff, // 32-bit code, DPL 3
    0x00cf_f200_0000_ffff,
    0x00af_fa00_0000_ffff, // 64-bit code, DPL 3
    0x0000_8900_b000_0080, // TSS of 81h bytes at B000h
    0,
    0x0000_9a00_0000_ffff, // 16-bit code
    0x0000_9200_0000_ffff,
    0x0005_ec00_0008_0000, // call gate to 64-bit code
    0,
    0x0005_ec01_0018_0000, // call gate to 32-bit code
    0x00cf_9e00_0000_ffff, // conforming
    0x00cf_1200_0000_ffff, // not present
    0x0000_8200_c000_0fff, // LDT at C000h
    0,
    0x00cf_9000_0000_ffff, // read-only data
    0,
];

/// Where the CPU stopped and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At an HLT of the code under test.
    Halted,
    /// In the handler of a vector.
    Vector(u8),
    /// By a triple fault.
    Shutdown,
    /// Not at all.
    Running,
}

pub struct Guest {
    pub cpu: Cpu,
    pub board: Arc<TestBoard>,
    pub attention: Arc<Attention>,
    blocks: BlockCache,
}

impl Guest {
    fn new(state: &CpuState) -> Self {
        let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
        let board = Arc::new(TestBoard::default());
        let attention = Arc::new(Attention::default());
        let model = CpuModel { level: CpuLevel::Host, vcpus: 4 };
        let mut cpu = Cpu::new(2, model, memory, Arc::clone(&attention), board.clone());
        cpu.import(state);
        let mut guest = Self { cpu, board, attention, blocks: BlockCache::default() };
        for (n, entry) in GDT_ENTRIES.into_iter().enumerate() {
            guest.put_u64(GDT + 8 * n as u64, entry);
        }
        for vector in 0..256 {
            guest.put(HANDLERS + 16 * vector, &[0xf4]);
        }
        guest
    }

    /// Real mode.
    pub fn real() -> Self {
        let mut state = start();
        *state.segment_mut(SegmentRegister::Cs) = Segment { access: 0x9b, ..Segment::real(0) };
        // The code stands at 64 KiB.
        *state.segment_mut(SegmentRegister::Cs) =
            Segment { base: CODE, selector: (CODE >> 4) as u16, ..*state.segment(SegmentRegister::Cs) };
        state.rip = 0;
        state.set(Gpr::Rsp, 0xfff0);
        state.idtr = TableRegister { base: 0, limit: 0x3ff };
        let mut guest = Self::new(&state);
        for vector in 0..256 {
            let segment = HANDLERS >> 4;
            guest.put_u32(4 * vector, ((segment << 16) + 16 * vector) as u32);
        }
        guest
    }

    /// 32-bit protected mode without paging, at a privilege level.
    pub fn protected(cpl: u8) -> Self {
        let mut state = start();
        state.cr0 |= cr0::PE;
        state.tr = Segment { base: TSS, limit: 0x80, selector: sel::TSS, access: 0x8b };
        let (cs, data) = match cpl {
            0 => (sel::CODE_32, sel::DATA),
            _ => (sel::USER_CODE_32, sel::USER_DATA),
        };
        select(&mut state, cs, data);
        let mut guest = Self::new(&state);
        for vector in 0..256 {
            guest.gate_32(vector, 0x8e);
        }
        guest.put_u32(TSS + 4, STACK_0 as u32);
        guest.put_u32(TSS + 8, u32::from(sel::DATA));
        guest.put_u32(TSS + 102, 0x70); // a map of 10h bytes: ports 0 to 7fh
        guest
    }

    /// 64-bit mode at a privilege level, identity-mapped for user and supervisor.
    pub fn long(cpl: u8) -> Self {
        let mut state = start();
        state.cr0 |= cr0::PE | cr0::PG | cr0::WP;
        state.cr4 = cr4::PAE | cr4::PGE;
        state.cr3 = 0x1000;
        state.msrs.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
        state.tr = Segment { base: TSS, limit: 0x80, selector: sel::TSS, access: 0x8b };
        let (cs, data) = match cpl {
            0 => (sel::CODE_64, sel::DATA),
            _ => (sel::USER_CODE_64, sel::USER_DATA),
        };
        select(&mut state, cs, data);
        let mut guest = Self::new(&state);
        guest.put_u64(0x1000, 0x2007);
        guest.put_u64(0x2000, 0x3007);
        guest.put_u64(0x3000, 0x4007);
        for page in 0..256 {
            guest.put_u64(0x4000 + 8 * page, page << 12 | 7);
        }
        guest.put_u64(0x4000 + 8 * (ABSENT >> 12), 0);
        for vector in 0..256 {
            guest.gate_64(vector, 0x8e, 0);
        }
        guest.put_u64(TSS + 4, STACK_0);
        guest.put_u64(TSS + 36, IST_1);
        guest.put_u32(TSS + 102, 0x70);
        guest
    }

    /// A 64-bit gate of these access bits to the vector's handler.
    pub fn gate_64(&mut self, vector: u64, access: u64, ist: u64) {
        let offset = HANDLERS + 16 * vector;
        let selector = u64::from(sel::CODE_64) << 16;
        let low = offset & 0xffff | selector | ist << 32 | access << 40 | (offset >> 16 & 0xffff) << 48;
        self.put_u64(IDT + 16 * vector, low);
        self.put_u64(IDT + 16 * vector + 8, offset >> 32);
    }

    /// A 32-bit gate likewise.
    pub fn gate_32(&mut self, vector: u64, access: u64) {
        let offset = HANDLERS + 16 * vector;
        let selector = u64::from(sel::CODE_32) << 16;
        self.put_u64(IDT + 8 * vector, offset & 0xffff | selector | access << 40 | (offset >> 16) << 48);
    }

    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.cpu.memory.write_at(RamOffset(at), bytes);
    }

    pub fn put_u32(&mut self, at: u64, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn put_u64(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn get_u64(&self, at: u64) -> u64 {
        self.cpu.memory.load(RamOffset(at))
    }

    pub fn get_u32(&self, at: u64) -> u32 {
        self.cpu.memory.load(RamOffset(at))
    }

    pub fn get_u16(&self, at: u64) -> u16 {
        self.cpu.memory.load(RamOffset(at))
    }

    /// Sets a register.
    #[must_use]
    pub fn with(mut self, register: Gpr, value: u64) -> Self {
        self.cpu.set(register, value);
        self
    }

    /// Changes the rest of the state.
    #[must_use]
    pub fn changed(mut self, change: impl FnOnce(&mut CpuState)) -> Self {
        let mut state = self.cpu.export();
        change(&mut state);
        self.cpu.import(&state);
        self
    }

    /// Runs this code, with an HLT behind it, until something stops it.
    pub fn run(&mut self, code: &[u8]) -> End {
        let at = if self.cpu.mode.protected && !self.cpu.mode.v86 { self.cpu.rip } else { CODE };
        self.put(at, code);
        self.put(at + code.len() as u64, &[0xf4]);
        self.go(1000)
    }

    /// Goes on for so many instructions at most.
    pub fn go(&mut self, instructions: u64) -> End {
        match run(&mut self.cpu, &mut self.blocks, &mut { instructions }) {
            Exit::Halted => {
                let base = if self.cpu.mode.is_64() { 0 } else { self.cpu.state.segments[1].base };
                let at = base + self.cpu.rip - 1;
                match at.checked_sub(HANDLERS) {
                    Some(offset) if offset < 0x1000 && offset % 16 == 0 => End::Vector((offset / 16) as u8),
                    _ => End::Halted,
                }
            }
            Exit::Shutdown(_) => End::Shutdown,
            Exit::Budget => End::Running,
            exit => panic!("{exit:?}"),
        }
    }

    pub fn get(&self, register: Gpr) -> u64 {
        self.cpu.get(register)
    }

    pub fn segment(&self, register: SegmentRegister) -> Segment {
        *self.cpu.state.segment(register)
    }

    /// What the handler finds on its stack, 8 bytes each.
    pub fn frame_64<const N: usize>(&self) -> [u64; N] {
        let top = self.get(Gpr::Rsp);
        std::array::from_fn(|n| self.get_u64(top + 8 * n as u64))
    }

    /// The same, 4 bytes each.
    pub fn frame_32<const N: usize>(&self) -> [u32; N] {
        let top = self.get(Gpr::Rsp);
        std::array::from_fn(|n| self.get_u32(top + 4 * n as u64))
    }
}

/// After reset, but at the code, with a stack and tables.
fn start() -> CpuState {
    let mut state = CpuState { rip: CODE, cr0: cr0::ET, ..CpuState::default() };
    state.set(Gpr::Rsp, STACK);
    state.gdtr = TableRegister { base: GDT, limit: 8 * GDT_ENTRIES.len() as u16 - 1 };
    state.idtr = TableRegister { base: IDT, limit: 0xfff };
    state
}

fn select(state: &mut CpuState, cs: u16, data: u16) {
    let load = |selector: u16| {
        let raw = GDT_ENTRIES[usize::from(selector >> 3)];
        let segment = Segment::from_descriptor(selector, raw);
        Segment { access: segment.access | access::ACCESSED, ..segment }
    };
    let data = load(data);
    state.segments = [data, load(cs), data, data, data, data];
    state.rflags |= flags::RESERVED_ONE;
}

/// A table of instructions that must all fault with one vector and leave RIP at themselves.
pub fn all_fault(make: impl Fn() -> Guest, vector: u8, codes: &[&[u8]]) {
    for code in codes {
        let mut guest = make();
        let rip = guest.cpu.rip;
        assert_eq!(guest.run(code), End::Vector(vector), "{code:02x?}");
        let pushed = if guest.cpu.mode.long {
            let [first, second] = guest.frame_64();
            if matches!(vector, 8 | 10..=14 | 17) { second } else { first }
        } else {
            let [first, second] = guest.frame_32();
            u64::from(if matches!(vector, 8 | 10..=14 | 17) { second } else { first })
        };
        assert_eq!(pushed, rip, "{code:02x?}");
    }
}
