//! Shared directories: messages go and replies come, and what is no message is a mistake.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use base::{Bell, Record, RestoreError};
use engine::Width;
use ringfence_virtio::Share;
use ringfence_virtio::back::{self, ShareReply, ShareRequest};

use crate::driver::*;

const SIZE: u16 = 16;
const MESSAGE: u64 = 0x20_0000;
const REPLY: u64 = 0x30_0000;

#[derive(Default)]
struct State {
    held: Vec<ShareRequest>,
    hold: bool,
    replies: Vec<ShareReply>,
    resets: usize,
    known: Vec<u8>,
}

/// A directory that answers each message with its bytes. Clones are the same.
#[derive(Clone)]
pub struct Mirror(Arc<Mutex<State>>, Arc<Bell>);

impl Default for Mirror {
    fn default() -> Self {
        Self(Arc::default(), Arc::new(Bell::new().unwrap()))
    }
}

impl Mirror {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn hold(&self, hold: bool) {
        let mut state = self.state();
        state.hold = hold;
        if !hold {
            let held = std::mem::take(&mut state.held);
            held.into_iter().rev().for_each(|request| answer(&mut state, &request));
            self.1.ring();
        }
    }
}

fn answer(state: &mut State, request: &ShareRequest) {
    let mut bytes = vec![0; request.message.len() as usize];
    request.message.read(0, &mut bytes);
    let written = request.reply.write(0, &bytes) as u32;
    state.replies.push(ShareReply { tag: request.tag, written });
}

impl back::Share for Mirror {
    fn tag(&self) -> &str {
        "mirror"
    }
    fn submit(&mut self, request: ShareRequest) {
        let mut state = self.state();
        match state.hold {
            true => state.held.push(request),
            false => answer(&mut state, &request),
        }
        self.1.ring();
    }
    fn complete(&mut self, into: &mut Vec<ShareReply>) {
        self.1.answer();
        into.append(&mut self.state().replies);
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
    fn reset(&mut self) {
        self.state().resets += 1;
        self.state().known.clear();
    }
    fn save(&self) -> Record {
        Record { kind: "mirror".to_owned(), version: 1, payload: self.state().known.clone() }
    }
    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.state().known.clone_from(&record.payload);
        Ok(())
    }
}

fn share(mirror: &Mirror) -> Box<Share> {
    Box::new(Share::new(Box::new(mirror.clone()), 2, "a share"))
}

fn ask(driver: &Driver, queue: u16, n: u16, len: u32) {
    let at = MESSAGE + 0x100 * u64::from(n);
    driver.fill(at, 64, n as u8 + 1);
    driver.chain(
        queue,
        3 * n,
        &[(at, 20, 0), (at + 20, len - 20, 0), (REPLY + 0x100 * u64::from(n), 48, WRITE)],
    );
    driver.offer(queue, SIZE, 3 * n);
    driver.kick(queue);
}

#[test]
fn messages_are_answered_in_any_order() {
    let mirror = Mirror::default();
    let driver = Driver::new(share(&mirror));
    let config = (0..40).map(|at| driver.read(DEVICE + at, Width::Byte) as u8);
    assert_eq!(config.collect::<Vec<_>>(), [&b"mirror"[..], &[0; 30], &2u32.to_le_bytes()].concat());
    driver.start(0, SIZE);
    mirror.hold(true);
    (0..3).for_each(|n| ask(&driver, 1, n, 64));
    ask(&driver, 2, 4, 41);
    wait("four messages", || mirror.state().held.len() == 4);
    assert_eq!(driver.used_index(1), 0);
    mirror.hold(false);
    driver.await_used(1, 3);
    driver.await_used(2, 1);
    assert_eq!([0, 1, 2].map(|n| driver.used(1, SIZE, n)), [(6, 48), (3, 48), (0, 48)]);
    assert_eq!(driver.used(2, SIZE, 0), (12, 41));
    assert_eq!(driver.get::<48>(REPLY + 0x100), [2; 48]);
    // An urgent one has no reply.
    driver.chain(0, 0, &[(MESSAGE, 56, 0)]);
    driver.offer(0, SIZE, 0);
    driver.kick(0);
    driver.await_used(0, 1);
    assert_eq!(driver.used(0, SIZE, 0), (0, 0));
}

#[test]
fn what_is_no_message_is_a_mistake() {
    let mirror = Mirror::default();
    let driver = Driver::new(share(&mirror));
    driver.start(RING_INDIRECT_DESC, SIZE);
    driver.chain(1, 0, &[(MESSAGE, 39, 0), (REPLY, 64, WRITE)]);
    driver.offer(1, SIZE, 0);
    driver.kick(1);
    driver.await_mistake();
    driver.start(RING_INDIRECT_DESC, SIZE);
    assert!(mirror.state().resets > 0);
    driver.chain(1, 0, &[(0, 1 << 20, 0), (0, 1 << 19, 0), (REPLY, 64, WRITE)]);
    driver.offer(1, SIZE, 0);
    driver.kick(1);
    driver.await_mistake();
    driver.start(0, SIZE);
    ask(&driver, 1, 0, 64);
    driver.await_used(1, 1);
    assert_eq!(mirror.state().held.len(), 0);
}

#[test]
fn reset_and_pause_wait_for_what_is_under_way() {
    let mirror = Mirror::default();
    let driver = Driver::new(share(&mirror));
    driver.start(0, SIZE);
    mirror.hold(true);
    ask(&driver, 1, 0, 64);
    wait("the message", || mirror.state().held.len() == 1);
    let resets = mirror.state().resets;
    driver.set_status(0);
    assert_ne!(driver.status(), 0);
    assert_eq!(mirror.state().resets, resets);
    mirror.hold(false);
    wait("the reset", || driver.status() == 0);
    assert_eq!(mirror.state().resets, resets + 1);
    driver.start(0, SIZE);
    mirror.hold(true);
    ask(&driver, 1, 0, 64);
    wait("the message", || mirror.state().held.len() == 1);
    std::thread::scope(|scope| {
        let pause = scope.spawn(|| driver.board.pause());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!pause.is_finished(), "it waits for what is under way");
        mirror.hold(false);
    });
    assert_eq!(driver.used_index(1), 1);
}

#[test]
fn what_the_guest_knows_goes_with_it() {
    let mirror = Mirror::default();
    let driver = Driver::new(share(&mirror));
    driver.start(0, SIZE);
    mirror.state().known = b"files".to_vec();
    driver.board.pause();
    let other = Mirror::default();
    let second = Driver::standing(share(&other));
    second.board.restore(&driver.board.save()).unwrap();
    assert_eq!(other.state().known, b"files");
    let fewer: Box<Share> = Box::new(Share::new(Box::new(Mirror::default()), 1, "another"));
    assert!(Driver::standing(fewer).board.restore(&driver.board.save()).is_err());
    assert_eq!(second.read(DEVICE + 36, Width::Dword), 2);
}
