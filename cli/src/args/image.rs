//! `ringfence image`.

use clap::Subcommand;

pub const EXAMPLES: &str = "\
Examples:
  ringfence image list
  ringfence image pull debian-generic
  ringfence image list --json | jq -r '.[] | select(.pulled) | .name'

Images are made from the distribution's own packages, which this host's apt fetches and checks.
They lie in $XDG_CACHE_HOME/ringfence (~/.cache/ringfence).";

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Lists the images there are, and what of them is here
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  ringfence image list
  ringfence image list --json"
    )]
    List {
        /// Prints a JSON array: name, description, userspace, pulled, bytes, packages, error
        #[arg(long)]
        json: bool,
    },
    /// Fetches images, or brings them up to date, or mends them
    #[command(after_help = "\
Examples:
  ringfence image pull debian
  ringfence image pull debian debian-686-pae")]
    Pull {
        /// Their names
        #[arg(required = true, value_name = "IMAGE")]
        names: Vec<String>,
    },
    /// Removes images, and what only they needed
    #[command(
        visible_alias = "remove",
        after_help = "\
Examples:
  ringfence image rm gnumach"
    )]
    Rm {
        /// Their names
        #[arg(required = true, value_name = "IMAGE")]
        names: Vec<String>,
    },
    /// Checks every byte of images against its digest
    #[command(after_help = "\
Examples:
  ringfence image verify           all that are here
  ringfence image verify debian")]
    Verify {
        /// Their names; all that are here unless given
        #[arg(value_name = "IMAGE")]
        names: Vec<String>,
    },
}
