//! Control groups, by which guests get their shares of the host.

use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::finding::{Finding, Status};

const ROOT: &str = "/sys/fs/cgroup";
/// The controllers that shares are made of.
const WANTED: [&str; 3] = ["cpu", "memory", "io"];

/// The finding.
pub fn finding() -> Finding {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    examine(Path::new(ROOT), &own)
}

fn examine(root: &Path, own: &str) -> Finding {
    let finding = |found: String, meaning| Finding::good("cgroups", "cgroup v2", found, meaning);
    let none = "Guests cannot be given shares and limits of the host's CPU, memory and disks.";
    let Some(path) = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .filter(|_| root.join("cgroup.controllers").exists())
    else {
        return finding("not mounted".to_owned(), none)
            .but(Status::Missing, "boot the host with systemd.unified_cgroup_hierarchy=1");
    };
    let group = root.join(path);
    let text = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    let controllers: Vec<_> = text.split_ascii_whitespace().filter(|name| WANTED.contains(name)).collect();
    let writable = |file: &Path| access(file, AccessFlags::W_OK).is_ok();
    if !writable(&group) || !writable(&group.join("cgroup.procs")) {
        return finding(format!("there, but {} is not ours to divide", group.display()), none).but(
            Status::Limited,
            "start Ringfence by: systemd-run --user --scope -p Delegate=yes ringfence ...",
        );
    }
    let found = format!("{} is ours, with {}", group.display(), controllers.join(", "));
    if controllers.len() < WANTED.len() {
        let found = if controllers.is_empty() {
            format!("{} is ours, without controllers", group.display())
        } else {
            found
        };
        return finding(
            found,
            "Only some of the host's CPU, memory and disks can be shared out by weight and limit.",
        )
        .but(Status::Limited, "delegate cpu, memory and io to this group (systemd: Delegate=yes)");
    }
    finding(found, "Guests can be given shares and limits of the host's CPU, memory and disks.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_or_not_and_with_which_controllers() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(examine(root.path(), "0::/a\n").status, Status::Missing);
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("cgroup.controllers"), "").unwrap();
        assert_eq!(examine(root.path(), "1:cpu:/\n").status, Status::Missing);
        assert_eq!(examine(root.path(), "0::/a\n").status, Status::Limited);
        fs::write(root.path().join("a/cgroup.procs"), "").unwrap();
        fs::write(root.path().join("a/cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        let some = examine(root.path(), "0::/a\n");
        assert_eq!(some.status, Status::Limited);
        assert!(some.found.ends_with("is ours, with cpu, memory"), "{}", some.found);
        fs::write(root.path().join("a/cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        assert_eq!(examine(root.path(), "0::/a\n").status, Status::Good);
    }
}
