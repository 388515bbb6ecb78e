//! A run of many cases: workers that generate, hand to the native child, run in the engine and compare.
//!
//! Each worker has a child and a guest of its own and works in batches: while the child runs one, the
//! worker generates the next and runs the one before in the engine.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use engine::Engine;
use iced_x86::Mnemonic;

use crate::CompareError;
use crate::case::Case;
use crate::coverage::Coverage;
use crate::difference::{Rules, Verdict, X87Pointers, compare};
use crate::end::End;
use crate::generate::{Catalog, Generator};
use crate::guest::Guest;
use crate::layout::{EXIT, background};
use crate::native::{Native, SLOTS};
use crate::offer::Offer;
use crate::report::Report;
use crate::shrink::shrink;
use crate::start::Start;
use crate::subject::Subject;

/// Cases in a batch; two batches are on their way at once.
const BATCH: usize = SLOTS / 2;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seed of everything.
    pub seed: u64,
    /// The first case's index.
    pub first: u64,
    /// Cases.
    pub count: u64,
    /// Threads, each with a native child.
    pub jobs: usize,
    /// Only these instructions, if any are given.
    pub only: Vec<Mnemonic>,
    /// Do the x87 pointers count? Not every engine keeps them.
    pub x87_pointers: bool,
    /// Ends after so many reports.
    pub most_reports: usize,
}

impl Default for Campaign {
    fn default() -> Self {
        Self { seed: 1, first: 0, count: 10_000, jobs: 1, only: vec![], x87_pointers: true, most_reports: 5 }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    /// Cases compared.
    pub cases: u64,
    /// What they exercised.
    pub coverage: Coverage,
    /// Differences, one for each set of instructions that shows one.
    pub reports: Vec<Report>,
    /// Cases that differed.
    pub differing: u64,
    /// Native children that died.
    pub deaths: u64,
    /// What instructions there were to choose from.
    pub catalog: Catalog,
}

struct Shared<'a> {
    campaign: &'a Campaign,
    generator: &'a Generator,
    rules: Rules,
    next: AtomicU64,
    stop: AtomicBool,
    progress: &'a (dyn Fn(u64) + Sync),
    reports: Mutex<Vec<Report>>,
}

impl Campaign {
    /// Runs it. `progress` hears of cases as they are done.
    ///
    /// # Errors
    /// [`CompareError`] for failures of the host or of the harness; differences are in the [`Summary`].
    pub fn run(&self, engine: &dyn Engine, progress: &(dyn Fn(u64) + Sync)) -> Result<Summary, CompareError> {
        let background = background(self.seed);
        let guest = Guest::new(engine, &background)?;
        let catalog = Catalog::new(guest.offer().and(&Offer::of_host()), &self.only);
        drop(guest);
        if catalog.families().is_empty() {
            return Err(CompareError::NothingToRun);
        }
        let generator = Generator::new(catalog.clone(), self.seed);
        let generator = if self.x87_pointers { generator } else { generator.without_x87_pointers() };
        let x87_pointers = match self.x87_pointers {
            false => X87Pointers::Never,
            true if tells_pointers(&mut Native::new(&background)?)? => X87Pointers::Always,
            true => X87Pointers::WhilePending,
        };
        let rules = Rules { x87_pointers };
        let shared = Shared {
            campaign: self,
            generator: &generator,
            rules,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            progress,
            reports: Mutex::new(vec![]),
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1))
                .map(|_| {
                    scope.spawn(|| {
                        let result = Worker::new(&shared, engine).and_then(Worker::run);
                        if result.is_err() {
                            shared.stop.store(true, Ordering::Relaxed);
                        }
                        result
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(Err(CompareError::Panicked))).collect()
        });
        let mut summary = Summary {
            cases: 0,
            coverage: Coverage::default(),
            reports: vec![],
            differing: 0,
            deaths: 0,
            catalog,
        };
        for result in results {
            let done = result?;
            summary.cases += done.cases;
            summary.coverage.add(&done.coverage);
            summary.differing += done.differing;
            summary.deaths += done.native.deaths;
        }
        summary.reports = shared.reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(summary)
    }
}

