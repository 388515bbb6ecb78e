//! The directories that the host shares.

use std::fs;

use nix::mount::{MsFlags, mount};
use ringfence_agent::{SHARES_AT, shares_in};

use crate::console;

/// Mounts them; what fails is said and passed over.
pub fn mount_all() {
    for tag in shares_in(&fs::read_to_string("/proc/cmdline").unwrap_or_default()) {
        let at = format!("{SHARES_AT}/{tag}");
        // On a read-only root the directory has to be there already; then the mount tells.
        let _ = fs::create_dir_all(&at);
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        if let Err(error) = mount(Some(tag), at.as_str(), Some("virtiofs"), flags, None::<&str>) {
            console::say(&format!("cannot mount the shared directory {tag} on {at}: {error}"));
        }
    }
}
