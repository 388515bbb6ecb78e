//! The host's CPU: which psABI level, and what the fast engines want of it.

use std::arch::is_x86_feature_detected as has;
use std::fs;

use super::finding::{Finding, Status};

/// AT_HWCAP2 (getauxval(3)), and its bit for RDFSBASE and the like in user mode (asm/hwcap2.h).
const AT_HWCAP2: u64 = 26;
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// The psABI level, which `--cpu host` builds on.
pub fn level() -> Finding {
    let level = detect();
    let meaning = match level {
        1 => "Guests that want more than SSE2 (`--cpu x86-64-v2`) do not run here.",
        _ => "Guests can be given any CPU up to `--cpu x86-64-v2`, and `--cpu host`.",
    };
    let finding = Finding::good("cpu-level", "CPU level", format!("x86-64-v{level}, {}", model()), meaning);
    if level == 1 {
        finding.but(Status::Limited, "use `--cpu x86-64-v1` for guests that shall run here")
    } else {
        finding
    }
}

/// The System V psABI for x86-64, table 3.1; LAHF in long mode goes with the rest of v2.
fn detect() -> u8 {
    let v2 = has!("cmpxchg16b")
        && has!("popcnt")
        && has!("sse3")
        && has!("ssse3")
        && has!("sse4.1")
        && has!("sse4.2");
    let v3 = has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe")
        && has!("xsave");
    let v4 = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    match (v2, v3, v4) {
        (true, true, true) => 4,
        (true, true, false) => 3,
        (true, false, _) => 2,
        (false, ..) => 1,
    }
}

fn model() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.trim_start().strip_prefix(':'));
    name.map_or("unnamed", str::trim).to_owned()
}

/// BMI2 and FSGSBASE.
pub fn features() -> Finding {
    let fsgsbase =
        fs::read("/proc/self/auxv").is_ok_and(|auxv| auxiliary(&auxv, AT_HWCAP2) & HWCAP2_FSGSBASE != 0);
    let wanted = [("BMI2", has!("bmi2")), ("FSGSBASE", fsgsbase)];
    let names = |there: bool| {
        let names: Vec<_> = wanted.iter().filter(|(_, is)| *is == there).map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let (there, lacking) = (names(true), names(false));
    let (id, name) = ("cpu-features", "CPU features");
    if lacking.is_empty() {
        return Finding::good(
            id,
            name,
            there,
            "An engine that translates guest code can use its fastest form here.",
        );
    }
    let found = if there.is_empty() { format!("no {lacking}") } else { format!("{there}; no {lacking}") };
    Finding::good(id, name, found, "An engine that translates guest code is somewhat slower here.").but(
        Status::Limited,
        "FSGSBASE wants Linux 5.9 or later without `nofsgsbase`; BMI2 a CPU since about 2013",
    )
}

/// A value of the auxiliary vector, or 0.
fn auxiliary(vector: &[u8], kind: u64) -> u64 {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    let mut pairs = vector.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
    pairs.find(|(key, _)| *key == kind).map_or(0, |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auxiliary_vector() {
        let vector: Vec<u8> =
            [16, 0xff, AT_HWCAP2, 3, 0, 0].iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        assert_eq!(auxiliary(&vector, AT_HWCAP2), 3);
        assert_eq!(auxiliary(&vector[..20], AT_HWCAP2), 0);
    }

    #[test]
    fn the_level_agrees_with_the_flags() {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
        let flag = |name| cpuinfo.contains(&format!(" {name} "));
        assert_eq!(detect() >= 3, flag("avx2") && flag("bmi2") && flag("fma") && flag("movbe"));
        assert_eq!(detect() >= 2, flag("sse4_2") && flag("popcnt") && flag("cx16"));
    }
}
