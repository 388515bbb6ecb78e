//! From what the user asked for to a machine's description.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use agent::{Network, SHARE_WORD};
use backend::block::Spec;
use backend::net::{Kind, user};
use images::{Image, Recipe, Userspace};
use machine::firmware::MOST_VCPUS;
use machine::load::{self, KernelKind};
use machine::{BuildError, Images, VmConfig};

use super::command::Wish;
use super::exec;
use super::files;
use super::host_memory;
use super::image_disk::ImageDisk;
use super::system::{self, Booted};
use crate::args::{RunArgs, show_size};
use crate::failure::Failure;
use crate::{image, message, progress};

/// The image that boots unless the user names one.
const DEFAULT: &str = "debian";
/// The kernel inside of us, named like an image.
pub const SELFTEST: &str = "selftest";
/// What a Linux kernel of the user's gets unless he says otherwise: the serial port is its console, and a panic ends it.
const LINUX: &str = "console=ttyS0 panic=-1";

/// How to talk with the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through its agent.
    Agent(Wish),
    /// COM1 is the terminal.
    Serial,
    /// COM1 is the terminal, and a shell of ours runs on it.
    Shell,
    /// The command is on the kernel's command line.
    Exec,
}

/// What to run and how.
#[derive(Debug)]
pub struct Plan {
    /// What messages call it.
    pub name: String,
    /// The machine.
    pub config: VmConfig,
    /// Its files.
    pub images: Images,
    /// Disks that the user did not name one by one: the image's own, the seed.
    pub disks: Vec<ImageDisk>,
    /// How to talk with it.
    pub way: Way,
    /// Can commands be run in it, once it is up?
    pub has_agent: bool,
}

/// Makes a plan; pulls the image if need be.
///
/// # Errors
/// What the user cannot have, and what the host cannot give.
pub fn plan(args: &RunArgs) -> Result<Plan, Failure> {
    check(args)?;
    let read = |path: &PathBuf, what| files::read(path, what, args.memory);
    let kernel = args.kernel.as_ref().map(|path| read(path, "the kernel")).transpose()?;
    let initrd = args.initrd.as_ref().map(|path| read(path, "the initrd")).transpose()?;
    let seed = system::seed(&args.system)?;
    let mut plan = match &args.system.keep {
        Some(name) => of_image(args, system::kept(args.image.as_deref(), name)?, kernel, initrd),
        None => of_what_is_named(args, kernel, initrd),
    }?;
    if seed.is_some() && matches!(plan.way, Way::Agent(_) | Way::Shell | Way::Exec) && plan.disks.is_empty() {
        let text = format!("`{}` is not installed on a disk, and reads nothing about itself", plan.name);
        return Err(Failure::usage(text).hint("`ringfence run debian-full` does"));
    }
    plan.disks.extend(seed);
    Ok(plan)
}

fn of_what_is_named(
    args: &RunArgs,
    kernel: Option<Vec<u8>>,
    initrd: Option<Vec<u8>>,
) -> Result<Plan, Failure> {
    match (args.image.as_deref(), kernel) {
        (None, Some(kernel)) => of_files(args, kernel, initrd),
        (None, None) => match args.disk.first() {
            Some(disk) => of_disk(args, disk, initrd),
            None => of_default(args, initrd),
        },
        (Some(SELFTEST), None) if args.command.is_empty() => Ok(of_selftest(args)),
        (Some(SELFTEST), _) => Err(Failure::usage(
            "`selftest` is a kernel without user space: it takes no --kernel and no command",
        )),
        (Some(name), kernel) => of_image(args, system::named(name)?, kernel, initrd),
    }
}

/// What can be known to be wrong before anything is read or fetched.
fn check(args: &RunArgs) -> Result<(), Failure> {
    if let Some(total) = host_memory::total().filter(|total| args.memory > *total) {
        let text =
            format!("{} of memory is more than this host has ({})", show_size(args.memory), show_size(total));
        return Err(Failure::usage(text).hint("ask for less: --memory 512M"));
    }
    if args.memory < 1 << 20 || !args.memory.is_multiple_of(4096) {
        let text =
            format!("{} bytes is no memory size: it must be at least 1M, and a multiple of 4K", args.memory);
        return Err(Failure::usage(text).hint("most Linux kernels want 128M at least: --memory 512M"));
    }
    if !args.cpu.is_to_be_had() {
        return Err(Failure::usage("this host's CPU is no x86-64-v3: it lacks AVX2, BMI or FMA")
            .hint("--cpu x86-64-v2, or --cpu host for all that this one can do"));
    }
    if !(1..=MOST_VCPUS).contains(&args.vcpus) {
        return Err(Failure::usage(BuildError::Vcpus(args.vcpus)).hint("for example: --vcpus 2"));
    }
    if args.tty && !io::stdin().is_terminal() {
        return Err(Failure::usage("--tty gives the guest this terminal, and standard input is none"));
    }
    if args.image.is_none() && args.kernel.is_some() && !args.command.is_empty() {
        return Err(Failure::usage("a kernel alone has nothing to run a command with")
            .hint("name an image for its user space: ringfence run debian --kernel FILE -- CMD"));
    }
    Ok(())
}

fn is_offline(error: &images::Error) -> bool {
    matches!(error, images::Error::NoApt { .. } | images::Error::NoNetwork { .. })
}

fn pull(name: &str) -> images::Result<Image> {
    let recipe = Recipe::of(name)?;
    image::store()?.ensure(recipe, embedded::AGENT, &mut *progress::of_a_pull())
}

fn config(args: &RunArgs, command_line: String) -> VmConfig {
    VmConfig {
        memory: args.memory,
        vcpus: args.vcpus,
        cpu: args.cpu.into(),
        kernel: args.kernel.clone(),
        initrd: args.initrd.clone(),
        command_line,
        ..VmConfig::default()
    }
}

