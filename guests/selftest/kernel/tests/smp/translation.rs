//! Page tables and code that several CPUs share.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::pages::{self, HIGH, P, W};
use crate::hw::{cpu, lapic, time};
use crate::smp;
use crate::tests::memory::{load, store};
use crate::trap;

family!("smp": tlb_shootdown, dirty_bits_by_all, cross_modified_code);

static GO: AtomicU64 = AtomicU64::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);

/// A CPU that has read a page for long sees another frame once it was told to drop it.
fn tlb_shootdown() -> Outcome {
    smp::online()?;
    let (one, two) = (pages::frame(), pages::frame());
    store(one, 1u64);
    store(two, 2u64);
    pages::map(HIGH, one, W);
    GO.store(0, Ordering::Relaxed);
    SEEN.store(0, Ordering::Relaxed);
    trap::handle(0x96, |_| {
        cpu::invlpg(HIGH);
        lapic::acknowledge();
    });
    smp::begin(1, |_| {
        cpu::sti();
        let mut rounds = 0u64;
        while GO.load(Ordering::Acquire) == 0 && rounds < 1 << 40 {
            rounds += load::<u64>(HIGH);
            SEEN.store(rounds, Ordering::Release);
        }
        cpu::cli();
        SEEN.store(load::<u64>(HIGH), Ordering::Release);
    });
    check!(time::patiently(|| SEEN.load(Ordering::Acquire) > 100), "CPU 1 does not read");
    pages::set(pages::entry(HIGH, 1), two | W | P);
    lapic::send(smp::apic_id(1), 0x96);
    check!(time::patiently(|| trap::count(0x96) == 1), "CPU 1 does not take the interrupt");
    GO.store(1, Ordering::Release);
    smp::end(1)?;
    check_eq!(SEEN.load(Ordering::Relaxed), 2, "word CPU 1 sees at the end");
    Ok(())
}

/// Accessed and dirty bits of neighbouring entries, set by all CPUs at once, all stick.
fn dirty_bits_by_all() -> Outcome {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    smp::online()?;
    NEXT.store(0, Ordering::Relaxed);
    let frame = pages::frame();
    for page in 0..256 {
        pages::map(HIGH + page * 4096, frame, W);
    }
    smp::all(|cpu| {
        loop {
            let page = NEXT.fetch_add(1, Ordering::Relaxed);
            if page >= 256 {
                break;
            }
            store(HIGH + page * 4096 + 8 * cpu as u64, page);
        }
    })?;
    for page in 0..256 {
        let entry = pages::get(pages::entry(HIGH + page * 4096, 1));
        check_eq!(entry & 0x60, 0x60, "bits of page {page}");
    }
    Ok(())
}

/// Code patched by one CPU and run by another after an interrupt, which serializes.
fn cross_modified_code() -> Outcome {
    smp::online()?;
    // MOV EAX, imm32; RET
    let code = pages::map_new(HIGH, W);
    store(code, 0xb8u8);
    store(code + 5, 0xc3u8);
    for round in 1..=20u32 {
        store(code + 1, round);
        smp::begin(1, |_| {
            let value: u64;
            // SAFETY: the code above.
            unsafe { asm!("call {}", in(reg) HIGH, out("rax") value) };
            SEEN.store(value, Ordering::Release);
        });
        smp::end(1)?;
        check_eq!(SEEN.load(Ordering::Acquire), round, "result in round {round}");
    }
    Ok(())
}
