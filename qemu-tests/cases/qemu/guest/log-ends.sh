# SPDX-License-Identifier: GPL-2.0
# In a Debian guest: its root is full, then the root's log is ended, then its journal fails, a block of which cannot
# be written. The root must stay of use each time.
# shellcheck shell=sh

LC_ALL=C
export LC_ALL

said_by_us() { dmesg | grep 'intermezzo: '; }

# What the kernel said of us since there were $1 lines.
said_since() { said_by_us | tail -n "+$(($1 + 1))"; }

fill_up() {
    size=$((1 << 30)) end=0
    while [ "$size" -ge 4096 ]; do
        if fallocate --offset "$end" --length "$size" /srv/filler 2> /dev/null; then
            end=$((end + size))
        else
            size=$((size / 2))
        fi
    done
}

check_full_root() {
    mkdir -p /srv/tree
    cp /usr/bin/[a-f]* /srv/tree
    fill_up
    izo_contains 'the root is full' 'No space left on device' "$(cp /usr/bin/dpkg /srv/copy 2>&1)"
    izo_check 'a tree can be removed from a full root' rm -r /srv/tree
    izo_check 'room can be made on it' rm -f /srv/filler /srv/copy
    izo_same 'the system runs on a root that was full' running "$(systemctl is-system-running)"
    izo_check 'its log goes on' izoctl status /
}

check_without_log() {
    lines=$(said_by_us | wc -l)
    echo 1 > /proc/sys/intermezzo/intermezzo0/no_journal
    izo_check 'dpkg installs a package without a log' dpkg --install /root/izo-sample.deb
    izo_same 'the program runs' "$(cksum < /usr/share/izo-sample/data)" "$(izo-sample)"
    izo_same 'the system runs without a log' running "$(systemctl is-system-running)"
    izo_contains 'the kernel says that the log ends' 'the log of changes ends here' "$(said_since "$lines")"
    izo_same "the log's end is one line" 1 "$(said_since "$lines" | wc -l)"
    izo_contains 'izoctl says that the log overflowed' 'TROUBLE     the log overflowed' "$(izoctl status /)"
}

# Changes enough for the journal to come to its bad block.
change_until_it_fails() {
    turn=0
    while [ "$turn" -lt 100 ] && mkdir "/srv/$turn" 2> /dev/null; do
        seq -f "/srv/$turn/%g" 200 | xargs mkdir 2> /dev/null
        sync
        turn=$((turn + 1))
    done
    izo_fact 'turns until the journal failed' "$turn"
}

check_without_journal() {
    # ext4 of Linux 6.12 opens no file any more once it has something to write itself and finds the journal failed.
    journalctl --relinquish-var
    lines=$(said_by_us | wc -l)
    izo_check 'the journal has not failed before' mkdir /srv/before
    change_until_it_fails
    izo_contains 'a change says read-only' 'Read-only file system' "$(mkdir /srv/new 2>&1)"
    izo_contains 'the kernel says that the journal failed' 'journal has failed' "$(said_since "$lines")"
    izo_same 'the failure is one line' 1 "$(said_since "$lines" | wc -l)"
    echo 3 > /proc/sys/vm/drop_caches
    izo_contains 'a directory is listed' izo-sample "$(ls /usr/share)"
    izo_contains 'a file is read' trixie "$(cat /etc/os-release)"
    izo_contains 'izoctl says that the log failed' 'TROUBLE     the log met an error' "$(izoctl status /)"
}

main() {
    izo_same 'the system is running' running "$(systemctl is-system-running --wait)"
    check_full_root
    check_without_log
    check_without_journal
    izo_done
}

main
