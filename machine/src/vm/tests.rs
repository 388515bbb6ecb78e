//! A machine's life with an engine that follows a script instead of executing a guest.

use std::sync::mpsc;
use std::time::Duration;

use base::GuestPhys;
use engine::{Attention, Board, Budget, EngineError, Exit, Signals, Width};

use super::*;

/// What a scripted vCPU does next.
#[derive(Clone, Debug)]
enum Step {
    Out(u16, Width, u32),
    Mmio(u64, u32),
    Exit(Exit),
    Fail,
    /// Takes an interrupt if there is one, and otherwise halts.
    AwaitInterrupt,
    /// Spins until a signal for the machine is up.
    Spin,
}

/// An engine whose vCPU `n` follows script `n`; what it does is reported.
struct Script {
    steps: Vec<Vec<Step>>,
    report: mpsc::Sender<(u32, String)>,
}

struct Actor {
    index: u32,
    steps: std::vec::IntoIter<Step>,
    script: Vec<Step>,
    state: CpuState,
    attention: Arc<Attention>,
    board: Arc<dyn Board>,
    report: mpsc::Sender<(u32, String)>,
    exits: u64,
}

impl Engine for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn vcpu(
        &self,
        index: u32,
        _: &CpuModel,
        _: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        let script = self.steps[index as usize].clone();
        Ok(Box::new(Actor {
            index,
            steps: script.clone().into_iter(),
            script,
            state: CpuState::default(),
            attention: attention.clone(),
            board: board.clone(),
            report: self.report.clone(),
            exits: 0,
        }))
    }
}

impl Actor {
    fn say(&self, what: impl Into<String>) {
        let _ = self.report.send((self.index, what.into()));
    }
}

impl Vcpu for Actor {
    fn run(&mut self, _: Budget) -> Result<Exit, EngineError> {
        self.exits += 1;
        loop {
            self.attention.take(Signals::INTERRUPT);
            if self.attention.peek().intersects(Signals::MACHINE) {
                return Ok(Exit::Signalled);
            }
            match self.steps.as_slice().first().cloned() {
                Some(Step::AwaitInterrupt) => match self.board.take_interrupt() {
                    Some(vector) => self.say(format!("interrupt {vector:#x}")),
                    None => return Ok(Exit::Halted),
                },
                Some(Step::Spin) => {
                    self.say("spins");
                    while !self.attention.peek().intersects(Signals::MACHINE) {
                        std::thread::yield_now();
                    }
                    self.steps.next();
                    continue;
                }
                Some(Step::Out(port, width, value)) => self.board.port_out(port, width, value),
                Some(Step::Mmio(at, value)) => {
                    self.board.mmio_write(GuestPhys(at), Width::Dword, value.into())
                }
                Some(Step::Exit(exit)) => {
                    self.steps.next();
                    return Ok(exit);
                }
                Some(Step::Fail) => {
                    let reason = "the script says so".into();
                    return Err(EngineError::Unsupported { engine: "script", reason });
                }
                None => return Ok(Exit::Halted),
            }
            self.steps.next();
        }
    }

    fn state(&self) -> CpuState {
        self.state.clone()
    }

    fn set_state(&mut self, state: &CpuState) {
        self.say(format!("state {:?} at {:#x}", state.events.activity, state.segments[1].base + state.rip));
        self.state = state.clone();
        self.steps = self.script.clone().into_iter();
    }

    fn statistics(&self) -> Statistics {
        Statistics { blocks: self.exits, ..Statistics::default() }
    }
}

/// The smallest multiboot kernel: its header, loaded to 1 MiB.
fn kernel() -> Arc<[u8]> {
    let words = [0x1bad_b002, 0x1_0000, 0xe451_4ffe_u32, 0x10_0000, 0x10_0000, 0, 0, 0x10_0020];
    words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().into()
}

type Report = mpsc::Receiver<(u32, String)>;

fn machine(steps: Vec<Vec<Step>>, config: VmConfig, wires: Wires) -> (Arc<Vm>, Report) {
    let (report, reports) = mpsc::channel();
    let config = VmConfig { memory: 4 << 20, vcpus: steps.len() as u32, ..config };
    let images = Images { kernel: kernel(), ..Images::default() };
    (Arc::new(Vm::new(config, images, wires, &Script { steps, report }).unwrap()), reports)
}

