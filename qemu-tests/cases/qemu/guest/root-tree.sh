# SPDX-License-Identifier: GPL-2.0
# The tree of a root that is a replica: used, given what programs need, compared with the other's. Needs two-guests.sh.
# shellcheck shell=sh

# What a root is used for, in a new folder; sync(1) waits for the whole file system.
use_root() {
    mkdir "$1" "$1/folder" && printf 'one\n' > "$1/new" && mv "$1/new" "$1/renamed" && printf 'two\n' > "$1/removed" &&
        rm "$1/removed" && rmdir "$1/folder" && sync && root_was_used "$1"
}
root_was_used() { has_text "$1/renamed" 'one' && [ "$(ls "$1")" = renamed ]; }

# find(1) on all that is shared but the manifests' own sums; the arguments say what to do with it.
shared() {
    find . -xdev \( -path ./dev -o -path ./proc -o -path ./sys -o -path ./tmp -o -path ./run -o -path ./lost+found \
        -o -path './etc/default/intersync*' -o -path ./etc/fstab -o -path ./etc/machine-id -o -path ./var/cache \
        -o -path './var/intermezzo-*' -o -path ./var/log -o -path ./var/tmp -o -path ./var/lib/systemd/random-seed \
        -o -path './var/lib/izo-manifest-*' \) -prune -o "$@"
}

# What a program needs more than contents and modes.
CAPABILITY=0x0100000200200000000000000000000000000000
give_attributes() {
    setfattr -n user.note -v 'of the server' "$1" && setfacl -m u:1000:r,m::r "$1" &&
        setfattr -n security.capability -v $CAPABILITY "$1"
}
has_attributes() {
    [ "$(getfattr --only-values -n user.note "$1")" = 'of the server' ] &&
        getfacl -cn "$1" | grep -qx 'user:1000:r--' &&
        getfattr -e hex -n security.capability "$1" | grep -qx "security.capability=$CAPABILITY"
}

# Names, types, modes, owners, links, sizes, times, extended attributes; contents of what is not as the image was made.
# A directory that has local names too is touched by their changes, on this machine alone. The host compares all
# contents when both are off.
manifest() {
    cd / || return 1
    shared \( \( -path . -o -path ./etc -o -path ./etc/default -o -path ./var -o -path ./var/lib/systemd \) \
        -printf '%P %y %m %U:%G\n' \
        -o -type d -printf '%P %y %m %U:%G %T@\n' -o -printf '%P %y %m %U:%G %n %s %T@ %l\n' \) | LC_ALL=C sort
    shared -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex
    shared -type f -newermt '2025-01-02' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
}

# Both say what they have until they say the same. What they say is not part of it, and its names are there early.
same_as_the_other() {
    manifest > /run/manifest
    mine=$(sha256sum < /run/manifest)
    has_text "/var/lib/izo-manifest-$ROLE" "$mine" || printf '%s\n' "$mine" > "/var/lib/izo-manifest-$ROLE"
    has_text "/var/lib/izo-manifest-$OTHER" "$mine"
}

# Nothing that the daemon says of itself, with all that it can say, or does, is a change. The seconds are not a wait
# for something: nothing must happen in them. What a reader is shown is what is committed, so the log is committed
# before each look.
LOG=/.intermezzo/rootset/kml
log_end() { sync "$LOG" && stat -c %s "$LOG"; }
no_record_in() { before=$(log_end) && sleep "$1" && [ "$(log_end)" = "$before" ]; }
daemon_says_all() {
    tr '\0' ' ' < "/proc/$(systemctl show --property=MainPID --value intersync@-.service)/cmdline" |
        grep -qF -- ' -debug 31 '
}
root_is_idle() {
    izo_check 'intersync runs with -debug 31' daemon_says_all
    wait_for "$LIMIT" 'nothing is on its way' no_record_in 3
    izo_check 'no record in 10 s of an idle root with -debug 31' no_record_in 10
}
