//! Compiles the freestanding kernel in `kernel/` with one direct call of `rustc`.
//!
//! A nested cargo would need a second target directory, a second lock and a cleaned
//! environment to build one file; the kernel has no dependencies, so the compiler alone does.
//! Only the host's own target need be installed: `core` for `x86_64-unknown-linux-gnu` serves a
//! kernel as well, given a static link, our linker script and interrupt stacks that leave
//! the red zone of `core`'s functions alone.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernel");

    let variable =
        |name: &str| env::var_os(name).unwrap_or_else(|| fail(&format!("cargo did not set {name}")));
    let source = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("kernel");
    let kernel = PathBuf::from(variable("OUT_DIR")).join("kernel.elf");

    let status = compiler(&PathBuf::from(variable("RUSTC")), &source, &kernel)
        .status()
        .unwrap_or_else(|error| fail(&format!("cannot start rustc: {error}")));
    if !status.success() {
        fail("the self-test kernel does not compile; see the errors above");
    }
}

/// The one command that makes `kernel` out of `source`.
fn compiler(rustc: &Path, source: &Path, kernel: &Path) -> Command {
    let mut command = Command::new(rustc);
    // The flags meant for the host's crates (sanitizers, coverage, linkers) do not suit a kernel.
    for inherited in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(inherited);
    }
    command
        .arg(source.join("main.rs"))
        .args(["--crate-name", "selftest_kernel", "--crate-type", "bin"])
        .args(["--edition", "2024", "--target", TARGET])
        .args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "codegen-units=4"])
        .args(["-C", "relocation-model=static", "-C", "code-model=small"])
        .args(["-C", "no-redzone=yes", "-C", "strip=debuginfo"])
        // The same source makes the same kernel, wherever it lies.
        .arg(format!("--remap-path-prefix={}=kernel", source.display()))
        // The linker itself, not the C compiler: no start files, no libraries to leave out.
        .args(["-C", "linker=rust-lld", "-C", "linker-flavor=ld.lld"])
        .arg("-C")
        .arg(format!("link-arg=-T{}", source.join("link.ld").display()))
        .args(["-C", "link-arg=-static", "-C", "link-arg=-no-pie"])
        .args(["-C", "link-arg=-zmax-page-size=4096", "-C", "link-arg=--build-id=none"])
        .arg("-o")
        .arg(kernel);
    command
}

fn fail(message: &str) -> ! {
    eprintln!("ringfence-selftest: {message}");
    exit(1)
}
