//! ELF executables, as far as kernels need them (System V gABI, chapters 4 and 5). Both classes.

use super::place;
use super::plan::Plan;
use super::{LoadError, Request};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Segments that only an operating system's loader knows what to do with: PT_INTERP, PT_TLS, PT_GNU_RELRO.
const OF_PROGRAMS: [u32; 3] = [3, 7, 0x6474_e552];
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
/// More program headers than this are no kernel.
const MOST_HEADERS: u16 = 256;

/// Bytes of a note segment that are searched.
const MOST_NOTES: usize = 64 << 10;

/// Xen's note with the 32-bit physical entry (XEN_ELFNOTE_PHYS32_ENTRY).
const XEN_PHYS32_ENTRY: u32 = 18;

/// Does the file begin like an ELF?
pub(super) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

/// A program header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    kind: u32,
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
}

/// A parsed file: every segment's bytes lie in it.
pub(super) struct Elf<'a> {
    file: &'a [u8],
    wide: bool,
    entry: u64,
    segments: Vec<Segment>,
}

/// Little-endian fields at offsets that may lie outside.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(self, at: u64, len: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.0.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

impl<'a> Elf<'a> {
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, LoadError> {
        let found = file.len() as u64;
        let truncated = |what, needed| LoadError::Truncated { what, needed, found };
        let fields = Fields(file);
        let wide = match file.get(4..6) {
            Some([1, 1]) => false,
            Some([2, 1]) => true,
            Some(_) => return Err(LoadError::Unsupported("it is not a little-endian ELF")),
            None => return Err(truncated("the ELF header", 64)),
        };
        let header =
            |at: u64, len| fields.number(at, len).ok_or(truncated("the ELF header", at + len as u64));
        if !matches!(header(18, 2)? as u16, EM_386 | EM_X86_64) {
            return Err(LoadError::Unsupported("it is for another processor"));
        }
        if !matches!(header(16, 2)?, 2 | 3) {
            return Err(LoadError::Unsupported("it is an ELF file, but no executable"));
        }
        let word = if wide { 8 } else { 4 };
        let entry = header(24, word)?;
        let table = header(24 + word as u64, word)?;
        let (size_at, least) = if wide { (54, 56) } else { (42, 32) };
        let entry_size = header(size_at, 2)?;
        let count = header(size_at + 2, 2)? as u16;
        if entry_size < least || count > MOST_HEADERS {
            return Err(LoadError::Malformed("its program headers are no such thing"));
        }
        let mut segments = Vec::new();
        for index in 0..u64::from(count) {
            let at = table
                .checked_add(index * entry_size)
                .ok_or(LoadError::Malformed("its program headers wrap"))?;
            let segment = Segment::parse(fields, at, wide)
                .ok_or(truncated("the program headers", at.saturating_add(entry_size)))?;
            let end = segment.offset.saturating_add(segment.file_size);
            if end > found && matches!(segment.kind, PT_LOAD | PT_NOTE) {
                return Err(truncated("a segment", end));
            }
            if segment.kind == PT_LOAD && segment.file_size > segment.memory_size {
                return Err(LoadError::Malformed("a segment is larger in the file than in memory"));
            }
            segments.push(segment);
        }
        Ok(Self { file, wide, entry, segments })
    }

    pub(super) fn is_64(&self) -> bool {
        self.wide
    }

    /// Is it a program for an operating system?
    pub(super) fn is_program(&self) -> bool {
        self.segments.iter().any(|segment| OF_PROGRAMS.contains(&segment.kind))
    }

    fn loadable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD && segment.memory_size != 0)
    }

    fn bytes(&self, segment: &Segment) -> &'a [u8] {
        // `parse` has checked the range of every segment that is used.
        let end = segment.offset.saturating_add(segment.file_size);
        self.file.get(segment.offset as usize..end as usize).unwrap_or(&[])
    }

    /// The entry as a physical address: many kernels give it as linked, which is virtual.
    pub(super) fn physical_entry(&self) -> u64 {
        let inside = |segment: &&Segment| {
            self.entry.checked_sub(segment.virtual_address).is_some_and(|offset| offset < segment.memory_size)
        };
        self.loadable().find(inside).map_or(self.entry, |segment| {
            (self.entry - segment.virtual_address).wrapping_add(segment.physical_address)
        })
    }

    /// The physical address in Xen's PVH note.
    pub(super) fn xen_entry(&self) -> Option<u64> {
        let notes = self.segments.iter().filter(|segment| segment.kind == PT_NOTE);
        notes.filter_map(|segment| xen_entry_in(self.bytes(segment))).next()
    }

    /// Plans the loading of all segments; gives the end of the highest.
    pub(super) fn put(&self, plan: &mut Plan<'a>, request: &Request<'a>) -> Result<u64, LoadError> {
        let mut ranges = Vec::new();
        for segment in self.loadable() {
            let (at, len) = (segment.physical_address, segment.memory_size);
            ranges.push((at, place::check_range(at, len, request.memory)?));
            plan.put_zeroed(at, self.bytes(segment), len - segment.file_size);
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(LoadError::Malformed("its segments overlap"));
        }
        ranges.last().map(|(_, end)| *end).ok_or(LoadError::Malformed("it has nothing to load"))
    }
}

impl Segment {
    fn parse(fields: Fields<'_>, at: u64, wide: bool) -> Option<Self> {
        let number = |offset: u64, len| fields.number(at.checked_add(offset)?, len);
        Some(if wide {
            Self {
                kind: number(0, 4)? as u32,
                offset: number(8, 8)?,
                virtual_address: number(16, 8)?,
                physical_address: number(24, 8)?,
                file_size: number(32, 8)?,
                memory_size: number(40, 8)?,
            }
        } else {
            Self {
                kind: number(0, 4)? as u32,
                offset: number(4, 4)?,
                virtual_address: number(8, 4)?,
                physical_address: number(12, 4)?,
                file_size: number(16, 4)?,
                memory_size: number(20, 4)?,
            }
        })
    }
}

/// Searches a note segment. Notes are aligned to four bytes.
fn xen_entry_in(notes: &[u8]) -> Option<u64> {
    let notes = &notes[..notes.len().min(MOST_NOTES)];
    let fields = Fields(notes);
    let mut at = 0u64;
    loop {
        let name_len = fields.number(at, 4)?;
        let value_len = fields.number(at + 4, 4)?;
        let kind = fields.number(at + 8, 4)? as u32;
        let name = at + 12;
        let value = (name + name_len).next_multiple_of(4);
        let is_xen = name_len == 4 && notes.get(name as usize..name as usize + 4) == Some(b"Xen\0");
        if is_xen && kind == XEN_PHYS32_ENTRY {
            return fields.number(value, if value_len >= 8 { 8 } else { 4 });
        }
        at = (value + value_len).next_multiple_of(4);
    }
}
