//! The frame: what translated code and Rust share about one vCPU.
//!
//! Translated code finds it at a negative offset from GS, because GS holds the base of the present context's shadow
//! map and each context's map is preceded by an alias of the same physical page:
//!
//! ```text
//!      GS - JUMP_CACHE - 4096        GS - 4096          GS
//!   ───┬───────────────────────────────┬──────────────────┬──────────────────────────────
//!      │ jump cache of the context     │ frame (alias)    │ shadow map: reads, writes   
//!   ───┴───────────────────────────────┴──────────────────┴──────────────────────────────
//! ```

use crate::memory::Mapping;

/// Bytes before GS that the frame takes.
pub(crate) const FRAME_BYTES: usize = 4096;

/// What translated code and Rust share.
#[repr(C)]
pub(crate) struct Frame {
    /// Guest registers while Rust runs. In translated code only 13, 14 and 15 live here.
    pub gpr: [u64; 16],
    /// Arithmetic flags while Rust runs.
    pub flags: u64,
    /// Guest-virtual page of the code being executed.
    pub page: u64,
    /// Where the poll at the head of each block reads: [`Frame::calm`], or nowhere to make it fault.
    pub poll: u64,
    /// FS base of the guest.
    pub fs_base: u64,
    /// GS base of the guest.
    pub gs_base: u64,
    /// Scratch of the flag-saving sequences.
    pub saved_flags: u64,
    /// Elements that remain of a repeated string instruction after the present piece.
    pub rest: u64,
    /// Keeps a scratch register within one sequence.
    pub spare: u64,
    /// The target of an indirect call while its return address is pushed.
    pub target: u64,
    /// What lay where the last indirect call pushed its return address: if the target turns out to be no
    /// address, the call has not happened.
    pub under_call: u64,
    /// IF, as RFLAGS has it.
    pub interrupts: u64,
    /// AC, as RFLAGS has it.
    pub ac: u64,
    /// GS base of the supervisor's context with AC clear, and with AC set.
    pub views: [u64; 2],
    /// GS base of the user's context.
    pub user_view: u64,
    /// Where SYSCALL leads; zero where SYSCALL and SYSRET are the interpreter's.
    pub call_target: u64,
    /// The flags that SYSCALL keeps, of those in `system_flags`.
    pub call_keeps: u64,
    /// CPL 3. Code that executes SYSCALL or SYSRET changes it.
    pub user: u64,
    /// SYSCALLs executed so far.
    pub calls: u64,
    /// SYSCALL or SYSRET was executed.
    pub switched: u64,
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// ES, DS, FS, GS, CS and SS.
    pub selectors: [u64; 6],
    /// CS and SS as SYSCALL loads them, and as SYSRET to 64-bit code does.
    pub call_selectors: [[u64; 2]; 2],
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// The time-stamp counter, see [`Counter`](crate::counter::Counter): what to add to the host's,
    pub tsc_minus_from: u64,
    /// the rate,
    pub tsc_scale: u64,
    /// and the guest's at that time.
    pub tsc_at: u64,
    /// RFLAGS without the arithmetic flags, IF and AC.
    pub system_flags: u64,
    /// Not zero: an interrupt waits for IF.
    pub event_waits: u64,
    /// Where STI reads: [`Frame::calm`], or nowhere to make it fault because an interrupt waits.
    pub sti_poll: u64,
    /// What to add to a sum to tell whether it lies in the guard.
    pub minus_guard: u64,
    /// The present context's table for writes: what `C` holds between instructions.
    pub write_table: u64,
    /// Its table for 16 bytes.
    pub wide_table: u64,
    /// From the table for reads to that for writes, and twice that.
    pub table_bytes: [u64; 2],
    /// Masks for PEXT, by the logarithm of the access size: the page number, and the bits below that must be
    /// zero.
    pub page_and_low: [u64; 5],
    /// Masks for PEXT: the offset in the page; bit 12; the bits above that, up to the period of guest memory.
    pub in_page: u64,
    /// See `in_page`.
    pub carry: u64,
    /// See `in_page`.
    pub beyond: u64,
    /// The routine that leaves translated code.
    pub leave: u64,
    /// Why translated code was left: an [`ExitKind`].
    pub exit_kind: u64,
    /// What belongs to it.
    pub exit_value: u64,
    /// Host stack pointer to return to.
    pub host_rsp: u64,
    /// GS base to run under: the context.
    pub context: u64,
    /// Where to enter.
    pub entry: u64,
    /// Host MXCSR while the guest runs.
    pub host_mxcsr: u32,
    /// Bit 0: the guest has YMM. Bit 1: the host has.
    pub wide: u32,
    /// Address of the x87/SSE/AVX image (`x86::Fpu`).
    pub fpu: u64,
    /// The host address at which a signal found translated code.
    pub fault_at: u64,
    /// What `poll` points at in Rust's alias, by an address that stands here.
    pub calm: Line,
    /// Where a remembered return that is none leads.
    pub no_return: u64,
    /// The returns expected by supervisor code, and by user code.
    pub rings: [Ring; 2],
}

