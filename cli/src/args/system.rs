//! Options about systems that are installed on a disk.

use std::path::PathBuf;

use clap::Args;

/// Options about systems that are installed on a disk.
#[derive(Debug, Args)]
#[command(next_help_heading = "Installed systems")]
pub struct SystemArgs {
    /// Keeps what the guest writes to the image's disk, as a system of this name
    ///
    /// A later run with the same name, or of that name, goes on with it; IMAGE then need not be said. Without this,
    /// what is written is gone when the machine is. `ringfence image list` shows what is kept, `ringfence image rm` removes it.
    #[arg(long, value_name = "NAME")]
    pub keep: Option<String>,

    /// Tells the guest its host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Makes a user in the guest, who may become root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Lets the owner of this public key in by SSH, as --user or as root; may be said several times
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Vec<PathBuf>,

    /// Gives the guest's cloud-init this file (user-data) on a volume `cidata`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "ssh_key"])]
    pub cloud_init: Option<PathBuf>,
}

impl SystemArgs {
    /// Whether the guest is to be told anything.
    pub fn has_wishes(&self) -> bool {
        let Self { keep: _, hostname, user, ssh_key, cloud_init } = self;
        hostname.is_some() || user.is_some() || !ssh_key.is_empty() || cloud_init.is_some()
    }
}