fn simple(steps: Vec<Step>) -> (Arc<Vm>, Report) {
    machine(vec![steps], VmConfig::default(), Wires::default())
}

fn await_report(reports: &Report, wanted: &str) -> u32 {
    loop {
        let (cpu, text) = reports.recv_timeout(Duration::from_secs(60)).expect(wanted);
        if text.contains(wanted) {
            return cpu;
        }
    }
}

fn out(port: u16, value: u32) -> Step {
    Step::Out(port, Width::Byte, value)
}

fn outcome(steps: Vec<Step>) -> Outcome {
    simple(steps).0.run().unwrap()
}

#[test]
fn every_way_to_end_has_its_outcome() {
    let power_off = Step::Out(0x604, Width::Word, 5 << 10 | 1 << 13);
    assert!(matches!(outcome(vec![power_off]), Outcome::PowerOff));
    assert!(matches!(outcome(vec![out(0x64, 0xfe)]), Outcome::Reset));
    assert!(matches!(outcome(vec![out(0xcf9, 6)]), Outcome::Reset));
    assert!(matches!(outcome(vec![out(0x92, 1)]), Outcome::Reset));
    assert!(matches!(outcome(vec![Step::Out(0xf4, Width::Dword, 0x10)]), Outcome::DebugExit(0x21)));
    assert!(matches!(outcome(vec![out(0x505, 1)]), Outcome::GuestPanic));
    let fault = Step::Exit(Exit::Shutdown("no IDT".into()));
    assert!(matches!(outcome(vec![fault]), Outcome::TripleFault(text) if text == "no IDT"));
    let fetch = Step::Exit(Exit::BadFetch(GuestPhys(0xf000_0000)));
    assert!(matches!(outcome(vec![fetch]), Outcome::BadFetch(GuestPhys(0xf000_0000))));
    assert!(matches!(outcome(vec![Step::Fail]), Outcome::EngineFailed(_)));
}

#[test]
fn a_halted_machine_is_stopped_from_outside_and_runs_once() {
    let (vm, _reports) = simple(vec![]);
    let runner = std::thread::spawn({
        let vm = vm.clone();
        move || vm.run()
    });
    std::thread::sleep(Duration::from_millis(5));
    vm.stop();
    assert!(matches!(runner.join().unwrap(), Ok(Outcome::Stopped)));
    assert!(matches!(vm.run(), Err(StateError::NotRunning)));
    let (vm, _reports) = simple(vec![Step::Spin]);
    vm.stop();
    assert!(matches!(vm.run(), Ok(Outcome::Stopped)), "stopped before it began");
}

#[test]
fn a_timer_wakes_a_halted_vcpu() {
    let apic = |register: u64, value| Step::Mmio(0xfee0_0000 + register, value);
    let steps = vec![
        apic(0x3e0, 0xb),
        apic(0x320, 0xec),
        apic(0x380, 2_000_000),
        Step::AwaitInterrupt,
        Step::Out(0xf4, Width::Byte, 1),
    ];
    let (vm, reports) = simple(steps);
    assert!(matches!(vm.run().unwrap(), Outcome::DebugExit(3)));
    await_report(&reports, "interrupt 0xec");
    assert!(vm.time() >= 2_000_000);
}

#[test]
fn a_paused_machine_stands_with_its_clock_and_goes_on() {
    let (vm, reports) = machine(
        vec![vec![Step::Spin, Step::Spin, out(0xf4, 0)], vec![]],
        VmConfig::default(),
        Wires::default(),
    );
    assert_eq!(vm.pause(), Err(StateError::NotRunning));
    let runner = std::thread::spawn({
        let vm = vm.clone();
        move || vm.run()
    });
    await_report(&reports, "spins");
    assert!(matches!(vm.save(), Err(StateError::Running)));
    vm.pause().unwrap();
    let stood = vm.time();
    assert!(vm.save().is_ok());
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(vm.time(), stood);
    assert!(reports.try_recv().is_err(), "nothing moves");
    vm.pause().unwrap();
    vm.resume().unwrap();
    await_report(&reports, "spins");
    assert!(vm.time() >= stood);
    vm.pause().unwrap();
    vm.resume().unwrap();
    assert!(matches!(runner.join().unwrap(), Ok(Outcome::DebugExit(1))));
    assert_eq!(vm.resume(), Err(StateError::NotRunning));
    assert!(vm.statistics()[0].blocks >= 3);
}

