#!/bin/sh
# /init of the guest that installs a system: makes the file system, unpacks what is to be there first, and lets the system's own
# dpkg and apt do the rest. /dev/vda is the new disk, with its partition; /dev/vdb a tar archive (see the module `tree`). The word
# ringfence.root=UUID says by which name the file system is to be found. Its last words tell how it went.
export PATH=/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /lib/modules/ringfence/*.ko; do insmod "$module"; done

finish() {
	echo "ringfence: status $1"
	poweroff -f
}
fail() {
	echo "ringfence: install: $1"
	finish 1
}

for word in $(cat /proc/cmdline); do
	case $word in
	ringfence.root=*) uuid=${word#ringfence.root=} ;;
	esac
done

# The mkfs of the system itself: another might make what its kernel does not know.
mkdir /early /target
tar x -f /dev/vdb -C /early lib lib64 sbin usr/lib usr/lib64 usr/sbin etc/mke2fs.conf || fail "the archive cannot be read"
mkdir -p /early/dev
mount -t devtmpfs devtmpfs /early/dev
chroot /early /usr/sbin/mkfs.ext4 -q -L root -U "$uuid" /dev/vda1 || fail "no file system could be made"
umount /early/dev
rm -rf /early

# Nothing of it matters until all of it is there.
mount -t ext4 -o noatime,barrier=0,data=writeback /dev/vda1 /target || fail "the file system cannot be mounted"
tar x -f /dev/vdb -C /target || fail "the archive does not fit"
mkdir -p /target/proc /target/sys /target/dev /target/run
mount -t proc proc /target/proc
mount -t sysfs sysfs /target/sys
mount -t devtmpfs devtmpfs /target/dev
mkdir -p /target/dev/pts
mount -t devpts devpts /target/dev/pts
mount -t tmpfs tmpfs /target/run

chroot /target /usr/bin/sh /ringfence/configure || fail "a package could not be installed"
rm -rf /target/ringfence

# What was deleted need not be kept.
chroot /target /usr/sbin/fstrim / 2>/dev/null
for dir in run dev/pts dev sys proc; do umount "/target/$dir"; done
umount /target || fail "the file system is still in use"
finish 0
