# SPDX-License-Identifier: GPL-2.0
# In a benchmark guest: unpack /tree.tar onto a fresh disk and remove it again, timing each part.
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the disk is mounted as}

# timed NAME COMMAND...: report the guest seconds of the command.
timed() {
    name=$1
    shift
    read -r before _ < /proc/uptime
    izo_check "$name works" "$@"
    read -r after _ < /proc/uptime
    izo_fact "$name" "$(awk "BEGIN { print $after - $before }")"
}

main() {
    izo_check 'the disk is mounted' mount -t "$TYPE" -o "${IZO_OPTIONS:-rw}" /dev/vda /mnt
    # The tarball is read once before, and nothing of the mount is left to be written.
    cat /tree.tar > /dev/null
    sync
    timed untar tar -xf /tree.tar -C /mnt
    # Waiting for the disk is not timed: it is no work of the processor, and -icount makes its length arbitrary.
    sync
    izo_same 'all files are there' 10000 "$(find /mnt/tree -type f | wc -l)"
    timed rm rm -rf /mnt/tree
    izo_check 'the disk is unmounted' umount /mnt
    izo_done
}

main
