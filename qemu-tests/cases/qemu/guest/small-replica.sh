# SPDX-License-Identifier: GPL-2.0
# For the scripts of small guests that have replicas of one fileset, on /mnt unless IZO_TREE says where. Needs
# two-guests.sh.
# shellcheck shell=sh

TREE=${IZO_TREE:-/mnt}
SAID=$TREE/said
DAEMON=

# What intersync said last, and how the guest ends when a check fails.
last_words() { tail -n 3 /tmp/intersync.log; }
leave() {
    tail -n 60 /tmp/intersync.log
    poweroff -f
}

is_out_of_reach() { ! ping -c 1 -W 1 "$1"; }
says() { grep -q "$1" /tmp/intersync.log; }

network_up() { take-card "$ROLE"; }

start_intersync() {
    mkdir -p /var
    if [ "$ROLE" = server ]; then
        intersync --plain-http -debug 17 --log=none "$TREE" > /tmp/intersync.log 2>&1 &
    else
        intersync --plain-http -debug 17 --log=none --server=10.7.7.1 "$TREE" > /tmp/intersync.log 2>&1 &
    fi
    DAEMON=$!
    await 30 'intersync is ready' says 'serves fileset\|is a client of'
}

# Each side says by a file what the other waits for. These files are no part of what is compared.
say() { printf '%s\n' "$2" > "$SAID/$ROLE-$1"; }
other_says() { has_text "$SAID/$OTHER-$1" "$2"; }

# How many texts of the other's text_writer are here, over and over: the host cuts the power while they come.
count_what_comes() {
    while :; do
        printf 'came %s\n' "$(find "$TREE/texts" -name "*$OTHER-*" | wc -l)"
        usleep 50000
    done
}

stop_intersync() {
    kill -0 "$DAEMON" || give_up 'intersync still runs' 'it has ended'
    izo_ok 'intersync still runs'
    kill "$DAEMON"
    wait "$DAEMON"
    izo_same 'intersync ends well' 0 $?
    izo_check 'the disk is unmounted' umount "$TREE"
}
