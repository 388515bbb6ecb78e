//! Exceptions (SDM vol. 3, chapter 6).

use serde::{Deserialize, Serialize};

/// The architecture's exception vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Vector {
    /// #DE, divide error.
    DivideError = 0,
    /// #DB, debug.
    Debug = 1,
    /// Non-maskable interrupt.
    Nmi = 2,
    /// #BP, INT3.
    Breakpoint = 3,
    /// #OF, INTO.
    Overflow = 4,
    /// #BR, BOUND.
    BoundRange = 5,
    /// #UD, invalid opcode.
    InvalidOpcode = 6,
    /// #NM, no FPU or its state is another task's.
    DeviceNotAvailable = 7,
    /// #DF, double fault.
    DoubleFault = 8,
    /// #TS, invalid TSS.
    InvalidTss = 10,
    /// #NP, segment not present.
    SegmentNotPresent = 11,
    /// #SS, stack fault.
    StackFault = 12,
    /// #GP, general protection.
    GeneralProtection = 13,
    /// #PF, page fault.
    PageFault = 14,
    /// #MF, x87 error.
    X87Error = 16,
    /// #AC, alignment check.
    AlignmentCheck = 17,
    /// #MC, machine check.
    MachineCheck = 18,
    /// #XM, SIMD floating point.
    SimdError = 19,
}

impl Vector {
    /// Does its delivery push an error code?
    pub const fn has_error_code(self) -> bool {
        matches!(
            self,
            Self::DoubleFault
                | Self::InvalidTss
                | Self::SegmentNotPresent
                | Self::StackFault
                | Self::GeneralProtection
                | Self::PageFault
                | Self::AlignmentCheck
        )
    }

    /// Is it contributory: does a second one during its delivery make a double fault (SDM table 6-4)?
    pub const fn is_contributory(self) -> bool {
        matches!(
            self,
            Self::DivideError
                | Self::InvalidTss
                | Self::SegmentNotPresent
                | Self::StackFault
                | Self::GeneralProtection
        )
    }
}

/// The error code of an exception that has one.
pub type ErrorCode = u32;

/// The error code of #PF (SDM vol. 3, 4.7).
pub mod page_fault {
    /// The page was present: a protection violation.
    pub const PRESENT: u32 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// The access was made at user privilege.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit was set in an entry.
    pub const RESERVED: u32 = 1 << 3;
    /// The access was an instruction fetch.
    pub const FETCH: u32 = 1 << 4;
}

/// An exception with all that its delivery needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Which.
    pub vector: Vector,
    /// Zero where the vector has no error code.
    pub error_code: ErrorCode,
    /// For #PF: what goes into CR2 on delivery. For #DB: the bits to set in DR6.
    pub payload: u64,
}

impl Exception {
    /// An exception without error code.
    pub const fn new(vector: Vector) -> Self {
        Self { vector, error_code: 0, payload: 0 }
    }

    /// An exception with an error code.
    pub const fn with_code(vector: Vector, error_code: ErrorCode) -> Self {
        Self { vector, error_code, payload: 0 }
    }

    /// #GP with this error code.
    pub const fn gp(error_code: ErrorCode) -> Self {
        Self::with_code(Vector::GeneralProtection, error_code)
    }

    /// #UD.
    pub const fn ud() -> Self {
        Self::new(Vector::InvalidOpcode)
    }

    /// #PF at a linear address.
    pub const fn page_fault(address: u64, error_code: ErrorCode) -> Self {
        Self { vector: Vector::PageFault, error_code, payload: address }
    }
}
