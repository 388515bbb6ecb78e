//! The reference CPU on any bytes in any mode.

use super::Target;
use crate::vcpu;

/// The target.
pub const TARGET: Target = Target {
    name: "interpreter",
    about: "any code, registers and page tables, in every mode, on the reference CPU",
    longest: vcpu::LONGEST,
    run,
    seeds: vcpu::seeds,
};

fn run(input: &[u8]) {
    let _ = vcpu::run(&interpret::Interpreter, input);
}
