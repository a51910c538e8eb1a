# SPDX-License-Identifier: GPL-2.0
# For the scripts of two guests whose trees are replicas and which wait for each other; IZO_ROLE says which this is.
# A script says by last_words() what intersync said last, and by leave() how its guest ends.
# shellcheck shell=sh disable=SC2034 # the scripts read ROLE and OTHER

ROLE=${IZO_ROLE:?the host says whether this is server or client}
OTHER=${IZO_OTHER:?and which the other one is}

# What comes after a failure would wait in vain for the other side, which waits for this one.
give_up() {
    izo_not_ok "$1" "$2; $(last_words)"
    izo_done
    leave
}

# wait_for SECONDS WHAT COMMAND...: poll until the command succeeds.
wait_for() {
    limit=$1
    what=$2
    shift 2
    read -r began _ < /proc/uptime
    until "$@" > /run/await 2>&1; do
        read -r up _ < /proc/uptime
        [ "${up%.*}" -le $((${began%.*} + limit)) ] || give_up "$what" "not within $limit s: $* -> $(cat /run/await)"
        sleep 0.05
    done
}

# await SECONDS WHAT COMMAND...: the same, as a check; a fact says how long it took.
await() {
    wait_for "$@"
    read -r up _ < /proc/uptime
    izo_fact "$what" "$(awk "BEGIN { print $up - $began }")"
    izo_ok "$what"
}

has_text() { [ "$(cat "$1" 2> /dev/null)" = "$2" ]; }
