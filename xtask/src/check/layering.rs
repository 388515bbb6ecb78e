//! Folders are layers: a crate imports only what its row allows.
//!
//! The rows stand in the order of ARCHITECTURE.md, from the ground up, so a row can name only what stands
//! above it, and cycles cannot be. Tests may reach for more: those of the board want an engine to run on.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cargo::cargo;
use crate::finding::Finding;
use crate::tree::Tree;

/// A crate's folder, what it may import, and what its tests may import besides.
struct Layer {
    folder: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
}

const fn layer(folder: &'static str, uses: &'static [&'static str]) -> Layer {
    Layer { folder, uses, tests_use: &[] }
}

const LAYERS: &[Layer] = &[
    // What runs inside a guest knows nothing of the host's side, nor do its images.
    layer("guests/agent", &[]),
    layer("guests/bench", &[]),
    layer("guests/workout", &[]),
    layer("guests/selftest", &[]),
    layer("guests/embedded", &[]),
    // From the ground up.
    layer("base", &[]),
    layer("arch/x86", &[]),
    layer("engine/api", &["base", "arch/x86"]),
    layer("engine/interpret", &["base", "arch/x86", "engine/api"]),
    layer("engine/translate", &["base", "arch/x86", "engine/api", "engine/interpret"]),
    layer("engine/compare", &["base", "arch/x86", "engine/api", "engine/interpret", "engine/translate"]),
    Layer {
        folder: "machine",
        uses: &["base", "arch/x86", "engine/api"],
        tests_use: &["engine/interpret", "engine/translate", "engine/compare", "guests/selftest"],
    },
    layer("virtio", &["base", "engine/api", "machine"]),
    layer("backend", &["base", "virtio"]),
    layer("control/images", &[]),
    layer("control/socket", &["base"]),
    layer(
        "cli",
        &[
            "guests/agent",
            "guests/selftest",
            "guests/embedded",
            "base",
            "engine/api",
            "engine/interpret",
            "engine/translate",
            "machine",
            "virtio",
            "backend",
            "control/images",
            "control/socket",
        ],
    ),
    // The developers' own: nothing imports them.
    layer(
        "fuzz",
        &[
            "guests/agent",
            "guests/selftest",
            "base",
            "arch/x86",
            "engine/api",
            "engine/interpret",
            "engine/translate",
            "machine",
            "virtio",
            "backend",
            "control/images",
            "control/socket",
            "cli",
        ],
    ),
    layer(
        "tests",
        &[
            "guests/agent",
            "guests/workout",
            "guests/selftest",
            "guests/embedded",
            "base",
            "arch/x86",
            "engine/api",
            "engine/interpret",
            "engine/translate",
            "machine",
            "virtio",
            "backend",
            "control/images",
            "cli",
        ],
    ),
    layer("benches", &["guests/embedded", "control/images"]),
    layer("xtask", &[]),
];

/// What `cargo metadata --no-deps` says of a package, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    /// Where it lies, if it is one of ours.
    path: Option<String>,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut metadata: Command = cargo(&["metadata", "--no-deps", "--format-version", "1", "--quiet"]);
    let output = metadata.current_dir(tree.root()).output().context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not as known")?;
    Ok(judge(&metadata))
}

fn judge(metadata: &Metadata) -> Vec<Finding> {
    let relative = |path: &str| {
        let path = path.strip_prefix(&metadata.workspace_root).unwrap_or(path);
        path.trim_start_matches('/').trim_end_matches("Cargo.toml").trim_end_matches('/').to_owned()
    };
    let layers: BTreeMap<_, _> = LAYERS.iter().map(|layer| (layer.folder, layer)).collect();
    let mut findings = vec![];
    for package in &metadata.packages {
        let folder = relative(&package.manifest_path);
        let mut find = |message| findings.push(Finding::new(&format!("{folder}/Cargo.toml"), 0, message));
        let Some(layer) = layers.get(&*folder) else {
            find(format!(
                "`{}` has no row in the table of layers (xtask/src/check/layering.rs)",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(path) = &dependency.path else { continue };
            let target = relative(path);
            let in_tests = dependency.kind.as_deref() == Some("dev") && layer.tests_use.contains(&&*target);
            if !in_tests && !layer.uses.contains(&&*target) {
                find(format!(
                    "{folder} does not import {target}: see the table of layers in ARCHITECTURE.md"
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_only_rows_above_them() {
        for (at, layer) in LAYERS.iter().enumerate() {
            for used in layer.uses.iter().chain(layer.tests_use) {
                let above = LAYERS[..at].iter().any(|other| other.folder == *used);
                assert!(above, "{} names {used}, which is not above it", layer.folder);
            }
        }
    }

    #[test]
    fn an_import_upwards_is_found() {
        let json = r#"{"workspace_root": "/w", "packages": [
            {"name": "ringfence-base", "manifest_path": "/w/base/Cargo.toml", "dependencies": [
                {"path": null, "kind": null}, {"path": "/w/machine", "kind": null}]},
            {"name": "ringfence-machine", "manifest_path": "/w/machine/Cargo.toml", "dependencies": [
                {"path": "/w/base", "kind": null}, {"path": "/w/engine/interpret", "kind": "dev"}]},
            {"name": "new", "manifest_path": "/w/new/Cargo.toml", "dependencies": []}]}"#;
        let found = judge(&serde_json::from_str(json).unwrap());
        let found: Vec<_> = found.iter().map(|finding| &*finding.path).collect();
        assert_eq!(found, ["base/Cargo.toml", "new/Cargo.toml"]);
    }
}
