//! Routing from lines to vCPUs.

use super::*;
use crate::chip::Output;

struct Bench {
    interrupts: Arc<Interrupts>,
    attention: Vec<Arc<Attention>>,
}

impl Bench {
    /// Controllers for so many vCPUs, every local APIC enabled with logical ID `1 << cpu`.
    fn new(cpus: usize) -> Self {
        let attention: Vec<_> = (0..cpus).map(|_| Arc::new(Attention::default())).collect();
        let clock = Arc::new(VirtualClock::default());
        let alarm = Arc::new(AlarmClock::new(clock.clone(), cpus));
        let interrupts = Arc::new(Interrupts::new(&attention, clock, alarm));
        for cpu in 0..cpus {
            interrupts.with_apic(cpu, |apic, now| {
                apic.write_page(0xf0, 0x1ff, now);
                apic.write_page(0xd0, 1 << (24 + cpu), now);
            });
        }
        Self { interrupts, attention }
    }

    /// Programs the 8259s as a kernel does: vectors 30h to 3Fh, nothing masked.
    fn start_pic(&self) {
        self.interrupts.with_pic(|pic| {
            for (slave, base) in [(false, 0x30), (true, 0x38)] {
                for (odd, value) in [(false, 0x11), (true, base), (true, 4), (true, 1), (true, 0)] {
                    pic.write(slave, odd, value);
                }
            }
        });
    }

    fn route(&self, pin: u32, low: u32, high: u32) {
        for (register, value) in [(0x11 + 2 * pin, high), (0x10 + 2 * pin, low)] {
            self.interrupts.write_io_apic(0, register);
            self.interrupts.write_io_apic(0x10, value);
        }
    }

    fn signals(&self, cpu: usize) -> Signals {
        self.attention[cpu].take(Signals::all())
    }

    fn ipi(&self, from: usize, high: u32, low: u32) {
        let effect = self.interrupts.with_apic(from, |apic, now| {
            apic.write_page(0x310, high, now);
            apic.write_page(0x300, low, now)
        });
        self.interrupts.perform(from, effect);
    }

    fn end_of_interrupt(&self, cpu: usize) {
        let effect = self.interrupts.with_apic(cpu, |apic, now| apic.write_page(0xb0, 0, now));
        self.interrupts.perform(cpu, effect);
    }
}

#[test]
fn an_isa_interrupt_comes_through_the_8259_and_lint0() {
    let bench = Bench::new(2);
    bench.start_pic();
    let line = bench.interrupts.line(4);
    line.set(Output::High);
    assert_eq!(
        (bench.signals(0), bench.signals(1)),
        (Signals::INTERRUPT, Signals::empty()),
        "vCPU 0 is wired"
    );
    assert!(bench.interrupts.is_waiting(0) && !bench.interrupts.is_waiting(1));
    assert_eq!((bench.interrupts.take(1), bench.interrupts.take(0)), (None, Some(0x34)));
    assert_eq!(bench.interrupts.take(0), None);
    line.set(Output::Pulse);
    bench.interrupts.with_pic(|pic| pic.write(false, false, 0x20));
    assert_eq!((bench.signals(0), bench.interrupts.take(0)), (Signals::INTERRUPT, Some(0x34)));
}

#[test]
fn irq_0_is_pin_2_and_pci_lines_reach_both_controllers() {
    let bench = Bench::new(1);
    bench.start_pic();
    bench.route(2, 0x50, 0);
    bench.interrupts.line(0).set(Output::High);
    assert_eq!(bench.interrupts.take(0), Some(0x30), "the 8259 goes first");
    assert_eq!(bench.interrupts.take(0), Some(0x50));
    bench.end_of_interrupt(0);
    bench.interrupts.with_pic(|pic| {
        pic.write(false, false, 0x20);
        pic.set_elcr(true, 0x0c);
    });
    bench.route(17, 0x8051, 0);
    let line = bench.interrupts.line(17);
    line.set(Output::High);
    assert_eq!(
        (bench.interrupts.take(0), bench.interrupts.take(0)),
        (Some(0x38 + 3), Some(0x51)),
        "IRQ 11, pin 17"
    );
}

#[test]
fn the_8259_also_comes_through_the_io_apic() {
    let bench = Bench::new(2);
    bench.start_pic();
    bench.interrupts.with_apic(0, |apic, now| apic.write_page(0x350, 0x1_0700, now));
    bench.route(0, 0x0700, 1 << 24); // ExtINT to APIC 1
    bench.signals(0);
    bench.signals(1);
    bench.interrupts.line(7).set(Output::High);
    assert_eq!((bench.signals(0), bench.signals(1)), (Signals::empty(), Signals::INTERRUPT));
    assert_eq!((bench.interrupts.take(0), bench.interrupts.take(1)), (None, Some(0x37)));
    assert!(!bench.interrupts.is_waiting(1));
}

