//! Operands of an instruction by its template.

use iced_x86::{Code, Instruction, Mnemonic, OpCodeOperandKind as K, OpKind, Register};
use x86::Gpr;

use super::builder::Builder;
use super::catalog::Template;
use super::values;

impl Builder<'_> {
    /// Builds one instruction of a kind and emits it, with what it needs before it. False if the operands
    /// chosen do not go together; another try may do.
    pub fn instruction(&mut self, template: &Template) -> bool {
        let mut instruction = Instruction::new();
        instruction.set_code(template.code);
        self.prepare(template);
        let mut in_memory = false;
        let mut immediates = 0;
        for n in 0..template.operand_count {
            let kind = template.operands[usize::from(n)];
            let n = u32::from(n);
            match kind {
                K::mem_offs => {
                    let at = self.place(template.memory.size());
                    instruction.set_op_kind(n, OpKind::Memory);
                    instruction.set_memory_displ_size(8);
                    instruction.set_memory_displacement64(at);
                    self.furnish(at, template.memory);
                }
                K::mem | K::mem_mib => {
                    in_memory = true;
                    self.memory_operand(&mut instruction, n, template.memory);
                }
                K::mem_vsib32x | K::mem_vsib64x | K::mem_vsib32y | K::mem_vsib64y => {
                    self.vector_index(&mut instruction, n, kind, template);
                }
                _ if is_either(kind) && self.random.bool() => {
                    in_memory = true;
                    self.memory_operand(&mut instruction, n, template.memory);
                }
                K::seg_rSI => instruction.set_op_kind(n, OpKind::MemorySegRSI),
                K::es_rDI => instruction.set_op_kind(n, OpKind::MemoryESRDI),
                K::seg_rDI => instruction.set_op_kind(n, OpKind::MemorySegRDI),
                K::seg_rBX_al => {
                    instruction.set_op_kind(n, OpKind::Memory);
                    instruction.set_memory_base(Register::RBX);
                    instruction.set_memory_index(Register::AL);
                }
                _ => match self.register(kind) {
                    Some(register) => instruction.set_op_register(n, register),
                    None => {
                        if !self.immediate(&mut instruction, n, kind, immediates) {
                            return false;
                        }
                        immediates += 1;
                    }
                },
            }
            if instruction.op_kind(n) == OpKind::Register
                && instruction.op_register(n).full_register() == Register::RSP
                && self.random.u8(..16) != 0
            {
                return false; // the stack pointer is lost too often otherwise
            }
        }
        if template.lockable && in_memory && instruction.op0_kind() == OpKind::Memory {
            instruction.set_has_lock_prefix(self.random.u8(..3) == 0);
        }
        if template.rep || template.repne {
            match self.random.u8(..3) {
                0 if template.repne => instruction.set_has_repne_prefix(true),
                0 | 1 if template.rep => instruction.set_has_rep_prefix(true),
                _ => {}
            }
        }
        if template.unique && !self.make_unique(&mut instruction) {
            return false;
        }
        let before = self.mark();
        let done = self.emit(&instruction)
            && tells(template.code, self.x87_pointers)
                .iter()
                .all(|&(offset, code)| self.hide(&instruction, offset, code));
        if !done {
            self.go_back(before);
        }
        done
    }

    /// Overwrites a field that an instruction has just stored. False if its address cannot be encoded.
    fn hide(&mut self, stored: &Instruction, offset: u64, code: Code) -> bool {
        let mut store = Instruction::new();
        store.set_code(code);
        store.set_op0_kind(OpKind::Memory);
        store.set_segment_prefix(stored.segment_prefix());
        store.set_memory_base(stored.memory_base());
        store.set_memory_index(stored.memory_index());
        store.set_memory_index_scale(stored.memory_index_scale());
        let narrow = stored.memory_base().size() == 4;
        store.set_memory_displ_size(if narrow { 4 } else { 8 });
        let at = stored.memory_displacement64().wrapping_add(offset);
        store.set_memory_displacement64(if narrow { u64::from(at as u32) } else { at });
        match code {
            Code::Mov_rm16_imm16 => {
                store.set_op1_kind(OpKind::Immediate16);
                store.set_immediate16(0);
            }
            Code::Mov_rm32_imm32 => {
                store.set_op1_kind(OpKind::Immediate32);
                store.set_immediate32(0);
            }
            _ => {
                store.set_op1_kind(OpKind::Immediate32to64);
                store.set_immediate32to64(0);
            }
        }
        let done = self.emit(&store);
        if done && let Some(step) = self.case.steps.last_mut() {
            step.companion = true;
        }
        done
    }

    /// Emits what makes the instruction worthwhile.
    fn prepare(&mut self, template: &Template) {
        if matches!(template.code, Code::Shld_rm16_r16_CL | Code::Shrd_rm16_r16_CL) {
            // By more than 16 they are undefined.
            let count = self.random.u64(..=16);
            self.load(Gpr::Rcx, count);
        }
        if self.random.u8(..8) == 0 {
            return;
        }
        let operands = &template.operands;
        if operands.contains(&K::seg_rSI) {
            self.aim(Gpr::Rsi, template.memory);
        }
        if operands.contains(&K::es_rDI) || operands.contains(&K::seg_rDI) {
            self.aim(Gpr::Rdi, template.memory);
        }
        if operands.contains(&K::seg_rBX_al) {
            self.aim(Gpr::Rbx, template.memory);
        }
        match template.code.mnemonic() {
            _ if template.rep || template.repne => {
                let count = self.random.u64(..24);
                self.load(Gpr::Rcx, count);
            }
            Mnemonic::Div | Mnemonic::Idiv => {
                // So that not nearly every quotient overflows.
                let high = if self.random.bool() { 0 } else { self.random.u64(..4) };
                self.load(Gpr::Rdx, high);
                if template.operands[0] == K::r8_or_mem {
                    let dividend = self.random.u64(..1024);
                    self.load(Gpr::Rax, dividend);
                }
            }
            Mnemonic::Leave | Mnemonic::Enter => {
                let at = super::registers::pointer(self.random) & !7;
                self.load(Gpr::Rbp, at);
            }
            _ => {}
        }
    }

    /// A register of this kind.
    fn register(&mut self, kind: K) -> Option<Register> {
        let any = |random: &mut fastrand::Rng, first: Register, count: u32| first + random.u32(..count);
        let random = &mut *self.random;
        Some(match kind {
            K::r8_or_mem | K::r8_reg | K::r8_opcode => any(random, Register::AL, 20),
            K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
                any(random, Register::AX, 16)
            }
            K::r32_or_mem | K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode | K::r32_vvvv => {
                any(random, Register::EAX, 16)
            }
            K::r64_or_mem | K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode | K::r64_vvvv => {
                any(random, Register::RAX, 16)
            }
            K::mm_or_mem | K::mm_reg | K::mm_rm => any(random, Register::MM0, 8),
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 | K::xmm_is5 => {
                any(random, Register::XMM0, 16)
            }
            K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 | K::ymm_is5 => {
                any(random, Register::YMM0, 16)
            }
            K::seg_reg => any(random, Register::ES, 6),
            K::cr_reg => any(random, Register::CR0, 16),
            K::dr_reg => any(random, Register::DR0, 8),
            K::es => Register::ES,
            K::cs => Register::CS,
            K::ss => Register::SS,
            K::ds => Register::DS,
            K::fs => Register::FS,
            K::gs => Register::GS,
            K::al => Register::AL,
            K::cl => Register::CL,
            K::ax => Register::AX,
            K::dx => Register::DX,
            K::eax => Register::EAX,
            K::rax => Register::RAX,
            K::st0 => Register::ST0,
            K::sti_opcode => any(random, Register::ST0, 8),
            _ => return None,
        })
    }

    /// An immediate of this kind. False if it is none.
    fn immediate(&mut self, instruction: &mut Instruction, n: u32, kind: K, already: u32) -> bool {
        let value = values::integer(self.random);
        let narrow_shift = matches!(instruction.code(), Code::Shld_rm16_r16_imm8 | Code::Shrd_rm16_r16_imm8);
        let mut set = |kind: OpKind, value: u64| {
            instruction.set_op_kind(n, kind);
            match kind {
                OpKind::Immediate8 => instruction.set_immediate8(value as u8),
                OpKind::Immediate8_2nd => instruction.set_immediate8_2nd(value as u8),
                OpKind::Immediate8to16 => instruction.set_immediate8to16(i16::from(value as i8)),
                OpKind::Immediate8to32 => instruction.set_immediate8to32(i32::from(value as i8)),
                OpKind::Immediate8to64 => instruction.set_immediate8to64(i64::from(value as i8)),
                OpKind::Immediate16 => instruction.set_immediate16(value as u16),
                OpKind::Immediate32 => instruction.set_immediate32(value as u32),
                OpKind::Immediate32to64 => instruction.set_immediate32to64(i64::from(value as i32)),
                _ => instruction.set_immediate64(value),
            }
        };
        match kind {
            K::imm8 if already > 0 => set(OpKind::Immediate8_2nd, value),
            // 16-bit double shifts by more than 16 are undefined.
            K::imm8 if narrow_shift => set(OpKind::Immediate8, value & 0xf),
            K::imm8 | K::imm4_m2z => set(OpKind::Immediate8, value),
            K::imm8_const_1 => set(OpKind::Immediate8, 1),
            K::imm8sex16 => set(OpKind::Immediate8to16, value),
            K::imm8sex32 => set(OpKind::Immediate8to32, value),
            K::imm8sex64 => set(OpKind::Immediate8to64, value),
            K::imm16 => set(OpKind::Immediate16, value),
            K::imm32 => set(OpKind::Immediate32, value),
            K::imm32sex64 => set(OpKind::Immediate32to64, value),
            K::imm64 => set(OpKind::Immediate64, value),
            _ => return false,
        }
        true
    }

    /// A gather's operand: a base in the data pages; the indexes are whatever the register holds.
    fn vector_index(&mut self, instruction: &mut Instruction, n: u32, kind: K, template: &Template) {
        instruction.set_op_kind(n, OpKind::Memory);
        let at = self.place(template.memory.size());
        let base = self.random.usize(..16);
        if base != Gpr::Rsp as usize {
            self.load(super::gpr(base), at);
        }
        let first =
            if matches!(kind, K::mem_vsib32x | K::mem_vsib64x) { Register::XMM0 } else { Register::YMM0 };
        instruction.set_memory_base(Register::RAX + base as u32);
        instruction.set_memory_index(first + self.random.u32(..16));
        instruction.set_memory_index_scale(1 << self.random.u32(..4));
        instruction.set_memory_displ_size(0);
    }

    /// Gathers need three different vector registers.
    fn make_unique(&mut self, instruction: &mut Instruction) -> bool {
        let numbers = [
            instruction.op_register(0).number(),
            instruction.op_register(2).number(),
            instruction.memory_index().number(),
        ];
        numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[0] != numbers[2]
    }
}

