//! A direct branch from block to block, packed: there are more of them than of blocks.

use super::block::NONE;
use crate::emit::block::Goal;

/// A direct branch. Its target is in its block's page, or in one that is global as that is.
pub(super) struct Link {
    /// The block that it is in.
    pub from: u32,
    /// The block that it was led to last.
    pub to: u32,
    /// The next of the links that lead to that block.
    pub next: u32,
    /// Its displacement, in bytes from the start of its block.
    at: u16,
    /// Its stub, likewise.
    stub: u16,
    /// [`FORWARD`], [`ACROSS`], [`NOTED`], and below that the offset in the page or the number of the crossing.
    goal: u32,
}

const _: () = assert!(size_of::<Link>() == 20);

/// It leads to behind itself.
const FORWARD: u32 = 1 << 31;
/// It leads to another page.
const ACROSS: u32 = 1 << 30;
/// It is in the list of those that lead to that page.
const NOTED: u32 = 1 << 29;

/// Where a link leads that crosses pages.
pub(super) struct Crossing {
    /// The guest address.
    target: u64,
    /// Cache offset of the way by the jump cache.
    other: u32,
}

impl Link {
    /// A link of a block, as it was emitted. Crossings go to `crossings`.
    pub fn new(
        from: u32,
        at: u32,
        stub: u32,
        goal: Goal,
        forward: bool,
        crossings: &mut Vec<Crossing>,
    ) -> Self {
        let goal = match goal {
            Goal::Within(offset) => u32::from(offset),
            Goal::Across { target, other } => {
                crossings.push(Crossing { target, other });
                ACROSS | (crossings.len() as u32 - 1)
            }
        };
        let goal = goal | if forward { FORWARD } else { 0 };
        Self { from, to: NONE, next: NONE, at: at as u16, stub: stub as u16, goal }
    }

    /// Its displacement and its stub in the cache, its block being at `host`.
    pub fn places(&self, host: u32) -> (u32, u32) {
        (host + u32::from(self.at), host + u32::from(self.stub))
    }

    pub fn is_forward(&self) -> bool {
        self.goal & FORWARD != 0
    }

    pub fn goal(&self, crossings: &[Crossing]) -> Goal {
        if self.goal & ACROSS == 0 {
            return Goal::Within(self.goal as u16);
        }
        let Crossing { target, other } = crossings[(self.goal & (NOTED - 1)) as usize];
        Goal::Across { target, other }
    }

    /// Notes that it is in its page's list. False if it was before.
    pub fn note(&mut self) -> bool {
        let noted = self.goal & NOTED != 0;
        self.goal |= NOTED;
        !noted
    }

    /// It is in no list.
    pub fn strike(&mut self) {
        self.goal &= !NOTED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_kept() {
        let mut crossings = vec![];
        let within = Link::new(1, 20, 30, Goal::Within(0xfff), true, &mut crossings);
        let goal = Goal::Across { target: 0xffff_ffff_8100_0123, other: 77 };
        let mut across = Link::new(1, 20, 30, goal, false, &mut crossings);
        assert!(across.note() && !across.note());
        assert!(matches!(within.goal(&crossings), Goal::Within(0xfff)) && within.is_forward());
        let same = Goal::Across { target: 0xffff_ffff_8100_0123, other: 77 };
        assert_eq!(format!("{:?}", across.goal(&crossings)), format!("{same:?}"));
        across.strike();
        assert!(across.note() && !across.is_forward());
        assert_eq!(across.places(1000), (1020, 1030));
    }
}
