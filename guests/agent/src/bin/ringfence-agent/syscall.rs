//! The calls for which there is no safe wrapper, each made safe here.

#![allow(unsafe_code)] // system calls and `set_var`; every block says why it is sound

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::signal::SigSet;
use ringfence_agent::{Status, WindowSize};

/// Makes the command the leader of a new session, and, where asked to, its standard input the controlling
/// terminal. No signal is blocked in it: a shell's `wait` would wait for SIGCHLD for ever.
pub fn lead_session(command: &mut Command, with_terminal: bool) {
    let prepare = move || {
        // SAFETY: takes no pointers; async-signal-safe, as is required between fork and exec.
        if unsafe { libc::setsid() } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: TIOCSCTTY takes an integer (1 would steal the terminal, 0 does not); async-signal-safe.
        if with_terminal && unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(SigSet::empty().thread_set_mask()?)
    };
    // SAFETY: the closure allocates nothing, locks nothing and makes async-signal-safe calls only.
    unsafe { command.pre_exec(prepare) };
}

/// The C structure for a window of this size; the pixel sizes are unknown.
pub fn winsize(size: WindowSize) -> libc::winsize {
    libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Tells a terminal its size; its foreground job gets SIGWINCH.
pub fn resize(terminal: &File, size: WindowSize) -> io::Result<()> {
    let size = winsize(size);
    // SAFETY: TIOCSWINSZ reads one `winsize` from the pointer, which lives across the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
}

/// Sends any signal number, real-time ones too, to the process group of `leader`.
pub fn signal_group(leader: u32, signal: u8) -> io::Result<()> {
    let Some(leader) = i32::try_from(leader).ok().filter(|leader| *leader > 1) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: takes no pointers. The group is not -1 (everybody), as the leader is above 1.
    check(unsafe { libc::kill(-leader, i32::from(signal)) })
}

/// Takes the status of one child that has ended: its process and how it ended. `None` where none has and
/// `block` is false; an error (ECHILD) where there is none at all. Not by nix, which has no name for a
/// real-time signal, and returns an error instead of the status that it has just taken from the kernel.
pub fn reap(block: bool) -> io::Result<Option<(u32, Status)>> {
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: waitpid writes one integer through the pointer, which lives across the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        if pid == 0 {
            return Ok(None);
        }
        if pid > 0 {
            let [low, code, ..] = status.to_le_bytes();
            // As WIFEXITED and WTERMSIG; stopped children are not asked for. Bit 7 tells of a core dump.
            let status = if low & 0x7f == 0 { Status::Code(code) } else { Status::Signal(low & 0x7f) };
            return Ok(Some((pid.cast_unsigned(), status)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A request about an interface. `name` is cut to the 15 bytes that a name can have.
fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is plain bytes and integers; all zeros is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// An address in the C structure for any.
fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    // The port's two bytes, then the address's four.
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

/// Gives a network interface an address and a mask, by any socket.
pub fn set_address(socket: &impl AsRawFd, name: &str, address: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
    let mut request = interface_request(name);
    for (code, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, mask)] {
        request.ifr_ifru.ifru_addr = sockaddr(value);
        // SAFETY: both calls read one `ifreq` from the pointer, which lives across them.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), code, &raw const request) })?;
    }
    Ok(())
}

/// Sends what has no other way to this router, by any socket.
pub fn add_default_route(socket: &impl AsRawFd, router: Ipv4Addr) -> io::Result<()> {
    // SAFETY: `rtentry` is plain integers and a pointer that may be null; all zeros is a value of it.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = sockaddr(router);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the call reads one `rtentry` from the pointer, which lives across it.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw const route) })
}

/// Sets IFF_UP on a network interface, by any socket.
pub fn bring_up(socket: &impl AsRawFd, name: &str) -> io::Result<()> {
    let mut request = interface_request(name);
    // SAFETY: both calls take a pointer to one `ifreq`, which lives across them.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the call above succeeded, so it is the flags that the union holds.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    // SAFETY: as above.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// Sets variables of our own environment, which commands inherit.
pub fn set_variables(variables: &[(&str, &str)]) {
    for (name, value) in variables {
        // SAFETY: the agent has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
