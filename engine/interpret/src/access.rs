//! Guest memory as instructions see it: by linear address, with faults.
//!
//! The fast way is one tag comparison and one check that the access stays in its page. The slow way does
//! the rest: page walk, canonical check, page crossing, devices, alignment checking, data breakpoints.
//!
//! A write that crosses a page translates both pages before it stores a byte; a read-modify-write proves
//! its right to write before it reads. So a faulting instruction has changed nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base::{GuestPhys, PAGE_SIZE, RamOffset, Scalar};
use engine::Width as BusWidth;
use x86::control::cr4;
use x86::paging::is_canonical;
use x86::{Exception, SegmentRegister, Vector};

use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::Op;
use crate::raised::{Raised, Step};
use crate::walk::Access;

/// Where a linear address leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// RAM.
    Ram(RamOffset),
    /// Something the board answers for.
    Device(GuestPhys),
}

const SS: u8 = SegmentRegister::Ss as u8;

impl Cpu {
    /// Loads the memory operand.
    #[inline(always)]
    pub fn load<T: Scalar>(&mut self, op: &Op) -> Result<T, Raised> {
        let linear = self.address(op, T::SIZE, Access::Read)?;
        self.read(linear, op.segment)
    }

    /// Stores to the memory operand.
    #[inline(always)]
    pub fn store<T: Scalar>(&mut self, op: &Op, value: T) -> Step {
        let linear = self.address(op, T::SIZE, Access::Write)?;
        self.write(linear, value, op.segment)
    }

    /// Replaces the memory operand by `change` of it, atomically if the instruction is locked. `change`
    /// must only compute: it may be called several times. Gives the value before and after.
    #[inline(always)]
    pub fn modify<T: Scalar>(&mut self, op: &Op, change: impl Fn(T) -> T) -> Result<(T, T), Raised> {
        let linear = self.address(op, T::SIZE, Access::Write)?;
        self.modify_at(linear, op.segment, op.locked, change)
    }

    /// [`Cpu::modify`] at a linear address.
    #[inline(always)]
    pub fn modify_at<T: Scalar>(
        &mut self,
        linear: u64,
        segment: u8,
        locked: bool,
        change: impl Fn(T) -> T,
    ) -> Result<(T, T), Raised> {
        let (entry, tag) = self.tlb.entry(self.mode.view as usize, linear);
        let at = linear % PAGE_SIZE;
        if entry.write == tag && at + T::SIZE <= PAGE_SIZE {
            let at = RamOffset(entry.page + at);
            return Ok(self.modify_ram(at, locked, change));
        }
        self.modify_slow(linear, segment, locked, change)
    }

    #[inline(always)]
    fn modify_ram<T: Scalar>(&mut self, at: RamOffset, locked: bool, change: impl Fn(T) -> T) -> (T, T) {
        let mut old = self.memory.load::<T>(at);
        loop {
            let new = change(old);
            if !locked {
                self.leave |= self.memory.store(at, new);
                return (old, new);
            }
            let (found, code) = self.memory.compare_exchange(at, old, new);
            if found == old {
                self.leave |= code;
                return (old, new);
            }
            old = found;
        }
    }

    #[cold]
    fn modify_slow<T: Scalar>(
        &mut self,
        linear: u64,
        segment: u8,
        locked: bool,
        change: impl Fn(T) -> T,
    ) -> Result<(T, T), Raised> {
        self.check_alignment::<T>(linear)?;
        if linear % PAGE_SIZE + T::SIZE <= PAGE_SIZE {
            if let Place::Ram(at) = self.translate(linear, Access::Write, self.mode.view, segment)? {
                self.note_data(linear, T::SIZE, true);
                return Ok(self.modify_ram(at, locked, change));
            }
        } else {
            // Both pages must be writable before anything is read.
            let view = self.mode.view;
            let second = self.second_page(linear, T::SIZE, segment)?;
            let first = self.translate(linear, Access::Write, view, segment)?;
            let second = self.translate(second, Access::Write, view, segment)?;
            if let (true, Place::Ram(first), Place::Ram(second)) = (locked, first, second)
                && let Ok((both, code)) = self.memory.modify_split(first, second, &change)
            {
                self.note_data(linear, T::SIZE, true);
                self.leave |= code;
                return Ok(both);
            }
        }
        let _bus = locked.then(lock_bus);
        let old = self.read::<T>(linear, segment)?;
        let new = change(old);
        self.write(linear, new, segment)?;
        Ok((old, new))
    }

