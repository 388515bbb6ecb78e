//! One message: from the guest's memory through the protocol's library to the [`Folder`], and the reply back.
//!
//! Message and reply are copied, so the guest changes neither while we look at them. The library's server is made for
//! `/dev/fuse`, to which it would write replies; here that is `/dev/null`, and the reply is what it has gathered to
//! write. What it parses are messages of the kinds that [`is_served`] lists; others are told ENOSYS here, which guests
//! take as "do without".

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::transport::{FuseBuf, FuseDevWriter, Reader, Writer};
use virtio::back::ShareRequest;

use super::folder::Folder;

/// Bytes of a message's header, and of a reply's (`fuse_in_header`, `fuse_out_header`).
const MESSAGE_HEADER: usize = 40;
const REPLY_HEADER: usize = 16;
/// Bytes of a message or reply: 1 MiB of data, and what describes it.
const MOST: u64 = (1 << 20) + (8 << 10);

const FORGET: u32 = 2;
const BATCH_FORGET: u32 = 42;
const INTERRUPT: u32 = 36;

/// Kinds of messages by their numbers (`enum fuse_opcode`): what [`Folder`] does. Left out are extended attributes, locks
/// (the guest keeps its own), ioctls and memory windows.
fn is_served(kind: u32) -> bool {
    const LOOKUP_TO_SYMLINK: std::ops::RangeInclusive<u32> = 1..=6;
    const MKNOD_TO_RELEASE: std::ops::RangeInclusive<u32> = 8..=18;
    const FSYNC: u32 = 20;
    const FLUSH_TO_FSYNCDIR: std::ops::RangeInclusive<u32> = 25..=30;
    const CREATE: u32 = 35;
    const DESTROY: u32 = 38;
    const FALLOCATE: u32 = 43;
    const RENAME2: u32 = 45;
    const LSEEK: u32 = 46;
    LOOKUP_TO_SYMLINK.contains(&kind)
        || MKNOD_TO_RELEASE.contains(&kind)
        || FLUSH_TO_FSYNCDIR.contains(&kind)
        || [FSYNC, CREATE, DESTROY, BATCH_FORGET, FALLOCATE, RENAME2, LSEEK].contains(&kind)
}

/// A place to work, for one message after the other.
pub struct Desk {
    null: File,
    message: Vec<u8>,
    reply: Vec<u8>,
}

impl Desk {
    /// # Errors
    /// The host's.
    pub fn new() -> std::io::Result<Self> {
        let null = File::options().write(true).open("/dev/null")?;
        Ok(Self { null, message: Vec::new(), reply: Vec::new() })
    }

    /// Does what the message says. Gives the bytes of the reply.
    pub fn serve(&mut self, server: &Server<Arc<Folder>>, request: &ShareRequest) -> u32 {
        let len = request.message.len().min(MOST) as usize;
        let room = request.reply.len().min(MOST) as usize;
        grow(&mut self.message, len.max(MESSAGE_HEADER));
        grow(&mut self.reply, room.max(REPLY_HEADER));
        self.message[..MESSAGE_HEADER].fill(0);
        self.reply[..REPLY_HEADER].fill(0);
        request.message.read(0, &mut self.message[..len]);
        let written = self.answer(server, len, room);
        request.reply.write(0, &self.reply[..written]);
        written as u32
    }

    /// The message's `len` bytes are answered in the first `room` bytes of the reply, of which so many are used.
    fn answer(&mut self, server: &Server<Arc<Folder>>, len: usize, room: usize) -> usize {
        let Self { null, message, reply } = self;
        let kind = word(message, 4);
        if len < MESSAGE_HEADER || kind == INTERRUPT {
            return 0; // neither has an answer
        }
        let mut unique = [0; 8];
        unique.copy_from_slice(&message[8..16]);
        let done = match is_served(kind) {
            true => {
                hand_over(server, null, &mut message[..len], &mut reply[..room]).map_err(|()| libc::EINVAL)
            }
            false => Err(libc::ENOSYS),
        };
        if matches!(kind, FORGET | BATCH_FORGET) || room < REPLY_HEADER {
            return 0;
        }
        // A header that was written says how long the reply is.
        let said = word(reply, 0) as usize;
        if done.is_ok() && (REPLY_HEADER..=room).contains(&said) {
            return said;
        }
        let error = -done.err().unwrap_or(libc::EIO);
        reply[..4].copy_from_slice(&(REPLY_HEADER as u32).to_le_bytes());
        reply[4..8].copy_from_slice(&error.to_le_bytes());
        reply[8..16].copy_from_slice(&unique);
        REPLY_HEADER
    }
}

fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn hand_over(
    server: &Server<Arc<Folder>>,
    null: &File,
    message: &mut [u8],
    reply: &mut [u8],
) -> Result<(), ()> {
    let reader = Reader::<()>::from_fuse_buffer(FuseBuf::new(message)).map_err(drop)?;
    let mut writer = FuseDevWriter::<()>::new(null.as_raw_fd(), reply).map_err(drop)?;
    // A part of a writer gathers what is written to it.
    let gathers = writer.split_at(0).map_err(drop)?;
    server.handle_message(reader, Writer::FuseDev(gathers), None, None).map(drop).map_err(drop)
}
