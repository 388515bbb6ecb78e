//! A case in an engine: a VM of one megabyte whose user mode looks like the native child's.
//!
//! The same pages are mapped at the same linear addresses with the same rights, the segment selectors are
//! Linux's, CR0.AM is set as Linux sets it. A case starts at CPL 3; every exception leads through the IDT to
//! a HLT at CPL 0, and from the frame on the kernel's stack one reads what a signal's frame would have told.
//! The page at EXIT holds UD2. One VM serves all cases.

mod tables;

use std::sync::Arc;

use base::{GuestMemory, GuestPhys};
use engine::{Attention, BareBoard, Board, Budget, CpuLevel, CpuModel, Engine, Exit, Vcpu};
use iced_x86::CpuidFeature;
use x86::control::{cr0, cr4, efer};
use x86::{CpuState, Gpr, Segment, SegmentRegister, TableRegister, Vector, access, flags, xfeature};

use crate::CompareError;
use crate::end::{End, Stop};
use crate::layout::{CODE_BYTES, CODE_FILL, EXIT, IMAGE_BYTES};
use crate::offer::{LEAVES, Offer};
use crate::start::Start;
use crate::subject::Subject;

use tables::{CODE_PAGES, HANDLER_BYTES, HANDLERS, IMAGE, STACK_TOP, get_word, selector};

/// Instructions (or iterations) after which a case counts as endless.
const BUDGET: u64 = 100_000;

/// An engine's vCPU and its memory.
pub struct Guest {
    name: &'static str,
    vcpu: Box<dyn Vcpu>,
    memory: Arc<GuestMemory>,
    background: Box<[u8; IMAGE_BYTES]>,
    image: Box<[u8; IMAGE_BYTES]>,
    code: Box<[u8; CODE_BYTES]>,
    code_laid_out: Box<[u8; CODE_BYTES]>,
    offer: Offer,
    ready: CpuState,
    /// What the last broken case was about, in words.
    pub complaint: String,
}

impl Guest {
    /// A guest in this engine whose image starts as the background.
    ///
    /// # Errors
    /// [`CompareError`] if the engine or the host's memory does not do.
    pub fn new(engine: &dyn Engine, background: &[u8; IMAGE_BYTES]) -> Result<Self, CompareError> {
        let memory = Arc::new(GuestMemory::new(tables::RAM)?);
        tables::build(&memory);
        memory.write(GuestPhys(IMAGE), background)?;
        let model = CpuModel { level: CpuLevel::Host, vcpus: 1 };
        let attention = Arc::new(Attention::default());
        let board: Arc<dyn Board> = Arc::new(BareBoard::default());
        let mut vcpu = engine.vcpu(0, &model, &memory, &attention, &board)?;
        let mut ready = long_mode();
        let offer = ask(vcpu.as_mut(), &ready)?;
        if offer.has(CpuidFeature::FSGSBASE) {
            ready.cr4 |= cr4::FSGSBASE;
        }
        if offer.has(CpuidFeature::XSAVE) {
            ready.cr4 |= cr4::OSXSAVE;
            ready.xcr0 = xfeature::X87 | xfeature::SSE;
            if offer.has(CpuidFeature::AVX) {
                ready.xcr0 |= xfeature::AVX;
            }
        }
        *ready.segment_mut(SegmentRegister::Cs) = tables::segment(selector::USER_CS, true);
        *ready.segment_mut(SegmentRegister::Ss) = tables::segment(selector::USER_SS, false);
        Ok(Self {
            name: engine.name(),
            vcpu,
            memory,
            background: Box::new(*background),
            image: Box::new([0; IMAGE_BYTES]),
            code: Box::new([0; CODE_BYTES]),
            code_laid_out: Box::new([CODE_FILL; CODE_BYTES]),
            offer,
            ready,
            complaint: String::new(),
        })
    }

