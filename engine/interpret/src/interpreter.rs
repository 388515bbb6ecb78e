//! The engine and its vCPU.

use std::sync::Arc;

use base::GuestMemory;
use engine::{Attention, Board, Budget, CpuModel, Engine, EngineError, Exit, Statistics, Vcpu};
use x86::CpuState;

use crate::block::BlockCache;
use crate::cpu::Cpu;
use crate::run::run;

/// The interpreter as an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

impl Engine for Interpreter {
    fn name(&self) -> &'static str {
        "interpret"
    }

    fn vcpu(
        &self,
        index: u32,
        model: &CpuModel,
        memory: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        crate::simd::prepare()?;
        let cpu = Cpu::new(index, *model, Arc::clone(memory), Arc::clone(attention), Arc::clone(board));
        if model.vcpus > 1 {
            memory.watch().share();
        }
        Ok(Box::new(Interpreted { cpu, blocks: BlockCache::default() }))
    }
}

struct Interpreted {
    cpu: Cpu,
    blocks: BlockCache,
}

impl Vcpu for Interpreted {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let mut left = match budget {
            Budget::Unlimited => u64::MAX,
            Budget::Instructions(count) => count,
        };
        Ok(run(&mut self.cpu, &mut self.blocks, &mut left))
    }

    fn state(&self) -> CpuState {
        self.cpu.export()
    }

    fn set_state(&mut self, state: &CpuState) {
        self.cpu.import(state);
        self.blocks.clear();
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            blocks: self.blocks.decoded,
            invalidations: self.blocks.invalidated,
            ..self.cpu.statistics
        }
    }
}
