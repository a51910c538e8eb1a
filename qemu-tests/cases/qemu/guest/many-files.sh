# SPDX-License-Identifier: GPL-2.0
# In one of two small guests: an empty client gets a tree of 10,000 files that the server had before, and then makes
# one of as many. Each says the sum of what it made: names, and contents.
# shellcheck shell=sh

LIMIT=${IZO_LIMIT:?and how many seconds one step may take}
FILES=10000

# A hundred folders with a hundred files of 4 KiB each.
make_tree() {
    for folder in $(seq 100); do
        mkdir -p "$TREE/of-$ROLE/$folder"
        for file in $(seq 100); do
            printf '%4000s of the %s\n' "$folder-$file" "$ROLE" > "$TREE/of-$ROLE/$folder/$file" || return
        done
    done
}
sum_of() {
    (cd "$TREE/of-$1" && find . | sort && find . -type f | sort | xargs sha256sum) | sha256sum
}
has_all_of_the_others() {
    [ "$(find "$TREE/of-$OTHER" -type f 2> /dev/null | wc -l)" -eq $FILES ] &&
        [ -s "$SAID/$OTHER-sum" ] && [ "$(sum_of "$OTHER")" = "$(cat "$SAID/$OTHER-sum")" ]
}

made() {
    izo_check 'a tree of 10,000 files is made' make_tree
    say sum "$(sum_of "$ROLE")"
}

server() {
    mkdir "$SAID"
    made
    start_intersync
    # Now the client begins.
    izo_check 'the card has its address' network_up
    await "$LIMIT" 'the client has the tree' other_says seen yes
    await "$LIMIT" "the client's tree is here" has_all_of_the_others
    say seen yes
    wait_for "$LIMIT" 'the client has gone' is_out_of_reach 10.7.7.2
    stop_intersync
}

client() {
    izo_check 'the card has its address' network_up
    await "$LIMIT" 'the server is ready' ping -c 1 -W 1 10.7.7.1
    start_intersync
    await "$LIMIT" "the server's tree is here" has_all_of_the_others
    say seen yes
    made
    await "$LIMIT" 'the server has the tree' other_says seen yes
    stop_intersync
}

main() {
    izo_check 'the disk is mounted' mount -t intermezzo -o rw,fileset=rootset,mtp=/mnt /dev/vda "$TREE"
    if [ "$ROLE" = server ]; then server; else client; fi
    tail -n 60 /tmp/intersync.log
    izo_done
}

main
