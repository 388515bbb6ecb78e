//! The mainboard of one machine: what is on it and at which addresses.
//!
//! ```text
//!   ports   20 21 A0 A1 4D0 4D1  8259 pair        3F8 2F8 3E8 2E8  COM1–COM4 (IRQ 4, 3, 4, 3)
//!           40–43 61             8254 (IRQ 0)      600–60F          ACPI (IRQ 9, level)
//!           60 64                8042 (IRQ 1)      CF8–CFF          PCI configuration; CF9 reset
//!           70 71                RTC (IRQ 8)       80–8F            POST code, DMA pages
//!           92                   fast A20, reset   F4 E9 402 505    debug exit, debug consoles, panic
//!           620–62B              PCI hot plug
//!   memory  FEC00000             I/O APIC          FEE00000         local APIC (each vCPU's own)
//!           E0000000–E00FFFFF    PCI configuration of bus 0
//! ```

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use base::{GuestMemory, GuestPhys, Record, RestoreError, VirtualClock};
use engine::{Attention, Width};
use serde::{Deserialize, Serialize};

use super::alarm::AlarmClock;
use super::control::Control;
use super::hotplug::HotplugPorts;
use super::interrupts::Interrupts;
use super::line::Line;
use super::misc::{DebugExit, DebugPort, PANIC_PORT, Panic, Scratch};
use super::registers::{ElcrPorts, IoApicPage, PicPorts, PmPorts};
use super::seat::{At, Seat, Seated, Wiring, lock};
use super::serial::{ConsoleInput, Serial};
use crate::bus::{MmioBus, PortBus};
use crate::chip::{
    HOTPLUG_BASE, HOTPLUG_LENGTH, I8042, MemorySizes, PM_BASE, PM_LENGTH, Pit, PowerManagement, Rtc,
    SystemControl,
};
use crate::pci::{
    ConfigAddressPort, ConfigDataPort, ECAM, ECAM_LEN, Ecam, HostBridge, PciBus, PciWiring, Plug, Slot,
    interrupt_of,
};

/// Where the I/O APIC's registers are.
pub const IO_APIC: GuestPhys = GuestPhys(0xfec0_0000);
/// The first port of each serial port.
pub const COM_PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
/// The interrupt of each serial port.
pub const COM_IRQS: [u8; 4] = [4, 3, 4, 3];

/// Chips with a slot in the alarm clock, after the local APICs: PIT, RTC, PM, 8042, system control, COM1–4.
const CHIP_SLOTS: usize = 9;

/// Where a serial port's output goes.
pub type Sink = Box<dyn Write + Send>;

/// What a mainboard is built from.
pub struct Equipment {
    /// One for each vCPU.
    pub attention: Vec<Arc<Attention>>,
    /// Virtual time.
    pub clock: Arc<VirtualClock>,
    /// The time of day at virtual time zero, in nanoseconds since 1970.
    pub unix_nanoseconds: i64,
    /// RAM, for what CMOS says of it.
    pub memory: u64,
    /// Where the output of COM1 to COM4 goes.
    pub consoles: [Option<Sink>; 4],
}

/// The mainboard.
pub struct Mainboard {
    /// Interrupt controllers.
    pub interrupts: Arc<Interrupts>,
    /// PCI.
    pub pci: Arc<PciBus>,
    pub(super) ports: PortBus,
    pub(super) mmio: MmioBus,
    pub(super) clock: Arc<VirtualClock>,
    alarm: Arc<AlarmClock>,
    control: Arc<Control>,
    chips: Chips,
    /// The INTA pin of each device on the PCI bus.
    pins: Vec<Arc<Line>>,
    sinks: Mutex<[Option<Sink>; 4]>,
    unix_nanoseconds: i64,
    memory: MemorySizes,
}

/// The chips in their seats.
struct Chips {
    pit: Arc<Seat<Pit>>,
    rtc: Arc<Seat<Rtc>>,
    pm: Arc<Seat<PowerManagement>>,
    keyboard: Arc<Seat<I8042>>,
    system_control: Arc<Seat<SystemControl>>,
    serial: [Arc<Serial>; 4],
    /// It has no slot in the alarm clock, so it is the last one.
    hotplug: Arc<HotplugPorts>,
}

