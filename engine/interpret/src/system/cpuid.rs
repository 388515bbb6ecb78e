//! CPUID (SDM vol. 2, CPUID): the leaves that are numbers; the bits come from the table in `feature`.
//!
//! The processor calls itself a Saltwell (an Atom that executes in order): systems know that those do not
//! speculate, which is the truth of an engine of ours too, and so spare the guest every mitigation.

use engine::CpuModel;
use iced_x86::{Instruction, Mnemonic};
use x86::control::{cr4, efer};
use x86::{Gpr, msr, xfeature};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::system::feature::{FEATURES, Reg};

/// EAX, EBX, ECX, EDX.
type Leaf = [u32; 4];

/// Family 6, model 36h, stepping 9.
const SIGNATURE: u32 = 0x0003_0669;
const LAST_BASIC: u32 = 0x1f;
const LAST_EXTENDED: u32 = 0x8000_0008;
const HYPERVISOR: u32 = 0x4000_0000;
/// Ticks of the TSC and of the APIC timer in a second.
const FREQUENCY: u32 = 1_000_000_000;
const MEGAHERTZ: u32 = FREQUENCY / 1_000_000;
/// Bytes of the legacy region and header of an XSAVE area; the AVX component behind them.
const XSAVE_BASE: u32 = 576;
const XSAVE_AVX: u32 = 256;

impl Cpu {
    /// What CPUID gives for a leaf.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        let leaf = match leaf {
            HYPERVISOR => return [HYPERVISOR, text(b"Ring"), text(b"fenc"), text(b"eVMM")],
            0..=LAST_BASIC | 0x8000_0000..=LAST_EXTENDED => leaf,
            // As Intel's processors answer: the last basic leaf.
            _ => LAST_BASIC,
        };
        let mut registers = self.numbers(leaf, subleaf);
        for feature in FEATURES.iter().filter(|feature| feature.offered(&self.model)) {
            let (of_leaf, of_subleaf, register, bit) = feature.bit;
            if (of_leaf, of_subleaf) == (leaf, subleaf) || of_leaf == leaf && !has_subleaves(leaf) {
                registers[register as usize] |= 1 << bit;
            }
        }
        self.adjust(leaf, &mut registers);
        registers
    }

    /// The leaf without its feature bits.
    fn numbers(&self, leaf: u32, subleaf: u32) -> Leaf {
        let model = &self.model;
        match leaf {
            0 => [LAST_BASIC, text(b"Genu"), text(b"ntel"), text(b"ineI")],
            1 => {
                let logical = model.vcpus.next_power_of_two().min(128);
                [
                    SIGNATURE,
                    (self.index & 0xff) << 24 | logical << 16 | 8 << 8,
                    0,
                    u32::from(model.vcpus > 1) << 28,
                ]
            }
            // TLBs; caches are in leaf 4.
            2 => [0x7603_6301, 0x00f0_b5ff, 0, 0x00c3_0000],
            4 => cache(model, subleaf),
            0xb | 0x1f => self.topology(subleaf),
            0xd => xsave(xsave_features(model), self.state.xcr0, subleaf),
            0x15 => [1, 1, FREQUENCY, 0],
            0x16 => [MEGAHERTZ, MEGAHERTZ, 100, 0],
            0x8000_0000 => [LAST_EXTENDED, 0, 0, 0],
            0x8000_0002..=0x8000_0004 => brand(model, leaf - 0x8000_0002),
            // L2: 1 MiB, 16 ways, lines of 64 bytes.
            0x8000_0006 => [0, 0, 1024 << 16 | 8 << 12 | 64, 0],
            0x8000_0008 => [48 << 8 | x86::paging::PHYSICAL_BITS, 0, 0, 0],
            _ => [0; 4],
        }
    }

    /// Bits that follow the state of the CPU.
    fn adjust(&self, leaf: u32, registers: &mut Leaf) {
        const APIC: u32 = 1 << 9;
        const OSXSAVE: u32 = 1 << 27;
        const SYSCALL: u32 = 1 << 11;
        if leaf == 1 {
            if self.state.cr4 & cr4::OSXSAVE != 0 {
                registers[Reg::Ecx as usize] |= OSXSAVE;
            }
            if self.board.msr_read(msr::IA32_APIC_BASE).is_ok_and(|base| base >> 11 & 1 == 0) {
                registers[Reg::Edx as usize] &= !APIC;
            }
        }
        // Intel's processors know SYSCALL in 64-bit code only.
        if leaf == 0x8000_0001 && !(self.mode.is_64() && self.state.msrs.efer & efer::LMA != 0) {
            registers[Reg::Edx as usize] &= !SYSCALL;
        }
    }

    /// Leaves 0Bh and 1Fh: one package of single-threaded cores.
    fn topology(&self, subleaf: u32) -> Leaf {
        const SMT: u32 = 1;
        const CORE: u32 = 2;
        let width = self.model.vcpus.max(1).next_power_of_two().trailing_zeros();
        match subleaf {
            0 => [0, 1, SMT << 8, self.index],
            1 => [width, self.model.vcpus.max(1) & 0xffff, CORE << 8 | 1, self.index],
            _ => [0, 0, subleaf & 0xff, self.index],
        }
    }
}

