//! Cases from random numbers.
//!
//! A case is made of one to sixteen *main* instructions, each of a family chosen by weight, with what they
//! need before them (a pointer loaded, undefined flags defined). Everything comes from one random-number
//! generator seeded by the run's seed and the case's index, so that a case can be made again by these two
//! numbers.

mod branch;
mod builder;
mod catalog;
mod family;
mod memory;
mod mutate;
mod operand;
mod registers;
mod values;

use fastrand::Rng;
use iced_x86::Code;
use x86::Gpr;

pub use catalog::{Catalog, Template};
pub use family::Family;

use crate::case::Case;
use crate::layout::{CODE_BYTES, IMAGE_BYTES, address};
use crate::start::{MOST_CODE, Start};
use builder::Builder;

/// The most main instructions in a case.
const MOST: usize = 16;
/// Tries at the operands of one instruction.
const TRIES: usize = 6;

/// Makes cases.
#[derive(Clone, Debug)]
pub struct Generator {
    catalog: Catalog,
    seed: u64,
    weights: Vec<(Family, u32)>,
    /// Some cases modify their own code.
    modifies: bool,
    x87_pointers: bool,
}

impl Generator {
    /// A generator of the run with this seed.
    pub fn new(catalog: Catalog, seed: u64) -> Self {
        let mut sum = 0;
        let weights = catalog
            .families()
            .iter()
            .map(|(family, _)| {
                sum += family.weight();
                (*family, sum)
            })
            .collect();
        let modifies = catalog.has(Code::Mov_rm32_imm32) && catalog.has(Code::Jmp_rel32_64);
        Self { catalog, seed, weights, modifies, x87_pointers: true }
    }

    /// Lets no case depend on what the x87 notes of its last instruction (FIP, FDP, FOP).
    #[must_use]
    pub fn without_x87_pointers(mut self) -> Self {
        self.x87_pointers = false;
        self
    }

    /// What it makes cases of.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// A case to fill in by [`Generator::make`].
    pub fn blank(&self) -> Case {
        Case { seed: self.seed, index: 0, start: Start::default(), steps: vec![], undefined: 0 }
    }

    /// Makes the case of this index in `case`.
    pub fn make(&self, index: u64, case: &mut Case) {
        let mut random = Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index);
        case.seed = self.seed;
        case.index = index;
        case.steps.clear();
        case.start.code_len = 0;
        case.start.patch_count = 0;
        case.start.code_at = place_code(&mut random);
        registers::fill(&mut random, &mut case.start);
        let total = (1 + random.usize(..MOST)).min(1 + random.usize(..MOST));
        let faulty = random.u8(..3) == 0;
        let main = self.family(&mut random);
        let counter = (random.u8(..12) == 0).then(|| loop_counter(&mut random, &mut case.start));
        let mut builder = Builder::new(&mut random, case, total, faulty);
        builder.x87_pointers = self.x87_pointers;
        for ordinal in 0..total {
            builder.begin(ordinal);
            if !builder.has_room() {
                builder.total = ordinal;
                break;
            }
            let family = if builder.random.u8(..4) == 0 { self.family(builder.random) } else { main };
            self.main_instruction(&mut builder, family);
        }
        builder.finish(counter);
    }

    fn main_instruction(&self, builder: &mut Builder<'_>, family: Family) {
        if family == Family::Branch && self.modifies && builder.random.u8(..4) == 0 && builder.modify_code() {
            return;
        }
        let templates = self.catalog.family(family);
        for _ in 0..TRIES {
            let Some(template) = templates.get(builder.random.usize(..templates.len().max(1))) else {
                return;
            };
            let done = match Family::of(template.code) {
                Family::Branch => builder.branch(template),
                family => {
                    let done = builder.instruction(template);
                    if done && family != Family::System && builder.random.u8(..24) == 0 {
                        builder.mutate(&self.catalog);
                    }
                    done
                }
            };
            if done {
                return;
            }
        }
    }

    fn family(&self, random: &mut Rng) -> Family {
        let sum = self.weights.last().map_or(0, |(_, sum)| *sum);
        let pick = random.u32(..sum.max(1));
        self.weights.iter().find(|(_, upto)| pick < *upto).map_or(Family::Integer, |(family, _)| *family)
    }
}

