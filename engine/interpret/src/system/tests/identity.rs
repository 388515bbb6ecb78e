//! CPUID and the table of features behind it.

use iced_x86::CpuidFeature;
use x86::Gpr;
use x86::control::cr4;

use super::*;
use crate::system::feature::{FEATURES, cr4_bits, offers};

fn model(level: CpuLevel) -> CpuModel {
    CpuModel { level, vcpus: 4 }
}

fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    String::from_utf8(bytes).unwrap().trim_end_matches('\0').to_owned()
}

#[test]
fn who_we_are() {
    let guest = Guest::long(0);
    let [max, ebx, ecx, edx] = guest.cpu.cpuid(0, 0);
    assert_eq!((max, text(&[ebx, edx, ecx])), (0x1f, "GenuineIntel".to_owned()));
    let brand: Vec<u32> = (0x8000_0002..=0x8000_0004).flat_map(|leaf| guest.cpu.cpuid(leaf, 0)).collect();
    assert_eq!(text(&brand), "Ringfence virtual CPU (host)");
    assert_eq!(text(&guest.cpu.cpuid(0x4000_0000, 0)[1..]), "RingfenceVMM");
    assert_eq!(guest.cpu.cpuid(0x4000_0001, 0), guest.cpu.cpuid(0x1f, 0), "as Intel's: the last leaf");
    assert_eq!(guest.cpu.cpuid(0x15, 0), [1, 1, 1_000_000_000, 0]);
    assert_eq!(guest.cpu.cpuid(0x8000_0008, 0)[0], 48 << 8 | 46);
    assert_eq!(guest.cpu.cpuid(1, 0)[1] >> 24, 2, "the APIC id");
}

#[test]
fn topology_counts_the_vcpus() {
    let guest = Guest::long(0);
    for leaf in [0xb, 0x1f] {
        assert_eq!(guest.cpu.cpuid(leaf, 0), [0, 1, 1 << 8, 2]);
        assert_eq!(guest.cpu.cpuid(leaf, 1), [2, 4, 2 << 8 | 1, 2]);
        assert_eq!(guest.cpu.cpuid(leaf, 2), [0, 0, 2, 2]);
    }
}

#[test]
fn no_two_features_share_a_bit_and_every_leaf_shows_them() {
    let guest = Guest::long(0);
    for (n, feature) in FEATURES.iter().enumerate() {
        assert!(FEATURES[..n].iter().all(|other| other.bit != feature.bit), "{:?}", feature.bit);
        let (leaf, subleaf, register, bit) = feature.bit;
        // This board has no local APIC, and CPUID follows its enable bit.
        let shown = guest.cpu.cpuid(leaf, subleaf)[register as usize] >> bit & 1 != 0;
        assert_eq!(shown, feature.offered(&guest.cpu.model), "{:?}", feature.bit);
    }
}

#[test]
fn levels_are_the_psabis() {
    use CpuidFeature::*;
    let v1 = [CMOV, CX8, FPU, FXSR, MMX, SSE, SSE2, SYSCALL];
    let v2 = [CMPXCHG16B, POPCNT, SSE3, SSE4_1, SSE4_2, SSSE3];
    let v3 = [AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE, XSAVE];
    for (level, has) in [(CpuLevel::V1, [true, false, false]), (CpuLevel::V2, [true, true, false])] {
        for (features, has) in [&v1[..], &v2, &v3].into_iter().zip(has) {
            for &feature in features {
                assert_eq!(offers(&model(level), feature), has, "{level:?} {feature:?}");
            }
        }
    }
    assert!(v3.into_iter().filter(|&f| f == BMI1 || f == MOVBE).all(|f| offers(&model(CpuLevel::V3), f)));
    for feature in [AVX512F, SVM, VMX, SSE4A, MONITOR, RTM, SGX1, D3NOW, XSAVES] {
        assert!(!offers(&model(CpuLevel::Host), feature), "{feature:?}");
    }
    assert_eq!(cr4_bits(&model(CpuLevel::V1)) & (cr4::OSXSAVE | cr4::VMXE | cr4::VME), 0);
    assert_ne!(cr4_bits(&model(CpuLevel::V1)) & cr4::PCIDE, 0);
}

#[test]
fn what_is_not_offered_is_undefined() {
    // andn needs BMI1; tzcnt is bsf without it: bsf leaves the destination alone when the source is zero.
    let andn: &[u8] = &[0xc4, 0xe2, 0x78, 0xf2, 0xd9];
    let tzcnt: &[u8] = &[0xf3, 0x0f, 0xbc, 0xd8];
    for (level, end, result) in [(CpuLevel::V2, End::Vector(6), 7), (CpuLevel::V3, End::Halted, 32)] {
        let mut guest = Guest::long(0);
        guest.cpu.model.level = level;
        assert_eq!(guest.run(andn), end);
        let mut guest = Guest::long(0).with(Gpr::Rbx, 7);
        guest.cpu.model.level = level;
        assert_eq!(guest.run(tzcnt), End::Halted);
        assert_eq!(guest.get(Gpr::Rbx), result);
    }
}

#[test]
fn the_instruction_gives_all_four_registers() {
    let mut guest = Guest::long(3).with(Gpr::Rax, 0xffff_ffff_0000_0000);
    assert_eq!(guest.run(&[0x0f, 0xa2, 0x0f, 0x0b]), End::Vector(6));
    assert_eq!((guest.get(Gpr::Rax), guest.get(Gpr::Rbx)), (0x1f, 0x756e_6547));
}
