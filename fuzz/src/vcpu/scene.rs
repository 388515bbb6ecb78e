//! A state of the vCPU and its memory, drawn from an input: near enough to what works that something happens.

use engine::CpuLevel;
use x86::control::{cr0, cr4, efer};
use x86::{Activity, CpuState, Exception, Segment, SegmentRegister, Shadow, TableRegister, access, flags};

use super::tables::{self, CODE, DATA, GDT, IDT, PD_32, PDPT, PML4, Pieces, STACK_TOP, TSS, selector};
use super::{LEVELS, RAM};
use crate::source::Source;

/// What a vCPU is put into.
pub struct Scene {
    /// What the CPU offers.
    pub level: CpuLevel,
    /// The state to begin in.
    pub state: CpuState,
    /// What RAM holds.
    pub memory: Pieces,
}

/// The modes of the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Real,
    Protected16,
    Protected32,
    Paged32,
    Pae,
    Virtual8086,
    Compatibility16,
    Compatibility32,
    Long,
    LongUser,
}

const MODES: [Mode; 16] = [
    Mode::LongUser,
    Mode::Long,
    Mode::Real,
    Mode::Protected16,
    Mode::Protected32,
    Mode::Paged32,
    Mode::Pae,
    Mode::Virtual8086,
    Mode::Compatibility16,
    Mode::Compatibility32,
    Mode::LongUser,
    Mode::Long,
    Mode::LongUser,
    Mode::Long,
    Mode::Pae,
    Mode::Real,
];

impl Mode {
    fn long(self) -> bool {
        matches!(self, Self::Long | Self::LongUser | Self::Compatibility16 | Self::Compatibility32)
    }

    fn paged(self) -> bool {
        self.long() || matches!(self, Self::Paged32 | Self::Pae | Self::Virtual8086)
    }
}

impl Scene {
    /// Draws one. The code comes first: its length, its bytes.
    pub fn draw(source: &mut Source<'_>) -> Self {
        let length = usize::from(source.byte());
        let code = source.take(length).to_vec();
        let mode = source.pick(&MODES);
        let level = source.pick(&LEVELS);
        let mut state = control(source, mode);
        segments(source, mode, &mut state);
        for register in &mut state.gpr {
            *register = value(source);
        }
        if !source.once_in(8) {
            state.gpr[4] = STACK_TOP - u64::from(source.byte());
        }
        state.rip = if mode == Mode::Real || mode == Mode::Virtual8086 { 0 } else { CODE };
        rest(source, mode, &mut state);

        let mut memory = vec![(CODE, code)];
        tables::paging(source, &mut memory);
        tables::descriptors(source, mode.long(), &mut memory);
        memory.push((DATA, source.take(256).to_vec()));
        Self { level, state, memory }
    }
}

/// Control registers and EFER.
fn control(source: &mut Source<'_>, mode: Mode) -> CpuState {
    let fpu =
        source.pick(&[0, cr0::MP, cr0::MP | cr0::NE, cr0::EM, cr0::TS, cr0::NE | cr0::WP, cr0::WP, cr0::AM]);
    let mut state = CpuState { cr0: cr0::ET | fpu, ..CpuState::default() };
    if mode != Mode::Real {
        state.cr0 |= cr0::PE;
    }
    if mode.paged() {
        state.cr0 |= cr0::PG;
    }
    let random = u64::from(source.dword());
    let optional = [
        cr4::VME,
        cr4::PVI,
        cr4::TSD,
        cr4::DE,
        cr4::PSE,
        cr4::PGE,
        cr4::PCE,
        cr4::OSXMMEXCPT,
        cr4::UMIP,
        cr4::FSGSBASE,
        cr4::OSXSAVE,
        cr4::SMEP,
        cr4::SMAP,
    ];
    for (n, bit) in optional.into_iter().enumerate() {
        if random >> n & 1 != 0 {
            state.cr4 |= bit;
        }
    }
    if random >> 16 & 7 != 0 {
        state.cr4 |= cr4::OSFXSR;
    }
    if state.cr4 & cr4::OSXSAVE != 0 && random >> 19 & 3 != 0 {
        state.xcr0 = 7;
    }
    state.cr3 = match mode {
        Mode::Paged32 => PD_32,
        Mode::Pae => PDPT,
        Mode::Virtual8086 => PD_32,
        _ => PML4,
    };
    if mode == Mode::Pae || mode.long() {
        state.cr4 |= cr4::PAE;
    }
    if mode == Mode::Pae {
        state.pdpte = [0x3001; 4];
    }
    if mode.long() {
        state.msrs.efer = efer::LME | efer::LMA;
        if random >> 21 & 1 != 0 {
            state.cr4 |= cr4::PCIDE;
            state.cr3 |= random >> 24 & 3;
        }
    }
    state.msrs.efer |= source.pick(&[efer::SCE, efer::NXE | efer::SCE, efer::NXE, 0]);
    state
}

