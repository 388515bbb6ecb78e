//! `ringfence run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use backend::block::Spec;
use clap::{Args, ValueEnum};
use control::Name;

use super::{NetArgs, SharingArgs, SystemArgs, duration, size};

const EXAMPLES: &str = "\
Examples:
  ringfence run                                  a shell in Debian on this terminal
  ringfence run debian -- sh -c 'exit 7'; echo $?
  tar c src | ringfence run debian -- tar t      standard input is the command's, too
  echo 'uname -a' | ringfence run debian         a script for the guest's shell
  ringfence run -t debian -- top                 a command that wants a terminal
  ringfence run debian --kernel ./bzImage -- uname -r
  ringfence run --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0 panic=-1'
  ringfence run debian-full                      a whole Debian, installed on a disk
  ringfence run debian-full --keep web           the same, and what is written stays
  ringfence run --disk cloud.qcow2,format=qcow2 --user me --ssh-key me.pub
  ringfence run --disk data.img debian -- sh -c 'mount /dev/vda /mnt && ls /mnt'
  ringfence run --share .:src debian -- ls /mnt/src
  ringfence run --publish 8080:80 debian -- httpd -f -h /etc
  ringfence run --timeout 60 memtest86+          a kernel without anything else
  ringfence run --detach --name web debian       in the background, for `ringfence exec web`

";

/// `ringfence run`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{}", crate::exit::TABLE))]
pub struct RunArgs {
    /// What to boot: see `ringfence image list` [default: debian]
    ///
    /// `selftest` is the kernel inside Ringfence that checks the virtual machine. It is what boots,
    /// after a word about it, where no image is named and none can be fetched.
    pub image: Option<String>,

    /// Boots this kernel: a bzImage, an ELF vmlinux or a multiboot 1 kernel
    ///
    /// With IMAGE it takes the place of the image's own. Without, the first serial port is this terminal.
    #[arg(short, long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,

    /// The initial RAM disk
    #[arg(short, long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,

    /// Adds to the kernel's command line
    ///
    /// For a Linux kernel given by --kernel it is all of it; "console=ttyS0 panic=-1" unless given.
    #[arg(short, long, value_name = "STRING")]
    pub append: Option<String>,

    /// What other commands call the machine, see `ringfence ps` [default: a name by chance]
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,

    /// Runs the machine in the background, and prints its name once it runs
    ///
    /// `ringfence exec`, `console`, `stop` and others reach it by that name.
    #[arg(short = 'D', long, conflicts_with_all = ["command", "tty", "stats", "trace", "perf_map"])]
    pub detach: bool,

    /// This is the process in the background.
    #[arg(long, hide = true, requires = "detach")]
    pub behind: bool,

    /// Ends the machine when the guest reboots, instead of starting it anew
    ///
    /// With a command or a script a reboot always is the end.
    #[arg(long)]
    pub no_reboot: bool,

    /// Gives the guest a balloon, by which it gives memory back: see `ringfence balloon`
    #[arg(long)]
    pub balloon: bool,

    /// The guest's memory
    #[arg(short, long, value_name = "SIZE", default_value = "512M", value_parser = size::parse)]
    pub memory: u64,

    /// Gives the guest a disk; may be said several times
    ///
    /// The image is raw unless it says format=qcow2: a format is never guessed from what a guest has written. A
    /// Linux guest sees /dev/vda, /dev/vdb and so on.
    #[arg(
        short,
        long,
        value_name = "PATH[,format=raw|qcow2][,readonly][,serial=ID][,limit-iops=N][,limit-bw=SIZE]"
    )]
    pub disk: Vec<Spec>,

    /// Installed systems
    #[command(flatten)]
    pub system: SystemArgs,

    /// Its networks
    #[command(flatten)]
    pub net: NetArgs,

    /// What it shares with the host
    #[command(flatten)]
    pub sharing: SharingArgs,

    /// How many virtual CPUs
    #[arg(short = 'c', long, value_name = "N", default_value_t = 1)]
    pub vcpus: u32,

    /// What executes the guest's instructions
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,

    /// The CPU that the guest sees
    #[arg(long, value_name = "LEVEL", default_value = "host")]
    pub cpu: Cpu,

    /// Stops the machine after so long, the boot included (seconds, or 2m, 1h30m)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub timeout: Option<Duration>,

    /// How long the guest may take until its user space runs
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    pub boot_timeout: Duration,

    /// Gives the command a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Where the kernel's console is written, up to 8 MiB and the 8 MiB before them in FILE.old
    ///
    /// Unless given it is a new file in $XDG_STATE_HOME/ringfence/console (~/.local/state/...), of
    /// which the newest 50 are kept.
    #[arg(long, value_name = "FILE")]
    pub console_log: Option<PathBuf>,

    /// Prints what the engine did, on standard error at the end
    #[arg(long)]
    pub stats: bool,

    /// Makes that JSON, on one line
    #[arg(long, requires = "stats")]
    pub json: bool,

    /// Prints each block that the translator makes, guest code beside host code, on standard error
    #[arg(long)]
    pub trace: bool,

    /// Writes /tmp/perf-PID.map, by which `perf report` names translated code
    ///
    /// Each block is named after the place of its code in the guest's RAM.
    #[arg(long)]
    pub perf_map: bool,

    /// A command to run in the guest instead of a shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// The translator where the host can run it, else the interpreter
    Auto,
    /// The binary translator: guest code, rewritten, runs on the host's CPU
    Translate,
    /// The reference CPU: one instruction after the other, anywhere
    Interpret,
}

/// The CPU that the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// SSE2: any x86-64 CPU
    #[value(name = "x86-64-v1")]
    V1,
    /// SSE4.2, POPCNT, CMPXCHG16B: any since about 2009
    #[value(name = "x86-64-v2")]
    V2,
    /// AVX2, BMI, FMA: since about 2013; the host's CPU must have them
    #[value(name = "x86-64-v3")]
    V3,
    /// All that the engine can do on this host
    Host,
}

impl Cpu {
    /// Can the host's CPU do what the level promises? Others are done without its help.
    pub fn is_to_be_had(self) -> bool {
        self != Self::V3
            || std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("bmi1")
                && std::arch::is_x86_feature_detected!("bmi2")
                && std::arch::is_x86_feature_detected!("fma")
                && std::arch::is_x86_feature_detected!("f16c")
                && std::arch::is_x86_feature_detected!("lzcnt")
                && std::arch::is_x86_feature_detected!("movbe")
    }
}

impl From<Cpu> for engine::CpuLevel {
    fn from(cpu: Cpu) -> Self {
        match cpu {
            Cpu::V1 => Self::V1,
            Cpu::V2 => Self::V2,
            Cpu::V3 => Self::V3,
            Cpu::Host => Self::Host,
        }
    }
}
