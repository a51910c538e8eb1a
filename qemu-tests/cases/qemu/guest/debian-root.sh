# SPDX-License-Identifier: GPL-2.0
# In a Debian guest that has just reached multi-user: what the root was before and after its remount, that
# dpkg can install and remove a package on it, and what izoctl says of its log.
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the root has}
LC_ALL=C
export LC_ALL

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
    izo_check 'the root is read-only before the remount' has_word ro "$options"
    izo_same 'the root has the asked type before the remount' "$TYPE" "$type"
    izo_contains 'a write before the remount says read-only' 'Read-only file system' \
        "$(cat "$early/write-attempt")"
    if [ "$TYPE" != ext4 ]; then
        read -r _ flag < "$early/no_filter"
        izo_same 'no_filter is set before the remount' 1 "$flag"
    fi
    read -r seconds _ < "$early/uptime"
    izo_fact 'seen read-only' "$seconds"
    izo_fact 'early device' "$device"
}

check_after_remount() {
    root_line /proc/self/mountinfo > /run/late-root
    read -r options type device super < /run/late-root
    izo_check 'the root is read-write after the remount' has_word rw "$options"
    izo_same 'the root has the asked type after the remount' "$TYPE" "$type"
    if [ "$TYPE" != ext4 ]; then
        izo_check 'the mount shows its fileset' has_word fileset=rootset "$super"
        izo_check 'the mount shows its mount point' has_word mtp=/ "$super"
    fi
    izo_fact 'root device' "$device"
    izo_fact 'read-write' "$(unit_time systemd-remount-fs.service ExecMainExitTimestampMonotonic)"
    izo_fact 'multi-user' "$(unit_time multi-user.target ActiveEnterTimestampMonotonic)"
}

check_tools_find_the_device() {
    izo_check 'findmnt finds the root' findmnt --noheadings --types "$TYPE" /
    izo_same 'findmnt names the device' "$(cat /sys/class/block/vda/dev)" \
        "$(findmnt --raw --noheadings --output MAJ:MIN /)"
    izo_check 'df reports sizes' df --output=source,fstype,size,avail /
    izo_contains 'df names the type' "$TYPE" "$(df --output=fstype /)"
    izo_contains 'lsblk shows the root on its disk' / "$(lsblk --noheadings --output MOUNTPOINT /dev/vda)"
    izo_same 'a file is on the device of the disk' "$(cat /sys/class/block/vda/dev)" \
        "$(stat --format='%Hd:%Ld' /etc/passwd)"
}

check_system_state() {
    izo_same 'no unit failed' '' "$(systemctl --failed --plain --no-legend)"
    izo_same 'the system is running' running "$(systemctl is-system-running --wait)"
}

# Every name outside logs, caches and dpkg's own books, with all that must come back after a removal.
list_tree() {
    find / -xdev \( -path /var/log -o -path /var/cache -o -path /var/tmp -o -path /var/lib/dpkg \
        -o -path /var/lib/systemd -o -path /tmp \) -prune -o \
        \( -type d -printf '%p d %m %u:%g\n' -o -printf '%p %y %m %u:%g %n %s %T@ %i %l\n' \) | sort
}

sample_is_whole() {
    dpkg --verify izo-sample || return 1
    cd /usr/share/izo-sample || return 1
    [ "$(readlink current)" = data ] || printf 'symbolic link is wrong\n'
    [ "$(stat --format='%i 2' data)" = "$(stat --format='%i %h' same-data)" ] || printf 'hard link is wrong\n'
    [ "$(izo-sample)" = "$(cksum < same-data)" ] || printf 'the program reads other data\n'
    [ -s /var/lib/izo-sample/state ] || printf 'postinst left nothing\n'
}

check_package() {
    list_tree > /run/tree-before
    dpkg-query --show > /run/packages-before
    izo_check 'dpkg installs a package' dpkg --install /root/izo-sample.deb
    izo_same 'the installed package is whole' '' "$(sample_is_whole 2>&1)"
    printf 'word = changed\n' > /etc/izo-sample.conf
    izo_check 'dpkg removes the package' dpkg --remove izo-sample
    izo_same 'removal keeps a changed configuration file' 'word = changed' "$(cat /etc/izo-sample.conf)"
    izo_check 'dpkg purges the package' dpkg --purge izo-sample
    list_tree > /run/tree-after
    dpkg-query --show > /run/packages-after
    izo_same 'purge leaves exactly the earlier tree' '' "$(diff /run/tree-before /run/tree-after)"
    izo_same 'purge leaves exactly the earlier packages' '' \
        "$(diff /run/packages-before /run/packages-after)"
    izo_fact 'files compared' "$(wc -l < /run/tree-before)"
    # With this the tree in the end is not the one of before, which no log at all would replay to.
    izo_check 'dpkg installs the package again' dpkg --install /root/izo-sample.deb
    izo_same 'the package installed again is whole' '' "$(sample_is_whole 2>&1)"
}

# What of each record the host compares with the log itself: number, offset, length, operation.
records_in() {
    number='\([0-9]*\)'
    place="\"recno\":$number,\"offset\":$number,\"length\":$number"
    sed -n "s/^{$place,\"epoch\":[^,]*,\"time\":{[^}]*},\"op\":\"\([a-z]*\)\",.*/\1 \2 \3 \4/p" "$1"
}

check_izoctl() {
    izo_check 'izoctl says that the root is well' izoctl status /
    # Only what is on the medium is printed.
    sync
    izo_check 'izoctl prints the log' sh -c 'izoctl kml --json / > /run/records'
    records_in /run/records > /run/records-in-short
    izo_fact 'records printed' "$(wc -l < /run/records-in-short)"
    izo_fact 'last record printed' "$(tail -n 1 /run/records-in-short)"
    izo_fact 'sum of the records printed' "$(sha256sum < /run/records-in-short)"
}

# A process that holds a file open for writing, and one deleted, until the kill just before the unmount.
leave_files_open() {
    setsid sh -c 'exec 3> /var/tmp/held-open 4> /var/tmp/held-deleted
        rm /var/tmp/held-deleted
        printf "line\n" | tee /dev/fd/3 >&4
        exec sleep infinity' &
    izo_ok 'a process is left holding files'
}

main() {
    check_system_state
    check_before_remount
    check_after_remount
    check_tools_find_the_device
    check_package
    [ "$TYPE" = ext4 ] || check_izoctl
    leave_files_open
    izo_done
}

main