    /// What the engine's CPUID offers.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    fn lay_out(&mut self, start: &Start) -> Result<(), CompareError> {
        for patch in start.patches() {
            let at = usize::from(patch.at).min(IMAGE_BYTES);
            let len = usize::from(patch.len).min(patch.bytes.len()).min(IMAGE_BYTES - at);
            self.memory.write(GuestPhys(IMAGE + at as u64), &patch.bytes[..len])?;
        }
        let (at, len) = mapped_code(start);
        self.memory.write(GuestPhys(CODE_PAGES + at as u64), &start.code()[..len])?;
        self.code_laid_out[at..at + len].copy_from_slice(&start.code()[..len]);
        Ok(())
    }

    fn clear_away(&mut self, start: &Start, end: &mut End) -> Result<(), CompareError> {
        self.memory.read(GuestPhys(IMAGE), &mut self.image[..])?;
        self.memory.read(GuestPhys(CODE_PAGES), &mut self.code[..])?;
        let memory = &self.memory;
        let mut written = Ok(());
        let mut put = |at: u64, was: u64| {
            let restored = memory.write(GuestPhys(at), &was.to_le_bytes());
            if restored.is_err() {
                written = restored;
            }
        };
        end.forget_changes();
        end.record_changes(0, &self.image[..], &self.background[..], |at, was| put(IMAGE + at as u64, was));
        let first = (IMAGE_BYTES / 8) as u32;
        end.record_changes(first, &self.code[..], &self.code_laid_out[..], |at, was| {
            put(CODE_PAGES + at as u64, was);
        });
        written?;
        let (at, len) = mapped_code(start);
        self.code_laid_out[at..at + len].fill(CODE_FILL);
        self.memory.write(GuestPhys(CODE_PAGES + at as u64), &self.code_laid_out[at..at + len])?;
        Ok(())
    }

    fn state(&self, start: &Start) -> CpuState {
        let mut state = self.ready.clone();
        state.gpr = start.gpr;
        state.rip = start.rip();
        state.rflags = start.rflags;
        state.fpu = start.fpu;
        state.segment_mut(SegmentRegister::Fs).base = start.fs_base;
        state.segment_mut(SegmentRegister::Gs).base = start.gs_base;
        state
    }

    /// Reads off the halted kernel, or whatever else it came to, how the case ended.
    fn read_off(&mut self, exit: &Exit, end: &mut End) {
        let state = self.vcpu.state();
        end.fpu = state.fpu;
        end.gpr = state.gpr;
        end.fs_base = state.segment(SegmentRegister::Fs).base;
        end.gs_base = state.segment(SegmentRegister::Gs).base;
        (end.rip, end.rflags) = (state.rip, state.rflags);
        (end.vector, end.error, end.cr2) = (0, 0, 0);
        end.stop = match exit {
            Exit::Halted if state.cpl() == 0 => Stop::EXCEPTION,
            Exit::Budget => Stop::ENDLESS,
            _ => Stop::BROKEN,
        };
        if end.stop == Stop::BROKEN {
            self.complaint = format!("{exit:?} at {:#x}, CPL {}", state.rip, state.cpl());
        }
        if end.stop != Stop::EXCEPTION {
            return;
        }
        let vector = state.rip.wrapping_sub(HANDLERS) / HANDLER_BYTES;
        let depth = STACK_TOP.wrapping_sub(STACK_TOP & !0xfff | state.get(Gpr::Rsp) & 0xfff) & 0xfff;
        let frame = |n: u64| get_word(&self.memory, STACK_TOP - 8 * n);
        end.vector = vector as u32;
        end.gpr[Gpr::Rsp as usize] = frame(2);
        end.rflags = frame(3);
        end.rip = frame(5);
        if depth == 48 {
            end.error = frame(6) as u32;
        }
        if end.vector == Vector::PageFault as u32 {
            end.cr2 = state.cr2;
        }
        if end.vector == Vector::InvalidOpcode as u32 && end.rip == EXIT {
            // The fault set RF in the frame; the program never had it.
            end.rflags &= !flags::RF;
            end.stop = Stop::EXIT;
            end.vector = 0;
        }
    }

    /// Runs a case instruction by instruction and gives the addresses it went through, up to `most`.
    ///
    /// # Errors
    /// [`CompareError`] for failures of the host.
    pub fn trace(&mut self, start: &Start, most: usize) -> Result<Vec<u64>, CompareError> {
        self.lay_out(start)?;
        self.vcpu.set_state(&self.state(start));
        let mut addresses = vec![];
        loop {
            let state = self.vcpu.state();
            if state.cpl() != 3 || addresses.len() >= most {
                break;
            }
            addresses.push(state.rip);
            if self.vcpu.run(Budget::Instructions(1))? != Exit::Budget {
                break;
            }
        }
        self.clear_away(start, &mut End::default())?;
        Ok(addresses)
    }
}

impl Subject for Guest {
    fn name(&self) -> &str {
        self.name
    }

    fn run(&mut self, start: &Start) -> Result<End, CompareError> {
        self.lay_out(start)?;
        self.vcpu.set_state(&self.state(start));
        let exit = self.vcpu.run(Budget::Instructions(BUDGET))?;
        let mut end = End::default();
        self.read_off(&exit, &mut end);
        self.clear_away(start, &mut end)?;
        end.normalize();
        Ok(end)
    }
}

/// Where in the code pages the case's code lies, and how much of it is mapped.
fn mapped_code(start: &Start) -> (usize, usize) {
    let at = (start.code_at as usize).min(CODE_BYTES);
    (at, start.code().len().min(CODE_BYTES - at))
}

/// A kernel in long mode, about to ask CPUID.
fn long_mode() -> CpuState {
    let mut state = CpuState {
        cr0: cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::WP | cr0::AM | cr0::PG,
        cr3: tables::ROOT,
        cr4: cr4::PAE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT,
        gdtr: TableRegister { base: tables::GDT, limit: 0x4f },
        idtr: TableRegister { base: tables::IDT, limit: 0xfff },
        tr: Segment { base: tables::TSS, limit: 0x67, selector: selector::TR, access: access::PRESENT | 0xb },
        ldtr: Segment::default(),
        segments: [Segment::default(); 6],
        ..CpuState::default()
    };
    state.msrs.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    *state.segment_mut(SegmentRegister::Cs) = tables::segment(selector::KERNEL_CS, true);
    *state.segment_mut(SegmentRegister::Ss) = tables::segment(selector::KERNEL_SS, false);
    state
}

/// Runs CPUID in the guest.
fn ask(vcpu: &mut dyn Vcpu, ready: &CpuState) -> Result<Offer, CompareError> {
    let mut answers = [[0; 4]; 3];
    for (answer, leaf) in answers.iter_mut().zip(LEAVES) {
        let mut state = ready.clone();
        state.rip = tables::QUESTION;
        state.set(Gpr::Rax, leaf.into());
        vcpu.set_state(&state);
        let exit = vcpu.run(Budget::Instructions(16))?;
        if exit != Exit::Halted {
            return Err(CompareError::Unanswered { leaf, exit });
        }
        let state = vcpu.state();
        *answer = [Gpr::Rax, Gpr::Rbx, Gpr::Rcx, Gpr::Rdx].map(|register| state.get(register) as u32);
    }
    Ok(Offer::of(&answers))
}
