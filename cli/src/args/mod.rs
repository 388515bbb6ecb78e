//! The command line as the user writes it.
//!
//! Everything that `--help`, the manual pages and the completions say stands in this folder.

mod disk;
mod duration;
mod image;
mod life;
mod net;
mod run;
mod sharing;
mod size;
mod system;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use clap_complete::Shell;
use control::Name;

pub use disk::DiskCommand;
pub use image::ImageCommand;
pub use life::{AttachArgs, BalloonArgs, DetachArgs, ExecArgs, StopArgs};
pub use net::NetArgs;
pub use run::{EngineChoice, RunArgs};
pub use sharing::SharingArgs;
pub use size::show as show_size;
pub use system::SystemArgs;

const EXAMPLES: &str = "\
Examples:
  ringfence run                          a Debian kernel and a shell on this terminal
  ringfence run debian -- uname -a       one command in the guest; its status is ours
  echo 'uname -a' | ringfence run debian a script for the guest's shell
  ringfence run --kernel bzImage --initrd initrd.img
  ringfence image list                   what can be booted, and what is here already
  ringfence disk create data.img 8G      an empty disk
  ringfence doctor                       what this host offers

`ringfence help COMMAND` says more about each.";

/// Virtual machines with or without hardware virtualization.
///
/// Ringfence runs full, unmodified operating systems on any Linux x86-64 host, with no need of
/// /dev/kvm, of root, or of anything installed beforehand.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    /// Says more on standard error: -v what happens, -vv and -vvv in detail
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", display_order = 100)]
    pub verbose: u8,
    /// Says nothing but errors
    #[arg(short, long, global = true, display_order = 101)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boots a virtual machine: a shell on this terminal, or one command
    ///
    /// On a terminal every key goes to the guest, Ctrl-C too; Ctrl-] leaves. The kernel's messages are shown until
    /// the shell is there, and go on into the console log.
    ///
    /// A command's standard output and standard error are ours, byte for byte, and so is its exit status. Ctrl-C
    /// interrupts the command; once more, and the machine is stopped.
    ///
    /// In guests without Ringfence's agent (a kernel of your own, gnumach, memtest86+, debian-686-pae) the first serial
    /// port is the terminal. debian-686-pae takes commands, but no input for them, and their two outputs are one.
    Run(Box<RunArgs>),
    /// Lists the machines that run
    #[command(visible_alias = "list", after_help = life::PS_EXAMPLES)]
    Ps {
        /// Prints a JSON array: name, pid, image, state, engine, vcpus, memory, devices and more (docs/control.md)
        #[arg(long)]
        json: bool,
    },
    /// Runs a command in a guest that runs, or a shell
    #[command(after_help = life::EXEC_EXAMPLES)]
    Exec(ExecArgs),
    /// Connects this terminal to a guest's console, its first serial port
    ///
    /// What the guest wrote last is shown first. Every key goes to the guest; Ctrl-] leaves, and the machine goes on.
    #[command(after_help = "\
Examples:
  ringfence console web")]
    Console {
        /// The machine's name: see `ringfence ps`
        #[arg(value_name = "NAME")]
        name: Name,
    },
    /// Gives a running machine disks or network interfaces, and prints what `detach` calls them
    #[command(after_help = life::ATTACH_EXAMPLES)]
    Attach(AttachArgs),
    /// Asks a guest to let go of a device, and takes it away
    #[command(after_help = life::DETACH_EXAMPLES)]
    Detach(DetachArgs),
    /// Asks a guest to give memory back to the host
    #[command(after_help = life::BALLOON_EXAMPLES)]
    Balloon(BalloonArgs),
    /// Asks guests to go off, and waits until they have
    ///
    /// A guest with Ringfence's agent is asked through it; any other by the power button, which it may or may not heed.
    #[command(after_help = life::STOP_EXAMPLES)]
    Stop(StopArgs),
    /// Ends machines at once, as if their plug were pulled
    #[command(after_help = "\
Examples:
  ringfence kill web
  ringfence kill $(ringfence ps --json | jq -r '.[].name')")]
    Kill {
        /// Their names: see `ringfence ps`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<Name>,
    },
    /// Makes machines stand still
    #[command(after_help = "\
Examples:
  ringfence pause web
  ringfence resume web")]
    Pause {
        /// Their names: see `ringfence ps`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<Name>,
    },
    /// Lets machines go on that were paused
    #[command(after_help = "\
Examples:
  ringfence resume web")]
    Resume {
        /// Their names: see `ringfence ps`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<Name>,
    },
    /// Lists, fetches, checks and removes images
    #[command(after_help = image::EXAMPLES, arg_required_else_help = true)]
    Image {
        /// What to do with them.
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Makes, shows, resizes and copies disks
    #[command(after_help = disk::EXAMPLES, arg_required_else_help = true)]
    Disk {
        /// What to do with them.
        #[command(subcommand)]
        command: DiskCommand,
    },
    /// Says what this host offers, what that means, and what to do about it
    #[command(after_help = "\
Examples:
  ringfence doctor
  ringfence doctor --json | jq '.[] | select(.status != \"good\")'")]
    Doctor {
        /// Prints a JSON array: id, name, status (good, limited, missing), found, meaning, advice
        #[arg(long)]
        json: bool,
    },
    /// Prints the completions for a shell
    #[command(after_help = "\
Examples:
  ringfence completions bash > ~/.local/share/bash-completion/completions/ringfence
  ringfence completions zsh > ~/.zfunc/_ringfence
  ringfence completions fish > ~/.config/fish/completions/ringfence.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page, or writes all of them into a directory
    #[command(after_help = "\
Examples:
  ringfence man | man -l -
  ringfence man ~/.local/share/man/man1")]
    Man {
        /// Where to write ringfence.1, ringfence-run.1 and so on
        directory: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }

    #[test]
    fn what_follows_the_dashes_is_the_guests() {
        let line = ["ringfence", "run", "debian", "--memory", "1G", "--", "sh", "-c", "exit 7", "--memory"];
        let Command::Run(run) = Cli::parse_from(line).command else { panic!() };
        assert_eq!(run.image.as_deref(), Some("debian"));
        assert_eq!(run.memory, 1 << 30);
        assert_eq!(run.command, ["sh", "-c", "exit 7", "--memory"]);
        let Command::Run(run) = Cli::parse_from(["ringfence", "run", "--", "true"]).command else { panic!() };
        assert_eq!((run.image, run.command), (None, vec!["true".into()]));
    }
}
