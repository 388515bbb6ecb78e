//! One block: straight-line guest code up to an unconditional branch, an instruction that is the
//! interpreter's, the end of the page, or a bound.
//!
//! ```text
//!   far entry:    lea B, [A - start]; mov gs:[page], B      from other pages; A holds the guest address
//!   near entry:   mov B, gs:[poll]; mov B, [B]              faults when attention is wanted
//!                 … instructions, side exits out of line …
//!   exits:        mov B, …; jmp to the exit of the kind, which all blocks share (`shared`)
//! ```
//!
//! A block knows the offset of its code in the page but not the page's address, so processes that map the page at
//! different addresses share it. Guest registers 0–12 and the flags are where the guest has them; the
//! others are in the frame. At every guest instruction's first host byte the guest's state is exactly the one
//! before that instruction, and an instruction commits nothing before its last access that can fault. So
//! a fault anywhere is answered by looking up the guest instruction and starting it again, here or in the
//! interpreter.

use iced_x86::{
    Decoder, DecoderError, EncodingKind, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind,
    Register,
};
use interpret::Prepared;

use super::assembler::{A, Assembler, B, Hole};
use super::direct::Direct;
use super::operand::{Operand, Site};
use super::shared::{Place, ToShared};
use crate::frame::{ExitKind, at};

const PAGE: usize = base::PAGE_SIZE as usize;

/// The longest instruction in bytes (SDM vol. 2, 2.3.11).
pub(crate) const LONGEST_INSTRUCTION: usize = 15;

/// Bytes of the poll at a near entry.
pub(crate) const POLL_BYTES: u32 = 12;

/// The most instructions in a block.
const MOST: usize = 64;

/// What a translation depends on besides the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// CPL 3.
    pub user: bool,
    /// x87, MMX and SSE may be used.
    pub fpu: bool,
    /// AVX may be used.
    pub avx: bool,
    /// DF is set.
    pub direction: bool,
    /// The page's address, where it is the supervisor's and global, or there is a space.
    pub at: Option<u64>,
    /// The [space](crate::spaces) that the translation is for; zero if it is for everybody.
    pub space: u8,
    /// RDTSC may be executed, and from the host's counter.
    pub counter: bool,
    /// RDFSBASE and its kin may be executed.
    pub bases: bool,
    /// One instruction a block: for runs that count instructions.
    pub single: bool,
    /// For a mirror ([`direct`](super::direct)).
    pub direct: bool,
}

impl Key {
    /// May the block jump without asking the dispatcher? Not where each instruction is counted, nor under DF: the
    /// jump caches hold what was translated without.
    pub fn jumps(self) -> bool {
        !self.single && !self.direction
    }
}

/// Where a link leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// An offset in the same page.
    Within(u16),
    /// An address in another page, both of them global: the link holds until the guest flushes that page.
    Across {
        /// The guest address.
        target: u64,
        /// Where the link leads if the target turns out not to be global: the way by the jump cache, in bytes from the
        /// start of the block.
        other: u32,
    },
}

impl Goal {
    /// The same for a block that was placed at `host`.
    pub fn moved(self, host: u32) -> Self {
        match self {
            Self::Within(_) => self,
            Self::Across { target, other } => Self::Across { target, other: host + other },
        }
    }
}

/// A direct branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Where its 32-bit displacement is, in bytes from the start of the block.
    pub at: u32,
    /// The stub that it leads to while the target is not translated, likewise.
    pub stub: u32,
    pub goal: Goal,
    /// It leads to behind itself, within the page: whoever takes it need not be asked for attention.
    pub forward: bool,
}

/// An instruction in the middle of a block that the reference CPU executes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub prepared: Prepared,
    /// It uses x87 or MMX state.
    pub fpu: bool,
    /// Its offset in the page.
    pub offset: u16,
    /// Where the block goes on, in bytes from its start, unless the instruction ends it.
    pub resume: Option<u32>,
}

