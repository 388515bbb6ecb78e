//! Plain instructions: copied as they are where nothing needs to change, otherwise encoded anew with the
//! memory operand at [A + B] and spilled registers in scratch.

use iced_x86::{EncodingKind, Instruction, Mnemonic, OpAccess, OpKind, Register};

use super::assembler::{A, B, C};
use super::block::{Call, Emitter, Next, has_memory, uses_x87};
use super::operand::{Operand, Site, gpr_number, is_high_byte, is_spilled};
use crate::frame::gpr_at;

/// A spilled register that stands in scratch during one instruction.
#[derive(Clone, Copy)]
struct Stand {
    guest: u8,
    host: u8,
    load: bool,
    store: bool,
}

impl Emitter<'_> {
    /// Copies a plain instruction.
    pub fn copy(&mut self, instruction: &Instruction) -> Next {
        let memory = has_memory(instruction);
        let stands = match self.stands(instruction, memory) {
            Some(stands) => stands,
            None => return Next::Interpret,
        };
        if !memory && stands.is_empty() {
            let bytes = self.bytes;
            self.asm.bytes(bytes);
            let vectors = (0..instruction.op_count())
                .all(|n| instruction.op_kind(n) == OpKind::Register && instruction.op_register(n).is_xmm());
            if vectors && instruction.op_count() > 0 {
                self.after = self.before;
            }
            return Next::Following;
        }
        let high = (0..instruction.op_count())
            .any(|n| instruction.op_kind(n) == OpKind::Register && is_high_byte(instruction.op_register(n)));
        if high {
            return Next::Interpret;
        }
        let mut changed = *instruction;
        if memory {
            let size = instruction.memory_size().size();
            if size == 0 || size > 32 || instruction.is_broadcast() {
                return Next::Interpret;
            }
            let access = self.memory_access(instruction);
            let write = match access {
                Some(OpAccess::Read | OpAccess::CondRead) => false,
                Some(OpAccess::Write | OpAccess::ReadWrite | OpAccess::ReadCondWrite) => true,
                _ => return Next::Interpret,
            };
            let insists = insists_on_alignment(instruction);
            let wide = size == 16 && !insists && self.site == Site::Aligned && stands.is_empty();
            let same = self.before.filter(|&before| wide && before == Operand::new(instruction, before.from));
            let from = match same.map(|same| same.from).or_else(|| self.linear_address(instruction)) {
                Some(from) => from,
                None => return Next::Interpret,
            };
            if self.site.for_size(size) >= Site::Crossing
                && let Some(prepared) = self.surroundings.prepare(self.bytes).filter(|p| !p.ends_block())
            {
                let fpu = uses_x87(instruction);
                self.crossing = Some(Call { prepared, fpu, offset: self.offset, resume: None });
            }
            if same.is_none() {
                // Where the CPU itself insists on alignment, eight bytes of it are enough to find the page.
                self.look_up(from, if insists { 8 } else { size }, write);
            }
            self.after = wide.then(|| Operand::new(instruction, from));
            changed.set_memory_base(Register::RAX + u32::from(from));
            changed.set_memory_index(Register::R14);
            changed.set_memory_index_scale(1);
            changed.set_memory_displacement64(0);
            changed.set_memory_displ_size(0);
            changed.set_segment_prefix(Register::None);
        }
        for stand in &stands {
            for n in 0..instruction.op_count() {
                let register = instruction.op_register(n);
                if instruction.op_kind(n) == OpKind::Register && gpr_number(register) == Some(stand.guest) {
                    changed.set_op_register(n, with_number(register, stand.host));
                }
            }
            if stand.load {
                self.asm.load_frame(stand.host, gpr_at(stand.guest));
            }
        }
        if !self.encode(&changed) {
            return Next::Interpret;
        }
        for stand in &stands {
            if stand.store {
                self.asm.store_frame(gpr_at(stand.guest), stand.host);
            }
        }
        if stands.iter().any(|stand| stand.host == C) {
            self.restore_c();
        }
        // What the reference CPU has executed goes on here, but for the last instruction of a block.
        self.crossing = None;
        let here = self.asm.here() as u32;
        let mine = self.crossings.last_mut().filter(|(_, call)| call.offset == self.offset);
        if let Some((_, call)) = mine
            && !self.single
        {
            call.resume = Some(here);
        }
        Next::Following
    }

    /// LEA needs no lookup.
    pub fn copy_address(&mut self, instruction: &Instruction) -> Next {
        let destination = instruction.op0_register();
        let Some(number) = gpr_number(destination) else { return Next::Interpret };
        let spilled = |register| gpr_number(register).is_some_and(is_spilled);
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let relative = matches!(base, Register::RIP | Register::EIP);
        if !spilled(destination) && !spilled(base) && !spilled(index) && !relative {
            let bytes = self.bytes;
            self.asm.bytes(bytes);
            return Next::Following;
        }
        if destination.size() < 4 {
            return Next::Interpret;
        }
        let mut plain = *instruction;
        plain.set_segment_prefix(Register::None);
        let Some(from) = self.linear_address(&plain) else { return Next::Interpret };
        // A 32-bit destination takes the low half.
        let wide = destination.size() == 8;
        if is_spilled(number) {
            let value = if wide { from } else { A };
            if !wide {
                self.asm.lea(A, Some(from), None, 0, false);
            }
            self.asm.store_frame(gpr_at(number), value);
        } else {
            self.asm.lea(number, Some(from), None, 0, wide);
        }
        Next::Following
    }

    /// What the explicit memory operand suffers.
    fn memory_access(&mut self, instruction: &Instruction) -> Option<OpAccess> {
        let n = (0..instruction.op_count()).find(|&n| instruction.op_kind(n) == OpKind::Memory)?;
        Some(self.info.info(instruction).op_access(n))
    }

    /// Scratch for the spilled registers among the register operands. `None` if there is not enough.
    fn stands(&mut self, instruction: &Instruction, memory: bool) -> Option<Vec<Stand>> {
        let mut free: &[u8] = if memory { &[C] } else { &[A, B, C] };
        let mut stands: Vec<Stand> = Vec::new();
        for n in 0..instruction.op_count() {
            if instruction.op_kind(n) != OpKind::Register {
                continue;
            }
            let register = instruction.op_register(n);
            let Some(guest) = gpr_number(register).filter(|&guest| is_spilled(guest)) else { continue };
            let access = self.info.info(instruction).op_access(n);
            let reads = !matches!(access, OpAccess::Write) || register.size() < 4;
            let writes = !matches!(access, OpAccess::Read | OpAccess::CondRead);
            if let Some(stand) = stands.iter_mut().find(|stand| stand.guest == guest) {
                stand.load |= reads;
                stand.store |= writes;
                continue;
            }
            let (&host, rest) = free.split_first()?;
            free = rest;
            stands.push(Stand { guest, host, load: reads, store: writes });
        }
        Some(stands)
    }

    /// Encodes an instruction at the end of the code. False, and nothing is emitted, if it cannot be.
    pub fn encode(&mut self, instruction: &Instruction) -> bool {
        let code = std::mem::take(&mut self.asm.code);
        let before = code.len();
        self.encoder.set_buffer(code);
        let encoded = self.encoder.encode(instruction, 0).is_ok();
        self.asm.code = self.encoder.take_buffer();
        if !encoded {
            self.asm.code.truncate(before);
        }
        encoded
    }
}

