//! The commands that reach running machines.

use std::ffi::OsString;
use std::time::Duration;

use backend::net;
use clap::Args;
use control::Name;

use super::{duration, size};

pub const PS_EXAMPLES: &str = "\
Examples:
  ringfence ps
  ringfence ps --json | jq -r '.[] | select(.state == \"running\") | .name'

A machine is booting until its user space has been heard of, then running; paused; or stopping, when it was asked to go
off and has not yet.";

pub const STOP_EXAMPLES: &str = "\
Examples:
  ringfence stop web
  ringfence stop web --timeout 2m || ringfence kill web";

/// `ringfence stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Their names: see `ringfence ps`
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<Name>,

    /// How long to wait for the guest to go off
    #[arg(short, long, value_name = "TIME", default_value = "90s", value_parser = duration::parse)]
    pub timeout: Duration,

    /// Presses the power button, even where there is an agent to be asked
    #[arg(long)]
    pub button: bool,
}

pub const EXEC_EXAMPLES: &str = "\
Examples:
  ringfence exec web                          a shell on this terminal
  ringfence exec web -- sh -c 'exit 7'; echo $?
  ringfence exec -t web -- top
  tar c site | ringfence exec web -- tar x -C /srv

The command's input, outputs and exit status are ours, as for `ringfence run -- CMD`; Ctrl-C interrupts it. If the guest
goes off or starts anew before it has ended, the status is 204.";

/// `ringfence exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The machine's name: see `ringfence ps`
    #[arg(value_name = "NAME")]
    pub name: Name,

    /// Gives the command a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// The command; a shell unless given
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

pub const ATTACH_EXAMPLES: &str = "\
Examples:
  ringfence attach web --disk data.img
  ringfence attach web --net switch=blue
  ringfence ps --json | jq '.[].devices'";

/// `ringfence attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The machine's name: see `ringfence ps`
    #[arg(value_name = "NAME")]
    pub name: Name,

    /// A disk, as for `ringfence run --disk`
    #[arg(
        short,
        long,
        value_name = "PATH[,format=raw|qcow2][,readonly][,…]",
        required_unless_present = "net"
    )]
    pub disk: Vec<String>,

    /// A network, as for `ringfence run --net`
    #[arg(short, long, value_name = "KIND[,mac=MAC][,limit-bw=SIZE]")]
    pub net: Vec<net::Spec>,
}

pub const DETACH_EXAMPLES: &str = "\
Examples:
  ringfence detach web disk0
  ringfence detach web net1 --timeout 5

Which devices there are: ringfence ps --json | jq '.[].devices'";

/// `ringfence detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The machine's name: see `ringfence ps`
    #[arg(value_name = "NAME")]
    pub name: Name,

    /// The device, as `ringfence attach` printed it
    #[arg(value_name = "ID")]
    pub id: String,

    /// How long to wait for the guest to let go of it
    #[arg(short, long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub timeout: Duration,
}

pub const BALLOON_EXAMPLES: &str = "\
Examples:
  ringfence balloon web 256M      the guest gives 256 MiB back to the host
  ringfence balloon web 0         and takes them again";

/// `ringfence balloon`.
#[derive(Debug, Args)]
pub struct BalloonArgs {
    /// The machine's name: see `ringfence ps`; it was started with --balloon
    #[arg(value_name = "NAME")]
    pub name: Name,

    /// How much memory the guest shall give back, in all
    #[arg(value_name = "SIZE", value_parser = size::parse)]
    pub size: u64,
}