/// A translated block, not yet placed.
#[derive(Debug)]
pub(crate) struct Emitted {
    pub code: Vec<u8>,
    /// The near entry.
    pub near: u32,
    /// The stub that sends whoever enters back to the dispatcher.
    pub stale: u32,
    /// Guest bytes that it was made from.
    pub guest_bytes: u16,
    /// Host offset → guest offset in the page, ascending.
    pub sites: Vec<(u32, u16)>,
    pub links: Vec<Link>,
    pub calls: Vec<Call>,
    pub to_shared: Vec<ToShared>,
    pub direct: Direct,
}

/// What the translator must know about its surroundings.
pub(crate) trait Surroundings {
    /// How the decoder is to read bytes that older models read otherwise.
    fn decoder_options(&self) -> u32;
    /// Does the CPU model offer the instruction?
    fn offers(&self, instruction: &Instruction) -> bool;
    /// Is the instruction one of those families that touch nothing but general and FP state and memory? Nothing
    /// else may ever run natively: this is what keeps the guest in.
    fn is_computation(&self, instruction: &Instruction) -> bool;
    /// Decodes an instruction for the reference CPU.
    fn prepare(&self, bytes: &[u8]) -> Option<Prepared>;
    /// How the instruction at this offset is to be checked.
    fn site(&self, offset: u16) -> Site;
    /// Is the host's PEXT an instruction like others?
    fn fast_extract(&self) -> bool;
    /// Where the code for a mirror will be: start and end.
    fn arena(&self) -> (u64, u64);
}

/// The state of a translation.
pub(crate) struct Emitter<'a> {
    pub asm: Assembler,
    pub encoder: iced_x86::Encoder,
    pub info: InstructionInfoFactory,
    pub surroundings: &'a dyn Surroundings,
    /// The page's bytes.
    pub page: &'a [u8],
    /// The present instruction's bytes and offset.
    pub bytes: &'a [u8],
    pub offset: u16,
    code: u16,
    pub site: Site,
    /// [`Surroundings::fast_extract`].
    pub fast_extract: bool,
    /// [`Key::single`].
    pub single: bool,
    /// [`Key::at`].
    pub at: Option<u64>,
    /// The operand of 16 bytes that was looked up before the present instruction, if its address and addend are in their
    /// registers still.
    pub before: Option<Operand>,
    /// The same after it.
    pub after: Option<Operand>,
    /// Page crossings and absent entries found by comparison, with RCX in C: to be landed at a stub for the
    /// instruction.
    pub misses: Vec<(Hole, u16)>,
    /// Jumps to a stub that restores the flags and gives the instruction to the interpreter.
    slow: Vec<(Hole, u32)>,
    /// How the reference CPU is called for the present instruction, should its operand cross a page.
    pub crossing: Option<Call>,
    /// Page crossings, with RCX in C, that the reference CPU executes in the middle of the block: to be landed.
    pub crossings: Vec<(Hole, Call)>,
    /// The next instruction is HLT or another that must stay together with an STI before it.
    pub stays_together: bool,
    /// Stubs for returns to an offset: to be landed.
    pub returns: Vec<(Hole, u16)>,
    links: Vec<(Hole, u16, u16)>,
    across: Vec<(Hole, u64, u16)>,
    /// Jumps to the shared code.
    pub to_shared: Vec<(Hole, Place)>,
    sites: Vec<(u32, u16)>,
    first_link: u32,
    calls: Vec<Call>,
    first_call: u32,
    /// [`Key::direct`].
    is_direct: bool,
    /// What belongs to that.
    pub direct: Direct,
}

/// What to do after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on with the following one.
    Following,
    /// The block ends; everything is emitted.
    End,
    /// The instruction is the interpreter's.
    Interpret,
}

