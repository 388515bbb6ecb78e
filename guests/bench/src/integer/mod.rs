//! Integer code and control flow.
//!
//! The first four are what CoreMark is made of, written anew and measured one by one: lists, matrices of integers, a state machine, a
//! checksum.

mod checksum;
mod compress;
mod dispatch;
mod grid;
mod json;
mod list;
mod numbers;
mod recursion;
pub mod sha256;
mod sort;
mod tree;
mod vm;
mod words;

use crate::workload::{Class, Workload};

const fn compute(
    name: &'static str,
    about: &'static str,
    start: fn() -> std::io::Result<crate::workload::Round>,
) -> Workload {
    Workload { name, class: Class::Compute, about, start }
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    compute("list", "linked lists: find, reverse, merge sort", list::start),
    compute("grid", "matrices of 16-bit integers: multiply, shift, sum", grid::start),
    compute("states", "a state machine over the bytes of numbers", numbers::start),
    compute("checksum", "CRC-32 by table, byte for byte", checksum::start),
    compute("sort", "256 Ki integers", sort::start),
    compute("compress", "LZ77 there and back, unaligned words", compress::start),
    compute("sha256", "rotations and sums in registers", sha256::start),
    compute("vm", "an interpreter of bytecode: indirect jumps", vm::start),
    compute("json", "text into a tree", json::start),
    compute("words", "a hash table of words", words::start),
    compute("tree", "a B-tree: insert, range, remove", tree::start),
    compute("calls", "recursion: calls and returns", recursion::start),
    compute("dispatch", "calls through tables of methods", dispatch::start),
];
