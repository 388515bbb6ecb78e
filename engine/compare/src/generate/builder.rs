//! A case under construction: instructions are encoded one after another, and what is known at each point
//! (register values, undefined flags) is kept beside.

use fastrand::Rng;
use iced_x86::{
    Code, Encoder, Instruction, InstructionInfoFactory, MemoryOperand, OpAccess, OpKind, Register,
};
use x86::Gpr;

use crate::case::{Case, Step};
use crate::layout::EXIT;
use crate::start::MOST_CODE;
use crate::taint::FlagEffect;

/// Bytes kept free for the jump at the end and for what an instruction drags along.
const RESERVE: usize = 64;

/// Bytes of MOV [disp32], imm32.
const STORE_BYTES: usize = 11;

/// A place in the code or memory that waits for the address of an instruction to come.
#[derive(Clone, Copy, Debug)]
enum Fixup {
    /// An 8-bit displacement at this place of the code, counted from behind it.
    Short(usize),
    /// A 32-bit one.
    Near(usize),
    /// A 32-bit absolute address.
    Absolute(usize),
    /// A 64-bit address in this patch.
    Patch(usize),
}

/// What is known where a branch comes from, until its target is reached.
#[derive(Clone, Copy, Debug)]
struct Join {
    target: usize,
    fixup: Fixup,
    known: [Option<u64>; 16],
    undefined: u64,
}

/// A point in a case under construction.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    code_len: u32,
    steps: usize,
    known: [Option<u64>; 16],
    undefined: u64,
}

/// The builder.
pub struct Builder<'a> {
    /// The case's random numbers.
    pub random: &'a mut Rng,
    /// The case so far.
    pub case: &'a mut Case,
    /// What the general registers hold, where that is known.
    pub known: [Option<u64>; 16],
    /// Do the x87 pointers count?
    pub x87_pointers: bool,
    /// May operands lie where an access faults?
    pub faulty: bool,
    /// The main instruction being built, counted from 0.
    pub ordinal: usize,
    /// How many there will be.
    pub total: usize,
    undefined: u64,
    joins: Vec<Join>,
    encoder: Encoder,
    info: InstructionInfoFactory,
}

impl<'a> Builder<'a> {
    /// A builder on a case whose registers are filled in.
    pub fn new(random: &'a mut Rng, case: &'a mut Case, total: usize, faulty: bool) -> Self {
        let known = case.start.gpr.map(Some);
        Self {
            random,
            case,
            known,
            x87_pointers: true,
            faulty,
            ordinal: 0,
            total,
            undefined: 0,
            joins: vec![],
            encoder: Encoder::new(64),
            info: InstructionInfoFactory::new(),
        }
    }

    /// Where the next instruction will lie.
    pub fn ip(&self) -> u64 {
        self.case.start.rip() + u64::from(self.case.start.code_len)
    }

    /// Is there room for more?
    pub fn has_room(&self) -> bool {
        self.case.start.code_len as usize + RESERVE <= MOST_CODE
    }

    /// Begins the next main instruction: branches to it arrive here.
    pub fn begin(&mut self, ordinal: usize) {
        self.ordinal = ordinal;
        let here = self.ip();
        for join in std::mem::take(&mut self.joins) {
            if join.target > ordinal {
                self.joins.push(join);
                continue;
            }
            self.undefined |= join.undefined;
            for (known, other) in self.known.iter_mut().zip(join.known) {
                if *known != other {
                    *known = None;
                }
            }
            self.resolve(join.fixup, here);
        }
    }

    fn resolve(&mut self, fixup: Fixup, here: u64) {
        let rip = self.case.start.rip();
        let code = &mut self.case.start.code;
        match fixup {
            Fixup::Short(at) => code[at] = here.wrapping_sub(rip + at as u64 + 1) as u8,
            Fixup::Near(at) => {
                let displacement = here.wrapping_sub(rip + at as u64 + 4) as u32;
                code[at..at + 4].copy_from_slice(&displacement.to_le_bytes());
            }
            Fixup::Absolute(at) => code[at..at + 4].copy_from_slice(&(here as u32).to_le_bytes()),
            Fixup::Patch(n) => {
                self.case.start.patches[n].bytes[..8].copy_from_slice(&here.to_le_bytes());
            }
        }
    }

    /// A main instruction soon to come, to branch to.
    pub fn target(&mut self) -> usize {
        let skip = if self.random.bool() { 0 } else { self.random.usize(1..4) };
        (self.ordinal + 1 + skip).min(self.total)
    }

    fn join(&mut self, target: usize, fixup: Fixup) {
        self.joins.push(Join { target, fixup, known: self.known, undefined: self.undefined });
    }

    /// Counts down in memory and branches to the beginning, all flags defined.
    fn go_around(&mut self, counter: u64) {
        self.define_flags();
        let at = MemoryOperand::with_displ(counter, 8);
        let head = self.case.start.rip();
        if let (Ok(count), Ok(branch)) =
            (Instruction::with1(Code::Dec_rm32, at), Instruction::with_branch(Code::Jne_rel32_64, head))
        {
            self.emit(&count);
            self.emit(&branch);
        }
    }

    /// Emits a store into the immediate of an instruction to come, and that instruction: the store's value
    /// is what it must load.
    pub fn modify_code(&mut self) -> bool {
        let register = Register::EAX + self.random.u32(..16);
        if register == Register::ESP {
            return false;
        }
        let between = self.random.usize(..3);
        let values = [self.random.u32(..), self.random.u32(..)];
        let Ok(load) = Instruction::with2(Code::Mov_r32_imm32, register, values[0]) else { return false };
        let store =
            |at: u64| Instruction::with2(Code::Mov_rm32_imm32, MemoryOperand::with_displ(at, 8), values[1]);
        // The lengths do not depend on the address.
        let nops = self.ip() + u64::try_from(STORE_BYTES + between).unwrap_or_default();
        let load_bytes = if register.number() > 7 { 6 } else { 5 };
        let Ok(store) = store(nops + load_bytes - 4) else { return false };
        let done = self.emit(&store)
            && (0..between).all(|_| self.emit(&Instruction::with(Code::Nopd)))
            && self.emit(&load);
        debug_assert_eq!(self.ip(), nops + load_bytes);
        done
    }

