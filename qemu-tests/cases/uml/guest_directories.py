# SPDX-License-Identifier: GPL-2.0
"""Reading directories: completeness, inode numbers, types, positions, and changes while somebody reads."""

from __future__ import annotations

import errno
import os
import stat

from guest.expect import equal, expect_errno, unlike_tmpfs
from guest.syscalls import getdents, read_directory
from guest.tree import Tree

ALSO_ON = "vintermezzo"

ENTRIES = 5000


def fill(folder: str, count: int) -> list[str]:
    """A directory of so many files with names of mixed length."""
    os.mkdir(folder)
    names = [f"{number:05}-{'x' * (number % 60)}" for number in range(count)]
    for name in names:
        os.mknod(f"{folder}/{name}")
    return names


def test_every_entry_once(tree: Tree) -> None:
    """5,000 entries come once each, with small and large buffers, and are unlinked again."""
    names = fill("big", ENTRIES)
    wanted = sorted([".", "..", *names])
    equal(sorted(e.name for e in read_directory("big")) == wanted, True, "all entries, large buffer")
    equal(sorted(e.name for e in read_directory("big", 600)) == wanted, True, "all entries, small buffer")
    for name in names:
        os.unlink(f"big/{name}")
    os.rmdir("big")


def test_inode_numbers_and_types_agree_with_stat(tree: Tree) -> None:
    """d_ino is st_ino and d_type is the type, for every kind of object and for dot and dotdot."""
    os.mkdir("d")
    tree.write("d/file")
    os.mkdir("d/dir")
    os.symlink("x", "d/link")
    os.mkfifo("d/fifo")
    os.mknod("d/char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod("d/socket", stat.S_IFSOCK | 0o600)
    os.link("d/file", "d/second")
    found = list(read_directory("d"))
    equal(len(found), 9, "entries")
    for entry in found:
        info = os.lstat(f"d/{entry.name}")
        equal((entry.ino, entry.kind), (info.st_ino, stat.S_IFMT(info.st_mode) >> 12), entry.name)


@unlike_tmpfs("the root has inode number 1")
def test_dotdot_of_the_root(tree: Tree) -> None:
    """At the root of the file system dot and dotdot are the same inode, 2."""
    root = os.path.dirname(tree.root)
    found = {entry.name: entry.ino for entry in read_directory(root)}
    equal((found["."], found[".."], os.stat(root).st_ino), (2, 2, 2), "inodes")


def test_positions_can_be_returned_to(tree: Tree) -> None:
    """lseek to any d_off gives the rest of the directory, as telldir and seekdir need."""
    fill("d", 700)
    everything = list(read_directory("d", 1000))
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    for at in (0, 1, 100, 350, 698, 701):
        os.lseek(fd, everything[at].offset, os.SEEK_SET)
        rest = []
        while block := getdents(fd, 2000):
            rest += [entry.name for entry in block]
        equal(rest == [entry.name for entry in everything[at + 1:]], True, f"rest behind entry {at}")
    os.lseek(fd, 0, os.SEEK_SET)
    equal(getdents(fd, 1000)[0].name, everything[0].name, "after rewind")
    os.close(fd)


def test_unlink_while_reading(tree: Tree) -> None:
    """rm -rf's way: every entry is removed as it is read, and none is missed."""
    fill("d", 1000)
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    seen = 0
    while block := getdents(fd, 1500):
        for entry in block:
            if entry.name not in (".", ".."):
                os.unlink(f"d/{entry.name}")
                seen += 1
    os.close(fd)
    equal(seen, 1000, "entries seen")
    os.rmdir("d")


def test_create_while_reading(tree: Tree) -> None:
    """Entries that were there before are all seen once while others are made and removed."""
    names = set(fill("d", 600))
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    seen: list[str] = []
    number = 0
    while block := getdents(fd, 1500):
        seen += [entry.name for entry in block if entry.name in names]
        for _ in range(5):
            os.mknod(f"d/new-{number}")
            if number % 2:
                os.unlink(f"d/new-{number}")
            number += 1
    os.close(fd)
    equal((len(seen), set(seen) == names), (600, True), "old entries")
    for name in os.listdir("d"):
        os.unlink(f"d/{name}")


def test_rewind_sees_changes(tree: Tree) -> None:
    """After a rewind a new entry is listed and a removed one is not."""
    os.mkdir("d")
    tree.write("d/old")
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    equal(sorted(e.name for e in getdents(fd)), [".", "..", "old"], "first pass")
    os.unlink("d/old")
    tree.write("d/new")
    os.lseek(fd, 0, os.SEEK_SET)
    equal(sorted(e.name for e in getdents(fd)), [".", "..", "new"], "second pass")
    os.close(fd)


def test_reading_a_removed_directory(tree: Tree) -> None:
    """A removed directory that is still open reads as empty or gone, as on ext4."""
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir("d")
    expect_errno(errno.ENOENT, getdents, fd)
    equal(os.fstat(fd).st_nlink, 0, "links")
    os.close(fd)


def test_too_small_buffers_and_wrong_descriptors(tree: Tree) -> None:
    """getdents refuses a buffer that holds no entry and a descriptor of a file."""
    tree.write("f")
    os.mkdir("d")
    tree.write("d/" + "n" * 200)
    fd = os.open("d", os.O_RDONLY)
    expect_errno(errno.EINVAL, getdents, fd, 10)
    os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    expect_errno(errno.ENOTDIR, getdents, fd)
    os.close(fd)


def test_two_readers_of_one_directory(tree: Tree) -> None:
    """Two descriptors have two positions; a duplicated one shares."""
    fill("d", 300)
    one = os.open("d", os.O_RDONLY)
    two = os.open("d", os.O_RDONLY)
    twin = os.dup(one)
    first = [e.name for e in getdents(one, 1000)]
    equal([e.name for e in getdents(two, 1000)], first, "the other descriptor starts at the top")
    if [e.name for e in getdents(twin, 1000)] == first:
        raise AssertionError("a duplicate does not share the position")
    for fd in (one, two, twin):
        os.close(fd)


def test_large_directory_survives_renames(tree: Tree) -> None:
    """Renames inside a directory with an index keep every entry findable."""
    names = fill("d", 600)
    for name in names[::3]:
        os.rename(f"d/{name}", f"d/renamed-{name}")
    for name in names:
        os.stat(f"d/renamed-{name}" if names.index(name) % 3 == 0 else f"d/{name}")
    equal(len(os.listdir("d")), 600, "entries")
    for name in os.listdir("d"):
        os.unlink(f"d/{name}")
