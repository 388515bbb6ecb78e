//! Guest RAM: one contiguous host mapping, seen by the guest in two ranges.
//!
//! A PC keeps the top of the first 4 GiB for devices. RAM that would lie there is moved above 4 GiB:
//!
//! ```text
//!  guest-physical   0 ──────── 3 GiB ─── hole ─── 4 GiB ────────────►
//!                   │ low RAM    │                  │ high RAM
//!  RamOffset        0 ──────── 3 GiB ─────────────────────► size
//! ```
//!
//! Engines work on [`RamOffset`]s: every offset below the size is valid, so one comparison is the whole
//! bounds check. Devices and loaders use [`GuestMemory::view`], the same memory through `vm-memory`.
//! Whatever writes here reports it to the [`Watch`].

#![allow(unsafe_code)] // owns the mapping; every access below is bounds-checked against it

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::Arc;

use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::address::{GuestPhys, PAGE_SIZE, RamOffset};
use crate::buffer::Piece;
use crate::scalar::Scalar;
use crate::split::Split;
use crate::watch::{RegionWatch, Watch};

/// Where the PCI hole begins: 3 GiB.
pub const HOLE_START: u64 = 0xc000_0000;
/// Where it ends and high RAM begins: 4 GiB.
pub const HOLE_END: u64 = 0x1_0000_0000;

/// How far the copies of guarded memory are apart: 16 TiB. At each such distance from RAM, up and down, as
/// many bytes are reserved as RAM and its guard take, and nothing is ever mapped there. So an address
/// whose upper bits are wrong leads nowhere.
pub const PERIOD: u64 = 1 << PERIOD_BITS;
/// Its logarithm.
pub const PERIOD_BITS: u32 = 44;
/// Bytes of the guard behind RAM.
const GUARD: u64 = 0x1_0000;
/// Where user space ends (Linux, four-level paging).
const USER_END: u64 = 1 << 47;
const HUGE_PAGE: u64 = 1 << 21;

/// The memory as `vm-memory` shows it to devices and loaders.
pub type GuestMemoryView = GuestMemoryMmap<RegionWatch>;

/// All RAM of one VM.
#[derive(Debug)]
pub struct GuestMemory {
    base: NonNull<u8>,
    size: u64,
    /// What is mapped or reserved for it: RAM first.
    windows: Vec<Window>,
    view: GuestMemoryView,
    watch: Arc<Watch>,
    /// The file that holds RAM, so that other processes of ours can map it.
    file: File,
    split: Split,
}

// SAFETY: the mapping lives as long as the value and is only accessed through single loads and stores,
// which tolerate concurrent ones.
unsafe impl Send for GuestMemory {}
// SAFETY: as above.
unsafe impl Sync for GuestMemory {}

/// Why guest memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A size that is no memory size.
    #[error("guest memory must be a multiple of 4 KiB and at least 1 MiB; {0} bytes is not")]
    Size(u64),
    /// The host refused.
    #[error("the host gives no {size} bytes of memory for the guest: {source}; ask for less with --memory")]
    Host {
        /// Bytes asked for.
        size: u64,
        /// What the host said.
        source: io::Error,
    },
}

/// A guest-physical range that is not wholly RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at guest-physical {at} are not all RAM")]
pub struct OutOfRam {
    /// Where the range starts.
    pub at: GuestPhys,
    /// Its length in bytes.
    pub len: u64,
}

