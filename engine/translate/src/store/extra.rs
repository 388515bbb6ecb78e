//! What a block for a mirror has besides: there are few of those.

use crate::emit::direct::{Direct, Saved};
use crate::frame::ExitKind;

/// See the module.
pub(crate) struct Extra {
    exits: Box<[(u32, ExitKind, u32)]>,
    saved: Box<[Saved]>,
    tail: u32,
    /// Where the call at the block's end returns to.
    pub returns: Option<u64>,
}

impl Extra {
    pub(super) fn of(direct: Direct) -> Self {
        let Direct { exits, saved, tail, returns, .. } = direct;
        Self { exits: exits.into(), saved: saved.into(), tail, returns }
    }

    /// What the INT3 at an offset in the block is for, and the value that belongs to it.
    pub fn exit(&self, within: u32) -> Option<(ExitKind, u32)> {
        self.exits.iter().find(|&&(at, ..)| at == within).map(|&(_, kind, value)| (kind, value))
    }

    /// Is an offset in the block out of line, where no instruction starts?
    pub fn is_tail(&self, within: u32) -> bool {
        within >= self.tail
    }

    /// The registers, a bit each, whose values are saved rather than in place at an offset in the block.
    pub fn saved(&self, within: u32) -> u16 {
        let range = self.saved.iter().find(|range| (range.from..range.to).contains(&within));
        range.map_or(0, |range| range.registers)
    }
}
