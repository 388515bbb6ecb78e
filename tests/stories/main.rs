//! The stories: what users do with Ringfence, and what must come of it, on every engine.
//!
//! ```text
//! cargo test --release -p ringfence-stories                      all of them
//! cargo test --release -p ringfence-stories -- translate::       on one engine
//! cargo test --release -p ringfence-stories -- command::status   one of them
//! ```

mod bare;
mod command;
mod computing;
mod devices;
mod disks;
mod ending;
mod hostile;
mod hotplug;
mod installed;
mod kernels;
mod killed;
mod life;
mod mirrors;
mod mistakes;
mod networks;
mod selftests;
mod shares;
mod vsock;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Arguments;
use ringfence_stories::{Engine, Scope, Stage, Story, Times};

const STORIES: &[&[Story]] = &[
    mistakes::STORIES,
    selftests::STORIES,
    hostile::STORIES,
    bare::STORIES,
    command::STORIES,
    ending::STORIES,
    kernels::STORIES,
    computing::STORIES,
    mirrors::STORIES,
    devices::STORIES,
    disks::STORIES,
    killed::STORIES,
    hotplug::STORIES,
    installed::STORIES,
    life::STORIES,
    networks::STORIES,
    shares::STORIES,
    vsock::STORIES,
];

/// Of these nothing is told on some engine: what is typed wrong, and the mirrors that only the translator has.
const WITHOUT_ENGINES: [&str; 2] = ["mistakes", "mirrors"];

const SCOPES: Story =
    Story::once("stories::every_subject_is_on_every_engine", every_subject_is_on_every_engine);

/// However many stories are left out on a slow engine: one of each subject is told there.
fn every_subject_is_on_every_engine(_: &Stage) -> Result<()> {
    for stories in STORIES {
        let subject = stories.first().context("a subject without stories")?.subject();
        let everywhere = stories.iter().any(|story| story.scope == Scope::EachEngine);
        let none =
            stories.iter().all(|story| story.scope == Scope::Once) && WITHOUT_ENGINES.contains(&subject);
        ensure!(everywhere || none, "no story of {subject} is told on every engine");
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A story waits now and then, for its guest's clock or the host's disk.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cpus + cpus.div_ceil(2));
    let mut engines = vec![];
    for engine in Engine::ALL {
        match engine.lacks() {
            Ok(None) => engines.push(engine),
            Ok(Some(lacks)) => eprintln!("no story is told on `{}`: {lacks}", engine.name),
            Err(error) => {
                eprintln!("{error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    let times = Times::default();
    // Row by row, the slowest first: what takes long does not begin at the end, and of the stories of one subject, which may
    // want the same image, most are told at different times.
    let mut trials = vec![];
    for row in engines.into_iter().map(Some).chain([None]) {
        let stories = STORIES.iter().copied().flatten().chain([&SCOPES]);
        trials.extend(stories.filter_map(|story| story.trial(row, &times)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    print!("{times}");
    conclusion.exit_code()
}
