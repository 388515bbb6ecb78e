//! The engines that every story is told on.

use anyhow::Result;

use crate::Ringfence;

/// An engine, as the command line names it.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// The value of `--engine`.
    pub name: &'static str,
    /// How many vCPUs it can run.
    pub vcpus: u32,
}

impl Engine {
    /// The table.
    pub const ALL: [Self; 2] = [Self { name: "interpret", vcpus: 4 }, Self { name: "translate", vcpus: 1 }];

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