/// Segment and table registers.
fn segments(source: &mut Source<'_>, mode: Mode, state: &mut CpuState) {
    let user = source.once_in(3);
    let (code, data) = match mode {
        Mode::Long => (selector::CODE_64, selector::DATA),
        Mode::LongUser => (selector::USER_CODE_64, selector::USER_DATA),
        Mode::Protected16 | Mode::Compatibility16 => (selector::CODE_16, selector::DATA),
        _ if user => (selector::USER_CODE_32, selector::USER_DATA),
        _ => (selector::CODE_32, selector::DATA),
    };
    match mode {
        Mode::Real | Mode::Virtual8086 => {
            let privilege = if mode == Mode::Virtual8086 { access::DPL } else { 0 };
            for segment in &mut state.segments {
                *segment = Segment::real((DATA >> 4) as u16);
                segment.access |= privilege;
            }
            let cs = state.segment_mut(SegmentRegister::Cs);
            *cs = Segment::real((CODE >> 4) as u16);
            cs.access |= privilege | if mode == Mode::Real { access::CODE } else { 0 };
            *state.segment_mut(SegmentRegister::Ss) =
                Segment { access: cs_access(privilege), ..Segment::real(0) };
        }
        _ => {
            state.segments = [tables::segment(data); 6];
            *state.segment_mut(SegmentRegister::Cs) = tables::segment(code);
        }
    }
    state.gdtr = TableRegister { base: GDT, limit: 0xff };
    state.idtr = TableRegister { base: if mode == Mode::Real { 0 } else { IDT }, limit: 0xfff };
    state.tr = Segment { base: TSS, limit: 0x1ff, selector: selector::TSS, access: access::PRESENT | 0xb };
    state.ldtr = Segment { base: GDT, limit: 0x7f, selector: 0x48, access: access::PRESENT | 0x2 };
    for _ in 0..source.below(4) {
        // One thing of one segment is something else.
        let segment = &mut state.segments[source.below(6)];
        match source.below(4) {
            0 => segment.base = value(source) & if mode.long() { u64::MAX } else { 0xffff_ffff },
            1 => segment.limit = value(source) as u32,
            2 => segment.access ^= 1 << source.pick(&[0, 1, 2, 3, 4, 7, 12, 13, 14, 15]),
            _ => segment.access = 0,
        }
    }
}

fn cs_access(privilege: u16) -> u16 {
    Segment::real(0).access | privilege
}