impl GuestMemory {
    /// Zeroed memory of `size` bytes.
    ///
    /// # Errors
    /// [`MemoryError::Size`] for a size that is no multiple of a page or below 1 MiB,
    /// [`MemoryError::Host`] when the host does not give it.
    pub fn new(size: u64) -> Result<Self, MemoryError> {
        if size < 0x10_0000 || !size.is_multiple_of(PAGE_SIZE) || size > 1 << 46 {
            return Err(MemoryError::Size(size));
        }
        let host = |source| MemoryError::Host { size, source };
        // Where the host limits address space, RAM alone must do; engines that need the guard say so.
        let (base, windows) = match guarded_windows(size) {
            Some(guarded) => guarded,
            None => {
                let ram = Window::anywhere(size).map_err(host)?;
                (ram.start, vec![ram])
            }
        };
        let file = ram_file(size).map_err(host)?;
        let base = map_ram(&file, base, size).map_err(host)?;
        let base = NonNull::new(base).ok_or_else(|| host(io::ErrorKind::AddrNotAvailable.into()))?;
        let watch = Arc::new(Watch::new((size / PAGE_SIZE) as usize));
        let low = size.min(HOLE_START);
        let mut regions = vec![region(base, 0, low, GuestPhys(0), &watch).map_err(host)?];
        if size > low {
            regions.push(region(base, low, size - low, GuestPhys(HOLE_END), &watch).map_err(host)?);
        }
        let view = GuestMemoryMmap::from_regions(regions).map_err(|e| host(io::Error::other(e)))?;
        Ok(Self { base, size, windows, view, watch, file, split: Split::default() })
    }

    /// Bytes of RAM.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The RAM ranges as the guest sees them: start and length in bytes.
    pub fn ranges(&self) -> Vec<(GuestPhys, u64)> {
        let low = self.size.min(HOLE_START);
        let mut ranges = vec![(GuestPhys(0), low)];
        if self.size > low {
            ranges.push((GuestPhys(HOLE_END), self.size - low));
        }
        ranges
    }

    /// The memory for devices and loaders.
    pub fn view(&self) -> &GuestMemoryView {
        &self.view
    }

    /// The watch over its pages.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Where the mapping starts in the host's address space: for engines whose code addresses it directly.
    pub fn host_base(&self) -> NonNull<u8> {
        self.base
    }

    /// The file that holds RAM, from its start: for processes of ours that map it, too.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A host address in the guard behind RAM, with 8 KiB after it where nothing is mapped: engines whose code addresses
    /// memory directly lead wrong accesses there. Neither there nor in RAM does it matter what is added in
    /// multiples of [`PERIOD`]: the sum is an address of RAM, or nothing is mapped there.
    /// `None` where the host gave no address space for this.
    pub fn guard(&self) -> Option<u64> {
        (self.windows.len() > 1).then(|| self.base.as_ptr() as u64 + self.size + GUARD / 2)
    }

    /// The place of a guest-physical address in RAM; `None` for the hole and beyond the end.
    #[inline]
    pub fn ram(&self, at: GuestPhys) -> Option<RamOffset> {
        let low = self.size.min(HOLE_START);
        if at.0 < low {
            Some(RamOffset(at.0))
        } else if at.0 >= HOLE_END && at.0 - HOLE_END < self.size - low {
            Some(RamOffset(at.0 - HOLE_END + low))
        } else {
            None
        }
    }

    /// The guest-physical address of a place in RAM.
    #[inline]
    pub fn phys(&self, at: RamOffset) -> GuestPhys {
        GuestPhys(if at.0 < HOLE_START { at.0 } else { at.0 - HOLE_START + HOLE_END })
    }

    /// A pointer to `len` bytes at `at`.
    ///
    /// # Panics
    /// If they do not lie in RAM: offsets come from [`GuestMemory::ram`], so that would be our own bug.
    #[inline(always)]
    pub(crate) fn host(&self, at: RamOffset, len: u64) -> *mut u8 {
        assert!(at.0 <= self.size && len <= self.size - at.0, "RAM offset out of range");
        // SAFETY: checked just now.
        unsafe { self.base.as_ptr().add(at.0 as usize) }
    }

    /// One load, at any alignment.
    #[inline(always)]
    pub fn load<T: Scalar>(&self, at: RamOffset) -> T {
        // SAFETY: `host` checked the bounds.
        unsafe { T::load(self.host(at, T::SIZE)) }
    }

    /// One store, at any alignment. True if it hit cached code (see [`Watch::wrote`]).
    #[inline(always)]
    pub fn store<T: Scalar>(&self, at: RamOffset, value: T) -> bool {
        // SAFETY: `host` checked the bounds.
        unsafe { T::store(self.host(at, T::SIZE), value) };
        self.watch.wrote(at, T::SIZE)
    }

