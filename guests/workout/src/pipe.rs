//! Pipes and their kin: how much, in what order, who waits, and what it means when the other end is gone.

#![allow(unsafe_code)] // the disposition of SIGPIPE

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, splice};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::Scale;
use crate::child::{self, End};
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    ping_pong(report, 2000 * scale.rounds)?;
    stream(report, scale)?;
    readiness(report)?;
    broken(report)?;
    records(report)?;
    sockets(report)?;
    descriptors(report)?;
    spliced(report)
}

/// A number back and forth between two processes, each of which changes it.
fn ping_pong(report: &mut Report, rounds: u32) -> io::Result<()> {
    let ((mut theirs, mut out), (mut back, mut answer)) = (io::pipe()?, io::pipe()?);
    let step = |number: u64| number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let child = child::start(move || {
        let mut number = [0; 8];
        for _ in 0..rounds {
            let answered = theirs
                .read_exact(&mut number)
                .and_then(|()| answer.write_all(&step(u64::from_le_bytes(number)).to_le_bytes()));
            if answered.is_err() {
                return 1;
            }
        }
        0
    })?;
    let (mut number, mut bytes) = (1_u64, [0; 8]);
    for _ in 0..rounds {
        out.write_all(&(number ^ 0xff).to_le_bytes())?;
        back.read_exact(&mut bytes)?;
        number = u64::from_le_bytes(bytes);
    }
    report.value("ping-pong", format_args!("{number:016x}"));
    report.expect("its other end", child::wait(child)?, End::Code(0));
    Ok(())
}

/// Megabytes in writes of odd sizes, far larger than the pipe.
fn stream(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let total = (4 << 20) * scale.rounds.min(64) as usize;
    let child = child::start(move || {
        let mut generator = Generator::new(77);
        let mut left = total;
        while left > 0 {
            let size = left.min(1 + generator.below(300_000));
            if writer.write_all(&generator.bytes(size)).is_err() {
                return 1;
            }
            left -= size;
        }
        0
    })?;
    let mut digest = Digest::new();
    let (mut sizes, mut piece, mut length) = (Generator::new(78), vec![0; 100_000], 0);
    loop {
        let want = 1 + sizes.below(piece.len());
        let count = reader.read(&mut piece[..want])?;
        if count == 0 {
            break;
        }
        digest.bytes(&piece[..count]);
        length += count;
    }
    report.check("bytes through a pipe are all", length == total);
    report.value("bytes through a pipe", digest);
    report.expect("their writer", child::wait(child)?, End::Code(0));
    Ok(())
}

fn events(descriptor: &impl AsFd) -> io::Result<PollFlags> {
    let mut one = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
    poll(&mut one, PollTimeout::ZERO)?;
    Ok(one[0].revents().unwrap_or(PollFlags::empty()))
}

fn readiness(report: &mut Report) -> io::Result<()> {
    let (mut reader, mut writer): (PipeReader, PipeWriter) = io::pipe()?;
    // SAFETY: takes a number, and does nothing to memory.
    let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 65_536) };
    report.expect("capacity", set, 65_536);
    report.expect("empty, to read", events(&reader)?, PollFlags::empty());
    report.expect("empty, to write", events(&writer)?, PollFlags::POLLOUT);
    for end in [reader.as_fd(), writer.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut filled = 0;
    let full = loop {
        match writer.write(&[1; 4096]) {
            Ok(count) => filled += count,
            Err(error) => break error.kind(),
        }
    };
    report.expect("filled", (filled, full), (65_536, io::ErrorKind::WouldBlock));
    report.expect("full, to write", events(&writer)?, PollFlags::empty());
    report.expect("full, to read", events(&reader)?, PollFlags::POLLIN);
    reader.read_exact(&mut vec![0; 65_536])?;
    report.expect(
        "empty again",
        reader.read(&mut [0]).map_err(|error| error.kind()),
        Err(io::ErrorKind::WouldBlock),
    );
    drop(writer);
    report.expect("without writer", events(&reader)?, PollFlags::POLLHUP);
    report.expect("read without writer", reader.read(&mut [0])?, 0);

    let (first, second) =
        (EventFd::from_flags(EfdFlags::EFD_NONBLOCK)?, EventFd::from_flags(EfdFlags::EFD_NONBLOCK)?);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&first, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
    epoll.add(&second, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 2))?;
    let ready = || -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 4];
        let count = epoll.wait(&mut events, PollTimeout::ZERO)?;
        let mut ready: Vec<u64> = events[..count].iter().map(EpollEvent::data).collect();
        ready.sort_unstable();
        Ok(ready)
    };
    report.expect("epoll, nothing", ready()?, vec![]);
    first.write(3)?;
    second.write(4)?;
    first.write(2)?;
    report.expect("epoll, both", ready()?, vec![1, 2]);
    report.expect("epoll, the edge is over", ready()?, vec![1]);
    report.expect("counted", (first.read()?, second.read()?), (5, 4));
    report.expect("epoll, none", ready()?, vec![]);
    Ok(())
}

