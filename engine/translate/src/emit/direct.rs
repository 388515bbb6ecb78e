//! Code for a mirror, where the guest's addresses are the host's: instructions are copied as they are, memory operands
//! and all sixteen registers included.
//!
//! What remains to be done:
//!
//! ```text
//!   [rip + x]     the same bytes with another displacement; out of reach: a register that the instruction does not use
//!                 is saved and gets the address
//!   call          push [rip + literal]; jmp
//!   indirect      mov gs:[…], rcx, r14, r15
//!                 mov r14, target;  movzx r15d, r14w;  mov rcx, gs:[r15*8 + targets];  lea rcx, [rcx + r14]
//!                 jrcxz hit;  int3
//!           hit:  mov rcx, r14 back;  jmp gs:[r15*8 + hosts]
//!   entry         mov r15, gs:[…]          where indirect branches come in
//! ```
//!
//! A block leaves by INT3: what for is noted beside the block, not in memory that the guest could reach. There is no poll: the process
//! is stopped wherever it is, and goes on step by step to the next instruction of the guest's. Up to its last access that
//! can fault, a sequence has changed nothing but the registers it has saved, so that a fault in it is put right by
//! taking those back.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

use x86::paging::is_canonical;

use super::assembler::Hole;
use super::block::{Emitter, Key, Next, has_memory, is_plain};
use super::operand::gpr_number;
use crate::frame::ExitKind;
use crate::mirror::hole::{APART, JUMPS_AT, SECOND_BITS};

const RCX: u8 = 1;
const RSP: u8 = 4;
const R14: u8 = 14;
const R15: u8 = 15;

/// The words for the time-stamp counter, behind the registers: in the order of [`Word`](super::system::Word).
pub(crate) const COUNTER: u8 = 16;

/// Registers that may stand for an address, and whose encodings go with AH to DH.
const STANDS: [Register; 7] =
    [Register::RDI, Register::RSI, Register::RBX, Register::RDX, Register::RCX, Register::RBP, Register::RAX];

/// A displacement relative to the code, known once the block is placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relative {
    /// Where it is, in bytes from the start of the block.
    pub at: u32,
    /// Where the instruction ends, likewise.
    pub next: u32,
    /// The address that it leads to.
    pub target: u64,
}

/// A range of host code in which some of the guest's registers are saved behind GS, and not changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    /// In bytes from the start of the block.
    pub from: u32,
    /// Likewise, not included.
    pub to: u32,
    /// A bit a register.
    pub registers: u16,
}

/// What a translation for a mirror has besides that for a shadow map.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    /// Each INT3: where it is in the block, what for, and the value that belongs to it.
    pub exits: Vec<(u32, ExitKind, u32)>,
    pub saved: Vec<Saved>,
    pub relatives: Vec<Relative>,
    /// Constants to be placed behind the code, and the displacements that lead to them.
    literals: Vec<(Hole, u64)>,
    /// Where the code will be: start and end.
    arena: (u64, u64),
    /// Where in the present instruction its displacement is.
    pub displacement_at: usize,
    /// Where what is out of line begins, in bytes from the start of the block: from there on no instruction starts again.
    pub tail: u32,
    /// Where the block's last instruction, a call, returns to.
    pub returns: Option<u64>,
    /// Indirect branches that the first half of the jump cache does not know.
    missed: Vec<Missed>,
}

/// An indirect branch to be looked up in the second half of the jump cache: R14 holds the target.
#[derive(Debug)]
struct Missed {
    hole: Hole,
    offset: u16,
    kind: Kind,
}

/// What an indirect branch does with the stack.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Jump,
    /// Pushes the address of the next instruction.
    Call(u64),
    /// Releases so many bytes, the address among them.
    Return(i32),
}

impl Direct {
    /// For code that will be in this range.
    pub fn new(arena: (u64, u64)) -> Self {
        Self { arena, ..Self::default() }
    }
}

/// Where a register is saved, from GS.
pub(crate) fn slot(register: u8) -> i32 {
    8 * i32::from(register)
}

