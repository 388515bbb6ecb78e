#!/usr/bin/env bash
# fio and iperf3 in a guest, under Ringfence and under QEMU's emulator: the same kernel, the same initial RAM disk, one run.
#
#   scripts/measure-io.sh [fio] [switch] [tap]      all of them, unless named
#
# What it needs: a release build, ringfence-measure too (`cargo build --release`, `… -p ringfence-benches`), QEMU
# (scripts/setup.sh --measure), apt-get to fetch fio, iperf3 and ethtool by name (nothing is installed), cpio, and for the
# networks /dev/net/tun. Bridges and taps are made in a network namespace of their own and are gone with it.
#
#   CONTENDERS="translate tcg"   who takes part: engines of Ringfence, and tcg
#   VCPUS="1 2"                  with how many vCPUs
#   SECONDS_EACH=5               how long iperf3 sends
#   WORK=DIR                     where the tools are kept for the next time [default: a temporary directory]
#
# A line is `what vCPUs contender figure unit`; factors to tcg come at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/target/release
contenders=${CONTENDERS-translate tcg}
vcpus=${VCPUS-1 2}
seconds=${SECONDS_EACH-5}
parts=${*:-fio switch tap}

# Everything in a user and network namespace; a second start of this script finds itself there.
if [ -z "${MEASURE_IO_INSIDE-}" ]; then
    keep=${WORK-}
    work=${keep:-$(mktemp -d)}
    mkdir -p "$work"
    export WORK=$work MEASURE_IO_INSIDE=1
    "$0" prepare
    status=0
    unshare --user --map-root-user --net "$0" $parts || status=$?
    [ -n "$keep" ] || rm -rf "$work"
    exit $status
fi
work=$WORK

