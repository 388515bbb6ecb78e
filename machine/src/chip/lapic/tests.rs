//! The local APIC against the manual.

use base::Saved;
use engine::MsrDenied;
use x86::msr::{IA32_APIC_BASE, IA32_TSC_DEADLINE};

use super::state::LocalApicState;
use super::*;

fn enabled(id: u32) -> LocalApic {
    let mut apic = LocalApic::new(id);
    apic.write_page(0xf0, 0x1ff, 0);
    apic
}

fn x2apic(id: u32) -> LocalApic {
    let mut apic = enabled(id);
    let base = apic.read_msr(IA32_APIC_BASE, 0).unwrap();
    apic.write_msr(IA32_APIC_BASE, base | BASE_X2, 0).unwrap();
    apic
}

fn fixed(apic: &mut LocalApic, vector: u8) {
    apic.accept(Delivery::Fixed, vector, false);
}

#[test]
fn reset_values() {
    let mut apic = LocalApic::new(3);
    let values = [0x20, 0x30, 0x80, 0xd0, 0xe0, 0xf0, 0x320, 0x350].map(|at| apic.read_page(at, 0));
    assert_eq!(values, [0x0300_0000, 0x5_0014, 0, 0, 0xffff_ffff, 0xff, 0x1_0000, 0x1_0000]);
    assert_eq!(apic.read_msr(IA32_APIC_BASE, 0), Ok(0xfee0_0800));
    assert_eq!(LocalApic::new(0).read_msr(IA32_APIC_BASE, 0), Ok(0xfee0_0900));
}

#[test]
fn classes_decide_and_eoi_lets_the_next_one_through() {
    let mut apic = enabled(0);
    fixed(&mut apic, 0x41);
    fixed(&mut apic, 0x45);
    assert_eq!(apic.take(), Some(0x45));
    assert_eq!(apic.read_page(0xa0, 0), 0x40, "PPR");
    assert_eq!(apic.take(), None, "the same class waits");
    fixed(&mut apic, 0x52);
    assert_eq!(apic.take(), Some(0x52));
    apic.write_page(0xb0, 0, 0);
    apic.write_page(0xb0, 0, 0);
    assert_eq!(apic.take(), Some(0x41));
    apic.write_page(0xb0, 0, 0);
    apic.set_task_priority(6);
    fixed(&mut apic, 0x6f);
    assert_eq!((apic.pending(), apic.read_page(0x80, 0)), (None, 0x60));
    apic.set_task_priority(5);
    assert_eq!(apic.pending(), Some(0x6f));
}

#[test]
fn only_level_triggered_vectors_tell_the_io_apic() {
    let mut apic = enabled(0);
    apic.accept(Delivery::Fixed, 0x30, true);
    fixed(&mut apic, 0x40);
    apic.take();
    assert_eq!(apic.write_page(0xb0, 0, 0), None);
    apic.take();
    assert_eq!(apic.write_page(0xb0, 0, 0), Some(Effect::EndOfLevel(0x30)));
    assert_eq!(apic.write_page(0xb0, 0, 0), None, "nothing in service");
}

#[test]
fn a_software_disabled_apic_masks_all() {
    let mut apic = enabled(0);
    apic.write_page(0x350, 0x700, 0);
    assert!(apic.takes_external());
    apic.write_page(0xf0, 0xff, 0);
    assert!(!apic.takes_external());
    apic.write_page(0x320, 0x40, 0);
    assert_eq!(apic.read_page(0x320, 0), 0x1_0040);
    assert_eq!(apic.accept(Delivery::Fixed, 0x50, false), Arrival::Dropped);
    assert_eq!(apic.accept(Delivery::Nmi, 0, false), Arrival::Nmi);
}

