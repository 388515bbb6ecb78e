//! What the vCPU counts: why translated code was left, and what the reference CPU was needed for.

use iced_x86::Code;
use rustc_hash::FxHashMap;

use crate::frame::ExitKind;

/// Counters since the vCPU was made.
#[derive(Default)]
pub(crate) struct Counts {
    exits: [u64; 8],
    interpreted: FxHashMap<u64, u64>,
    mirrored: FxHashMap<u64, u64>,
    /// Pages entered into the map after a fault.
    pub fills: u64,
    /// Pages entered into the map before the fault: the guest returned from a page fault for them.
    pub anticipated: u64,
    /// Faults of the poll: somebody wanted attention.
    pub polls: u64,
    /// Faults of sites that were misaligned, or touched a device or a page under watch.
    pub site_faults: u64,
    /// Spaces given to programs.
    pub spaces: u64,
    /// Mirrors made, and those that were not worth it.
    pub mirrors_made: u64,
    /// See above.
    pub mirrors_left: u64,
    /// Microseconds for making them.
    pub mirrors_making: u64,
    /// Times that a mirror stopped.
    pub mirror_stops: u64,
    /// Pages mapped in mirrors.
    pub mirror_pages: u64,
    /// Faults that the reference CPU had to explain: the guest's own exceptions, mostly.
    pub odd_faults: u64,
}

/// The instructions named in the report.
const NAMED: usize = 24;

impl Counts {
    /// Translated code was left for this [`ExitKind`].
    pub fn exit(&mut self, kind: u64) {
        if let Some(count) = self.exits.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// The reference CPU executed an instruction with this iced code.
    pub fn interpreted(&mut self, code: u64) {
        *self.interpreted.entry(code).or_default() += 1;
    }

    /// A mirror stopped for an instruction.
    pub fn mirrored(&mut self, code: Code) {
        *self.mirrored.entry(code as u64).or_default() += 1;
    }

    /// All counters with their names, and the instructions that were interpreted most.
    pub fn details(&self) -> Vec<(String, u64)> {
        let exit = |kind: ExitKind| self.exits[kind as usize];
        let mut details = vec![
            ("exits: interpret".to_owned(), exit(ExitKind::Interpret) + exit(ExitKind::InterpretFpu)),
            ("exits: call of the reference CPU".to_owned(), exit(ExitKind::Call)),
            ("exits: link".to_owned(), exit(ExitKind::Link)),
            ("exits: indirect branch".to_owned(), exit(ExitKind::Indirect)),
            ("exits: stale block".to_owned(), exit(ExitKind::Continue)),
            ("exits: fault".to_owned(), exit(ExitKind::Fault)),
            ("exits: checked access".to_owned(), exit(ExitKind::Missed)),
            ("faults: map filled".to_owned(), self.fills),
            ("faults: spared".to_owned(), self.anticipated),
            ("faults: attention".to_owned(), self.polls),
            ("faults: awkward site".to_owned(), self.site_faults),
            ("faults: guest exception".to_owned(), self.odd_faults),
            ("programs linked across pages".to_owned(), self.spaces),
            ("mirrors: made".to_owned(), self.mirrors_made),
            ("mirrors: microseconds to make them".to_owned(), self.mirrors_making),
            ("mirrors: not worth it".to_owned(), self.mirrors_left),
            ("mirrors: stops".to_owned(), self.mirror_stops),
            ("mirrors: pages mapped".to_owned(), self.mirror_pages),
        ];
        name(&mut details, "interpreted", &self.interpreted);
        name(&mut details, "mirrors: stopped for", &self.mirrored);
        details
    }
}

/// Names the instructions counted most.
fn name(details: &mut Vec<(String, u64)>, what: &str, counts: &FxHashMap<u64, u64>) {
    let mut most: Vec<_> = counts.iter().map(|(&code, &count)| (count, code)).collect();
    most.sort_unstable_by(|a, b| b.cmp(a));
    for (count, code) in most.into_iter().take(NAMED) {
        let code = u16::try_from(code).ok().and_then(|code| Code::try_from(usize::from(code)).ok());
        details.push((format!("{what}: {:?}", code.unwrap_or(Code::INVALID)), count));
    }
}
