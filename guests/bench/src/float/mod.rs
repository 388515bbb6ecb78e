//! Floating point and vectors. The compiler makes vector instructions of the plain loops; of SSE2 on the plainest x86-64.
//!
//! No function of the C library's is used: it picks one by the processor, and a last bit may differ.

pub mod blend;
mod fourier;
pub mod mandelbrot;
pub mod matrix;
mod planets;

use crate::workload::{Class, Workload};

const fn simd(
    name: &'static str,
    about: &'static str,
    start: fn() -> std::io::Result<crate::workload::Round>,
) -> Workload {
    Workload { name, class: Class::Simd, about, start }
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    simd("matrix", "the product of two matrices of doubles", matrix::start),
    simd("planets", "five bodies and their gravity, scalar doubles", planets::start),
    simd("fourier", "a fast Fourier transform there and back", fourier::start),
    simd("mandelbrot", "the set, eight floats at a time", mandelbrot::start),
    simd("blend", "one picture over another, bytes", blend::start),
];
