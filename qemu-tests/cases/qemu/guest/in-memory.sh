# SPDX-License-Identifier: GPL-2.0
# In a guest without a disk: vintermezzo over tmpfs, and overlayfs (what containers use) on top of it.
# shellcheck shell=sh

main() {
    izo_check 'vintermezzo is mounted' mount -t vintermezzo -o fileset=memory,mtp=/mnt none /mnt
    izo_contains 'mountinfo shows the type' ' - vintermezzo ' "$(grep ' /mnt ' /proc/self/mountinfo)"
    mkdir /mnt/lower /mnt/upper /mnt/work /merged
    printf 'first\n' > /mnt/lower/file
    izo_same 'a file reads back' first "$(cat /mnt/lower/file)"
    izo_check 'overlayfs is mounted on top' mount -t overlay \
        -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work overlay /merged
    printf 'second\n' >> /merged/file
    izo_same 'overlayfs copies a changed file up' 'first second' "$(tr '\n' ' ' < /mnt/upper/file | sed 's/ $//')"
    izo_same 'the lower file stays' first "$(cat /mnt/lower/file)"
    rm /merged/file
    izo_check 'overlayfs leaves a whiteout' test -c /mnt/upper/file
    izo_check 'overlayfs is unmounted' umount /merged
    izo_check 'vintermezzo is unmounted' umount /mnt
    izo_done
}

main