    /// One atomic compare-and-exchange, at any alignment. Gives what was found, which equals `old` exactly
    /// when `new` was stored, and whether cached code was hit.
    #[inline(always)]
    pub fn compare_exchange<T: Scalar>(&self, at: RamOffset, old: T, new: T) -> (T, bool) {
        // SAFETY: `host` checked the bounds.
        let found = unsafe { T::compare_exchange(self.host(at, T::SIZE), old, new) };
        (found, self.watch.wrote(at, T::SIZE))
    }

    /// Replaces a value that begins at `first` and ends in the page of `second` by `change` of it, in one piece for all who
    /// look. `change` may be called several times. Gives the value before and after, and whether cached code was hit.
    ///
    /// # Errors
    /// When the host does not map the two pages side by side; nothing is changed then.
    pub fn modify_split<T: Scalar>(
        &self,
        first: RamOffset,
        second: RamOffset,
        change: impl Fn(T) -> T,
    ) -> io::Result<((T, T), bool)> {
        let (offset, pages) = (first.0 % PAGE_SIZE, [first.page(), second.page()]);
        let both = self.split.modify(&self.file, pages, offset, change)?;
        let here = PAGE_SIZE - offset;
        let hit = self.watch.wrote(first, here.min(T::SIZE));
        let beyond = T::SIZE.saturating_sub(here);
        let start = RamOffset(pages[1] as u64 * PAGE_SIZE);
        Ok((both, beyond > 0 && self.watch.wrote(start, beyond) || hit))
    }

