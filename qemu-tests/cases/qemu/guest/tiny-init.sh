#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# First lines of the first process in a guest without a distribution: BusyBox and the usual mounts.

/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin /mnt /run /tmp
/bin/busybox --install -s
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
exec > /dev/ttyS2 2>&1
