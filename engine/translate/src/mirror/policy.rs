//! When a program is worth a mirror: it was found running twice after milliseconds in which little happened that would stop one. And
//! when it was not worth it: most of the time went into stops.

use rustc_hash::FxHashMap;

/// Host ticks between two events, on average and at the least, in a program that may be worth it: some twenty microseconds.
const APART: u64 = 1 << 16;
/// Samples in less than so many ticks are no samples.
const SHORTEST: u64 = 1 << 20;
/// Samples in a row that show a program that computes.
const PATIENCE: u8 = 2;
/// The weight of stops after which a mirror is judged.
const TRIAL: u64 = 256;
/// Nanoseconds that the mirror's process must have been busy for each stop of full weight.
const WORTH: u64 = 100_000;
/// Ticks for which a program that was not worth it is left alone: the first time, and at most.
const REST: (u64, u64) = (1 << 28, 1 << 35);
/// The most address spaces remembered.
const MOST: usize = 256;

/// How much a stop counts. Some come once only: the program's code and pages are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// A branch that was not led to its target yet.
    Link = 1,
    /// A page that was not mapped yet.
    Page = 2,
    /// Everything else.
    Full = 4,
}

/// Pages unmapped that weigh one (a fourth of a full stop): each took some five microseconds to be mapped, touched and unmapped.
pub(crate) const PAGES_GONE: u64 = 2;

/// One look at a vCPU in user code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The root table of its address space.
    pub root: u64,
    /// Host ticks.
    pub now: u64,
    /// What has happened so far that would have stopped a mirror.
    pub events: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Samples of late in which it has computed.
    heat: u8,
    /// Not before this time.
    rests_until: u64,
    rest: u64,
}

/// Decides.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    last: Option<Sample>,
    records: FxHashMap<u64, Record>,
}

/// What has happened in a mirror since it was last judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// The weight of its stops.
    pub weight: u64,
    /// For how long its process had been busy, in nanoseconds.
    pub busy: u64,
}

impl Policy {
    /// Takes a look. True if the program should get a mirror now. What has happened since the last look counts for whoever is found
    /// now: the guest's kernel changes programs when it has interrupted one, which is when we look.
    pub fn look(&mut self, sample: Sample) -> bool {
        let Some(last) = self.last else {
            self.last = Some(sample);
            return false;
        };
        let passed = sample.now.wrapping_sub(last.now);
        if passed < SHORTEST {
            return false;
        }
        self.last = Some(sample);
        let cost = sample.events.wrapping_sub(last.events).saturating_mul(APART);
        let record = self.record(sample.root, sample.now);
        record.heat = if cost > passed { 0 } else { record.heat.saturating_add(1) };
        record.heat >= PATIENCE && sample.now >= record.rests_until
    }

    fn record(&mut self, root: u64, now: u64) -> &mut Record {
        if self.records.len() >= MOST && !self.records.contains_key(&root) {
            self.records.retain(|_, record| record.rests_until > now);
            if self.records.len() >= MOST {
                self.records.clear();
            }
        }
        self.records.entry(root).or_default()
    }

    /// Judges a mirror by its account, if that is long enough. `busy` gives for how long its process has been busy. False if it
    /// is not worth it.
    pub fn judge(&mut self, root: u64, account: &mut Account, now: u64, busy: impl FnOnce() -> u64) -> bool {
        if account.weight < TRIAL {
            return true;
        }
        let busy = busy();
        let worth = busy.saturating_sub(account.busy) >= account.weight / Weight::Full as u64 * WORTH;
        *account = Account { weight: 0, busy };
        if worth {
            if let Some(record) = self.records.get_mut(&root) {
                record.rest = 0;
            }
        } else {
            self.reject(root, now);
        }
        worth
    }

    /// A mirror is not worth it, or could not be made.
    pub fn reject(&mut self, root: u64, now: u64) {
        let record = self.record(root, now);
        record.rest = (2 * record.rest).clamp(REST.0, REST.1);
        record.rests_until = now + record.rest;
        record.heat = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u64, events: u64) -> Sample {
        Sample { root: 0x1000, now: n * 10_000_000, events }
    }

    #[test]
    fn who_computes_gets_a_mirror_and_who_calls_does_not() {
        let mut policy = Policy::default();
        let wanted: Vec<bool> = (0..5).map(|n| policy.look(sample(n, 10 * n))).collect();
        assert_eq!(wanted, [false, false, true, true, true]);
        let mut policy = Policy::default();
        assert!(!(0..9).any(|n| policy.look(sample(n, 400 * n))), "400 calls in four milliseconds");
        assert!(!(0..9).any(|n| policy.look(Sample { root: n << 12, ..sample(n, 0) })), "switches");
    }

    #[test]
    fn what_was_not_worth_it_rests_longer_each_time() {
        let mut policy = Policy::default();
        let mut account = Account { weight: TRIAL - 1, busy: 0 };
        assert!(policy.judge(0x1000, &mut account, 0, || unreachable!()));
        account.weight += 4;
        assert!(policy.judge(0x1000, &mut account, 0, || 2 * TRIAL * WORTH));
        let mut rests = Vec::new();
        for _ in 0..3 {
            let mut account = Account { weight: TRIAL, busy: 5 };
            assert!(!policy.judge(0x1000, &mut account, 0, || 1000 * TRIAL));
            rests.push(policy.records[&0x1000].rests_until);
        }
        assert!(rests[0] >= REST.0 && rests[1] == 2 * rests[0] && rests[2] == 2 * rests[1]);
        assert!(!(0..5).any(|n| policy.look(sample(n, 0))), "it rests");
        let after = rests[2] / 10_000_000;
        assert!((after..after + 5).any(|n| policy.look(sample(n, 0))));
        (0..10_000).for_each(|root| policy.reject(root, 0));
        assert!(policy.records.len() <= MOST);
    }
}
