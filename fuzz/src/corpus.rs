//! Seeds on the disk: one file each in `corpus/<target>/`.
//!
//! Inputs that once failed are kept there. What follows from our own formats (a chip's record, a frame of the
//! agent's) is built in instead ([`crate::target::Target::seeds`]), so that it moves with them.

use std::path::{Path, PathBuf};

use crate::target::Target;

/// The seeds of a target: the built-in ones, then those on the disk by name.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = (target.seeds)();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder(target)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    seeds.extend(files.iter().filter_map(|file| std::fs::read(file).ok()));
    seeds
}

/// Where a target's seeds are.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;

    #[test]
    fn every_folder_of_seeds_belongs_to_a_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for entry in std::fs::read_dir(corpus).unwrap().flatten() {
            let name = entry.file_name();
            assert!(TARGETS.iter().any(|target| name == target.name), "{name:?}");
        }
    }

    /// The regressions: whatever failed once, and all seeds.
    #[test]
    fn every_seed_passes() {
        for target in TARGETS {
            for seed in seeds(target) {
                (target.run)(&seed);
            }
        }
    }
}
