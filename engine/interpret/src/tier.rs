//! The reference CPU as the cold tier of another engine: it executes what that engine does not, one
//! instruction at a time, on the same state.

use std::sync::Arc;

use base::{GuestMemory, RamOffset};
use engine::{Attention, Board, CpuModel, Exit, Statistics};
use iced_x86::Instruction;
use x86::control::{cr0, cr4};
use x86::paging::is_canonical;
use x86::{Activity, CpuState, Fpu, SegmentRegister, Shadow, flags};

use crate::block::BlockCache;
use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::FLAT;
use crate::run::{run, shut_down};
use crate::system::{self, Event};
use crate::tlb::{Flush, Rights};
use crate::walk::Access;

/// What another engine must know of the CPU before it executes anything itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// 64-bit code, with nothing that asks for one instruction at a time: no single step, breakpoints,
    /// shadows, pending exceptions; the CPU is running.
    pub plain_64: bool,
    /// 64-bit code, plain or not.
    pub code_64: bool,
    /// CPL 3.
    pub user: bool,
    /// The supervisor may touch user pages under SMAP (AC is set).
    pub reaches_user: bool,
    /// Where SYSCALL leads, if it and SYSRET work.
    pub fast_call: Option<u64>,
    /// The flags that SYSCALL clears.
    pub fast_call_mask: u64,
    /// SMAP is on.
    pub smap: bool,
    /// #AC is armed: accesses must be checked one by one.
    pub checks_alignment: bool,
    /// x87, MMX and SSE instructions do not raise #UD or #NM by the control registers.
    pub fpu: bool,
    /// Nor do AVX instructions.
    pub avx: bool,
    /// The PCID in use, zero without PCIDs.
    pub pcid: u64,
    /// FS base.
    pub fs_base: u64,
    /// GS base.
    pub gs_base: u64,
    /// RDTSC is the supervisor's.
    pub no_counter: bool,
    /// RDFSBASE and its kin exist.
    pub bases: bool,
}

/// What instructions show of the system's state without changing it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The selectors of ES, DS, FS, GS, CS and SS.
    pub selectors: [u16; 6],
    /// Those of CS and SS as SYSCALL loads them, and as SYSRET to 64-bit code does.
    pub call_selectors: [[u16; 2]; 2],
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// IA32_KERNEL_GS_BASE, which SWAPGS swaps.
    pub kernel_gs_base: u64,
}

/// A page as the present view sees it.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// Start of the page in RAM.
    pub page: RamOffset,
    /// Reads are granted.
    pub read: bool,
    /// Writes are granted, and the page's dirty bit is set.
    pub write: bool,
    /// The mapping is global.
    pub global: bool,
}

/// What an access meets.
#[derive(Clone, Copy, Debug)]
pub enum Probed {
    /// A page of RAM.
    Page(Mapped),
    /// A device, or nothing at all.
    Device,
    /// A page fault.
    Fault,
    /// What the reference CPU must find out: an address that is not canonical, data breakpoints.
    Other,
}

impl Probed {
    /// The page of RAM.
    pub fn page(self) -> Option<Mapped> {
        if let Self::Page(mapped) = self { Some(mapped) } else { None }
    }
}

/// The reference CPU as a part of another engine.
pub struct Tier {
    pub(crate) cpu: Cpu,
    blocks: BlockCache,
}

impl Tier {
    /// A CPU after reset, whose flushes of the TLB are kept for [`Tier::take_flushes`].
    pub fn new(
        index: u32,
        model: CpuModel,
        memory: Arc<GuestMemory>,
        attention: Arc<Attention>,
        board: Arc<dyn Board>,
    ) -> Self {
        let mut cpu = Cpu::new(index, model, memory, attention, board);
        cpu.tlb.observe();
        Self { cpu, blocks: BlockCache::default() }
    }

    /// The whole state.
    pub fn export(&self) -> CpuState {
        self.cpu.export()
    }

    /// Replaces the whole state.
    pub fn import(&mut self, state: &CpuState) {
        self.cpu.import(state);
        self.blocks.clear();
    }

    /// Executes one instruction (or delivers an event); [`Exit::Budget`] means that there is nothing to report.
    pub fn step(&mut self) -> Exit {
        self.run(1)
    }

    /// Executes up to so many.
    pub fn run(&mut self, instructions: u64) -> Exit {
        let mut left = instructions;
        run(&mut self.cpu, &mut self.blocks, &mut left)
    }

