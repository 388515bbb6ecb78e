//! What the control registers amount to, worked out once per change instead of once per instruction.

use x86::control::{cr0, cr4, efer};
use x86::{CpuState, SegmentRegister, access, flags};

/// How linear addresses are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    /// Linear is physical.
    Off,
    /// Two levels of 4-byte entries.
    Legacy,
    /// Three levels of 8-byte entries.
    Pae,
    /// Four levels.
    Long,
}

/// Whose rights an access has. The first three have a TLB of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum View {
    /// CPL 3.
    User = 0,
    /// CPL 0–2; under SMAP user pages are out of reach.
    Supervisor = 1,
    /// CPL 0–2 with AC set under SMAP: user pages are in reach.
    SupervisorAc = 2,
    /// CPL 3 with alignment checking: never cached, every access takes the long way.
    UserAligned = 3,
}

/// Facts derived from [`CpuState`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// 16, 32 or 64: the default size of code.
    pub code_bits: u8,
    /// Long mode is active (64-bit or compatibility code).
    pub long: bool,
    /// Protected mode (long mode included).
    pub protected: bool,
    /// Virtual-8086 mode.
    pub v86: bool,
    /// Cuts the instruction pointer to its size.
    pub ip_mask: u64,
    /// Cuts the stack pointer to its size.
    pub stack_mask: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// Whose rights ordinary data accesses have.
    pub view: View,
    /// How addresses are translated.
    pub paging: Paging,
    /// Instructions are executed one by one: single step or debug breakpoints.
    pub stepping: bool,
}

impl Mode {
    /// 64-bit code.
    #[inline(always)]
    pub fn is_64(&self) -> bool {
        self.code_bits == 64
    }

    /// Works the facts out. `rflags` has all flags that matter here (VM, AC, TF) in `state`.
    pub fn of(state: &CpuState) -> Self {
        let cs = state.segment(SegmentRegister::Cs);
        let protected = state.cr0 & cr0::PE != 0;
        let long = state.msrs.efer & efer::LMA != 0;
        let v86 = protected && state.rflags & flags::VM != 0;
        let code_bits = match () {
            () if long && cs.access & access::LONG != 0 => 64,
            () if protected && !v86 && cs.access & access::DB != 0 => 32,
            // Unreal mode: a big code segment loaded in protected mode stays big.
            () if !protected && cs.access & access::DB != 0 => 32,
            () => 16,
        };
        let ss = state.segment(SegmentRegister::Ss);
        let stack_mask = match () {
            () if code_bits == 64 => u64::MAX,
            () if !v86 && ss.access & access::DB != 0 => 0xffff_ffff,
            () => 0xffff,
        };
        let cpl = match () {
            () if !protected => 0,
            () if v86 => 3,
            () => state.cpl(),
        };
        let paging = match () {
            () if state.cr0 & cr0::PG == 0 => Paging::Off,
            () if long => Paging::Long,
            () if state.cr4 & cr4::PAE != 0 => Paging::Pae,
            () => Paging::Legacy,
        };
        let ac = state.rflags & flags::AC != 0;
        let view = match cpl {
            3 if ac && state.cr0 & cr0::AM != 0 => View::UserAligned,
            3 => View::User,
            _ if ac && state.cr4 & cr4::SMAP != 0 => View::SupervisorAc,
            _ => View::Supervisor,
        };
        Self {
            code_bits,
            long,
            protected,
            v86,
            ip_mask: match code_bits {
                64 => u64::MAX,
                32 => 0xffff_ffff,
                // A 16-bit segment can still be entered by a 32-bit jump; the limit check catches it.
                _ => 0xffff,
            },
            stack_mask,
            cpl,
            view,
            paging,
            stepping: state.rflags & flags::TF != 0 || state.dr7 & 0xff != 0,
        }
    }
}
