//! The stubs made so far.
//!
//! A stub belongs to a [`Key`]: the opcode, register or memory form, the immediate byte and the number of an
//! ST(i). Guest register numbers are not in it, because a stub's operands pass through the frame. So there
//! are finitely many keys, however a guest tries: about 1,500 opcodes, of which some 200 have an
//! immediate byte. The room suffices for all of them, and nothing is ever evicted; a stub lives as long as
//! the process and all vCPUs share it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::num::NonZeroUsize;
use std::sync::{Mutex, OnceLock, PoisonError};

use iced_x86::{Instruction, OpKind};

use crate::simd::arena::{Arena, ArenaError, Entry};
use crate::simd::code::Code;

/// What makes two instructions share a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    opcode: u16,
    memory: bool,
    immediate: u8,
    stack: u8,
}

impl Key {
    /// The key of an instruction.
    pub fn of(instruction: &Instruction) -> Self {
        let mut key = Self { opcode: instruction.code() as u16, memory: false, immediate: 0, stack: 0 };
        for n in 0..instruction.op_count() {
            match instruction.op_kind(n) {
                OpKind::Register if instruction.op_register(n).is_st() => {
                    key.stack = key.stack.max(instruction.op_register(n).number() as u8);
                }
                OpKind::Memory => key.memory = true,
                OpKind::Immediate8 => key.immediate = instruction.immediate8(),
                _ => {}
            }
        }
        key
    }
}

/// A stub with what its caller must know.
#[derive(Debug)]
pub(crate) struct Stub<F, P> {
    /// The code.
    pub entry: Entry<F>,
    /// How operands are passed.
    pub plan: P,
}

/// Stubs in a chunk of the table.
const CHUNK: usize = 256;
/// Chunks.
const CHUNKS: usize = 512;
/// The most stubs in a table: more than there are keys.
#[cfg(test)]
pub(crate) const MOST: usize = CHUNK * CHUNKS;

type Chunk<F, P> = Box<[OnceLock<Stub<F, P>>]>;

/// All stubs for frames of type `F`; their callers go by plans of type `P`.
pub(crate) struct Stubs<F, P> {
    chunks: [OnceLock<Chunk<F, P>>; CHUNKS],
    maker: Mutex<Option<Maker>>,
    /// Bytes of code.
    size: NonZeroUsize,
}

struct Maker {
    arena: Arena,
    numbers: HashMap<Key, u32>,
}

impl<F, P> Stubs<F, P> {
    /// An empty table that may grow to `size` bytes of code.
    pub const fn new(size: NonZeroUsize) -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], maker: Mutex::new(None), size }
    }

    /// Makes sure that there is memory for code.
    pub fn prepare(&self) -> Result<(), ArenaError> {
        self.make(|_| Ok(()))
    }

    fn make<T>(&self, work: impl FnOnce(&mut Maker) -> Result<T, ArenaError>) -> Result<T, ArenaError> {
        let mut maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *maker {
            Some(maker) => work(maker),
            none => work(none.insert(Maker { arena: Arena::new(self.size)?, numbers: HashMap::new() })),
        }
    }

    /// The number of the stub with this key; `build` makes it if it is new. `None` if it cannot be made.
    pub fn number(&self, key: Key, build: impl FnOnce() -> Option<(Code<F>, P)>) -> Option<u32> {
        let made = self.make(|maker| {
            let number = maker.numbers.len();
            let slot = match maker.numbers.entry(key) {
                Slot::Occupied(slot) => return Ok(Some(*slot.get())),
                Slot::Vacant(slot) => slot,
            };
            let Some((code, plan)) = build() else { return Ok(None) };
            let chunk = self.chunks.get(number / CHUNK).ok_or(ArenaError::Full)?;
            let entry = maker.arena.publish(&code)?;
            let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
            let _ = chunk[number % CHUNK].set(Stub { entry, plan });
            Ok(Some(*slot.insert(number as u32)))
        });
        made.unwrap_or_else(|error| {
            tracing::error!(%error, "a SIMD instruction cannot be executed");
            None
        })
    }

    /// The stub of a number.
    #[inline(always)]
    pub fn at(&self, number: u32) -> Option<&Stub<F, P>> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?.get()?[number % CHUNK].get()
    }
}
