//! A test and what may come of it.

use core::fmt;

use super::Text;
use crate::trap::Trap;

/// Why a test did not pass.
pub enum Failure {
    /// The machine did something wrong.
    Wrong(Text),
    /// The machine says that it lacks what the test needs.
    Absent(Text),
}

/// What a test returns.
pub type Outcome = Result<(), Failure>;

/// An unexpected trap is a failure, so that `?` reports it.
impl From<Trap> for Failure {
    fn from(trap: Trap) -> Self {
        Self::Wrong(text!("unexpected {trap}"))
    }
}

/// A test by name.
pub struct Test {
    /// `family.noun`.
    pub name: &'static str,
    /// The test.
    pub run: fn() -> Outcome,
}

/// The tests of a family, named after their functions.
macro_rules! family {
    ($family:literal: $($test:ident),* $(,)?) => {
        /// This family's tests.
        pub const TESTS: &[$crate::harness::Test] = &[
            $($crate::harness::Test { name: concat!($family, ".", stringify!($test)), run: $test }),*
        ];
    };
}

/// A failure with a message.
#[cold]
pub fn wrong(message: fmt::Arguments<'_>) -> Failure {
    Failure::Wrong(text!("{message}"))
}

/// A failure by a difference.
#[cold]
pub fn mismatch(what: fmt::Arguments<'_>, got: u64, want: u64) -> Failure {
    Failure::Wrong(text!("{what}: {got:#x}, expected {want:#x}"))
}

/// A test that this machine says it cannot run.
#[cold]
pub fn absent(reason: fmt::Arguments<'_>) -> Failure {
    Failure::Absent(text!("{reason}"))
}

/// Fails the test with a message unless a condition holds.
macro_rules! check {
    ($condition:expr, $($argument:tt)*) => {
        if !$condition {
            return Err($crate::harness::wrong(format_args!($($argument)*)));
        }
    };
}

/// Fails the test unless two values are equal; both are printed in hexadecimal.
macro_rules! check_eq {
    ($got:expr, $want:expr, $($what:tt)*) => {{
        let (got, want) = ($got as u64, $want as u64);
        if got != want {
            return Err($crate::harness::mismatch(format_args!($($what)*), got, want));
        }
    }};
}

/// Ends the test as skipped, with the reason.
macro_rules! absent {
    ($($argument:tt)*) => {
        return Err($crate::harness::absent(format_args!($($argument)*)))
    };
}

/// Ends the test as skipped unless the CPU offers features.
macro_rules! need {
    ($($feature:ident),*) => {
        $(if !$crate::hw::cpuid::$feature.is_offered() {
            absent!("CPUID offers no {}", $crate::hw::cpuid::$feature.name);
        })*
    };
}

/// Ends the test as skipped on QEMU's interpreter, which is known (version 7.2) to be wrong here.
///
/// The message says in what. CPUs were found to do what the test wants.
macro_rules! wrong_in_tcg {
    ($what:literal) => {
        if $crate::hw::cpuid::is_tcg() {
            absent!(concat!("QEMU's TCG ", $what));
        }
    };
}

/// Fails the test unless a body ends with a trap; its value is the trap.
///
/// `expect!(GP(8), body)` wants vector and error code, `expect!(PF, body)` the vector alone.
macro_rules! expect {
    ($vector:ident, $body:expr) => {{
        let want = $crate::trap::vector::$vector;
        match $crate::trap::catch(|| $body) {
            Err(trap) if trap.vector == u64::from(want) => trap,
            Err(trap) => {
                return Err($crate::harness::wrong(format_args!(
                    "{}: {trap}, expected #{}",
                    stringify!($body).get(..48).unwrap_or(stringify!($body)),
                    stringify!($vector)
                )));
            }
            Ok(_) => {
                return Err($crate::harness::wrong(format_args!(
                    "{}: no trap, expected #{}",
                    stringify!($body).get(..48).unwrap_or(stringify!($body)),
                    stringify!($vector)
                )));
            }
        }
    }};
    ($vector:ident($error:expr), $body:expr) => {{
        let trap = expect!($vector, $body);
        check_eq!(
            trap.error,
            $error,
            "error code of {}",
            stringify!($body).get(..48).unwrap_or(stringify!($body))
        );
        trap
    }};
}
