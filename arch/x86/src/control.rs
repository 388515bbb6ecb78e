//! The bits of the control registers (SDM vol. 3, 2.5 and 2.6) and of EFER (vol. 4).

/// CR0.
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1 << 0;
    /// Monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// Emulation: no x87.
    pub const EM: u64 = 1 << 2;
    /// Task switched: the FPU's state is another task's.
    pub const TS: u64 = 1 << 3;
    /// Extension type: always set.
    pub const ET: u64 = 1 << 4;
    /// Numeric errors are reported as #MF.
    pub const NE: u64 = 1 << 5;
    /// Write protection holds for the supervisor too.
    pub const WP: u64 = 1 << 16;
    /// Alignment mask: AC works at CPL 3.
    pub const AM: u64 = 1 << 18;
    /// Not write-through.
    pub const NW: u64 = 1 << 29;
    /// Cache disable.
    pub const CD: u64 = 1 << 30;
    /// Paging.
    pub const PG: u64 = 1 << 31;
    /// Every bit that exists.
    pub const ALL: u64 = PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG;
}

/// CR4.
pub mod cr4 {
    /// Virtual-8086 extensions.
    pub const VME: u64 = 1 << 0;
    /// Protected-mode virtual interrupts.
    pub const PVI: u64 = 1 << 1;
    /// RDTSC is privileged.
    pub const TSD: u64 = 1 << 2;
    /// Debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// 4 MiB pages.
    pub const PSE: u64 = 1 << 4;
    /// Physical-address extension.
    pub const PAE: u64 = 1 << 5;
    /// Machine check.
    pub const MCE: u64 = 1 << 6;
    /// Global pages.
    pub const PGE: u64 = 1 << 7;
    /// RDPMC at any level.
    pub const PCE: u64 = 1 << 8;
    /// FXSAVE and SSE.
    pub const OSFXSR: u64 = 1 << 9;
    /// #XM instead of #UD.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// SGDT and friends are privileged.
    pub const UMIP: u64 = 1 << 11;
    /// 5-level paging.
    pub const LA57: u64 = 1 << 12;
    /// VMX.
    pub const VMXE: u64 = 1 << 13;
    /// RDFSBASE and friends.
    pub const FSGSBASE: u64 = 1 << 16;
    /// Process-context identifiers.
    pub const PCIDE: u64 = 1 << 17;
    /// XSAVE and XGETBV.
    pub const OSXSAVE: u64 = 1 << 18;
    /// The supervisor does not execute user pages.
    pub const SMEP: u64 = 1 << 20;
    /// The supervisor does not touch user pages.
    pub const SMAP: u64 = 1 << 21;
    /// Protection keys.
    pub const PKE: u64 = 1 << 22;
}

/// EFER (MSR C000_0080h).
pub mod efer {
    /// SYSCALL and SYSRET.
    pub const SCE: u64 = 1 << 0;
    /// Long mode enabled.
    pub const LME: u64 = 1 << 8;
    /// Long mode active: set by the CPU when paging goes on.
    pub const LMA: u64 = 1 << 10;
    /// No-execute pages.
    pub const NXE: u64 = 1 << 11;
    /// Secure virtual machine (AMD).
    pub const SVME: u64 = 1 << 12;
    /// FXSAVE without XMM (AMD fast FXSAVE).
    pub const FFXSR: u64 = 1 << 14;
}

/// DR6 and DR7 (SDM vol. 3, 18.2).
pub mod debug {
    /// DR6 bits that are always set.
    pub const DR6_FIXED: u64 = 0xffff_0ff0;
    /// DR6: debug-register access detected.
    pub const DR6_BD: u64 = 1 << 13;
    /// DR6: single step.
    pub const DR6_BS: u64 = 1 << 14;
    /// DR6: task switch.
    pub const DR6_BT: u64 = 1 << 15;
    /// DR7 bit that is always set.
    pub const DR7_FIXED: u64 = 1 << 10;
    /// DR7: general detect.
    pub const DR7_GD: u64 = 1 << 13;
}
