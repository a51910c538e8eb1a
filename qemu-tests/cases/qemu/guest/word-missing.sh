# SPDX-License-Identifier: GPL-2.0
# In a Debian guest whose fstab line lacks one of the two words: the remount is refused and the word named;
# with both words given by hand the root becomes read-write.
# shellcheck shell=sh

WORD=${IZO_WORD:?the host says which word is missing}

root_options() { findmnt --noheadings --output VFS-OPTIONS /; }

# Print what a command says, and whether it failed.
refused() {
    if "$@" 2>&1; then
        printf 'NOT REFUSED\n'
    fi
}

kernel_log_about_the_remount() { dmesg | grep 'intermezzo: .*cannot become read-write'; }

main() {
    systemctl is-system-running --wait > /dev/null
    izo_same 'systemd-remount-fs failed' failed "$(systemctl is-failed systemd-remount-fs.service)"
    izo_contains 'the kernel log names the missing word' "$WORD=" "$(kernel_log_about_the_remount)"
    izo_contains 'the root stays read-only' ro, "$(root_options),"
    izo_contains 'writing still says read-only' 'Read-only file system' "$(LC_ALL=C touch /probe 2>&1)"
    izo_contains 'mount without words is refused as well' refused \
        "refused: $(refused mount -o remount,rw /dev/vda /)"
    # An image with the word in its fstab must not be needed to repair the system by hand.
    izo_check 'both words by hand make it read-write' \
        mount -o remount,rw,fileset=rootset,mtp=/ /dev/vda /
    izo_contains 'the root is read-write then' rw, "$(root_options),"
    izo_check 'a file can be written then' touch /probe
    izo_check 'the file can be removed' rm /probe
    izo_done
}

main
