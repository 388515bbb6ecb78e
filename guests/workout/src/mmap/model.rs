//! A storm of random mapping, protecting and touching, of which a model knows every outcome beforehand.

#![allow(unsafe_code)] // what is in the mappings

use std::io;

use nix::sys::mman::ProtFlags;

use super::{Mapping, PAGE};
use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;
use crate::trap;

const PAGES: usize = 128;
/// Words of each page that are touched; one of them is the last.
const WORDS: [usize; 3] = [0, 1032, PAGE - 8];

/// What the model knows of a page.
#[derive(Debug, Clone, Copy)]
struct Page {
    access: ProtFlags,
    /// `None` where there is a hole.
    words: Option<[u64; 3]>,
}

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let access = [ProtFlags::PROT_NONE, ProtFlags::PROT_READ, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE];
    let region = Mapping::anonymous(PAGES, access[2])?;
    let mut model = [Page { access: access[2], words: Some([0; 3]) }; PAGES];
    let mut generator = Generator::new(1234);
    let (mut faults, mut right, mut digest) = (0_u32, true, Digest::new());
    for _ in 0..20_000 * scale.rounds {
        let first = generator.below(PAGES);
        let count = 1 + generator.below(8.min(PAGES - first));
        let now = access[generator.below(3)];
        match generator.below(16) {
            0 => {
                region.overlay(first, count, now)?;
                model[first..first + count].fill(Page { access: now, words: Some([0; 3]) });
            }
            1 => {
                region.unmap(first, count)?;
                model[first..first + count].iter_mut().for_each(|page| page.words = None);
            }
            2 | 3 => {
                let all = model[first..first + count].iter().all(|page| page.words.is_some());
                // With a hole in the range it fails, but not before it has changed what comes before the
                // hole.
                let changed = region.protect(first, count, now);
                right &= changed.is_ok() == all;
                model[first..first + count]
                    .iter_mut()
                    .take_while(|page| page.words.is_some())
                    .for_each(|page| page.access = now);
            }
            4..10 => {
                let word = generator.below(3);
                let value = generator.next();
                let page = &mut model[first];
                // SAFETY: in our region, which holds nothing that anyone relies on.
                let wrote = unsafe { trap::write(region.address() + first * PAGE + WORDS[word], value) };
                let may = page.access.contains(ProtFlags::PROT_WRITE);
                match (&mut page.words, wrote) {
                    (Some(words), Ok(())) if may => words[word] = value,
                    (Some(_), Err(trap)) if !may => right &= trap.code == 2,
                    (None, Err(trap)) => right &= trap.code == 1,
                    _ => right = false,
                }
                faults += u32::from(wrote.is_err());
            }
            _ => {
                let word = generator.below(3);
                let page = model[first];
                let found = trap::read(region.address() + first * PAGE + WORDS[word]);
                let may = page.access.contains(ProtFlags::PROT_READ);
                match (page.words, found) {
                    (Some(words), Ok(value)) if may => right &= value == words[word],
                    (Some(_), Err(trap)) if !may => right &= trap.code == 2,
                    (None, Err(trap)) => right &= trap.code == 1,
                    _ => right = false,
                }
                faults += u32::from(found.is_err());
                digest.number(found.unwrap_or(0));
            }
        }
    }
    report.value("storm", digest);
    report.value("faults in the storm", faults);
    report.check("the storm is as the model has it", right);
    Ok(())
}
