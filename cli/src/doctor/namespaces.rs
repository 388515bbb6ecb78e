//! User namespaces, by which an unprivileged user can put a virtual machine's process into a jail.

use std::fs;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

use super::finding::{Finding, Status};
use super::probe::Probe;

/// The finding.
pub fn finding() -> Finding {
    let (id, name) = ("user-namespaces", "User namespaces");
    match Probe::UserNamespace.run() {
        Ok(_) => Finding::good(
            id,
            name,
            "work, with rights inside",
            "A virtual machine's process can be jailed in namespaces of its own, without root.",
        ),
        Err(what) => Finding::good(
            id,
            name,
            what,
            "A virtual machine's process cannot be jailed in namespaces without root.",
        )
        .but(
            Status::Missing,
            "sudo sysctl user.max_user_namespaces=15000; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }
}

/// Makes a user namespace, becomes its root, and uses a right of root's in it. For a process of its own.
pub fn try_it() -> Result<String, String> {
    let (uid, gid) = (getuid(), getgid());
    let step = |what: &'static str| move |error: nix::Error| format!("{what}: {}", error.desc());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(step("making one"))?;
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("writing {file}: {error}"))
    };
    map("uid_map", format!("0 {uid} 1"))?;
    map("setgroups", "deny".to_owned())?;
    map("gid_map", format!("0 {gid} 1"))?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(step("using rights in it"))?;
    Ok(String::new())
}
