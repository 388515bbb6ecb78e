//! What a case starts from: registers, code and memory. Plain bytes, because the child finds it in
//! memory that it shares with us.

use x86::Fpu;

use crate::layout::CODE;

/// Bytes of code that a case may have.
pub const MOST_CODE: usize = 512;
/// Patches that a case may have.
pub const MOST_PATCHES: usize = 40;
/// Bytes in a patch.
pub const PATCH_BYTES: usize = 32;

/// Bytes that differ from the background image.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Patch {
    /// Where in the image; the patch may run over the image's end, where it is cut.
    pub at: u16,
    /// How many of `bytes`.
    pub len: u16,
    /// What stands there.
    pub bytes: [u8; PATCH_BYTES],
}

/// Where a case starts from.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Start {
    /// x87, SSE and AVX.
    pub fpu: Fpu,
    /// General registers.
    pub gpr: [u64; 16],
    /// Flags.
    pub rflags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// Where the code begins, from the start of the code pages.
    pub code_at: u32,
    /// Bytes of code.
    pub code_len: u32,
    /// The code, ending in a jump to [`EXIT`](crate::layout::EXIT).
    pub code: [u8; MOST_CODE],
    /// How many of `patches` count.
    pub patch_count: u32,
    /// What differs from the background image.
    pub patches: [Patch; MOST_PATCHES],
}

impl Default for Start {
    fn default() -> Self {
        Self {
            fpu: Fpu::default(),
            gpr: [0; 16],
            rflags: x86::flags::RESERVED_ONE | x86::flags::IF,
            fs_base: 0,
            gs_base: 0,
            code_at: 0,
            code_len: 0,
            code: [0; MOST_CODE],
            patch_count: 0,
            patches: [Patch { at: 0, len: 0, bytes: [0; PATCH_BYTES] }; MOST_PATCHES],
        }
    }
}

impl Start {
    /// The first instruction's linear address.
    pub fn rip(&self) -> u64 {
        CODE + u64::from(self.code_at)
    }

    /// The code.
    pub fn code(&self) -> &[u8] {
        &self.code[..(self.code_len as usize).min(MOST_CODE)]
    }

    /// The patches.
    pub fn patches(&self) -> &[Patch] {
        &self.patches[..(self.patch_count as usize).min(MOST_PATCHES)]
    }

    /// Makes the image differ from the background. Without effect when there are too many patches already.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(PATCH_BYTES).enumerate() {
            let Some(patch) = self.patches.get_mut(self.patch_count as usize) else { return };
            patch.at = (at + n * PATCH_BYTES) as u16;
            patch.len = piece.len() as u16;
            patch.bytes[..piece.len()].copy_from_slice(piece);
            self.patch_count += 1;
        }
    }
}