/// Translates the block at `start` of a page. `first` numbers its links and calls.
///
/// `page` is the page's bytes. Where the block's first instruction runs on into the next page, the bytes of that
/// follow, and the block is that one instruction.
pub(crate) fn translate(
    page: &[u8],
    start: u16,
    key: Key,
    surroundings: &dyn Surroundings,
    first: (u32, u32),
) -> Emitted {
    let mut emitter = Emitter {
        asm: Assembler { code: Vec::with_capacity(1024) },
        encoder: iced_x86::Encoder::new(64),
        info: InstructionInfoFactory::new(),
        surroundings,
        page: &page[..PAGE.min(page.len())],
        bytes: &[],
        offset: start,
        code: 0,
        site: Site::Aligned,
        fast_extract: surroundings.fast_extract(),
        single: key.single,
        at: key.at,
        before: None,
        after: None,
        misses: Vec::new(),
        slow: Vec::new(),
        crossing: None,
        crossings: Vec::new(),
        stays_together: false,
        returns: Vec::new(),
        links: Vec::new(),
        across: Vec::new(),
        to_shared: Vec::new(),
        sites: Vec::new(),
        first_link: first.0,
        calls: Vec::new(),
        first_call: first.1,
        is_direct: key.direct,
        direct: Direct::new(surroundings.arena()),
    };
    let near = emitter.entry(start);
    let end = emitter.body(page, start, key);
    emitter.finish(near, start, end, key)
}

impl<'a> Emitter<'a> {
    /// The entries. Gives the near one.
    fn entry(&mut self, start: u16) -> u32 {
        if self.is_direct {
            self.direct_entry();
            return self.asm.here() as u32;
        }
        self.asm.lea(B, Some(A), None, -i32::from(start), true);
        self.asm.store_frame(at!(page), B);
        let near = self.asm.here() as u32;
        self.mark(start);
        self.asm.load_frame(B, at!(poll));
        self.asm.load_plain(B, B);
        near
    }

    fn body(&mut self, page: &'a [u8], start: u16, key: Key) -> usize {
        let options = self.surroundings.decoder_options();
        let mut decoder = Decoder::with_ip(64, &page[usize::from(start)..], u64::from(start), options);
        let mut instruction = Instruction::default();
        let mut count = 0;
        let mut at = usize::from(start);
        let most = if key.single { 1 } else { MOST };
        loop {
            if at >= PAGE {
                self.jump_across(at as i64, key);
                break;
            }
            if count == most {
                match self.within(at as i64) {
                    Some(next) => self.jump_within(next),
                    None => self.jump_across(at as i64, key),
                }
                break;
            }
            decoder.decode_out(&mut instruction);
            self.offset = at as u16;
            self.mark(self.offset);
            if decoder.last_error() == DecoderError::NoMoreBytes && count > 0 {
                // It runs on into the next page, whose mapping is not this block's business.
                self.jump_across(at as i64, key);
                break;
            }
            if instruction.is_invalid() {
                self.leave(ExitKind::InterpretFpu, u32::from(self.offset));
                at = (at + 15).min(page.len());
                break;
            }
            self.bytes = &page[at..at + instruction.len()];
            self.code = instruction.code() as u16;
            if key.direct {
                let offsets = decoder.get_constant_offsets(&instruction);
                self.direct.displacement_at = offsets.displacement_offset();
            }
            self.site = self.surroundings.site(self.offset);
            at += instruction.len();
            self.stays_together = must_follow_sti(page.get(at..).unwrap_or_default());
            count += 1;
            match self.instruction(&instruction, key) {
                Next::Following => {}
                Next::End => break,
                Next::Interpret if key.direct => {
                    self.leave(ExitKind::Interpret, u32::from(self.offset));
                    break;
                }
                Next::Interpret => match self.call(&instruction, key) {
                    Next::Following => {}
                    Next::End => break,
                    Next::Interpret => {
                        let fpu = uses_x87(&instruction);
                        let kind = if fpu { ExitKind::InterpretFpu } else { ExitKind::Interpret };
                        // With the code, so that it can be counted what the reference CPU is needed for.
                        let code = u32::from(instruction.code() as u16) << 16;
                        self.leave(kind, code | u32::from(self.offset));
                        break;
                    }
                },
            }
        }
        at
    }

    /// Notes that host code from here on belongs to the guest instruction at `offset`.
    pub fn mark(&mut self, offset: u16) {
        self.sites.push((self.asm.here() as u32, offset));
    }

