//! The 8259 pair.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::harness::Outcome;
use crate::hw::port::{read8, write8};
use crate::hw::{cpu, pic, time};
use crate::trap;

family!("interrupts": pic_masks, pic_delivers, pic_requests_and_service, pic_mask_holds, pic_vector_base, pic_priority, pic_if_holds);

fn pic_masks() -> Outcome {
    pic::start();
    for mask in [0x5a, 0xa5, 0xff] {
        write8(0x21, mask);
        write8(0xa1, !mask);
        check_eq!(read8(0x21), mask, "mask of the first controller");
        check_eq!(read8(0xa1), !mask, "mask of the second controller");
    }
    Ok(())
}

/// Takes interrupts until `vector` came, which it must.
pub fn take(vector: u8) -> bool {
    cpu::sti();
    let came = time::patiently(|| trap::count(vector) > 0);
    cpu::cli();
    came
}

/// Takes interrupts for `ms` milliseconds, unless `vector` comes, which it must not.
pub fn comes(vector: u8, ms: u64) -> bool {
    cpu::sti();
    let came = time::wait_until(ms, || trap::count(vector) > 0);
    cpu::cli();
    came
}

fn pic_delivers() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |_| pic::acknowledge());
    check!(take(vector), "IRQ 0 is requested and does not come");
    check_eq!(trap::count(vector), 1, "interrupts of a one-shot");
    check_eq!(pic::in_service(), 0, "in service after the end");
    Ok(())
}

fn pic_requests_and_service() -> Outcome {
    static SERVICE: AtomicU32 = AtomicU32::new(0);
    static REQUESTS: AtomicU32 = AtomicU32::new(0);
    let vector = pic::pending_timer()?;
    check_eq!(pic::requests() & 1, 1, "request before");
    trap::handle(vector, |_| {
        SERVICE.store(pic::in_service().into(), Ordering::Relaxed);
        REQUESTS.store(pic::requests().into(), Ordering::Relaxed);
        pic::acknowledge();
    });
    check!(take(vector), "no interrupt");
    check_eq!(SERVICE.load(Ordering::Relaxed), 1, "in service in the handler");
    check_eq!(REQUESTS.load(Ordering::Relaxed) & 1, 0, "request in the handler");
    Ok(())
}

fn pic_mask_holds() -> Outcome {
    let vector = pic::pending_timer()?;
    pic::unmask(0);
    trap::handle(vector, |_| pic::acknowledge());
    check!(!comes(vector, 5), "a masked interrupt came");
    pic::unmask(1);
    check!(take(vector), "an interrupt was lost while it was masked");
    Ok(())
}

fn pic_if_holds() -> Outcome {
    let vector = pic::pending_timer()?;
    trap::handle(vector, |_| pic::acknowledge());
    time::wait(3);
    check_eq!(trap::count(vector), 0, "interrupts with IF clear");
    check!(take(vector), "no interrupt with IF set");
    Ok(())
}

/// Another base, and so another vector.
fn pic_vector_base() -> Outcome {
    write8(0x20, 0x11);
    write8(0x21, 0x70);
    write8(0x21, 4);
    write8(0x21, 1);
    write8(0x21, 0xfe);
    trap::handle(0x70, |_| pic::acknowledge());
    pic::one_shot(10);
    check!(take(0x70), "IRQ 0 does not come as vector 70");
    Ok(())
}

/// While IRQ 0 is in service, nothing of a lower priority comes.
fn pic_priority() -> Outcome {
    static NESTED: AtomicU32 = AtomicU32::new(0);
    NESTED.store(0, Ordering::Relaxed);
    let timer = pic::pending_timer()?;
    let serial = pic::BASE + 4;
    trap::handle(serial, |_| {
        write8(0x3f9, 0);
        pic::acknowledge();
    });
    trap::handle(timer, |_| {
        // The transmitter is empty, so its interrupt is requested at once.
        write8(0x3f9, 2);
        time::patiently(|| pic::requests() & 0x10 != 0);
        NESTED
            .store((trap::count(pic::BASE + 4) << 8) + u32::from(pic::requests() & 0x10), Ordering::Relaxed);
        pic::acknowledge();
    });
    pic::unmask(0x11);
    check!(take(timer), "IRQ 0 did not come");
    check_eq!(NESTED.load(Ordering::Relaxed), 0x10, "IRQ 4 while IRQ 0 is in service (requested, not taken)");
    check!(take(serial), "IRQ 4 did not come after IRQ 0 ended");
    Ok(())
}
