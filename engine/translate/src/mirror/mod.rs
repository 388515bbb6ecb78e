//! Mirrors: a guest's user space in the page tables of a host process, for programs that compute.
//!
//! The shadow map costs three operations for each access to memory. A program that computes for long and seldom asks its kernel for
//! anything can have its memory for nothing: a process of ours, with nothing of us in it ([`tracee`]), has the guest's
//! pages mapped where the guest has them, and executes code in which memory operands are what they were
//! ([`emit::direct`](crate::emit)). Whatever is not plain computing stops that process, and the vCPU goes on as it always
//! does: kernels never run in a mirror.
//!
//! ```text
//!   vCPU (shadow map)                                     mirror of one address space
//!   kernel code; user code at first                       user code, while it computes
//!        │  user code for some milliseconds without             │
//!        │  system calls or faults ([`policy`])                 │
//!        ├───────── registers, vectors ───────────────────────► │ … translated code …
//!        │ ◄──────── stopped: interrupt, system call, fault ────┤
//! ```
//!
//! A stop takes ten microseconds and more, an access to a page not mapped yet some twenty: hence only for programs that
//! compute. What keeps it right:
//!
//! * A page is mapped as the shadow map would have it: read from when the guest's tables let the user read it; written only once it
//!   is dirty and not under watch. What the guest flushes is compared with its tables before the mirror goes on, and unmapped
//!   where they differ ([`pages`]).
//! * What the mirror keeps besides lies in a [`hole`] of the guest's address space: if the guest maps something there, the mirror ends.
//!   (A wild access of the program to the hole does not fault. It sees its own translation, and its own registers.)
//! * Nothing in the mirror is trusted. The guest's program may break out of its translation by writing to the hole: it
//!   can do there what it can do anyway, and no system call. Where it stopped and what its registers are is all that is
//!   taken from it.

#![allow(unsafe_code)] // memory shared with the process

pub(crate) mod alarm;
pub(crate) mod hole;
pub(crate) mod pages;
pub(crate) mod policy;
pub(crate) mod tracee;

use std::io;
use std::os::fd::AsRawFd;

use base::{GuestMemory, PAGE_SIZE};
use rustc_hash::FxHashMap;
use x86::Fpu;

use self::hole::{APART, CODE, DATA, DATA_AT, JUMPS_AT, LIST, LIST_AT, SECOND_BITS, SLOTS};
use self::pages::{Mapped, Run};
use self::tracee::{Call, GADGET, Tracee, gadget_of_program};
use crate::cache::CodeCache;
use crate::memory::{Mapping, anonymous_file};
use crate::store::Store;

/// Mappings of the host's that a mirror may take, of the 65530 that Linux gives a process.
const MOST_RUNS: usize = 50_000;
/// Where the host's user space ends.
const END: u64 = (1 << 47) - PAGE_SIZE;

/// Where to go on when nothing has changed meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume {
    /// The guest's RIP.
    pub rip: u64,
    /// The host's.
    pub host: u64,
    /// What the store has thrown away until then.
    pub version: (u64, u64),
}

/// What translations depend on besides the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    pub avx: bool,
    pub bases: bool,
    pub counter: bool,
}

/// The mirror of one address space.
pub(crate) struct Mirror {
    pub tracee: Tracee,
    pub store: Store,
    pub pages: Mapped,
    /// The page of RAM of each of the guest's pages whose code links and jumps lead to.
    executed: FxHashMap<u64, u64>,
    pub resume: Option<Resume>,
    /// The modes of what jumps lead to.
    modes: Option<Modes>,
    /// The guest's root table.
    pub root: u64,
    start: u64,
    data: Mapping,
    list: Mapping,
    /// Slots of the jump cache in use.
    jumps: Vec<Slot>,
    /// The vectors that its process has, where that is known.
    pub vectors: Option<Box<Fpu>>,
}

