//! HLT and what wakes it.

use crate::harness::Outcome;
use crate::hw::lapic::{self, register::*};
use crate::hw::{cpu, time};
use crate::trap::{self, vector::NMI};

family!("interrupts": hlt_wakes_by_timer, hlt_wakes_by_nmi, hlt_repeatedly, rep_goes_on_after_interrupts);

fn arm(counts: u32) {
    lapic::write(DIVIDE, 0b1011);
    lapic::write(LVT_TIMER, 0x51);
    lapic::write(INITIAL_COUNT, counts);
}

fn hlt_wakes_by_timer() -> Outcome {
    trap::handle(0x51, |_| lapic::acknowledge());
    arm(1_000_000);
    exec!("sti; hlt; cli", 0, 0, 0, 0);
    check_eq!(trap::count(0x51), 1, "interrupts");
    Ok(())
}

/// With IF clear an NMI still wakes.
fn hlt_wakes_by_nmi() -> Outcome {
    trap::handle(NMI, |frame| frame.rcx += 1);
    let start = cpu::rdtsc();
    // Sent from a timer's handler, so that HLT has begun by then.
    trap::handle(0x51, |_| {
        lapic::acknowledge();
        lapic::send(lapic::id(), 4 << 8);
    });
    arm(100_000);
    let got = exec!("sti; hlt; cli; nop", 0, 0, 0, 0);
    check!(time::patiently(|| trap::count(NMI) > 0), "no NMI after {} ticks", cpu::rdtsc() - start);
    check!(got.rcx <= 1, "RCX {:#x}", got.rcx);
    // And one that is pending when HLT begins.
    lapic::send(lapic::id(), 4 << 8);
    check!(time::patiently(|| trap::count(NMI) >= 2), "no second NMI");
    Ok(())
}

/// A repeated instruction that an interrupt cuts short goes on where it was.
fn rep_goes_on_after_interrupts() -> Outcome {
    use crate::hw::pages::LARGE;
    use crate::tests::memory::{load, store};
    trap::handle(0x51, |frame| {
        // What it has done and what it has left make the whole.
        if frame.rcx != 0 && frame.rdi + frame.rcx != LARGE + LENGTH {
            frame.rdx += 1;
        }
        lapic::acknowledge();
    });
    const LENGTH: u64 = 0x20_0000;
    lapic::write(DIVIDE, 0b1011);
    lapic::write(LVT_TIMER, 1 << 17 | 0x51);
    lapic::write(INITIAL_COUNT, 100_000);
    for round in 0..4u8 {
        store(LARGE + LENGTH, 0xeeu8);
        let got = exec!("sti; rep stosb; cli", round, LENGTH, 0, 0; 0, LARGE);
        check_eq!(got.rcx, 0, "RCX");
        check_eq!(got.rdi, LARGE + LENGTH, "RDI");
        check_eq!(got.rdx, 0, "interrupts at which RDI and RCX did not fit");
        for offset in (0..LENGTH).step_by(4093) {
            check_eq!(load::<u8>(LARGE + offset), round, "byte {offset:#x}");
        }
        check_eq!(load::<u8>(LARGE + LENGTH), 0xee, "byte behind");
    }
    Ok(())
}

fn hlt_repeatedly() -> Outcome {
    trap::handle(0x51, |_| lapic::acknowledge());
    for round in 1..=50 {
        arm(20_000);
        exec!("sti; hlt; cli", 0, 0, 0, 0);
        check_eq!(trap::count(0x51), round, "interrupts after {round} rounds");
    }
    Ok(())
}
