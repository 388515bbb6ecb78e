//! `ringfence disk`.

use std::path::PathBuf;

use backend::block::Format;
use clap::Subcommand;

use super::size;

pub const EXAMPLES: &str = "\
Examples:
  ringfence disk create data.img 8G
  ringfence disk create vm.qcow2 20G --format qcow2
  ringfence disk create try.qcow2 --format qcow2 --backing base.img
  ringfence disk convert cloud.qcow2 vm.img --from qcow2
  ringfence disk info vm.qcow2 --format qcow2
  ringfence disk resize vm.img 40G

A disk's format is what you say, raw unless you say otherwise. It is never guessed from a file's content: a guest
writes that content.";

/// What to do with disks.
#[derive(Debug, Subcommand)]
pub enum DiskCommand {
    /// Makes an empty disk, or one that begins as another
    ///
    /// It takes space as it is written. A file that is there already is not overwritten.
    #[command(after_help = "\
Examples:
  ringfence disk create data.img 8G
  ringfence disk create vm.qcow2 20G --format qcow2
  ringfence disk create try.qcow2 --format qcow2 --backing base.img
  ringfence disk create try.qcow2 --format qcow2 --backing base.qcow2 --backing-format qcow2")]
    Create {
        /// The file to make
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// Its size; with --backing the other's unless given
        #[arg(value_name = "SIZE", value_parser = size::parse, required_unless_present = "backing")]
        size: Option<u64>,
        /// Its format: raw or qcow2
        #[arg(short, long, value_name = "FORMAT", default_value = "raw", value_parser = format())]
        format: Format,
        /// The image whose content it begins with; that one is only read, and must stay as it is
        ///
        /// It must lie in the new image's directory or below it, and is named as seen from there.
        #[arg(short, long, value_name = "FILE")]
        backing: Option<PathBuf>,
        /// That one's format: raw or qcow2
        #[arg(long, value_name = "FORMAT", default_value = "raw", value_parser = format())]
        backing_format: Format,
    },
    /// Says what a disk is
    #[command(after_help = "\
Examples:
  ringfence disk info data.img
  ringfence disk info vm.qcow2 --format qcow2 --json | jq .size")]
    Info {
        /// Its file
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// Its format: raw (unless given) or qcow2
        #[arg(short, long, value_name = "FORMAT", value_parser = format())]
        format: Option<Format>,
        /// Prints a JSON object: path, format, size, file, allocated, cluster, backing, backing_format, dirty, snapshots
        #[arg(long)]
        json: bool,
    },
    /// Makes a disk larger or smaller
    ///
    /// Partitions and file systems on it stay as they are; the guest makes them larger.
    #[command(after_help = "\
Examples:
  ringfence disk resize data.img 16G
  ringfence disk resize vm.qcow2 40G --format qcow2
  ringfence disk resize data.img 4G --shrink")]
    Resize {
        /// Its file
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// Its new size
        #[arg(value_name = "SIZE", value_parser = size::parse)]
        size: u64,
        /// Its format: raw (unless given) or qcow2
        #[arg(short, long, value_name = "FORMAT", value_parser = format())]
        format: Option<Format>,
        /// Lets it become smaller: what lies beyond the new size is lost
        #[arg(long)]
        shrink: bool,
    },
    /// Copies a disk into an image of its own
    ///
    /// What is zero takes no space in the copy, and images behind the original become part of it. A file that is there
    /// already is not overwritten.
    #[command(after_help = "\
Examples:
  ringfence disk convert cloud.qcow2 vm.img --from qcow2
  ringfence disk convert vm.img vm.qcow2 --to qcow2
  ringfence disk convert try.qcow2 whole.qcow2 --from qcow2 --to qcow2")]
    Convert {
        /// The disk to copy
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// The file to make
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// The original's format: raw (unless given) or qcow2
        #[arg(short, long, value_name = "FORMAT", value_parser = format())]
        from: Option<Format>,
        /// The copy's format: raw or qcow2
        #[arg(short, long, value_name = "FORMAT", default_value = "raw", value_parser = format())]
        to: Format,
    },
}

/// Completions know the two.
fn format() -> impl clap::builder::TypedValueParser<Value = Format> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new([Format::Raw.name(), Format::Qcow2.name()])
        .try_map(|name| name.parse::<Format>())
}
