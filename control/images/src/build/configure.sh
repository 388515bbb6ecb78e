#!/bin/sh
# Installs all packages and sets the system up; runs in the new system. The essential packages' files are there already, but dpkg
# knows nothing of them. REQUESTED is a list of the packages that somebody asked for.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DPKG_COLORS=never
cd /ringfence

mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates
touch /var/lib/dpkg/status /var/lib/dpkg/available
# Nothing is started here (invoke-rc.d(8)).
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
# Until the end nothing has to survive anything.
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/ringfence

# Essential packages may depend on each other in circles. The first one makes the users that the others' files belong to.
dpkg --force-depends --install essential/base-passwd_*.deb
dpkg --force-depends --install essential/*.deb
# The RAM disk is made once, at the end: each time it takes longer than all the rest of a package.
INITRD=No apt-get install --quiet --yes --no-install-recommends ./rest/*.deb
update-initramfs -c -k all
apt-mark auto $(dpkg-query --show --showformat '${Package}\n') >/dev/null
apt-mark manual $(cat requested) >/dev/null

systemctl enable systemd-networkd.service
systemctl enable ringfence-agent.service ringfence-host-keys.service ringfence-seed.service
if [ -e /lib/systemd/system/systemd-resolved.service ]; then
	systemctl enable systemd-resolved.service
	ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
fi
# There is no LVM whose snapshots could be left over.
for unit in e2scrub_reap.service e2scrub_all.timer; do
	[ ! -e /lib/systemd/system/$unit ] || systemctl disable $unit
done
# Who is at the console needs no password; over the network nobody gets in without a key.
passwd --quiet --delete root

# What makes a machine this one and no other comes with its first boot.
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /var/lib/systemd/random-seed
: >/etc/machine-id

rm -f /usr/sbin/policy-rc.d /etc/dpkg/dpkg.cfg.d/ringfence
apt-get clean
rm -rf /var/log/*.log /var/log/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /tmp/* /var/tmp/*
