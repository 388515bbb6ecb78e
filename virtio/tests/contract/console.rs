//! Terminals and channels.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use base::Bell;
use engine::Width;
use ringfence_virtio::{Console, Port, back};

use crate::driver::*;

const MULTIPORT: u64 = 1 << 1;
const SIZE: u16 = 16;
const CONTROL_IN: u16 = 2;
const CONTROL_OUT: u16 = 3;
const DATA: u64 = 0x20_0000;

#[derive(Default)]
struct Ends {
    input: VecDeque<u8>,
    output: Vec<u8>,
    room: Option<usize>,
    connected: bool,
    size: Option<(u16, u16)>,
}

/// A port's other end, as the test sees it. Clones are the same end.
#[derive(Clone)]
pub struct Pipe(Arc<Mutex<Ends>>, Arc<Bell>);

impl Default for Pipe {
    fn default() -> Self {
        Self(Arc::default(), Arc::new(Bell::new().unwrap()))
    }
}

impl Pipe {
    fn change(&self, change: impl FnOnce(&mut Ends)) {
        change(&mut self.0.lock().unwrap());
        self.1.ring();
    }

    fn output(&self) -> Vec<u8> {
        self.0.lock().unwrap().output.clone()
    }
}

impl back::Console for Pipe {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut ends = self.0.lock().unwrap();
        let taken = bytes.len().min(ends.room.unwrap_or(usize::MAX));
        ends.room = ends.room.map(|room| room - taken);
        ends.output.extend(&bytes[..taken]);
        taken
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut ends = self.0.lock().unwrap();
        let len = into.len().min(ends.input.len());
        into.iter_mut().zip(ends.input.drain(..len)).for_each(|(to, from)| *to = from);
        len
    }
    fn connected(&self) -> bool {
        self.0.lock().unwrap().connected
    }
    fn size(&self) -> Option<(u16, u16)> {
        self.0.lock().unwrap().size
    }
    fn answer(&mut self) {
        self.1.answer();
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

fn console() -> (Pipe, Pipe, Driver) {
    let (terminal, channel) = (Pipe::default(), Pipe::default());
    let ports = vec![
        Port::terminal(Box::new(terminal.clone())),
        Port::channel(Box::new(channel.clone()), "org.example"),
    ];
    let driver = Driver::new(Box::new(Console::new(ports)));
    (terminal, channel, driver)
}

/// Offers `count` empty buffers of `len` bytes each, from descriptor 0 on.
fn offer_buffers(driver: &Driver, queue: u16, count: u16, len: u32) {
    for n in 0..count {
        let at = DATA + 0x1_0000 * u64::from(queue) + 0x1000 * u64::from(n);
        driver.chain(queue, n, &[(at, len, WRITE)]);
        driver.offer(queue, SIZE, n);
    }
    driver.kick(queue);
}

/// What came in the n-th used buffer.
fn received(driver: &Driver, queue: u16, n: u16) -> Vec<u8> {
    let (head, len) = driver.used(queue, SIZE, n);
    let mut bytes = vec![0; len as usize];
    let at = DATA + 0x1_0000 * u64::from(queue) + 0x1000 * u64::from(head);
    driver.memory.read(base::GuestPhys(at), &mut bytes).unwrap();
    bytes
}

fn send(driver: &Driver, queue: u16, bytes: &[u8]) {
    let at = DATA + 0x1_0000 * u64::from(queue);
    driver.put(at, bytes);
    driver.chain(queue, 0, &[(at, bytes.len() as u32, 0)]);
    driver.offer(queue, SIZE, 0);
    driver.kick(queue);
}

fn control(port: u32, event: u16, value: u16) -> Vec<u8> {
    [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat()
}

#[test]
fn without_several_ports_it_is_a_terminal() {
    let (terminal, _, driver) = console();
    terminal.change(|ends| ends.size = Some((80, 25)));
    assert_eq!(driver.read(DEVICE, Width::Dword), 25 << 16 | 80);
    driver.start(1, SIZE);
    send(&driver, 1, b"hello");
    driver.await_used(1, 1);
    assert_eq!(terminal.output(), b"hello");
    terminal.change(|ends| ends.input.extend(b"typed"));
    offer_buffers(&driver, 0, 2, 3);
    driver.await_used(0, 2);
    assert_eq!([received(&driver, 0, 0), received(&driver, 0, 1)], [b"typ".to_vec(), b"ed".to_vec()]);
    driver.write(DEVICE + 8, Width::Dword, u64::from(b'!'));
    assert_eq!(terminal.output(), b"hello!");
    let generation = driver.read(21, Width::Byte);
    terminal.change(|ends| ends.size = Some((132, 50)));
    wait("the new size", || driver.read(21, Width::Byte) != generation);
    assert_eq!(driver.read(DEVICE, Width::Dword), 50 << 16 | 132);
}

#[test]
fn ports_are_introduced_and_opened() {
    let (terminal, channel, driver) = console();
    terminal.change(|ends| ends.size = Some((80, 25)));
    assert_eq!(driver.read(DEVICE + 4, Width::Dword), 2);
    driver.start(MULTIPORT, SIZE);
    offer_buffers(&driver, CONTROL_IN, SIZE, 64);
    send(&driver, CONTROL_OUT, &control(0, 0, 1));
    driver.await_used(CONTROL_IN, 2);
    assert_eq!([0, 1].map(|n| received(&driver, CONTROL_IN, n)), [control(0, 1, 0), control(1, 1, 0)]);
    send(&driver, CONTROL_OUT, &control(0, 3, 1));
    driver.await_used(CONTROL_IN, 5);
    let resize = [control(0, 5, 0), vec![80, 0, 25, 0]].concat();
    assert_eq!(
        [2, 3, 4].map(|n| received(&driver, CONTROL_IN, n)),
        [control(0, 4, 1), resize, control(0, 6, 0)]
    );
    send(&driver, CONTROL_OUT, &control(1, 3, 1));
    driver.await_used(CONTROL_IN, 7);
    let name = [control(1, 7, 1), b"org.example".to_vec()].concat();
    assert_eq!([5, 6].map(|n| received(&driver, CONTROL_IN, n)), [name, control(1, 6, 0)]);
    channel.change(|ends| ends.connected = true);
    driver.await_used(CONTROL_IN, 8);
    assert_eq!(received(&driver, CONTROL_IN, 7), control(1, 6, 1));

    // Input waits until a program has opened the port.
    offer_buffers(&driver, 4, 4, 64);
    channel.change(|ends| ends.input.extend(b"question"));
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(driver.used_index(4), 0);
    send(&driver, CONTROL_OUT, &control(1, 6, 1));
    driver.await_used(4, 1);
    assert_eq!(received(&driver, 4, 0), b"question");
    send(&driver, 5, b"answer");
    driver.await_used(5, 1);
    assert_eq!(channel.output(), b"answer");
}

#[test]
fn output_waits_for_room_and_survives_a_move() {
    let (terminal, _, driver) = console();
    terminal.change(|ends| ends.room = Some(3));
    driver.start(MULTIPORT, SIZE);
    send(&driver, 1, b"0123456789");
    wait("the first bytes", || terminal.output() == b"012");
    driver.board.pause();
    let state = driver.board.save();
    let second = Console::new(vec![
        Port::terminal(Box::new(terminal.clone())),
        Port::channel(Box::new(Pipe::default()), "x"),
    ]);
    let copy = Driver::standing(Box::new(second));
    let mut all = vec![0; RAM as usize];
    driver.memory.read(base::GuestPhys(0), &mut all).unwrap();
    copy.put(0, &all);
    copy.board.restore(&state).unwrap();
    terminal.change(|ends| ends.room = None);
    copy.board.resume();
    copy.await_used(1, 1);
    assert_eq!(terminal.output(), b"0123456789");
}

#[test]
fn a_driver_that_only_asks_is_not_heard_any_longer() {
    let (.., driver) = console();
    driver.start(MULTIPORT, SIZE);
    let mut room = 0;
    for round in 0..200u16 {
        for n in 0..SIZE {
            let at = DATA + 0x100 * u64::from(n);
            driver.put(at, &control(u32::from(n % 3), [0, 3, 6, 9][usize::from(n % 4)], 1));
            driver.chain(CONTROL_OUT, n, &[(at, if n == 5 { 7 } else { 8 }, 0)]);
            driver.offer(CONTROL_OUT, SIZE, n);
        }
        driver.kick(CONTROL_OUT);
        let all = (round + 1) * SIZE;
        let start = std::time::Instant::now();
        while driver.used_index(CONTROL_OUT) != all {
            if start.elapsed() > std::time::Duration::from_millis(50) && driver.used_index(CONTROL_IN) == room
            {
                // It has stopped, and goes on when its messages are read; or it is slow and has few to be read.
                room += SIZE;
                offer_buffers(&driver, CONTROL_IN, SIZE, 64);
                let heard = || driver.used_index(CONTROL_IN) == room;
                wait("the messages", || heard() || driver.used_index(CONTROL_OUT) == all);
                if heard() {
                    return;
                }
            }
        }
    }
    panic!("messages without end");
}
