# SPDX-License-Identifier: GPL-2.0
# The one parser of the kernel command line for a root on InterMezzo. POSIX sh, sourced, no output.
# shellcheck shell=sh disable=SC2034 # the IZO_ variables are read by who sources this
#
# Grammar: words separated by blanks; double quotes keep blanks together, around a value or the whole
# word; the last of several equal words counts; everything after a lone `--` belongs to init. The table for users is in
# docs/root-filesystem.md, "From an initramfs".
#
#   root=/dev/NAME | UUID=... | LABEL=... | none    the cache device; none for vintermezzo
#   rootfstype=intermezzo | InterMezzo | vintermezzo | another type
#   rootflags=OPTIONS     mount options, as for mount -o
#   ro | rw               how to mount it (ro unless said otherwise)
#   init=PROGRAM          the first program of the system (/sbin/init)
#   rd.izo.timeout=N      seconds to wait for the device (30)
#   rd.izo.debug          a shell on the console when the root cannot be mounted

# Set IZO_ROOT, IZO_TYPE, IZO_FLAGS, IZO_MODE, IZO_INIT, IZO_INIT_ARGS, IZO_TIMEOUT and IZO_DEBUG from
# the command line $1.
izo_parse_cmdline() {
    IZO_ROOT='' IZO_TYPE='' IZO_FLAGS='' IZO_MODE=ro IZO_INIT=/sbin/init IZO_INIT_ARGS=''
    IZO_TIMEOUT=30 IZO_DEBUG=''
    izo_rest=$1
    while izo_next_word; do
        case $izo_word in
            --)
                IZO_INIT_ARGS=${izo_rest# }
                return 0
                ;;
            *) izo_take_word "$izo_word" ;;
        esac
    done
    return 0
}

# Take one word, quotes removed, from izo_rest into izo_word; fail at the end of the line.
izo_next_word() {
    izo_word=''
    while :; do
        case $izo_rest in
            [[:space:]]*) izo_rest=${izo_rest#?} ;;
            *) break ;;
        esac
    done
    [ -n "$izo_rest" ] || return 1
    while [ -n "$izo_rest" ]; do
        case $izo_rest in
            [[:space:]]*) return 0 ;;
            \"*)
                izo_rest=${izo_rest#?}
                izo_word=$izo_word${izo_rest%%\"*}
                case $izo_rest in
                    *\"*) izo_rest=${izo_rest#*\"} ;;
                    *) izo_rest='' ;; # an open quote reaches to the end, as in the kernel
                esac
                ;;
            *)
                izo_plain=${izo_rest%%[[:space:]\"]*}
                izo_word=$izo_word$izo_plain
                izo_rest=${izo_rest#"$izo_plain"}
                ;;
        esac
    done
    return 0
}

izo_take_word() {
    case $1 in
        root=*) IZO_ROOT=${1#root=} ;;
        rootfstype=*) IZO_TYPE=${1#rootfstype=} ;;
        rootflags=*) IZO_FLAGS=${1#rootflags=} ;;
        ro | rw) IZO_MODE=$1 ;;
        init=*) IZO_INIT=${1#init=} ;;
        rd.izo.timeout=*) IZO_TIMEOUT=${1#rd.izo.timeout=} ;;
        rd.izo.debug | rd.izo.debug=1) IZO_DEBUG=1 ;;
    esac
}

# Say in IZO_ERROR what is wrong with the parsed words; fail if something is.
izo_check_words() {
    IZO_ERROR=''
    case $IZO_TYPE in
        '') IZO_ERROR='rootfstype= is missing: write rootfstype=intermezzo on the kernel command line' ;;
        *,*) IZO_ERROR="rootfstype=$IZO_TYPE: give one type, not a list" ;;
        */*) IZO_ERROR="rootfstype=$IZO_TYPE: not the name of a file system" ;;
    esac
    [ -z "$IZO_ERROR" ] || return 1
    case $IZO_ROOT in
        '') IZO_ERROR='root= is missing: write root=/dev/NAME, root=UUID=... or root=LABEL=...' ;;
        none) [ "$IZO_TYPE" = vintermezzo ] ||
            IZO_ERROR="root=none: rootfstype=$IZO_TYPE needs a device" ;;
        /dev/* | UUID=* | LABEL=*) ;;
        *) IZO_ERROR="root=$IZO_ROOT: this initramfs knows /dev/NAME, UUID=, LABEL= and none" ;;
    esac
    case $IZO_TIMEOUT in
        '' | *[!0-9]*) IZO_ERROR="rd.izo.timeout=$IZO_TIMEOUT: not a number of seconds" ;;
    esac
    [ -z "$IZO_ERROR" ]
}

# Print the type of the file system mounted last on directory $1, from the mountinfo text in file $2.
izo_mounted_type() {
    izo_found=''
    while read -r _ _ _ _ izo_where izo_tail; do
        [ "$izo_where" = "$1" ] || continue
        izo_tail=${izo_tail#*- }
        izo_found=${izo_tail%% *}
    done < "$2"
    [ -n "$izo_found" ] && printf '%s\n' "$izo_found"
}