impl Chips {
    fn seat(
        equipment: &Equipment,
        memory: MemorySizes,
        wiring: &Wiring,
        interrupts: &Arc<Interrupts>,
        pci: &Arc<PciBus>,
    ) -> Self {
        let first = equipment.attention.len();
        let serial = |n: usize| {
            let connected = equipment.consoles[n].is_some();
            Arc::new(Serial::new(wiring, first + 5 + n, interrupts.line(COM_IRQS[n]), connected))
        };
        let rtc = Rtc::new(equipment.unix_nanoseconds, memory);
        let pm = Arc::new(Seat::new(PowerManagement::default(), wiring, first + 2, Some(interrupts.line(9))));
        Self {
            hotplug: Arc::new(HotplugPorts::new(pci.clone(), pm.clone())),
            pit: Arc::new(Seat::new(Pit::default(), wiring, first, Some(interrupts.line(0)))),
            rtc: Arc::new(Seat::new(rtc, wiring, first + 1, Some(interrupts.line(8)))),
            pm,
            keyboard: Arc::new(Seat::new(I8042::default(), wiring, first + 3, Some(interrupts.line(1)))),
            system_control: Arc::new(Seat::new(SystemControl::default(), wiring, first + 4, None)),
            serial: std::array::from_fn(serial),
        }
    }

    /// All, in the order in which they are saved and have their slots.
    fn all(&self) -> Vec<&dyn Seated> {
        let Self { pit, rtc, pm, keyboard, system_control, serial, hotplug } = self;
        let mut all: Vec<&dyn Seated> = vec![&**pit, &**rtc, &**pm, &**keyboard, &**system_control];
        all.extend(serial.iter().map(|serial| &**serial as &dyn Seated));
        all.push(&**hotplug);
        all
    }

    fn claim_ports(&self, ports: &mut PortBus) {
        use Width::{Byte, Dword};
        ports.claim(0x40, 4, Byte, self.pit.clone());
        ports.claim(0x61, 1, Byte, Arc::new(At(self.pit.clone(), Pit::PORT_61)));
        ports.claim(0x60, 1, Byte, self.keyboard.clone());
        ports.claim(0x64, 1, Byte, Arc::new(At(self.keyboard.clone(), I8042::PORT_64)));
        ports.claim(0x70, 2, Byte, self.rtc.clone());
        ports.claim(PM_BASE, PM_LENGTH, Dword, Arc::new(PmPorts(self.pm.clone())));
        let fast_a20 = At(self.system_control.clone(), SystemControl::PORT_92);
        ports.claim(HOTPLUG_BASE, HOTPLUG_LENGTH, Dword, self.hotplug.clone());
        ports.claim(0x92, 1, Byte, Arc::new(fast_a20));
        for (start, serial) in COM_PORTS.into_iter().zip(&self.serial) {
            ports.claim(start, 8, Byte, serial.clone());
        }
    }
}

/// The whole board at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardState {
    /// Virtual time, in nanoseconds.
    pub time: u64,
    /// The interrupt controllers.
    pub interrupts: Vec<Record>,
    /// The chips.
    pub chips: Vec<Record>,
    /// The PCI address register.
    pub pci_address: u32,
    /// The PCI functions.
    pub pci: Vec<Record>,
}

