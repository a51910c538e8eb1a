# SPDX-License-Identifier: GPL-2.0
# For the scripts of small guests that have replicas of one fileset, on /mnt unless IZO_TREE says where; IZO_ROLE
# says which this is.
# shellcheck shell=sh

ROLE=${IZO_ROLE:?the host says whether this is server or client}
OTHER=${IZO_OTHER:?and which the other one is}
TREE=${IZO_TREE:-/mnt}
SAID=$TREE/said
DAEMON=

# What comes after a failure would wait in vain for the other side, which waits for this one.
give_up() {
    izo_not_ok "$1" "$2"
    tail -n 60 /tmp/intersync.log
    izo_done
    poweroff -f
}

# await SECONDS WHAT COMMAND...: poll until the command succeeds.
await() {
    read -r up _ < /proc/uptime
    end=$((${up%.*} + $1))
    what=$2
    shift 2
    until "$@" > /tmp/await 2>&1; do
        read -r up _ < /proc/uptime
        [ "${up%.*}" -lt "$end" ] || give_up "$what" "$* -> $(cat /tmp/await); $(tail -n 3 /tmp/intersync.log)"
        usleep 50000
    done
    izo_ok "$what"
}

has_text() { [ "$(cat "$1" 2> /dev/null)" = "$2" ]; }
is_out_of_reach() { ! ping -c 1 -W 1 "$1"; }
says() { grep -q "$1" /tmp/intersync.log; }

network_up() {
    [ "$ROLE" = server ] && number=1 || number=2
    for card in /sys/class/net/*; do
        [ "$(cat "$card/address")" = "52:54:00:00:00:0$number" ] || continue
        ip address add "10.7.7.$number/24" dev "${card##*/}" && ip link set "${card##*/}" up
        return
    done
    return 1
}

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
