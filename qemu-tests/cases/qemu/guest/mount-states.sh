# SPDX-License-Identifier: GPL-2.0
# In a tiny guest: disks as power cuts have left them are mounted, one after the other, and changed.
# shellcheck shell=sh

main() {
    for disk in /dev/vd?; do
        izo_check "$disk is mounted" mount -t intermezzo -o rw,fileset=rootset,mtp=/mnt "$disk" /mnt
        izo_check "$disk can be changed" mkdir /mnt/mounted-again
        izo_check "$disk is unmounted" umount /mnt
    done
    izo_done
}

main