    /// CMPXCHG16B on 16 aligned bytes; as [`GuestMemory::compare_exchange`].
    ///
    /// # Panics
    /// If `at` is not a multiple of 16: the engine has raised #GP before that.
    pub fn compare_exchange_16(&self, at: RamOffset, old: u128, new: u128) -> (u128, bool) {
        let pointer = self.host(at, 16).cast::<u128>();
        assert!(pointer.is_aligned(), "CMPXCHG16B at an unaligned offset");
        let (old_low, old_high) = (old as u64, (old >> 64) as u64);
        let (low, high): (u64, u64);
        // RBX is reserved by the compiler, so the new low half goes there by an exchange.
        // SAFETY: in bounds and aligned; every 64-bit host since 2006 has CMPXCHG16B.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {new_low}",
                "lock cmpxchg16b [{at}]",
                "mov rbx, {new_low}",
                at = in(reg) pointer,
                new_low = inout(reg) new as u64 => _,
                in("rcx") (new >> 64) as u64,
                inlateout("rax") old_low => low,
                inlateout("rdx") old_high => high,
                options(nostack),
            );
        }
        (u128::from(low) | u128::from(high) << 64, self.watch.wrote(at, 16))
    }

    /// Copies bytes out of RAM.
    #[inline]
    pub fn read_at(&self, at: RamOffset, into: &mut [u8]) {
        let from = self.host(at, into.len() as u64);
        // SAFETY: in bounds, and guest RAM never overlaps a Rust object.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes into RAM. True if cached code was hit.
    #[inline]
    pub fn write_at(&self, at: RamOffset, bytes: &[u8]) -> bool {
        let to = self.host(at, bytes.len() as u64);
        // SAFETY: in bounds, and guest RAM never overlaps a Rust object.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
        !bytes.is_empty() && self.watch.wrote(at, bytes.len() as u64)
    }

    /// Copies bytes within RAM as if through a buffer. True if cached code was hit.
    pub fn copy(&self, from: RamOffset, to: RamOffset, len: u64) -> bool {
        let (source, target) = (self.host(from, len), self.host(to, len));
        // SAFETY: both in bounds; they may overlap.
        unsafe { std::ptr::copy(source, target, len as usize) }
        len != 0 && self.watch.wrote(to, len)
    }

    /// Stores `value` so many times in a row, at any alignment. True if cached code was hit.
    ///
    /// # Panics
    /// If they do not all lie in RAM.
    pub fn fill<T: Scalar>(&self, at: RamOffset, value: T, count: u64) -> bool {
        let Some(len) = count.checked_mul(T::SIZE) else { panic!("RAM offset out of range") };
        let start = self.host(at, len);
        let byte = value.to_u64() as u8;
        if value == T::from_u64(u64::from(byte) * 0x0101_0101_0101_0101) {
            // SAFETY: in bounds.
            unsafe { std::ptr::write_bytes(start, byte, len as usize) };
        } else {
            for n in 0..count {
                // SAFETY: in bounds, as `n` is below `count`.
                unsafe { T::store(start.add((n * T::SIZE) as usize), value) };
            }
        }
        len != 0 && self.watch.wrote(at, len)
    }

    /// Gives the whole pages of a piece back to the host. They read as zeroes from now on, and take memory
    /// again when they are written.
    pub fn give_back(&self, piece: Piece) {
        let start = piece.at.0.next_multiple_of(PAGE_SIZE);
        let end = (piece.at.0 + piece.len) / PAGE_SIZE * PAGE_SIZE;
        let Some(len) = end.checked_sub(start).filter(|len| *len > 0) else { return };
        let at = self.host(RamOffset(start), len).cast();
        // SAFETY: in bounds, whole pages of our own mapping; nobody holds a reference into them.
        let given = unsafe { libc::madvise(at, len as usize, libc::MADV_REMOVE) };
        if given != 0 {
            // Locked memory, say. The guest counts on zeroes all the same.
            self.fill(RamOffset(start), 0u8, len);
        }
        self.watch.wrote_apart(RamOffset(start), len);
    }

    /// Copies from a guest-physical range.
    ///
    /// # Errors
    /// [`OutOfRam`] if the range is not wholly RAM; nothing is copied then.
    pub fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRam> {
        self.read_at(self.range(at, into.len() as u64)?, into);
        Ok(())
    }

    /// Copies to a guest-physical range.
    ///
    /// # Errors
    /// [`OutOfRam`] if the range is not wholly RAM; nothing is copied then.
    pub fn write(&self, at: GuestPhys, bytes: &[u8]) -> Result<(), OutOfRam> {
        self.write_at(self.range(at, bytes.len() as u64)?, bytes);
        Ok(())
    }

    /// The place of a guest-physical range that must lie in one piece of RAM.
    ///
    /// # Errors
    /// [`OutOfRam`] otherwise.
    pub fn range(&self, at: GuestPhys, len: u64) -> Result<RamOffset, OutOfRam> {
        let error = OutOfRam { at, len };
        let start = self.ram(at).ok_or(error)?;
        if len > 1 {
            let last = at.0.checked_add(len - 1).ok_or(error)?;
            // Both ends in RAM and as far apart as the addresses: no hole between.
            let end = self.ram(GuestPhys(last)).ok_or(error)?;
            if end.0 - start.0 != len - 1 {
                return Err(error);
            }
        }
        Ok(start)
    }
}

/// A range of the host's address space that is ours until dropped; nothing in it can be touched at first.
#[derive(Debug)]
struct Window {
    start: u64,
    len: u64,
}

impl Window {
    /// Where the kernel likes.
    fn anywhere(len: u64) -> io::Result<Self> {
        Self::map(0, len, 0)
    }

    /// At `start` and nowhere else.
    fn at(start: u64, len: u64) -> io::Result<Self> {
        Self::map(start, len, libc::MAP_FIXED_NOREPLACE)
    }

