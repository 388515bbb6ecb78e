//! What a run exercised.

use std::collections::BTreeMap;
use std::fmt;

use iced_x86::Mnemonic;

use crate::case::Case;
use crate::end::{End, Stop};
use crate::generate::{Catalog, Family};
use crate::layout::EXIT;

/// Counts of a run.
#[derive(Clone, Debug)]
pub struct Coverage {
    mnemonics: Vec<u64>,
    stops: BTreeMap<(Stop, u32), u64>,
    /// Cases that nothing can be said of, by reason.
    pub void: BTreeMap<&'static str, u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { mnemonics: vec![0; Mnemonic::values().len()], stops: BTreeMap::new(), void: BTreeMap::new() }
    }
}

impl Coverage {
    /// Counts a case that ended so. Instructions behind the one it stopped at do not count; those that a
    /// branch jumped over do.
    pub fn count(&mut self, case: &Case, end: &End) {
        *self.stops.entry((end.stop, end.vector)).or_default() += 1;
        let last = if end.rip == EXIT { u64::MAX } else { end.rip };
        for step in &case.steps[..case.steps.len().saturating_sub(1)] {
            if case.start.rip() + u64::from(step.at) > last {
                break;
            }
            self.mnemonics[step.mnemonic as usize] += 1;
        }
    }

    /// Adds another thread's counts.
    pub fn add(&mut self, other: &Self) {
        self.mnemonics.iter_mut().zip(&other.mnemonics).for_each(|(all, n)| *all += n);
        other.stops.iter().for_each(|(stop, n)| *self.stops.entry(*stop).or_default() += n);
        other.void.iter().for_each(|(reason, n)| *self.void.entry(reason).or_default() += n);
    }

    /// How often an instruction ran.
    pub fn of(&self, mnemonic: Mnemonic) -> u64 {
        self.mnemonics[mnemonic as usize]
    }

    /// Instructions run in all.
    pub fn instructions(&self) -> u64 {
        self.mnemonics.iter().sum()
    }

    /// Families of the catalog of which nothing ran.
    pub fn missing(&self, catalog: &Catalog) -> Vec<Family> {
        let ran = |(_, templates): &&(Family, Vec<crate::generate::Template>)| {
            templates.iter().any(|template| self.of(template.code.mnemonic()) > 0)
        };
        catalog.families().iter().filter(|family| !ran(family)).map(|(family, _)| *family).collect()
    }

    /// Instructions by how often they ran, the rarest first.
    pub fn by_mnemonic(&self) -> Vec<(Mnemonic, u64)> {
        let mut all: Vec<_> = Mnemonic::values().map(|m| (m, self.of(m))).filter(|(_, n)| *n > 0).collect();
        all.sort_by_key(|(_, n)| *n);
        all
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.by_mnemonic();
        write!(f, "{} instructions of {} kinds", self.instructions(), kinds.len())?;
        if let Some((rarest, times)) = kinds.first() {
            write!(f, ", the rarest {rarest:?} ({times})")?;
        }
        writeln!(f)?;
        for ((stop, vector), count) in &self.stops {
            match *stop {
                Stop::EXCEPTION => writeln!(f, "  {count:>9} exception {vector}")?,
                stop => writeln!(f, "  {count:>9} {}", stop.name())?,
            }
        }
        for (reason, count) in &self.void {
            writeln!(f, "  {count:>9} not compared: {reason}")?;
        }
        Ok(())
    }
}