/// The state components that the model knows: what XCR0 may have.
fn xsave_features(model: &CpuModel) -> u64 {
    let offered = |wanted| crate::system::offers(model, wanted);
    match () {
        () if offered(iced_x86::CpuidFeature::AVX) => xfeature::X87 | xfeature::SSE | xfeature::AVX,
        () if offered(iced_x86::CpuidFeature::XSAVE) => xfeature::X87 | xfeature::SSE,
        () => 0,
    }
}

/// Leaf 0Dh: the layout of [`x86::Fpu`].
fn xsave(features: u64, xcr0: u64, subleaf: u32) -> Leaf {
    let size = |enabled: u64| XSAVE_BASE + if enabled & xfeature::AVX != 0 { XSAVE_AVX } else { 0 };
    match subleaf {
        _ if features == 0 => [0; 4],
        0 => [features as u32, size(xcr0), size(features), 0],
        1 => [0, size(xcr0), 0, 0],
        2 if features & xfeature::AVX != 0 => [XSAVE_AVX, XSAVE_BASE, 0, 0],
        _ => [0; 4],
    }
}

/// Leaf 4: level 1 data and instructions, level 2, level 3.
fn cache(model: &CpuModel, subleaf: u32) -> Leaf {
    const DATA: u32 = 1;
    const CODE: u32 = 2;
    const UNIFIED: u32 = 3;
    let cores = model.vcpus.max(1).next_power_of_two().min(64) - 1;
    let (kind, level, ways, sets, sharing) = match subleaf {
        0 => (DATA, 1, 8, 64, 0),
        1 => (CODE, 1, 8, 64, 0),
        2 => (UNIFIED, 2, 16, 1024, 0),
        3 => (UNIFIED, 3, 16, 16384, cores),
        _ => return [0; 4],
    };
    const SELF_INITIALIZING: u32 = 1 << 8;
    let eax = kind | level << 5 | SELF_INITIALIZING | sharing << 14 | cores << 26;
    [eax, (ways - 1) << 22 | 63, sets - 1, 0]
}

/// 16 of the 48 bytes of the brand string.
fn brand(model: &CpuModel, part: u32) -> Leaf {
    let level = match model.level {
        engine::CpuLevel::V1 => "x86-64-v1",
        engine::CpuLevel::V2 => "x86-64-v2",
        engine::CpuLevel::V3 => "x86-64-v3",
        engine::CpuLevel::Host => "host",
    };
    let mut bytes = [0; 48];
    let name = format!("Ringfence virtual CPU ({level})");
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let word = |n: usize| {
        let at = part as usize % 3 * 16 + n * 4;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    [word(0), word(1), word(2), word(3)]
}

const fn text(letters: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*letters)
}

/// Leaves whose answer depends on ECX.
fn has_subleaves(leaf: u32) -> bool {
    matches!(leaf, 4 | 7 | 0xb | 0xd | 0x1f)
}

fn cpuid(cpu: &mut Cpu, _: &Op) -> Step {
    let (leaf, subleaf) = (cpu.get(Gpr::Rax) as u32, cpu.get(Gpr::Rcx) as u32);
    let [eax, ebx, ecx, edx] = cpu.cpuid(leaf, subleaf);
    for (register, value) in [(Gpr::Rax, eax), (Gpr::Rbx, ebx), (Gpr::Rcx, ecx), (Gpr::Rdx, edx)] {
        cpu.set(register, u64::from(value));
    }
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    (instruction.mnemonic() == Mnemonic::Cpuid).then_some(cpuid)
}
