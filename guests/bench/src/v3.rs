//! The same work with the instructions of x86-64-v3 (AVX2, FMA, BMI), where the processor has them: as programs do that choose their code by the
//! processor. Where it has not, the workload is absent.

#![allow(unsafe_code)] // calls of functions with more instructions than the program may count on

use std::io;
use std::is_x86_feature_detected as has;

use crate::float::{blend, mandelbrot, matrix};
use crate::integer::sha256;
use crate::workload::{Class, Round, Workload};

const fn v3(name: &'static str, about: &'static str, start: fn() -> io::Result<Round>) -> Workload {
    Workload { name, class: Class::V3, about, start }
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    v3("matrix-v3", "matrix, by AVX2 and FMA", || start(fused_matrix)),
    v3("mandelbrot-v3", "mandelbrot, by AVX2", || start(wide_mandelbrot)),
    v3("blend-v3", "blend, by AVX2", || start(wide_blend)),
    v3("sha256-v3", "sha256, by BMI", || start(short_sha256)),
];

/// Makes rounds that take all of v3.
fn start(rounds: fn() -> Round) -> io::Result<Round> {
    if has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") {
        Ok(rounds())
    } else {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the processor has no AVX2, FMA and BMI"))
    }
}

fn fused_matrix() -> Round {
    matrix::rounds(|a, b, out| {
        // SAFETY: `start` saw that AVX2 and FMA are there.
        unsafe { product(a, b, out) }
    })
}

fn wide_mandelbrot() -> Round {
    mandelbrot::rounds(|x, y| {
        // SAFETY: `start` saw that AVX2 is there.
        unsafe { escape(x, y) }
    })
}

fn wide_blend() -> Round {
    blend::rounds(|under, over, alpha, out| {
        // SAFETY: `start` saw that AVX2 is there.
        unsafe { mix(under, over, alpha, out) }
    })
}

fn short_sha256() -> Round {
    sha256::rounds(|constants, state, block| {
        // SAFETY: `start` saw that BMI is there.
        unsafe { hash(constants, state, block) }
    })
}

#[target_feature(enable = "avx2,fma")]
fn product(a: &matrix::Matrix, b: &matrix::Matrix, out: &mut matrix::Matrix) {
    matrix::product(a, b, out, |x, y, sum| x.mul_add(y, sum));
}

#[target_feature(enable = "avx2")]
fn escape(x: [f32; mandelbrot::LANES], y: f32) -> [u32; mandelbrot::LANES] {
    mandelbrot::escape(x, y)
}

#[target_feature(enable = "avx2")]
fn mix(under: &[u8], over: &[u8], alpha: &[u8], out: &mut [u8]) {
    blend::blend(under, over, alpha, out);
}

#[target_feature(enable = "bmi1,bmi2")]
fn hash(constants: &sha256::Constants, state: &mut [u32; 8], block: &[u8; 64]) {
    constants.block(state, block);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn the_results_are_those_of_the_plain_code_unless_fused() {
        let digest = |name: &str| {
            let workload = workload::all().find(|workload| workload.name == name).unwrap();
            (workload.start)().and_then(|mut round| round()).map_err(|error| error.kind())
        };
        for (wide, plain) in [("mandelbrot-v3", "mandelbrot"), ("blend-v3", "blend"), ("sha256-v3", "sha256")]
        {
            match digest(wide) {
                Ok(digest_) => assert_eq!(Ok(digest_), digest(plain), "{wide}"),
                Err(kind) => assert_eq!((kind, has!("avx2")), (io::ErrorKind::Unsupported, false)),
            }
        }
    }
}