    /// What the control registers amount to.
    pub fn facts(&self) -> Facts {
        let (cpu, mode) = (&self.cpu, &self.cpu.mode);
        let events = &cpu.state.events;
        let (cr0_now, cr4_now) = (cpu.state.cr0, cpu.state.cr4);
        let fpu = cr0_now & (cr0::EM | cr0::TS) == 0 && cr4_now & cr4::OSFXSR != 0;
        Facts {
            plain_64: mode.is_64()
                && !mode.stepping
                && events.shadow == Shadow::None
                && events.exception.is_none()
                && events.activity == Activity::Running,
            code_64: mode.is_64(),
            user: mode.cpl == 3,
            reaches_user: mode.view == View::SupervisorAc,
            fast_call: cpu.fast_calls().then_some(cpu.state.msrs.lstar),
            fast_call_mask: cpu.state.msrs.sfmask,
            smap: cr4_now & cr4::SMAP != 0,
            checks_alignment: mode.view == View::UserAligned,
            fpu,
            avx: fpu && cr4_now & cr4::OSXSAVE != 0 && cpu.state.xcr0 & 7 == 7,
            pcid: if cr4_now & cr4::PCIDE != 0 { cpu.state.cr3 & 0xfff } else { 0 },
            fs_base: cpu.state.segment(SegmentRegister::Fs).base,
            gs_base: cpu.state.segment(SegmentRegister::Gs).base,
            no_counter: cr4_now & cr4::TSD != 0,
            bases: cr4_now & cr4::FSGSBASE != 0,
        }
    }

    /// The root page table: CR3 without its low bits.
    pub fn root(&self) -> u64 {
        self.cpu.state.cr3 & x86::paging::ADDRESS
    }

    /// The general registers.
    pub fn registers(&self) -> &[u64] {
        &self.cpu.gpr[..16]
    }

    /// Sets the general registers.
    pub fn set_registers(&mut self, registers: &[u64; 16]) {
        self.cpu.gpr[..16].copy_from_slice(registers);
    }

    /// The instruction pointer.
    pub fn rip(&self) -> u64 {
        self.cpu.rip
    }

    /// Sets the instruction pointer.
    pub fn set_rip(&mut self, rip: u64) {
        self.cpu.rip = rip;
    }

    /// The arithmetic flags.
    pub fn status(&self) -> u64 {
        self.cpu.status.bits()
    }

    /// Sets the arithmetic flags.
    pub fn set_status(&mut self, bits: u64) {
        self.cpu.status.set_bits(bits);
    }

    /// x87, SSE and AVX.
    pub fn fpu(&mut self) -> &mut Fpu {
        &mut self.cpu.state.fpu
    }

    /// The flags other than the arithmetic ones.
    pub fn system_flags(&self) -> u64 {
        self.cpu.state.rflags & !flags::STATUS
    }

    /// Sets the flags other than the arithmetic ones. TF stays as it is.
    pub fn set_system_flags(&mut self, bits: u64) {
        let kept = flags::STATUS | flags::TF;
        let changed = (self.cpu.state.rflags ^ bits) & !kept;
        self.cpu.state.rflags ^= changed;
        if changed & flags::AC != 0 {
            self.cpu.refresh();
        }
    }

    /// Loads CS and SS as SYSCALL or (`user`) SYSRET does: the engine on top has executed one.
    pub fn after_fast_call(&mut self, user: bool) {
        self.cpu.after_fast_call(user);
    }

    /// Registers that an engine on top reads by itself.
    pub fn seen(&self) -> Seen {
        let state = &self.cpu.state;
        let selector = |register| state.segment(register).selector;
        Seen {
            selectors: [
                selector(SegmentRegister::Es),
                selector(SegmentRegister::Ds),
                selector(SegmentRegister::Fs),
                selector(SegmentRegister::Gs),
                selector(SegmentRegister::Cs),
                selector(SegmentRegister::Ss),
            ],
            call_selectors: [false, true].map(|user| self.cpu.fast_call_selectors(user)),
            cr2: state.cr2,
            cr3: state.cr3,
            tsc_aux: state.msrs.tsc_aux,
            tsc_adjust: state.msrs.tsc_adjust,
            kernel_gs_base: state.msrs.kernel_gs_base,
        }
    }

    /// The time-stamp counter.
    pub fn tsc(&self) -> u64 {
        self.cpu.tsc()
    }

