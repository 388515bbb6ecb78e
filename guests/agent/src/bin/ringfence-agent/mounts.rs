//! The file systems that every Linux program takes for granted.

use std::fs;
use std::os::unix::fs::symlink;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::console;

struct Mount {
    kind: &'static str,
    at: &'static str,
    flags: MsFlags,
    options: &'static str,
}

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const NO_EXEC: MsFlags = QUIET.union(MsFlags::MS_NOEXEC);

/// In the order in which they stand on each other.
const MOUNTS: [Mount; 7] = [
    Mount { kind: "devtmpfs", at: "/dev", flags: MsFlags::MS_NOSUID, options: "mode=0755" },
    Mount { kind: "proc", at: "/proc", flags: NO_EXEC, options: "" },
    Mount { kind: "sysfs", at: "/sys", flags: NO_EXEC, options: "" },
    Mount {
        kind: "devpts",
        at: "/dev/pts",
        flags: MsFlags::MS_NOSUID,
        options: "ptmxmode=0666,mode=0620,gid=5",
    },
    Mount { kind: "tmpfs", at: "/dev/shm", flags: QUIET, options: "mode=1777" },
    Mount { kind: "tmpfs", at: "/tmp", flags: QUIET, options: "mode=1777" },
    Mount { kind: "tmpfs", at: "/run", flags: QUIET, options: "mode=0755" },
];

/// The links that shells expect in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts what is not yet mounted. A kernel without one of them is still worth running on, so a failure is
/// said and passed over.
pub fn mount_all() {
    for Mount { kind, at, flags, options } in MOUNTS {
        // On a read-only root the directory has to be there already; then the mount tells.
        let _ = fs::create_dir_all(at);
        match mount(Some(kind), at, Some(kind), flags, Some(options)) {
            // Busy: the kernel has mounted it already (devtmpfs.mount=1).
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => console::say(&format!("cannot mount {kind} on {at}: {error}")),
        }
    }
    for (target, link) in LINKS {
        // There already, or else missed by few.
        let _ = symlink(target, link);
    }
}