    /// Loads from a linear address with the rights of the code being executed. `segment` (as in
    /// [`Op::segment`]) says whether a non-canonical address is #SS or #GP.
    #[inline(always)]
    pub fn read<T: Scalar>(&mut self, linear: u64, segment: u8) -> Result<T, Raised> {
        let (entry, tag) = self.tlb.entry(self.mode.view as usize, linear);
        let at = linear % PAGE_SIZE;
        if entry.read == tag && at + T::SIZE <= PAGE_SIZE {
            return Ok(self.memory.load(RamOffset(entry.page + at)));
        }
        self.read_slow(linear, segment)
    }

    /// Stores to a linear address, likewise.
    #[inline(always)]
    pub fn write<T: Scalar>(&mut self, linear: u64, value: T, segment: u8) -> Step {
        let (entry, tag) = self.tlb.entry(self.mode.view as usize, linear);
        let at = linear % PAGE_SIZE;
        if entry.write == tag && at + T::SIZE <= PAGE_SIZE {
            self.leave |= self.memory.store(RamOffset(entry.page + at), value);
            return Ok(());
        }
        self.write_slow(linear, value, segment)
    }

    #[cold]
    #[inline(never)]
    fn read_slow<T: Scalar>(&mut self, linear: u64, segment: u8) -> Result<T, Raised> {
        self.check_alignment::<T>(linear)?;
        let value = self.read_as(self.mode.view, linear, segment)?;
        self.note_data(linear, T::SIZE, false);
        Ok(value)
    }

    #[cold]
    #[inline(never)]
    fn write_slow<T: Scalar>(&mut self, linear: u64, value: T, segment: u8) -> Step {
        self.check_alignment::<T>(linear)?;
        self.write_as(self.mode.view, linear, value, segment)?;
        self.note_data(linear, T::SIZE, true);
        Ok(())
    }