/// Fields in what an instruction stores that tell of the CPU rather than the program, and what overwrites
/// them: in FXSAVE's image the bits that MXCSR has, which a CPU model may lack, and the x87 pointers, which
/// AMD stores only while an exception is pending; elsewhere the selectors of the last x87 instruction and
/// operand, which some CPUs store as zero (CPUID.7.EBX[13]).
/// Without `x87_pointers`, all of those as well.
pub(super) fn tells(code: Code, x87_pointers: bool) -> &'static [(u64, Code)] {
    match code {
        Code::Fxsave_m512byte | Code::Fxsave64_m512byte => &[
            (6, Code::Mov_rm16_imm16),
            (8, Code::Mov_rm64_imm32),
            (16, Code::Mov_rm64_imm32),
            (28, Code::Mov_rm32_imm32),
        ],
        Code::Fnstenv_m14byte | Code::Fnsave_m94byte if !x87_pointers => {
            &[(6, Code::Mov_rm32_imm32), (10, Code::Mov_rm32_imm32)]
        }
        Code::Fnstenv_m28byte | Code::Fnsave_m108byte if !x87_pointers => {
            &[(12, Code::Mov_rm64_imm32), (20, Code::Mov_rm64_imm32)]
        }
        Code::Fnstenv_m14byte | Code::Fnsave_m94byte => {
            &[(8, Code::Mov_rm16_imm16), (12, Code::Mov_rm16_imm16)]
        }
        Code::Fnstenv_m28byte | Code::Fnsave_m108byte => {
            &[(16, Code::Mov_rm16_imm16), (24, Code::Mov_rm16_imm16)]
        }
        _ => &[],
    }
}

/// A register or memory.
fn is_either(kind: K) -> bool {
    matches!(
        kind,
        K::r8_or_mem
            | K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::ymm_or_mem
    )
}
