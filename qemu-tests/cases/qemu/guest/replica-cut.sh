# SPDX-License-Identifier: GPL-2.0
# In one of two guests whose /mnt are replicas: texts are written on both sides at once. One of the two loses its
# power meanwhile and comes back (IZO_PART=again). Both go on until both have the same.
# shellcheck shell=sh

PART=${IZO_PART:?the host says whether this is the first boot or the one after the cut}
COUNT=${IZO_COUNT:?the host says how many texts}
SEED=${IZO_SEED:?the host says which}
LIMIT=120

same_as_the_other() {
    text_writer manifest /mnt | grep -v '^/said[/ ]\|^/lost+found \|^/.intermezzo' > /tmp/manifest
    mine=$(sha256sum < /tmp/manifest)
    has_text "$SAID/$ROLE-manifest" "$mine" || say manifest "$mine"
    other_says manifest "$mine"
}

main() {
    izo_check 'the disk is mounted' mount -t intermezzo -o rw,fileset=rootset,mtp=/mnt /dev/vda /mnt
    izo_check 'the card has its address' network_up
    start_intersync
    if [ "$PART" = first ]; then
        say hello "$SEED"
        await $LIMIT 'both are connected' other_says hello "$SEED"
    fi
    # What they say goes to the host as it is said.
    count_what_comes &
    counter=$!
    text_writer write /mnt/texts "$ROLE-$PART" "$SEED" "$COUNT"
    izo_same 'the texts are written' 0 $?
    kill "$counter"
    await $LIMIT 'both are the same' same_as_the_other
    if [ "$ROLE" = server ]; then
        say seen yes
        await $LIMIT 'the client has seen that' other_says seen yes
    else
        await $LIMIT 'the server says so too' other_says seen yes
        say seen yes
        await $LIMIT 'the server has gone' is_out_of_reach 10.7.7.1
    fi
    stop_intersync
    tail -n 100 /tmp/intersync.log
    izo_done
}

main
