//! The engines that every story is told on.

use anyhow::Result;

use crate::Ringfence;

/// An engine, and how many vCPUs the machines have that it runs.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// As the names of tests have it.
    pub label: &'static str,
    /// The value of `--engine`.
    pub name: &'static str,
    /// The value of `--vcpus` where a story does not care.
    pub usual: u32,
    /// And where it wants several.
    pub most: u32,
    /// Are long stories told in full here? On the other rows they are told in short ([`crate::Stage::length`]).
    pub full: bool,
}

impl Engine {
    /// The table.
    pub const ALL: [Self; 3] = [
        Self { label: "interpret", name: "interpret", usual: 1, most: 4, full: false },
        Self { label: "translate", name: "translate", usual: 1, most: 4, full: true },
        Self { label: "translate-2", name: "translate", usual: 2, most: 2, full: false },
    ];

    /// Is it a translator, which is many times as fast as an interpreter?
    pub fn is_fast(&self) -> bool {
        self.name != "interpret"
    }

    /// What this host lacks for it, in Ringfence's words; `None` if it runs.
    ///
    /// # Errors
    /// Where Ringfence itself cannot be run.
    pub fn lacks(&self) -> Result<Option<String>> {
        let words = ["run", "--quiet", "--engine", self.name, "selftest", "--append", "exit=16"];
        let ended = Ringfence::new(words).run()?;
        // Whatever else it says is for the stories to find.
        Ok(ended.err().contains("engine cannot run here").then(|| ended.err()))
    }
}
