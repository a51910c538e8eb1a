# SPDX-License-Identifier: GPL-2.0
# In a Debian guest that has just reached multi-user: what the root was before and after its remount, that
# dpkg can install and remove a package on it, and what izoctl says of its log.
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the root has}
LC_ALL=C
export LC_ALL

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
