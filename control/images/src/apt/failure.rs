//! What apt's complaints mean.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::Error;

/// Phrases of apt's methods and of the C library when no server can be reached.
const NETWORK: &[&str] = &[
    "Temporary failure resolving",
    "Could not resolve",
    "Something wicked happened resolving",
    "Unable to connect to",
    "Could not connect to",
    "Cannot initiate the connection",
    "Connection failed",
    "Connection timed out",
    "connection timed out",
    "Connection refused",
    "Network is unreachable",
    "No route to host",
];

/// Phrases when the disk is full.
const SPACE: &[&str] = &["No space left on device", "enough free space", "Disk quota exceeded"];

/// Below this many free bytes apt's own failures are put down to that: on a full
/// disk its memory-mapped cache kills it before it can complain.
const FULL: u64 = 1 << 20;

/// Turns what `command` wrote to standard error into a typed error. `root` is
/// where it was writing.
pub(super) fn explain(command: &str, root: &Path, stderr: &str) -> Error {
    let speaks_of =
        |phrases: &[&str]| stderr.lines().find(|line| phrases.iter().any(|phrase| line.contains(phrase)));
    if speaks_of(SPACE).is_some() || is_full(root) {
        return Error::DiskFull { path: root.to_owned() };
    }
    if let Some(line) = speaks_of(NETWORK) {
        return Error::NoNetwork { detail: plain(line).to_owned() };
    }
    // "E:" is an error, "W:" a warning; what else there is may explain a crash.
    let errors: Vec<_> = stderr.lines().filter(|l| l.starts_with("E: ")).map(plain).collect();
    let detail = match (errors.as_slice(), stderr.trim().lines().last()) {
        ([_, ..], _) => errors.join("; "),
        ([], Some(last)) => plain(last).to_owned(),
        ([], None) => "it gave no reason".to_owned(),
    };
    Error::Apt { command: command.to_owned(), detail }
}

fn is_full(dir: &Path) -> bool {
    statvfs(dir).is_ok_and(|fs| fs.blocks_available().saturating_mul(fs.fragment_size()) < FULL)
}

fn plain(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: ")).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(stderr: &str) -> Error {
        explain("apt-get update", Path::new("/cache"), stderr)
    }

    #[test]
    fn no_network() {
        // Recorded from apt 2.6.1 in a network namespace without interfaces.
        let stderr = "W: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  \
                      Temporary failure resolving 'deb.debian.org'\n\
                      W: Some index files failed to download. They have been ignored, or old \
                      ones used instead.\n";
        let Error::NoNetwork { detail } = explained(stderr) else { panic!() };
        assert!(detail.starts_with("Failed to fetch http://deb.debian.org"), "{detail}");
    }

    #[test]
    fn full_disk() {
        let stderr = "E: Write error - write (28: No space left on device)\n";
        let Error::DiskFull { path } = explained(stderr) else { panic!() };
        assert_eq!(path, Path::new("/cache"));
    }

    #[test]
    fn anything_else_is_quoted() {
        let stderr = "W: something\nE: first\nE: second\n";
        let message = explained(stderr).to_string();
        assert_eq!(message, "`apt-get update` failed: first; second");
        assert!(explained("").to_string().contains("no reason"));
        assert!(explained("Segfault\n").to_string().contains("Segfault"));
    }
}
