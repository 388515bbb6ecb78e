//! The interpreter against the host's own CPU. More sequences by RINGFENCE_COMPARE_COUNT, or with the
//! package's program, which also replays a difference by its seed and index.

use compare::ENOUGH;
use std::sync::Arc;

use base::GuestMemory;
use compare::campaign::{Campaign, Summary};
use compare::generate::{Catalog, Generator};
use compare::layout::{IMAGE_BYTES, background};
use compare::native::Native;
use compare::offer::Offer;
use compare::subject::Subject;
use engine::{Attention, Board, Budget, CpuModel, Engine, EngineError, Exit, Statistics, Vcpu};
use iced_x86::Mnemonic;
use interpret::Interpreter;
use x86::CpuState;

fn count() -> u64 {
    let asked = std::env::var("RINGFENCE_COMPARE_COUNT").ok();
    asked.map_or(2 * ENOUGH, |count| count.parse().expect("RINGFENCE_COMPARE_COUNT is a number of sequences"))
}

fn tell(summary: &Summary) -> String {
    summary.reports.iter().map(|report| format!("\n{report}")).collect()
}

#[test]
fn random_sequences_agree_with_the_host() {
    let campaign = Campaign { count: count(), ..Campaign::default() };
    let summary = campaign.run(&Interpreter, &|_| {}).unwrap();
    println!("{}", summary.coverage);
    assert_eq!(summary.differing, 0, "{}", tell(&summary));
    assert_eq!(summary.cases, campaign.count);
    assert_eq!(summary.deaths, 0, "the native child does not die of its cases");
    assert_eq!(summary.coverage.missing(&summary.catalog), [], "every family offered is exercised");
}

#[test]
fn a_case_is_the_same_whenever_it_is_made() {
    let campaign = Campaign { count: 64, jobs: 2, ..Campaign::default() };
    let first = campaign.run(&Interpreter, &|_| {}).unwrap();
    let again = Campaign { jobs: 1, ..campaign }.run(&Interpreter, &|_| {}).unwrap();
    assert_eq!(first.coverage.by_mnemonic(), again.coverage.by_mnemonic());
}

#[test]
fn some_cases_modify_their_own_code() {
    let generator = Generator::new(Catalog::new(Offer::of_host(), &[]), 1);
    let mut native = Native::new(&background(1)).unwrap();
    let mut case = generator.blank();
    let modified = (0..5000).filter(|&index| {
        generator.make(index, &mut case);
        let end = native.run(&case.start).unwrap();
        end.changes().iter().any(|change| change.word as usize * 8 >= IMAGE_BYTES)
    });
    assert!(modified.count() > 10);
}

/// The interpreter, if it swapped the bytes of a small R9.
struct Mistaken;

struct MistakenVcpu(Box<dyn Vcpu>);

impl Engine for Mistaken {
    fn name(&self) -> &'static str {
        "mistaken"
    }

    fn vcpu(
        &self,
        index: u32,
        model: &CpuModel,
        memory: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        Ok(Box::new(MistakenVcpu(Interpreter.vcpu(index, model, memory, attention, board)?)))
    }
}

impl Vcpu for MistakenVcpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        self.0.run(budget)
    }

    fn state(&self) -> CpuState {
        let mut state = self.0.state();
        // Only a kernel that has taken an exception: what the comparison reads.
        if state.cpl() == 0 && state.gpr[9] != 0 && state.gpr[9] >> 32 == 0 {
            state.gpr[9] = u64::from((state.gpr[9] as u32).swap_bytes());
        }
        state
    }

    fn set_state(&mut self, state: &CpuState) {
        self.0.set_state(state);
    }

    fn statistics(&self) -> Statistics {
        self.0.statistics()
    }
}

#[test]
fn a_mistake_is_found_and_made_small() {
    let only = vec![Mnemonic::Bswap];
    let campaign = Campaign { only, count: 256, most_reports: 1, ..Campaign::default() };
    let summary = campaign.run(&Mistaken, &|_| {}).unwrap();
    assert!(summary.differing > 0);
    let report = &summary.reports[0];
    assert!(report.differences.iter().all(|difference| difference.what == "r9"), "{report}");
    assert!(report.mnemonics().len() <= 1, "{report}");
    assert!(report.to_string().contains("--seed 1 --index"), "{report}");
}