#[test]
fn destinations_in_every_mode() {
    let mut apic = enabled(5);
    assert!(apic.matches(Destination::Physical(5)) && !apic.matches(Destination::Physical(4)));
    assert!(apic.matches(Destination::All));
    apic.write_page(0xd0, 0x2400_0000, 0);
    assert!(apic.matches(Destination::Logical(0x04)) && !apic.matches(Destination::Logical(0x08)), "flat");
    apic.write_page(0xe0, 0x0fff_ffff, 0);
    assert!(apic.matches(Destination::Logical(0x24)) && apic.matches(Destination::Logical(0xf4)), "cluster");
    assert!(!apic.matches(Destination::Logical(0x34)) && !apic.matches(Destination::Logical(0x28)));
    let mut apic = x2apic(0x123);
    assert_eq!(apic.read_msr(0x80d, 0), Ok(0x12_0008));
    assert!(apic.matches(Destination::Logical(0x12_0009)) && !apic.matches(Destination::Logical(0x13_0008)));
    assert!(apic.matches(Destination::Physical(0x123)) && !apic.matches(Destination::Physical(0x23)));
}

#[test]
fn the_command_register_sends() {
    let mut apic = enabled(0);
    apic.write_page(0x310, 0x0200_0000, 0);
    let effect = apic.write_page(0x300, 0x40fd, 0).unwrap();
    let Effect::Ipi(ipi) = effect else { panic!("{effect:?}") };
    assert_eq!((ipi.destination, ipi.vector), (Destination::Physical(2), 0xfd));
    assert_eq!((apic.read_page(0x300, 0), apic.read_page(0x310, 0)), (0x40fd, 0x0200_0000));
    assert_eq!(apic.write_page(0x300, 0x0c, 0), None, "vectors below 16 are not sent");
    apic.write_page(0x280, 0, 0);
    assert_eq!(apic.read_page(0x280, 0), SEND_ILLEGAL_VECTOR);
    apic.write_page(0x280, 0, 0);
    assert_eq!(apic.read_page(0x280, 0), 0);
}

#[test]
fn errors_interrupt_and_accumulate() {
    let mut apic = enabled(0);
    apic.write_page(0x370, 0xfe, 0);
    apic.accept(Delivery::Fixed, 7, false);
    assert_eq!(apic.take(), Some(0xfe));
    apic.read_page(0x40, 0);
    assert_eq!(apic.read_page(0x280, 0), 0, "not latched yet");
    apic.write_page(0x280, 0, 0);
    assert_eq!(apic.read_page(0x280, 0), RECEIVE_ILLEGAL_VECTOR | ILLEGAL_REGISTER);
}

#[test]
fn start_up_is_forgotten_by_a_later_init() {
    let mut apic = LocalApic::new(1);
    assert_eq!(apic.accept(Delivery::StartUp, 0x9f, false), Arrival::StartUp);
    assert_eq!(apic.accept(Delivery::Init, 0, false), Arrival::Init);
    assert_eq!(apic.take_start_up(), None);
    apic.accept(Delivery::StartUp, 0x8, false);
    apic.init(); // the vCPU carries INIT out late
    assert_eq!(apic.take_start_up(), Some(8));
}

#[test]
fn mode_switches_follow_the_state_diagram() {
    let mut apic = x2apic(0);
    let set = |apic: &mut LocalApic, base| apic.write_msr(IA32_APIC_BASE, base, 0).is_ok();
    assert_eq!(apic.window(), None);
    assert!(!set(&mut apic, 0xfee0_0900), "x2APIC to xAPIC");
    assert!(!set(&mut apic, 0xfee0_0500), "EXTD without EN");
    assert!(set(&mut apic, 0xfee0_0100));
    assert!(apic.takes_external() && !apic.matches(Destination::All));
    assert!(!set(&mut apic, 0xfee0_0d00), "off to x2APIC");
    assert!(set(&mut apic, 0xfed0_0900));
    assert_eq!(apic.window(), Some(0xfed0_0000));
    assert!(!set(&mut apic, 0xfee0_0901) && !set(&mut apic, 1 << 46 | 0x900), "reserved bits");
    assert_eq!(apic.read_page(0xf0, 0), 0xff, "off forgot the spurious vector");
    assert_eq!(apic.read_msr(0x802, 0), Err(MsrDenied), "not in x2APIC mode");
}