    /// Sets FS base, GS base and IA32_KERNEL_GS_BASE.
    pub fn set_bases(&mut self, fs: u64, gs: u64, kernel_gs: u64) {
        let state = &mut self.cpu.state;
        state.segments[SegmentRegister::Fs as usize].base = fs;
        state.segments[SegmentRegister::Gs as usize].base = gs;
        state.msrs.kernel_gs_base = kernel_gs;
    }

    /// Is there an interrupt that waits for IF?
    pub fn interrupt_waits(&self) -> bool {
        self.cpu.interrupt_wanted
    }

    /// Is there an interrupt or NMI that was announced and can be delivered now?
    pub fn event_due(&self) -> bool {
        let events = &self.cpu.state.events;
        self.cpu.interrupt_wanted && self.cpu.state.rflags & flags::IF != 0
            || events.nmi_pending && !events.nmi_blocked
    }

    /// How iced's decoder is to read bytes that older models read otherwise.
    pub fn decoder_options(&self) -> u32 {
        system::decoder_options(&self.cpu.model)
    }

    /// Does the instruction only compute: no system state, nothing that is not implemented?
    pub fn is_computation(&self, instruction: &Instruction) -> bool {
        crate::decode::is_computation(instruction)
    }

    /// Does the CPU model offer the instruction?
    pub fn offers(&self, instruction: &Instruction) -> bool {
        instruction.cpuid_features().iter().all(|&feature| system::offers(&self.cpu.model, feature))
    }

    /// Where code at a linear address lies in RAM; `None` if it cannot be fetched without a fault.
    pub fn code_at(&mut self, linear: u64) -> Option<RamOffset> {
        let view = self.cpu.mode.view;
        match self.cpu.translate(linear, Access::Fetch, view, FLAT) {
            Ok(crate::access::Place::Ram(at)) => Some(at),
            _ => None,
        }
    }

    /// Is the code that [`Tier::code_at`] has just found on a global page?
    pub fn is_code_global(&self, linear: u64) -> bool {
        let (entry, tag) = self.cpu.tlb.entry(self.cpu.mode.view as usize, linear);
        entry.fetch == tag && entry.global
    }

    /// What a read or a write that is about to happen meets at a linear address. Accessed and dirty bits are set.
    pub fn probe(&mut self, linear: u64, write: bool) -> Probed {
        if !is_canonical(linear) {
            return Probed::Other;
        }
        let access = if write { Access::Write } else { Access::Read };
        let Ok(page) = self.cpu.walk(linear, access, self.cpu.mode.view) else { return Probed::Fault };
        let Some(ram) = self.cpu.memory.ram(page.phys) else { return Probed::Device };
        if self.cpu.state.dr7 & 0xff != 0 {
            return Probed::Other;
        }
        self.cpu.tlb.note_size(linear, page.rights.shift);
        let Rights { read, write, global, .. } = page.rights;
        Probed::Page(Mapped { page: ram, read, write, global })
    }

    /// Gives the guest the page fault that the last [`Tier::probe`] has met, at RIP. Nothing was done in between, and the instruction
    /// there raises nothing else before.
    ///
    /// # Errors
    /// The guest's CPU has shut down.
    pub fn deliver_fault(&mut self) -> Result<(), Exit> {
        let delivered = self.cpu.deliver(Event::Exception(self.cpu.raised));
        delivered.map_err(|reason| shut_down(&mut self.cpu, reason))
    }

    /// The page of a linear address as far as it can be told without changing anything: what may be entered into a map
    /// ahead of an access.
    pub fn peek(&mut self, linear: u64) -> Option<Mapped> {
        if !is_canonical(linear) {
            return None;
        }
        let page = self.cpu.inspect(linear, self.cpu.mode.view)?;
        self.cpu.tlb.note_size(linear, page.rights.shift);
        Some(Mapped {
            page: self.cpu.memory.ram(page.phys)?,
            read: page.rights.read,
            write: page.rights.write,
            global: page.rights.global,
        })
    }

    /// Where the code at a linear address lies, for the user or the supervisor, if a fetch would change nothing in the tables;
    /// `None` where a real one must decide.
    pub fn peek_code(&self, linear: u64, user: bool) -> Option<RamOffset> {
        let view = if user { View::User } else { View::Supervisor };
        let page = self.cpu.inspect(linear, view).filter(|page| page.rights.fetch)?;
        self.cpu.memory.ram(page.phys)
    }

    /// TLB flushes since the last call.
    pub fn take_flushes(&mut self) -> Vec<Flush> {
        self.cpu.tlb.take_flushes()
    }

    /// Counters.
    pub fn statistics(&self) -> Statistics {
        self.cpu.statistics
    }
}