/// Where the code of a case begins: mostly anywhere, sometimes so that it crosses to the second page, seldom
/// so that it runs out of the code pages.
fn place_code(random: &mut Rng) -> u32 {
    let (page, end) = (CODE_BYTES as u32 / 2, CODE_BYTES as u32);
    match random.u8(..64) {
        0 => end - random.u32(1..64),
        1..8 => page - random.u32(1..64),
        _ => random.u32(..end - MOST_CODE as u32),
    }
}

/// Where a case that is a loop counts, and how far.
fn loop_counter(random: &mut Rng, start: &mut Start) -> u64 {
    let turns = if random.u8(..8) == 0 { random.u32(1..100) } else { random.u32(1..6) };
    let at = IMAGE_BYTES - 8;
    start.patch(at, &turns.to_le_bytes());
    address(at)
}

fn gpr(number: usize) -> Gpr {
    const ALL: [Gpr; 16] = [
        Gpr::Rax,
        Gpr::Rcx,
        Gpr::Rdx,
        Gpr::Rbx,
        Gpr::Rsp,
        Gpr::Rbp,
        Gpr::Rsi,
        Gpr::Rdi,
        Gpr::R8,
        Gpr::R9,
        Gpr::R10,
        Gpr::R11,
        Gpr::R12,
        Gpr::R13,
        Gpr::R14,
        Gpr::R15,
    ];
    ALL[number % 16]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::EXIT;
    use crate::offer::Offer;
    use iced_x86::{FlowControl, Mnemonic};

    fn generator() -> Generator {
        Generator::new(Catalog::new(Offer::of_host(), &[]), 5)
    }

    #[test]
    fn a_case_depends_on_its_index_alone() {
        let generator = generator();
        let (mut one, mut other) = (generator.blank(), generator.blank());
        generator.make(7, &mut other);
        generator.make(8, &mut one);
        generator.make(7, &mut one);
        assert_eq!((one.start.code(), one.start.gpr), (other.start.code(), other.start.gpr));
        assert_eq!(one.steps, other.steps);
        generator.make(8, &mut other);
        assert_ne!(one.start.code(), other.start.code());
    }

    #[test]
    fn what_is_known_of_a_case_is_what_its_bytes_say() {
        let generator = generator();
        let mut case = generator.blank();
        for index in 0..3000 {
            generator.make(index, &mut case);
            let end = case.steps.last().unwrap();
            assert_eq!(case.instruction(end).near_branch_target(), EXIT, "{index}");
            for step in &case.steps {
                let instruction = case.instruction(step);
                assert!(instruction.is_invalid() || step.mnemonic != Mnemonic::INVALID, "{index}");
                assert!(instruction.is_invalid() || instruction.len() == usize::from(step.len), "{index}");
                if instruction.flow_control() == FlowControl::ConditionalBranch {
                    let (from, to) = (instruction.ip(), instruction.near_branch_target());
                    assert!(to > from || case.is_around(from, to), "{index}: forward, or around");
                }
                assert!(!matches!(instruction.mnemonic(), Mnemonic::Syscall | Mnemonic::Rdtsc), "{index}");
            }
            let (steps, undefined) = (case.steps.clone(), case.undefined);
            assert!(case.retaint(), "{index}: no instruction depends on an undefined flag");
            for (now, then) in case.steps.iter().zip(&steps) {
                assert_eq!(now.undefined & !then.undefined, 0, "{index}: the generator overlooks nothing");
            }
            assert_eq!(case.undefined & !undefined, 0, "{index}");
        }
    }
}
