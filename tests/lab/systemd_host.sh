#!/bin/sh
# Boot this host's file system once more: systemd is process 1 of namespaces of its own, over a copy in memory.
#
#   systemd_host.sh DIRECTORY                          only try what that takes
#   systemd_host.sh DIRECTORY NAME NETWORK PACKAGES    boot, and return when the system has ended
#
# To be run in a mount namespace of its own, with which everything goes but the control group, which goes at the end.
set -eu

directory=$1
groups=/sys/fs/cgroup

# The system over the host's, as of now, and without what the host itself runs and keeps.
mount -t tmpfs -o mode=755 tmpfs "$directory"
cd "$directory"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
rm -rf root/etc/systemd/system/* root/var/log/journal \
    root/etc/portway root/opt/portway root/usr/local/bin/portway root/var/lib/portway root/var/log/portway

# systemd and what it starts are in control groups of the one hierarchy that it knows.
mount -t cgroup2 cgroup2 "$groups"
[ $# -gt 1 ] || exit 0

name=$2 network=$3 packages=$4

remove_group() {
    find "$1" -depth -type d -exec rmdir {} +
}

for left in "$groups"/pw-[0-9]*; do # by a run that was killed, whose number is in the name
    owner=${left##*/pw-}
    [ ! -d "$left" ] || [ -e "/proc/${owner%%-*}" ] || remove_group "$left" 2>/dev/null || true
done
mkdir "$groups/$name"

# As udev makes it; on a host without udev only root may open it.
mknod -m 666 tun c 10 200

# systemd-nspawn remembers machines here, and not all of it goes with them.
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 tmpfs /run/systemd

# No filter of nspawn's own: what a unit may do, the unit says.
export SYSTEMD_SECCOMP=0
# shellcheck disable=SC2016
sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$groups/$name" systemd-nspawn \
    --quiet --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off --console=pipe \
    --machine="$name" --directory=root --network-namespace-path="/run/netns/$network" --capability=CAP_NET_ADMIN \
    --bind="$directory/tun:/dev/net/tun" --bind-ro="$packages:/usr/local/lib/portway-dependencies" \
    --boot systemd.unit=basic.target || true

remove_group "$groups/$name"