impl Mainboard {
    /// Builds a board; every chip is as after reset.
    pub fn new(equipment: Equipment) -> Self {
        let clock = Arc::clone(&equipment.clock);
        let alarm = Arc::new(AlarmClock::new(clock.clone(), equipment.attention.len() + CHIP_SLOTS));
        let control = Arc::new(Control::new(equipment.attention.clone().into()));
        let interrupts = Arc::new(Interrupts::new(&equipment.attention, clock.clone(), alarm.clone()));
        let memory = memory_sizes(equipment.memory);
        let wiring = Wiring { clock: clock.clone(), alarm: alarm.clone(), control: control.clone() };
        let pci = Arc::new(PciBus::default());
        let chips = Chips::seat(&equipment, memory, &wiring, &interrupts, &pci);

        pci.add(Slot::new(0, 0), Arc::new(HostBridge::default()));
        let pins = (0..32).map(|device| Arc::new(interrupts.line(interrupt_of(device, 0)))).collect();

        let mut ports = PortBus::default();
        chips.claim_ports(&mut ports);
        claim_interrupt_ports(&mut ports, &interrupts);
        claim_debug_ports(&mut ports, &control);
        let reset_control = At(chips.system_control.clone(), SystemControl::RESET_CONTROL);
        let address = ConfigAddressPort { bus: pci.clone(), reset_control };
        ports.claim(0xcf8, 4, Width::Dword, Arc::new(address));
        ports.claim(0xcfc, 4, Width::Dword, Arc::new(ConfigDataPort(pci.clone())));
        let mut mmio = MmioBus::default();
        mmio.claim(IO_APIC, 0x1000, Arc::new(IoApicPage(interrupts.clone())));
        mmio.claim(ECAM, ECAM_LEN, Arc::new(Ecam(pci.clone())));

        Self {
            interrupts,
            pci,
            ports,
            mmio,
            clock,
            alarm,
            control,
            chips,
            pins,
            sinks: Mutex::new(equipment.consoles),
            unix_nanoseconds: equipment.unix_nanoseconds,
            memory,
        }
    }

    /// What the guest asked of the machine.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Virtual time.
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// The host's end of COM1 to COM4's receivers; `index` is 0 to 3.
    pub fn console_input(&self, index: usize) -> Option<ConsoleInput> {
        self.chips.serial.get(index).cloned().map(ConsoleInput)
    }

    /// Presses the power button: a guest with ACPI shuts down.
    pub fn press_power_button(&self) {
        self.chips.pm.with(|pm, _| pm.press_power_button());
    }

    /// Puts a function into the first free slot of the PCI bus.
    ///
    /// # Errors
    /// The host's, where it cannot make the function, and where no slot is free.
    pub fn plug(&self, memory: &Arc<GuestMemory>, plug: Plug) -> io::Result<Slot> {
        let full = || io::Error::other("all 31 slots of the PCI bus are taken");
        let slot = self.pci.free_slot().ok_or_else(full)?;
        let line = self.pins[usize::from(slot.device())].clone();
        let wiring = PciWiring { slot, memory: memory.clone(), line, interrupts: self.interrupts.clone() };
        self.pci.add(slot, plug(wiring)?);
        Ok(slot)
    }

    /// Tells the guest that a function has come into a slot.
    pub fn announce(&self, slot: Slot) {
        self.chips.hotplug.comes(slot.device());
    }

    /// Asks the guest to let go of the function in a slot. It is gone when the guest says so, which
    /// [`PciBus::slots`] tells.
    pub fn ask_back(&self, slot: Slot) {
        self.chips.hotplug.is_to_go(slot.device());
    }

    /// Puts all chips as they are after power-up. No vCPU runs meanwhile.
    pub fn reset(&self) {
        self.interrupts.reset();
        self.pci.reset();
        let Chips { pit, rtc, pm, keyboard, system_control, serial, hotplug } = &self.chips;
        pit.replace(Pit::default());
        rtc.replace(Rtc::new(self.unix_nanoseconds, self.memory));
        pm.replace(PowerManagement::default());
        keyboard.replace(I8042::default());
        system_control.replace(SystemControl::default());
        serial.iter().for_each(|serial| serial.reset());
        hotplug.reset();
    }

