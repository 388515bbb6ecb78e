#!/usr/bin/env bash
# How long an installed Debian takes to boot, by its own account (systemd-analyze), in Ringfence and in QEMU's emulator: the same image,
# kernel, RAM disk, memory and devices, by turns. Prints a line for each boot and the ratio of the medians.
#
#   scripts/measure-boot.sh [ROUNDS]        3 unless given
#
# Needs the image (`ringfence run debian-full` makes it), qemu-system-x86 and python3 (scripts/setup.sh --measure).
set -euo pipefail
rounds=${1:-3}
image=${IMAGE:-debian-full}
ringfence=${RINGFENCE:-$(dirname "$0")/../target/release/ringfence}
store=${XDG_CACHE_HOME:-$HOME/.cache}/ringfence
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the store knows of the image: the files of its kernel, RAM disk and disk, and the kernel's command line.
python3 - "$store" "$image" >"$work/files" <<'PYTHON'
import json, sys
store, image = sys.argv[1:]
known = json.load(open(f"{store}/images/{image}.json"))
blob = lambda part: f"{store}/blobs/sha256/{known[part]['digest'].split(':')[1]}"
print(blob("kernel"), blob("initrd"), f"{store}/disks/{known['disk']['digest'].split(':')[1]}.raw", sep="\n")
print(known["command_line"])
PYTHON
{ read -r kernel; read -r initrd; read -r disk; read -r append; } <"$work/files"

# Logs in at the console of the machine that "$@" runs, asks how long the boot took, and turns it off. Prints seconds.
boot() {
    local seen='' piece report='s/.*BOOT Startup finished in [^=]*= \([0-9a-z. ]*\) graphical.*/\1/p'
    coproc machine { exec "$@" 2>/dev/null; }
    local in=${machine[1]} out=${machine[0]} pid=$machine_PID
    await() {
        while [[ $seen != *"$1"* ]]; do
            IFS= read -r -t 900 -n 1 -d '' piece <&"$out" || { echo "no \`$1\` from: ${*:2}" >&2; exit 1; }
            seen+=$piece
        done
        [ -n "${2-}" ] || seen=''
    }
    await 'login: '; printf 'root\n' >&"$in"
    await ':~# '
    printf '%s\n' 'systemctl is-system-running --wait >/dev/null; echo BOO"T" $(systemd-analyze) EN"D"; poweroff' >&"$in"
    await ' END' keep
    sed -n "$report" <<<"${seen//$'\r'/}" | python3 -c '
import re, sys
unit = {"ms": 0.001, "s": 1, "min": 60}
print(round(sum(float(n) * unit[u] for n, u in re.findall(r"([0-9.]+)(min|ms|s)", sys.stdin.read())), 2))'
    cat <&"$out" >/dev/null || true
    wait "$pid" || true
}

for round in $(seq "$rounds"); do
    ours=$(boot "$ringfence" run --quiet --memory 1G "$image")
    theirs=$(boot qemu-system-x86_64 -accel tcg -cpu max -m 1G -nographic -no-reboot -nodefaults -serial stdio \
        -kernel "$kernel" -initrd "$initrd" -append "$append" \
        -drive "file=$disk,format=raw,if=none,id=disk,snapshot=on" -device virtio-blk-pci,drive=disk \
        -netdev user,id=net -device virtio-net-pci,netdev=net -device virtio-rng-pci)
    echo "round $round: ringfence $ours s, QEMU TCG $theirs s"
    echo "$ours $theirs" >>"$work/times"
done
python3 - "$work/times" <<'PYTHON'
import statistics, sys
pairs = [[float(time) for time in line.split()] for line in open(sys.argv[1])]
ours, theirs = (statistics.median(times) for times in zip(*pairs))
print(f"median: ringfence {ours} s, QEMU TCG {theirs} s, ratio {ours / theirs:.2f}")
PYTHON
