//! Who runs the workloads.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use images::{Initramfs, busybox};

use crate::script::{Workload, whole};
use crate::timing::{self, Timings};

/// The kernel's command line, the same for all.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 rdinit=/measure";

/// What is run.
pub struct Files {
    kernel: PathBuf,
    initrd: PathBuf,
    /// A folder with busybox, its applets, and the workout.
    bin: PathBuf,
    script: PathBuf,
}

impl Files {
    /// Writes them into a folder.
    pub fn prepare(
        folder: &Path,
        image: &(Vec<u8>, Initramfs),
        workloads: &[&Workload],
        scale: u32,
    ) -> Result<Self> {
        let (kernel, root) = image;
        let mut root = root.clone();
        root.file("measure", 0o755, whole(workloads, scale, true).into_bytes())?;
        root.file("bin/workout", 0o755, embedded::WORKOUT.to_vec())?;
        let program = root.get("bin/busybox").context("the image has no busybox")?;
        let files = Self {
            kernel: folder.join("kernel"),
            initrd: folder.join("initrd"),
            bin: folder.join("bin"),
            script: folder.join("script"),
        };
        std::fs::create_dir(&files.bin)?;
        for (name, bytes) in [("busybox", program), ("workout", embedded::WORKOUT)] {
            let path = files.bin.join(name);
            std::fs::write(&path, bytes)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        }
        for applet in busybox::applets(program).context("busybox does not name its applets")? {
            let link = files.bin.join(applet.rsplit('/').next().unwrap_or(applet));
            if !link.exists() {
                symlink("busybox", link)?;
            }
        }
        std::fs::write(&files.kernel, kernel)?;
        std::fs::write(&files.initrd, root.newc())?;
        std::fs::write(&files.script, whole(workloads, scale, false))?;
        Ok(files)
    }
}

/// One who runs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The host itself.
    Native,
    /// QEMU's emulator (TCG).
    Qemu,
    /// Ringfence.
    Ringfence {
        /// The program.
        program: PathBuf,
        /// The engine.
        engine: String,
    },
}

impl Contender {
    /// As the table calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Native => "native".to_owned(),
            Self::Qemu => "qemu tcg".to_owned(),
            Self::Ringfence { engine, .. } => engine.clone(),
        }
    }

    /// Runs all workloads.
    pub fn run(&self, files: &Files) -> Result<Timings> {
        let mut command = self.command(files);
        let began = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(
                || {
                    format!(
                        "cannot run {}; scripts/setup.sh --measure installs it",
                        command.get_program().display()
                    )
                },
            )?;
        let output = child.stdout.take().context("no output")?;
        let timings = timing::read(output, began);
        let rest = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&rest.stderr);
        if !rest.status.success() {
            bail!("ended with {}: {}", rest.status, said.trim());
        }
        let mut timings = timings?;
        if let Self::Ringfence { .. } = self {
            let statistics = said.lines().last().context("it gave no statistics")?;
            timings.engine =
                Some(serde_json::from_str(statistics).context("its statistics are not as known")?);
        }
        Ok(timings)
    }

    fn command(&self, files: &Files) -> Command {
        match self {
            Self::Native => {
                let mut command = Command::new(files.bin.join("sh"));
                command.arg(&files.script).env("PATH", &files.bin);
                command.env("BUSYBOX", files.bin.join("busybox")).env("WORKOUT", files.bin.join("workout"));
                command
            }
            Self::Qemu => {
                let mut command = Command::new("qemu-system-x86_64");
                command.args([
                    "-accel",
                    "tcg",
                    "-cpu",
                    "max",
                    "-m",
                    "512M",
                    "-nodefaults",
                    "-display",
                    "none",
                ]);
                command.args(["-no-reboot", "-serial", "stdio", "-append", COMMAND_LINE]);
                command.arg("-kernel").arg(&files.kernel).arg("-initrd").arg(&files.initrd);
                command
            }
            Self::Ringfence { program, engine } => {
                let mut command = Command::new(program);
                command.args([
                    "run",
                    "--quiet",
                    "--stats",
                    "--json",
                    "--memory",
                    "512M",
                    "--engine",
                    engine,
                    "--append",
                    COMMAND_LINE,
                ]);
                command.arg("--kernel").arg(&files.kernel).arg("--initrd").arg(&files.initrd);
                command
            }
        }
    }
}
