//! Debian packages: ar, gzip, xz, zstd and tar. The seeds are whole packages in the corpus.

use super::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "deb",
    about: "Debian packages: ar, gzip, xz, zstd, tar",
    longest: 16 << 10,
    run,
    seeds: Vec::new,
};

fn run(input: &[u8]) {
    if let Ok(Some(file)) = images::deb::find(input, |path| path.starts_with("boot/")) {
        assert!(file.path.starts_with("boot/"));
    }
    // All of it, to the end of the archive.
    let _ = images::deb::find(input, |_| false);
    let _ = images::deb::gunzip(input);
}
