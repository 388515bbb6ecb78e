#!/bin/sh
# What busybox's DHCP client runs when it begins and when it gets, renews or
# loses a lease; the lease is in the environment.
case $1 in
deconfig)
	ip addr flush dev "$interface"
	ip link set "$interface" up
	;;
bound | renew)
	ip addr flush dev "$interface"
	ip addr add "$ip/${mask:-24}" dev "$interface"
	[ -z "$router" ] || ip route add default via "${router%% *}" dev "$interface"
	for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
	;;
esac
