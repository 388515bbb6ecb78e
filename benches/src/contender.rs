//! Who runs the workloads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::files::Files;

/// The guests' memory, in MiB.
pub const MEMORY: u64 = 512;

/// One who runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// The host itself.
    Native,
    /// Ringfence's binary translator.
    Translate,
    /// QEMU's emulator (TCG).
    Tcg,
    /// User-mode Linux: a kernel that is a program.
    Uml,
    /// Ringfence's interpreter.
    Interpret,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Task {
    /// Workloads, by name.
    pub workloads: Vec<String>,
    /// Seconds to count rounds in, for each.
    pub seconds: f64,
    /// How many of each at once.
    pub copies: u32,
    /// The machine's processors.
    pub vcpus: u32,
}

impl Contender {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Native, Self::Translate, Self::Tcg, Self::Uml, Self::Interpret];

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Translate => "translate",
            Self::Tcg => "tcg",
            Self::Uml => "uml",
            Self::Interpret => "interpret",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|contender| contender.name() == name) {
            Some(contender) => Ok(contender),
            None => {
                bail!("there is no contender `{name}`; there are {}", Self::ALL.map(Self::name).join(", "))
            }
        }
    }

    /// The program that runs it, if one has to be there.
    pub fn program(self, ringfence: &Path) -> Option<PathBuf> {
        match self {
            Self::Native => None,
            Self::Translate | Self::Interpret => Some(ringfence.to_owned()),
            Self::Tcg => Some("qemu-system-x86_64".into()),
            Self::Uml => Some("linux.uml".into()),
        }
    }

    /// What it says its version is; `None` if it cannot be run.
    pub fn version(self, ringfence: &Path) -> Option<String> {
        let Some(program) = self.program(ringfence) else {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
            return Some(format!("Linux {}", release.trim()));
        };
        let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Is it a machine of its own, which boots?
    pub fn boots(self) -> bool {
        self != Self::Native
    }

    /// Is all of it, but for page tables, in the one process that is started?
    pub fn is_one_process(self) -> bool {
        matches!(self, Self::Translate | Self::Tcg | Self::Interpret)
    }

    /// Can it have more than one processor?
    pub fn has_processors(self) -> bool {
        self != Self::Uml
    }

    /// The command that runs a task and prints its marks.
    pub fn command(self, ringfence: &Path, files: &Files, task: &Task) -> Command {
        let Task { workloads, seconds, copies, vcpus } = task;
        let (names, memory) = (workloads.join(" "), format!("{MEMORY}M"));
        let mut options = format!("--seconds {seconds} --copies {copies}");
        if self == Self::Native {
            if *vcpus == 1 {
                // As a machine with one processor.
                options += " --pin 0";
            }
            // What process 1 does in the guests.
            let script = "echo @up; for name in $WORKLOADS; do \"$BENCH\" $name $OPTIONS --marks || echo @failed $name; done; echo @done";
            let mut command = Command::new("sh");
            command.args(["-c", script]).env("BENCH", &files.bench).env("BUSYBOX", &files.busybox);
            command.env("WORKLOADS", names).env("OPTIONS", options);
            return command;
        }
        let words = format!("rdinit=/measure WORKLOADS=\"{names}\" OPTIONS=\"{options}\"");
        let serial = format!("console=ttyS0 panic=-1 {words}");
        let mut command = Command::new(self.program(ringfence).unwrap_or_default());
        match self {
            Self::Native => {}
            Self::Translate | Self::Interpret => {
                command.args([
                    "run",
                    "--quiet",
                    "--engine",
                    self.name(),
                    "--memory",
                    &memory,
                    "--append",
                    &serial,
                ]);
                command.args(["--vcpus", &vcpus.to_string()]);
                command.arg("--kernel").arg(&files.kernel).arg("--initrd").arg(&files.initrd);
            }
            Self::Tcg => {
                command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", &memory, "-nodefaults"]);
                command.args(["-smp", &vcpus.to_string()]);
                command.args(["-display", "none", "-no-reboot", "-serial", "stdio", "-append", &serial]);
                command.arg("-kernel").arg(&files.kernel).arg("-initrd").arg(&files.initrd);
            }
            Self::Uml => {
                let mut initrd = std::ffi::OsString::from("initrd=");
                initrd.push(&files.initrd);
                command.arg(format!("mem={memory}")).arg(initrd);
                command.args(["con=null", "con0=null,fd:1", "rdinit=/measure"]);
                command.arg(format!("WORKLOADS=\"{names}\"")).arg(format!("OPTIONS=\"{options}\""));
            }
        }
        command
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
