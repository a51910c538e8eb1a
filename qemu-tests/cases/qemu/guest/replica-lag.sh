# SPDX-License-Identifier: GPL-2.0
# In one of two benchmark guests: files of 4 KiB, one after the other, first from the client to the server, then back.
# What is measured goes to the host as it is said.
# shellcheck shell=sh

COUNT=${IZO_COUNT:?the host says how many files}

probe_writes() {
    replica_probe write "$1" "$2" "$COUNT"
    izo_same "the files of $1 were seen" 0 $?
}

main() {
    izo_check 'the disk is mounted' mount -t intermezzo -o rw,fileset=rootset,mtp=/mnt /dev/vda /mnt
    izo_check 'the card has its address' network_up
    start_intersync
    if [ "$ROLE" = server ]; then
        mkdir /mnt/up /mnt/down
        izo_check 'all files of the client came' replica_probe read /mnt/up
        probe_writes /mnt/down 10.7.7.2
    else
        await 60 'the directories are here' test -d /mnt/down
        probe_writes /mnt/up 10.7.7.1
        izo_check 'all files of the server came' replica_probe read /mnt/down
    fi
    stop_intersync
    izo_done
}

main
