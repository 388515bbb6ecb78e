//! The part of the DSDT by which devices of the PCI bus come and go: a slot for each device number, with `_EJ0`
//! to let go of what is in it, and the event that looks at the registers of [`Hotplug`](crate::chip::Hotplug)
//! and notifies slots (ACPI 6.4, 5.6.6 and 6.3).

use acpi_tables::Aml;
use acpi_tables::aml::{
    And, Device, Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, If, Local, Method,
    MethodCall, Name, Notify, OpRegion, OpRegionSpace, Path, Scope, Store, ZERO,
};

use crate::chip::{HOTPLUG_BASE, HOTPLUG_EVENT, HOTPLUG_LENGTH};

/// Look at the slot again: something has come.
const DEVICE_CHECK: u8 = 1;
/// Let go of what is in the slot.
const EJECT_REQUEST: u8 = 3;

fn slot(device: u8) -> Path {
    Path::new(&format!("S{device:02X}_"))
}

/// Adds it to the table's.
pub(super) fn aml(aml: &mut Vec<u8>) {
    let region =
        OpRegion::new(Path::new("PHPR"), OpRegionSpace::SystemIO, &HOTPLUG_BASE, &(HOTPLUG_LENGTH as u8));
    let registers = Field::new(
        Path::new("PHPR"),
        FieldAccessType::DWord,
        FieldLockRule::NoLock,
        FieldUpdateRule::WriteAsZeroes,
        [*b"CAME", *b"GOES", *b"EJCT"].map(|name| FieldEntry::Named(name, 32)).into(),
    );
    let look = Look;
    let mut members: Vec<&dyn Aml> = vec![&region, &registers];
    let slots: Vec<_> = (1..32).map(HotSlot).collect();
    members.extend(slots.iter().map(|slot| slot as &dyn Aml));
    members.push(&look);
    Scope::new(Path::new("\\_SB_.PCI0"), members).to_aml_bytes(aml);
    let call = MethodCall::new(Path::new("\\_SB_.PCI0.LOOK"), vec![]);
    let event = Method::new(Path::new(&format!("_E{HOTPLUG_EVENT:02X}")), 0, false, vec![&call]);
    Scope::new(Path::new("\\_GPE"), vec![&event]).to_aml_bytes(aml);
}

/// One slot.
struct HotSlot(u8);

impl Aml for HotSlot {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let Self(device) = *self;
        let address = Name::new(Path::new("_ADR"), &(u32::from(device) << 16));
        let number = Name::new(Path::new("_SUN"), &device);
        let register = Path::new("EJCT");
        let bit = 1u32 << device;
        let let_go = Store::new(&register, &bit);
        let eject = Method::new(Path::new("_EJ0"), 1, false, vec![&let_go]);
        Device::new(slot(device), vec![&address, &number, &eject]).to_aml_bytes(sink);
    }
}

/// The method that looks at the registers.
struct Look;

impl Aml for Look {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        struct News(u8, u8, u8);
        impl Aml for News {
            fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
                let Self(local, device, what) = *self;
                let (bits, bit, name) = (Local(local), 1u32 << device, slot(device));
                let set = And::new(&ZERO, &bits, &bit);
                let notify = Notify::new(&name, &what);
                If::new(&set, vec![&notify]).to_aml_bytes(sink);
            }
        }
        let (came, goes) = (Path::new("CAME"), Path::new("GOES"));
        let (first, second) = (Store::new(&Local(0), &came), Store::new(&Local(1), &goes));
        let news: Vec<_> = (1..32)
            .flat_map(|device| [News(0, device, DEVICE_CHECK), News(1, device, EJECT_REQUEST)])
            .collect();
        let mut members: Vec<&dyn Aml> = vec![&first, &second];
        members.extend(news.iter().map(|news| news as &dyn Aml));
        Method::new(Path::new("LOOK"), 0, true, members).to_aml_bytes(sink);
    }
}
