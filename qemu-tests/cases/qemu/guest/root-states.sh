# SPDX-License-Identifier: GPL-2.0
# What a Debian root was before its remount, as images/ has recorded it, and what it is since. IZO_TYPE is its type.
# shellcheck shell=sh

# Fields 6 (mount options) and, after the dash, type, source and super options, of / in file $1.
root_line() {
    while read -r _ _ _ _ where options tail; do
        [ "$where" = / ] || continue
        printf '%s %s\n' "$options" "${tail#*- }"
    done < "$1"
}

has_word() {
    case ",$2," in
        *",$1,"*) return 0 ;;
    esac
    printf "no word '%s' in '%s'\n" "$1" "$2"
    return 1
}

# Seconds since boot at which a unit reached a state, from systemd's microseconds.
unit_time() {
    micros=$(systemctl show --property="$2" --value "$1")
    printf '%s.%03d\n' "$((micros / 1000000))" "$((micros / 1000 % 1000))"
}

check_before_remount() {
    early=/run/izo-early
    root_line "$early/mountinfo" > /run/early-root
    read -r options type device _ < /run/early-root
    read -r seconds _ < "$early/uptime"
    izo_fact 'seen read-only' "$seconds"
    izo_fact 'early device' "$device"
    izo_check 'the root is read-only before the remount' has_word ro "$options"
    izo_same 'the root has the asked type before the remount' "${IZO_TYPE:?}" "$type"
    izo_contains 'a write before the remount says read-only' 'Read-only file system' \
        "$(cat "$early/write-attempt")"
    if [ "$IZO_TYPE" != ext4 ]; then
        read -r _ flag < "$early/no_filter"
        izo_same 'no_filter is set before the remount' 1 "$flag"
    fi
}

check_after_remount() {
    root_line /proc/self/mountinfo > /run/late-root
    read -r options type device super < /run/late-root
    izo_fact 'root device' "$device"
    izo_fact 'read-write' "$(unit_time systemd-remount-fs.service ExecMainExitTimestampMonotonic)"
    izo_fact 'multi-user' "$(unit_time multi-user.target ActiveEnterTimestampMonotonic)"
    izo_check 'the root is read-write after the remount' has_word rw "$options"
    izo_same 'the root has the asked type after the remount' "$IZO_TYPE" "$type"
    if [ "$IZO_TYPE" != ext4 ]; then
        izo_check 'the mount shows its fileset' has_word fileset=rootset "$super"
        izo_check 'the mount shows its mount point' has_word mtp=/ "$super"
    fi
}