    /// Loads with the rights of a view: [`View::Supervisor`] for the CPU's own accesses to descriptor
    /// tables and the like.
    pub fn read_as<T: Scalar>(&mut self, view: View, linear: u64, segment: u8) -> Result<T, Raised> {
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..T::SIZE as usize];
        if linear % PAGE_SIZE + T::SIZE > PAGE_SIZE {
            self.read_bytes_as(view, linear, bytes, segment)?;
            return Ok(T::from_u64(from_bytes(bytes)));
        }
        Ok(match self.translate(linear, Access::Read, view, segment)? {
            Place::Ram(at) => self.memory.load(at),
            Place::Device(at) => {
                self.device_read(at, bytes);
                T::from_u64(from_bytes(bytes))
            }
        })
    }

    /// Stores with the rights of a view.
    pub fn write_as<T: Scalar>(&mut self, view: View, linear: u64, value: T, segment: u8) -> Step {
        let bytes = value.to_u64().to_le_bytes();
        let bytes = &bytes[..T::SIZE as usize];
        if linear % PAGE_SIZE + T::SIZE > PAGE_SIZE {
            return self.write_bytes_as(view, linear, bytes, segment);
        }
        match self.translate(linear, Access::Write, view, segment)? {
            Place::Ram(at) => self.leave |= self.memory.store(at, value),
            Place::Device(at) => self.device_write(at, bytes),
        }
        Ok(())
    }

    /// Loads any number of bytes up to a page, all or nothing.
    pub fn read_bytes(&mut self, linear: u64, into: &mut [u8], segment: u8) -> Step {
        self.read_bytes_as(self.mode.view, linear, into, segment)?;
        self.note_data(linear, into.len() as u64, false);
        Ok(())
    }

    /// Stores any number of bytes up to a page, all or nothing.
    pub fn write_bytes(&mut self, linear: u64, bytes: &[u8], segment: u8) -> Step {
        self.write_bytes_as(self.mode.view, linear, bytes, segment)?;
        self.note_data(linear, bytes.len() as u64, true);
        Ok(())
    }

    /// [`Cpu::read_bytes`] with the rights of a view and unseen by data breakpoints.
    pub fn read_bytes_as(&mut self, view: View, linear: u64, into: &mut [u8], segment: u8) -> Step {
        let len = into.len() as u64;
        let (first, second) = into.split_at_mut(first_part(linear, into.len()));
        let there = self.second_page(linear, len, segment)?;
        let here = self.translate(linear, Access::Read, view, segment)?;
        if !second.is_empty() {
            match self.translate(there, Access::Read, view, segment)? {
                Place::Ram(at) => self.memory.read_at(at, second),
                Place::Device(at) => self.device_read(at, second),
            }
        }
        match here {
            Place::Ram(at) => self.memory.read_at(at, first),
            Place::Device(at) => self.device_read(at, first),
        }
        Ok(())
    }

    /// [`Cpu::write_bytes`] with the rights of a view and unseen by data breakpoints.
    pub fn write_bytes_as(&mut self, view: View, linear: u64, bytes: &[u8], segment: u8) -> Step {
        let (first, second) = bytes.split_at(first_part(linear, bytes.len()));
        let there = self.second_page(linear, bytes.len() as u64, segment)?;
        let here = self.translate(linear, Access::Write, view, segment)?;
        if !second.is_empty() {
            match self.translate(there, Access::Write, view, segment)? {
                Place::Ram(at) => self.leave |= self.memory.write_at(at, second),
                Place::Device(at) => self.device_write(at, second),
            }
        }
        match here {
            Place::Ram(at) => self.leave |= self.memory.write_at(at, first),
            Place::Device(at) => self.device_write(at, first),
        }
        Ok(())
    }

    /// Translates a linear address for an access that stays in its page, and caches the result.
    ///
    /// # Errors
    /// #GP or #SS for a non-canonical address, #PF.
    pub fn translate(
        &mut self,
        linear: u64,
        access: Access,
        view: View,
        segment: u8,
    ) -> Result<Place, Raised> {
        if self.mode.long && !is_canonical(linear) {
            return Err(self.segment_fault(segment));
        }
        let table = view as usize;
        if table < 3 {
            let (entry, tag) = self.tlb.entry(table, linear);
            let cached = match access {
                Access::Read => entry.read,
                Access::Write => entry.write,
                Access::Fetch => entry.fetch,
            };
            if cached == tag {
                return Ok(Place::Ram(RamOffset(entry.page + linear % PAGE_SIZE)));
            }
            if self.tlb.recover(table, linear) {
                return self.translate(linear, access, view, segment);
            }
        }
        let page = self.walk(linear, access, view)?;
        let at = page.phys.plus(linear % PAGE_SIZE);
        let Some(ram) = self.memory.ram(page.phys) else { return Ok(Place::Device(at)) };
        // Pages with data breakpoints and accesses under alignment check are looked at one by one.
        if table < 3 && !self.has_data_breakpoint(linear & !0xfff) {
            self.tlb.fill(table, linear, ram, page.rights);
        }
        Ok(Place::Ram(ram.plus(linear % PAGE_SIZE)))
    }

    /// Where an access of `len` bytes goes on in the next page: what a fault there tells as its address.
    ///
    /// # Errors
    /// #GP or #SS if that is beyond the canonical addresses; this comes before any fault of the first page.
    pub fn second_page(&mut self, linear: u64, len: u64, segment: u8) -> Result<u64, Raised> {
        let second = self.wrap((linear & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE));
        if self.mode.long && linear % PAGE_SIZE + len > PAGE_SIZE && !is_canonical(second) {
            return Err(self.segment_fault(segment));
        }
        Ok(second)
    }

    /// #SS(0) for the stack segment, #GP(0) for others.
    #[cold]
    pub fn segment_fault(&mut self, segment: u8) -> Raised {
        let vector = if segment & 7 == SS { Vector::StackFault } else { Vector::GeneralProtection };
        self.raise(Exception::with_code(vector, 0))
    }

    /// The continuation of a linear address that was within 32 bits stays there outside 64-bit code.
    /// Compatibility code has its descriptor tables, and the stacks of its handlers, above.
    #[inline(always)]
    pub fn wrap(&self, linear: u64) -> u64 {
        const RUN_OVER: std::ops::Range<u64> = 1 << 32..(1 << 32) + PAGE_SIZE;
        if !self.mode.is_64() && RUN_OVER.contains(&linear) { linear & 0xffff_ffff } else { linear }
    }

    /// #AC at CPL 3 with CR0.AM and AC set, unless the address is not even canonical: that comes first.
    pub fn check_alignment<T: Scalar>(&mut self, linear: u64) -> Step {
        let unaligned = self.mode.view == View::UserAligned && !linear.is_multiple_of(T::SIZE);
        let last = linear.wrapping_add(T::SIZE - 1);
        if unaligned && (!self.mode.long || is_canonical(linear) && is_canonical(last)) {
            return Err(self.raise(Exception::with_code(Vector::AlignmentCheck, 0)));
        }
        Ok(())
    }

    fn device_read(&mut self, at: GuestPhys, into: &mut [u8]) {
        self.statistics.device_accesses += 1;
        for (at, piece) in pieces(at, into.len()) {
            let width = BusWidth::from_bytes(piece.len() as u64).unwrap_or(BusWidth::Byte);
            let value = self.board.mmio_read(at, width);
            into[piece.clone()].copy_from_slice(&value.to_le_bytes()[..piece.len()]);
        }
    }

    fn device_write(&mut self, at: GuestPhys, bytes: &[u8]) {
        self.statistics.device_accesses += 1;
        for (at, piece) in pieces(at, bytes.len()) {
            let width = BusWidth::from_bytes(piece.len() as u64).unwrap_or(BusWidth::Byte);
            self.board.mmio_write(at, width, from_bytes(&bytes[piece]));
        }
    }

    /// Is there an enabled data breakpoint in the page?
    fn has_data_breakpoint(&self, page: u64) -> bool {
        self.data_breakpoints().any(|(_, at, _, _)| at & !0xfff == page)
    }

    /// Enabled data breakpoints (SDM vol. 3, 18.2.4): number, address, length, whether reads count.
    fn data_breakpoints(&self) -> impl Iterator<Item = (u32, u64, u64, bool)> {
        let (dr7, dr, io) = (self.state.dr7, self.state.dr, self.state.cr4 & cr4::DE != 0);
        (0..4u32).filter_map(move |n| {
            let (kind, length) = (dr7 >> (16 + 4 * n) & 3, dr7 >> (18 + 4 * n) & 3);
            let on = dr7 >> (2 * n) & 3 != 0 && kind != 0 && !(kind == 2 && io);
            let length = [1, 2, 8, 4][length as usize];
            on.then(|| (n, dr[n as usize] & !(length - 1), length, kind == 3))
        })
    }

    /// Remembers the data breakpoints that an access meets: the trap comes after the instruction.
    pub fn note_data(&mut self, linear: u64, len: u64, write: bool) {
        if self.state.dr7 & 0xff == 0 {
            return;
        }
        // Either begins in the other, also where one reaches over the end of the address space.
        let meets = |at: u64, length: u64| linear.wrapping_sub(at) < length || at.wrapping_sub(linear) < len;
        let hits = self
            .data_breakpoints()
            .filter(|&(_, at, length, reads)| (write || reads) && meets(at, length))
            .fold(0, |hits, (n, ..)| hits | 1 << n);
        self.debug_hits |= hits;
    }
}

/// How many of `len` bytes lie in the first page.
fn first_part(linear: u64, len: usize) -> usize {
    len.min((PAGE_SIZE - linear % PAGE_SIZE) as usize)
}

/// Up to eight bytes as a number.
fn from_bytes(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(whole)
}

/// Locks the bus against other vCPUs' locked accesses to devices.
fn lock_bus() -> MutexGuard<'static, ()> {
    static BUS: Mutex<()> = Mutex::new(());
    BUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts a device access into naturally aligned pieces of a width that a bus has.
fn pieces(at: GuestPhys, len: usize) -> impl Iterator<Item = (GuestPhys, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let here = at.plus(done as u64);
        let left = len - done;
        if left == 0 {
            return None;
        }
        // A whole access of bus width stays whole even when unaligned: the chip decides what it thinks of it.
        let size = match left {
            1 | 2 | 4 | 8 if done == 0 => left,
            _ => {
                [8, 4, 2, 1].into_iter().find(|&s| s <= left && here.0.is_multiple_of(s as u64)).unwrap_or(1)
            }
        };
        let piece = done..done + size;
        done += size;
        Some((here, piece))
    })
}
