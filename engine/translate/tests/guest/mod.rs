//! A small guest: page tables, a CPU in 64-bit mode, a board with nothing on it.

use std::sync::Arc;

use base::{GuestMemory, GuestPhys};
use engine::{BareBoard, Board};
use x86::control::{cr0, cr4, efer};
use x86::{CpuState, Gpr, Segment, SegmentRegister, access};

/// A board with nothing on it but a device whose answers tell where it was asked.
pub fn board() -> Arc<dyn Board> {
    Arc::new(BareBoard::with(|at, _, _| at.0.wrapping_mul(3)))
}

/// Where programs begin.
pub const CODE: u64 = 0x20_0000;
/// Where their data are.
pub const DATA: u64 = 0x30_0000;
/// Bytes of RAM.
pub const RAM: u64 = 0x80_0000;
/// Maps the same RAM a second time.
pub const ALIAS: u64 = 0x8000_0000;

/// Four-level tables at 1 MiB that map RAM by 4 KiB pages at zero and at ALIAS; the last page is not mapped.
pub fn page_tables(memory: &GuestMemory) {
    let put = |table: u64, index: u64, value: u64| {
        memory.write(GuestPhys(table + index * 8), &value.to_le_bytes()).unwrap();
    };
    put(0x10_0000, 0, 0x10_1000 | 7);
    put(0x10_1000, 0, 0x10_2000 | 7);
    put(0x10_1000, 2, 0x10_2000 | 7);
    for n in 0..4 {
        let table = 0x10_3000 + n * 0x1000;
        put(0x10_2000, n, table | 7);
        for page in 0..512 {
            let at = n * 0x20_0000 + page * 0x1000;
            if at != RAM - 0x1000 {
                // Global, once CR4.PGE is set.
                put(table, page, at | 0x107);
            }
        }
    }
    // A device page.
    put(0x10_2000, 4, 0xd000_0000 | 0x87);
}

/// A CPU in 64-bit mode about to execute CODE.
pub fn start() -> CpuState {
    let mut state = CpuState::default();
    let code = access::PRESENT | access::NOT_SYSTEM | access::CODE | access::WRITABLE | access::LONG;
    let data = access::PRESENT | access::NOT_SYSTEM | access::WRITABLE | access::DB;
    for segment in &mut state.segments {
        *segment = Segment::flat(16, data);
    }
    *state.segment_mut(SegmentRegister::Cs) = Segment::flat(8, code);
    state.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::NE | cr0::WP;
    state.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    state.cr3 = 0x10_0000;
    state.msrs.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    state.rip = CODE;
    state.set(Gpr::Rsp, DATA + 0x8000);
    for (n, register) in
        [Gpr::Rax, Gpr::Rbx, Gpr::Rsi, Gpr::Rdi, Gpr::R9, Gpr::R13, Gpr::R14].iter().enumerate()
    {
        state.set(*register, 0x1234_5678_9abc_def1u64.rotate_left(n as u32 * 7));
    }
    state
}
