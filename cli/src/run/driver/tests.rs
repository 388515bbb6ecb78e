//! The loop against a guest that is a few channels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// The far ends.
struct World {
    console: Sender<Vec<u8>>,
    off: Sender<Ending>,
    input: Sender<Vec<u8>>,
    signals: Sender<i32>,
    orders: Sender<Ending>,
    chunks: Receiver<Chunk>,
    failures: Sender<(Stream, io::Error)>,
    com1: Arc<Mutex<Vec<u8>>>,
    stops: Arc<AtomicUsize>,
}

/// Passes everything on; `!` on the console is the end.
struct Echo {
    started: bool,
    has_command: bool,
}

impl Talk for Echo {
    fn console(&mut self, bytes: &[u8], actions: &mut Actions) {
        actions.write(Stream::Out, bytes);
        if bytes.ends_with(b"!") {
            actions.end(Ending::Guest(9));
        }
    }
    fn console_is_output(&self) -> bool {
        true
    }
    fn input(&mut self, bytes: &[u8], actions: &mut Actions) {
        actions.com1.extend_from_slice(bytes);
    }
    fn end_input(&mut self, actions: &mut Actions) {
        actions.com1.push(0);
    }
    fn wants_input(&self) -> bool {
        true
    }
    fn has_started(&self) -> bool {
        self.started
    }
    fn signal(&mut self, signal: u8, actions: &mut Actions) -> bool {
        if self.has_command {
            actions.com1.push(signal);
        }
        self.has_command
    }
    fn leave(&mut self, actions: &mut Actions) -> bool {
        actions.com1.extend_from_slice(b"off");
        true
    }
}

const ECHO: Echo = Echo { started: true, has_command: true };
/// A grace that does not end on a busy host either.
const PATIENT: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits { boot: Duration::from_secs(60), whole: None };

/// Drives `talk` while `story` plays the rest of the world.
fn drive(talk: Echo, limits: Limits, story: impl FnOnce(World) + Send + 'static) -> Finished {
    drive_with(None, PATIENT, talk, limits, story)
}

/// The same with a machine that starts anew by this, and has so long to go off.
fn drive_with(
    restart: Option<Restart>,
    grace: Duration,
    talk: Echo,
    limits: Limits,
    story: impl FnOnce(World) + Send + 'static,
) -> Finished {
    let (console, console_end) = bounded(4);
    let (off, off_end) = bounded(1);
    let (input, input_end) = bounded(0);
    let (signals, signals_end) = bounded(16);
    let (chunks_end, chunks) = bounded(4);
    let (failures, failed) = bounded(2);
    let (com1, stops) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let guest = Guest {
        console: console_end,
        agent: None,
        com1: Box::new({
            let com1 = com1.clone();
            move |bytes| {
                // Takes two at a time, as a port that is nearly full.
                let count = bytes.len().min(2);
                com1.lock().unwrap().extend_from_slice(&bytes[..count]);
                count
            }
        }),
        stop: Box::new({
            let (stops, off) = (stops.clone(), off.clone());
            move || {
                stops.fetch_add(1, Ordering::SeqCst);
                let _ = off.try_send(Ending::Stopped);
            }
        }),
        off: off_end,
        restart,
    };
    let output = Output { chunks: chunks_end, failed };
    let (orders, orders_end) = bounded(1);
    let user = User { input: input_end, signals: signals_end, orders: orders_end, output, raw: None };
    let world = World { console, off, input, signals, orders, chunks, failures, com1, stops };
    let driver = Driver::new(guest, user, Box::new(talk), Arc::new(Status::new()), limits).with_grace(grace);
    let teller = std::thread::spawn(move || story(world));
    let finished = driver.run();
    teller.join().unwrap();
    finished
}

