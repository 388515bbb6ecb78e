//! How the operands of an SSE, AVX or MMX instruction are passed to its stub.

use iced_x86::{EncodingKind, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, RflagsBits};

use crate::simd::gate::Gate;
use crate::simd::host::host_offers;

/// The arithmetic flags as iced has them, which lists the x87 condition codes beside them.
pub(crate) const STATUS: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// What an explicit operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Operand {
    /// None, or baked into the code.
    #[default]
    None,
    /// XMM or YMM.
    Vector,
    /// MM.
    Mmx,
    /// A general register.
    General,
    /// Memory.
    Memory,
}

/// Operands that the instruction does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Implied {
    /// None.
    #[default]
    None,
    /// XMM0 selects: BLENDVPS, SHA256RNDS2 and the like.
    Mask,
    /// EAX and EDX are lengths, ECX the result: PCMPESTRI, PCMPISTRI.
    StringIndex,
    /// EAX and EDX are lengths, XMM0 the result: PCMPESTRM, PCMPISTRM.
    StringMask,
}

/// How operands are passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The explicit operands.
    pub operands: [Operand; 4],
    reads: u8,
    writes: u8,
    /// The implied ones.
    pub implied: Implied,
    /// Size of the memory operand in bytes; zero if there is none.
    pub bytes: u8,
    /// It is loaded.
    pub loads: bool,
    /// It is stored.
    pub stores: bool,
    /// Its address must be a multiple of this.
    pub align: u8,
    /// What must be enabled.
    pub gate: Gate,
    /// VEX-encoded: whole YMM registers are written.
    pub vex: bool,
    /// It uses MXCSR and may raise SIMD exceptions.
    pub float: bool,
    /// Its result is of half precision, which flush-to-zero does not apply to.
    pub halves: bool,
    /// It sets the arithmetic flags.
    pub status: bool,
    /// It touches MM registers.
    pub mmx: bool,
}

impl Plan {
    /// The plan of an instruction that a stub may execute: one of these families, with a vector register among its
    /// operands (CVTTSD2SI may have none) and an ordinary memory operand if any. Nothing else must ever run on the host.
    pub fn of(instruction: &Instruction) -> Option<Self> {
        if !instruction.cpuid_features().iter().all(|&feature| host_offers(feature)) || instruction.is_vsib()
        {
            return None;
        }
        let vex = match instruction.code().encoding() {
            EncodingKind::Legacy => false,
            EncodingKind::VEX => true,
            _ => return None,
        };
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(instruction);
        let mut plan = Self {
            operands: [Operand::None; 4],
            reads: 0,
            writes: 0,
            implied: implied(instruction.mnemonic()),
            bytes: 0,
            loads: false,
            stores: false,
            align: 1,
            gate: Gate::Mmx,
            vex,
            float: is_float(instruction.mnemonic()),
            halves: instruction.mnemonic() == Mnemonic::Vcvtps2ph,
            status: instruction.rflags_modified() & STATUS != 0,
            mmx: false,
        };
        for n in 0..instruction.op_count() {
            let access = info.op_access(n);
            let operand = plan.operands.get_mut(n as usize)?;
            *operand = match instruction.op_kind(n) {
                OpKind::Register if instruction.op_register(n).is_vector_register() => Operand::Vector,
                OpKind::Register if instruction.op_register(n).is_mm() => Operand::Mmx,
                OpKind::Register => Operand::General,
                OpKind::Memory => Operand::Memory,
                OpKind::Immediate8 => Operand::None,
                _ => return None,
            };
            // A legacy instruction keeps the bits of its destination that it does not write.
            let (reads, writes) = (access != OpAccess::Write || !vex, is_write(access));
            match operand {
                Operand::Memory => {
                    plan.bytes = u8::try_from(instruction.memory_size().size()).ok().filter(|&b| b <= 32)?;
                    (plan.loads, plan.stores) = (!writes, writes);
                }
                Operand::None => {}
                _ => {
                    plan.reads |= u8::from(reads) << n;
                    plan.writes |= u8::from(writes) << n;
                }
            }
        }
        plan.mmx = plan.operands.contains(&Operand::Mmx);
        let vector = plan.operands.contains(&Operand::Vector);
        if !(plan.mmx || vector || plan.float) {
            return None;
        }
        plan.gate = match () {
            () if vex => Gate::Avx,
            () if vector || plan.float => Gate::Sse,
            () => Gate::Mmx,
        };
        plan.align = alignment(instruction.mnemonic(), vex, plan.bytes);
        Some(plan)
    }

    /// Is the register of operand `n` an input?
    pub fn reads(&self, n: usize) -> bool {
        self.reads >> n & 1 != 0
    }

    /// Is it an output?
    pub fn writes(&self, n: usize) -> bool {
        self.writes >> n & 1 != 0
    }
}

fn is_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite)
}

fn implied(mnemonic: Mnemonic) -> Implied {
    use Mnemonic::*;
    match mnemonic {
        Pblendvb | Blendvps | Blendvpd | Sha256rnds2 => Implied::Mask,
        Pcmpestri | Pcmpestri64 | Pcmpistri | Vpcmpestri | Vpcmpestri64 | Vpcmpistri => Implied::StringIndex,
        Pcmpestrm | Pcmpestrm64 | Pcmpistrm | Vpcmpestrm | Vpcmpestrm64 | Vpcmpistrm => Implied::StringMask,
        _ => Implied::None,
    }
}

/// The alignment that an instruction demands of its memory operand (SDM vol. 1, 14.9): legacy ones their
/// full 16 bytes with a few exceptions, VEX ones none with a few exceptions.
fn alignment(mnemonic: Mnemonic, vex: bool, bytes: u8) -> u8 {
    use Mnemonic::*;
    let aligned = match mnemonic {
        Movups | Movupd | Movdqu | Lddqu | Pcmpestri | Pcmpestri64 | Pcmpistri | Pcmpestrm | Pcmpestrm64
        | Pcmpistrm => false,
        Vmovaps | Vmovapd | Vmovdqa | Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa => true,
        _ => !vex && bytes == 16,
    };
    if aligned { bytes } else { 1 }
}

/// Beginnings of the names of all instructions that round, compare or convert floating point, that is, use MXCSR.
/// RCPPS and RSQRTPS do not.
const FLOAT: [&str; 16] = [
    "add", "sub", "mul", "div", "sqrt", "min", "max", "cmp", "comi", "ucomi", "cvt", "round", "dpp", "hadd",
    "hsub", "f",
];

fn is_float(mnemonic: Mnemonic) -> bool {
    let name = format!("{mnemonic:?}").to_lowercase();
    let name = name.strip_prefix('v').unwrap_or(&name);
    FLOAT.iter().any(|start| name.starts_with(start))
}
