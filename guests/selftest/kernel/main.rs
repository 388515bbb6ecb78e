//! The self-test kernel: see the crate's documentation for what it is and how to run it.
//!
//! Freestanding: one CPU, one address space, no allocator, and all of the machine its own.
//! Nearly everything here is `unsafe` by nature, for it is the machine itself that is on
//! trial: faults are provoked, tables are broken and put back. What holds it together is
//! [`trap::catch`], which survives any fault, and the baseline that the runner restores
//! between tests.
//!
//! | module | holds |
//! |---|---|
//! | `boot` | the two entry protocols and the climb to 64-bit mode |
//! | `hw` | ports, registers, descriptors, page tables, timers, ACPI |
//! | `trap` | vectors, frames, `catch` |
//! | `modes` | excursions to 32-bit, 16-bit and real mode |
//! | `harness` | tests, the runner, the report |
//! | `tests` | a folder a family, a file a noun |

#![no_std]
#![no_main]
// A failure carries its text, as there is no allocator to put it elsewhere.
#![allow(clippy::result_large_err)]

#[macro_use]
mod hw;
#[macro_use]
mod harness;
mod boot;
mod crash;
mod echo;
mod memory;
mod modes;
mod smp;
mod sync;
mod tests;
mod trap;

use boot::{BootInfo, Protocol};
use harness::{Text, Words};
use hw::acpi::Acpi;
use hw::{cpuid, exit, gdt, serial, time};
use sync::Racy;

/// What ACPI said, for the tests.
static ACPI: Racy<Option<Acpi>> = Racy::new(None);

/// What ACPI said, if there is any.
pub fn acpi() -> Option<&'static Acpi> {
    // SAFETY: written once, before any test.
    unsafe { (*ACPI.get()).as_ref() }
}

/// Called by the entry code with the loader's EAX and EBX.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(magic: u32, address: u32) -> ! {
    serial::start();
    gdt::load();
    trap::reset();
    say!("selftest: Ringfence self-test kernel");
    let Some(info) = BootInfo::read(magic, address) else {
        say!("selftest: neither multiboot nor PVH: eax {magic:#x}, ebx {address:#x}");
        exit::leave(exit::FAILURE, None);
    };
    let info = boot::keep(info);
    let acpi = Acpi::read(info);
    // SAFETY: nobody reads it yet.
    unsafe { *ACPI.get() = acpi };
    describe(info, acpi.as_ref());
    let timed = time::calibrate();
    say!(
        "tsc: {} ticks/ms{}",
        time::ticks_per_ms(),
        if timed { "" } else { " (assumed: the 8254 stands still)" }
    );
    harness::restore();

    let words = Words(info.command_line);
    if let Some(code) = words.value("exit") {
        exit::leave(code.parse().unwrap_or(exit::FAILURE), acpi.as_ref());
    }
    if let Some(kind) = words.value("crash") {
        crash::crash(kind);
        exit::leave(exit::FAILURE, acpi.as_ref());
    }
    if words.has("echo") {
        echo::run();
        exit::leave(exit::SUCCESS, acpi.as_ref());
    }
    let families = if words.has("hostile") { tests::hostile::FAMILIES } else { tests::FAMILIES };
    if words.has("list") {
        for test in families.iter().copied().flatten() {
            say!("{}", test.name);
        }
        exit::leave(exit::SUCCESS, acpi.as_ref());
    }
    let totals = harness::run(families, &words);
    let skipped = match totals.skipped {
        0 => Text::new(),
        count => text!(", {count} skipped"),
    };
    say!("selftest: {} passed, {} failed{}", totals.passed, totals.failed, skipped.as_str());
    let good = totals.failed == 0 && totals.passed > 0;
    exit::leave(if good { exit::SUCCESS } else { exit::FAILURE }, acpi.as_ref())
}

/// Prints what there is.
fn describe(info: &BootInfo, acpi: Option<&Acpi>) {
    match info.protocol {
        Protocol::Multiboot => say!("boot: multiboot 1"),
        Protocol::Pvh(version) => say!("boot: PVH, start info version {version}"),
    }
    say!("command line: {}", info.command_line.as_str());
    for range in info.ranges() {
        let kind = match range.kind {
            1 => "RAM",
            2 => "reserved",
            3 => "ACPI reclaimable",
            4 => "ACPI NVS",
            _ => "unusable",
        };
        say!("memory: {:#013x}-{:#013x} {kind}", range.start, range.start.wrapping_add(range.size));
    }
    let (vendor, brand) = (cpuid::vendor(), cpuid::brand());
    let brand = core::str::from_utf8(&brand).unwrap_or("?").trim_matches(['\0', ' ']);
    let signature = cpuid::leaf(1, 0).eax;
    say!("cpu: {} \"{brand}\" signature {signature:#x}", core::str::from_utf8(&vendor).unwrap_or("?"));
    let mut line = Text::new();
    for feature in cpuid::ALL.iter().filter(|feature| feature.is_offered()) {
        if line.as_str().len() + feature.name.len() > 90 {
            say!("features:{}", line.as_str());
            line = Text::new();
        }
        line = text!("{} {}", line.as_str(), feature.name);
    }
    say!("features:{}", line.as_str());
    match acpi {
        None => say!("acpi: no RSDP"),
        Some(acpi) => {
            let mut names = Text::new();
            for name in &acpi.signatures[..acpi.tables] {
                names = text!("{} {}", names.as_str(), core::str::from_utf8(name).unwrap_or("????"));
            }
            let sums = if acpi.checksums { "" } else { " (BAD CHECKSUM)" };
            say!("acpi: RSDP at {:#x}, tables{}{sums}", acpi.rsdp, names.as_str());
            say!(
                "acpi: {} CPUs, LAPIC {:#x}, IOAPIC {:#x}, PM timer {:#x}, PM1a control {:#x}",
                acpi.cpu_count,
                acpi.lapic,
                acpi.ioapic,
                acpi.pm_timer,
                acpi.pm1a_control
            );
        }
    }
}
