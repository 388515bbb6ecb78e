//! What the guest has open.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Open files and directories at the same time: each is a descriptor of this process. Beyond, the guest hears ENFILE.
pub const MOST: usize = 512;

/// Something open.
#[derive(Debug)]
pub struct Handle {
    /// Which node it was opened as.
    pub node: u64,
    /// The flags it was opened with, as far as they count when it is opened again.
    pub flags: u32,
    /// `None` for what could not be opened again after a restore.
    pub file: Option<File>,
    /// Held while a directory is read: its position is the descriptor's.
    pub reading: Mutex<()>,
}

/// All of it.
#[derive(Debug)]
pub struct Handles {
    handles: BTreeMap<u64, Arc<Handle>>,
    next: u64,
}

impl Default for Handles {
    fn default() -> Self {
        Self { handles: BTreeMap::new(), next: 1 }
    }
}

impl Handles {
    /// May there be one more?
    pub fn have_room(&self) -> Result<(), Errno> {
        if self.handles.len() < MOST { Ok(()) } else { Err(Errno::NFILE) }
    }

    /// Adds one, and gives its number.
    pub fn add(&mut self, node: u64, flags: u32, file: File) -> Result<u64, Errno> {
        self.have_room()?;
        let number = self.next;
        self.next = number.checked_add(1).ok_or(Errno::NFILE)?;
        let handle = Handle { node, flags, file: Some(file), reading: Mutex::default() };
        self.handles.insert(number, Arc::new(handle));
        Ok(number)
    }

    /// That of this number, if it is this node's.
    pub fn get(&self, number: u64, node: u64) -> Result<Arc<Handle>, Errno> {
        self.handles.get(&number).filter(|handle| handle.node == node).cloned().ok_or(Errno::BADF)
    }

    /// Any that is this node's: the way to a file that has lost its name.
    pub fn of(&self, node: u64) -> Option<Arc<Handle>> {
        self.handles.values().find(|handle| handle.node == node && handle.file.is_some()).cloned()
    }

    /// Closes it.
    pub fn close(&mut self, number: u64, node: u64) -> Result<(), Errno> {
        self.get(number, node)?;
        self.handles.remove(&number);
        Ok(())
    }

    /// At rest.
    pub fn state(&self) -> HandlesState {
        let Self { handles, next } = self;
        let state = |(number, handle): (&u64, &Arc<Handle>)| {
            let Handle { node, flags, file: _, reading: _ } = &**handle;
            (*number, *node, *flags)
        };
        HandlesState { handles: handles.iter().map(state).collect(), next: *next }
    }
}

/// Handles at rest: number, node, flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlesState {
    handles: Vec<(u64, u64, u32)>,
    next: u64,
}

impl HandlesState {
    /// The handles, if they can be; `open` opens a node again, and may fail.
    pub fn wake(self, open: impl Fn(u64, u32) -> Option<File>) -> Result<Handles, &'static str> {
        let Self { handles, next } = self;
        if handles.len() > MOST || next > u64::MAX / 2 {
            return Err("the guest has too many files open");
        }
        let mut woken = Handles { handles: BTreeMap::new(), next };
        for (number, node, flags) in handles {
            let handle = Handle { node, flags, file: open(node, flags), reading: Mutex::default() };
            if !(1..next).contains(&number) || woken.handles.insert(number, Arc::new(handle)).is_some() {
                return Err("two open files have one number, or one has none of its own");
            }
        }
        Ok(woken)
    }
}
