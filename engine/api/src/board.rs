//! What a vCPU asks of the board it sits on.

use base::GuestPhys;

/// The width of a port or MMIO access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Width {
    /// One byte.
    Byte = 1,
    /// Two.
    Word = 2,
    /// Four.
    Dword = 4,
    /// Eight; MMIO only.
    Qword = 8,
}

impl Width {
    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self as u64
    }

    /// The width of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        Some(match bytes {
            1 => Self::Byte,
            2 => Self::Word,
            4 => Self::Dword,
            8 => Self::Qword,
            _ => return None,
        })
    }

    /// All ones: what a bus floats to when nobody answers.
    pub const fn ones(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// The board knows no such MSR, or not this value: #GP for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the board has no such MSR or refuses the value")]
pub struct MsrDenied;

/// One vCPU's view of the board. All methods are called on the vCPU's own thread and may lock chips.
///
/// An access that no chip claims reads as all ones and writes to nowhere. Accesses never fail towards the
/// engine: a chip that dislikes one logs it (with a bound) and ignores it.
pub trait Board: Send + Sync {
    /// IN. `width` is at most [`Width::Dword`].
    fn port_in(&self, port: u16, width: Width) -> u32;
    /// OUT.
    fn port_out(&self, port: u16, width: Width, value: u32);
    /// A load from a guest-physical address that is not RAM.
    fn mmio_read(&self, at: GuestPhys, width: Width) -> u64;
    /// A store there.
    fn mmio_write(&self, at: GuestPhys, width: Width, value: u64);
    /// RDMSR of a register that belongs to the board: IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC. The
    /// deadline is in the ticks of [`Board::tsc`] here and in [`Board::msr_write`]; zero means none.
    ///
    /// # Errors
    /// [`MsrDenied`] means #GP(0).
    fn msr_read(&self, index: u32) -> Result<u64, MsrDenied>;
    /// WRMSR of such a register.
    ///
    /// # Errors
    /// [`MsrDenied`] means #GP(0).
    fn msr_write(&self, index: u32, value: u64) -> Result<(), MsrDenied>;
    /// The local APIC's interrupt to deliver now, acknowledged (moved from IRR to ISR), or the 8259's
    /// through LINT0. `None` if there is none above the task priority. The engine calls it only when it
    /// can deliver.
    fn take_interrupt(&self) -> Option<u8>;
    /// Is there one that `take_interrupt` would give? For HLT and for engines that need to know beforehand.
    fn interrupt_waits(&self) -> bool;
    /// CR8: bits 7–4 of the task priority.
    fn task_priority(&self) -> u8;
    /// Sets it; only the low four bits of `priority` are used.
    fn set_task_priority(&self, priority: u8);
    /// The time-stamp counter before IA32_TSC_ADJUST: ticks once a virtual nanosecond.
    fn tsc(&self) -> u64;
}
