//! Cargo commands. All build in one profile, so that nothing is compiled twice.

use std::path::PathBuf;
use std::process::Command;

use crate::tree::Tree;

/// Whole-VM stories: run by a step of their own.
pub const STORIES: &str = "ringfence-stories";

/// The fuzz targets and their runner.
pub const FUZZ: &str = "ringfence-fuzz";

/// A cargo command.
pub fn cargo(words: &[&str]) -> Command {
    // The one that runs this program, if it is one.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words);
    command
}

/// Where the build step left a program of the workspace.
pub fn built(tree: &Tree, profile: &str, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| tree.root().join("target"), |dir| tree.root().join(dir));
    target.join(profile).join(name)
}

/// A program of the workspace, as the build step left it.
pub fn program(tree: &Tree, profile: &str, name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(built(tree, profile, name));
    command.args(words);
    command
}
