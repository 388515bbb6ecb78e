//! Memory: how much of it a second, and how soon.

mod chase;
mod stream;
mod update;

use crate::workload::{Class, Workload};

const fn memory(
    name: &'static str,
    about: &'static str,
    start: fn() -> std::io::Result<crate::workload::Round>,
) -> Workload {
    Workload { name, class: Class::Memory, about, start }
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    memory("stream", "copy, scale, add, triad over 48 MiB", stream::start),
    memory("chase-l1", "pointers in 16 KiB", || chase::start(16 << 10, 400_000)),
    memory("chase-l2", "pointers in 256 KiB", || chase::start(256 << 10, 200_000)),
    memory("chase-ram", "pointers in 64 MiB", || chase::start(64 << 20, 30_000)),
    memory("update", "random words of 64 MiB changed, and changed back", update::start),
];
