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

use libtest_mimic::Arguments;
use ringfence_stories::{Engine, Story};

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

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
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
    let trials = STORIES.iter().copied().flatten().flat_map(|story| story.trials(&engines)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
