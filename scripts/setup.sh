#!/usr/bin/env bash
# Installs what Ringfence is built and tested with on a Debian machine (or one of its kin), by name, through apt-get.
# It does nothing where all of it is there already. Rust itself is the one thing it does not install.
#
#   scripts/setup.sh              what building and testing need
#   scripts/setup.sh --measure    and what Ringfence is measured against
set -euo pipefail

packages=(
    gcc        # links the programs
    libc6-dev  # the C library, and the static one for the programs inside guests
    git        # names the project's files
    iproute2   # sets up the networks that tests of taps have to themselves
    qemu-utils # qemu-img judges the disk images we write
)
case ${1-} in
    '') ;;
    --measure) packages+=(python3 qemu-system-x86 user-mode-linux) ;;
    *) echo "usage: scripts/setup.sh [--measure]" >&2; exit 2 ;;
esac

installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: this host has no apt-get; install what these packages of Debian's hold: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: run this as root, or install as root: apt-get install ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    apt() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >/dev/null
    }
    # The package lists may be absent, or too old for the mirror.
    apt update
    apt install --yes --no-install-recommends "${missing[@]}"
fi

if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi
if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing; see https://rustup.rs" >&2
    exit 1
fi
for component in rustfmt clippy; do
    tool=cargo-${component/rustfmt/fmt}
    if ! command -v "$tool" >/dev/null || ! cargo "${tool#cargo-}" --version >/dev/null 2>&1; then
        if ! command -v rustup >/dev/null; then
            echo "setup: Rust has no $component here; install it by the way Rust was installed" >&2
            exit 1
        fi
        echo "setup: adding $component to Rust"
        rustup --quiet component add "$component"
    fi
done
