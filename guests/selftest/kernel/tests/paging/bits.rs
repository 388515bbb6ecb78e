//! The accessed and dirty bits that the CPU sets.

use crate::harness::Outcome;
use crate::hw::cpu;
use crate::hw::pages::{self, A, D, HIGH, LARGE, P, PS, W};
use crate::tests::memory::{load, store};

family!("paging": accessed, dirty, dirty_of_large_page, no_dirty_on_fault, accessed_by_fetch, dirty_after_clearing, dirty_by_push);

fn bits(level: u32) -> u64 {
    pages::get(pages::entry(HIGH, level)) & (A | D)
}

/// A read marks every level accessed and none dirty.
fn accessed() -> Outcome {
    pages::map_new(HIGH, W);
    for level in 1..=4 {
        check_eq!(bits(level), 0, "level {level} before");
    }
    load::<u8>(HIGH);
    for level in 1..=4 {
        check_eq!(bits(level), A, "level {level} after a read");
    }
    Ok(())
}

/// A write marks the last level dirty, and only that.
fn dirty() -> Outcome {
    pages::map_new(HIGH, W);
    store(HIGH, 1u8);
    check_eq!(bits(1), A | D, "page after a write");
    for level in 2..=4 {
        check_eq!(bits(level), A, "level {level} after a write");
    }
    // First read, then written: the dirty bit comes later.
    pages::map_new(HIGH, W);
    load::<u8>(HIGH);
    check_eq!(bits(1), A, "page after a read");
    store(HIGH, 1u8);
    check_eq!(bits(1), A | D, "page after a read and a write");
    Ok(())
}

fn dirty_of_large_page() -> Outcome {
    pages::set(pages::entry(HIGH, 2), LARGE | PS | W | P);
    load::<u8>(HIGH);
    check_eq!(bits(2), A, "large page after a read");
    store(HIGH + 0x1f_ffff, 1u8);
    check_eq!(bits(2), A | D, "large page after a write");
    Ok(())
}

/// A write that faults leaves no mark.
fn no_dirty_on_fault() -> Outcome {
    pages::map_new(HIGH, 0);
    expect!(PF(3), store(HIGH, 1u8));
    check_eq!(bits(1) & D, 0, "read-only page");
    // Nor does one of two pages that it crosses, if the other one is absent.
    pages::map_new(HIGH, W);
    expect!(PF(2), store(HIGH + 0xffc, 1u64));
    check_eq!(load::<u32>(HIGH + 0xffc), 0, "bytes on the present page");
    Ok(())
}

fn accessed_by_fetch() -> Outcome {
    let physical = pages::map_new(HIGH, 0);
    store(physical, 0xc3u8);
    exec!("call rcx", 0, HIGH, 0, 0);
    check_eq!(bits(1), A, "page after a fetch");
    Ok(())
}

/// Cleared bits are set again once the translation was dropped.
fn dirty_after_clearing() -> Outcome {
    let physical = pages::map_new(HIGH, W);
    store(HIGH, 1u8);
    pages::set(pages::entry(HIGH, 1), physical | W | P);
    cpu::invlpg(HIGH);
    load::<u8>(HIGH);
    check_eq!(bits(1), A, "page after a read");
    store(HIGH, 1u8);
    check_eq!(bits(1), A | D, "page after a write");
    Ok(())
}

/// A stack push marks its page like any write.
fn dirty_by_push() -> Outcome {
    pages::map_new(HIGH, W);
    exec!("mov r8, rsp; mov rsp, rdx; push rax; mov rsp, r8", 0, 0, HIGH + 0x1000, 0);
    check_eq!(bits(1), A | D, "page after a push");
    Ok(())
}
