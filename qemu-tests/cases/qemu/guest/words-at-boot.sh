# SPDX-License-Identifier: GPL-2.0
# In a Debian guest whose root got its words and rw on the kernel command line.
# shellcheck shell=sh

TYPE=${IZO_TYPE:?the host says which type the root has}

# Type and both sets of options of / in mountinfo file $1, without the word ro or rw of the mount point.
root_line() {
    while read -r _ _ _ _ where options tail; do
        [ "$where" = / ] || continue
        printf '%s %s\n' "$options" "${tail#*- }"
    done < "$1"
}

main() {
    izo_same 'no unit failed' '' "$(systemctl --failed --plain --no-legend)"
    izo_same 'the system is running' running "$(systemctl is-system-running --wait)"
    early=$(root_line /run/izo-early/mountinfo)
    izo_same 'the root is read-write from the start' "rw $TYPE written" \
        "$(printf '%s\n' "$early" | sed 's/^\([^ ,]*\)[^ ]* \([^ ]*\) .*/\1 \2/') $(cat /run/izo-early/write-attempt)"
    izo_same 'the remount changed nothing' "$early" "$(root_line /proc/self/mountinfo)"
    rm -f /izo-early-write
    izo_done
}

main