    /// Remembers that the branch just emitted goes to a main instruction to come.
    pub fn branch_to(&mut self, target: usize, displacement_bytes: usize) {
        let end = self.case.start.code_len as usize;
        let at = end - displacement_bytes;
        self.join(target, if displacement_bytes == 1 { Fixup::Short(at) } else { Fixup::Near(at) });
    }

    /// Makes the last four bytes emitted, an immediate, the address of a main instruction to come.
    pub fn immediate_to(&mut self, target: usize) {
        let at = self.case.start.code_len as usize - 4;
        self.join(target, Fixup::Absolute(at));
    }

    /// Makes memory at this place of the image hold the address of a main instruction to come.
    pub fn patch_to(&mut self, target: usize, at: usize) {
        let n = self.case.start.patch_count as usize;
        self.case.start.patch(at, &[0; 8]);
        if self.case.start.patch_count as usize > n {
            self.join(target, Fixup::Patch(n));
        }
    }

    /// Encodes an instruction at the present place. False if it cannot be encoded so.
    pub fn emit(&mut self, instruction: &Instruction) -> bool {
        let effect = FlagEffect::of(instruction);
        if effect.reads & self.undefined != 0 {
            self.define_flags();
        }
        let ip = self.ip();
        let Ok(len) = self.encoder.encode(instruction, ip) else {
            self.encoder.set_buffer(vec![]);
            return false;
        };
        let mut bytes = self.encoder.take_buffer();
        self.append(&bytes, instruction, effect);
        debug_assert_eq!(len, bytes.len());
        bytes.clear();
        self.encoder.set_buffer(bytes);
        true
    }

    /// Appends an instruction's bytes.
    pub fn append(&mut self, bytes: &[u8], instruction: &Instruction, effect: FlagEffect) {
        let start = &mut self.case.start;
        let at = start.code_len as usize;
        let Some(place) = start.code.get_mut(at..at + bytes.len()) else { return };
        place.copy_from_slice(bytes);
        start.code_len += bytes.len() as u32;
        self.case.steps.push(Step {
            at: at as u16,
            len: bytes.len() as u8,
            mnemonic: instruction.mnemonic(),
            undefined: self.undefined,
            companion: false,
        });
        self.undefined = effect.after(self.undefined);
        self.learn(instruction);
    }

    /// This point, to go back to.
    pub fn mark(&self) -> Mark {
        Mark {
            code_len: self.case.start.code_len,
            steps: self.case.steps.len(),
            known: self.known,
            undefined: self.undefined,
        }
    }

    /// Takes back what was emitted since. No branch may have come after the mark.
    pub fn go_back(&mut self, mark: Mark) {
        self.case.start.code_len = mark.code_len;
        self.case.steps.truncate(mark.steps);
        (self.known, self.undefined) = (mark.known, mark.undefined);
    }

    /// Would it read flags that are undefined now?
    pub fn reads_undefined(&self, effect: FlagEffect) -> bool {
        effect.reads & self.undefined != 0
    }

    /// Gives all arithmetic flags values: CMP of a register with an immediate.
    fn define_flags(&mut self) {
        let register = Register::RAX + self.random.u32(..16);
        let immediate = self.random.i8(..);
        if let Ok(compare) = Instruction::with2(Code::Cmp_rm64_imm8, register, i32::from(immediate)) {
            self.emit(&compare);
        }
    }

    /// Loads a register with a value.
    pub fn load(&mut self, register: Gpr, value: u64) {
        let number = register as u32;
        let load = match u32::try_from(value) {
            Ok(value) => Instruction::with2(Code::Mov_r32_imm32, Register::EAX + number, value),
            Err(_) => Instruction::with2(Code::Mov_r64_imm64, Register::RAX + number, value),
        };
        if let Ok(load) = load
            && self.emit(&load)
        {
            self.known[number as usize] = Some(value);
        }
    }

    /// Forgets what an instruction overwrites; follows the stack pointer.
    fn learn(&mut self, instruction: &Instruction) {
        let rsp = self.known[Gpr::Rsp as usize];
        let mut explicit_rsp = false;
        for used in self.info.info(instruction).used_registers() {
            if matches!(
                used.access(),
                OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
            ) {
                let full = used.register().full_register();
                if full.is_gpr64() {
                    self.known[full.number()] = None;
                }
            }
        }
        for n in 0..instruction.op_count() {
            explicit_rsp |= instruction.op_kind(n) == OpKind::Register
                && instruction.op_register(n).full_register() == Register::RSP;
        }
        if instruction.is_stack_instruction() && !explicit_rsp && instruction.code() != Code::Leaveq {
            let by = i64::from(instruction.stack_pointer_increment());
            self.known[Gpr::Rsp as usize] = rsp.map(|rsp| rsp.wrapping_add_signed(by));
        }
    }

    /// Ends the case: resolves what branches are left, goes around if it is a loop, and jumps to the end.
    pub fn finish(mut self, counter: Option<u64>) {
        self.begin(self.total);
        if let Some(counter) = counter {
            self.go_around(counter);
        }
        if let Ok(jump) = Instruction::with_branch(Code::Jmp_rel32_64, EXIT) {
            self.emit(&jump);
        }
        self.case.undefined = self.undefined;
    }
}
