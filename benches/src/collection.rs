//! All that was measured, as it comes in.

use std::collections::BTreeMap;

use crate::contender::Contender;
use crate::memory::Memory;
use crate::run::Run;

/// Seconds, one for each round.
pub type Samples = BTreeMap<Contender, Vec<f64>>;

/// Seconds of one copy, and of each of two at once.
pub type Pairs = BTreeMap<Contender, (Vec<f64>, Vec<f64>)>;

/// All that was measured.
#[derive(Debug, Default)]
pub struct Collection {
    /// By workload: of a round of work, once it is warm.
    pub rounds: BTreeMap<String, Samples>,
    /// By workload: of the very first round.
    pub first: BTreeMap<String, Samples>,
    /// From the start to user space.
    pub boot: Samples,
    /// From the start to the end of a machine that does nothing.
    pub whole: Samples,
    /// By workload: of a round, on two processors.
    pub pairs: BTreeMap<String, Pairs>,
    /// After the boot, and at the end.
    pub memory: BTreeMap<Contender, Vec<(Memory, Memory)>>,
    /// What went wrong.
    pub notes: Vec<String>,
    /// By workload: the result that all must agree on, and whose it was.
    results: BTreeMap<String, (Contender, String)>,
}

impl Collection {
    /// Takes in a run on one processor.
    pub fn add(&mut self, contender: Contender, run: Run) {
        self.judge(contender, &run);
        if contender.boots() {
            self.boot.entry(contender).or_default().push(run.boot);
        }
        self.memory.entry(contender).or_default().extend(run.memory);
        for (workload, done) in run.done {
            let put = |rows: &mut BTreeMap<String, Samples>, seconds| {
                rows.entry(workload.clone()).or_default().entry(contender).or_default().push(seconds);
            };
            put(&mut self.rounds, done.round);
            put(&mut self.first, done.first);
        }
    }

    /// Takes in a run of one copy of each workload, and one of two, on two processors.
    pub fn add_pair(&mut self, contender: Contender, one: Run, two: Run) {
        self.judge(contender, &one);
        self.judge(contender, &two);
        for (workload, alone) in one.done {
            if let Some(both) = two.done.get(&workload) {
                let pairs = self.pairs.entry(workload).or_default();
                let (one, two) = pairs.entry(contender).or_default();
                one.push(alone.round);
                two.push(both.round);
            }
        }
    }

    /// Notes something wrong, once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Notes what is wrong about a run.
    fn judge(&mut self, contender: Contender, run: &Run) {
        for workload in &run.failed {
            self.note(format!("{workload} failed on {contender}"));
        }
        for (workload, done) in &run.done {
            if done.clock_is_wrong() {
                self.note(format!(
                    "in {workload} on {contender} the guest's second took {:.2} of the host's; its time is corrected",
                    done.clock
                ));
            }
            let digest = &done.digest;
            let result = (contender, digest.clone());
            let (whose, agreed) = self.results.entry(workload.clone()).or_insert(result);
            if agreed != digest {
                let note = format!(
                    "{workload} gives {digest} on {contender}, and {agreed} on {whose}: one of them computes wrongly"
                );
                self.note(note);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Done;

    fn run(digest: &str, clock: f64) -> Run {
        let done = Done { digest: digest.to_owned(), rounds: 1, first: 2.0, round: 1.0, clock };
        Run { boot: 3.0, done: [("sort".to_owned(), done)].into(), ..Run::default() }
    }

    #[test]
    fn rounds_add_up() {
        let mut collection = Collection::default();
        collection.add(Contender::Native, run("a", 1.0));
        collection.add(Contender::Tcg, run("a", 1.0));
        collection.add(Contender::Tcg, run("a", 1.0));
        collection.add_pair(Contender::Tcg, run("a", 1.0), run("a", 1.0));
        assert_eq!(collection.rounds["sort"][&Contender::Tcg], [1.0, 1.0]);
        assert_eq!(collection.first["sort"][&Contender::Native], [2.0]);
        assert_eq!(collection.boot.get(&Contender::Native), None);
        assert_eq!(collection.pairs["sort"][&Contender::Tcg], (vec![1.0], vec![1.0]));
        assert!(collection.notes.is_empty());
    }

    #[test]
    fn wrong_results_wrong_clocks_and_failures_are_noted() {
        let mut collection = Collection::default();
        collection.add(Contender::Native, run("a", 1.0));
        collection.add(Contender::Tcg, run("b", 2.0));
        collection.add(Contender::Uml, Run { failed: vec!["fork".to_owned()], ..Run::default() });
        let notes = collection.notes.join("\n");
        for part in ["sort gives b on tcg, and a on native", "took 2.00", "fork failed on uml"] {
            assert!(notes.contains(part), "{notes}");
        }
    }
}