    fn instruction(&mut self, instruction: &Instruction, key: Key) -> Next {
        if key.direct {
            return self.direct(instruction, key);
        }
        self.before = self.after.take();
        if !self.surroundings.offers(instruction) {
            return Next::Interpret;
        }
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::ConditionalBranch => return self.conditional(instruction, key),
            FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Return => return self.branch(instruction, key),
            _ => return Next::Interpret,
        }
        match instruction.mnemonic() {
            Mnemonic::Push | Mnemonic::Pop | Mnemonic::Leave => return self.stack(instruction),
            Mnemonic::Nop
            | Mnemonic::Endbr64
            | Mnemonic::Endbr32
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
            | Mnemonic::Prefetchw => {
                return Next::Following;
            }
            Mnemonic::Cld if !key.direction => return Next::Following,
            Mnemonic::Lea => return self.copy_address(instruction),
            Mnemonic::Cli
            | Mnemonic::Sti
            | Mnemonic::Clac
            | Mnemonic::Stac
            | Mnemonic::Swapgs
            | Mnemonic::Pushfq
            | Mnemonic::Popfq => return self.flag_instruction(instruction, key),
            Mnemonic::Mov if has_system_register(instruction) => return self.system(instruction, key),
            Mnemonic::Rdtsc
            | Mnemonic::Rdtscp
            | Mnemonic::Rdpid
            | Mnemonic::Rdfsbase
            | Mnemonic::Rdgsbase
            | Mnemonic::Wrfsbase
            | Mnemonic::Wrgsbase => return self.system(instruction, key),
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
                if has_memory(instruction) && instruction.op1_kind() == OpKind::Register =>
            {
                return self.bit_in_memory(instruction);
            }
            _ => {}
        }
        if instruction.is_string_instruction() {
            return self.string(instruction, key);
        }
        if !is_plain(instruction, key) || !self.surroundings.is_computation(instruction) {
            return Next::Interpret;
        }
        self.copy(instruction)
    }

    /// Has the reference CPU execute the instruction, and goes on with the following one where it can. Emits nothing
    /// where that cannot be prepared.
    fn call(&mut self, instruction: &Instruction, key: Key) -> Next {
        let Some(prepared) = self.surroundings.prepare(self.bytes) else { return Next::Interpret };
        let number = self.first_call + self.calls.len() as u32;
        self.leave(ExitKind::Call, number);
        let follows =
            !key.single && instruction.flow_control() == FlowControl::Next && !prepared.ends_block();
        let resume = follows.then_some(self.asm.here() as u32);
        let fpu = uses_x87(instruction);
        self.calls.push(Call { prepared, fpu, offset: self.offset, resume });
        if follows { Next::Following } else { Next::End }
    }

    /// A link: a jump within the page to be directed at its target's near entry.
    pub fn link(&mut self, hole: Hole, target: u16) {
        self.links.push((hole, target, self.offset));
    }

    /// The same, for a jump to an address in another page, whose `page` is in the frame already.
    pub fn link_across(&mut self, hole: Hole, target: u64) {
        self.across.push((hole, target, self.offset));
    }

    /// Notes in the frame which page is executed from now on. Uses B.
    pub fn enter_page(&mut self, page: u64) {
        if i32::try_from(page as i64).is_ok() {
            self.asm.store_frame_imm(at!(page), page as u32);
        } else {
            self.asm.mov_imm64(B, page);
            self.asm.store_frame(at!(page), B);
        }
    }

    /// Where the hole leads, the flags come back from the frame, and the instruction is the reference CPU's.
    pub fn go_slow(&mut self, hole: Hole) {
        self.slow.push((hole, u32::from(self.code) << 16 | u32::from(self.offset)));
    }

    /// Emits an exit.
    pub fn leave(&mut self, kind: ExitKind, value: u32) {
        if self.is_direct {
            return self.direct_exit(kind, value);
        }
        self.asm.mov_imm32(B, value);
        let hole = self.asm.jmp();
        self.to_shared.push((hole, Place::Exit(kind)));
    }

    fn finish(mut self, near: u32, start: u16, end: usize, key: Key) -> Emitted {
        for (hole, offset) in std::mem::take(&mut self.misses) {
            let start = self.sites.iter().rev().find(|&&(_, site)| site == offset);
            let start = start.map_or(0, |&(host, _)| host as usize);
            self.asm.land(hole);
            self.asm.swap_rcx_c();
            self.asm.lea_code(A, start);
            self.asm.store_frame(at!(fault_at), A);
            self.leave(ExitKind::Missed, u32::from(offset));
        }
        for (hole, call) in std::mem::take(&mut self.crossings) {
            self.asm.land(hole);
            self.asm.swap_rcx_c();
            self.leave(ExitKind::Call, self.first_call + self.calls.len() as u32);
            self.calls.push(call);
        }
        for (hole, value) in std::mem::take(&mut self.slow) {
            self.asm.land(hole);
            self.asm.restore_flags(at!(saved_flags));
            self.leave(ExitKind::Interpret, value);
        }
        self.return_stubs(key);
        self.direct_tail();
        let mut links = Vec::with_capacity(self.links.len() + self.across.len());
        for (hole, target, source) in std::mem::take(&mut self.links) {
            let at = Assembler::position(&hole) as u32;
            let stub = self.asm.here() as u32;
            self.asm.land(hole);
            self.mark(target);
            self.leave(ExitKind::Link, self.first_link + links.len() as u32);
            let forward = target > source && !self.is_direct;
            links.push(Link { at, stub, goal: Goal::Within(target), forward });
        }
        for (hole, target, offset) in std::mem::take(&mut self.across) {
            let at = Assembler::position(&hole) as u32;
            let stub = self.asm.here() as u32;
            self.asm.land(hole);
            self.offset = offset;
            self.mark(offset);
            self.leave(ExitKind::Link, self.first_link + links.len() as u32);
            let other = if self.is_direct { stub } else { self.asm.here() as u32 };
            if !self.is_direct {
                self.asm.mov_imm64(A, target);
                let hole = self.asm.jmp();
                self.to_shared.push((hole, Place::Jump));
            }
            links.push(Link { at, stub, goal: Goal::Across { target, other }, forward: false });
        }
        let stale = self.asm.here() as u32;
        self.mark(start);
        self.leave(ExitKind::Continue, u32::from(start));
        self.direct_literals();
        Emitted {
            code: self.asm.code,
            near,
            stale,
            guest_bytes: (end - usize::from(start)) as u16,
            sites: self.sites,
            links,
            to_shared: self
                .to_shared
                .iter()
                .map(|(hole, place)| ToShared { at: Assembler::position(hole) as u32, place: *place })
                .collect(),
            calls: self.calls,
            direct: self.direct,
        }
    }
}

