//! Which system is to be booted: an image's, one that is kept, or the one on a disk of the user's; and what it is told
//! about itself.

use std::path::Path;

use backend::block::{Look, Spec};
use images::installed::{self, System};
use images::{Image, Seed};

use super::files;
use super::image_disk::{ImageDisk, own_kernel};
use crate::args::SystemArgs;
use crate::failure::Failure;
use crate::image;

/// The most that a file of wishes may hold, in bytes.
const MOST: u64 = images::seed::MOST as u64;

/// An image, and its disk as the machine is to have it.
pub type Booted = (Image, Option<ImageDisk>);

/// The image of this name, or the system that is kept under it.
///
/// # Errors
/// Why it cannot be had.
pub fn named(name: &str) -> Result<Booted, Failure> {
    let store = image::store()?;
    // What can be no name is told with the names there are.
    if let Ok(Some(_)) = store.kept(name) {
        return kept(None, name);
    }
    let obtained = image::obtain(name);
    let image = obtained.map_err(|failure| match Path::new(name).is_file() {
        true => failure.hint(format!("to boot a kernel file: ringfence run --kernel {name}")),
        false => failure,
    })?;
    let disk = image.disk.clone().map(|disk| ImageDisk::fresh(&store, disk));
    Ok((image, disk))
}

/// The system that is kept under `name`; if there is none yet, one that begins as `image`.
///
/// # Errors
/// Why it cannot be had.
pub fn kept(image: Option<&str>, name: &str) -> Result<Booted, Failure> {
    let store = image::store()?;
    let kept = match (store.kept(name)?, image) {
        (Some(kept), Some(image)) if image != kept.image.name && image != name => {
            let text = format!("`{name}` is a system of the image `{}`, not of `{image}`", kept.image.name);
            return Err(Failure::usage(text).hint("keep this one under another name"));
        }
        (Some(kept), _) => kept,
        (None, None) => {
            let text = format!("there is no system `{name}` yet, and no image is named for it to begin as");
            return Err(Failure::usage(text).hint(format!("ringfence run debian-full --keep {name}")));
        }
        (None, Some(image)) => {
            let manifest = image::obtain(image)?.manifest;
            if manifest.disk.is_none() {
                let text = format!("`{image}` has no disk, so there is nothing to keep");
                return Err(Failure::usage(text).hint("`ringfence run debian-full` has one"));
            }
            store.keep_system(name, &manifest)?
        }
    };
    let mut image = store.image_of(&kept)?;
    let disk = image.disk.clone().map(|disk| ImageDisk::kept(&store, &kept, disk));
    own_kernel(&mut image, store.layer_of(&kept));
    name.clone_into(&mut image.manifest.name);
    Ok((image, disk))
}

/// The system on a disk of the user's.
///
/// # Errors
/// Why the disk cannot be read, or holds none.
pub fn on(disk: &Spec) -> Result<System, Failure> {
    let look = Look::at(&disk.source)?;
    let size = look.size();
    installed::find(look, size).map_err(|error| {
        let path = disk.source.path.display();
        Failure::usage(format!("{path} cannot be booted: {error}"))
            .hint("to give the disk to a guest: ringfence run debian --disk …; its kernel can also be named by --kernel")
    })
}

/// The volume with what the guest is to be told, if there is anything.
///
/// # Errors
/// A file that cannot be read, a wish that cannot be.
pub fn seed(args: &SystemArgs) -> Result<Option<ImageDisk>, Failure> {
    if !args.has_wishes() {
        return Ok(None);
    }
    let SystemArgs { keep: _, hostname, user, ssh_key, cloud_init } = args;
    let mut keys = vec![];
    for path in ssh_key {
        let text = String::from_utf8_lossy(&files::read(path, "the public key", MOST)?).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        keys.extend(lines.map(str::to_owned));
    }
    let cloud_init =
        cloud_init.as_ref().map(|path| files::read(path, "the file for cloud-init", MOST)).transpose()?;
    let seed = Seed { hostname: hostname.clone(), user: user.clone(), keys, cloud_init };
    Ok(Some(ImageDisk::Seed(seed.volume().map_err(Failure::usage)?)))
}
