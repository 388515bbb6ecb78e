//! What guest and host share: `--share` and `--vsock`.

use backend::{share, vsock};
use clap::Args;

/// What guest and host share.
#[derive(Debug, Args)]
pub struct SharingArgs {
    /// Shares a directory with the guest; may be said several times
    ///
    /// An image with our agent has it at /mnt/TAG; elsewhere: mount -t virtiofs TAG /mnt. TAG is the directory's
    /// own name unless it is said. What the guest makes there belongs to you.
    #[arg(short, long, value_name = "DIR[:TAG][,readonly]")]
    pub share: Vec<share::Spec>,

    /// Gives the guest sockets to the host
    ///
    /// Connect to PATH and write "CONNECT 52" and a newline to reach the guest's port 52; the guest's connections to
    /// the host's port 52 (address 2) go to PATH_52.
    #[arg(long, value_name = "PATH[,cid=N]")]
    pub vsock: Option<vsock::Spec>,
}