impl Emitter<'_> {
    /// The beginning of a block for a mirror: where indirect branches enter.
    pub fn direct_entry(&mut self) {
        self.asm.load_frame(R15, slot(R15));
    }

    /// Translates an instruction for a mirror.
    pub fn direct(&mut self, instruction: &Instruction, key: Key) -> Next {
        if !self.surroundings.offers(instruction) || uses_gs(instruction) {
            return Next::Interpret;
        }
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::ConditionalBranch => return self.direct_conditional(instruction, key),
            FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Return => return self.direct_branch(instruction, key),
            _ => return Next::Interpret,
        }
        match instruction.mnemonic() {
            Mnemonic::Nop => return Next::Following,
            Mnemonic::Rdtsc | Mnemonic::Rdtscp if key.counter => {
                self.direct_counter(instruction.mnemonic() == Mnemonic::Rdtscp);
                return Next::Following;
            }
            _ => {}
        }
        if !(is_native(instruction, key)
            || is_plain(instruction, key) && self.surroundings.is_computation(instruction))
        {
            return Next::Interpret;
        }
        self.direct_copy(instruction, key)
    }

    /// RDTSC and RDTSCP, as [`system`](super::system) has them.
    fn direct_counter(&mut self, with_number: bool) {
        for register in [R14, R15] {
            self.asm.store_frame(slot(register), register);
        }
        self.read_counter(with_number, |word| slot(COUNTER + word as u8));
        for register in [R14, R15] {
            self.asm.load_frame(register, slot(register));
        }
    }

    fn direct_copy(&mut self, instruction: &Instruction, key: Key) -> Next {
        let relative = instruction.is_ip_rel_memory_operand();
        if !relative {
            let bytes = self.bytes;
            self.asm.bytes(bytes);
            return Next::Following;
        }
        if instruction.memory_base() == Register::EIP {
            return Next::Interpret;
        }
        let target = self.direct_target(instruction, key);
        if instruction.mnemonic() == Mnemonic::Lea {
            return self.direct_address(instruction, target);
        }
        if self.reaches(target) {
            self.copy_relative(target);
            return Next::Following;
        }
        let used = self.info.info(instruction);
        let is_used = |stand: Register| {
            used.used_registers().iter().any(|used| used.register().full_register() == stand)
        };
        let Some(&stand) = STANDS.iter().find(|&&stand| !is_used(stand)) else { return Next::Interpret };
        let Some(number) = gpr_number(stand) else { return Next::Interpret };
        let mut changed = *instruction;
        changed.set_memory_base(stand);
        changed.set_memory_displacement64(0);
        changed.set_memory_displ_size(u32::from(number == 5));
        let before = self.asm.here();
        self.asm.store_frame(slot(number), number);
        let from = self.asm.here() as u32;
        self.asm.mov_imm64(number, target);
        if !self.encode(&changed) {
            self.asm.code.truncate(before);
            return Next::Interpret;
        }
        let to = self.asm.here() as u32;
        self.direct.saved.push(Saved { from, to, registers: 1 << number });
        self.asm.load_frame(number, slot(number));
        Next::Following
    }

    /// LEA of an address relative to the code.
    fn direct_address(&mut self, instruction: &Instruction, target: u64) -> Next {
        let register = instruction.op0_register();
        let Some(number) = gpr_number(register) else { return Next::Interpret };
        match register.size() {
            8 => self.asm.mov_imm64(number, target),
            4 => self.asm.mov_imm32(number, target as u32),
            _ => return Next::Interpret,
        }
        Next::Following
    }

    /// The present instruction with another displacement.
    fn copy_relative(&mut self, target: u64) {
        let (bytes, start) = (self.bytes, self.asm.here());
        self.asm.bytes(bytes);
        let (at, next) = ((start + self.direct.displacement_at) as u32, self.asm.here() as u32);
        self.direct.relatives.push(Relative { at, next, target });
    }

    /// The address of an operand relative to the code. The decoder runs as if the page were at zero.
    fn direct_target(&self, instruction: &Instruction, key: Key) -> u64 {
        absolute(instruction.ip_rel_memory_address() as i64, key)
    }

    /// Can the address be had by a displacement from anywhere in the code?
    fn reaches(&self, target: u64) -> bool {
        const REACH: u64 = (1 << 31) - 64;
        let (start, end) = self.direct.arena;
        self.direct.displacement_at != 0 && target.abs_diff(start) < REACH && target.abs_diff(end) < REACH
    }

    fn direct_conditional(&mut self, instruction: &Instruction, key: Key) -> Next {
        let target = instruction.near_branch_target() as i64;
        if !is_canonical(absolute(target, key)) {
            return Next::Interpret;
        }
        if instruction.is_jcc_short_or_near() {
            let hole = self.asm.jcc(instruction.condition_code() as u8 - 1);
            self.direct_link(hole, target, key);
            return Next::Following;
        }
        if !matches!(
            instruction.code(),
            Code::Loop_rel8_64_RCX
                | Code::Loop_rel8_64_ECX
                | Code::Loope_rel8_64_RCX
                | Code::Loope_rel8_64_ECX
                | Code::Loopne_rel8_64_RCX
                | Code::Loopne_rel8_64_ECX
                | Code::Jrcxz_rel8_64
                | Code::Jecxz_rel8_64
        ) {
            return Next::Interpret;
        }
        // The same over a jump past the link.
        let (bytes, over) = (self.bytes, 5);
        self.asm.bytes(&bytes[..bytes.len() - 1]);
        self.asm.bytes(&[over]);
        let falls = self.asm.jmp();
        let hole = self.asm.jmp();
        self.direct_link(hole, target, key);
        self.asm.land(falls);
        Next::Following
    }

    /// Leads a jump to an offset from the start of the page, in it or not.
    pub fn direct_link(&mut self, hole: Hole, target: i64, key: Key) {
        match self.within(target) {
            Some(target) => self.link(hole, target),
            None => self.link_across(hole, absolute(target, key)),
        }
    }

    fn direct_branch(&mut self, instruction: &Instruction, key: Key) -> Next {
        let leads_astray = || !is_canonical(absolute(instruction.near_branch_target() as i64, key));
        match instruction.code() {
            Code::Jmp_rel8_64 | Code::Jmp_rel32_64 | Code::Call_rel32_64 if leads_astray() => {
                return Next::Interpret;
            }
            Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => {
                let hole = self.asm.jmp();
                self.direct_link(hole, instruction.near_branch_target() as i64, key);
            }
            Code::Call_rel32_64 => {
                let next = absolute(instruction.next_ip() as i64, key);
                self.direct_push(next);
                self.direct.returns = Some(next);
                let hole = self.asm.jmp();
                self.direct_link(hole, instruction.near_branch_target() as i64, key);
            }
            Code::Jmp_rm64 | Code::Call_rm64 | Code::Retnq | Code::Retnq_imm16 => {
                return self.direct_indirect(instruction, key);
            }
            _ => return Next::Interpret,
        }
        Next::End
    }

    /// Pushes an address.
    fn direct_push(&mut self, next: u64) {
        if i32::try_from(next).is_ok() {
            self.asm.bytes(&[0x68]);
            self.asm.bytes(&(next as u32).to_le_bytes());
        } else {
            let hole = self.asm.push_hole();
            self.direct.literals.push((hole, next));
        }
    }

    fn direct_indirect(&mut self, instruction: &Instruction, key: Key) -> Next {
        let kind = match instruction.code() {
            Code::Retnq => Kind::Return(8),
            Code::Retnq_imm16 => Kind::Return(8 + i32::from(instruction.immediate16())),
            Code::Call_rm64 => Kind::Call(absolute(instruction.next_ip() as i64, key)),
            _ => Kind::Jump,
        };
        let before = self.asm.here();
        for register in [RCX, R14, R15] {
            self.asm.store_frame(slot(register), register);
        }
        let from = self.asm.here() as u32;
        if matches!(kind, Kind::Return(_)) {
            self.asm.bytes(&[0x4c, 0x8b, 0x34, 0x24]); // mov r14, [rsp]
        } else if !self.direct_load_target(instruction, key) {
            self.asm.code.truncate(before);
            return Next::Interpret;
        }
        self.asm.movzx16(R15, R14);
        let hit = self.direct_look_up(0);
        let hole = self.asm.jmp();
        self.direct.missed.push(Missed { hole, offset: self.offset, kind });
        self.asm.land_short(hit);
        self.direct_go(kind, 0, from);
        Next::End
    }

    /// RCX ← zero if the slot in R15 of a half of the jump cache has the target in R14; jumps then.
    fn direct_look_up(&mut self, half: usize) -> Hole {
        self.asm.load_gs_index8(RCX, R15, JUMPS_AT[half] as i32);
        self.asm.lea(RCX, Some(RCX), Some((R14, 0)), 0, true);
        self.asm.jrcxz()
    }

    /// Goes where the slot in R15 leads. The registers have been saved since `from`.
    fn direct_go(&mut self, kind: Kind, half: usize, from: u32) {
        if let Kind::Call(next) = kind {
            self.direct_push(next);
            self.direct.returns = Some(next);
        }
        let to = self.asm.here() as u32;
        self.direct.saved.push(Saved { from, to, registers: 1 << RCX | 1 << R14 | 1 << R15 });
        self.asm.load_frame(RCX, slot(RCX));
        self.asm.load_frame(R14, slot(R14));
        if let Kind::Return(released) = kind {
            self.asm.lea(RSP, Some(RSP), None, released, true);
        }
        self.asm.jump_gs_index8(R15, (JUMPS_AT[half] + APART) as i32);
    }

    /// Places what is out of line, first of all the second lookups.
    pub fn direct_tail(&mut self) {
        self.direct.tail = self.asm.here() as u32;
        for Missed { hole, offset, kind } in std::mem::take(&mut self.direct.missed) {
            self.asm.land(hole);
            self.offset = offset;
            self.mark(offset);
            let from = self.asm.here() as u32;
            self.asm.rorx(R15, R14, SECOND_BITS);
            self.asm.movzx16(R15, R15);
            let hit = self.direct_look_up(1);
            self.direct_exit(ExitKind::Indirect, u32::from(offset));
            self.asm.land_short(hit);
            self.direct_go(kind, 1, from);
        }
    }

    /// R14 ← the target of an indirect branch.
    fn direct_load_target(&mut self, instruction: &Instruction, key: Key) -> bool {
        if instruction.op0_kind() == OpKind::Register {
            let Some(number) = gpr_number(instruction.op0_register()) else { return false };
            self.asm.mov(R14, number);
            return true;
        }
        if instruction.is_ip_rel_memory_operand() {
            if instruction.memory_base() == Register::EIP {
                return false;
            }
            let target = self.direct_target(instruction, key);
            if self.reaches(target) {
                self.asm.bytes(&[0x4c, 0x8b, 0x35, 0, 0, 0, 0]); // mov r14, [rip + …]
                let next = self.asm.here() as u32;
                self.direct.relatives.push(Relative { at: next - 4, next, target });
            } else {
                self.asm.mov_imm64(R14, target);
                self.asm.load_plain(R14, R14);
            }
            return true;
        }
        let mut load = Instruction::new();
        load.set_code(Code::Mov_r64_rm64);
        load.set_op0_kind(OpKind::Register);
        load.set_op0_register(Register::R14);
        load.set_op1_kind(OpKind::Memory);
        load.set_memory_base(instruction.memory_base());
        load.set_memory_index(instruction.memory_index());
        load.set_memory_index_scale(instruction.memory_index_scale());
        load.set_memory_displacement64(instruction.memory_displacement64());
        load.set_memory_displ_size(instruction.memory_displ_size());
        load.set_segment_prefix(instruction.segment_prefix());
        self.encode(&load)
    }

    /// An INT3 that leaves.
    pub fn direct_exit(&mut self, kind: ExitKind, value: u32) {
        self.direct.exits.push((self.asm.here() as u32, kind, value));
        self.asm.bytes(&[0xcc]);
    }

    /// Places the constants.
    pub fn direct_literals(&mut self) {
        let literals = std::mem::take(&mut self.direct.literals);
        if literals.is_empty() {
            return;
        }
        while !self.asm.here().is_multiple_of(8) {
            self.asm.bytes(&[0xcc]);
        }
        for (hole, value) in literals {
            self.asm.land(hole);
            self.asm.bytes(&value.to_le_bytes());
        }
    }
}

