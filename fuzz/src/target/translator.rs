//! The binary translator on any bytes in any mode; most of its own work is in 64-bit code.

use super::Target;
use crate::vcpu;

/// The target.
pub const TARGET: Target = Target {
    name: "translator",
    about: "the same on the binary translator",
    longest: vcpu::LONGEST,
    run,
    seeds: vcpu::seeds,
};

fn run(input: &[u8]) {
    // On a host that it does not run on there is nothing to feed; `ringfence-fuzz` says so.
    if translate::Translator::supported().is_ok() {
        let _ = vcpu::run(&translate::Translator, input);
    }
}
