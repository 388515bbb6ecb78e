//! Two-level 32-bit paging, with 4 KiB and (PSE) 4 MiB pages.

use super::{check_end, check_fault};
use crate::harness::Outcome;
use crate::hw::pages::{self, LARGE};
use crate::modes::{Ended, Excursion, Registers};
use crate::tests::memory::{load, store};

family!("modes":
    paging32_small, paging32_large, paging32_faults, paging32_bits, paging32_write_protect, paging32_without_pse, paging32_pse36,
);

const P: u32 = 1;
const W: u32 = 2;
const PS: u32 = 0x80;
/// CR4: PSE, OSFXSR, OSXMMEXCPT.
const CR4: u32 = 0x610;
/// Where tests map.
const AT: u32 = 0x4000_0000;

fn set(table: u64, index: u32, value: u32) {
    store(table + u64::from(index) * 4, value);
}

fn get(table: u64, index: u32) -> u32 {
    load(table + u64::from(index) * 4)
}

/// A directory with the first 16 MiB one to one in 4 MiB pages, and a table for [`AT`].
fn tables() -> (u64, u64) {
    let (directory, table) = (pages::frame(), pages::frame());
    for index in 0..4 {
        set(directory, index, index << 22 | PS | W | P);
    }
    set(directory, AT >> 22, table as u32 | W | P);
    (directory, table)
}

/// Reads (EDX 0) or writes a double word at ECX under `directory`.
fn access(directory: u64, address: u32, write: bool) -> Ended {
    let mut excursion = Excursion::new();
    excursion.cr0 = 0x8001_0031;
    excursion.cr3 = directory as u32;
    excursion.cr4 = CR4;
    excursion.registers =
        Registers { eax: 0x1234_5678, ecx: address, edx: write.into(), flags: 2, ..Default::default() };
    excursion.run(snippet!(32, paging32_access: "test edx, edx" "jz 2f" "mov [ecx], eax" "ret" "2: mov eax, [ecx]" "ret"))
}

fn paging32_small() -> Outcome {
    let (directory, table) = tables();
    let frame = pages::frame();
    set(table, 5, frame as u32 | W | P);
    store(frame + 0x10, 0xabcdu32);
    check_eq!(check_end!(access(directory, AT + 0x5010, false), "read").eax, 0xabcd, "double word read");
    check_end!(access(directory, AT + 0x5020, true), "write");
    check_eq!(load::<u32>(frame + 0x20), 0x1234_5678, "double word written");
    Ok(())
}

fn paging32_large() -> Outcome {
    let (directory, _) = tables();
    set(directory, AT >> 22, LARGE as u32 | PS | W | P);
    check_end!(access(directory, AT + 0x34_5678, true), "write");
    check_eq!(load::<u32>(LARGE + 0x34_5678), 0x1234_5678, "double word written");
    Ok(())
}

fn paging32_faults() -> Outcome {
    let (directory, table) = tables();
    check_eq!(
        check_fault!(access(directory, AT + 0x123, false), PF(0), "absent page").cr2,
        AT + 0x123,
        "CR2"
    );
    check_fault!(access(directory, AT, true), PF(2), "write to an absent page");
    check_fault!(access(directory, AT + 0x40_0000, false), PF(0), "absent table");
    set(table, 0, pages::frame() as u32 | P);
    check_fault!(access(directory, AT, true), PF(3), "write to a read-only page");
    check_end!(access(directory, AT, false), "read of a read-only page");
    Ok(())
}

fn paging32_bits() -> Outcome {
    let (directory, table) = tables();
    set(table, 0, pages::frame() as u32 | W | P);
    check_end!(access(directory, AT, false), "read");
    check_eq!(get(table, 0) & 0x60, 0x20, "page after a read");
    check_eq!(get(directory, AT >> 22) & 0x20, 0x20, "table after a read");
    check_end!(access(directory, AT, true), "write");
    check_eq!(get(table, 0) & 0x60, 0x60, "page after a write");
    check_eq!(get(directory, 0) & 0x20, 0x20, "large page that was executed");
    Ok(())
}

fn paging32_write_protect() -> Outcome {
    let (directory, table) = tables();
    set(table, 0, pages::frame() as u32 | P);
    let mut excursion = Excursion::new();
    excursion.cr0 = 0x8000_0031;
    excursion.cr3 = directory as u32;
    excursion.cr4 = CR4;
    excursion.registers = Registers { ecx: AT, flags: 2, ..Default::default() };
    check_end!(excursion.run(snippet!(32, paging32_wp: "mov [ecx], eax" "ret")), "write with WP clear");
    Ok(())
}

/// Without CR4.PSE, bit 7 of a directory entry means nothing.
fn paging32_without_pse() -> Outcome {
    let (directory, table) = tables();
    let low = pages::frame();
    // The first 4 MiB by a table, since there are no large pages now.
    for index in 0..1024 {
        set(low, index, index << 12 | W | P);
    }
    set(directory, 0, low as u32 | W | P);
    set(directory, AT >> 22, table as u32 | PS | W | P);
    let frame = pages::frame();
    set(table, 1, frame as u32 | W | P);
    store(frame, 0x77u32);
    let mut excursion = Excursion::new();
    excursion.cr0 = 0x8001_0031;
    excursion.cr3 = directory as u32;
    excursion.cr4 = 0x600;
    excursion.registers = Registers { ecx: AT + 0x1000, flags: 2, ..Default::default() };
    let end = check_end!(excursion.run(snippet!(32, paging32_no_pse: "mov eax, [ecx]" "ret")), "read");
    check_eq!(end.eax, 0x77, "double word");
    Ok(())
}

/// Bits 13 to 20 of a 4 MiB entry are address bits 32 to 39, or reserved; bit 21 is reserved.
fn paging32_pse36() -> Outcome {
    let (directory, _) = tables();
    set(directory, AT >> 22, LARGE as u32 | PS | W | P | 1 << 21);
    wrong_in_tcg!("ignores the reserved bit");
    check_fault!(access(directory, AT, false), PF(9), "bit 21");
    Ok(())
}