/// The address at an offset from the start of the page.
fn absolute(offset: i64, key: Key) -> u64 {
    key.at.unwrap_or(0).wrapping_add(offset as u64)
}

/// Does the instruction address memory by GS, which is ours?
fn uses_gs(instruction: &Instruction) -> bool {
    let addresses = instruction.op_kinds().any(|kind| {
        matches!(
            kind,
            OpKind::Memory
                | OpKind::MemorySegSI
                | OpKind::MemorySegESI
                | OpKind::MemorySegRSI
                | OpKind::MemorySegDI
                | OpKind::MemorySegEDI
                | OpKind::MemorySegRDI
        )
    });
    addresses && instruction.memory_segment() == Register::GS
}

/// Does the instruction do in a mirror what it does in the guest, though it could not be relocated? Its memory accesses are
/// implied, or many.
fn is_native(instruction: &Instruction, key: Key) -> bool {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Push | M::Pop | M::Leave => {
            let segment =
                (0..instruction.op_count()).any(|n| instruction.op_register(n).is_segment_register());
            matches!(instruction.stack_pointer_increment(), -8 | 8) && !segment
                || instruction.mnemonic() == M::Leave
        }
        M::Cld | M::Std | M::Endbr64 | M::Endbr32 | M::Xlatb => true,
        M::Prefetchnta | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchw => {
            has_memory(instruction)
        }
        M::Rdfsbase | M::Wrfsbase => key.bases,
        M::Movsb | M::Movsw | M::Movsq | M::Stosb | M::Stosw | M::Stosd | M::Stosq => true,
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq => true,
        M::Cmpsb | M::Cmpsw | M::Cmpsq => true,
        // The SSE instructions of these names are no string instructions.
        M::Movsd | M::Cmpsd => instruction.is_string_instruction(),
        _ => false,
    }
}
