# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the scripts of this folder share: messages, where things are kept, and the one kernel tree
# ($LINUX/src: pristine source + our patch) that both kernels are built from.

export LC_ALL=C
# A caller's make must not hand its jobserver, or V=1, to the kernel's.
unset MAKEFLAGS MFLAGS MAKELEVEL V
HERE="$(cd "${BASH_SOURCE[0]%/*}" && pwd)"
TOP="${HERE%/*}"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/intermezzo"
LINUX="$CACHE/linux"
SERIES=6.12
TEST_PATCH="$TOP/qemu-tests/kernel/uml.patch"

info() { printf '%s\n' "$*" >&2; }
die() {
    info "${0##*/}: $*"
    exit 1
}

# One process at a time may change the tree or build in it; the lock goes with the process.
tree_lock() {
    mkdir -p "$LINUX"
    exec 9> "$LINUX/lock"
    flock -n 9 && return
    info "another build holds $LINUX: waiting for it"
    flock 9
}

# source_id <tarball or directory>: names its content. The hash of a tarball is kept, as it takes most of a second.
source_id() {
    local path=$1 stamp
    if [[ -d $path ]]; then
        (cd "$path" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' | sort | sha256sum | cut -c1-64)
        return
    fi
    stamp="$LINUX/sha256-$(stat -c '%n %s %Y' "$path" | sha256sum | cut -c1-16)"
    if [[ ! -s $stamp ]]; then
        mkdir -p "$LINUX"
        sha256sum "$path" | cut -c1-64 > "$stamp.$$"
        mv "$stamp.$$" "$stamp"
    fi
    cat "$stamp"
}

# whole_patch: what is applied to the tree. The test patch touches arch/x86/um only, so one tree serves both kernels.
whole_patch() {
    "$HERE/create-patch" "$SERIES"
    cat "$TEST_PATCH"
}

# tree_prepare <source> <source id>: makes $LINUX/src that source with the current patch. The caller holds the lock.
tree_prepare() {
    local source=$1 id=$2 wanted
    wanted="$LINUX/wanted.patch"
    whole_patch > "$wanted"
    if [[ $(cat "$LINUX/src.id" 2> /dev/null) == "$id" && -f $LINUX/applied.patch ]]; then
        cmp -s "$wanted" "$LINUX/applied.patch" && return
        if tree_change_patch "$wanted"; then
            return
        fi
        info "the old patch does not come off cleanly: starting from the pristine source again"
    fi
    tree_extract "$source"
    tree_apply "$wanted" || die "the patch does not apply to $source: see $LINUX/patch.log; is the source pristine $SERIES?"
    mv "$wanted" "$LINUX/applied.patch"
    printf '%s\n' "$id" > "$LINUX/src.id"
}

# A new tree comes with old file times, which make would take for "nothing changed": the build folders go too.
tree_extract() {
    local source=$1 new="$LINUX/src.new"
    info "unpacking $source"
    rm -rf "$LINUX"/{src,src.id,applied.patch,applied.patch.old,kept} "$LINUX"/build-* "$new"
    mkdir -p "$new"
    if [[ -d $source ]]; then
        cp -a --reflink=auto "$source/." "$new/"
        rm -rf "$new/.git"
    else
        tar -xf "$source" -C "$new" --strip-components=1 || die "cannot unpack $source: is the disk full, or the file damaged?"
    fi
    [[ ! -e $new/.config && ! -e $new/include/config ]] || die "KSRC=$source holds a build: run 'make mrproper' there, or give a pristine tree"
    mv "$new" "$LINUX/src"
    tree_is_tested
}

tree_version() {
    sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = *//p' "$LINUX/src/Makefile" | paste -sd.
}

tree_is_tested() {
    local version
    version=$(tree_version)
    [[ $version == "$SERIES".* ]] || die "the source is Linux $version: give a $SERIES tree or tarball as KSRC="
    grep -q "^${version//./\\.}-" "$HERE/series/$SERIES/TESTED" ||
        info "note: Linux $version is not in kernel-patch/series/$SERIES/TESTED; trying it all the same"
}

tree_apply() {
    patch -d "$LINUX/src" -p1 --fuzz=0 --no-backup-if-mismatch --force < "$1" > "$LINUX/patch.log" 2>&1
}

# tree_change_patch <new patch>: takes the stored patch off and puts the new one on. Files that end up with the content
# they had keep their times, so that only what really changed is compiled again.
tree_change_patch() {
    local wanted=$1 old="$LINUX/applied.patch.old" kept="$LINUX/kept" file
    mv "$LINUX/applied.patch" "$old"
    rm -rf "$kept"
    mkdir -p "$kept"
    sed -n 's,^+++ b/,,p' "$old" | (cd "$LINUX/src" && xargs cp -p --parents -t "$kept") || return 1
    patch -d "$LINUX/src" -p1 --fuzz=0 --no-backup-if-mismatch --force -R -E < "$old" > "$LINUX/patch.log" 2>&1 || return 1
    tree_apply "$wanted" || return 1
    while IFS= read -r file; do
        if cmp -s "$kept/$file" "$LINUX/src/$file"; then
            touch -r "$kept/$file" "$LINUX/src/$file"
        fi
    done < <(cd "$kept" && find . -type f -printf '%P\n')
    rm -rf "$kept"
    mv "$wanted" "$LINUX/applied.patch"
    rm -f "$old"
}