/// Is the next instruction HLT, MWAIT or SYSEXIT, or not known? STI before them counts on its shadow.
fn must_follow_sti(next: &[u8]) -> bool {
    match next {
        [0xf4, ..] | [0x0f, 0x35, ..] | [0x0f, 0x01, 0xc9, ..] => true,
        [0x0f, _, _, ..] => false,
        [0x0f, ..] | [] => true,
        _ => false,
    }
}

/// May the instruction run natively, its memory operand relocated?
pub(crate) fn is_plain(instruction: &Instruction, key: Key) -> bool {
    use Mnemonic as M;
    if instruction.is_privileged()
        || instruction.is_string_instruction()
        || instruction.is_stack_instruction()
        || instruction.is_save_restore_instruction()
        || instruction.is_vsib()
        || !matches!(instruction.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
    {
        return false;
    }
    let segment_register =
        (0..instruction.op_count()).any(|n| instruction.op_register(n).is_segment_register());
    if segment_register {
        return false;
    }
    let vex = instruction.encoding() == EncodingKind::VEX;
    if vex && !key.avx && !is_general_vex(instruction) || is_fpu(instruction) && !key.fpu {
        return false;
    }
    // F3 before BSF and BSR means nothing to a model without BMI, but TZCNT and LZCNT to the host.
    if matches!(instruction.mnemonic(), M::Bsf | M::Bsr) && instruction.has_rep_prefix() {
        return false;
    }
    !matches!(
        instruction.mnemonic(),
        M::Cpuid
            | M::Rdtsc
            | M::Rdtscp
            | M::Rdpid
            | M::Rdpmc
            | M::Xgetbv
            | M::Xsetbv
            | M::Cli
            | M::Sti
            | M::Cld
            | M::Std
            | M::Clac
            | M::Stac
            | M::Sgdt
            | M::Sidt
            | M::Sldt
            | M::Str
            | M::Smsw
            | M::Lmsw
            | M::Lar
            | M::Lsl
            | M::Verr
            | M::Verw
            | M::Rdfsbase
            | M::Rdgsbase
            | M::Wrfsbase
            | M::Wrgsbase
            | M::Swapgs
            | M::Enter
            | M::Xlatb
            | M::Maskmovq
            | M::Maskmovdqu
            | M::Vmaskmovdqu
            | M::Vmaskmovps
            | M::Vmaskmovpd
            | M::Vpmaskmovd
            | M::Vpmaskmovq
            | M::Clflush
            | M::Clflushopt
            | M::Clwb
            | M::Cldemote
            | M::Clzero
            | M::Monitor
            | M::Mwait
            | M::Monitorx
            | M::Mwaitx
            | M::Umonitor
            | M::Umwait
            | M::Tpause
            | M::Serialize
            | M::Ldmxcsr
            | M::Vldmxcsr
            | M::Fldenv
            | M::Fnstenv
            | M::Fstenv
            | M::Fnsave
            | M::Fsave
            | M::Frstor
            | M::In
            | M::Out
            | M::Invlpg
            | M::Lss
            | M::Lfs
            | M::Lgs
            | M::Hlt
    )
}

/// Does the instruction have an explicit memory operand?
pub(crate) fn has_memory(instruction: &Instruction) -> bool {
    instruction.op_kinds().any(|kind| kind == OpKind::Memory)
}

/// Does MOV read a segment, control or debug register, or load one?
fn has_system_register(instruction: &Instruction) -> bool {
    (0..2).any(|n| {
        let register = instruction.op_register(n);
        register.is_segment_register() || register.is_cr() || register.is_dr()
    })
}

/// VEX-encoded instructions on general registers (BMI) need no AVX state.
fn is_general_vex(instruction: &Instruction) -> bool {
    use iced_x86::CpuidFeature as F;
    instruction.cpuid_features().iter().all(|f| matches!(f, F::BMI1 | F::BMI2 | F::INTEL8086 | F::X64))
}

/// Does the instruction use state that stays in the host's x87 while Rust runs? The vector registers do not.
pub(crate) fn uses_x87(instruction: &Instruction) -> bool {
    let is_vector = |register: Register| register.is_xmm() || register.is_ymm();
    let registers: Vec<Register> = (0..instruction.op_count())
        .filter(|&n| instruction.op_kind(n) == OpKind::Register)
        .map(|n| instruction.op_register(n))
        .collect();
    let vectors_alone = registers.iter().any(|&register| is_vector(register))
        && registers.iter().all(|&register| is_vector(register) || register.is_gpr());
    is_fpu(instruction) && !vectors_alone
}

/// Does the instruction use x87, MMX or SSE state?
pub(crate) fn is_fpu(instruction: &Instruction) -> bool {
    use iced_x86::CpuidFeature as F;
    let uses = |feature: &F| {
        !matches!(
            feature,
            F::INTEL8086
                | F::INTEL8086_ONLY
                | F::INTEL186
                | F::INTEL286
                | F::INTEL286_ONLY
                | F::INTEL386
                | F::INTEL386_ONLY
                | F::INTEL486
                | F::X64
                | F::CMOV
                | F::CX8
                | F::CMPXCHG16B
                | F::POPCNT
                | F::LZCNT
                | F::BMI1
                | F::BMI2
                | F::ADX
                | F::MOVBE
                | F::PAUSE
                | F::MULTIBYTENOP
                | F::RDRAND
                | F::RDSEED
                | F::TSC
                | F::RDTSCP
                | F::RDPID
                | F::FSGSBASE
                | F::MSR
                | F::CPUID
                | F::INVPCID
                | F::SMAP
                | F::SYSCALL
                | F::SEP
                | F::CLFSH
        )
    };
    let general_sse = matches!(
        instruction.mnemonic(),
        Mnemonic::Lfence | Mnemonic::Mfence | Mnemonic::Sfence | Mnemonic::Movnti | Mnemonic::Crc32
    );
    // iced counts FWAIT with the 8086's own.
    instruction.mnemonic() == Mnemonic::Wait || !general_sse && instruction.cpuid_features().iter().any(uses)
}
