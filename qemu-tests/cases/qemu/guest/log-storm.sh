# SPDX-License-Identifier: GPL-2.0
# In a guest with two processors and little memory: storms of changes on three disks, each with what may disturb
# the log there: on the first kills, freezes, memory pressure and eviction; a second without space; a third without
# inodes. The host compares the logs with the trees and with what the writers counted.
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the disks are mounted as}
SECONDS_LONG=${IZO_SECONDS:?the host says how long}
FULL_SECONDS=${IZO_FULL_SECONDS:?and how long without space}
SEED=${IZO_SEED:?the host says which storm}
PROCESSES=16

# Memory beyond this calls the OOM killer, whose report looks like a kernel in trouble.
KEPT_FREE_MB=40

freeze_once() {
    fsfreeze --freeze /mnt || return 1
    usleep 50000
    fsfreeze --unfreeze /mnt
    usleep 150000
}

hog_memory_once() {
    mb=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    if [ "$mb" -gt "$KEPT_FREE_MB" ] &&
        dd if=/dev/zero of=/tmp/hog/block bs=1M count=$((mb - KEPT_FREE_MB)) 2> /dev/null; then
        hogs=$((hogs + 1))
    fi
    usleep 200000
    rm -f /tmp/hog/block
    usleep 100000
}

evict_once() {
    echo 3 > /proc/sys/vm/drop_caches
    usleep 100000
}

# One after the other: reclaim that evicts a nameless inode of a frozen ext4 waits for the thaw, and holds s_umount,
# which the thaw needs. Plain ext4 hangs for good likewise.
freeze_or_reclaim_while() {
    freezes=0 hogs=0
    mkdir /tmp/hog
    mount -t tmpfs -o size=100% hog /tmp/hog
    while kill -0 "$1" 2> /dev/null; do
        for _ in 1 2 3; do
            freeze_once || break 2
            freezes=$((freezes + 1))
        done
        hog_memory_once
        evict_once
    done
    umount /tmp/hog
    printf '%s\n' "$freezes" > /tmp/freezes
    printf '%s\n' "$hogs" > /tmp/hogs
}

evict_while() {
    while kill -0 "$1" 2> /dev/null; do
        evict_once
        usleep 300000
    done
}

# storm DISK-NAME DEVICE SECONDS DISTURBER WORD...: the counts become facts `DISK-NAME KIND: DONE DOUBTFUL`.
storm() {
    disk=$1 device=$2 seconds=$3 disturber=$4
    shift 4
    izo_check "$disk is mounted" mount -t "$TYPE" -o "${IZO_OPTIONS:-rw}" "$device" /mnt
    log_writer storm /mnt --seed="$SEED" --seconds="$seconds" --processes="$PROCESSES" "$@" \
        > /tmp/counts 2> /tmp/errors &
    writer=$!
    "$disturber" "$writer" &
    disturber=$!
    if wait "$writer"; then
        izo_ok "no process met a wrong answer on $disk"
    else
        izo_not_ok "no process met a wrong answer on $disk" "$(cat /tmp/errors)"
    fi
    wait "$disturber"
    while read -r kind counts; do
        izo_fact "$disk $kind" "$counts"
    done < /tmp/counts
    izo_check "$disk is unmounted" umount /mnt
}

# A storm that hangs: the console shows where, before the host ends the guest.
show_blocked_late() {
    sleep "$((SECONDS_LONG * 3 + 100))"
    echo w > /proc/sysrq-trigger
    echo l > /proc/sysrq-trigger
}

main() {
    show_blocked_late &
    storm disturbed /dev/vda "$SECONDS_LONG" freeze_or_reclaim_while --kill
    izo_fact 'freezes' "$(cat /tmp/freezes)"
    izo_fact 'hogs' "$(cat /tmp/hogs)"
    storm full /dev/vdb "$FULL_SECONDS" evict_while --no-space --fill
    storm no-inodes /dev/vdc "$FULL_SECONDS" evict_while --no-space
    if [ -e /proc/lockdep_stats ]; then
        izo_same 'lockdep is still on' 1 "$(awk '/debug_locks:/ { print $2 }' /proc/lockdep_stats)"
    fi
    izo_done
}

main