fn broken(report: &mut Report) -> io::Result<()> {
    // Rust's start-up code ignores SIGPIPE.
    let (reader, mut writer) = io::pipe()?;
    drop(reader);
    report.expect(
        "write without reader",
        writer.write(&[1]).map_err(|error| error.raw_os_error()),
        Err(Some(libc::EPIPE)),
    );
    report.expect("without reader", events(&writer)?, PollFlags::POLLOUT | PollFlags::POLLERR);
    let end = child::run(move || {
        // SAFETY: the default action runs no code of ours.
        let usual = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        i32::from(usual.is_err() || writer.write(&[1]).is_ok())
    })?;
    report.expect("the signal for it", end, End::Signal(libc::SIGPIPE));
    Ok(())
}

/// Writes of up to PIPE_BUF bytes arrive whole, whoever else writes.
fn records(report: &mut Report) -> io::Result<()> {
    const WRITERS: u8 = 4;
    const RECORDS: u32 = 200;
    let (mut reader, writer) = io::pipe()?;
    let mut children = Vec::new();
    for name in 0..WRITERS {
        let mut writer = writer.try_clone()?;
        children.push(child::start(move || {
            for number in 0..RECORDS {
                let mut record = [name; 512];
                record[..4].copy_from_slice(&number.to_le_bytes());
                if !writer.write(&record).is_ok_and(|count| count == record.len()) {
                    return 1;
                }
            }
            0
        })?);
    }
    drop(writer);
    let mut next = [0_u32; WRITERS as usize];
    let (mut whole, mut record) = (true, [0; 512]);
    while reader.read_exact(&mut record).is_ok() {
        let name = record[511];
        let number = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
        match next.get_mut(usize::from(name)) {
            Some(next) if *next == number && record[4..].iter().all(|byte| *byte == name) => *next += 1,
            _ => whole = false,
        }
    }
    report.check("records arrive whole and in order", whole);
    report.expect("records", next, [RECORDS; WRITERS as usize]);
    for child in children {
        report.expect("a writer", child::wait(child)?, End::Code(0));
    }
    Ok(())
}

fn sockets(report: &mut Report) -> io::Result<()> {
    let (mut near, mut far) = UnixStream::pair()?;
    let child = child::start(move || {
        let mut text = Vec::new();
        // Until the other side says that it is done; then the answer goes the other way.
        let answered = far.read_to_end(&mut text).and_then(|_| {
            text.reverse();
            far.write_all(&text)
        });
        i32::from(answered.is_err())
    })?;
    near.write_all(b"stressed")?;
    near.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    near.read_to_string(&mut answer)?;
    report.expect("socket", (answer.as_str(), child::wait(child)?), ("desserts", End::Code(0)));

    let (near, far) = UnixDatagram::pair()?;
    near.send(b"one")?;
    near.send(b"")?;
    near.send(b"three")?;
    let mut buffer = [0; 4];
    let lengths = [far.recv(&mut buffer)?, far.recv(&mut buffer)?, far.recv(&mut buffer)?];
    report.expect("datagrams, the last cut off", lengths, [3, 0, 4]);
    Ok(())
}

/// A pipe's end sent through a socket works in the process that receives it.
fn descriptors(report: &mut Report) -> io::Result<()> {
    let (near, far) = UnixStream::pair()?;
    let (mut reader, writer) = io::pipe()?;
    let child = child::start(move || {
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        let message = recvmsg::<()>(far.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::empty());
        let received = message.ok().and_then(|message| {
            message.cmsgs().ok()?.find_map(|control| match control {
                ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
                _ => None,
            })
        });
        // SAFETY: the kernel made this descriptor for us just now, and nobody else has it.
        let sent = received.map(|descriptor| unsafe { File::from_raw_fd(descriptor) });
        i32::from(sent.is_none_or(|mut file| file.write_all(b"through").is_err()))
    })?;
    let rights = [writer.as_raw_fd()];
    sendmsg::<()>(
        near.as_raw_fd(),
        &[IoSlice::new(b"!")],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::empty(),
        None,
    )?;
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    report.expect("a descriptor sent", (text.as_str(), child::wait(child)?), ("through", End::Code(0)));
    Ok(())
}

/// Pages moved from pipe to pipe without a copy of ours.
fn spliced(report: &mut Report) -> io::Result<()> {
    let ((from, mut writer), (mut reader, to)) = (io::pipe()?, io::pipe()?);
    let bytes = Generator::new(40).bytes(50_000);
    writer.write_all(&bytes)?;
    drop(writer);
    let mut moved = 0;
    loop {
        match splice(&from, None, &to, None, 1 << 16, nix::fcntl::SpliceFFlags::empty()) {
            Ok(0) => break,
            Ok(count) => moved += count,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    drop(to);
    let mut arrived = Vec::new();
    reader.read_to_end(&mut arrived)?;
    report.expect("spliced", (moved, arrived == bytes), (50_000, true));
    Ok(())
}
