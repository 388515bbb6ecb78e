//! What the loader and the firmware must have left behind.

use crate::harness::Outcome;
use crate::{acpi, boot};

family!("boot": memory_map, bss_is_zero, acpi_tables, command_line_is_text);

unsafe extern "C" {
    static image_start: u8;
    static bss_end: u8;
    static boot_canary: [u64; 512];
}

/// The kernel lies in RAM, RAM ranges do not overlap, and none ends beyond the address space.
fn memory_map() -> Outcome {
    let Some(info) = boot::info() else { absent!("no information") };
    let (start, end) = (&raw const image_start as u64, &raw const bss_end as u64);
    let ram = || info.ranges().iter().filter(|range| range.kind == 1);
    check!(
        ram().any(|range| range.start <= start && end <= range.start + range.size),
        "the kernel is not in RAM"
    );
    check!(ram().any(|range| range.start == 0), "there is no RAM at zero");
    for (index, range) in info.ranges().iter().enumerate() {
        let Some(end) = range.start.checked_add(range.size) else {
            check!(false, "range {index} wraps");
            continue;
        };
        check!(range.size > 0, "range {index} is empty");
        for other in ram().filter(|other| other.start > range.start) {
            check!(other.start >= end, "range {index} reaches into RAM at {:#x}", other.start);
        }
    }
    Ok(())
}

/// A page that nobody has written.
fn bss_is_zero() -> Outcome {
    // SAFETY: a page of our own.
    let page = unsafe { (&raw const boot_canary).read_volatile() };
    check!(page.iter().all(|&word| word == 0), "the last page is not zero");
    Ok(())
}

fn acpi_tables() -> Outcome {
    let Some(acpi) = acpi() else { absent!("no RSDP") };
    check!(acpi.checksums, "a table's checksum is wrong");
    let has = |name: &[u8; 4]| acpi.signatures[..acpi.tables].contains(name);
    check!(has(b"FACP"), "no FADT");
    check!(has(b"APIC"), "no MADT");
    check!(acpi.cpu_count >= 1, "no CPU in the MADT");
    check!(acpi.pm1a_control != 0, "no PM1a control port");
    check!(acpi.soft_off.is_some(), "no S5 in the DSDT");
    Ok(())
}

fn command_line_is_text() -> Outcome {
    let Some(info) = boot::info() else { absent!("no information") };
    let text = info.command_line.as_str();
    check!(text.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "control characters in the command line");
    Ok(())
}
