//! The CPU model that a guest sees.

use serde::{Deserialize, Serialize};

/// What CPUID offers: a psABI level, or all that the engine can do on this host. The answer to each leaf
/// is the engine's, because it alone knows what works; a model is a promise that the level does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuLevel {
    /// x86-64-v1: SSE2.
    V1,
    /// x86-64-v2: SSE4.2, POPCNT, CMPXCHG16B.
    V2,
    /// x86-64-v3: AVX2, BMI, FMA.
    V3,
    /// All that the engine can do on this host.
    #[default]
    Host,
}

/// The CPU model: its level and the topology CPUID reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuModel {
    /// The instruction-set level.
    pub level: CpuLevel,
    /// vCPUs in the machine.
    pub vcpus: u32,
}