/// Does the CPU itself fault on a misaligned address? The legacy SSE instructions on 16 bytes do, but for the
/// moves and comparisons named here (SDM vol. 2, 2.4, types 2 and 4), and some of the VEX moves do. AMD's misaligned
/// mode cannot be set by a guest: LDMXCSR is the reference CPU's.
fn insists_on_alignment(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntps | M::Vmovntpd | M::Vmovntdq | M::Vmovntdqa => true,
        M::Movups
        | M::Movupd
        | M::Movdqu
        | M::Lddqu
        | M::Pcmpestri
        | M::Pcmpestri64
        | M::Pcmpestrm
        | M::Pcmpestrm64
        | M::Pcmpistri
        | M::Pcmpistrm
        | M::Cmpxchg16b => false,
        _ => {
            let vector = instruction
                .op_kinds()
                .zip(0..)
                .any(|(kind, n)| kind == OpKind::Register && instruction.op_register(n).is_xmm());
            instruction.encoding() == EncodingKind::Legacy && vector && instruction.memory_size().size() == 16
        }
    }
}

/// The register of the same width with another number.
fn with_number(register: Register, number: u8) -> Register {
    let first = match register.size() {
        1 => return [Register::R13L, Register::R14L, Register::R15L][usize::from(number - 13)],
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    };
    first + u32::from(number)
}
