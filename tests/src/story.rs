//! A story, and how it is told.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use libtest_mimic::{Failed, Trial};

use crate::{Engine, Stage, Times};

/// Set in the process that tells a story alone.
const ALONE: &str = "RINGFENCE_STORY_ALONE";

/// Where a story is told. The interpreter takes six times as long for a boot as the translator, and all stories together are
/// to take minutes: a story that is not about engines is told on the interpreter if its subject has no other there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On each row of the table of engines ([`Engine::ALL`]).
    EachEngine,
    /// On the rows of fast engines, with one vCPU and with several: what the host's side does, and what drivers do with it.
    FastEngines,
    /// On the row that long stories are told in full on ([`Engine::full`]): what other rows would tell in the same words.
    FullRow,
    /// Once, on the engine that Ringfence takes unasked: engines have no part in it.
    Once,
}

impl Scope {
    /// Is a story of this scope told on this engine, or, with none, apart from engines?
    pub fn includes(self, engine: Option<&Engine>) -> bool {
        match (self, engine) {
            (Self::EachEngine, Some(_)) | (Self::Once, None) => true,
            (Self::FastEngines, Some(engine)) => engine.is_fast(),
            (Self::FullRow, Some(engine)) => engine.full,
            (Self::Once, Some(_)) | (_, None) => false,
        }
    }
}

/// A story: what a user does, where it is told, and what must come of it.
#[derive(Clone, Copy)]
pub struct Story {
    /// `subject::what_happens`.
    pub name: &'static str,
    /// Where.
    pub scope: Scope,
    /// What is done, and what must come of it.
    pub plot: fn(&Stage) -> Result<()>,
    /// Is it told in a process of its own?
    alone: bool,
}

impl Story {
    /// On each engine.
    pub const fn each(name: &'static str, plot: fn(&Stage) -> Result<()>) -> Self {
        Self { name, scope: Scope::EachEngine, plot, alone: false }
    }

    /// On fast engines.
    pub const fn fast(name: &'static str, plot: fn(&Stage) -> Result<()>) -> Self {
        Self { name, scope: Scope::FastEngines, plot, alone: false }
    }

    /// On the row of long stories.
    pub const fn full(name: &'static str, plot: fn(&Stage) -> Result<()>) -> Self {
        Self { name, scope: Scope::FullRow, plot, alone: false }
    }

    /// Once.
    pub const fn once(name: &'static str, plot: fn(&Stage) -> Result<()>) -> Self {
        Self { name, scope: Scope::Once, plot, alone: false }
    }

    /// What it is about.
    pub fn subject(&self) -> &'static str {
        self.name.split("::").next().unwrap_or(self.name)
    }

    /// In a process of its own: a machine that lives in it ([`crate::Live`]) has the address space to itself, which with several
    /// vCPUs and their mirrors it may need, and what the process holds is the story's.
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// The test that tells it on an engine, or apart from engines, where it is told so. It notes how long that took.
    pub fn trial(self, engine: Option<Engine>, times: &Times) -> Option<Trial> {
        if !self.scope.includes(engine.as_ref()) {
            return None;
        }
        let name = match engine {
            Some(engine) => format!("{}::{}", engine.label, self.name),
            None => self.name.to_owned(),
        };
        let (named, times) = (name.clone(), times.clone());
        Some(Trial::test(name, move || {
            let began = Instant::now();
            let told = match self.alone && std::env::var_os(ALONE).is_none() {
                true => tell_alone(&named),
                false => Stage::new(engine).and_then(|stage| (self.plot)(&stage)),
            };
            times.note(&named, began.elapsed());
            told.map_err(|error| Failed::from(format!("{error:#}")))
        }))
    }
}

/// Tells the story of a test in another process of this program.
fn tell_alone(test: &str) -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", test, "--test-threads=1"])
        .env(ALONE, "1")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.contains("1 passed"), "{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_where_its_scope_says() {
        let names = |story: Story| -> Vec<String> {
            let rows = Engine::ALL.map(Some).into_iter().chain([None]);
            let trials = rows.filter_map(|row| story.trial(row, &Times::default()));
            trials.map(|trial| trial.name().to_owned()).collect()
        };
        assert_eq!(
            names(Story::each("a::b", |_| Ok(()))),
            ["interpret::a::b", "translate::a::b", "translate-2::a::b"]
        );
        assert_eq!(names(Story::fast("a::b", |_| Ok(()))), ["translate::a::b", "translate-2::a::b"]);
        assert_eq!(names(Story::full("a::b", |_| Ok(()))), ["translate::a::b"]);
        assert_eq!(names(Story::once("a::b", |_| Ok(()))), ["a::b"]);
    }
}
