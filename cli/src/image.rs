//! `ringfence image`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use images::build::is_current;
use images::{Build, Image, Kept, Manifest, RECIPES, Recipe, Store, Userspace};
use serde::Serialize;

use crate::args::{ImageCommand, show_size};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::Installing;
use crate::{message, progress};

/// The user's store. Waits for other processes are noted.
pub fn store() -> images::Result<Store> {
    Ok(Store::open_default()?.telling(|text| message::note(text)))
}

/// Does what `command` says.
pub fn image(command: ImageCommand) -> Result<u8, Failure> {
    // A failure of the store is the host's within a run; on its own it is an ordinary one.
    act(command).map_err(|failure| match failure.status == u8::from(Exit::Host) {
        true => Failure { status: Exit::Failure.into(), ..failure },
        false => failure,
    })
}

fn act(command: ImageCommand) -> Result<u8, Failure> {
    let store = store()?;
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
    let store = store()?;
    let unknown = match Recipe::of(name) {
        Ok(recipe) => return Ok(store.ensure(recipe, embedded::AGENT, &mut *progress::of_a_pull())?),
        Err(unknown) => unknown,
    };
    let by_itself = name == Build::DEFAULT;
    match store.get(name) {
        Ok(image) if !by_itself || is_current(&image.manifest, embedded::AGENT) => Ok(image),
        // Not here, or another version's: such an agent may not be understood.
        Ok(_) | Err(images::Error::NotPulled { .. }) if by_itself => {
            message::say(format_args!("installing {name}, this once; later runs begin at once"));
            build(&store, &Build::new(name))?;
            Ok(store.get(name)?)
        }
        Ok(image) => Ok(image),
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
    /// The file of its disk, if it has one: a raw image, which is only to be read.
    disk: Option<PathBuf>,
    /// The image that it began as, if it is a system that is kept.
    image: Option<String>,
    /// Why it cannot be read.
    error: Option<String>,
}

impl Entry {
    /// What is not here, and not known in detail.
    fn new(name: &str, description: &str, userspace: Userspace) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            userspace,
            pulled: false,
            bytes: None,
            packages: vec![],
            disk: None,
            image: None,
            error: None,
        }
    }

    /// The same, with what the store has of it.
    fn with(self, store: &Store, stored: Option<&images::Result<Manifest>>) -> Self {
        match stored {
            None => self,
            Some(Err(error)) => Self { error: Some(error.to_string()), ..self },
            Some(Ok(manifest)) => {
                let package = |p: &images::Package| format!("{} {} {}", p.name, p.version, p.arch);
                let on_disk = manifest.disk.as_ref().and_then(|disk| store.disk_takes(disk));
                Self {
                    description: manifest.description.clone(),
                    userspace: manifest.userspace,
                    pulled: true,
                    bytes: Some(manifest.boot_size() + on_disk.unwrap_or(0)),
                    packages: manifest.packages.iter().map(package).collect(),
                    disk: manifest.disk.as_ref().map(|disk| store.disk_file(disk)),
                    ..self
                }
            }
        }
    }

    fn kept(store: &Store, name: &str, kept: &images::Result<Kept>) -> Self {
        let entry = Self::new(name, "a system that is kept", Userspace::System);
        match kept {
            Err(error) => Self { error: Some(error.to_string()), ..entry },
            Ok(kept) => Self {
                description: format!("a system that is kept; it began as {}", kept.image.name),
                pulled: true,
                bytes: Some(store.layer_takes(kept)),
                disk: Some(store.layer_of(kept)),
                image: Some(kept.image.name.clone()),
                ..entry
            },
        }
    }
}

/// Images that there are recipes for, the one that is built by itself, those that were built, and systems that are kept.
fn entries(store: &Store) -> Result<Vec<Entry>, Failure> {
    let stored = store.list()?;
    let find = |name: &str| stored.iter().find(|(stored, _)| stored == name).map(|(_, manifest)| manifest);
    let recipe = |recipe: &Recipe| {
        Entry::new(recipe.name, recipe.description, recipe.userspace).with(store, find(recipe.name))
    };
    let mut entries: Vec<_> = RECIPES.iter().map(recipe).collect();
    let default = Entry::new(Build::DEFAULT, "Debian, installed on a disk", Userspace::System);
    entries.push(default.with(store, find(Build::DEFAULT)));
    for (name, manifest) in &stored {
        if !entries.iter().any(|entry| entry.name == *name) {
            let entry = Entry::new(name, "an image of yours", Userspace::System);
            entries.push(entry.with(store, Some(manifest)));
        }
    }
    let kept = store.all_kept()?;
    entries.extend(kept.iter().map(|(name, kept)| Entry::kept(store, name, kept)));
    Ok(entries)
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
    text + "\nImages without a size are fetched or built when they are first run.\n"
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
        assert_eq!(entries.len(), RECIPES.len() + 1);
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
