# SPDX-License-Identifier: GPL-2.0
# In a guest with two processors: stress on a fresh disk, with caches dropped meanwhile; then the tree must look
# the same through a plain ext4 mount.
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the disk is mounted as}
SECONDS_LONG=${IZO_SECONDS:?the host says how long}

# Eviction of inodes and dentries races with the operations.
drop_caches_while() {
    while kill -0 "$1" 2> /dev/null; do
        echo 2 > /proc/sys/vm/drop_caches
        sleep 0.3
    done
}

main() {
    izo_check 'the disk is mounted' mount -t "$TYPE" -o "${IZO_OPTIONS:-rw}" /dev/vda /mnt
    mkdir /mnt/work
    stress run /mnt/work "$SECONDS_LONG" 4 > /tmp/stress.log 2>&1 &
    stress_pid=$!
    drop_caches_while "$stress_pid"
    if wait "$stress_pid"; then
        izo_ok 'no process met a wrong answer'
    else
        izo_not_ok 'no process met a wrong answer' "$(cat /tmp/stress.log)"
    fi
    izo_fact 'operations' "$(awk '{ sum += $3 } END { print sum }' /tmp/stress.log)"
    stress list /mnt/work | sort > /tmp/before
    izo_check 'the disk is unmounted' umount /mnt
    izo_check 'the disk is mounted as ext4' mount -t ext4 -o ro /dev/vda /mnt
    stress list /mnt/work | sort > /tmp/after
    izo_same 'the tree is the same through ext4' '' "$(diff /tmp/before /tmp/after | head -n 20)"
    izo_fact 'objects' "$(wc -l < /tmp/after)"
    izo_check 'ext4 is unmounted' umount /mnt
    izo_done
}

main
