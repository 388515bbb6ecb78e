//! The ACPI power-management timer: 3.579545 MHz.

use crate::acpi;
use crate::harness::{Failure, Outcome};
use crate::hw::port::read32;
use crate::hw::time;

family!("interrupts": pm_timer_runs, pm_timer_against_pit);

/// The timer's port and the mask of its width.
fn timer() -> Result<(u16, u32), Failure> {
    match acpi() {
        Some(acpi) if acpi.pm_timer != 0 => {
            Ok((acpi.pm_timer, if acpi.pm_timer_wide { u32::MAX } else { 0xff_ffff }))
        }
        _ => Err(crate::harness::absent(format_args!("the FADT names no PM timer"))),
    }
}

fn pm_timer_runs() -> Outcome {
    let (port, mask) = timer()?;
    let start = read32(port) & mask;
    let mut last = start;
    for _ in 0..1000 {
        let now = read32(port) & mask;
        check!(now.wrapping_sub(last) & mask < mask / 2, "it ran backwards from {last:#x} to {now:#x}");
        last = now;
    }
    check!(time::patiently(|| read32(port) & mask != start), "it stands still at {start:#x}");
    Ok(())
}

/// 50 ms of the 8254 within 5 %.
fn pm_timer_against_pit() -> Outcome {
    let (port, mask) = timer()?;
    let mut counts = 0;
    let good = time::eventually(|| {
        let start = read32(port) & mask;
        let done = time::pit_delay(59_659);
        counts = (read32(port) & mask).wrapping_sub(start) & mask;
        done && counts.abs_diff(178_977) < 178_977 / 20
    });
    check!(good, "{counts} counts in 50 ms, expected 178977");
    Ok(())
}
