//! A virtio device and its driver: rings, descriptors, registers and kicks of any content, on a device that is in use.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use ::virtio::back::{
    Block, Broken, Completion, Facts, Heard, Op, Request, SECTOR, ShareReply, ShareRequest, Stream, VsockNews,
};
use ::virtio::{Balloon, Blk, Console, Device, Port, Rng, Share, VirtioPci, Vsock, back};
use base::{Bell, GuestMemory, GuestPhys, Record, RestoreError, VirtualClock};
use engine::{Attention, Width};
use machine::board::{Equipment, Mainboard};
use machine::pci::{PciFunction, Plug, Slot, Space};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target =
    Target { name: "virtio", about: "drivers of virtio devices that do anything", longest: 2048, run, seeds };

const RAM: u64 = 1 << 20;
/// Where the rings of queue 0 are, those of the others further on, and then the buffers.
const RINGS: u64 = 0x1_0000;
const RING_STEP: u64 = 0x1000;
const BUFFERS: u64 = 0x4_0000;
const SIZE: u16 = 16;

/// A disk in memory that does everything at once.
struct Ram(Vec<u8>, Vec<Completion>, Bell);

impl Block for Ram {
    fn facts(&self) -> Facts {
        let sectors = self.0.len() as u64 / SECTOR;
        Facts { sectors, discard: true, write_zeroes: true, ..Facts::default() }
    }
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let Request { tag, op, sector, sectors, data } = request;
        let range = (sector * SECTOR) as usize..((sector + sectors) * SECTOR) as usize;
        let bytes = &mut self.0[range]; // the front has checked it
        match op {
            Op::Read => assert_eq!(data.write(0, bytes), bytes.len()),
            Op::Write => assert_eq!(data.read(0, bytes), bytes.len()),
            Op::WriteZeroes { .. } | Op::Discard => bytes.fill(0),
            Op::Flush => assert!(bytes.is_empty()),
        }
        self.1.push(Completion { tag, result: Ok(()) });
        self.2.ring();
        Ok(())
    }
    fn complete(&mut self, into: &mut Vec<Completion>) -> bool {
        self.2.answer();
        into.append(&mut self.1);
        false
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.2.as_fd()
    }
}

/// A port's other end that says back what it hears, and takes no more than its buffer holds.
struct Echo(Vec<u8>, Bell);

