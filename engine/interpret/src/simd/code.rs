//! The assembler: a stub is the guest's own instruction between a few moves.
//!
//! A stub is called as `extern "sysv64" fn(&mut Frame)`, so RDI points to the frame. All vector registers,
//! RAX, RCX, RDX and R8 belong to the callee in that convention; MXCSR's and the x87 control word must be as
//! before and the x87 stack empty on return.
//!
//! ```text
//!   vector                                     x87
//!   stmxcsr [host]; ldmxcsr [mxcsr]   (float)  stmxcsr [host]; fnstcw [host]
//!   movaps xmm1, [operand 0] …                 fxrstor64 [image]
//!   mov rax, [general 0] …                     push [flags]; popfq              (FCMOVcc)
//!   ─────────────── the instruction; memory is [frame.memory] ───────────────
//!   pushfq; pop r8; mov [flags], r8  (status)  pushfq; pop [flags]              (FCOMI)
//!   movaps [operand 0], xmm1 …                 fxsave64 [image]
//!   stmxcsr [mxcsr]; ldmxcsr [host]   (float)  fninit; fldcw [host]; ldmxcsr [host]
//!   emms (MMX); vzeroupper (VEX); ret          ret
//! ```

use std::marker::PhantomData;
use std::mem::offset_of;

use iced_x86::{Code as Opcode, Encoder, IcedError, Instruction, MemoryOperand, OpKind, Register};

use crate::simd::frame::{VectorFrame, X87Frame};
use crate::simd::plan::{Implied, Operand, Plan, STATUS};

/// Machine code of a stub for a frame of type `F`. Made only here, so that whoever calls it knows that it
/// keeps the convention.
#[derive(Clone, Debug)]
pub(crate) struct Code<F> {
    bytes: Vec<u8>,
    frame: PhantomData<fn(&mut F)>,
}

