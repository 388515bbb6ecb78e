//! The commands that reach running machines.

use std::time::Duration;

use clap::Args;
use control::Name;

use super::duration;

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
