//! CPUID, and the features by the names the tests use.

use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// Leaf `leaf`, subleaf `sub`; all zero beyond the highest leaf of the range.
pub fn leaf(leaf: u32, sub: u32) -> CpuidResult {
    let highest = __cpuid_count(leaf & 0xc000_0000, 0).eax;
    if leaf > highest || highest & 0xc000_0000 != leaf & 0xc000_0000 {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    __cpuid_count(leaf, sub)
}

/// One feature bit.
#[derive(Clone, Copy)]
pub struct Feature {
    /// The manual's name.
    pub name: &'static str,
    leaf: u32,
    sub: u32,
    /// 0 to 3 for EAX, EBX, ECX, EDX.
    register: u8,
    bit: u8,
}

impl Feature {
    /// True if this CPU offers the feature.
    pub fn is_offered(self) -> bool {
        let leaf = leaf(self.leaf, self.sub);
        let register = [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx][usize::from(self.register)];
        register >> self.bit & 1 != 0
    }
}

macro_rules! features {
    ($($constant:ident $name:literal $leaf:literal : $sub:literal $register:ident $bit:literal;)*) => {
        $(
            #[doc = $name]
            #[allow(dead_code)]
            pub const $constant: Feature = Feature {
                name: $name, leaf: $leaf, sub: $sub, register: features!(@$register), bit: $bit,
            };
        )*
        /// Every feature named here.
        pub const ALL: &[Feature] = &[$($constant),*];
    };
    (@eax) => { 0 };
    (@ebx) => { 1 };
    (@ecx) => { 2 };
    (@edx) => { 3 };
}

features! {
    FPU "fpu" 0x1:0 edx 0;
    VME "vme" 0x1:0 edx 1;
    DE "de" 0x1:0 edx 2;
    PSE "pse" 0x1:0 edx 3;
    TSC "tsc" 0x1:0 edx 4;
    MSR "msr" 0x1:0 edx 5;
    PAE "pae" 0x1:0 edx 6;
    CX8 "cx8" 0x1:0 edx 8;
    APIC "apic" 0x1:0 edx 9;
    SEP "sep" 0x1:0 edx 11;
    MTRR "mtrr" 0x1:0 edx 12;
    PGE "pge" 0x1:0 edx 13;
    CMOV "cmov" 0x1:0 edx 15;
    PAT "pat" 0x1:0 edx 16;
    CLFLUSH "clflush" 0x1:0 edx 19;
    MMX "mmx" 0x1:0 edx 23;
    FXSR "fxsr" 0x1:0 edx 24;
    SSE "sse" 0x1:0 edx 25;
    SSE2 "sse2" 0x1:0 edx 26;
    SSE3 "sse3" 0x1:0 ecx 0;
    PCLMULQDQ "pclmulqdq" 0x1:0 ecx 1;
    SSSE3 "ssse3" 0x1:0 ecx 9;
    FMA "fma" 0x1:0 ecx 12;
    CX16 "cx16" 0x1:0 ecx 13;
    PCID "pcid" 0x1:0 ecx 17;
    SSE41 "sse4.1" 0x1:0 ecx 19;
    SSE42 "sse4.2" 0x1:0 ecx 20;
    X2APIC "x2apic" 0x1:0 ecx 21;
    MOVBE "movbe" 0x1:0 ecx 22;
    POPCNT "popcnt" 0x1:0 ecx 23;
    TSC_DEADLINE "tsc-deadline" 0x1:0 ecx 24;
    AES "aes" 0x1:0 ecx 25;
    XSAVE "xsave" 0x1:0 ecx 26;
    AVX "avx" 0x1:0 ecx 28;
    F16C "f16c" 0x1:0 ecx 29;
    RDRAND "rdrand" 0x1:0 ecx 30;
    HYPERVISOR "hypervisor" 0x1:0 ecx 31;
    ARAT "arat" 0x6:0 eax 2;
    FSGSBASE "fsgsbase" 0x7:0 ebx 0;
    BMI1 "bmi1" 0x7:0 ebx 3;
    AVX2 "avx2" 0x7:0 ebx 5;
    SMEP "smep" 0x7:0 ebx 7;
    BMI2 "bmi2" 0x7:0 ebx 8;
    ERMS "erms" 0x7:0 ebx 9;
    INVPCID "invpcid" 0x7:0 ebx 10;
    RDSEED "rdseed" 0x7:0 ebx 18;
    ADX "adx" 0x7:0 ebx 19;
    SMAP "smap" 0x7:0 ebx 20;
    CLFLUSHOPT "clflushopt" 0x7:0 ebx 23;
    CLWB "clwb" 0x7:0 ebx 24;
    SHA "sha" 0x7:0 ebx 29;
    UMIP "umip" 0x7:0 ecx 2;
    PKU "pku" 0x7:0 ecx 3;
    RDPID "rdpid" 0x7:0 ecx 22;
    XSAVEOPT "xsaveopt" 0xd:1 eax 0;
    XSAVEC "xsavec" 0xd:1 eax 1;
    XGETBV1 "xgetbv1" 0xd:1 eax 2;
    XSAVES "xsaves" 0xd:1 eax 3;
    LAHF "lahf_lm" 0x80000001:0 ecx 0;
    ABM "lzcnt" 0x80000001:0 ecx 5;
    PREFETCHW "prefetchw" 0x80000001:0 ecx 8;
    SYSCALL "syscall" 0x80000001:0 edx 11;
    NX "nx" 0x80000001:0 edx 20;
    PDPE1GB "pdpe1gb" 0x80000001:0 edx 26;
    RDTSCP "rdtscp" 0x80000001:0 edx 27;
    LM "lm" 0x80000001:0 edx 29;
    INVARIANT_TSC "invariant-tsc" 0x80000007:0 edx 8;
}

/// True on AMD's and Hygon's CPUs, which differ from Intel's in a few places.
pub fn is_amd() -> bool {
    let ebx = leaf(0, 0).ebx.to_le_bytes();
    &ebx == b"Auth" || &ebx == b"Hygo"
}

/// True on QEMU's interpreter.
pub fn is_tcg() -> bool {
    HYPERVISOR.is_offered() && __cpuid_count(0x4000_0000, 0).ebx.to_le_bytes() == *b"TCGT"
}

/// Physical address width in bits.
pub fn physical_bits() -> u32 {
    match leaf(0x8000_0008, 0).eax & 0xff {
        0 => 36,
        bits => bits,
    }
}

/// The vendor string.
pub fn vendor() -> [u8; 12] {
    let leaf = __cpuid_count(0, 0);
    let mut text = [0; 12];
    for (part, value) in text.chunks_exact_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    text
}

/// The brand string, NUL padded.
pub fn brand() -> [u8; 48] {
    let mut text = [0; 48];
    for (part, number) in text.chunks_exact_mut(16).zip(0x8000_0002u32..) {
        let leaf = leaf(number, 0);
        for (word, value) in part.chunks_exact_mut(4).zip([leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
    text
}
