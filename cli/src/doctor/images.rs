//! Where images come from and go to.

use std::env;
use std::path::Path;

use images::Store;
use nix::sys::statvfs::statvfs;

use super::finding::{Finding, Status};
use crate::args::show_size;

/// Enough for each image there is.
const COMFORT: u64 = 1 << 30;

/// The program that fetches packages.
pub fn apt() -> Finding {
    let path = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&path).map(|directory| directory.join("apt-get")).find(|file| file.is_file());
    match found {
        Some(file) => Finding::good(
            "apt",
            "apt",
            file.display().to_string(),
            "Images are fetched from the distribution, by packages it signed.",
        ),
        None => Finding::good(
            "apt",
            "apt",
            "no apt-get",
            "Only `ringfence run selftest` and kernels of your own (--kernel) can be booted.",
        )
        .but(Status::Missing, "run Ringfence on Debian or a derivative, or copy ~/.cache/ringfence from one"),
    }
}

/// The store's directory.
pub fn store() -> Finding {
    let (id, name) = ("image-store", "Image store");
    match Store::default_root() {
        Ok(root) => judge_store(&root, free_at(&root)),
        Err(error) => Finding::good(id, name, "no directory", "No image can be kept.")
            .but(Status::Missing, error.to_string()),
    }
}

fn judge_store(root: &Path, free: Option<u64>) -> Finding {
    let free = free.unwrap_or(0);
    let found = format!("{}, {} free", root.display(), show_size(free));
    let finding = Finding::good(
        "image-store",
        "Image store",
        found,
        "Images are kept here, so that nothing is fetched twice.",
    );
    match free < COMFORT {
        true => {
            finding.but(Status::Limited, "free some space, or put the store elsewhere with XDG_CACHE_HOME")
        }
        false => finding,
    }
}

/// The free bytes of the file system that holds `path`, or will.
fn free_at(path: &Path) -> Option<u64> {
    let fs = path.ancestors().find_map(|ancestor| statvfs(ancestor).ok())?;
    Some(fs.blocks_available().saturating_mul(fs.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_needs_room() {
        let root = Path::new("/cache/ringfence");
        assert_eq!(judge_store(root, Some(2 << 30)).status, Status::Good);
        assert_eq!(judge_store(root, Some(1 << 20)).status, Status::Limited);
        assert_eq!(judge_store(root, None).status, Status::Limited);
        assert!(free_at(Path::new("/nonexistent/a/b")).is_some_and(|free| free > 0));
    }
}
