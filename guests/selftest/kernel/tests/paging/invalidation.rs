//! When a changed entry must be seen. (When it may be, is up to the CPU, and not tested.)

use core::arch::asm;

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr4_bits};
use crate::hw::pages::{self, G, HIGH, LARGE, P, PS, W};
use crate::tests::memory::{load, store};

family!("paging": new_entry, invlpg, invlpg_global, invlpg_large, cr3_reload, pge_toggle, pcid, invpcid, pcid_rules);

/// Two frames that hold 1 and 2.
fn frames() -> (u64, u64) {
    let (one, two) = (pages::frame(), pages::frame());
    store(one, 1u64);
    store(two, 2u64);
    (one, two)
}

/// An absent entry is never remembered.
fn new_entry() -> Outcome {
    let (one, _) = frames();
    pages::map_new(HIGH + 0x1000, 0);
    expect!(PF(0), load::<u64>(HIGH));
    pages::set(pages::entry(HIGH, 1), one | P);
    check_eq!(load::<u64>(HIGH), 1, "word behind a new entry");
    Ok(())
}

fn invlpg() -> Outcome {
    let (one, two) = frames();
    for round in 0..4 {
        let (frame, want) = if round % 2 == 0 { (one, 1) } else { (two, 2) };
        pages::set(pages::entry(HIGH, 1), frame | P | W);
        cpu::invlpg(HIGH + 0x123);
        check_eq!(load::<u64>(HIGH), want, "word in round {round}");
    }
    // Any address will do, even one that is not canonical.
    cpu::invlpg(0x8000_0000_0000_0000);
    Ok(())
}

fn invlpg_global() -> Outcome {
    need!(PGE);
    let (one, two) = frames();
    cpu::set_cr4(cpu::cr4() | cr4_bits::PGE);
    pages::map(HIGH, one, W | G);
    check_eq!(load::<u64>(HIGH), 1, "word before");
    pages::map(HIGH, two, W | G);
    check_eq!(load::<u64>(HIGH), 2, "word after INVLPG");
    Ok(())
}

/// One INVLPG drops all of a large page.
fn invlpg_large() -> Outcome {
    let entry = pages::entry(HIGH, 2);
    pages::set(entry, LARGE | PS | W | P);
    for page in 0..512u64 {
        store(HIGH + page * 4096, page);
    }
    pages::set(entry, (LARGE + 0x20_0000) | PS | W | P);
    cpu::invlpg(HIGH + 0x12_3456);
    for page in 0..512u64 {
        store(HIGH + page * 4096, page + 1000);
    }
    for page in [0u64, 1, 255, 511] {
        check_eq!(load::<u64>(LARGE + page * 4096), page, "page {page} of the old frame");
        check_eq!(load::<u64>(LARGE + 0x20_0000 + page * 4096), page + 1000, "page {page} of the new frame");
    }
    Ok(())
}

fn cr3_reload() -> Outcome {
    let (one, two) = frames();
    pages::map(HIGH, one, W);
    check_eq!(load::<u64>(HIGH), 1, "word before");
    pages::set(pages::entry(HIGH, 1), two | P);
    cpu::set_cr3(cpu::cr3());
    check_eq!(load::<u64>(HIGH), 2, "word after the reload");
    expect!(PF(3), store(HIGH, 0u8));
    Ok(())
}

fn pge_toggle() -> Outcome {
    need!(PGE);
    let (one, two) = frames();
    cpu::set_cr4(cpu::cr4() | cr4_bits::PGE);
    pages::map(HIGH, one, W | G);
    check_eq!(load::<u64>(HIGH), 1, "word before");
    pages::set(pages::entry(HIGH, 1), two | W | G | P);
    cpu::set_cr4(cpu::cr4() & !cr4_bits::PGE);
    cpu::set_cr4(cpu::cr4() | cr4_bits::PGE);
    check_eq!(load::<u64>(HIGH), 2, "word after the toggle");
    Ok(())
}

/// A copy of the top table without the high window.
fn other_root() -> u64 {
    let other = pages::frame();
    // SAFETY: our own tables; the kernel stays mapped.
    unsafe { (other as *mut u8).copy_from(pages::root() as *const u8, 4096) };
    pages::set(pages::entry_under(other, HIGH, 4), 0);
    other
}

/// Identifiers keep translations apart; a load of CR3 without bit 63 drops those of its own.
fn pcid() -> Outcome {
    need!(PCID);
    let (one, two) = frames();
    let other = other_root();
    pages::map(HIGH, one, W);
    pages::set(pages::entry_under(other, HIGH, 1), two | W | P);
    cpu::set_cr4(cpu::cr4() | cr4_bits::PCIDE);
    let keep = 1 << 63;
    let read = |cr3: u64| {
        cpu::set_cr3(cr3);
        load::<u64>(HIGH)
    };
    let root = pages::root();
    for round in 0..4 {
        let flag = if round % 2 == 0 { 0 } else { keep };
        check_eq!(read(root | 1 | flag), 1, "word by identifier 1 in round {round}");
        check_eq!(read(other | 2 | flag), 2, "word by identifier 2 in round {round}");
    }
    check_eq!(cpu::cr3(), other | 2, "CR3 without bit 63");
    pages::set(pages::entry_under(other, HIGH, 1), one | W | P);
    check_eq!(read(other | 2), 1, "word after a load of CR3 that drops");
    cpu::set_cr3(root);
    Ok(())
}

/// One INVPCID of a type with its descriptor.
fn invpcid_of(kind: u64, pcid: u64, address: u64) {
    let descriptor = [pcid, address];
    // SAFETY: drops translations.
    unsafe { asm!("invpcid {}, [{}]", in(reg) kind, in(reg) &descriptor) }
}

fn invpcid() -> Outcome {
    need!(INVPCID);
    let (one, two) = frames();
    if crate::hw::cpuid::PCID.is_offered() {
        cpu::set_cr4(cpu::cr4() | cr4_bits::PCIDE);
    }
    for (kind, name) in [(0, "one address"), (1, "one identifier"), (2, "all and global"), (3, "all")] {
        pages::map(HIGH, one, W);
        check_eq!(load::<u64>(HIGH), 1, "word before {name}");
        pages::set(pages::entry(HIGH, 1), two | W | P);
        invpcid_of(kind, 0, HIGH);
        check_eq!(load::<u64>(HIGH), 2, "word after {name}");
    }
    expect!(GP(0), invpcid_of(4, 0, 0));
    expect!(GP(0), invpcid_of(0, 0x1000, 0));
    expect!(GP(0), invpcid_of(0, 0, 0x8000_0000_0000));
    Ok(())
}

fn pcid_rules() -> Outcome {
    need!(PCID);
    // PCIDE can be set only while CR3 has identifier 0, and bit 63 of CR3 is reserved without it.
    cpu::set_cr3(pages::root() | 0x18);
    expect!(GP(0), cpu::set_cr4(cpu::cr4() | cr4_bits::PCIDE));
    cpu::set_cr3(pages::root());
    expect!(GP(0), cpu::set_cr3(pages::root() | 1 << 63));
    cpu::set_cr4(cpu::cr4() | cr4_bits::PCIDE);
    expect!(GP(0), cpu::set_cr0(cpu::cr0() & !(1 << 31)));
    Ok(())
}
