//! The states in which kernels begin, with the GDT and page tables that go with them.

use x86::control::{cr0, cr4, efer};
use x86::paging::{LARGE, PRESENT, WRITABLE};
use x86::{CpuState, Gpr, Segment, SegmentRegister, TableRegister, access};

use super::place;
use super::plan::Plan;

const CODE: u16 = access::PRESENT | access::NOT_SYSTEM | access::CODE | access::WRITABLE | access::ACCESSED;
const DATA: u16 = access::PRESENT | access::NOT_SYSTEM | access::WRITABLE | access::ACCESSED | access::DB;

/// Linux's `__BOOT_CS`, `__BOOT_DS` and `__BOOT_TSS`; the other protocols leave selectors open.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TSS_SELECTOR: u16 = 0x20;

fn flat(code_bits: u16, entry: u64) -> CpuState {
    let mut cpu = CpuState::default();
    for register in [
        SegmentRegister::Ds,
        SegmentRegister::Es,
        SegmentRegister::Ss,
        SegmentRegister::Fs,
        SegmentRegister::Gs,
    ] {
        *cpu.segment_mut(register) = Segment::flat(DATA_SELECTOR, DATA);
    }
    *cpu.segment_mut(SegmentRegister::Cs) = Segment::flat(CODE_SELECTOR, CODE | code_bits);
    cpu.tr = Segment { base: 0, limit: 0x67, selector: TSS_SELECTOR, access: access::PRESENT | 0xb };
    cpu.gdtr = TableRegister { base: place::GDT, limit: 5 * 8 - 1 };
    cpu.idtr = TableRegister { base: 0, limit: 0 };
    cpu.cr0 = cr0::PE | cr0::ET;
    cpu.rip = entry;
    cpu
}

/// 32-bit protected mode without paging.
pub(super) fn protected(entry: u32) -> CpuState {
    flat(access::DB, entry.into())
}

/// Long mode, the first 4 GiB mapped one to one.
pub(super) fn long(entry: u64) -> CpuState {
    let mut cpu = flat(access::LONG, entry);
    cpu.cr0 |= cr0::PG;
    cpu.cr3 = place::PAGE_TABLES;
    cpu.cr4 = cr4::PAE;
    cpu.msrs.efer = efer::LME | efer::LMA;
    cpu.set(Gpr::Rsp, place::STACK_TOP);
    cpu
}

/// Writes the GDT, and the page tables if the state has paging on.
pub(super) fn put_tables(plan: &mut Plan<'_>) {
    let code = *plan.cpu.segment(SegmentRegister::Cs);
    let data = *plan.cpu.segment(SegmentRegister::Ds);
    let table = [0, 0, code.to_descriptor(), data.to_descriptor(), plan.cpu.tr.to_descriptor()];
    plan.put(place::GDT, table.map(u64::to_le_bytes).concat());
    if plan.cpu.cr0 & cr0::PG != 0 {
        plan.put(place::PAGE_TABLES, page_tables());
    }
}

/// A PML4, a PDPT and four page directories of 2 MiB pages.
fn page_tables() -> Vec<u8> {
    const TABLE: u64 = 4096;
    let mut bytes = vec![0; 6 * TABLE as usize];
    let mut entry = |table: u64, index: u64, value: u64| {
        let at = (table * TABLE + index * 8) as usize;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    let table = |number: u64| (place::PAGE_TABLES + number * TABLE) | PRESENT | WRITABLE;
    entry(0, 0, table(1));
    for directory in 0..4 {
        entry(1, directory, table(2 + directory));
        for page in 0..512 {
            entry(2 + directory, page, (directory << 30 | page << 21) | PRESENT | WRITABLE | LARGE);
        }
    }
    bytes
}
