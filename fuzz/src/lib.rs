//! Fuzz targets: everything that reads what a guest, an image or a peer supplies, fed with arbitrary bytes.
//!
//! ```text
//!  seeds (built in, and corpus/<target>/) ──mutate──► input ──► Target::run ──► nothing, or a panic
//!  nothing ──generate──────────────────────────────────┘
//! ```
//!
//! A [`target::Target`] is a function of bytes that must come back: no panic, no overflow (the `fuzz` profile checks
//! arithmetic), no endless loop, no memory without bound. There are two ways to drive them:
//!
//! * [`runner`], the binary of this crate: stable Rust, no instrumentation. An input is a function of the target, a
//!   seed and an index ([`generate`]), so a failure is told by two numbers. Workers are processes of their own,
//!   so that a crash, a hang or a swollen process is a finding, too. `cargo xtask test` runs it for some seconds a target.
//! * `cargo fuzz` with libFuzzer, for those who have a nightly compiler: see the folder `libfuzzer`.

#![deny(missing_docs)]

pub mod corpus;
pub mod generate;
pub mod runner;
pub mod source;
pub mod target;
pub mod vcpu;
pub mod worker;