impl<F> Code<F> {
    /// The machine code.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

const XMM: [Register; 5] = [Register::XMM0, Register::XMM1, Register::XMM2, Register::XMM3, Register::XMM4];
const YMM: [Register; 5] = [Register::YMM0, Register::YMM1, Register::YMM2, Register::YMM3, Register::YMM4];
const MM: [Register; 5] = [Register::None, Register::MM1, Register::MM2, Register::MM3, Register::MM4];

/// The stub of an SSE, AVX or MMX instruction.
pub(crate) fn vector(instruction: &Instruction, plan: &Plan) -> Result<Code<VectorFrame>, IcedError> {
    let mut out = Assembler::new();
    let at = |slot: usize| offset_of!(VectorFrame, vector) + 32 * slot;
    let general = |slot: usize| offset_of!(VectorFrame, general) + 8 * slot;
    if plan.float {
        out.memory(Opcode::Stmxcsr_m32, offset_of!(VectorFrame, host_mxcsr))?;
        out.memory(Opcode::Ldmxcsr_m32, offset_of!(VectorFrame, mxcsr))?;
    }
    let (load, store, file) = match plan.vex {
        true => (Opcode::VEX_Vmovdqu_ymm_ymmm256, Opcode::VEX_Vmovdqu_ymmm256_ymm, YMM),
        false => (Opcode::Movaps_xmm_xmmm128, Opcode::Movaps_xmmm128_xmm, XMM),
    };
    for (slot, operand) in (1..).zip(plan.operands) {
        match operand {
            Operand::Vector if plan.reads(slot - 1) => out.load(load, file[slot], at(slot))?,
            Operand::Mmx => out.load(Opcode::Movq_mm_mmm64, MM[slot], at(slot))?,
            Operand::General => out.load(Opcode::Mov_r64_rm64, Register::RAX, general(0))?,
            _ => {}
        }
    }
    match plan.implied {
        Implied::None => {}
        Implied::Mask => out.load(load, file[0], at(0))?,
        Implied::StringIndex | Implied::StringMask => {
            out.load(Opcode::Mov_r64_rm64, Register::RAX, general(0))?;
            out.load(Opcode::Mov_r64_rm64, Register::RDX, general(1))?;
        }
    }
    out.push(&normalised(instruction, offset_of!(VectorFrame, memory))?)?;
    if plan.status {
        out.push(&Instruction::with(Opcode::Pushfq))?;
        out.push(&Instruction::with1(Opcode::Pop_r64, Register::R8)?)?;
        out.store(Opcode::Mov_rm64_r64, Register::R8, offset_of!(VectorFrame, flags))?;
    }
    for (slot, operand) in (1..).zip(plan.operands) {
        match operand {
            Operand::Vector if plan.writes(slot - 1) => out.store(store, file[slot], at(slot))?,
            Operand::Mmx if plan.writes(slot - 1) => out.store(Opcode::Movq_mmm64_mm, MM[slot], at(slot))?,
            Operand::General if plan.writes(slot - 1) => {
                out.store(Opcode::Mov_rm64_r64, Register::RAX, general(0))?;
            }
            _ => {}
        }
    }
    match plan.implied {
        Implied::None | Implied::Mask => {}
        Implied::StringIndex => out.store(Opcode::Mov_rm64_r64, Register::RCX, general(2))?,
        Implied::StringMask => out.store(store, file[0], at(0))?,
    }
    if plan.float {
        out.memory(Opcode::Stmxcsr_m32, offset_of!(VectorFrame, mxcsr))?;
        out.memory(Opcode::Ldmxcsr_m32, offset_of!(VectorFrame, host_mxcsr))?;
    }
    if plan.mmx {
        out.push(&Instruction::with(Opcode::Emms))?;
    }
    if plan.vex {
        out.push(&Instruction::with(Opcode::VEX_Vzeroupper))?;
    }
    out.finish()
}

/// The stub of an x87 instruction that works on the register stack.
pub(crate) fn x87(instruction: &Instruction) -> Result<Code<X87Frame>, IcedError> {
    let mut out = Assembler::new();
    out.memory(Opcode::Stmxcsr_m32, offset_of!(X87Frame, host_mxcsr))?;
    out.memory(Opcode::Fnstcw_m2byte, offset_of!(X87Frame, host_fcw))?;
    out.memory(Opcode::Fxrstor64_m512byte, offset_of!(X87Frame, image))?;
    if instruction.rflags_read() & STATUS != 0 {
        out.memory(Opcode::Push_rm64, offset_of!(X87Frame, flags))?;
        out.push(&Instruction::with(Opcode::Popfq))?;
    }
    out.push(&normalised(instruction, offset_of!(X87Frame, memory))?)?;
    if instruction.rflags_modified() & STATUS != 0 {
        out.push(&Instruction::with(Opcode::Pushfq))?;
        out.memory(Opcode::Pop_rm64, offset_of!(X87Frame, flags))?;
    }
    out.memory(Opcode::Fxsave64_m512byte, offset_of!(X87Frame, image))?;
    out.push(&Instruction::with(Opcode::Fninit))?;
    out.memory(Opcode::Fldcw_m2byte, offset_of!(X87Frame, host_fcw))?;
    out.memory(Opcode::Ldmxcsr_m32, offset_of!(X87Frame, host_mxcsr))?;
    out.finish()
}

/// The instruction with its registers and memory operand replaced by those of the stub.
fn normalised(instruction: &Instruction, memory: usize) -> Result<Instruction, IcedError> {
    let mut same = *instruction;
    for n in 0..instruction.op_count() {
        match instruction.op_kind(n) {
            OpKind::Register => {
                let register = instruction.op_register(n);
                let slot = n as usize + 1;
                let here = match register {
                    _ if register.is_xmm() => XMM[slot],
                    _ if register.is_ymm() => YMM[slot],
                    _ if register.is_mm() => MM[slot],
                    _ if register.is_gpr32() => Register::EAX,
                    _ if register.is_gpr64() => Register::RAX,
                    // ST(i).
                    _ => register,
                };
                same.set_op_register(n, here);
            }
            OpKind::Memory => {
                same.set_segment_prefix(Register::None);
                same.set_memory_base(Register::RDI);
                same.set_memory_index(Register::None);
                same.set_memory_index_scale(1);
                same.set_memory_displacement64(memory as u64);
                same.set_memory_displ_size(8);
            }
            _ => {}
        }
    }
    Ok(same)
}

struct Assembler {
    encoder: Encoder,
    length: usize,
}

impl Assembler {
    fn new() -> Self {
        Self { encoder: Encoder::new(64), length: 0 }
    }

    fn push(&mut self, instruction: &Instruction) -> Result<(), IcedError> {
        self.length += self.encoder.encode(instruction, self.length as u64)?;
        Ok(())
    }

    /// `opcode [rdi + at]`.
    fn memory(&mut self, opcode: Opcode, at: usize) -> Result<(), IcedError> {
        self.push(&Instruction::with1(opcode, place(at))?)
    }

    /// `opcode register, [rdi + at]`.
    fn load(&mut self, opcode: Opcode, register: Register, at: usize) -> Result<(), IcedError> {
        self.push(&Instruction::with2(opcode, register, place(at))?)
    }

    /// `opcode [rdi + at], register`.
    fn store(&mut self, opcode: Opcode, register: Register, at: usize) -> Result<(), IcedError> {
        self.push(&Instruction::with2(opcode, place(at), register)?)
    }

    fn finish<F>(mut self) -> Result<Code<F>, IcedError> {
        self.push(&Instruction::with(Opcode::Retnq))?;
        Ok(Code { bytes: self.encoder.take_buffer(), frame: PhantomData })
    }
}

fn place(at: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RDI, at as i64)
}

#[cfg(test)]
impl<F> Code<F> {
    /// Other code that keeps the convention: the harness that tests compare with.
    pub fn other(bytes: Vec<u8>) -> Self {
        Self { bytes, frame: PhantomData }
    }
}
