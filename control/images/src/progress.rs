//! How long-running work reports itself, without knowing who listens.

/// How much work a task has, and in which unit it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// This many bytes.
    Bytes(u64),
    /// Hundredths of the whole: the task is done at 100.
    Percent,
    /// Nobody knows: a wait, or work too short to count.
    Unknown,
}

/// Who is told about work under way: a bar on a terminal, a log, nobody.
///
/// Tasks do not overlap: each `start` is followed by any number of `advance`
/// and, unless the work failed, by one `finish`.
pub trait Progress {
    /// A task begins; `task` is a short phrase for people.
    fn start(&mut self, task: &str, amount: Amount);

    /// `done` of the task's amount is done: a position, which never goes back.
    fn advance(&mut self, done: u64);

    /// The task that was started last is done.
    fn finish(&mut self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _task: &str, _amount: Amount) {}
    fn advance(&mut self, _done: u64) {}
    fn finish(&mut self) {}
}
