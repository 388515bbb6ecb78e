//! What an instruction's function works on.

use std::sync::Arc;

use base::GuestMemory;
use engine::{Attention, Board, CpuModel, Statistics};
use x86::flags::{self, STATUS};
use x86::{CpuState, Exception, Gpr};

use crate::mode::Mode;
use crate::op::NEXT;
use crate::raised::Raised;
use crate::status::Status;
use crate::tlb::Tlb;

/// A virtual CPU while it runs.
///
/// The registers that nearly every instruction touches live here; all others in `state`, whose `gpr`,
/// `rip` and arithmetic flags are stale meanwhile. [`Cpu::export`] makes it whole.
pub(crate) struct Cpu {
    /// General registers, then `ZERO` and `NEXT`.
    pub gpr: [u64; 18],
    /// The instruction being executed.
    pub rip: u64,
    /// The arithmetic flags.
    pub status: Status,
    /// What the control registers amount to. [`Cpu::refresh`] after any change to them.
    pub mode: Mode,
    /// The exception, when a function gives [`Raised`].
    pub raised: Exception,
    /// The block being executed must not go on: its code, the maps or the mode have changed.
    pub leave: bool,
    /// An interrupt waits in the board for IF, the shadow or the task priority.
    pub interrupt_wanted: bool,
    /// Debug conditions met so far by the present instruction, as bits of DR6.
    pub debug_hits: u64,
    /// Cached translations.
    pub tlb: Tlb,
    /// Everything else. RFLAGS' other flags live here.
    pub state: CpuState,
    /// RAM.
    pub memory: Arc<GuestMemory>,
    /// The rest of the machine.
    pub board: Arc<dyn Board>,
    /// What other threads want.
    pub attention: Arc<Attention>,
    /// What CPUID offers.
    pub model: CpuModel,
    /// The vCPU's number.
    pub index: u32,
    /// Counters.
    pub statistics: Statistics,
}

impl Cpu {
    /// A CPU after reset.
    pub fn new(
        index: u32,
        model: CpuModel,
        memory: Arc<GuestMemory>,
        attention: Arc<Attention>,
        board: Arc<dyn Board>,
    ) -> Self {
        let state = CpuState::default();
        let mut cpu = Self {
            gpr: [0; 18],
            rip: 0,
            status: Status::default(),
            mode: Mode::of(&state),
            raised: Exception::ud(),
            leave: false,
            interrupt_wanted: false,
            debug_hits: 0,
            tlb: Tlb::default(),
            state,
            memory,
            board,
            attention,
            model,
            index,
            statistics: Statistics::default(),
        };
        let state = cpu.state.clone();
        cpu.import(&state);
        cpu
    }

    /// Takes a whole state in.
    pub fn import(&mut self, state: &CpuState) {
        self.state = state.clone();
        self.gpr[..16].copy_from_slice(&state.gpr);
        self.rip = state.rip;
        self.status.set_bits(state.rflags);
        self.interrupt_wanted = true;
        self.debug_hits = 0;
        self.tlb.flush_all();
        self.refresh();
    }

    /// Gives the whole state out.
    pub fn export(&self) -> CpuState {
        let mut state = self.state.clone();
        state.gpr.copy_from_slice(&self.gpr[..16]);
        state.rip = self.rip;
        state.rflags = self.rflags();
        state
    }

    /// Records an exception and gives the mark to return.
    #[cold]
    pub fn raise(&mut self, exception: Exception) -> Raised {
        self.raised = exception;
        Raised(())
    }

    /// #GP(0).
    #[cold]
    pub fn gp(&mut self) -> Raised {
        self.raise(Exception::gp(0))
    }

    /// #UD.
    #[cold]
    pub fn ud(&mut self) -> Raised {
        self.raise(Exception::ud())
    }

    /// Works out anew what depends on the control registers, segments and flags, and ends the block.
    pub fn refresh(&mut self) {
        self.mode = Mode::of(&self.state);
        let pcid_on = self.state.cr4 & x86::control::cr4::PCIDE != 0;
        self.tlb.set_pcid(if pcid_on { self.state.cr3 & 0xfff } else { 0 });
        self.leave = true;
    }

    /// A general register.
    #[inline(always)]
    pub fn get(&self, register: Gpr) -> u64 {
        self.gpr[register as usize]
    }

    /// Sets a general register.
    #[inline(always)]
    pub fn set(&mut self, register: Gpr, value: u64) {
        self.gpr[register as usize] = value;
    }

    /// The address of the next instruction.
    #[inline(always)]
    pub fn next(&self) -> u64 {
        self.gpr[usize::from(NEXT)]
    }

    /// Goes on at another address, cut to the size of the instruction pointer. The caller has checked it
    /// (canonical, within the segment's limit).
    #[inline(always)]
    pub fn set_next(&mut self, address: u64) {
        self.gpr[usize::from(NEXT)] = address;
    }

    /// RFLAGS.
    pub fn rflags(&self) -> u64 {
        self.state.rflags & !STATUS | self.status.bits() | flags::RESERVED_ONE
    }

    /// Sets RFLAGS, all of it; the caller has sorted out what may change.
    pub fn set_rflags(&mut self, value: u64) {
        let value = value & flags::ALL | flags::RESERVED_ONE;
        let changed = self.state.rflags ^ value;
        self.status.set_bits(value);
        self.state.rflags = value;
        if changed & (flags::TF | flags::VM | flags::AC | flags::IF) != 0 {
            self.refresh();
        }
    }
}