/// Flags, FPU, MSRs and what is pending.
fn rest(source: &mut Source<'_>, mode: Mode, state: &mut CpuState) {
    let masks = [
        flags::STATUS | flags::IF,
        flags::STATUS,
        flags::STATUS | flags::IF | flags::DF,
        flags::STATUS | flags::TF | flags::IF,
        flags::STATUS | flags::AC | flags::IOPL | flags::NT | flags::ID,
        flags::ALL & !flags::VM,
    ];
    state.rflags = u64::from(source.dword()) & source.pick(&masks) & !flags::VM | flags::RESERVED_ONE;
    if mode == Mode::Virtual8086 {
        state.rflags |= flags::VM;
    }
    for at in [3, 4, 5] {
        // MSRs that a jump or a stack comes from.
        let target =
            if source.once_in(4) { canonical(value(source)) } else { CODE + u64::from(source.byte()) };
        match at {
            3 => state.msrs.lstar = target,
            4 => state.msrs.sysenter_eip = target,
            _ => state.msrs.kernel_gs_base = target,
        }
    }
    let user_base = u64::from(selector::CODE_32 | 3);
    state.msrs.star = u64::from(selector::CODE_64) << 32 | user_base << 48;
    state.msrs.sysenter_cs = u64::from(selector::CODE_64);
    state.msrs.sysenter_esp = STACK_TOP;
    state.msrs.sfmask = source.pick(&[0, flags::IF, u64::from(u32::MAX)]);
    if source.once_in(3) {
        state.fpu.legacy.fcw = source.word();
        state.fpu.legacy.fsw = source.word();
        state.fpu.legacy.ftw = source.byte();
        state.fpu.legacy.mxcsr = u32::from(source.word());
        for register in &mut state.fpu.legacy.st {
            *register = u128::from(source.qword()) | u128::from(source.word()) << 64;
        }
    }
    for register in &mut state.fpu.legacy.xmm[..4] {
        *register = u128::from(value(source)) << 64 | u128::from(value(source));
    }
    if source.once_in(6) {
        state.dr = [value(source), CODE, DATA, value(source)];
        state.dr7 |= u64::from(source.dword()) & 0xffff_23ff;
    }
    state.events.shadow =
        source.pick(&[Shadow::None, Shadow::None, Shadow::None, Shadow::Sti, Shadow::MovSs]);
    state.events.nmi_pending = source.once_in(16);
    state.events.nmi_blocked = source.once_in(16);
    if source.once_in(16) {
        state.events.exception = Some(source.pick(&[Exception::ud(), Exception::gp(0)]));
    }
    state.events.activity = source.pick(&[Activity::Running; 8]);
    if source.once_in(32) {
        state.events.activity = source.pick(&[Activity::Halted, Activity::WaitForSipi, Activity::Shutdown]);
    }
}

fn canonical(value: u64) -> u64 {
    ((value << 16) as i64 >> 16) as u64
}

/// A number of the kind that registers hold: small, an address of something, on an edge, anything.
fn value(source: &mut Source<'_>) -> u64 {
    let near = source.byte();
    let small = u64::from(near >> 4);
    match near & 15 {
        0 => 0,
        1 => u64::MAX - small,
        2 => small,
        3..=5 => DATA + small * 8,
        6 => DATA + 0x1000 - small,
        7 => CODE + small,
        8 => STACK_TOP - small * 8,
        9 => RAM - small,
        10 => 0x7fff_ffff_fff8 + small,
        11 => 0xffff_8000_0000_0000 - 8 + small,
        12 => 0xfee0_0000 + small * 16,
        13 => 1 << (small * 4),
        14 => u64::from(source.dword()),
        _ => source.qword(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn most_scenes_are_sound_and_all_modes_occur() {
        let (mut sound, mut seen) = (0, BTreeSet::new());
        for index in 0..1000 {
            let input = crate::generate::input(5, index, &super::super::seeds(), super::super::LONGEST);
            let mut source = Source::new(&input);
            let Scene { state, .. } = Scene::draw(&mut source);
            if machine::vm::check(&state).is_ok() {
                sound += 1;
                let bits = state.cr0 & (cr0::PE | cr0::PG);
                let width = state.segment(SegmentRegister::Cs).access & (access::LONG | access::DB);
                seen.insert((bits, state.msrs.efer & efer::LMA, state.cr4 & cr4::PAE, width, state.cpl()));
            }
        }
        assert!(sound > 700, "{sound} of 1000");
        assert!(seen.len() >= 12, "{seen:x?}");
    }
}
