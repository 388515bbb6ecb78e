#!/bin/sh
# /init of a guest without Ringfence's agent. It runs the command that the word
# ringfence.exec=BASE64 on the kernel's command line holds, or a shell on the
# console if there is none; tells the exit status; and powers the machine off.
export PATH=/bin HOME=/root TERM=linux ENV=/etc/profile
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
if grep -q 0x1af4 /sys/bus/pci/devices/*/vendor 2>/dev/null; then
	for module in /lib/modules/ringfence/*.ko; do insmod "$module"; done
fi
hostname -F /etc/hostname
cd /root

echo "ringfence: userspace reached"

# No globbing: a word of the command line is not a pattern.
set -f
for word in $(cat /proc/cmdline); do
	case $word in
	ringfence.exec=*) script=${word#ringfence.exec=} ;;
	ringfence.net=*) network=${word#ringfence.net=} ;;
	ringfence.share=*)
		tag=${word#ringfence.share=}
		mkdir -p "/mnt/$tag" && mount -t virtiofs -o nosuid,nodev "$tag" "/mnt/$tag"
		;;
	esac
done
set +f

# INTERFACE,ADDRESS/BITS,ROUTER,RESOLVER
if [ -n "$network" ]; then
	IFS=,
	set -- $network
	unset IFS
	ip addr add "$2" dev "$1" && ip link set "$1" up && ip route add default via "$3"
	echo "nameserver $4" >/etc/resolv.conf
fi

if [ -z "$script" ]; then
	# cttyhack opens the console as the controlling terminal: Ctrl-C works.
	setsid cttyhack sh
elif echo "$script" | base64 -d >/run/script; then
	sh /run/script
else
	echo "ringfence: the command line holds no valid command"
	false
fi
status=$?

# On a line of its own, whatever the command printed last.
echo
echo "ringfence: status $status"
poweroff -f
