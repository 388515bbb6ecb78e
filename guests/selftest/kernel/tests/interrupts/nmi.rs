//! Non-maskable interrupts, sent by the local APIC to itself.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::harness::Outcome;
use crate::hw::{lapic, time};
use crate::trap::{self, vector::NMI};

family!("interrupts": nmi_ignores_if, nmi_blocks_nmi, nmi_unblocked_by_any_iret);

/// ICR: NMI delivery.
const DELIVER_NMI: u32 = 4 << 8;

fn send() {
    lapic::send(lapic::id(), DELIVER_NMI);
}

fn nmi_ignores_if() -> Outcome {
    trap::handle(NMI, |_| {});
    send();
    check!(time::patiently(|| trap::count(NMI) == 1), "no NMI with IF clear");
    Ok(())
}

/// A second NMI waits until the first one's handler has returned.
fn nmi_blocks_nmi() -> Outcome {
    static NESTED: AtomicU32 = AtomicU32::new(0);
    NESTED.store(0, Ordering::Relaxed);
    trap::handle(NMI, |_| {
        if trap::count(NMI) == 1 {
            send();
            time::wait_until(2, || trap::count(NMI) > 1);
            NESTED.store(trap::count(NMI), Ordering::Relaxed);
        }
    });
    send();
    check!(time::patiently(|| trap::count(NMI) == 2), "{} NMIs, expected 2", trap::count(NMI));
    check_eq!(NESTED.load(Ordering::Relaxed), 1, "NMIs inside the handler");
    Ok(())
}

/// The IRET of an exception inside the handler ends the blocking early.
fn nmi_unblocked_by_any_iret() -> Outcome {
    static NESTED: AtomicU32 = AtomicU32::new(0);
    NESTED.store(0, Ordering::Relaxed);
    // The second one needs a stack that the first is not on.
    trap::handle(0x99, |_| {
        let mut gate = trap::gate(NMI);
        gate.0 = gate.0 & !(7 << 32) | 6 << 32;
        trap::set_gate(NMI, gate);
    });
    trap::handle(NMI, |_| {
        if trap::count(NMI) == 1 {
            send();
            time::wait(1);
            exec!("int 0x99", 0, 0, 0, 0);
            time::patiently(|| trap::count(NMI) > 1);
            NESTED.store(trap::count(NMI), Ordering::Relaxed);
        }
    });
    send();
    check!(time::patiently(|| trap::count(NMI) == 2), "{} NMIs, expected 2", trap::count(NMI));
    check_eq!(NESTED.load(Ordering::Relaxed), 2, "NMIs inside the handler after an IRET");
    Ok(())
}
