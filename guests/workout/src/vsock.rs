//! A pipe to a socket between guest and host, for tests: busybox has no program that knows such sockets.
//!
//! ```text
//! ringfence-workout --vsock connect PORT      to the host's port
//! ringfence-workout --vsock listen PORT       for one connection from the host
//! ```
//!
//! Standard input goes out, what comes goes to standard output; it ends when both have.

#![allow(unsafe_code)] // nix gives an accepted descriptor as a number

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::thread;

use nix::libc::{VMADDR_CID_ANY, VMADDR_CID_HOST};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, VsockAddr, accept4, bind, connect, listen,
    shutdown, socket,
};

/// The argument that asks for it.
pub const FLAG: &str = "--vsock";

/// Does what the arguments after the flag say.
pub fn run(arguments: &[String]) -> ExitCode {
    let port = |text: &String| text.parse::<u32>().ok();
    let socket = match arguments {
        [how, text] if how == "connect" => port(text).map(to_host),
        [how, text] if how == "listen" => port(text).map(from_host),
        _ => None,
    };
    let Some(socket) = socket else {
        eprintln!("ringfence-workout: write --vsock connect PORT or --vsock listen PORT");
        return ExitCode::from(2);
    };
    match socket.and_then(carry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfence-workout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?)
}

fn to_host(port: u32) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    connect(socket.as_raw_fd(), &VsockAddr::new(VMADDR_CID_HOST, port))?;
    Ok(socket)
}

fn from_host(port: u32) -> io::Result<OwnedFd> {
    let listener = new_socket()?;
    bind(listener.as_raw_fd(), &VsockAddr::new(VMADDR_CID_ANY, port))?;
    listen(&listener, Backlog::new(1)?)?;
    let accepted = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the call has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(accepted) })
}

fn carry(socket: OwnedFd) -> io::Result<()> {
    let (mut out, mut back) = (File::from(socket.try_clone()?), File::from(socket));
    let sender = thread::spawn(move || {
        io::copy(&mut io::stdin().lock(), &mut out)?;
        Ok(shutdown(out.as_raw_fd(), Shutdown::Write)?)
    });
    io::copy(&mut back, &mut io::stdout().lock())?;
    sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
}
