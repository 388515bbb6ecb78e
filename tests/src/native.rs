//! The host, as the standard for what guests compute.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use images::{Initramfs, Recipe, Silent, Store, busybox};
use tempfile::TempDir;

use crate::Ended;

/// A folder with the very busybox that the guests have, and the workout.
pub struct Native {
    folder: TempDir,
}

impl Native {
    /// Makes the folder.
    ///
    /// # Errors
    /// Where the image `debian` cannot be had.
    pub fn prepare() -> Result<Self> {
        // One after the other: the store would make the others wait anyway.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock();
        let image = Store::open_default()?.ensure(Recipe::of("debian")?, embedded::AGENT, &mut Silent)?;
        let root = Initramfs::read(&image.initrd.context("the image has no initial RAM disk")?)?;
        let program = root.get("bin/busybox").context("the image has no busybox")?;
        let folder = TempDir::new()?;
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        executable(&bin.join("busybox"), program)?;
        for applet in busybox::applets(program).context("busybox does not name its applets")? {
            let link = bin.join(applet.rsplit('/').next().unwrap_or(applet));
            if !link.exists() {
                symlink("busybox", link)?;
            }
        }
        Ok(Self { folder })
    }

    /// Runs a script of the shell.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub fn shell(&self, script: &str) -> Result<Ended> {
        let bin = self.folder.path().join("bin");
        let mut command = Command::new(bin.join("sh"));
        command.args(["-c", script]).env_clear().env("PATH", &bin).current_dir(self.folder.path());
        Ok(ended(format!("sh -c {script}"), output(&mut command)?))
    }

    /// Runs the workout.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub fn workout(&self, words: &[&str]) -> Result<Ended> {
        let program = self.folder.path().join("workout");
        executable(&program, embedded::WORKOUT)?;
        let mut command = Command::new(&program);
        command.args(words).current_dir(self.folder.path());
        Ok(ended(format!("workout {}", words.join(" ")), output(&mut command)?))
    }
}

fn executable(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// Runs it to its end. Another story may fork while this one writes its program, and then holds it open for writing until it
/// executes another; such a program cannot be run just yet (ETXTBSY).
fn output(command: &mut Command) -> Result<Output> {
    loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(10))
            }
            other => return Ok(other?),
        }
    }
}

fn ended(command: String, output: Output) -> Ended {
    let Output { status, stdout, stderr } = output;
    Ended { command, status, stdout, stderr }
}
