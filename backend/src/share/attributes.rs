//! What is said of files, in the protocol's words, and whose they are.
//!
//! Whoever runs Ringfence is root in the guest: his files are shown as root's, and what the guest makes is his. The guest
//! cannot give files away, nor make any that give rights to others on the host (set-user-id, set-group-id).

#![allow(unsafe_code)] // one C structure of zeros

use std::time::Duration;

use fuse_backend_rs::abi::fuse_abi::{Attr, stat64};
use fuse_backend_rs::api::filesystem::{Entry, SetattrValid};
use rustix::fs::{Mode, Stat, StatVfs, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

/// How long a guest may believe what it was told: as long as others' changes may stay unseen.
pub const BELIEF: Duration = Duration::from_secs(1);

/// Whose process this is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Ours.
    pub fn this() -> Self {
        Self { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }

    /// What the guest is told of a file.
    pub fn attributes(self, stat: &Stat) -> stat64 {
        let Self { uid, gid } = self;
        Attr {
            ino: stat.st_ino,
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            atime: stat.st_atime as u64,
            mtime: stat.st_mtime as u64,
            ctime: stat.st_ctime as u64,
            atimensec: stat.st_atime_nsec as u32,
            mtimensec: stat.st_mtime_nsec as u32,
            ctimensec: stat.st_ctime_nsec as u32,
            mode: stat.st_mode,
            nlink: stat.st_nlink as u32,
            uid: if stat.st_uid == uid { 0 } else { stat.st_uid },
            gid: if stat.st_gid == gid { 0 } else { stat.st_gid },
            rdev: stat.st_rdev as u32,
            blksize: stat.st_blksize as u32,
            flags: 0,
        }
        .into()
    }

    /// What the guest is told when it has looked a name up.
    pub fn entry(self, number: u64, stat: &Stat) -> Entry {
        Entry {
            inode: number,
            generation: 0,
            attr: self.attributes(stat),
            attr_flags: 0,
            attr_timeout: BELIEF,
            entry_timeout: BELIEF,
        }
    }

    /// The guest sets a file's owner: it may only say again who that is.
    pub fn keeps(self, stat: &Stat, wanted: &stat64, valid: SetattrValid) -> Result<(), Errno> {
        let shown = self.attributes(stat);
        let other = valid.contains(SetattrValid::UID) && wanted.st_uid != shown.st_uid
            || valid.contains(SetattrValid::GID) && wanted.st_gid != shown.st_gid;
        if other { Err(Errno::PERM) } else { Ok(()) }
    }
}

/// The mode that a file gets when the guest asks for this one.
pub fn mode(wanted: u32) -> Mode {
    Mode::from_raw_mode(wanted & 0o777)
}

/// The times that the guest sets; `None` if it sets none.
pub fn times(wanted: &stat64, valid: SetattrValid) -> Option<Timestamps> {
    let one = |set, now, seconds, nanoseconds| {
        let nanoseconds = match (valid.contains(now), valid.contains(set)) {
            (true, _) => UTIME_NOW,
            (false, true) => nanoseconds,
            (false, false) => UTIME_OMIT,
        };
        Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
    };
    let asked = SetattrValid::ATIME | SetattrValid::MTIME | SetattrValid::ATIME_NOW | SetattrValid::MTIME_NOW;
    valid.intersects(asked).then(|| Timestamps {
        last_access: one(SetattrValid::ATIME, SetattrValid::ATIME_NOW, wanted.st_atime, wanted.st_atime_nsec),
        last_modification: one(
            SetattrValid::MTIME,
            SetattrValid::MTIME_NOW,
            wanted.st_mtime,
            wanted.st_mtime_nsec,
        ),
    })
}

/// What the guest is told of the file system.
pub fn file_system(found: &StatVfs) -> libc::statvfs64 {
    // SAFETY: it is integers only, of which zero is a value.
    let mut told: libc::statvfs64 = unsafe { std::mem::zeroed() };
    told.f_bsize = found.f_bsize;
    told.f_frsize = found.f_frsize;
    told.f_blocks = found.f_blocks;
    told.f_bfree = found.f_bfree;
    told.f_bavail = found.f_bavail;
    told.f_files = found.f_files;
    told.f_ffree = found.f_ffree;
    told.f_favail = found.f_favail;
    told.f_namemax = found.f_namemax;
    told
}
