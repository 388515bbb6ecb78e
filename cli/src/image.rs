//! `ringfence image`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use images::{Build, Image, Manifest, RECIPES, Recipe, Store, Userspace};
use serde::Serialize;

use crate::args::{ImageCommand, show_size};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::Installing;
use crate::{message, progress};

/// Does what `command` says.
pub fn image(command: ImageCommand) -> Result<u8, Failure> {
    // A failure of the store is the host's within a run; on its own it is an ordinary one.
    act(command).map_err(|failure| match failure.status == u8::from(Exit::Host) {
        true => Failure { status: Exit::Failure.into(), ..failure },
        false => failure,
    })
}

fn act(command: ImageCommand) -> Result<u8, Failure> {
    let store = Store::open_default()?;
    match command {
        ImageCommand::List { json } => list(&store, json)?,
        ImageCommand::Pull { names } => {
            let recipes = names.iter().map(|name| Recipe::of(name)).collect::<Result<Vec<_>, _>>()?;
            for recipe in recipes {
                let image = store.pull(recipe, embedded::AGENT, &mut *progress::of_a_pull())?;
                let size = show_size(image.manifest.boot_size());
                message::say(format_args!("{} is here: {}, {size}", recipe.name, kernel_of(&image.manifest)));
            }
        }
        ImageCommand::Build { name, suite, packages, size } => {
            let manifest = build(&store, &Build { name, suite, packages, size })?;
            message::say(format_args!(
                "{} is here: {}; `ringfence run {}` boots it",
                manifest.name, manifest.description, manifest.name
            ));
        }
        ImageCommand::Rm { names } => {
            for name in names {
                let freed = store.remove(&name)?;
                message::say(format_args!("removed {name}: {} are free again", show_size(freed)));
            }
        }
        ImageCommand::Verify { names } => verify(&store, names)?,
    }
    Ok(0)
}

/// The image of this name: fetched if there is a recipe for it, built if it is the one that is built by itself.
///
/// # Errors
/// Why it cannot be had.
pub fn obtain(name: &str) -> Result<Image, Failure> {
    let store = Store::open_default()?;
    let unknown = match Recipe::of(name) {
        Ok(recipe) => return Ok(store.ensure(recipe, embedded::AGENT, &mut *progress::of_a_pull())?),
        Err(unknown) => unknown,
    };
    match store.get(name) {
        Ok(image) => Ok(image),
        Err(images::Error::NotPulled { .. }) if name == Build::DEFAULT => {
            message::say(format_args!("installing {name}, this once; later runs begin at once"));
            build(&store, &Build::new(name))?;
            Ok(store.get(name)?)
        }
        Err(images::Error::NotPulled { .. } | images::Error::BadName { .. }) => Err(unknown.into()),
        Err(other) => Err(other.into()),
    }
}

fn build(store: &Store, build: &Build) -> Result<Manifest, Failure> {
    let mut installing = Installing::default();
    let built = store.build(build, embedded::AGENT, &mut installing, &mut *progress::of_a_pull());
    built.map_err(|error| match (&error, installing.log()) {
        (images::Error::Installation { .. }, Some(log)) => {
            let hint = format!("what it said on its console is in {}", log.display());
            Failure::from(error).hint(hint)
        }
        _ => error.into(),
    })
}

fn verify(store: &Store, names: Vec<String>) -> Result<(), Failure> {
    let names = match names.is_empty() {
        true => store.list()?.into_iter().map(|(name, _)| name).collect(),
        false => names,
    };
    if names.is_empty() {
        message::say("there are no images here yet");
    }
    for name in names {
        store.verify(&name)?;
        message::say(format_args!("{name} is whole"));
    }
    Ok(())
}

/// An image in the list.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    description: String,
    /// `agent`, `shell` or `none`: how commands get in.
    userspace: Userspace,
    /// Is it here?
    pulled: bool,
    /// What a boot reads, if it is here.
    bytes: Option<u64>,
    /// `name version arch`, the kernel's first.
    packages: Vec<String>,
    /// Why it cannot be read.
    error: Option<String>,
}

impl Entry {
    fn of(recipe: &Recipe, stored: Option<&images::Result<Manifest>>) -> Self {
        let manifest = stored.and_then(|stored| stored.as_ref().ok());
        let packages = manifest.map_or(&[][..], |manifest| &manifest.packages);
        Self {
            name: recipe.name.to_owned(),
            description: recipe.description.to_owned(),
            userspace: recipe.userspace,
            pulled: manifest.is_some(),
            bytes: manifest.map(Manifest::boot_size),
            packages: packages.iter().map(|p| format!("{} {} {}", p.name, p.version, p.arch)).collect(),
            error: stored.and_then(|stored| stored.as_ref().err()).map(ToString::to_string),
        }
    }
}

fn entries(store: &Store) -> Result<Vec<Entry>, Failure> {
    let stored = store.list()?;
    let find = |name: &str| stored.iter().find(|(stored, _)| stored == name).map(|(_, manifest)| manifest);
    Ok(RECIPES.iter().map(|recipe| Entry::of(recipe, find(recipe.name))).collect())
}

fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let entries = entries(store)?;
    let text = match json {
        true => serde_json::to_string_pretty(&entries).map_err(|e| Failure::new(Exit::Failure, e))? + "\n",
        false => table(&entries),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failure, format!("cannot write standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn table(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let mut text = format!("{:<width$}  {:>9}  DESCRIPTION\n", "IMAGE", "SIZE");
    for entry in entries {
        let size = match (entry.bytes, &entry.error) {
            (Some(bytes), _) => show_size(bytes),
            (None, None) => "-".to_owned(),
            (None, Some(_)) => "damaged".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<width$}  {size:>9}  {}", entry.name, entry.description);
    }
    text + "\nImages without a size are fetched when they are first run.\n"
}

/// The kernel's package and its version.
fn kernel_of(manifest: &Manifest) -> String {
    manifest
        .packages
        .first()
        .map_or_else(String::new, |package| format!("{} {}", package.name, package.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_store_lists_what_could_be() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let entries = entries(&store).unwrap();
        assert_eq!(entries.len(), RECIPES.len());
        assert!(entries.iter().all(|entry| !entry.pulled && entry.bytes.is_none() && entry.error.is_none()));
        let text = table(&entries);
        assert!(text.contains("\ndebian                  -  Debian's kernel for virtual machines"), "{text}");
        let json = serde_json::to_value(&entries).unwrap();
        assert_eq!((&json[0]["name"], &json[0]["userspace"]), (&"debian".into(), &"agent".into()));
    }

    #[test]
    fn a_damaged_image_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        std::fs::write(directory.path().join("images/debian.json"), "{").unwrap();
        let entries = entries(&store).unwrap();
        assert!(
            !entries[0].pulled && entries[0].error.as_deref().is_some_and(|error| error.contains("damaged"))
        );
        assert!(table(&entries).contains("\ndebian            damaged  "));
    }
}
