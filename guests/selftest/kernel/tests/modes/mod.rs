//! The CPU outside of 64-bit mode: compatibility mode, protected mode, real mode.

pub mod compat;
pub mod gates32;
pub mod pae;
pub mod paging32;
pub mod protected;
pub mod protected16;
pub mod real;
pub mod rings32;
pub mod segments32;

/// Fails unless an excursion ended with a vector and error code.
macro_rules! check_fault {
    ($ended:expr, $vector:ident($error:expr), $($what:tt)*) => {{
        let ended: $crate::modes::Ended = $ended;
        let want = $crate::trap::vector::$vector;
        match ended.fault {
            None => return Err($crate::harness::wrong(format_args!(
                "{}: no fault, expected #{}", format_args!($($what)*), stringify!($vector)
            ))),
            Some(fault) if fault.vector != u32::from(want) || fault.error != $error as u32 => {
                return Err($crate::harness::wrong(format_args!(
                    "{}: vector {} error {:#x} at {:#x}:{:#x}, expected #{} error {:#x}",
                    format_args!($($what)*), fault.vector, fault.error, fault.cs, fault.eip, stringify!($vector), $error
                )));
            }
            Some(fault) => fault,
        }
    }};
}
use check_fault;

/// Fails if an excursion ended with a fault; else its registers.
macro_rules! check_end {
    ($ended:expr, $($what:tt)*) => {{
        let ended: $crate::modes::Ended = $ended;
        if let Some(fault) = ended.fault {
            return Err($crate::harness::wrong(format_args!(
                "{}: vector {} error {:#x} at {:#x}:{:#x} cr2 {:#x}",
                format_args!($($what)*), fault.vector, fault.error, fault.cs, fault.eip, fault.cr2
            )));
        }
        ended.registers
    }};
}
use check_end;
