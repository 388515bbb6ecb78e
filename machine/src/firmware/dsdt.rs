//! The DSDT: the devices that cannot be found by themselves, and how to switch off. The power button is
//! not here: it is the fixed one of PM1, which the FADT declares by a clear PWR_BUTTON flag.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, Device, EISAName, IO, If, Interrupt, Memory32Fixed, Method,
    Name, PackageBuilder, Path, ResourceTemplate, Return, Scope, Store, ZERO,
};
use acpi_tables::sdt::Sdt;
use base::HOLE_START;

use super::acpi::{OEM, OEM_REVISION, OEM_TABLE};
use super::hotplug;
use crate::board::{COM_IRQS, COM_PORTS, PANIC_PORT};
use crate::chip::S5;
use crate::pci::{ECAM, ECAM_LEN, interrupt_of};

/// The table.
pub fn table() -> Sdt {
    let mut aml = Vec::new();
    soft_off(&mut aml);
    interrupt_model(&mut aml);
    Scope::new(Path::new("\\_SB_"), vec![&PciRoot, &Isa]).to_aml_bytes(&mut aml);
    hotplug::aml(&mut aml);
    let mut table = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&aml);
    table
}

fn package(elements: &[&dyn Aml]) -> PackageBuilder {
    let mut package = PackageBuilder::new();
    elements.iter().for_each(|element| package.add_element(*element));
    package
}

/// `\_S5`: what goes into SLP_TYP to switch off.
fn soft_off(aml: &mut Vec<u8>) {
    Name::new(Path::new("\\_S5_"), &package(&[&S5, &S5, &ZERO, &ZERO])).to_aml_bytes(aml);
}

/// `\_PIC`: the guest says whether it uses the 8259s (0) or the I/O APIC (1).
fn interrupt_model(aml: &mut Vec<u8>) {
    let model = Path::new("\\PICM");
    Name::new(Path::new("\\PICM"), &ZERO).to_aml_bytes(aml);
    Method::new(Path::new("\\_PIC"), 1, false, vec![&Store::new(&model, &Arg(0))]).to_aml_bytes(aml);
}

/// A device with its plug-and-play name, number and resources.
fn device(aml: &mut dyn acpi_tables::AmlSink, path: &str, id: &dyn Aml, uid: u8, resources: Vec<&dyn Aml>) {
    let hid = Name::new(Path::new("_HID"), id);
    let uid = Name::new(Path::new("_UID"), &uid);
    let status = Name::new(Path::new("_STA"), &0xf_u8);
    let resources = Name::new(Path::new("_CRS"), &ResourceTemplate::new(resources));
    Device::new(Path::new(path), vec![&hid, &uid, &status, &resources]).to_aml_bytes(aml);
}

struct PciRoot;

impl PciRoot {
    /// A routing table: for each device's pin the interrupt, without link devices.
    fn routing(interrupt: impl Fn(u8, u8) -> u8) -> PackageBuilder {
        let mut table = PackageBuilder::new();
        for device in 0..32 {
            for pin in 0..4 {
                let address = u32::from(device) << 16 | 0xffff;
                table.add_element(&package(&[&address, &pin, &ZERO, &interrupt(device, pin)]));
            }
        }
        table
    }
}

impl Aml for PciRoot {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let model = Path::new("\\PICM");
        let with_io_apic = Self::routing(interrupt_of);
        let with_8259 = Self::routing(|device, pin| 10 + interrupt_of(device, pin) % 2);
        let by_io_apic = Return::new(&with_io_apic);
        let by_8259 = Return::new(&with_8259);
        let choice = If::new(&model, vec![&by_io_apic]);
        let hid = Name::new(Path::new("_HID"), &EISAName::new("PNP0A03"));
        let uid = Name::new(Path::new("_UID"), &ZERO);
        let bus = Name::new(Path::new("_BBN"), &ZERO);
        let bus_number = AddressSpace::<u16>::new_bus_number(0, 0);
        let configuration = IO::new(0xcf8, 0xcf8, 1, 8);
        let ports_below = AddressSpace::<u16>::new_io(0, 0xcf7, None);
        let ports_above = AddressSpace::<u16>::new_io(0xd00, 0xffff, None);
        let uncached = AddressSpaceCacheable::NotCacheable;
        let memory = |from: u64, to: u64| {
            AddressSpace::<u32>::new_memory(uncached, true, from as u32, to as u32 - 1, None)
        };
        let memory_below = memory(HOLE_START, ECAM.0);
        let memory_above = memory(ECAM.0 + ECAM_LEN, 0xfec0_0000);
        let windows = ResourceTemplate::new(vec![
            &bus_number,
            &configuration,
            &ports_below,
            &ports_above,
            &memory_below,
            &memory_above,
        ]);
        let windows = Name::new(Path::new("_CRS"), &windows);
        let routing = Method::new(Path::new("_PRT"), 0, false, vec![&choice, &by_8259]);
        Device::new(Path::new("PCI0"), vec![&hid, &uid, &bus, &windows, &routing]).to_aml_bytes(sink);
    }
}

/// The devices of the old ISA bus.
struct Isa;

impl Isa {
    /// An ISA interrupt: edge, active high.
    fn interrupt(irq: u8) -> Interrupt {
        Interrupt::new(true, true, false, false, irq.into())
    }

    fn ports(start: u16, len: u8) -> IO {
        IO::new(start, start, 1, len)
    }
}

impl Aml for Isa {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let pnp = EISAName::new;
        let [master, slave, levels] =
            [(0x20, 2), (0xa0, 2), (0x4d0, 2)].map(|(at, len)| Self::ports(at, len));
        device(sink, "PIC_", &pnp("PNP0000"), 0, vec![&master, &slave, &levels]);
        device(sink, "TMR_", &pnp("PNP0100"), 0, vec![&Self::ports(0x40, 4), &Self::interrupt(0)]);
        device(sink, "RTC_", &pnp("PNP0B00"), 0, vec![&Self::ports(0x70, 2), &Self::interrupt(8)]);
        device(sink, "SPKR", &pnp("PNP0800"), 0, vec![&Self::ports(0x61, 1)]);
        // What is no device's, and not free either: Linux uses the configuration space only if it is here.
        let configuration = Memory32Fixed::new(true, ECAM.0 as u32, ECAM_LEN as u32);
        device(sink, "MBRD", &pnp("PNP0C02"), 0, vec![&configuration]);
        device(sink, "PEVT", &"QEMU0001", 0, vec![&Self::ports(PANIC_PORT, 1)]);
        for (index, (port, irq)) in (1..).zip(COM_PORTS.into_iter().zip(COM_IRQS)) {
            let (ports, interrupt) = (Self::ports(port, 8), Self::interrupt(irq));
            device(sink, &format!("COM{index}"), &pnp("PNP0501"), index, vec![&ports, &interrupt]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
        bytes.windows(pattern.len()).position(|window| window == pattern)
    }

    #[test]
    fn the_sleep_state_and_the_devices_are_there() {
        let table = table();
        let bytes = table.as_slice();
        let s5 = find(bytes, b"_S5_\x12").unwrap();
        assert_eq!(bytes[s5 + 7..s5 + 9], [0x0a, S5], "BytePrefix and the type");
        for name in [
            b"_EJ0", b"S1F_", b"_E01", b"PCI0", b"_PRT", b"COM1", b"COM4", b"RTC_", b"PIC_", b"TMR_", b"_PIC",
        ] {
            assert!(find(bytes, name).is_some(), "{}", name.escape_ascii());
        }
    }
}
