//! Builds the guests' programs by a Cargo of its own.
//!
//! Two Cargos do not wait for each other: the inner one has a target directory inside ours, so the lock on
//! the outer one's is none of its business, and the lock on the registry is free while build scripts run. It
//! takes part in the outer one's job server through `CARGO_MAKEFLAGS`. It needs the network no more than the
//! outer one does, as all packages are of one workspace with one lock file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What the guests run on, whatever the host is.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const PROGRAMS: [&str; 3] = ["ringfence-agent", "ringfence-bench", "ringfence-workout"];

/// The profile in the workspace's manifest; not one of the host's, so that tuning that one does not rebuild
/// these.
const PROFILE: &str = "guest";

/// What an outer Cargo, `cargo clippy` or a person set for *its* build and would otherwise apply to this one.
const NOT_INHERITED: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "CLIPPY_ARGS",
];

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let guests = here.parent().expect("this crate lies in a folder of the guests'");
    let workspace = guests.parent().expect("the guests' folder lies in the workspace");

    for program in ["agent", "bench", "workout"] {
        for input in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", guests.join(program).join(input).display());
        }
    }
    // The dependencies' versions and the profile. Touching them costs a look, not a build.
    for input in ["Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }

    let target_directory = out.join("target");
    build(workspace, &target_directory);
    for program in PROGRAMS {
        let built = target_directory.join(TARGET).join(PROFILE).join(program);
        fs::copy(&built, out.join(program))
            .unwrap_or_else(|error| panic!("cannot copy {}: {error}", built.display()));
    }
}

fn build(workspace: &Path, target_directory: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--bins", "--profile", PROFILE, "--target", TARGET, "--target-dir"])
        .arg(target_directory);
    for program in PROGRAMS {
        cargo.args(["--package", program]);
    }
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    // Fixed addresses make them smaller.
    let flags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status =
        cargo.status().unwrap_or_else(|error| panic!("cannot run Cargo for the guests' programs: {error}"));
    assert!(
        status.success(),
        "the guests' programs do not build: see above (static linking needs libc6-dev's libc.a)"
    );
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("Cargo sets {name} for build scripts: {error}"))
}
