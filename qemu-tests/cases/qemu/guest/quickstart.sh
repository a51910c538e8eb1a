# SPDX-License-Identifier: GPL-2.0
# In one of two guests: what docs/quickstart.md says of this one, line by line as it is there.
# shellcheck shell=sh disable=SC2034 # small-replica.sh reads them

LINES_TYPED=${IZO_LINES:?the host says which lines of the page}
LIMIT=${IZO_LIMIT:?the host says how many seconds}
# beside what is compared
SAID=$TREE

# BusyBox has its own and prefers them: its mke2fs makes no journal, its mount asks as one that tries every type on a
# device (MS_SILENT), and then what is no cache yet does not become one.
mke2fs() { /bin/mke2fs "$@"; }
mount() { /bin/mount "$@"; }

# intersync is a terminal's of its own.
type_line() {
    case $1 in
        'intersync '*)
            sh -c "exec $1" > /tmp/intersync.log 2>&1 &
            DAEMON=$!
            await "$LIMIT" "typed $1" says 'serves fileset\|is a client of'
            ;;
        *) izo_check "typed $1" eval "$1" ;;
    esac
}

main() {
    izo_check 'the card has its address' network_up
    mkdir -p /var
    printf '%s\n' "$LINES_TYPED" > /tmp/lines
    while read -r line; do
        type_line "$line"
    done < /tmp/lines
    await "$LIMIT" "the server's file is here" has_text "$TREE/hello" hello
    await "$LIMIT" "the client's directory is here" test -d "$TREE/from-the-client"
    say arrived yes
    await "$LIMIT" 'the other has both too' other_says arrived yes
    # The client waits until the server, which leaves last, knows that it has seen that.
    if [ "$ROLE" = server ]; then
        say seen yes
        await "$LIMIT" 'the client has seen that' other_says seen yes
    else
        await "$LIMIT" 'the server says so' other_says seen yes
        say seen yes
        await "$LIMIT" 'the server has gone' is_out_of_reach 10.7.7.1
    fi
    stop_intersync
    izo_done
}

main
