#!/usr/bin/env bash
# A root of 64-bit Arm with Debian's Python, for qemu-aarch64-static -L: no chroot, nothing registered with the kernel.
#
#   bash wheels/make_arm_root.sh FOLDER        needs root, debootstrap and Debian's mirror
set -euo pipefail
root=$1
# no pipe into head: it would end the command before with a signal
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | sed -n 1p)
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libstdc++6,libgfortran5 "$codename" "$root" "$mirror"
for package in "$root"/var/cache/apt/archives/*.deb; do
    dpkg --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root"
done
rm -rf "$root/var/cache/apt/archives"
ls "$root"/usr/bin/python3.*
