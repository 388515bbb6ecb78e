//! A vCPU in any state on any code: what the engines' targets have in common.
//!
//! An input begins with code and goes on with choices: the mode, registers, segments, descriptor and page tables
//! ([`scene`], [`tables`]), what devices answer ([`board`]). The state is refused where a snapshot's would be
//! ([`machine::vm::check`]); all others must run without a panic, within their budget, and end in a state
//! that could be saved and restored.

mod board;
mod scene;
mod tables;

use std::sync::Arc;

use base::{GuestMemory, GuestPhys};
use engine::{Attention, Board, Budget, CpuLevel, CpuModel, Engine, Exit, Signals, Statistics};

use crate::source::Source;
use scene::Scene;

/// The longest input: 256 bytes of code and a thousand of choices.
pub const LONGEST: usize = 1280;

/// Bytes of RAM.
pub const RAM: u64 = 1 << 20;

/// How often the vCPU runs, and how many instructions each time.
const RUNS: u32 = 4;
const BUDGET: u64 = 400;

/// An engine may go on to the end of what it has begun: a block, or a string of iterations.
const SLACK: u64 = 100_000;

/// Runs an input. Gives how many instructions and exceptions came of it; none where the state was refused.
pub fn run(engine: &dyn Engine, input: &[u8]) -> (u64, u64) {
    let mut source = Source::new(input);
    let scene = Scene::draw(&mut source);
    if machine::vm::check(&scene.state).is_err() {
        return (0, 0);
    }
    let memory = Arc::new(GuestMemory::new(RAM).expect("the host gives memory"));
    for (at, bytes) in &scene.memory {
        memory.write(GuestPhys(*at), bytes).expect("a scene lies in RAM");
    }
    let attention = Arc::new(Attention::default());
    let answers: Arc<dyn Board> = Arc::new(board::Answers::new(source.rest()));
    let model = CpuModel { level: scene.level, vcpus: 1 };
    let mut vcpu = engine.vcpu(0, &model, &memory, &attention, &answers).expect("the host gives a vCPU");
    vcpu.set_state(&scene.state);
    for round in 0..RUNS {
        match vcpu.run(Budget::Instructions(BUDGET)).expect("the host does its part") {
            Exit::Shutdown(_) | Exit::BadFetch(_) => break,
            Exit::Halted | Exit::Budget => {}
            Exit::Signalled => drop(attention.take(Signals::MACHINE)),
        }
        let state = vcpu.state();
        assert_eq!(machine::vm::check(&state), Ok(()), "the state could not be restored: {state:x?}");
        attention.raise(if round == 1 { Signals::NMI } else { Signals::INTERRUPT });
    }
    let Statistics { instructions: done, exceptions, .. } = vcpu.statistics();
    let most = u64::from(RUNS) * (BUDGET + SLACK);
    assert!(done <= most, "{done} instructions on a budget of {}", u64::from(RUNS) * BUDGET);
    (done, exceptions)
}

/// Real code in every mode: pieces of the self-test kernel, which executes nearly everything there is.
pub fn seeds() -> Vec<Vec<u8>> {
    const PIECE: usize = 160;
    let kernel = selftest::KERNEL;
    let mut rng = fastrand::Rng::with_seed(1);
    let pieces = kernel
        .chunks(PIECE)
        .skip(16)
        .step_by(3)
        .filter(|piece| piece.iter().any(|byte| *byte != 0))
        .take(256);
    let seed = |piece: &[u8]| {
        let mut seed = vec![piece.len() as u8];
        seed.extend_from_slice(piece);
        seed.extend((0..400).map(|_| rng.u8(..)));
        seed
    };
    pieces.map(seed).collect()
}

/// CPU levels to choose from.
const LEVELS: [CpuLevel; 4] = [CpuLevel::Host, CpuLevel::V1, CpuLevel::V2, CpuLevel::Host];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_get_somewhere() {
        let seeds = seeds();
        let runs = (0..400).map(|index| crate::generate::input(3, index, &seeds, LONGEST));
        let (mut busy, mut faulting) = (0, 0);
        for input in runs {
            let (instructions, exceptions) = run(&interpret::Interpreter, &input);
            busy += u32::from(instructions > 20);
            faulting += u32::from(exceptions > 0);
        }
        assert!(busy > 100 && faulting > 100, "{busy} of 400 ran on, {faulting} met an exception");
    }
}