/// What the guest's user space is told of its network, so that it need not ask.
fn network(args: &RunArgs) -> Option<Network> {
    let number = args.net.publisher();
    let networks = args.net.networks();
    let Kind::User { .. } = networks[number].kind else { return None };
    // `none` is no interface.
    let before = networks[..number].iter().filter(|spec| spec.kind != Kind::None).count();
    let plan = user::Plan::default();
    Some(Network {
        interface: format!("eth{before}"),
        address: plan.guest(),
        bits: user::Plan::BITS,
        router: plan.gateway(),
        resolver: plan.resolver(),
    })
}

/// The default image, or what there is where it cannot be had.
fn of_default(args: &RunArgs, initrd: Option<Vec<u8>>) -> Result<Plan, Failure> {
    match pull(DEFAULT) {
        Ok(image) => of_image(args, (image, None), None, initrd),
        Err(error) if is_offline(&error) && args.command.is_empty() => {
            message::note(error);
            message::note("booting the kernel inside Ringfence instead, which checks the virtual machine");
            Ok(of_selftest(args))
        }
        Err(error) => Err(error.into()),
    }
}

fn of_selftest(args: &RunArgs) -> Plan {
    Plan {
        name: SELFTEST.to_owned(),
        config: config(args, args.append.clone().unwrap_or_default()),
        images: Images { kernel: selftest::KERNEL.into(), ..Images::default() },
        disks: vec![],
        way: Way::Serial,
        has_agent: false,
    }
}

fn of_files(args: &RunArgs, kernel: Vec<u8>, initrd: Option<Vec<u8>>) -> Result<Plan, Failure> {
    let name = args.kernel.as_deref().and_then(|path| path.file_name()).unwrap_or(OsStr::new("kernel"));
    let name = name.to_string_lossy().into_owned();
    let kind = load::detect(&kernel).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let command_line = match (&args.append, kind) {
        (Some(append), _) => append.clone(),
        (None, KernelKind::Multiboot) => String::new(),
        (None, _) => LINUX.to_owned(),
    };
    let images = Images { kernel: kernel.into(), initrd: initrd.map(Into::into), ..Images::default() };
    Ok(Plan {
        name,
        config: config(args, command_line),
        images,
        disks: vec![],
        way: Way::Serial,
        has_agent: false,
    })
}

/// The disk's own system, as its boot loader would boot it, on our console.
fn of_disk(args: &RunArgs, disk: &Spec, initrd: Option<Vec<u8>>) -> Result<Plan, Failure> {
    if !args.command.is_empty() {
        return Err(Failure::usage("nobody in a system of yours takes commands from Ringfence")
            .hint("to run one beside the disk: ringfence run debian --disk … -- CMD"));
    }
    let system = system::on(disk)?;
    let mut command_line = system.command_line;
    if !command_line.contains("console=ttyS0") {
        command_line += " console=ttyS0";
    }
    if let Some(append) = &args.append {
        command_line = format!("{command_line} {append}");
    }
    let name = disk.source.path.file_name().unwrap_or(OsStr::new("disk")).to_string_lossy().into_owned();
    let initrd = initrd.unwrap_or(system.initrd);
    let images = Images { kernel: system.kernel.into(), initrd: Some(initrd.into()), ..Images::default() };
    Ok(Plan {
        name,
        config: config(args, command_line),
        images,
        disks: vec![],
        way: Way::Serial,
        has_agent: false,
    })
}

/// A kernel of the user's goes with the image's user space; an initial RAM disk of his is another user space.
fn of_image(
    args: &RunArgs,
    (image, disk): Booted,
    kernel: Option<Vec<u8>>,
    initrd: Option<Vec<u8>>,
) -> Result<Plan, Failure> {
    let Image { manifest, kernel: stored, initrd: own, disk: _ } = image;
    let userspace = if initrd.is_some() { Userspace::None } else { manifest.userspace };
    let mut command_line = manifest.command_line;
    if matches!(userspace, Userspace::Agent | Userspace::Shell)
        && let Some(network) = network(args)
    {
        command_line = format!("{command_line} {}{network}", Network::WORD);
    }
    if userspace != Userspace::None {
        command_line.extend(args.sharing.share.iter().map(|spec| format!(" {SHARE_WORD}{}", spec.tag)));
    }
    if let Some(append) = &args.append {
        command_line = format!("{command_line} {append}");
    }
    let way = match (userspace, args.command.is_empty()) {
        (Userspace::Agent, _) => {
            let tty = args.tty || args.command.is_empty() && io::stdin().is_terminal();
            Way::Agent(Wish { argv: args.command.clone(), tty })
        }
        (Userspace::Shell, true) => Way::Shell,
        (Userspace::Shell, false) => {
            command_line = exec::command_line(&command_line, &args.command)?;
            Way::Exec
        }
        (Userspace::System, false) => Way::Agent(Wish { argv: args.command.clone(), tty: args.tty }),
        (Userspace::System | Userspace::None, true) => Way::Serial,
        (Userspace::None, false) => {
            let text = format!("`{}` has no user space of ours to run a command in", manifest.name);
            return Err(Failure::usage(text).hint("`ringfence image list` tells which images have"));
        }
    };
    let images = Images {
        kernel: kernel.unwrap_or(stored).into(),
        initrd: initrd.or(own).map(Into::into),
        ..Images::default()
    };
    let disks = disk.into_iter().collect();
    let has_agent = matches!(userspace, Userspace::Agent | Userspace::System);
    Ok(Plan { name: manifest.name, config: config(args, command_line), images, disks, way, has_agent })
}

#[cfg(test)]
mod tests;
