//! The engines that every story is told on.

use translate::Translator;

/// An engine, as the command line names it.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// The value of `--engine`.
    pub name: &'static str,
    /// How many vCPUs it can run.
    pub vcpus: u32,
    /// Why it cannot run on this host, if it cannot.
    lacks: fn() -> Option<String>,
}

impl Engine {
    /// The table.
    pub const ALL: [Self; 2] = [
        Self { name: "interpret", vcpus: 4, lacks: || None },
        Self { name: "translate", vcpus: 1, lacks: || Translator::supported().err() },
    ];

    /// What this host lacks for it, in words; `None` if it can run.
    pub fn lacks(&self) -> Option<String> {
        (self.lacks)()
    }
}