fn await_com1(world: &World, expected: &[u8]) {
    let until = Instant::now() + Duration::from_secs(60);
    while *world.com1.lock().unwrap() != expected {
        assert!(Instant::now() < until, "{:?}", world.com1.lock().unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn said(world: World) -> Vec<u8> {
    let World { chunks, failures, .. } = world;
    let mut all = Vec::new();
    // The loop's end is gone when it waits for the failures to be.
    while let Ok(chunk) = chunks.recv() {
        all.extend(chunk.bytes);
    }
    drop(failures);
    all
}

#[test]
fn input_output_status_and_a_gentle_end() {
    let finished = drive(ECHO, LIMITS, |world| {
        world.input.send(b"hello".to_vec()).unwrap();
        await_com1(&world, b"hello");
        world.console.send(b"out".to_vec()).unwrap();
        world.console.send(b"put!".to_vec()).unwrap();
        await_com1(&world, b"hellooff");
        world.console.send(b" bye".to_vec()).unwrap();
        world.off.send(Ending::PowerOff).unwrap();
        assert_eq!(world.stops.load(Ordering::SeqCst), 0, "it went by itself");
        assert_eq!(said(world), b"output! bye");
    });
    assert_eq!(finished.ending, Ending::Guest(9));
}

#[test]
fn a_guest_that_does_not_go_is_stopped() {
    let began = Instant::now();
    let finished = drive_with(None, GRACE, ECHO, LIMITS, |world| {
        world.console.send(b"!".to_vec()).unwrap();
        assert_eq!(said(world), b"!");
    });
    assert_eq!(finished.ending, Ending::Guest(9));
    assert!(began.elapsed() >= GRACE);
}

#[test]
fn the_first_interrupt_is_the_commands_and_the_second_ours() {
    let finished = drive(ECHO, LIMITS, |world| {
        world.signals.send(SIGINT).unwrap();
        await_com1(&world, &[2]);
        assert_eq!(world.stops.load(Ordering::SeqCst), 0);
        world.signals.send(SIGINT).unwrap();
    });
    assert_eq!(finished.ending, Ending::Signal(SIGINT));
}

#[test]
fn without_a_command_the_first_interrupt_is_ours() {
    let talk = Echo { started: false, has_command: false };
    let finished = drive(talk, LIMITS, |world| world.signals.send(SIGINT).unwrap());
    assert_eq!((finished.ending, finished.started), (Ending::Signal(SIGINT), false));
}

/// A restart that counts.
fn counting(restarts: &Arc<AtomicUsize>) -> Restart {
    let restarts = Arc::clone(restarts);
    Box::new(move || {
        let number = restarts.fetch_add(1, Ordering::SeqCst);
        let (requests, news) = (bounded(1).0, crossbeam_channel::unbounded().0);
        let id = agent::SessionId(u32::try_from(number).unwrap());
        if number < 3 { Ok(Line { id, replies: never(), requests, news }) } else { Err("no more".to_owned()) }
    })
}

#[test]
fn a_guest_that_resets_the_machine_starts_anew() {
    let restarts = Arc::<AtomicUsize>::default();
    let seen = Arc::clone(&restarts);
    let finished = drive_with(Some(counting(&restarts)), PATIENT, ECHO, LIMITS, move |world| {
        for _ in 0..3 {
            world.off.send(Ending::Reset).unwrap();
        }
        while seen.load(Ordering::SeqCst) < 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
        world.console.send(b"!".to_vec()).unwrap();
        world.off.send(Ending::Reset).unwrap();
        said(world);
    });
    assert_eq!((finished.ending, restarts.load(Ordering::SeqCst)), (Ending::Guest(9), 3));
    let restarts = Arc::default();
    let finished = drive_with(Some(counting(&restarts)), PATIENT, ECHO, LIMITS, |world| {
        for _ in 0..4 {
            world.off.send(Ending::Reset).unwrap();
        }
    });
    assert_eq!(finished.ending, Ending::Host("no more".to_owned()));
}

#[test]
fn a_guest_that_panicked_or_never_came_up_does_not_start_anew() {
    let restarts = Arc::default();
    let finished = drive_with(Some(counting(&restarts)), PATIENT, ECHO, LIMITS, |world| {
        world.console.send(b"Kernel panic - not syncing: no root\n".to_vec()).unwrap();
        // On a busy host it may have been stopped before that.
        let _ = world.off.send(Ending::Reset);
        said(world);
    });
    assert_eq!(finished.panic.as_deref(), Some("no root"));
    let talk = Echo { started: false, has_command: false };
    let finished = drive_with(Some(counting(&restarts)), PATIENT, talk, LIMITS, |world| {
        world.off.send(Ending::Reset).unwrap();
    });
    assert_eq!((finished.ending, restarts.load(Ordering::SeqCst)), (Ending::Reset, 0));
}

#[test]
fn a_plug_that_is_pulled() {
    let finished = drive(ECHO, LIMITS, |world| world.orders.send(Ending::Killed).unwrap());
    assert_eq!(finished.ending, Ending::Killed);
}

#[test]
fn what_was_said_last_is_heard_before_the_end() {
    let finished = drive(ECHO, LIMITS, |world| {
        for _ in 0..3 {
            world.console.send(b"x\n".to_vec()).unwrap();
        }
        world.console.send(b"Kernel panic - not syncing: no root\n!".to_vec()).unwrap();
        world.off.send(Ending::Reset).unwrap();
        assert!(said(world).starts_with(b"x\nx\nx\nKernel"));
    });
    assert_eq!(finished.ending, Ending::Guest(9));
    assert_eq!(finished.panic.as_deref(), Some("no root"));
}

#[test]
fn a_kernel_that_panics_and_stays_is_stopped() {
    let finished = drive(ECHO, LIMITS, |world| {
        world.console.send(b"[    1.0] Kernel panic - not syncing: x\n".to_vec()).unwrap();
        said(world);
    });
    assert_eq!(finished.ending, Ending::Panicked);
}

#[test]
fn the_limits() {
    let soon = Duration::from_millis(50);
    let limits = Limits { boot: soon, whole: None };
    let talk = Echo { started: false, has_command: false };
    assert_eq!(drive(talk, limits, |world| drop(said(world))).ending, Ending::NeverStarted);
    let limits = Limits { boot: soon, whole: Some(2 * soon) };
    assert_eq!(drive(ECHO, limits, |world| drop(said(world))).ending, Ending::TimeOut);
    let limits = Limits { boot: Duration::MAX, whole: Some(Duration::MAX) };
    let ending = drive(ECHO, limits, |world| world.off.send(Ending::PowerOff).unwrap()).ending;
    assert_eq!(ending, Ending::PowerOff);
}

#[test]
fn a_reader_that_is_gone_is_the_commands_concern_if_there_is_one() {
    let broken = || (Stream::Out, io::Error::from(io::ErrorKind::BrokenPipe));
    let finished = drive(ECHO, LIMITS, move |world| {
        world.failures.send(broken()).unwrap();
        await_com1(&world, &[13]);
        world.off.send(Ending::PowerOff).unwrap();
    });
    assert_eq!(finished.ending, Ending::PowerOff);
    let talk = Echo { started: true, has_command: false };
    let finished = drive(talk, LIMITS, move |world| world.failures.send(broken()).unwrap());
    assert_eq!(finished.ending, Ending::Signal(SIGPIPE));
}

#[test]
fn while_output_is_stuck_no_more_is_taken_and_a_signal_still_ends_it() {
    let finished = drive(ECHO, LIMITS, |world| {
        // Nobody reads the chunks: four under way, one in hand, then the console is not taken.
        let mut taken = 0;
        while world.console.send_timeout(vec![b'x'; 10], Duration::from_millis(200)).is_ok() {
            taken += 1;
            assert!(taken < 20, "the output grows without bound");
        }
        world.signals.send(15).unwrap();
    });
    assert_eq!(finished.ending, Ending::Signal(15));
}