#[test]
fn x2apic_registers_check_their_reserved_bits() {
    let mut apic = x2apic(0x105);
    assert_eq!((apic.read_msr(0x802, 0), apic.read_msr(0x803, 0)), (Ok(0x105), Ok(0x5_0014)));
    for (index, value) in
        [(0x808, 0x100), (0x80b, 1), (0x802, 0), (0x80e, 0), (0x828, 1), (0x831, 0), (0x83f, 256)]
    {
        assert_eq!(apic.write_msr(index, value, 0), Err(MsrDenied), "{index:#x}");
    }
    for index in [0x800, 0x809, 0x80e, 0x82f, 0x831, 0x83f, 0x840, 0x8ff] {
        assert_eq!(apic.read_msr(index, 0), Err(MsrDenied), "{index:#x}");
    }
    apic.write_msr(0x808, 0x35, 0).unwrap();
    assert_eq!(apic.task_priority(), 3);
    let Ok(Some(Effect::Ipi(ipi))) = apic.write_msr(0x830, 0x1_0000_0004_00f0, 0) else { panic!() };
    assert_eq!((ipi.shorthand, ipi.vector), (Shorthand::Myself, 0xf0));
    let Ok(Some(Effect::Ipi(ipi))) = apic.write_msr(0x83f, 0x31, 0) else { panic!() };
    assert_eq!((ipi.shorthand, ipi.vector), (Shorthand::Myself, 0x31));
    assert_eq!(apic.read_msr(0x830, 0), Ok(0x1_0000_0004_00f0));
}

#[test]
fn the_timer_interrupts_through_its_entry() {
    let mut apic = enabled(0);
    apic.write_page(0x3e0, 0xb, 0);
    apic.write_page(0x320, 0x2_00ec, 0);
    apic.write_page(0x380, 1000, 0);
    assert_eq!(apic.read_page(0x390, 400), 600);
    apic.advance(1000);
    assert_eq!(apic.take(), Some(0xec));
    assert_eq!(apic.deadline(), Some(2000));
    apic.write_page(0x320, 0x3_00ec, 1000);
    apic.write_page(0xb0, 0, 0);
    apic.advance(2000);
    assert_eq!(apic.pending(), None, "masked");
    apic.write_page(0x320, 0x4_00ec, 0);
    apic.write_msr(IA32_TSC_DEADLINE, 3000, 2500).unwrap();
    assert_eq!((apic.deadline(), apic.read_msr(IA32_TSC_DEADLINE, 2500)), (Some(3000), Ok(3000)));
    apic.write_msr(IA32_TSC_DEADLINE, 2000, 2500).unwrap();
    assert_eq!((apic.pending(), apic.deadline()), (Some(0xec), None), "a deadline in the past fires at once");
}

#[test]
fn local_pins_follow_their_entries() {
    let mut apic = enabled(0);
    assert!(!apic.pull_lint1(), "masked after reset");
    apic.enter_virtual_wire();
    assert!(apic.pull_lint1() && apic.takes_external());
    apic.write_page(0x360, 0x44, 0);
    assert!(!apic.pull_lint1());
    assert_eq!(apic.take(), Some(0x44));
    apic.write_page(0x350, 0x1_0700, 0);
    assert!(!apic.takes_external());
    apic.accept(Delivery::External, 0, false);
    assert!(apic.takes_external());
    apic.took_external();
    assert!(!apic.takes_external());
}

#[test]
fn the_state_round_trips_and_nonsense_is_refused() {
    let mut apic = x2apic(7);
    apic.write_msr(0x832, 0x4_00ec, 0).unwrap();
    apic.write_msr(IA32_TSC_DEADLINE, 77, 0).unwrap();
    apic.accept(Delivery::Fixed, 0x55, true);
    apic.accept(Delivery::Fixed, 0x66, false);
    apic.take();
    let mut copy = LocalApic::new(7);
    copy.restore_record(&apic.to_record()).unwrap();
    assert_eq!(copy.save(), apic.save());
    assert!(LocalApic::new(6).restore(apic.save()).is_err());
    let spoil = |change: fn(&mut LocalApicState)| {
        let mut state = apic.save();
        change(&mut state);
        LocalApic::new(7).restore(state).is_err()
    };
    assert!(spoil(|state| state.base = BASE_X2));
    assert!(spoil(|state| state.lvt[5] |= 1 << 9));
    assert!(spoil(|state| state.irr.set(3, true)));
}