/// Does the host's CPU tell the x87 pointers while no exception is pending?
fn tells_pointers(native: &mut Native) -> Result<bool, CompareError> {
    let mut start = Start::default();
    start.fpu.legacy.fcw = 0x27f;
    start.fpu.legacy.fop = 0x123;
    let jump = (EXIT - start.rip() - 5) as u32;
    start.code[0] = 0xe9;
    start.code[1..5].copy_from_slice(&jump.to_le_bytes());
    start.code_len = 5;
    Ok(native.run(&start)?.fpu.legacy.fop == 0x123)
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    native: Native,
    guest: Guest,
    coverage: Coverage,
    cases: u64,
    differing: u64,
    /// Cases that differed, and how they ended in the engine.
    suspects: Vec<(Case, End)>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>, engine: &dyn Engine) -> Result<Self, CompareError> {
        let background = background(shared.campaign.seed);
        Ok(Self {
            shared,
            native: Native::new(&background)?,
            guest: Guest::new(engine, &background)?,
            coverage: Coverage::default(),
            cases: 0,
            differing: 0,
            suspects: vec![],
        })
    }

    fn run(mut self) -> Result<Self, CompareError> {
        let blank = || vec![self.shared.generator.blank(); BATCH];
        let mut batches = [blank(), blank()];
        let mut waiting = 0;
        for turn in 0.. {
            let [even, odd] = &mut batches;
            let (fresh, old) = if turn % 2 == 0 { (even, odd) } else { (odd, even) };
            let more = if self.suspects.is_empty() { self.submit(fresh) } else { 0 };
            for case in &old[..waiting] {
                self.judge(case)?;
            }
            (self.shared.progress)(waiting as u64);
            if more == 0 && waiting == 0 {
                if self.suspects.is_empty() {
                    break;
                }
                for (case, found) in std::mem::take(&mut self.suspects) {
                    self.investigate(case, &found)?;
                }
            }
            waiting = more;
        }
        Ok(self)
    }

    /// Generates a batch and hands it to the child. Gives its size.
    fn submit(&mut self, batch: &mut [Case]) -> usize {
        let campaign = self.shared.campaign;
        if self.shared.stop.load(Ordering::Relaxed) {
            return 0;
        }
        let from = self.shared.next.fetch_add(BATCH as u64, Ordering::Relaxed);
        let size = campaign.count.saturating_sub(from).min(BATCH as u64) as usize;
        for (n, case) in batch[..size].iter_mut().enumerate() {
            self.shared.generator.make(campaign.first + from + n as u64, case);
            self.native.submit(&case.start);
        }
        if size > 0 {
            self.native.flush();
        }
        size
    }

    /// Runs a case in the engine and compares it with the oldest end from the child.
    fn judge(&mut self, case: &Case) -> Result<(), CompareError> {
        let found = self.guest.run(&case.start)?;
        let expected = self.native.take()?;
        self.cases += 1;
        self.coverage.count(case, &expected);
        match compare(case, &expected, &found, self.shared.rules) {
            Verdict::Agree => {}
            Verdict::Void(reason) => *self.coverage.void.entry(reason).or_default() += 1,
            Verdict::Differ(_) => self.suspects.push((case.clone(), found)),
        }
        Ok(())
    }

    /// Looks again at a case that differed, makes it small and reports it.
    fn investigate(&mut self, case: Case, found: &End) -> Result<(), CompareError> {
        let (native, again) = (self.native.run(&case.start)?, self.guest.run(&case.start)?);
        if again == *found && compare(&case, &native, &again, self.shared.rules) == Verdict::Agree {
            // AMD CPUs lose the x87 pointers when the host switches tasks while no exception is pending.
            *self.coverage.void.entry("the host came to another end when asked again").or_default() += 1;
            return Ok(());
        }
        if self.strays(&case)? {
            *self.coverage.void.entry("ran backwards or into the middle of an instruction").or_default() += 1;
            return Ok(());
        }
        self.differing += 1;
        if self.shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (native, guest, rules) = (&mut self.native, &mut self.guest, self.shared.rules);
        let mut differs = |case: &Case| -> Result<bool, CompareError> {
            let (expected, found) = (native.run(&case.start)?, guest.run(&case.start)?);
            Ok(matches!(compare(case, &expected, &found, rules), Verdict::Differ(_)))
        };
        let small = shrink(case.clone(), &mut differs)?;
        let (expected, found) = (self.native.run(&small.start)?, self.guest.run(&small.start)?);
        let differences = match compare(&small, &expected, &found, rules) {
            Verdict::Differ(differences) => differences,
            // It differed once and never again: a difference all the same.
            _ => vec![],
        };
        let report = Report {
            case: if differences.is_empty() { case } else { small },
            expected,
            found,
            differences,
            complaint: std::mem::take(&mut self.guest.complaint),
            names: [self.native.name().to_owned(), self.guest.name().to_owned()],
        };
        let mut reports = self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if !reports.iter().any(|other| other.mnemonics() == report.mnemonics()) {
            reports.push(report);
        }
        if reports.len() >= self.shared.campaign.most_reports {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Does it run backwards, or through addresses that are none of its instructions'? Then nothing is known
    /// of what it executes.
    fn strays(&mut self, case: &Case) -> Result<bool, CompareError> {
        let addresses = self.guest.trace(&case.start, 4 * crate::start::MOST_CODE)?;
        let code = case.start.rip()..case.start.rip() + case.start.code().len() as u64;
        let inside = |at: &u64| code.contains(at);
        let backwards = addresses
            .windows(2)
            .any(|two| two.iter().all(inside) && two[1] < two[0] && !case.is_around(two[0], two[1]));
        Ok(backwards || addresses.iter().any(|at| inside(at) && case.step_at(*at).is_none()))
    }
}
