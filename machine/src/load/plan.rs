//! What a loader wants done.

use std::borrow::Cow;

use base::{GuestMemory, GuestPhys, OutOfRam};
use x86::CpuState;

use super::KernelKind;

/// Bytes for guest memory, with zeroes after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// Where.
    pub at: GuestPhys,
    /// What.
    pub bytes: Cow<'a, [u8]>,
    /// How many zeroes follow.
    pub zeroes: u64,
}

/// Everything that starting a kernel takes.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The kernel's format.
    pub kind: KernelKind,
    /// What to write; nothing overlaps.
    pub writes: Vec<Write<'a>>,
    /// The state in which vCPU 0 begins.
    pub cpu: CpuState,
}

impl<'a> Plan<'a> {
    pub(super) fn new(kind: KernelKind, cpu: CpuState) -> Self {
        Self { kind, writes: Vec::new(), cpu }
    }

    pub(super) fn put(&mut self, at: u64, bytes: impl Into<Cow<'a, [u8]>>) {
        self.put_zeroed(at, bytes, 0);
    }

    pub(super) fn put_zeroed(&mut self, at: u64, bytes: impl Into<Cow<'a, [u8]>>, zeroes: u64) {
        self.writes.push(Write { at: GuestPhys(at), bytes: bytes.into(), zeroes });
    }

    /// Carries the writes out.
    ///
    /// # Errors
    /// [`OutOfRam`] if the memory is not of the size that was planned for.
    pub fn apply(&self, memory: &GuestMemory) -> Result<(), OutOfRam> {
        const ZEROES: [u8; 4096] = [0; 4096];
        for write in &self.writes {
            let len = write.bytes.len() as u64;
            memory.range(write.at, len.saturating_add(write.zeroes))?;
            memory.write(write.at, &write.bytes)?;
            let (mut at, mut left) = (write.at.plus(len), write.zeroes);
            while left > 0 {
                let piece = left.min(ZEROES.len() as u64);
                memory.write(at, &ZEROES[..piece as usize])?;
                (at, left) = (at.plus(piece), left - piece);
            }
        }
        Ok(())
    }
}
