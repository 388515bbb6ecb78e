//! What a VM's process holds in memory besides the guest's.
//!
//! `/proc/PID/smaps` (proc(5)) has each mapping's size and its proportional set size, which counts a page that is mapped twice once. The guest's memory
//! is the mappings that are about as large as it, and all others of the same files. What the host's kernel takes for
//! page tables, in `/proc/PID/status`, counts as the VM's.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, besides the guest's memory and page tables.
    pub besides: u64,
    /// The host's page tables.
    pub tables: u64,
    /// Resident of the guest's memory.
    pub guest: u64,
}

impl Memory {
    /// That of a process whose guest has so many bytes.
    pub fn of(process: u32, guest: u64) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let tables = field(&read("status")?, "VmPTE:").context("no VmPTE in its status")?;
        Ok(Self { tables, ..Self::read(&read("smaps")?, guest) })
    }

    fn read(smaps: &str, guest: u64) -> Self {
        let mappings = mappings(smaps);
        // A part of it may be elsewhere; address space that is only reserved is far larger.
        let about = guest / 2..=guest + guest / 8;
        let large = |mapping: &&Mapping| about.contains(&mapping.size);
        let files: BTreeSet<&str> = mappings.iter().filter(large).filter_map(|m| m.file).collect();
        let is_guests = |m: &&Mapping| large(m) || m.file.is_some_and(|file| files.contains(file));
        let all: u64 = mappings.iter().map(|m| m.resident).sum();
        let guest = mappings.iter().filter(is_guests).map(|m| m.resident).sum();
        Self { besides: all - guest, tables: 0, guest }
    }
}

#[derive(Debug, Default)]
struct Mapping<'a> {
    /// Device and inode, if it is a file's.
    file: Option<&'a str>,
    size: u64,
    resident: u64,
}

fn mappings(smaps: &str) -> Vec<Mapping<'_>> {
    let mut mappings: Vec<Mapping<'_>> = vec![];
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        match (mappings.last_mut(), first) {
            (Some(mapping), "Size:") => mapping.size = field(line, "Size:").unwrap_or_default(),
            (Some(mapping), "Pss:") => mapping.resident = field(line, "Pss:").unwrap_or_default(),
            // A range of addresses: permissions, offset, device, inode, path.
            _ if !first.ends_with(':') => mappings.push(Mapping { file: file(line), ..Mapping::default() }),
            _ => {}
        }
    }
    mappings
}

/// Device and inode out of a mapping's first line.
fn file(line: &str) -> Option<&str> {
    let after_offset = line.splitn(4, ' ').nth(3)?;
    let end = after_offset.match_indices(' ').nth(1).map_or(after_offset.len(), |(at, _)| at);
    let file = &after_offset[..end];
    (!file.ends_with(" 0")).then_some(file)
}

/// A field in kB, as bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55e4f5-55e4f7 r-xp 0036d000 fe:00 5311846                    /usr/bin/vm
Size:               3884 kB
Rss:                3308 kB
Pss:                3000 kB
VmFlags: rd ex mr mw me
7701d9-7701da rw-p 00000000 00:00 0                          [heap]
Size:               1024 kB
Pss:                 100 kB
7701e6-770206 rw-s 00000000 00:01 863991                     /memfd:ram (deleted)
Size:             524288 kB
Pss:               90000 kB
7801e6-780206 rw-s 00200000 00:01 863991                     /memfd:ram (deleted)
Size:                  4 kB
Pss:                   4 kB
7901e6-790206 ---p 00000000 00:00 0
Size:           99999999 kB
Pss:                  40 kB
";

    #[test]
    fn the_guests_memory_is_told_from_the_rest() {
        let memory = Memory::read(SMAPS, 512 << 20);
        assert_eq!((memory.besides, memory.guest), (3140 << 10, 90004 << 10));
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let memory = Memory::of(std::process::id(), 1 << 40).unwrap();
        assert!(memory.besides > 100 << 10 && memory.tables > 0 && memory.guest == 0, "{memory:?}");
    }
}
