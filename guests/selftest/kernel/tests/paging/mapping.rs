//! Which physical byte an address means.

use crate::harness::Outcome;
use crate::hw::cpu;
use crate::hw::pages::{self, HIGH, LARGE, LOW, P, PCD, PS, W};
use crate::tests::memory::{load, store};

family!("paging": small_page, large_page, huge_page, aliases, upper_half, cacheability_bits, address_space_switch, tables_through_a_mapping, low_window, fs_gs_base);

fn small_page() -> Outcome {
    let physical = pages::map_new(HIGH + 0x5000, W);
    store(HIGH + 0x5ff8, 0x1122_3344_5566_7788u64);
    check_eq!(load::<u64>(physical + 0xff8), 0x1122_3344_5566_7788u64, "word written through the mapping");
    store(physical, 0x99u8);
    check_eq!(load::<u8>(HIGH + 0x5000), 0x99, "byte read through the mapping");
    Ok(())
}

fn large_page() -> Outcome {
    pages::set(pages::entry(HIGH + 0x20_0000, 2), LARGE | PS | W | P);
    for offset in [0u64, 0x1000, 0xf_fff8, 0x1f_fff8] {
        store(HIGH + 0x20_0000 + offset, offset ^ 0xabcd);
        check_eq!(load::<u64>(LARGE + offset), offset ^ 0xabcd, "word at offset {offset:#x}");
    }
    Ok(())
}

fn huge_page() -> Outcome {
    need!(PDPE1GB);
    pages::set(pages::entry(HIGH + 0x4000_0000, 3), PS | W | P);
    store(LARGE + 0x1234, 0x5678u64);
    check_eq!(load::<u64>(HIGH + 0x4000_0000 + LARGE + 0x1234), 0x5678, "word through a 1 GiB page");
    Ok(())
}

fn aliases() -> Outcome {
    let physical = pages::map_new(HIGH, W);
    pages::map(HIGH + 0x7f_ffff_f000, physical, W);
    store(HIGH + 8, 1u64);
    store(HIGH + 0x7f_ffff_f008, 2u64);
    check_eq!(load::<u64>(HIGH + 8), 2, "word seen through the first of two mappings");
    Ok(())
}

/// Addresses with bit 47 set, up to the last page.
fn upper_half() -> Outcome {
    for address in [0xffff_8000_0000_0000u64, 0xffff_ffff_ffff_f000] {
        let physical = pages::map_new(address, W);
        store(address + 0xff8, address);
        check_eq!(load::<u64>(physical + 0xff8), address, "word at {address:#x}");
    }
    Ok(())
}

/// PWT, PCD and, in a small page's entry, PAT (bit 7) do not change the translation.
fn cacheability_bits() -> Outcome {
    for bits in [1 << 3, PCD, 1 << 7, 1 << 3 | PCD | 1 << 7] {
        let physical = pages::map_new(HIGH, W | bits);
        store(HIGH, bits);
        check_eq!(load::<u64>(physical), bits, "word with bits {bits:#x}");
    }
    Ok(())
}

/// Two top tables that differ in one entry.
fn address_space_switch() -> Outcome {
    let other = pages::frame();
    // SAFETY: copies our own top table, so that the kernel stays mapped.
    unsafe { (other as *mut u8).copy_from(pages::root() as *const u8, 4096) };
    let (here, there) = (pages::frame(), pages::frame());
    store(here, 1u64);
    store(there, 2u64);
    pages::map(HIGH, here, W);
    pages::set(pages::entry_under(other, HIGH, 1), there | W | P);
    for _ in 0..3 {
        cpu::set_cr3(pages::root());
        check_eq!(load::<u64>(HIGH), 1, "word in the first address space");
        cpu::set_cr3(other);
        let value = load::<u64>(HIGH);
        cpu::set_cr3(pages::root());
        check_eq!(value, 2, "word in the second address space");
    }
    Ok(())
}

/// Entries that are changed through a mapping of the table itself.
fn tables_through_a_mapping() -> Outcome {
    let physical = pages::frame();
    pages::map_new(HIGH, W);
    let table = pages::entry(HIGH, 1) as u64 & !4095;
    pages::map(HIGH + 0x1000, table, W);
    store(HIGH + 0x1000 + 2 * 8, physical | W | P);
    store(HIGH + 0x2000, 0x77u64);
    check_eq!(load::<u64>(physical), 0x77, "word behind the new entry");
    store(HIGH + 0x1000 + 2 * 8, 0u64);
    cpu::invlpg(HIGH + 0x2000);
    expect!(PF(0), load::<u64>(HIGH + 0x2000));
    Ok(())
}

/// The window that 32-bit code will use; an address size of 32 bits wraps in it.
fn low_window() -> Outcome {
    let physical = pages::map_new(LOW, W);
    store(physical, 0xfeedu64);
    check_eq!(exec!("mov rax, [ecx + edx]", 0, 0x8000_0000u64, 0xc000_0000u64, 0).rax, 0xfeed, "[ecx + edx]");
    Ok(())
}

fn fs_gs_base() -> Outcome {
    let physical = pages::map_new(HIGH, W);
    store(physical + 0x18, 0x4242u64);
    cpu::wrmsr(cpu::msr::GS_BASE, HIGH);
    cpu::wrmsr(cpu::msr::FS_BASE, HIGH - 0x1000);
    check_eq!(exec!("mov rax, gs:[0x18]", 0, 0, 0, 0).rax, 0x4242, "gs:[18]");
    check_eq!(exec!("mov rax, fs:[rdx]", 0, 0, 0x1018, 0).rax, 0x4242, "fs:[rdx]");
    // The base is added without a limit and wraps at 64 bits.
    cpu::wrmsr(cpu::msr::FS_BASE, HIGH + 0x2000);
    check_eq!(exec!("mov rax, fs:[rdx]", 0, 0, -0x1fe8i64, 0).rax, 0x4242, "negative offset");
    // LEA ignores it.
    check_eq!(exec!("lea rax, gs:[0x18]", 0, 0, 0, 0).rax, 0x18, "lea");
    Ok(())
}
