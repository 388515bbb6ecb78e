//! What a workload is: some work that comes in rounds, each of them the same.
//!
//! A round takes the host a few milliseconds, begins where the one before began, and gives the digest of what it computed: the same
//! in each round, on every machine. So a slow machine may do fewer rounds than a fast one, and the time of a round is still the
//! time of the same work.

use std::fmt;
use std::io;

/// A round: does the work, and gives its digest.
pub type Round = Box<dyn FnMut() -> io::Result<u64>>;

/// What a workload asks for most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Integer code and control flow, in the caches.
    Compute,
    /// Floating point and vectors, in the caches.
    Simd,
    /// Both, with the instructions of x86-64-v3.
    V3,
    /// Memory: its bandwidth and its latency.
    Memory,
    /// The operating system's kernel.
    Kernel,
    /// Programs of the distribution's own.
    Programs,
}

impl Class {
    /// All, in the order of the list.
    pub const ALL: [Self; 6] =
        [Self::Compute, Self::Simd, Self::V3, Self::Memory, Self::Kernel, Self::Programs];

    /// As one writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Simd => "simd",
            Self::V3 => "v3",
            Self::Memory => "memory",
            Self::Kernel => "kernel",
            Self::Programs => "programs",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A workload.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name, one word.
    pub name: &'static str,
    /// Its class.
    pub class: Class,
    /// What a round does, in a line.
    pub about: &'static str,
    /// Makes ready what the rounds need; `Unsupported` where the processor lacks it.
    pub start: fn() -> io::Result<Round>,
}

/// All workloads, by class.
pub fn all() -> impl Iterator<Item = &'static Workload> {
    [
        crate::integer::WORKLOADS,
        crate::float::WORKLOADS,
        crate::v3::WORKLOADS,
        crate::memory::WORKLOADS,
        crate::kernel::WORKLOADS,
        crate::programs::WORKLOADS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_words_and_each_is_there_once() {
        let names: Vec<_> = all().map(|workload| workload.name).chain(Class::ALL.map(Class::name)).collect();
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn rounds_of_computation_are_all_the_same() {
        for workload in all().filter(|workload| matches!(workload.class, Class::Compute | Class::Simd)) {
            let (mut one, mut other) = ((workload.start)().unwrap(), (workload.start)().unwrap());
            let digest = one().unwrap();
            assert_eq!([one().unwrap(), other().unwrap()], [digest; 2], "{}", workload.name);
            assert_ne!(digest, 0, "{}", workload.name);
        }
    }

    #[test]
    fn rounds_of_the_kernels_work_are_all_the_same() {
        for workload in all().filter(|workload| matches!(workload.class, Class::Memory | Class::Kernel)) {
            let mut round = (workload.start)().unwrap();
            assert_eq!(round().unwrap(), round().unwrap(), "{}", workload.name);
        }
    }
}