/// A word in a cache line of its own. Caches whose ways are predicted by the address (AMD's) lose a line that is
/// read by two aliases in turn, as one with `poll` and `calm` would be.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub u64);

/// Returns remembered at each privilege level.
pub(crate) const RING: usize = 16;
/// Bytes of a remembered return; a ring's position is a multiple of this, below 256.
pub(crate) const RING_STEP: i32 = 16;

/// Where a call is expected to return to.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Return {
    /// The complement of the guest's address.
    pub not_address: u64,
    /// Where to go on in the code cache.
    pub host: u64,
}

/// The returns expected, see [`emit::ring`](crate::emit).
#[repr(C)]
pub(crate) struct Ring {
    /// The last call's place in bytes.
    pub top: u64,
    pub returns: [Return; RING],
}

const _: () = assert!(RING * RING_STEP as usize == 256 && size_of::<Return>() == RING_STEP as usize);
const _: () = assert!(size_of::<Frame>() <= FRAME_BYTES);

/// Why translated code was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum ExitKind {
    /// The instruction at this offset in the page is the interpreter's.
    Interpret = 0,
    /// A direct branch whose target is not translated yet: the number of the link.
    Link = 1,
    /// A branch to the address in R15 that the jump cache does not know. The value is the offset of the
    /// branching instruction.
    Indirect = 2,
    /// A signal: `fault_at` says where.
    Fault = 3,
    /// Straight-line code goes on at this offset, untranslated.
    Continue = 4,
    /// A checked access found no map entry, or crosses a page; `fault_at` says where.
    Missed = 6,
    /// As `Interpret`, and the instruction uses x87, MMX or SSE state.
    InterpretFpu = 5,
    /// The reference CPU executes an instruction that was prepared for it: its number.
    Call = 7,
}

/// The offset of a field from GS.
macro_rules! at {
    ($field:ident) => {
        (std::mem::offset_of!($crate::frame::Frame, $field) as i32) - $crate::frame::FRAME_BYTES as i32
    };
}
pub(crate) use at;

/// The offset from GS of a guest register in the frame.
pub(crate) fn gpr_at(number: u8) -> i32 {
    at!(gpr) + 8 * i32::from(number)
}

/// The page that holds the frame: a file, so that it can be mapped into every context.
pub(crate) struct FramePage {
    file: std::fs::File,
    mapping: Mapping,
}

impl FramePage {
    /// A zeroed frame.
    pub fn new() -> std::io::Result<Self> {
        let file = crate::memory::anonymous_file(c"ringfence-frame", FRAME_BYTES)?;
        let mapping = Mapping::shared(&file, FRAME_BYTES)?;
        Ok(Self { file, mapping })
    }

    /// The file to alias.
    pub fn file(&self) -> &std::fs::File {
        &self.file
    }

    /// The frame through Rust's own alias. Translated code does not run while Rust looks at it.
    pub fn frame(&mut self) -> &mut Frame {
        self.mapping.as_mut()
    }

    /// Its address, for other threads that change `poll`.
    pub fn address(&self) -> *mut Frame {
        self.mapping.start().cast()
    }
}
