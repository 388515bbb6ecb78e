//! The I/O APIC, with the 8254 and the serial port as sources.

use super::pic::{comes, take};
use crate::harness::Outcome;
use crate::hw::ioapic::{IoApic, MASKED};
use crate::hw::port::write8;
use crate::hw::{cpu, lapic, pic, time};
use crate::trap;

family!("interrupts": ioapic_registers, ioapic_timer, ioapic_serial, ioapic_mask);

fn ioapic_registers() -> Outcome {
    let ioapic = IoApic::find()?;
    check!(ioapic.inputs() >= 16, "{} inputs", ioapic.inputs());
    let entry = 0x0100_0000_0001_a965;
    ioapic.route(5, entry);
    // Delivery status and remote IRR are the chip's own.
    check_eq!(ioapic.entry(5) & !0x5000, entry & !0x5000, "redirection entry");
    ioapic.route(5, MASKED);
    Ok(())
}

fn ioapic_timer() -> Outcome {
    let ioapic = IoApic::find()?;
    trap::handle(0x70, |_| lapic::acknowledge());
    pic::stop();
    ioapic.route_isa(0, 0x70, lapic::id());
    pic::periodic(2400);
    cpu::sti();
    let came = time::patiently(|| trap::count(0x70) >= 5);
    cpu::cli();
    check!(came, "{} interrupts, expected 5 in 10 ms", trap::count(0x70));
    Ok(())
}

fn ioapic_serial() -> Outcome {
    let ioapic = IoApic::find()?;
    trap::handle(0x71, |_| {
        write8(0x3f9, 0);
        lapic::acknowledge();
    });
    ioapic.route_isa(4, 0x71, lapic::id());
    write8(0x3f9, 2);
    let came = take(0x71);
    write8(0x3f9, 0);
    check!(came, "the transmitter's interrupt does not come");
    Ok(())
}

fn ioapic_mask() -> Outcome {
    let ioapic = IoApic::find()?;
    trap::handle(0x72, |_| lapic::acknowledge());
    let input = ioapic.route_isa(0, 0x72, lapic::id());
    ioapic.route(input, MASKED | 0x72);
    pic::periodic(2400);
    check!(!comes(0x72, 10), "a masked input interrupts");
    ioapic.route_isa(0, 0x72, lapic::id());
    check!(take(0x72), "an unmasked input does not interrupt");
    Ok(())
}
