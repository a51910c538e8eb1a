# SPDX-License-Identifier: GPL-2.0
# In a tiny guest: the cache's dentries are dropped while a directory is in use above, then names move into and
# out of it. At unmount nothing may be left of the cache (the kernel warns of busy inodes).
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the disk is mounted as}

# Dentries and inodes nobody uses; a current directory keeps its upper dentry but not the cache's.
forget() { echo 2 > /proc/sys/vm/drop_caches; }

main() {
    izo_check 'the disk is mounted' mount -t "$TYPE" -o "${IZO_OPTIONS:-rw}" /dev/vda /mnt
    mkdir /mnt/used /mnt/used/below /mnt/other
    printf 'in\n' > /mnt/comes
    printf 'out\n' > /mnt/used/goes
    cd /mnt/used || exit 1
    forget
    izo_check 'a file moves into the directory in use' mv /mnt/comes comes
    forget
    izo_check 'a file moves out of it' mv goes /mnt/goes
    forget
    izo_check 'a directory moves out of it' mv below /mnt/other/below
    forget
    izo_check 'a directory moves into it' mv /mnt/other/below again
    izo_same 'the moved file reads back' in "$(cat comes)"
    cd / || exit 1
    izo_check 'the disk is unmounted' umount /mnt
    izo_done
}

main
