# SPDX-License-Identifier: GPL-2.0
# Speaks the verdict protocol of harness/verdict.py from a guest. POSIX sh, prepended to each script.
# shellcheck shell=sh

IZO_CHECKS=0
IZO_CHANNEL=/dev/ttyS1

# Print the nonce of this run from the kernel command line.
izo_nonce() {
    read -r words < /proc/cmdline
    for word in $words; do
        case $word in
            izo.nonce=*) printf '%s\n' "${word#izo.nonce=}" ;;
        esac
    done
}

izo_say() {
    printf 'IZO %s %s\n' "$(izo_nonce)" "$*" | tr '\n' ' ' > "$IZO_CHANNEL"
    printf '\n' > "$IZO_CHANNEL"
    printf '== %s\n' "$*"
}

# izo_ok NAME / izo_not_ok NAME REASON: the outcome of one check.
izo_ok() {
    IZO_CHECKS=$((IZO_CHECKS + 1))
    izo_say ok "$1"
}

izo_not_ok() {
    IZO_CHECKS=$((IZO_CHECKS + 1))
    izo_say not-ok "$1: $2"
}

izo_fact() { izo_say fact "$1: $2"; }

izo_done() { izo_say 'done' "$IZO_CHECKS"; }

# izo_check NAME COMMAND...: ok if the command succeeds; its output is the reason if not.
izo_check() {
    izo_name=$1
    shift
    if izo_output=$("$@" 2>&1); then
        izo_ok "$izo_name"
    else
        izo_not_ok "$izo_name" "$* -> $? ${izo_output:-(no output)}"
    fi
}

# izo_same NAME EXPECTED ACTUAL
izo_same() {
    if [ "$2" = "$3" ]; then
        izo_ok "$1"
    else
        izo_not_ok "$1" "expected '$2', found '$3'"
    fi
}

# izo_contains NAME NEEDLE TEXT
izo_contains() {
    case $3 in
        *"$2"*) izo_ok "$1" ;;
        *) izo_not_ok "$1" "no '$2' in '$3'" ;;
    esac
}
