//! How a case ended: everything a program could see of it. Plain bytes, like [`Start`](crate::start::Start).

use x86::{Fpu, xfeature};

/// Changed words of the image that are listed one by one.
pub const MOST_CHANGES: usize = 64;

/// Why the sequence stopped. A number, because another process writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Stop(pub u32);

impl Stop {
    /// It came to its end.
    pub const EXIT: Self = Self(0);
    /// An exception.
    pub const EXCEPTION: Self = Self(1);
    /// It does not seem to end.
    pub const ENDLESS: Self = Self(2);
    /// It made a system call, which is none of our business.
    pub const SYSTEM_CALL: Self = Self(3);
    /// The child died of it, or the engine shut the CPU down.
    pub const BROKEN: Self = Self(4);

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::EXIT => "end of the sequence",
            Self::EXCEPTION => "exception",
            Self::ENDLESS => "no end in sight",
            Self::SYSTEM_CALL => "system call",
            _ => "broken",
        }
    }
}

/// A word of the image that is not what the background has there, or a word of code that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Change {
    /// Its number: eight bytes each; the code pages come behind the image.
    pub word: u32,
    /// What stands there.
    pub value: u64,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct End {
    /// x87, SSE and AVX.
    pub fpu: Fpu,
    /// General registers.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// Fault address; zero unless the exception is #PF.
    pub cr2: u64,
    /// Why it stopped.
    pub stop: Stop,
    /// The exception's vector.
    pub vector: u32,
    /// Its error code.
    pub error: u32,
    /// How many words these are.
    pub changed: u32,
    /// A hash over all of them.
    pub hash: u64,
    /// The first of them.
    pub changes: [Change; MOST_CHANGES],
}

impl Default for End {
    fn default() -> Self {
        Self {
            fpu: Fpu::default(),
            gpr: [0; 16],
            rip: 0,
            rflags: 0,
            fs_base: 0,
            gs_base: 0,
            cr2: 0,
            stop: Stop::EXIT,
            vector: 0,
            error: 0,
            changed: 0,
            hash: 0,
            changes: [Change::default(); MOST_CHANGES],
        }
    }
}

impl End {
    /// Begins the list of changes anew.
    pub fn forget_changes(&mut self) {
        self.changed = 0;
        self.hash = 0;
    }

    /// Writes down what differs between two states of memory, 8 bytes at a time, numbered from `first`, and
    /// calls `restore` with each place (offset, what was there).
    pub fn record_changes(
        &mut self,
        first: u32,
        now: &[u8],
        then: &[u8],
        mut restore: impl FnMut(usize, u64),
    ) {
        const LINE: usize = 64;
        for (n, (now, then)) in now.chunks_exact(LINE).zip(then.chunks_exact(LINE)).enumerate() {
            if now == then {
                continue;
            }
            for (k, (now, then)) in now.chunks_exact(8).zip(then.chunks_exact(8)).enumerate() {
                let (value, was) = (word(now), word(then));
                if value == was {
                    continue;
                }
                let place = n * LINE + k * 8;
                let at = first + place as u32 / 8;
                if let Some(slot) = self.changes.get_mut(self.changed as usize) {
                    *slot = Change { word: at, value };
                }
                self.changed += 1;
                let mixed = (self.hash ^ value ^ u64::from(at) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                self.hash = mixed ^ mixed >> 29;
                restore(place, was);
            }
        }
    }

    /// The changes that are listed.
    pub fn changes(&self) -> &[Change] {
        &self.changes[..(self.changed as usize).min(MOST_CHANGES)]
    }

    /// Gives components of the XSAVE image that are in their initial configuration the values that this
    /// stands for, and clears what is no state (SDM vol. 1, 13.6).
    pub fn normalize(&mut self) {
        let fpu = &mut self.fpu;
        let fresh = Fpu::default();
        let legacy = &mut fpu.legacy;
        if fpu.xstate_bv & xfeature::X87 == 0 {
            legacy.fcw = fresh.legacy.fcw;
            (legacy.fsw, legacy.ftw, legacy.fop, legacy.fip, legacy.fdp) = (0, 0, 0, 0, 0);
            legacy.st = [0; 8];
        }
        if fpu.xstate_bv & xfeature::SSE == 0 {
            legacy.xmm = [0; 16];
        }
        if fpu.xstate_bv & xfeature::AVX == 0 {
            fpu.ymm_high = [0; 16];
        }
        legacy.st.iter_mut().for_each(|st| *st &= u128::MAX >> 48);
        legacy.reserved1 = 0;
        legacy.reserved2 = [0; 12];
        legacy.mxcsr_mask = 0;
        fpu.xstate_bv = fresh.xstate_bv;
        fpu.xcomp_bv = 0;
        fpu.reserved = [0; 6];
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    whole.copy_from_slice(bytes);
    u64::from_le_bytes(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_listed_and_hashed_in_order() {
        let background = [7u8; 256];
        let mut image = background;
        image[9] = 1;
        image[255] = 2;
        let mut end = End::default();
        let mut restored = vec![];
        end.record_changes(100, &image, &background, |at, _| restored.push(at));
        assert_eq!(restored, [8, 248]);
        assert_eq!(end.changes().iter().map(|c| c.word).collect::<Vec<_>>(), [101, 131]);
        let hash = end.hash;
        image[255] = 3;
        end.forget_changes();
        end.record_changes(100, &image, &background, |_, _| {});
        assert_ne!(end.hash, hash);
    }

    #[test]
    fn an_initial_component_reads_as_its_initial_values() {
        let mut end = End::default();
        end.fpu.xstate_bv = xfeature::SSE;
        end.fpu.legacy.fcw = 0;
        end.fpu.legacy.xmm[3] = 5;
        end.fpu.ymm_high[3] = 5;
        end.normalize();
        assert_eq!((end.fpu.legacy.fcw, end.fpu.legacy.xmm[3], end.fpu.ymm_high[3]), (0x37f, 5, 0));
    }
}
