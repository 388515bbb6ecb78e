//! What the host's CPU does well.

use std::arch::x86_64::__cpuid;

/// Is PEXT an instruction like others? AMD had it in microcode until Zen 3 (family 19h), as has Hygon's
/// Zen (18h): some two hundred cycles with masks like ours (AMD, Software Optimization Guide for Family 17h).
pub(crate) fn fast_extract() -> bool {
    let vendor = __cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    let version = __cpuid(1).eax;
    let family = (version >> 8 & 15) + (version >> 20 & 255);
    match name.as_flattened() {
        b"AuthenticAMD" | b"HygonGenuine" => family >= 0x19,
        _ => true,
    }
}