#[test]
fn a_paused_machine_can_be_stopped() {
    let (vm, reports) = simple(vec![Step::Spin, Step::Spin]);
    let runner = std::thread::spawn({
        let vm = vm.clone();
        move || vm.run()
    });
    await_report(&reports, "spins");
    vm.pause().unwrap();
    vm.stop();
    assert!(matches!(runner.join().unwrap(), Ok(Outcome::Stopped)));
}

#[test]
fn init_and_start_up_bring_up_the_other_processors() {
    let icr = |high: u32, low: u32| [Step::Mmio(0xfee0_0310, high), Step::Mmio(0xfee0_0300, low)];
    let boot = [icr(1 << 24, 0x4500), icr(1 << 24, 0x069a), icr(1 << 24, 0x069a)].concat();
    let (vm, reports) =
        machine(vec![boot, vec![Step::Spin, out(0xf4, 7)]], VmConfig::default(), Wires::default());
    let runner = std::thread::spawn({
        let vm = vm.clone();
        move || vm.run()
    });
    assert_eq!(await_report(&reports, "state Running at 0x9a000"), 1);
    assert_eq!(await_report(&reports, "spins"), 1, "the second start-up IPI changes nothing");
    vm.kick();
    assert!(matches!(runner.join().unwrap(), Ok(Outcome::DebugExit(15))));
}

#[test]
fn a_reset_in_place_loads_again() {
    // Each boot writes to CF9h anew, and each time it is an edge: the chips are new.
    let config = VmConfig { reboot: true, ..VmConfig::default() };
    let (vm, reports) = machine(vec![vec![out(0xcf9, 6)]], config, Wires::default());
    let runner = std::thread::spawn({
        let vm = vm.clone();
        move || vm.run()
    });
    for _ in 0..3 {
        await_report(&reports, "state Running at 0x100020");
    }
    vm.stop();
    assert!(matches!(runner.join().unwrap(), Ok(Outcome::Stopped | Outcome::Reset)));
}

#[test]
fn a_machine_that_ended_starts_again() {
    let (vm, reports) = simple(vec![out(0xcf9, 6)]);
    let images = Images { kernel: kernel(), ..Images::default() };
    assert!(matches!(vm.restart(&images), Err(RestartError::State(StateError::Running))));
    for _ in 0..3 {
        assert!(matches!(vm.run(), Ok(Outcome::Reset)));
        await_report(&reports, "state Running at 0x100020");
        assert!(matches!(vm.run(), Err(StateError::NotRunning)));
        assert!(matches!(vm.restart(&Images::default()), Err(RestartError::Build(_))));
        vm.restart(&images).unwrap();
    }
    vm.stop();
    assert!(matches!(vm.run(), Ok(Outcome::Stopped)));
    vm.restart(&images).unwrap();
    assert!(matches!(vm.run(), Ok(Outcome::Stopped)), "who is stopped stays so");
}

/// A sink that counts the writes.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<(Vec<u8>, usize)>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut inside = self.0.lock().unwrap();
        inside.0.extend_from_slice(bytes);
        inside.1 += 1;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_burst_of_output_arrives_whole_and_in_few_writes() {
    let sink = Sink::default();
    let mut steps: Vec<_> = (0..100_000u32).map(|n| out(0x3f8, n & 0xff)).collect();
    steps.push(out(0xf4, 0));
    let wires = Wires { consoles: [Some(Box::new(sink.clone())), None, None, None], ..Wires::default() };
    let (vm, _reports) = machine(vec![steps], VmConfig::default(), wires);
    vm.run().unwrap();
    let (bytes, writes) = &*sink.0.lock().unwrap();
    // A script that does not look at THRE may outrun the writer by no more than the buffer.
    assert!(bytes.len() > crate::chip::OUTPUT_CAPACITY && *writes < 2000, "{} in {writes}", bytes.len());
    assert!(bytes.iter().take(60_000).enumerate().all(|(n, byte)| *byte == n as u8));
}

