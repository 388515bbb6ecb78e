//! A set of the 256 vectors: IRR, ISR and TMR.

use serde::{Deserialize, Serialize};

/// Eight doublewords, as the registers show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSet([u32; 8]);

impl VectorSet {
    /// Puts a vector in or takes it out.
    pub fn set(&mut self, vector: u8, member: bool) {
        let word = &mut self.0[usize::from(vector / 32)];
        let bit = 1 << (vector % 32);
        *word = if member { *word | bit } else { *word & !bit };
    }

    /// Is the vector in it?
    pub fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 32)] & 1 << (vector % 32) != 0
    }

    /// The highest vector, which has the highest priority.
    pub fn highest(&self) -> Option<u8> {
        let index = self.0.iter().rposition(|&word| word != 0)?;
        Some((index as u8) << 5 | self.0[index].ilog2() as u8)
    }

    /// One of the eight doublewords.
    pub fn word(&self, index: usize) -> u32 {
        self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_wins() {
        let mut set = VectorSet::default();
        assert_eq!(set.highest(), None);
        for vector in [0, 31, 32, 200, 255] {
            set.set(vector, true);
            assert_eq!(set.highest(), Some(vector));
        }
        set.set(255, false);
        assert_eq!((set.highest(), set.has(255), set.word(6)), (Some(200), false, 1 << 8));
    }
}