    fn map(start: u64, len: u64, flags: i32) -> io::Result<Self> {
        let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping, which replaces nothing.
        let got = unsafe { libc::mmap(start as *mut _, len as usize, libc::PROT_NONE, flags, -1, 0) };
        if got == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let window = Self { start: got as u64, len };
        // Kernels before 4.17 take the address as a wish.
        if start != 0 && window.start != start { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(window) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: our own mapping; whoever dropped us has no pointer into it any more.
        unsafe { libc::munmap(self.start as *mut _, self.len as usize) };
    }
}

/// Reserves room for RAM of `size` bytes and its guard, and its copies at every multiple of [`PERIOD`]. Gives
/// where RAM goes, aligned for huge pages.
fn guarded_windows(size: u64) -> Option<(u64, Vec<Window>)> {
    if size > PERIOD / 4 {
        return None;
    }
    let len = size + GUARD + HUGE_PAGE;
    // What was in the way stays reserved until the end, so that the next try is elsewhere.
    let mut tried = Vec::new();
    for _ in 0..8 {
        let first = Window::anywhere(len).ok()?;
        let start = first.start;
        let others =
            (start % PERIOD..USER_END - HUGE_PAGE).step_by(PERIOD as usize).filter(|&at| at != start);
        match others
            .map(|at| Window::at(at, len.min(USER_END - PAGE_SIZE - at)))
            .collect::<io::Result<Vec<_>>>()
        {
            Ok(others) => {
                let windows = std::iter::once(first).chain(others).collect();
                return Some((start.next_multiple_of(HUGE_PAGE), windows));
            }
            Err(_) => tried.push(first),
        }
    }
    None
}

/// A file without a name to hold RAM.
fn ram_file(size: u64) -> io::Result<File> {
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"ringfence-ram".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(size)?;
    Ok(file)
}

/// Maps RAM at `base`, which lies in a window of ours that nobody has seen yet.
fn map_ram(file: &File, base: u64, size: u64) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: replaces a part of our own reservation.
    let at = unsafe { libc::mmap(base as *mut _, size as usize, protection, flags, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Huge pages halve the cost of a TLB miss; a host without them is merely slower.
    // SAFETY: advice on the mapping just made.
    unsafe { libc::madvise(at, size as usize, libc::MADV_HUGEPAGE) };
    Ok(at.cast())
}

fn region(
    base: NonNull<u8>,
    start: u64,
    len: u64,
    at: GuestPhys,
    watch: &Arc<Watch>,
) -> io::Result<GuestRegionMmap<RegionWatch>> {
    // SAFETY: `[base + start, + len)` is part of the mapping that `GuestMemory` owns and outlives it.
    let region = unsafe {
        MmapRegionBuilder::new_with_bitmap(len as usize, RegionWatch::new(Arc::clone(watch), start))
            .with_raw_mmap_pointer(base.as_ptr().add(start as usize))
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_SHARED | libc::MAP_NORESERVE)
            .build()
    };
    let region = region.map_err(io::Error::other)?;
    GuestRegionMmap::new(region, GuestAddress(at.0)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::Bytes;

    #[test]
    fn loads_and_stores_agree_with_the_view() {
        let memory = GuestMemory::new(0x20_0000).unwrap();
        let at = memory.ram(GuestPhys(0x1ffd)).unwrap();
        memory.store(at, 0x1122_3344_5566_7788u64);
        assert_eq!(memory.view().read_obj::<u64>(GuestAddress(0x1ffd)).unwrap(), 0x1122_3344_5566_7788);
        memory.view().write_obj(0xabcdu16, GuestAddress(0x3001)).unwrap();
        assert_eq!(memory.load::<u16>(RamOffset(0x3001)), 0xabcd);
        assert_eq!(memory.compare_exchange(RamOffset(0x3001), 0xabcdu16, 7).0, 0xabcd);
        assert_eq!(memory.compare_exchange(RamOffset(0x3001), 9u16, 8).0, 7);
        assert_eq!(memory.load::<u8>(RamOffset(0x3001)), 7);
        let wide = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10u128;
        assert_eq!(memory.compare_exchange_16(RamOffset(0x4000), 0, wide).0, 0);
        assert_eq!(memory.compare_exchange_16(RamOffset(0x4000), 1, 2).0, wide);
    }

    #[test]
    fn a_value_in_two_pages_is_changed_in_one_piece() {
        let memory = GuestMemory::new(0x10_0000).unwrap();
        let (first, second) = (RamOffset(0x5ffd), RamOffset(0x2000));
        memory.write_at(first, &[1, 2, 3]);
        memory.write_at(second, &[4, 5, 6]);
        let add = |old: u32| old.wrapping_add(0x0100_00ff);
        let (both, _) = memory.modify_split(first, second, add).unwrap();
        assert_eq!(both, (0x0403_0201, 0x0503_0300));
        assert_eq!((memory.load::<u16>(RamOffset(0x5ffd)), memory.load::<u16>(second)), (0x0300, 0x0505));
        std::thread::scope(|scope| {
            for pages in [[first, second], [RamOffset(0x7ffe), RamOffset(0x2000)]] {
                let memory = &memory;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        memory
                            .modify_split(pages[0], pages[1], |old: u64| old.wrapping_add(1 << 40))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(memory.load::<u8>(RamOffset(0x2002)), (6 + 2000 % 256) as u8);
        memory.watch().cache_code(second, 8);
        assert!(memory.modify_split(first, second, add).unwrap().1);
    }

    #[test]
    fn copies_and_fills_reach_exactly_as_far_as_they_say() {
        let memory = GuestMemory::new(0x10_0000).unwrap();
        memory.fill(RamOffset(0x1001), 0x1234u16, 3);
        memory.fill(RamOffset(0x1007), 0x5555_5555u32, 1);
        memory.copy(RamOffset(0x1001), RamOffset(0x1003), 8);
        let mut bytes = [0xff; 14];
        memory.read_at(RamOffset(0x1000), &mut bytes);
        assert_eq!(bytes, [0, 0x34, 0x12, 0x34, 0x12, 0x34, 0x12, 0x34, 0x12, 0x55, 0x55, 0, 0, 0]);
        memory.watch().cache_code(RamOffset(0x2fff), 1);
        assert!(!memory.fill(RamOffset(0x2000), 1u8, 0xfc0) && memory.fill(RamOffset(0x2ff8), 1u64, 1));
    }

    #[test]
    fn ram_above_the_hole_is_contiguous_for_the_host_and_not_for_the_guest() {
        let memory = GuestMemory::new(HOLE_START + 0x10_0000).unwrap();
        assert_eq!(memory.ram(GuestPhys(HOLE_START)), None);
        assert_eq!(memory.ram(GuestPhys(HOLE_END)), Some(RamOffset(HOLE_START)));
        assert_eq!(memory.phys(RamOffset(HOLE_START)), GuestPhys(HOLE_END));
        assert_eq!(memory.ram(GuestPhys(HOLE_END + 0x10_0000)), None);
        assert!(memory.range(GuestPhys(HOLE_START - 8), 8).is_ok());
        assert!(memory.range(GuestPhys(HOLE_START - 8), 9).is_err());
        assert!(memory.range(GuestPhys(HOLE_START - 8), HOLE_END - HOLE_START + 16).is_err());
        assert!(memory.range(GuestPhys(u64::MAX), 2).is_err());
        assert_eq!(memory.ranges().len(), 2);
    }

    #[test]
    fn a_device_write_is_seen_by_the_watch() {
        let memory = GuestMemory::new(0x10_0000).unwrap();
        let generation = memory.watch().cache_code(RamOffset(0x5000), 16);
        memory.view().write_slice(&[0xcc; 4], GuestAddress(0x5008)).unwrap();
        assert_ne!(memory.watch().generation(5), generation);
    }

    #[test]
    fn memory_is_guarded_where_the_host_has_the_address_space() {
        let memory = GuestMemory::new(0x10_0000).unwrap();
        let base = memory.host_base().as_ptr() as u64;
        let guard = memory.guard().expect("a few MiB of address space, eight times");
        assert!(guard > base + memory.size() && base.is_multiple_of(HUGE_PAGE));
        // Nothing else can be mapped at any of the copies of RAM and guard.
        for at in (base % PERIOD..USER_END).step_by(PERIOD as usize) {
            assert!(Window::at(at, memory.size()).is_err(), "{at:#x}");
            assert!(Window::at(at + guard - base, 2 * PAGE_SIZE).is_err(), "{at:#x}");
        }
        assert!(memory.range(GuestPhys(0x10_0000), 1).is_err());
    }

    #[test]
    fn sizes_that_are_no_memory_are_refused() {
        for size in [0, 4096, 0x10_0001, 1 << 60] {
            assert!(matches!(GuestMemory::new(size), Err(MemoryError::Size(_))), "{size:#x}");
        }
    }
}