#[test]
fn a_shared_line_is_asserted_while_any_device_asserts_it() {
    let bench = Bench::new(1);
    bench.route(10, 0x8052, 0);
    let (first, second) = (bench.interrupts.line(10), bench.interrupts.line(10));
    first.set(Output::High);
    second.set(Output::High);
    assert_eq!(bench.interrupts.take(0), Some(0x52));
    first.set(Output::Low);
    bench.end_of_interrupt(0);
    assert_eq!(bench.interrupts.take(0), Some(0x52), "the second still asks");
    second.set(Output::Low);
    bench.end_of_interrupt(0);
    assert_eq!(bench.interrupts.take(0), None);
}

#[test]
fn lowest_priority_goes_to_the_idle_and_takes_turns() {
    let bench = Bench::new(3);
    bench.route(5, 0x0960, 0xff00_0000); // logical, lowest priority, all three
    bench.interrupts.with_apic(0, |apic, _| apic.set_task_priority(3));
    let line = bench.interrupts.line(5);
    let mut taken = [0; 3];
    for _ in 0..20 {
        line.set(Output::Pulse);
        line.set(Output::Low);
        let mut takers = 0;
        for (cpu, count) in taken.iter_mut().enumerate() {
            if bench.interrupts.take(cpu).is_some() {
                *count += 1;
                takers += 1;
                bench.end_of_interrupt(cpu);
            }
        }
        assert_eq!(takers, 1, "one alone gets it");
    }
    assert!(taken[0] == 0 && taken[1] > 4 && taken[2] > 4, "{taken:?}");
}

#[test]
fn interprocessor_interrupts_reach_whom_they_name() {
    let bench = Bench::new(3);
    let takers = || [0, 1, 2].map(|cpu| bench.interrupts.take(cpu));
    bench.ipi(0, 0x0200_0000, 0x0041);
    assert_eq!(takers(), [None, None, Some(0x41)]);
    bench.ipi(0, 0x0300_0000, 0x0852);
    assert_eq!(takers(), [Some(0x52), Some(0x52), None], "logical");
    bench.ipi(1, 0, 0xc_0063);
    assert_eq!(takers(), [Some(0x63), None, Some(0x63)], "all but itself");
    bench.ipi(1, 0, 0x4_0064);
    assert_eq!(takers(), [None, Some(0x64), None], "itself");
    bench.ipi(2, 0xff00_0000, 0x0075);
    assert_eq!(takers(), [Some(0x75); 3], "broadcast");
}

#[test]
fn init_start_up_and_nmi_raise_their_signals() {
    let bench = Bench::new(2);
    bench.ipi(0, 0x0100_0000, 0x4500);
    bench.ipi(0, 0x0100_0000, 0x0699);
    assert_eq!(bench.signals(1), Signals::INIT | Signals::SIPI);
    assert_eq!(bench.interrupts.with_apic(1, |apic, _| apic.take_start_up()), Some(0x99));
    bench.ipi(0, 0x0100_0000, 0x0400);
    assert_eq!((bench.signals(0), bench.signals(1)), (Signals::empty(), Signals::NMI));
    bench.interrupts.pull_nmi();
    assert_eq!(
        (bench.signals(0), bench.signals(1)),
        (Signals::NMI, Signals::empty()),
        "LINT1 of vCPU 0 is open"
    );
}

#[test]
fn a_message_signalled_interrupt_needs_no_line() {
    let bench = Bench::new(2);
    bench.interrupts.message(0xfee0_1000, 0x0047);
    assert_eq!((bench.signals(1), bench.interrupts.take(1)), (Signals::INTERRUPT, Some(0x47)));
    for elsewhere in [0x1000, 0xfed0_1000, 0x1_fee0_1000, u64::MAX] {
        bench.interrupts.message(elsewhere, 0x0048);
        assert_eq!((bench.signals(1), bench.interrupts.take(1)), (Signals::empty(), None), "{elsewhere:#x}");
    }
}

#[test]
fn an_eoi_announces_what_it_let_through() {
    let bench = Bench::new(1);
    bench.ipi(0, 0, 0x4_0045);
    bench.interrupts.take(0);
    bench.ipi(0, 0, 0x4_0041);
    bench.signals(0);
    bench.end_of_interrupt(0);
    assert_eq!(bench.signals(0), Signals::INTERRUPT);
    bench.interrupts.with_apic(0, |apic, _| apic.set_task_priority(15));
    bench.signals(0);
    bench.interrupts.with_apic(0, |apic, _| apic.set_task_priority(0));
    assert_eq!(bench.signals(0), Signals::INTERRUPT);
}

#[test]
fn the_states_round_trip_without_a_new_edge() {
    let bench = Bench::new(2);
    bench.start_pic();
    bench.route(4, 0x50, 0);
    let line = bench.interrupts.line(4);
    line.set(Output::High);
    bench.interrupts.take(0);
    let saved = bench.interrupts.save();
    let other = Bench::new(2);
    let other_line = other.interrupts.line(4);
    other.interrupts.restore(&saved).unwrap();
    other_line.resume(true);
    assert_eq!(other.interrupts.save(), saved);
    assert!(other.interrupts.restore(&saved[..3]).is_err());
    assert!(Bench::new(1).interrupts.restore(&saved).is_err());
}