    /// Runs the board's threads while `body` runs: the alarm clock's and one for each console that goes
    /// somewhere. All output is written when this returns.
    pub fn power<R>(&self, body: impl FnOnce() -> R) -> R {
        /// Ends the threads however `body` ends: the scope waits for them.
        struct Off<'a>(&'a Mainboard);
        impl Drop for Off<'_> {
            fn drop(&mut self) {
                self.0.alarm.stop();
                self.0.chips.serial.iter().for_each(|serial| serial.close());
            }
        }
        let mut sinks = lock(&self.sinks);
        self.alarm.open();
        std::thread::scope(|scope| {
            let _off = Off(self);
            for (serial, sink) in self.chips.serial.iter().zip(sinks.iter_mut()) {
                serial.open();
                if let Some(sink) = sink {
                    scope.spawn(move || serial.write_out(sink));
                }
            }
            scope.spawn(|| self.sleep_over_deadlines());
            body()
        })
    }

    /// The alarm clock's thread.
    fn sleep_over_deadlines(&self) {
        // The host's default slack would add 50 µs to each timer of the guest.
        if let Err(error) = nix::sys::prctl::set_timerslack(1) {
            tracing::debug!(%error, "timer slack stays as it is");
        }
        let (cpus, chips) = (self.interrupts.cpus(), self.chips.all());
        self.alarm.run(&|slot| match slot.checked_sub(cpus) {
            None => self.interrupts.with_apic(slot, |_, _| ()),
            Some(index) => chips[index].expire(),
        });
    }

    /// Stops virtual time and everything that changes a chip. No vCPU runs meanwhile.
    pub fn pause(&self) {
        self.pci.stand(true);
        self.clock.pause();
        self.alarm.quiesce();
        self.chips.serial.iter().for_each(|serial| serial.stand(true));
    }

    /// Lets virtual time go on.
    pub fn resume(&self) {
        self.clock.resume();
        self.pci.stand(false);
        self.chips.serial.iter().for_each(|serial| serial.stand(false));
        self.alarm.ring();
    }

    /// The state of all chips. Time stands and no vCPU runs meanwhile.
    pub fn save(&self) -> BoardState {
        let (pci_address, pci) = self.pci.save();
        BoardState {
            time: self.clock.now(),
            interrupts: self.interrupts.save(),
            chips: self.chips.all().iter().map(|chip| chip.save()).collect(),
            pci_address,
            pci,
        }
    }

    /// Puts the state of all chips back.
    ///
    /// # Errors
    /// Where a chip is missing or refuses; the board is then half restored and must not run.
    pub fn restore(&self, state: &BoardState) -> Result<(), RestoreError> {
        let BoardState { time, interrupts, chips, pci_address, pci } = state;
        let seats = self.chips.all();
        if chips.len() != seats.len() {
            let reason = format!("{} chips are saved, {} are here", chips.len(), seats.len());
            return Err(RestoreError::Invalid { kind: "board", reason });
        }
        self.clock.set(*time);
        self.interrupts.restore(interrupts)?;
        for (seat, record) in seats.iter().zip(chips) {
            seat.restore(record)?;
        }
        self.pci.restore(*pci_address, pci)?;
        self.alarm.ring();
        Ok(())
    }
}

fn memory_sizes(memory: u64) -> MemorySizes {
    let low = memory.min(base::HOLE_START);
    MemorySizes { low, high: memory - low }
}

fn claim_interrupt_ports(ports: &mut PortBus, interrupts: &Arc<Interrupts>) {
    for (start, slave) in [(0x20, false), (0xa0, true)] {
        let registers = PicPorts { interrupts: interrupts.clone(), slave };
        ports.claim(start, 2, Width::Byte, Arc::new(registers));
    }
    ports.claim(0x4d0, 2, Width::Byte, Arc::new(ElcrPorts(interrupts.clone())));
}

fn claim_debug_ports(ports: &mut PortBus, control: &Arc<Control>) {
    ports.claim(0x80, 16, Width::Byte, Arc::new(Scratch::default()));
    ports.claim(0xf4, 4, Width::Dword, Arc::new(DebugExit(control.clone())));
    ports.claim(0xe9, 1, Width::Byte, Arc::new(DebugPort::default()));
    ports.claim(0x402, 1, Width::Byte, Arc::new(DebugPort::default()));
    ports.claim(PANIC_PORT, 1, Width::Byte, Arc::new(Panic(control.clone())));
}

#[cfg(test)]
#[path = "mainboard_tests.rs"]
mod tests;
