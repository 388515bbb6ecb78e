//! PAE paging outside of long mode: four PDPT entries, loaded with CR3.

use super::{check_end, check_fault};
use crate::harness::Outcome;
use crate::hw::pages::{self, LARGE, NX, P, PS, W};
use crate::modes::{Ended, Excursion, Registers};
use crate::tests::memory::{load, store};

family!("modes": pae_small, pae_large, pae_faults, pae_bits, pae_no_execute, pae_directory_entries_are_loaded, pae_reserved_directory_bits);

const AT: u32 = 0x4000_0000;

/// Directory pointers with the first GiB's directory (16 MiB one to one) and one for [`AT`].
struct Tables {
    pointers: u64,
    directory: u64,
    table: u64,
}

fn tables() -> Tables {
    let (pointers, low, directory, table) = (pages::frame(), pages::frame(), pages::frame(), pages::frame());
    for index in 0..8u64 {
        store(low + index * 8, index << 21 | PS | W | P);
    }
    store(pointers, low | P);
    store(pointers + 8, directory | P);
    store(directory, table | W | P);
    Tables { pointers, directory, table }
}

fn excursion(tables: &Tables) -> Excursion {
    let mut excursion = Excursion::new();
    excursion.cr0 = 0x8001_0031;
    excursion.cr3 = tables.pointers as u32;
    excursion.cr4 = 0x620;
    excursion
}

fn access(tables: &Tables, address: u32, write: bool) -> Ended {
    let mut excursion = excursion(tables);
    excursion.registers =
        Registers { eax: 0x1234_5678, ecx: address, edx: write.into(), flags: 2, ..Default::default() };
    excursion.run(
        snippet!(32, pae_access: "test edx, edx" "jz 2f" "mov [ecx], eax" "ret" "2: mov eax, [ecx]" "ret"),
    )
}

fn pae_small() -> Outcome {
    let tables = tables();
    let frame = pages::frame();
    store(tables.table + 5 * 8, frame | W | P);
    store(frame + 0x10, 0xabcdu32);
    check_eq!(check_end!(access(&tables, AT + 0x5010, false), "read").eax, 0xabcd, "double word read");
    check_end!(access(&tables, AT + 0x5020, true), "write");
    check_eq!(load::<u32>(frame + 0x20), 0x1234_5678, "double word written");
    Ok(())
}

fn pae_large() -> Outcome {
    let tables = tables();
    store(tables.directory + 8, LARGE | PS | W | P);
    check_end!(access(&tables, AT + 0x21_2344, true), "write");
    check_eq!(load::<u32>(LARGE + 0x1_2344), 0x1234_5678, "double word written");
    Ok(())
}

fn pae_faults() -> Outcome {
    let tables = tables();
    check_eq!(check_fault!(access(&tables, AT + 0x123, false), PF(0), "absent page").cr2, AT + 0x123, "CR2");
    check_fault!(access(&tables, AT + 0x20_0000, true), PF(2), "absent directory entry");
    check_fault!(access(&tables, 0x8000_0000, false), PF(0), "absent directory pointer");
    store(tables.table, pages::frame() | P);
    check_fault!(access(&tables, AT, true), PF(3), "read-only page");
    Ok(())
}

fn pae_bits() -> Outcome {
    let tables = tables();
    store(tables.table, pages::frame() | W | P);
    check_end!(access(&tables, AT, false), "read");
    check_eq!(load::<u64>(tables.table) & 0x60, 0x20, "page after a read");
    check_end!(access(&tables, AT, true), "write");
    check_eq!(load::<u64>(tables.table) & 0x60, 0x60, "page after a write");
    check_eq!(load::<u64>(tables.directory) & 0x60, 0x20, "directory entry");
    wrong_in_tcg!("marks directory pointers accessed");
    // Directory pointers have no accessed bit: bit 5 is reserved there.
    check_eq!(load::<u64>(tables.pointers + 8) & 0x20, 0, "directory pointer");
    Ok(())
}

fn pae_no_execute() -> Outcome {
    need!(NX);
    let tables = tables();
    let frame = pages::frame();
    store(frame, 0xc3u8);
    let call = snippet!(32, pae_call: "call ecx" "ret");
    let mut excursion = excursion(&tables);
    excursion.registers = Registers { ecx: AT, flags: 2, ..Default::default() };
    store(tables.table, frame | P);
    check_end!(excursion.run(call), "executable page");
    store(tables.table, frame | P | NX);
    let fault = check_fault!(excursion.run(call), PF(0x11), "page without execution");
    check_eq!(fault.eip, AT, "EIP");
    Ok(())
}

/// The four entries are registers: what memory says later does not count until CR3 is loaded.
fn pae_directory_entries_are_loaded() -> Outcome {
    let tables = tables();
    store(tables.table, pages::frame() | W | P);
    let mut excursion = excursion(&tables);
    excursion.registers =
        Registers { ecx: AT, edx: tables.pointers as u32 + 8, flags: 2, ..Default::default() };
    wrong_in_tcg!("walks the pointers in memory");
    let code = snippet!(32, pae_loaded: "mov dword ptr [edx], 0" "invlpg [ecx]" "mov eax, [ecx]" "ret");
    check_end!(excursion.run(code), "read after the pointer was cleared in memory");
    store(tables.pointers + 8, tables.directory | P);
    let code = snippet!(32, pae_reloaded: "mov dword ptr [edx], 0" "mov eax, cr3" "mov cr3, eax" "mov eax, [ecx]" "ret");
    check_fault!(excursion.run(code), PF(0), "read after CR3 was loaded");
    Ok(())
}

/// A present entry with reserved bits faults at the load of CR3.
fn pae_reserved_directory_bits() -> Outcome {
    let tables = tables();
    wrong_in_tcg!("does not check the pointers");
    let mut excursion = excursion(&tables);
    excursion.registers = Registers { edx: tables.pointers as u32 + 16, flags: 2, ..Default::default() };
    let code = snippet!(32, pae_reserved: "mov dword ptr [edx], 3" "mov eax, cr3" "mov cr3, eax" "ret");
    check_fault!(excursion.run(code), GP(0), "load of CR3 with bit 1 set in an entry");
    Ok(())
}
