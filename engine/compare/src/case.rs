//! A case: where it starts, and what is known about its instructions.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use x86::flags::STATUS;

use crate::layout::CODE;
use crate::start::Start;
use crate::taint::FlagEffect;

/// An instruction of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it lies, from the beginning of the case's code.
    pub at: u16,
    /// Its length.
    pub len: u8,
    /// What it is.
    pub mnemonic: Mnemonic,
    /// The arithmetic flags that are undefined before it.
    pub undefined: u64,
    /// It overwrites what the steps before it have told of the CPU, and must stay as long as they do.
    pub companion: bool,
}

/// A case, replayable by its seed and index.
#[derive(Clone, Debug)]
pub struct Case {
    /// The run's seed: also that of the background image.
    pub seed: u64,
    /// Its number in the run.
    pub index: u64,
    /// Registers, code and memory.
    pub start: Start,
    /// Its instructions in order; the last one is the jump to the end.
    pub steps: Vec<Step>,
    /// The arithmetic flags that are undefined at its end.
    pub undefined: u64,
}

impl Case {
    /// An instruction, decoded. An invalid one may reach beyond the bytes that are its own.
    pub fn instruction(&self, step: &Step) -> Instruction {
        let bytes = &self.start.code()[usize::from(step.at)..];
        let ip = self.start.rip() + u64::from(step.at);
        Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).decode()
    }

    /// The flags to leave out of the comparison when the case stopped at `rip`: at its end, or before one of
    /// its instructions. Elsewhere nothing is known of them.
    pub fn undefined_at(&self, rip: u64) -> u64 {
        if rip == crate::layout::EXIT {
            return self.undefined;
        }
        let Some(step) = self.step_at(rip) else { return STATUS };
        // When a repeated comparison faults, Intel gives the flags from before it, AMD those of the last
        // comparison made.
        let instruction = self.instruction(step);
        let compares = FlagEffect::of(&instruction).undefines == 0 && instruction.rflags_written() != 0;
        if compares && (instruction.has_rep_prefix() || instruction.has_repne_prefix()) {
            return STATUS;
        }
        step.undefined
    }

    fn undefined_before(&self, at: u64) -> u64 {
        self.steps.iter().find(|step| u64::from(step.at) == at).map_or(0, |step| step.undefined)
    }

    /// Is this the way back of a loop: from its end to the case's beginning?
    pub fn is_around(&self, from: u64, to: u64) -> bool {
        to == self.start.rip() && self.step_at(from).is_some_and(|step| step.mnemonic == Mnemonic::Jne)
    }

    /// The instruction at a linear address.
    pub fn step_at(&self, rip: u64) -> Option<&Step> {
        let at = rip.wrapping_sub(CODE).wrapping_sub(u64::from(self.start.code_at));
        self.steps.iter().find(|step| u64::from(step.at) == at)
    }

    /// Puts no-operations in place of an instruction and its companions.
    pub fn drop_step(&mut self, n: usize) {
        let companions = self.steps[n + 1..].iter().take_while(|step| step.companion).count();
        for step in &mut self.steps[n..=n + companions] {
            let from = usize::from(step.at);
            self.start.code[from..from + usize::from(step.len)].fill(0x90);
            step.mnemonic = Mnemonic::Nop;
        }
    }

    /// Is the instruction gone?
    pub fn is_dropped(&self, step: &Step) -> bool {
        let from = usize::from(step.at);
        self.start.code()[from..from + usize::from(step.len)].iter().all(|&byte| byte == 0x90)
    }

    /// Works out the undefined flags anew, after instructions were dropped. False if one of them now
    /// depends on an undefined flag.
    pub fn retaint(&mut self) -> bool {
        let mut undefined = 0;
        let mut joins: Vec<(u16, u64)> = vec![];
        for n in 0..self.steps.len() {
            let step = self.steps[n];
            undefined = joins.iter().filter(|(at, _)| *at == step.at).fold(undefined, |all, (_, u)| all | u);
            self.steps[n].undefined = undefined;
            if self.is_dropped(&step) {
                continue;
            }
            let instruction = self.instruction(&step);
            let effect = FlagEffect::of(&instruction);
            if effect.reads & undefined != 0 {
                return false;
            }
            undefined = effect.after(undefined);
            let target = instruction.near_branch_target().wrapping_sub(self.start.rip());
            if target <= u64::from(step.at) && undefined & !self.undefined_before(target) != 0 {
                return false; // around again, with flags undefined that the first time were not
            }
            if target < self.start.code().len() as u64 {
                joins.push((target as u16, undefined));
            }
        }
        self.undefined = undefined;
        true
    }
}
