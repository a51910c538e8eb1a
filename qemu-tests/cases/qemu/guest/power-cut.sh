# SPDX-License-Identifier: GPL-2.0
# In a guest whose disk is recorded: a storm of changes, in the middle of which the power goes off.
# shellcheck shell=sh

MOUNT=${IZO_MOUNT:?the host says how the disk is mounted}
DISK=${IZO_DISK:?the host says which disk is recorded}
TREE=${IZO_TREE:?the host says where the storm is}
SECONDS_LONG=${IZO_SECONDS:?the host says how long}
SEED=${IZO_SEED:?the host says which storm}
COMMIT=${IZO_COMMIT:?the host says what to fsync for a commit}

# Many commits: else all points in time see the same few states. Not sync(2) of everything: what that writes of a body
# before the entry in the list is committed is not promised (docs/decisions/0009).
commit_often() {
    while :; do
        sleep 0.06
        sync "$COMMIT"
    done
}

main() {
    # shellcheck disable=SC2086 # a command with its arguments
    izo_check 'the disk is mounted' $MOUNT
    sync
    izo_fact 'sectors before the storm' "$(awk '{ print $7 }' "/sys/block/$DISK/stat")"
    log_writer storm "$TREE" --seed="$SEED" --seconds=3600 --processes=6 > /tmp/storm.log 2>&1 &
    storm=$!
    commit_often &
    sleep "$SECONDS_LONG"
    if kill -0 "$storm" 2> /dev/null; then
        izo_ok 'all processes are at work until the end'
    else
        izo_not_ok 'all processes are at work until the end' "$(cat /tmp/storm.log)"
    fi
    izo_done
    # no driver is shut down, so nothing in flight fails and is complained about
    echo b > /proc/sysrq-trigger
}

main