#[test]
fn input_waits_for_the_guest_with_back_pressure() {
    let (vm, _reports) = simple(vec![]);
    let input = vm.console_input(0).unwrap();
    assert!(vm.console_input(4).is_none());
    let room = input.room();
    assert_eq!(input.send(&vec![b'x'; room + 100]), room);
    // One byte went on to the UART's receiver without FIFO.
    assert_eq!(input.room(), 1);
    let board = &vm.board;
    let port: Arc<dyn Board> = Arc::new(CpuPort::new(board.clone(), 0));
    assert_eq!(port.port_in(0x3fd, Width::Byte) & 1, 1);
    assert_eq!(port.port_in(0x3f8, Width::Byte), u32::from(b'x'));
    assert_eq!((port.port_in(0x3fd, Width::Byte) & 1, input.room()), (1, 2));
}

#[test]
fn the_whole_state_round_trips_through_json() {
    let (vm, _reports) = simple(vec![]);
    let port = CpuPort::new(vm.board.clone(), 0);
    for (at, value) in
        [(0x43, 0x34), (0x40, 0x9c), (0x40, 0x2e), (0x3f9, 0x5), (0x21, 0xfb), (0x70, 0xb), (0x71, 0x42)]
    {
        port.port_out(at, Width::Byte, value);
    }
    port.port_out(0xcf8, Width::Dword, 0x8000_0004);
    port.mmio_write(GuestPhys(0xfee0_00f0), Width::Dword, 0x1ff);
    vm.pull_nmi();
    let saved = vm.save().unwrap();
    assert!(saved.cpus[0].nmi);
    let text = serde_json::to_string(&saved).unwrap();
    let (other, _reports) = simple(vec![]);
    assert_ne!(other.save().unwrap(), saved);
    other.restore(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(other.save().unwrap(), saved);
    let mut wrong = saved.clone();
    wrong.version += 1;
    assert!(matches!(other.restore(&wrong), Err(VmRestoreError::State(_))));
    let mut wrong = saved.clone();
    wrong.cpus[0].cpu.cr0 = 1 << 40;
    assert!(matches!(other.restore(&wrong), Err(VmRestoreError::State(_))));
    let mut wrong = saved;
    wrong.board.chips.pop();
    assert!(matches!(other.restore(&wrong), Err(VmRestoreError::State(_))));
}

#[test]
fn bad_configurations_are_refused_before_anything_is_taken() {
    let build = |config: VmConfig, kernel: Arc<[u8]>| {
        let (report, _) = mpsc::channel();
        let images = Images { kernel, ..Images::default() };
        let engine = Script { steps: vec![vec![]], report };
        Vm::new(config, images, Wires::default(), &engine).err().unwrap()
    };
    let config = VmConfig { memory: 4 << 20, ..VmConfig::default() };
    assert!(matches!(build(VmConfig { vcpus: 0, ..config.clone() }, kernel()), BuildError::Vcpus(0)));
    assert!(matches!(build(VmConfig { vcpus: 10_000, ..config.clone() }, kernel()), BuildError::Vcpus(_)));
    assert!(matches!(
        build(VmConfig { memory: 1 << 50, ..config.clone() }, kernel()),
        BuildError::TooMuchMemory(_)
    ));
    assert!(matches!(
        build(VmConfig { memory: (4 << 20) + 1, ..config.clone() }, kernel()),
        BuildError::Memory(_)
    ));
    assert!(matches!(build(VmConfig { memory: 4096, ..config.clone() }, kernel()), BuildError::Load(_)));
    assert!(matches!(build(config, Arc::from(&b"junk"[..])), BuildError::Load(_)));
}

#[test]
fn a_configuration_is_json() {
    let config: VmConfig = serde_json::from_str(r#"{"memory": 1048576, "command-line": "quiet"}"#).unwrap();
    assert_eq!((config.memory, config.command_line.as_str(), config.vcpus), (1 << 20, "quiet", 1));
    assert!(serde_json::from_str::<VmConfig>(r#"{"memroy": 1}"#).is_err(), "unknown fields are refused");
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<VmConfig>(&text).unwrap(), config);
}