# The tools with what they are linked to, as an addition to the initial RAM disk of ringfence-measure.
prepare() {
    [ ! -e "$work/tools.img" ] || return 0
    echo "measure-io: fetching fio, iperf3, ethtool and what they are linked to" >&2
    [ -e "$work/base/initrd" ] || "$bin/ringfence-measure" --prepare "$work/base" >&2
    mkdir -p "$work/debs" "$work/root" "$work/add/usr/bin" "$work/add/usr/lib/x86_64-linux-gnu" "$work/add/lib64"
    (
        cd "$work/debs"
        apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
            --no-enhances fio iperf3 ethtool | grep '^\w' | sort -u | grep -E '^(fio|iperf3|ethtool|lib.*|zlib1g)$' |
            grep -v perl >list
        xargs apt-get -qq download <list 2>apt.log || { cat apt.log >&2; exit 1; }
        for deb in *.deb; do dpkg-deb -x "$deb" ../root; done
    )
    local libraries=$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu
    cp "$work"/root/usr/bin/{fio,iperf3} "$work"/root/sbin/ethtool "$work/add/usr/bin/"
    for program in fio iperf3 ethtool; do
        LD_LIBRARY_PATH=$libraries ldd "$work/add/usr/bin/$program" | awk '$2 == "=>" { print $3 }'
    done | sort -u | xargs cp -L -t "$work/add/usr/lib/x86_64-linux-gnu"
    cp -L "$work/root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$work/add/lib64/"
    cat >"$work/add/go" <<'GO'
#!/bin/sh
export PATH=/usr/bin:/bin:/sbin:/usr/sbin LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev 2>/dev/null; mount -t tmpfs none /tmp
for module in /lib/modules/ringfence/*.ko; do insmod $module 2>/dev/null; done
ip link set lo up
sh /script
poweroff -f
GO
    chmod +x "$work/add/go"
    (cat "$work/base/initrd" && cd "$work/add" && find . | cpio --quiet -o -H newc) >"$work/tools.new"
    mv "$work/tools.new" "$work/tools.img"
}

# initrd NAME SCRIPT: the initial RAM disk with that script.
initrd() {
    mkdir -p "$work/$1.d"
    printf '%s\n' "$2" >"$work/$1.d/script"
    cp "$work/tools.img" "$work/$1.img"
    (cd "$work/$1.d" && echo script | cpio --quiet -o -H newc) >>"$work/$1.img"
}

# guest CONTENDER VCPUS INITRD MAC OPTIONS...: runs one; the options are the contender's own.
guest() {
    local contender=$1 count=$2 image=$work/$3.img mac=$4
    shift 4
    local line="console=ttyS0 quiet rdinit=/go"
    if [ "$contender" = tcg ]; then
        timeout 900 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp "$count" -m 1G -nographic -no-reboot \
            -kernel "$work/base/kernel" -initrd "$image" -append "$line" "$@"
    else
        timeout 900 "$bin/ringfence" run --quiet --engine "$contender" --vcpus "$count" --memory 1G \
            --kernel "$work/base/kernel" --initrd "$image" --append "$line" "$@"
    fi </dev/null 2>&1 | tr -d '\r'
}

# The network of a contender on a tap: options for `guest`.
on_tap() {
    if [ "$1" = tcg ]; then
        echo "-netdev tap,id=n,ifname=$2,script=no,downscript=no -device virtio-net-pci,netdev=n,mac=$3"
    else
        echo "--net tap=$2,mac=$3"
    fi
}

# Megabits a second at the receiver, of the runs in an output of iperf3's, in order.
received() { awk '/receiver$/ { for (n = 1; n < NF; n++) if ($(n + 1) == "Mbits/sec") print $n }'; }

say() { echo "$1 $2 $3 $4 $5" | tee -a "$work/figures"; }

fio_part() {
    initrd fio '
job() {
    name=$1; shift
    fio --name=$name --filename=/dev/$disk --direct=1 --ioengine=libaio --group_reporting --output-format=terse \
        --terse-version=3 --verify_fatal=1 "$@" 2>&1 |
        awk -F";" -v name=$name -v disk=$disk "/^3;/ { print \"figure\", disk \"-\" name, \$48 / 1024, \$7 / 1024, \$5; next } { print \"said\", \$0 }"
}
for disk in vda vdb; do
    job random-write-4k --rw=randwrite --bs=4k --iodepth=16 --size=24M --verify=crc32c
    job random-read-4k --rw=randread --bs=4k --iodepth=16 --size=24M --time_based --runtime=2
    job sequential-write-4k --rw=write --bs=4k --iodepth=16 --size=24M --verify=crc32c
    job random-write-1M --rw=randwrite --bs=1M --iodepth=8 --size=96M --verify=crc32c
    job sequential-write-1M --rw=write --bs=1M --iodepth=8 --size=96M --verify=crc32c
    # Once through takes 20 ms: on a busy host that measures who else had the processor.
    job sequential-read-1M --rw=read --bs=1M --iodepth=8 --size=96M --time_based --runtime=2
done'
    local contender count disks
    for count in $vcpus; do
        for contender in $contenders; do
            rm -f "$work"/disk.*
            qemu-img create -q -f raw "$work/disk.raw" 300M
            qemu-img create -q -f qcow2 "$work/disk.qcow2" 300M
            if [ "$contender" = tcg ]; then
                disks="-nic none -drive file=$work/disk.raw,format=raw,if=virtio -drive file=$work/disk.qcow2,format=qcow2,if=virtio"
            else
                disks="--net none --disk $work/disk.raw --disk $work/disk.qcow2,format=qcow2"
            fi
            guest "$contender" "$count" fio - $disks >"$work/out"
            if grep '^said' "$work/out"; then echo "WRONG: fio complains ($contender)" >&2; fi
            while read -r _ name written read errors; do
                [ "$errors" = 0 ] || { echo "WRONG: $name: fio's error $errors ($contender)" >&2; exit 1; }
                name=${name/vda/raw} name=${name/vdb/qcow2}
                case $name in *-read-*) say "$name" "$count" "$contender" "$read" MiB/s ;; *) say "$name" "$count" "$contender" "$written" MiB/s ;; esac
            done < <(grep '^figure' "$work/out")
            qemu-img check -q -f qcow2 "$work/disk.qcow2" || { echo "WRONG: qemu-img check ($contender)" >&2; exit 1; }
        done
    done
}

greets='for n in 1 2 3 4 5 6 7 8 9; do ping -c 1 -W 1 $peer >/dev/null && break; sleep 1; done'

# Two machines: on a switch of Ringfence's; QEMU's on two taps in a bridge of the kernel's, its best way.
switch_part() {
    initrd serves 'ip link set eth0 up; ip addr add 192.168.7.1/24 dev eth0; iperf3 -s -1'
    initrd sends "peer=192.168.7.1; ip link set eth0 up; ip addr add 192.168.7.2/24 dev eth0; $greets
        iperf3 -c \$peer -t $seconds -i 0 -f m"
    local contender count server client
    export XDG_RUNTIME_DIR=$work
    for count in $vcpus; do
        for contender in $contenders; do
            server="--net switch=measure" client=$server
            if [ "$contender" = tcg ]; then
                server=$(on_tap tcg rf0 52:54:00:00:07:01) client=$(on_tap tcg rf1 52:54:00:00:07:02)
            fi
            guest "$contender" "$count" serves - $server >"$work/out.server" &
            guest "$contender" "$count" sends - $client >"$work/out"
            wait $!
            say guest-to-guest "$count" "$contender" "$(received <"$work/out")" Mbit/s
        done
    done
}

tap_part() {
    initrd tap "peer=192.168.7.254; ip link set eth0 up; ip addr add 192.168.7.2/24 dev eth0; $greets
        ethtool -k eth0 | grep -E '^(rx-checksumming|tx-checksumming|tcp-segmentation-offload)'
        iperf3 -c \$peer -t $seconds -i 0 -f m; iperf3 -c \$peer -R -t $seconds -i 0 -f m"
    local contender count libraries=$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu
    LD_LIBRARY_PATH=$libraries "$work/root/usr/bin/iperf3" -s >"$work/out.server" 2>&1 &
    local server=$!
    for count in $vcpus; do
        for contender in $contenders; do
            guest "$contender" "$count" tap - $(on_tap "$contender" rf1 52:54:00:00:07:02) >"$work/out"
            if grep -E '^(rx-checksumming|tx-checksumming|tcp-segmentation-offload): off' "$work/out"; then
                echo "WRONG: an offload is not in use ($contender)" >&2
            fi
            received <"$work/out" | {
                read -r out && say guest-to-host "$count" "$contender" "$out" Mbit/s
                read -r in && say host-to-guest "$count" "$contender" "$in" Mbit/s
            }
        done
    done
    kill $server
}

networks() {
    ip link add rfbr0 type bridge
    ip addr add 192.168.7.254/24 dev rfbr0
    ip link set rfbr0 up
    ip link set lo up
    for tap in rf0 rf1; do
        ip tuntap add $tap mode tap vnet_hdr
        ip link set $tap master rfbr0 up
    done
}

if [ "$parts" = prepare ]; then
    prepare
    exit
fi
: >"$work/figures"
networks
for part in $parts; do "${part}_part"; done
echo
awk '{ figure[$1 " " $2 " " $3] = $4; if (!(($1 " " $2) in seen)) { seen[$1 " " $2]; order[++n] = $1 " " $2 } who[$3] }
END { for (i = 1; i <= n; i++) for (name in who) if (name != "tcg" && figure[order[i] " tcg"] > 0 && figure[order[i] " " name] > 0)
    printf "%s %s: %.1f times tcg\n", order[i], name, figure[order[i] " " name] / figure[order[i] " tcg"] }' "$work/figures"