impl Mirror {
    /// An empty mirror for the program at `rip` in the address space of this root table, its own things near that or not; `None`
    /// if there is no hole.
    ///
    /// # Errors
    /// When the host does not let us.
    pub fn new(memory: &GuestMemory, root: u64, rip: u64, far: bool) -> io::Result<Option<Self>> {
        let Some(start) = hole::find(memory, root, (!far).then_some(rip), random) else { return Ok(None) };
        let files = [CODE, DATA, LIST].map(|len| anonymous_file(c"ringfence-mirror", len));
        let [code, data, list] = files;
        let (code, data, list) = (code?, data?, list?);
        let ram = memory.file().as_raw_fd();
        let cache = CodeCache::elsewhere(Mapping::shared(&code, CODE)?, start, CODE);
        let store = Store::for_mirror(cache, &GADGET);
        // Behind the hole, where the program of a few bytes is in no way.
        let program = start + hole::BYTES as u64;
        let tracee = Tracee::new(program, &[ram, code.as_raw_fd(), data.as_raw_fd(), list.as_raw_fd()])?;
        let first = gadget_of_program(program);
        let (read, write, execute) =
            (libc::PROT_READ as u64, libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
        for (at, len, protection, file) in [
            (0, CODE, read | execute, &code),
            (DATA_AT, DATA, read | write, &data),
            (LIST_AT, LIST, read, &list),
        ] {
            let (at, file) = (start + at as u64, file.as_raw_fd() as u64);
            tracee.call(first, libc::SYS_mmap, [at, len as u64, protection, flags, file, 0])?;
        }
        for range in [[0, ram as u64 - 1], [ram as u64 + 1, u64::from(u32::MAX)]] {
            tracee.call(first, libc::SYS_close_range, [range[0], range[1], 0, 0, 0, 0])?;
        }
        let mut mirror = Self {
            tracee,
            store,
            pages: Mapped::default(),
            executed: FxHashMap::default(),
            resume: None,
            modes: None,
            root,
            start,
            data: Mapping::shared(&data, DATA)?,
            list: Mapping::shared(&list, LIST)?,
            jumps: Vec::new(),
            vectors: None,
        };
        for half in 0..2 {
            mirror.clear_jump(Slot { half, number: 0 });
        }
        mirror.unmap_all()?;
        Ok(Some(mirror))
    }

    /// Where its code is: start and end.
    pub fn arena(&self) -> (u64, u64) {
        (self.start, self.start + CODE as u64)
    }

    /// Is there nothing of the guest's where the mirror keeps its own?
    pub fn has_its_hole(&self, memory: &GuestMemory) -> bool {
        hole::is_free(memory, self.root, self.start)
    }

    /// Does a page lie in the hole?
    pub fn is_hole(&self, page: u64) -> bool {
        (page * PAGE_SIZE).wrapping_sub(self.start) < hole::BYTES as u64
    }

    /// What GS is to hold.
    pub fn gs(&self) -> u64 {
        self.start + DATA_AT as u64
    }

    /// What has been thrown away so far.
    pub fn version(&self) -> (u64, u64) {
        (self.store.invalidated, self.store.flushes)
    }

    /// The guest's register that is saved behind GS.
    pub fn saved(&self, register: usize) -> u64 {
        // SAFETY: in bounds of our mapping, which the mirror's process is stopped to write.
        unsafe { self.data.start().cast::<u64>().add(register & 15).read_volatile() }
    }

    /// Sets a word behind the saved registers.
    pub fn set_word(&mut self, word: usize, value: u64) {
        assert!(word < JUMPS_AT[0] / 8);
        // SAFETY: in bounds of our mapping, as `saved` says.
        unsafe { self.data.start().cast::<u64>().add(word).write_volatile(value) };
    }

    /// Maps runs of pages of RAM.
    pub fn map(&mut self, runs: &[Run], ram: i32) -> io::Result<()> {
        if self.pages.runs + runs.len() > MOST_RUNS {
            self.unmap_all()?;
        }
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE) as u64;
        let call = |run: &Run| {
            let protection = libc::PROT_READ | if run.held.write { libc::PROT_WRITE } else { 0 };
            let (at, len) = (run.page * PAGE_SIZE, run.count * PAGE_SIZE);
            Call::new(
                libc::SYS_mmap,
                [at, len, protection as u64, flags, ram as u64, run.held.ram * PAGE_SIZE],
            )
        };
        let calls: Vec<Call> = runs.iter().map(call).collect();
        if self.make(&calls).is_err() {
            // As many mappings as the host allows: from the beginning, with these alone.
            self.unmap_all()?;
            self.make(&calls)?;
        }
        runs.iter().for_each(|run| self.pages.insert(run));
        Ok(())
    }

    /// Unmaps pages: first and count of each run.
    pub fn unmap(&mut self, runs: &[(u64, u64)]) -> io::Result<()> {
        let call = |&(page, count): &(u64, u64)| {
            Call::new(libc::SYS_munmap, [page * PAGE_SIZE, count * PAGE_SIZE, 0, 0, 0, 0])
        };
        let calls: Vec<Call> = runs.iter().map(call).collect();
        self.make(&calls)
    }

