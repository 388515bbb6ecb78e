//! Pulls an image into the user's store: `pull NAME [AGENT [SOURCES]]`. AGENT is the
//! path of a static executable that becomes `/init` of the guests that have an
//! agent; SOURCES that of an apt sources.list(5) to use instead of the host's.

use std::error::Error;

use ringfence_images::{Amount, Progress, Recipe, Store};

/// Writes each task on a line.
struct Lines;

impl Progress for Lines {
    fn start(&mut self, task: &str, amount: Amount) {
        eprintln!("{task} ({amount:?})");
    }

    fn advance(&mut self, done: u64) {
        eprintln!("  {done}");
    }

    fn finish(&mut self) {
        eprintln!("  done");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("usage: pull NAME [AGENT [SOURCES]]")?;
    let agent = args.next().map(std::fs::read).transpose()?.unwrap_or_default();
    let store = Store::open_default()?;
    let store = match args.next() {
        Some(sources) => store.with_sources(sources.as_ref()),
        None => store,
    };
    let image = store.pull(Recipe::of(&name)?, &agent, &mut Lines)?;
    println!("{}", serde_json::to_string_pretty(&image.manifest)?);
    Ok(())
}
