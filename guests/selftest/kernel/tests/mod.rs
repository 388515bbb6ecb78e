//! The tests, family by family, in the order in which they build on each other.

use crate::harness::Test;

#[macro_use]
mod exec;
mod integer;

/// All tests.
pub const FAMILIES: &[&[Test]] = &[integer::alu::TESTS];
