//! The instructions that cases are made of: iced's table, cut to what both sides offer and what must agree.

use iced_x86::{
    Code, CpuidFeature, EncodingKind, FlowControl, Instruction, MemorySize, Mnemonic, OpCodeOperandKind,
};

use super::family::Family;
use crate::offer::Offer;

/// A kind of instruction to make.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Its number in iced's table.
    pub code: Code,
    /// What its operands may be.
    pub operands: [OpCodeOperandKind; 5],
    /// How many there are.
    pub operand_count: u8,
    /// What it has in memory.
    pub memory: MemorySize,
    /// LOCK may stand before it, with a memory operand.
    pub lockable: bool,
    /// REP may stand before it.
    pub rep: bool,
    /// REPNE may stand before it.
    pub repne: bool,
    /// Its vector registers must all be different (gathers).
    pub unique: bool,
}

/// All kinds, by family.
#[derive(Clone, Debug)]
pub struct Catalog {
    offer: Offer,
    by_family: Vec<(Family, Vec<Template>)>,
}

impl Catalog {
    /// Everything in `offer`, or of it only these mnemonics.
    pub fn new(offer: Offer, only: &[Mnemonic]) -> Self {
        let mut by_family: Vec<(Family, Vec<Template>)> = Family::ALL.iter().map(|f| (*f, vec![])).collect();
        for code in Code::values() {
            if !is_offered(code, &offer) || !agrees(code) {
                continue;
            }
            if !only.is_empty() && !only.contains(&code.mnemonic()) {
                continue;
            }
            let family = Family::of(code);
            if let Some((_, templates)) = by_family.iter_mut().find(|(f, _)| *f == family) {
                templates.push(template(code));
            }
        }
        by_family.retain(|(_, templates)| !templates.is_empty());
        Self { offer, by_family }
    }

    /// Is it there?
    pub fn has(&self, code: Code) -> bool {
        self.by_family.iter().any(|(_, templates)| templates.iter().any(|template| template.code == code))
    }

    /// The families that have something to offer, with it.
    pub fn families(&self) -> &[(Family, Vec<Template>)] {
        &self.by_family
    }

    /// The kinds of a family; of another one if it has none.
    pub fn family(&self, family: Family) -> &[Template] {
        self.by_family
            .iter()
            .find(|(f, _)| *f == family)
            .or(self.by_family.first())
            .map_or(&[], |(_, templates)| templates)
    }

    /// Must both sides agree on this instruction, whatever its bytes look like?
    pub fn allows(&self, instruction: &Instruction) -> bool {
        self.offer.covers(instruction) && agrees(instruction.code())
    }
}

fn template(code: Code) -> Template {
    let info = code.op_code();
    let mut operands = [OpCodeOperandKind::None; 5];
    operands.iter_mut().zip(info.op_kinds()).for_each(|(slot, kind)| *slot = *kind);
    Template {
        code,
        operands,
        operand_count: info.op_count() as u8,
        memory: info.memory_size(),
        lockable: info.can_use_lock_prefix(),
        rep: info.can_use_rep_prefix(),
        repne: info.can_use_repne_prefix(),
        unique: info.requires_unique_reg_nums(),
    }
}

fn is_offered(code: Code, offer: &Offer) -> bool {
    let info = code.op_code();
    info.is_instruction()
        && info.mode64()
        && !info.fwait() // two instructions in one to iced: WAIT and the other are there by themselves
        && matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && info.decoder_option() == 0
        && code.cpuid_features().iter().all(|&feature| offer.has(feature))
}

/// Must the host and an engine agree on this instruction in user mode? What tells of the machine around
/// (time, identity, descriptor tables) cannot agree; what leaves the process or changes code segments is
/// another test's.
fn agrees(code: Code) -> bool {
    use Mnemonic as M;
    if matches!(
        code.mnemonic(),
        // The machine around.
        M::Rdtsc | M::Rdtscp | M::Rdpid | M::Rdpmc | M::Cpuid | M::Rdrand | M::Rdseed | M::Xgetbv
            | M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw | M::Lar | M::Lsl | M::Verr | M::Verw
            // Kernel entries, and what the host's hypervisor answers itself.
            | M::Syscall | M::Sysenter | M::Sysexit | M::Sysexitq | M::Sysret | M::Sysretq | M::Int | M::Int1
            | M::Into | M::Iret | M::Iretd | M::Iretq | M::Vmcall | M::Vmmcall | M::Monitor | M::Mwait
            | M::Wrmsr | M::Rdmsr
            // The host's XINUSE and enabled components differ from the guest's.
            | M::Xsave | M::Xsave64 | M::Xsavec | M::Xsavec64 | M::Xsaveopt | M::Xsaveopt64
            | M::Xsaves | M::Xsaves64 | M::Xrstor | M::Xrstor64 | M::Xrstors | M::Xrstors64
            // Segment loads depend on the descriptor tables.
            | M::Lfs | M::Lgs | M::Lss | M::Lds | M::Les
            // Reserved: vendors differ.
            | M::Ud0 | M::Ud1 | M::Reservednop
    ) {
        return false;
    }
    let info = code.op_code();
    let loads_segment = matches!(
        info.op0_kind(),
        OpCodeOperandKind::seg_reg
            | OpCodeOperandKind::fs
            | OpCodeOperandKind::gs
            | OpCodeOperandKind::es
            | OpCodeOperandKind::ds
            | OpCodeOperandKind::ss
    ) && code.mnemonic() != M::Push;
    // With an operand-size prefix, near branches are 64 bits wide for Intel and 16 for AMD.
    let narrow_branch = code.flow_control() != FlowControl::Next
        && (info.operand_size() == 16
            || info.op_kinds().iter().any(|kind| {
                use OpCodeOperandKind as K;
                matches!(
                    kind,
                    K::br16_1 | K::br16_2 | K::br32_1 | K::br32_4 | K::xbegin_2 | K::xbegin_4 | K::r16_or_mem
                )
            }));
    // Far transfers need descriptors.
    let far =
        matches!(info.memory_size(), MemorySize::SegPtr16 | MemorySize::SegPtr32 | MemorySize::SegPtr64)
            || matches!(code.mnemonic(), M::Retf)
            || info
                .op_kinds()
                .iter()
                .any(|kind| matches!(kind, OpCodeOperandKind::farbr2_2 | OpCodeOperandKind::farbr4_2));
    // 16-bit BSWAP is undefined; 16-bit MOVSXD loads two bytes for some and four for others.
    let undefined = matches!(code, Code::Bswap_r16 | Code::Movsxd_r16_rm16);
    let machine = code
        .cpuid_features()
        .iter()
        .any(|feature| matches!(feature, CpuidFeature::CET_SS | CpuidFeature::CET_IBT | CpuidFeature::MPX));
    !(loads_segment || narrow_branch || far || undefined || machine)
}
