# SPDX-License-Identifier: GPL-2.0
# In one of two guests whose /mnt are replicas: one writes texts, the other receives them. The host cuts the power of
# the receiver, and then of the writer.
# shellcheck shell=sh

COUNT=${IZO_COUNT:?the host says how many texts; none for the one that receives them}
SEED=${IZO_SEED:?the host says which}
LIMIT=120

# Applying waits for no commit, and the cache's own come every five seconds: states between two changes are wanted.
commit() {
    while :; do
        sync /mnt/.intermezzo/rootset/kml
        usleep 40000
    done
}

main() {
    izo_check 'the disk is mounted' mount -t intermezzo -o rw,fileset=rootset,mtp=/mnt /dev/vda /mnt
    izo_check 'the card has its address' network_up
    start_intersync
    if [ "$COUNT" -gt 0 ]; then
        await $LIMIT 'the receiver is connected' other_says hello "$SEED"
        text_writer write /mnt/texts "$ROLE" "$SEED" "$COUNT"
        izo_same 'the texts are written' 0 $?
    else
        commit &
        say hello "$SEED"
    fi
    count_what_comes
}

main
