//! `ringfence image`.

use clap::Subcommand;

use super::size;

pub const EXAMPLES: &str = "\
Examples:
  ringfence image list
  ringfence image pull debian-generic
  ringfence image build tools --packages fio,iperf3
  ringfence image list --json | jq -r '.[] | select(.pulled) | .name'

Images are made from the distribution's own packages, which this host's apt fetches and checks.
They lie in $XDG_CACHE_HOME/ringfence (~/.cache/ringfence).";

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Lists the images there are, what of them is here, and systems that are kept
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  ringfence image list
  ringfence image list --json"
    )]
    List {
        /// Prints a JSON array: name, description, userspace, pulled, bytes, packages, disk, image, error
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
    /// Installs a whole Debian on a disk, as an image of yours
    ///
    /// Its packages come from the mirrors that this host's apt uses, and it goes on using those. The installation
    /// runs inside a virtual machine, so it takes no rights here. Packages that are only recommended are left out.
    #[command(after_help = "\
Examples:
  ringfence image build debian-full
  ringfence image build tools --packages fio,iperf3,ethtool
  ringfence image build next --suite trixie --size 8G
  ringfence run tools")]
    Build {
        /// The image's name, and the guest's host name
        #[arg(value_name = "NAME")]
        name: String,
        /// The suite's code name; this host's own unless given
        #[arg(short, long, value_name = "SUITE")]
        suite: Option<String>,
        /// Packages beyond those of a small server
        #[arg(short, long, value_name = "PACKAGE,…", value_delimiter = ',')]
        packages: Vec<String>,
        /// The size of its disk, which takes space only as it is written
        #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = size::parse)]
        size: u64,
    },
    /// Removes images or systems that are kept, and what only they needed
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
