//! Ring 3 and the user bit.

use crate::harness::Outcome;
use crate::hw::cpu::{self, cr0_bits};
use crate::hw::cpuid;
use crate::hw::pages::{self, HIGH, NX, U, W};
use crate::tests::user::User;
use crate::trap::vector::{BP, PF};

family!("paging": user_access, user_read_only, supervisor_page, supervisor_upper_levels, user_fetch, user_write_protect_off);

/// Loads from RDX, stores to RSI, calls RDI, as far as they are not zero.
fn prober() -> User {
    User::code64(snippet!(64, paging_prober:
        "test rdx, rdx"
        "jz 2f"
        "mov al, [rdx]"
        "2: test rsi, rsi"
        "jz 3f"
        "mov [rsi], al"
        "3: test rdi, rdi"
        "jz 4f"
        "call rdi"
        "4: int3"))
}

fn user_access() -> Outcome {
    let mut user = prober();
    let physical = pages::map_new(HIGH, U | W);
    crate::tests::memory::store(physical, 0x42u8);
    (user.rdx, user.rsi) = (HIGH, HIGH + 1);
    let trap = user.run();
    check!(trap.is(BP, 0), "got {trap}");
    check_eq!(trap.cs, 0x33, "CS");
    check_eq!(trap.rax, 0x42, "byte read");
    check_eq!(crate::tests::memory::load::<u8>(physical + 1), 0x42, "byte written");
    user.rdx = HIGH + 0x1000;
    let trap = user.run();
    check!(trap.is(PF, 4), "read of an absent page: {trap}");
    (user.rdx, user.rsi) = (0, HIGH + 0x1000);
    let trap = user.run();
    check!(trap.is(PF, 6), "write to an absent page: {trap}");
    Ok(())
}

fn user_read_only() -> Outcome {
    let mut user = prober();
    pages::map_new(HIGH, U);
    user.rdx = HIGH;
    let trap = user.run();
    check!(trap.is(BP, 0), "read: {trap}");
    user.rsi = HIGH;
    let trap = user.run();
    check!(trap.is(PF, 7), "write: {trap}");
    Ok(())
}

/// CR0.WP is about the supervisor; ring 3 is held back without it as well.
fn user_write_protect_off() -> Outcome {
    let mut user = prober();
    pages::map_new(HIGH, U);
    user.rsi = HIGH;
    cpu::set_cr0(cpu::cr0() & !cr0_bits::WP);
    let trap = user.run();
    check!(trap.is(PF, 7), "write: {trap}");
    Ok(())
}

fn supervisor_page() -> Outcome {
    let mut user = prober();
    pages::map_new(HIGH, W);
    user.rdx = HIGH;
    let trap = user.run();
    check!(trap.is(PF, 5), "read: {trap}");
    check_eq!(trap.cr2, HIGH, "CR2");
    (user.rdx, user.rsi) = (0, HIGH);
    let trap = user.run();
    check!(trap.is(PF, 7), "write: {trap}");
    Ok(())
}

/// The user bit must be set at all levels.
fn supervisor_upper_levels() -> Outcome {
    let mut user = prober();
    // A region of its own, so that the prober's tables stay as they are.
    let at = HIGH + 0x40_0000_0000;
    pages::map_new(at, U | W);
    user.rdx = at;
    for level in 2..=3 {
        let entry = pages::entry(at, level);
        pages::set(entry, pages::get(entry) & !U);
        pages::flush();
        let trap = user.run();
        check!(trap.is(PF, 5), "level {level}: {trap}");
        pages::set(entry, pages::get(entry) | U);
        pages::flush();
        let trap = user.run();
        check!(trap.is(BP, 0), "level {level} restored: {trap}");
    }
    Ok(())
}

fn user_fetch() -> Outcome {
    let mut user = prober();
    let fetch = if cpuid::NX.is_offered() { 0x10 } else { 0 };
    let physical = pages::map_new(HIGH, U);
    crate::tests::memory::store(physical, 0xc3u8);
    user.rdi = HIGH;
    let trap = user.run();
    check!(trap.is(BP, 0), "user page: {trap}");
    pages::map(HIGH, physical, 0);
    let trap = user.run();
    check!(trap.is(PF, 5 | fetch), "supervisor page: {trap}");
    check_eq!(trap.rip, HIGH, "RIP");
    if cpuid::NX.is_offered() {
        pages::map(HIGH, physical, U | NX);
        let trap = user.run();
        check!(trap.is(PF, 0x15), "page without execution: {trap}");
    }
    Ok(())
}