    /// Unmaps everything of the guest's.
    pub fn unmap_all(&mut self) -> io::Result<()> {
        self.pages.clear();
        let end = self.start + hole::BYTES as u64;
        let none = |from: u64, to: u64| Call::new(libc::SYS_munmap, [from, to - from, 0, 0, 0, 0]);
        self.make(&[none(0, self.start), none(end, END)])
    }

    /// Has the process make system calls.
    fn make(&mut self, calls: &[Call]) -> io::Result<()> {
        for calls in calls.chunks(LIST / size_of::<Call>()) {
            // SAFETY: in bounds of our mapping; the process is stopped.
            unsafe {
                let list = self.list.start().cast::<Call>();
                std::ptr::copy_nonoverlapping(calls.as_ptr(), list, calls.len());
            }
            self.tracee.calls(self.start, self.start + LIST_AT as u64, calls.len())?;
        }
        Ok(())
    }

    /// The guest's code at a page is used from this page of RAM.
    pub fn execute(&mut self, page: u64, ram: u64) {
        if self.executed.insert(page, ram).is_some_and(|before| before != ram) {
            self.forget_page(page);
        }
    }

    /// Looks whether the code of all pages still is where it was, by what `now` says.
    pub fn check_code(&mut self, mut now: impl FnMut(u64) -> Option<u64>) {
        let gone: Vec<u64> = self
            .executed
            .iter()
            .filter(|&(&page, &ram)| now(page) != Some(ram))
            .map(|(&page, _)| page)
            .collect();
        for page in gone {
            self.executed.remove(&page);
            self.forget_page(page);
        }
    }

    /// Nothing leads to the code in a page any more, and nothing goes on where it was stopped.
    fn forget_page(&mut self, page: u64) {
        self.store.unmap(Some(page * PAGE_SIZE));
        self.clear_jumps();
        self.resume = None;
    }

    /// Forgets what rests on other modes.
    pub fn enter_modes(&mut self, modes: Modes) {
        if self.modes.replace(modes) != Some(modes) {
            self.clear_jumps();
            (self.resume, self.vectors) = (None, None);
        }
    }

    /// Indirect branches to a guest address lead to a host address from now on.
    pub fn set_jump(&mut self, target: u64, host: u64) {
        let slot = Slot { half: 0, number: target as u16 };
        let (negated, old) = self.jump(slot);
        if old != 0 && negated.wrapping_neg() != target {
            let number = (negated.wrapping_neg() >> SECOND_BITS) as u16;
            self.put_jump(Slot { half: 1, number }, negated, old);
        }
        self.put_jump(slot, target.wrapping_neg(), host);
    }

    /// Indirect branches lead nowhere.
    pub fn clear_jumps(&mut self) {
        for slot in std::mem::take(&mut self.jumps) {
            self.clear_jump(slot);
        }
    }

    /// Nothing that belongs to the slot added to this gives zero.
    fn clear_jump(&mut self, slot: Slot) {
        self.write_jump(slot, u64::from(slot.number == 0), 0);
    }

    fn put_jump(&mut self, slot: Slot, negated: u64, host: u64) {
        if self.jumps.len() >= 4 * SLOTS {
            self.clear_jumps();
        }
        self.write_jump(slot, negated, host);
        self.jumps.push(slot);
    }

    fn jump_at(&self, slot: Slot) -> *mut u64 {
        let at = JUMPS_AT[usize::from(slot.half)] + 8 * usize::from(slot.number);
        // SAFETY: in bounds of our mapping.
        unsafe { self.data.start().add(at).cast() }
    }

    /// The target, negated, and the host address of a slot.
    fn jump(&self, slot: Slot) -> (u64, u64) {
        let at = self.jump_at(slot);
        // SAFETY: in bounds of our mapping; the process is stopped.
        unsafe { (at.read_volatile(), at.byte_add(APART).read_volatile()) }
    }

    fn write_jump(&mut self, slot: Slot, negated: u64, host: u64) {
        let at = self.jump_at(slot);
        // SAFETY: as above.
        unsafe {
            at.write_volatile(negated);
            at.byte_add(APART).write_volatile(host);
        }
    }
}

/// A place in the jump cache.
#[derive(Clone, Copy, Debug)]
struct Slot {
    half: u8,
    number: u16,
}

/// A number that nobody can guess.
fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
}
