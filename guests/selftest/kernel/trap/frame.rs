//! The state at a trap.

use core::fmt;

/// What the stubs save; also what they restore from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    pub dr6: u64,
    pub cr0: u64,
    pub cr4: u64,
    pub cr2: u64,
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// A frame that ended a [`catch`](super::catch).
pub type Trap = Frame;

impl Frame {
    /// All zero.
    pub const fn empty() -> Self {
        // SAFETY: integers only.
        unsafe { core::mem::zeroed() }
    }

    /// True if this is `vector` with error code `error`.
    pub fn is(&self, vector: u8, error: u64) -> bool {
        self.vector == u64::from(vector) && self.error == error
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 20] = [
            "#DE",
            "#DB",
            "NMI",
            "#BP",
            "#OF",
            "#BR",
            "#UD",
            "#NM",
            "#DF",
            "vector 9",
            "#TS",
            "#NP",
            "#SS",
            "#GP",
            "#PF",
            "vector 15",
            "#MF",
            "#AC",
            "#MC",
            "#XM",
        ];
        if self.vector == super::vector::PANIC {
            return write!(f, "panic");
        }
        match NAMES.get(self.vector as usize) {
            Some(name) => write!(f, "{name}")?,
            None => write!(f, "vector {:#x}", self.vector)?,
        }
        write!(f, " error {:#x} at {:#x}:{:#x}", self.error, self.cs, self.rip)?;
        if self.vector == super::vector::PF.into() {
            write!(f, " cr2 {:#x}", self.cr2)?;
        }
        Ok(())
    }
}
