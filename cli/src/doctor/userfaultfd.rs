//! userfaultfd(2): being asked for pages of memory when they are first touched.
#![allow(unsafe_code)] // neither the standard library nor nix has the system call

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::finding::{Finding, Status};

/// Only for faults of user mode, which needs no privilege (linux/userfaultfd.h).
const UFFD_USER_MODE_ONLY: libc::c_int = 1;

/// The finding.
pub fn finding() -> Finding {
    let (id, name) = ("userfaultfd", "userfaultfd");
    let full = File::open("/dev/userfaultfd").is_ok() || open(0).is_ok();
    match open(UFFD_USER_MODE_ONLY) {
        Ok(_) if full => Finding::good(id, name, "works", "A saved guest can run before all of its memory is read."),
        Ok(_) => Finding::good(
            id,
            name,
            "works for user mode",
            "A saved guest can run before all of its memory is read, as long as the host's kernel does not touch it first.",
        )
        .but(Status::Limited, "sudo sysctl vm.unprivileged_userfaultfd=1, or give access to /dev/userfaultfd"),
        Err(error) => {
            Finding::good(id, name, error.to_string(), "A saved guest starts when all of its memory is read.")
                .but(Status::Missing, "let the sandbox's seccomp filter pass userfaultfd(2)")
        }
    }
}

fn open(flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes flags and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | flags) };
    match libc::c_int::try_from(result) {
        // SAFETY: a descriptor that is new and nobody else's.
        Ok(descriptor @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
