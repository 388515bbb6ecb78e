#!/bin/sh
# Does what the volume CIDATA says under ringfence/: a host name, a user, the keys with which to get in. Doing it again changes nothing.
set -e
umask 022
volume=/run/ringfence-seed
mkdir -p "$volume"
mount -t vfat -o ro,nodev,nosuid,noexec /dev/disk/by-label/CIDATA "$volume"
trap 'umount "$volume"; rmdir "$volume"' EXIT
wishes=$volume/ringfence
[ -d "$wishes" ] || exit 0

if [ -s "$wishes/hostname" ]; then
	name=$(cat "$wishes/hostname")
	if [ "$name" != "$(cat /etc/hostname)" ]; then
		echo "$name" >/etc/hostname
		sed -i "s/^127\.0\.1\.1 .*/127.0.1.1 $name ${name%%.*}/" /etc/hosts
		hostname "$name"
	fi
fi

user=root
if [ -s "$wishes/user" ]; then
	user=$(cat "$wishes/user")
	if ! id "$user" >/dev/null 2>&1; then
		useradd --create-home --shell /bin/bash --user-group "$user"
		# At the console there is no password to be asked for, as with root.
		passwd --quiet --delete "$user"
	fi
	if [ -d /etc/sudoers.d ]; then
		echo "$user ALL=(ALL) NOPASSWD:ALL" >"/etc/sudoers.d/90-$user"
		chmod 440 "/etc/sudoers.d/90-$user"
	fi
fi

if [ -s "$wishes/authorized_keys" ]; then
	home=$(getent passwd "$user" | cut -d: -f6)
	install -d -m 700 -o "$user" -g "$(id -g "$user")" "$home/.ssh"
	touch "$home/.ssh/authorized_keys"
	while read -r key; do
		grep -qxF "$key" "$home/.ssh/authorized_keys" || echo "$key" >>"$home/.ssh/authorized_keys"
	done <"$wishes/authorized_keys"
	chown "$user:$(id -g "$user")" "$home/.ssh/authorized_keys"
	chmod 600 "$home/.ssh/authorized_keys"
fi
