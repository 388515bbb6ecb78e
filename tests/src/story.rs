//! A story, and how it is told.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

use crate::{Engine, Stage};

/// How often a story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On each engine that runs here.
    EachEngine,
    /// Once: engines have no part in it.
    Once,
}

/// A story.
#[derive(Clone, Copy)]
pub struct Story {
    /// `subject::what_happens`.
    pub name: &'static str,
    /// How often.
    pub scope: Scope,
    /// What is done, and what must come of it.
    pub plot: fn(&Stage) -> Result<()>,
}

impl Story {
    /// On each engine.
    pub const fn each(name: &'static str, plot: fn(&Stage) -> Result<()>) -> Self {
        Self { name, scope: Scope::EachEngine, plot }
    }

    /// Once.
    pub const fn once(name: &'static str, plot: fn(&Stage) -> Result<()>) -> Self {
        Self { name, scope: Scope::Once, plot }
    }

    /// The tests that tell it, on these engines.
    pub fn trials(self, engines: &[Engine]) -> Vec<Trial> {
        match self.scope {
            Scope::Once => vec![self.trial(None)],
            Scope::EachEngine => engines.iter().map(|engine| self.trial(Some(*engine))).collect(),
        }
    }

    fn trial(self, engine: Option<Engine>) -> Trial {
        let name = match engine {
            Some(engine) => format!("{}::{}", engine.label, self.name),
            None => self.name.to_owned(),
        };
        let tell = move || -> Result<()> { (self.plot)(&Stage::new(engine)?) };
        Trial::test(name, move || tell().map_err(|error| Failed::from(format!("{error:#}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_on_each_engine_or_once() {
        let names = |story: Story| -> Vec<String> {
            story.trials(&Engine::ALL).iter().map(|trial| trial.name().to_owned()).collect()
        };
        assert_eq!(
            names(Story::each("a::b", |_| Ok(()))),
            ["interpret::a::b", "translate::a::b", "translate-2::a::b"]
        );
        assert_eq!(names(Story::once("a::b", |_| Ok(()))), ["a::b"]);
    }
}
