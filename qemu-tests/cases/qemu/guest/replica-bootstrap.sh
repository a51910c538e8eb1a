# SPDX-License-Identifier: GPL-2.0
# In one of two benchmark guests: 10,000 files of 4 KiB come to an empty client, by intersync, and by rsync onto a
# fresh ext4 and a fresh intermezzo. Each is timed until all is readable, and until the disk has it.
# shellcheck shell=sh

LIMIT=900

# timed NAME COMMAND...: guest seconds of the command, and of sync after it.
timed() {
    name=$1
    shift
    read -r before _ < /proc/uptime
    # Not in a shell of its own: intersync must be a child of this one.
    "$@" > /tmp/timed 2>&1
    izo_same "$name works" 0 $?
    read -r readable _ < /proc/uptime
    sync
    read -r safe _ < /proc/uptime
    izo_fact "$name" "$(awk "BEGIN { print $readable - $before, $safe - $before }")"
    echo 3 > /proc/sys/vm/drop_caches
}

# What intersync has used itself and in the kernel, and what the whole machine was idle: hundredths of a second.
used() { izo_fact "$1" "$(awk '{ print $14, $15 }' "/proc/$DAEMON/stat") $(awk '/^cpu / { print $5 }' /proc/stat)"; }

by_intersync() {
    start_intersync
    replica_probe await /mnt/tree
}

by_rsync() { rsync -a rsync://10.7.7.1/tree/ "$1/"; }

server() {
    mkdir /mnt/tree
    izo_check 'the tree is made' replica_probe fill /mnt/tree
    sync
    printf '[tree]\npath = /mnt/tree\nuse chroot = no\nuid = 0\ngid = 0\nreverse lookup = no\n' > /tmp/rsyncd.conf
    rsync --daemon --no-detach --config=/tmp/rsyncd.conf &
    rsync=$!
    start_intersync
    # Now the client begins.
    izo_check 'the card has its address' network_up
    # The client says when it has all.
    izo_fact 'idle before' "$(awk '/^cpu / { print $5 }' /proc/stat)"
    replica_probe read /mnt/tree
    used 'intersync used'
    replica_probe read /mnt/tree
    kill "$rsync"
    wait "$rsync"
    stop_intersync
}

client() {
    izo_check 'the card has its address' network_up
    await $LIMIT 'the server is ready' ping -c 1 -W 1 10.7.7.1
    izo_fact 'idle before' "$(awk '/^cpu / { print $5 }' /proc/stat)"
    timed intersync by_intersync
    used 'intersync used'
    izo_check 'the server looks what it took' replica_probe write /tmp 10.7.7.1 0
    izo_check 'intersync brought all' replica_probe verify /mnt/tree
    stop_intersync
    mkdir /ext4 /intermezzo
    izo_check 'ext4 is mounted' mount -t ext4 /dev/vdb /ext4
    timed 'rsync, ext4' by_rsync /ext4
    izo_check 'rsync brought all' replica_probe verify /ext4
    izo_check 'intermezzo is mounted' mount -t intermezzo -o rw,fileset=other,mtp=/mnt /dev/vdc /intermezzo
    timed 'rsync, intermezzo' by_rsync /intermezzo
    izo_check 'rsync brought all again' replica_probe verify /intermezzo
    izo_check 'the server may go' replica_probe write /tmp 10.7.7.1 0
}

main() {
    izo_check 'the disk is mounted' mount -t intermezzo -o rw,fileset=rootset,mtp=/mnt /dev/vda /mnt
    if [ "$ROLE" = server ]; then server; else client; fi
    tail -n 200 /tmp/intersync.log
    izo_done
}

main
