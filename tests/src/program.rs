//! Where the program under test is.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// Names the program to test instead of the one of this workspace.
const VARIABLE: &str = "RINGFENCE";

/// The `ringfence` of this workspace, built like this test, or the one that the environment names.
///
/// # Errors
/// Where it cannot be built.
pub fn ringfence() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match env::var_os(VARIABLE) {
        Some(path) => Ok(path.into()),
        None => build().map_err(|error| format!("{error:#}")),
    });
    found.clone().map_err(|error| anyhow!("there is no `ringfence` to test: {error}"))
}

/// A test program of cargo's lies in `TARGET/PROFILE/deps`.
fn build() -> Result<PathBuf> {
    let this = env::current_exe()?;
    let folder = this.ancestors().nth(2).context("this test lies in no target directory")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "ringfence", "--bin", "ringfence", "--profile", profile]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo build: {}", String::from_utf8_lossy(&output.stderr));
    }
    let program = folder.join("ringfence");
    if !program.is_file() {
        bail!("cargo built it, but not as {}", program.display());
    }
    Ok(program)
}
