//! Branches: always forward, to a main instruction soon to come, directly, by a register or through memory.

use iced_x86::{Code, Instruction, MemorySize, OpCodeOperandKind as K, OpKind, Register};
use x86::Gpr;

use super::builder::Builder;
use super::catalog::Template;
use crate::layout::offset;

impl Builder<'_> {
    /// Builds a branch. False if nothing came of it.
    pub fn branch(&mut self, template: &Template) -> bool {
        let target = self.target();
        match template.operands[0] {
            K::br64_1 | K::br64_4 => {
                let bytes = if template.operands[0] == K::br64_1 { 1 } else { 4 };
                self.relative(template.code, target, bytes)
            }
            K::r64_or_mem => self.indirect(template.code, target),
            _ if matches!(template.code, Code::Retnq | Code::Retnq_imm16) => self.ret(template.code, target),
            K::None | K::imm8 => self.instruction(template), // INT3, UD2 and their like
            _ => false,
        }
    }

    fn relative(&mut self, code: Code, target: usize, bytes: usize) -> bool {
        if matches!(code, Code::Loop_rel8_64_RCX | Code::Loope_rel8_64_RCX | Code::Loopne_rel8_64_RCX)
            && self.random.bool()
        {
            let count = self.random.u64(..3);
            self.load(Gpr::Rcx, count);
        }
        let near = self.ip();
        let Ok(branch) = Instruction::with_branch(code, near) else { return false };
        if !self.emit(&branch) {
            return false;
        }
        self.branch_to(target, bytes);
        true
    }

    fn indirect(&mut self, code: Code, target: usize) -> bool {
        let mut branch = Instruction::new();
        branch.set_code(code);
        if self.random.bool() {
            let number = self.random.u32(..16);
            if number == Gpr::Rsp as u32 {
                return false;
            }
            let Ok(load) = Instruction::with2(Code::Mov_r32_imm32, Register::EAX + number, 0u32) else {
                return false;
            };
            self.emit(&load);
            self.immediate_to(target);
            branch.set_op_register(0, Register::RAX + number);
            return self.emit(&branch);
        }
        let at = self.memory_operand(&mut branch, 0, MemorySize::QwordOffset);
        if let Some(place) = at.and_then(offset) {
            self.patch_to(target, place);
        }
        self.emit(&branch)
    }

    fn ret(&mut self, code: Code, target: usize) -> bool {
        let mut branch = Instruction::new();
        branch.set_code(code);
        if code == Code::Retnq_imm16 {
            branch.set_op_kind(0, OpKind::Immediate16);
            branch.set_immediate16(self.random.u16(..64));
        }
        if let Some(place) = self.known[Gpr::Rsp as usize].and_then(offset) {
            self.patch_to(target, place);
        }
        self.emit(&branch)
    }
}