impl back::Console for Echo {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(512 - self.0.len());
        self.0.extend(&bytes[..taken]);
        self.1.ring();
        taken
    }
    fn read(&mut self, into: &mut [u8]) -> usize {
        let len = into.len().min(self.0.len());
        into.iter_mut().zip(self.0.drain(..len)).for_each(|(to, from)| *to = from);
        len
    }
    fn connected(&self) -> bool {
        !self.0.is_empty()
    }
    fn answer(&mut self) {
        self.1.answer();
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

/// Streams that say back what they hear, as much as their buffers hold. Whoever is called calls back.
struct Echoes(Vec<Option<Vec<u8>>>, Vec<VsockNews>, Bell);

impl Echoes {
    fn add(&mut self) -> Option<Stream> {
        self.0.push(Some(Vec::new()));
        Some(self.0.len() - 1)
    }

    fn tell(&mut self, news: VsockNews) {
        self.1.push(news);
        self.2.ring();
    }
}

impl back::Vsock for Echoes {
    fn connect(&mut self, port: u32) -> Option<Stream> {
        if port == 9 {
            return None;
        }
        if let Some(stream) = self.add() {
            self.tell(VsockNews::Incoming { stream, port });
        }
        self.add()
    }
    fn accept(&mut self, stream: Stream, _: u32) {
        self.tell(VsockNews::Gone(stream));
    }
    fn read(&mut self, stream: Stream, into: &mut [u8]) -> Result<Heard, Broken> {
        let bytes = self.0[stream].as_mut().expect("it is open");
        let len = into.len().min(bytes.len());
        into.iter_mut().zip(bytes.drain(..len)).for_each(|(to, from)| *to = from);
        if stream % 7 == 6 {
            return Err(Broken);
        }
        Ok(if len == 0 { Heard::Nothing } else { Heard::Bytes(len) })
    }
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, Broken> {
        let held = self.0[stream].as_mut().expect("it is open");
        let taken = bytes.len().min(300 - held.len());
        held.extend(&bytes[..taken]);
        self.tell(VsockNews::Readable(stream));
        self.tell(VsockNews::Writable(stream));
        if stream % 5 == 4 { Err(Broken) } else { Ok(taken) }
    }
    fn end(&mut self, stream: Stream) {
        self.tell(VsockNews::Gone(stream));
    }
    fn close(&mut self, stream: Stream) {
        assert!(self.0[stream].take().is_some(), "it was closed before");
    }
    fn news(&mut self, into: &mut Vec<VsockNews>) {
        self.2.answer();
        into.append(&mut self.1);
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.2.as_fd()
    }
}

/// A shared directory that says back what it hears.
struct Mirror(Vec<ShareReply>, Bell);

impl back::Share for Mirror {
    fn tag(&self) -> &str {
        "mirror"
    }
    fn submit(&mut self, request: ShareRequest) {
        let ShareRequest { tag, message, reply } = request;
        assert!((40..2 << 20).contains(&message.len()));
        let mut bytes = vec![0; message.len().min(reply.len()) as usize];
        message.read(0, &mut bytes);
        self.0.push(ShareReply { tag, written: reply.write(0, &bytes) as u32 });
        self.1.ring();
    }
    fn complete(&mut self, into: &mut Vec<ShareReply>) {
        self.1.answer();
        into.append(&mut self.0);
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
    fn reset(&mut self) {
        assert!(self.0.is_empty(), "a request is under way");
    }
    fn save(&self) -> Record {
        Record { kind: "mirror".to_owned(), version: 1, payload: Vec::new() }
    }
    fn restore(&mut self, _: &Record) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// How many fronts there are.
const FRONTS: usize = 6;

fn device(which: usize) -> Box<dyn Device> {
    let bell = || Bell::new().expect("the host has descriptors");
    let echo = || Box::new(Echo(Vec::new(), bell()));
    match which {
        0 => Box::new(Blk::new(Box::new(Ram(vec![0; 16 << 10], Vec::new(), bell())), 2, "the disk")),
        1 => Box::new(Console::new(vec![Port::terminal(echo()), Port::channel(echo(), "channel")])),
        2 => Box::new(Balloon::new().expect("the host has descriptors").0),
        3 => Box::new(Vsock::new(Box::new(Echoes(Vec::new(), Vec::new(), bell())), 3, "the sockets")),
        4 => Box::new(Share::new(Box::new(Mirror(Vec::new(), bell())), 2, "the share")),
        _ => Box::new(Rng::default()),
    }
}

/// A machine with the device on its bus.
struct Stage {
    board: Mainboard,
    memory: Arc<GuestMemory>,
    slot: Slot,
}

impl Stage {
    fn new(which: usize) -> Self {
        let memory = Arc::new(GuestMemory::new(RAM).expect("the host has memory"));
        let clock = Arc::new(VirtualClock::default());
        clock.pause();
        let board = Mainboard::new(Equipment {
            attention: vec![Arc::new(Attention::default())],
            clock,
            unix_nanoseconds: 0,
            memory: RAM,
            consoles: [None, None, None, None],
        });
        let plug: Plug = Box::new(move |wiring| {
            Ok(Arc::new(VirtioPci::new(device(which), wiring)?) as Arc<dyn PciFunction>)
        });
        let slot = board.plug(&memory, plug).expect("the host has threads");
        board.pci.assign();
        board.pci.config_write(slot, 4, Width::Word, 7);
        board.pci.stand(false);
        Self { board, memory, slot }
    }

    fn bar(&self) -> u64 {
        u64::from(self.board.pci.config_read(self.slot, 0x10, Width::Dword) & !15)
    }

    fn write(&self, offset: u64, width: Width, value: u64) {
        self.board.pci.write(Space::Memory, self.bar() + offset, width, value);
    }

    fn read(&self, offset: u64, width: Width) -> u64 {
        self.board.pci.read(Space::Memory, self.bar() + offset, width)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        // What is not RAM is not written.
        let _ = self.memory.write(GuestPhys(at), bytes);
    }

    /// Waits until the device has done what it was told.
    fn settle(&self) {
        self.board.pci.stand(true);
        self.board.pci.stand(false);
    }

    /// Brings the device into use, with all features but those of `without`.
    fn start(&self, without: u32) {
        self.write(20, Width::Byte, 0);
        self.settle();
        self.write(20, Width::Byte, 3);
        for half in 0..2 {
            self.write(0, Width::Dword, half);
            let offered = self.read(4, Width::Dword);
            self.write(8, Width::Dword, half);
            let mask = if half == 0 { u64::from(!without) } else { u64::MAX };
            self.write(12, Width::Dword, offered & mask);
        }
        self.write(20, Width::Byte, 3 | 8);
        for queue in 0..self.read(18, Width::Word).min(8) {
            self.write(22, Width::Word, queue);
            self.write(24, Width::Word, SIZE.into());
            let at = RINGS + queue * RING_STEP;
            self.put(at, &[0; RING_STEP as usize]);
            for (register, at) in [(32, at), (40, at + 0x400), (48, at + 0x800)] {
                self.write(register, Width::Qword, at);
            }
            self.write(28, Width::Word, 1);
        }
        self.write(20, Width::Byte, 3 | 8 | 4);
    }

    fn act(&self, script: &mut Source<'_>) {
        let width = script.pick(&[Width::Byte, Width::Word, Width::Dword, Width::Qword]);
        let queue = u64::from(script.byte() & 7);
        let rings = RINGS + queue * RING_STEP;
        match script.below(10) {
            0 => self.write(u64::from(script.word() & 0x7fff), width, script.qword()),
            1 => drop(self.read(u64::from(script.word() & 0x7fff), width)),
            2 => self.write(u64::from(script.byte() & 63), width, script.qword()),
            3 => self.write(0x2000 + u64::from(script.byte() & 63), width, script.qword()),
            4 => self.start(if script.once_in(2) { script.dword() } else { 0 }),
            5 => {
                let at = script.pick(&[rings, rings + 0x400, BUFFERS]) + u64::from(script.word() & 0xfff);
                let len = script.below(40);
                self.put(at, script.take(len));
            }
            6 | 7 => self.chain(script, rings),
            8 => {
                let register = script.byte() & !3;
                // The BAR stays, so that the rest of the script meets the device.
                if !(0x10..0x28).contains(&register) {
                    self.board.pci.config_write(self.slot, register, Width::Dword, script.dword());
                    self.board.pci.config_read(self.slot, register, Width::Dword);
                    // Once in a while it is no bus master.
                    let command = if script.once_in(4) { 3 } else { 7 };
                    self.board.pci.config_write(self.slot, 4, Width::Word, command);
                }
            }
            _ => self.write(0x3000 + 4 * queue, Width::Word, queue),
        }
    }

    /// A chain that is nearly right, made available, and a kick.
    fn chain(&self, script: &mut Source<'_>, rings: u64) {
        let count = 1 + script.below(4) as u16;
        let first = u16::from(script.byte() & 15);
        for n in 0..count {
            let at = match script.below(8) {
                0 => script.qword(),
                1 => RAM - u64::from(script.byte()),
                2 => rings + u64::from(script.word() & 0xfff),
                _ => BUFFERS + u64::from(script.word()),
            };
            let len = script.pick(&[16, 1, 512, 1024, 8, 0, 4096, u32::MAX]);
            let next = if n + 1 < count { 1 } else { 0 };
            let flags = if script.once_in(8) { script.word() } else { script.pick(&[0, 2]) | next };
            let index = (first + n) % SIZE;
            let mut descriptor = at.to_le_bytes().to_vec();
            descriptor.extend(len.to_le_bytes());
            descriptor.extend(flags.to_le_bytes());
            descriptor.extend(((index + 1) % SIZE).to_le_bytes());
            self.put(rings + 16 * u64::from(index), &descriptor);
        }
        let mut index = [0; 2];
        let available = rings + 0x400;
        if self.memory.read(GuestPhys(available + 2), &mut index).is_ok() {
            let index = u16::from_le_bytes(index);
            self.put(available + 4 + 2 * u64::from(index % SIZE), &first.to_le_bytes());
            self.put(available + 2, &index.wrapping_add(1).to_le_bytes());
        }
        self.write(0x3000 + (rings - RINGS) / RING_STEP * 4, Width::Word, 0);
    }
}

fn run(input: &[u8]) {
    let mut script = Source::new(input);
    let which = script.below(FRONTS);
    let stage = Stage::new(which);
    stage.start(0);
    while !script.is_empty() {
        stage.act(&mut script);
    }
    stage.settle();
    // Whatever was done, the device is saved and restored as it is, and works after a reset.
    stage.board.pci.stand(true);
    let (address, records) = stage.board.pci.save();
    let other = Stage::new(which);
    other.board.pci.stand(true);
    let mut bytes = vec![0; RAM as usize];
    stage.memory.read(GuestPhys(0), &mut bytes).expect("all of it is RAM");
    other.put(0, &bytes);
    other.board.pci.restore(address, &records).expect("a device accepts what it saved");
    assert_eq!(other.board.pci.save().1, records, "restoring changes nothing");
    other.board.pci.stand(false);
    other.start(0);
    assert_eq!(other.read(20, Width::Byte), 3 | 8 | 4, "it works after a reset");
}

fn seeds() -> Vec<Vec<u8>> {
    // Chains on every queue of every front, then noise.
    let noise = (0..300u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 21) as u8);
    let chains =
        (0..8u8).flat_map(|queue| [1, queue, 6, 2, 0, 4, 0, 0, 0, 0, 1, 4, 1, 0, 2, 0, 1, 4, 2, 0, 1, 0, 1]);
    (0..FRONTS as u8)
        .map(|which| [which].into_iter().chain(chains.clone()).chain(noise.clone()).collect())
        .collect()
}
