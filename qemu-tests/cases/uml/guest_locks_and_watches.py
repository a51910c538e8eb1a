# SPDX-License-Identifier: GPL-2.0
"""Locks, leases, inotify and fanotify: the same answers and the same events as on ext4."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
from typing import Callable

from guest.expect import equal, expect_errno, in_child, wait_until
from guest.syscalls import (AT_FDCWD, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, RENAME_EXCHANGE, Inotify, call,
                            fallocate,
                            name_a_nameless, rename)
from guest.tree import Tree

ALSO_ON = "vintermezzo"

OFD_SETLK = 37


def test_flock(tree: Tree) -> None:
    """flock excludes another open of the file, not a duplicate, and goes with the last close."""
    tree.write("f")
    one = os.open("f", os.O_RDWR)
    two = os.open("f", os.O_RDONLY)
    fcntl.flock(one, fcntl.LOCK_EX)
    expect_errno(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_SH | fcntl.LOCK_NB)
    twin = os.dup(one)
    os.close(one)
    expect_errno(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(twin)
    fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(two)


def test_posix_locks(tree: Tree) -> None:
    """fcntl locks of ranges exclude another process and are dropped at any close by the owner."""
    tree.write("f", b"x" * 100)
    fd = os.open("f", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)

    def contender(start: int) -> Callable[[], None]:
        def attempt() -> None:
            other = os.open("f", os.O_RDWR)
            fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, start)
        return attempt
    expect_errno((errno.EAGAIN, errno.EACCES), in_child, contender(5))
    in_child(contender(10))
    asked = struct.pack("=hhxxxxqqixxxx", fcntl.F_WRLCK, 0, 5, 10, 0)
    own = struct.unpack("=hhxxxxqqixxxx", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    equal(own[0], fcntl.F_UNLCK, "no conflict with oneself")
    other = in_child(lambda: list(struct.unpack("=hhxxxxqqixxxx", fcntl.fcntl(
        os.open("f", os.O_RDWR), fcntl.F_GETLK, asked))))
    equal(other, [fcntl.F_WRLCK, 0, 0, 10, os.getpid()], "the lock another process is told of")
    os.close(os.open("f", os.O_RDONLY))
    in_child(contender(5))
    os.close(fd)


def test_open_file_description_locks(tree: Tree) -> None:
    """OFD locks belong to the open, also inside one process."""
    tree.write("f", b"x" * 100)
    one = os.open("f", os.O_RDWR)
    two = os.open("f", os.O_RDWR)
    lock = struct.pack("=hhxxxxqqixxxx", fcntl.F_WRLCK, 0, 0, 50, 0)
    fcntl.fcntl(one, OFD_SETLK, lock)
    expect_errno(errno.EAGAIN, fcntl.fcntl, two, OFD_SETLK, lock)
    os.close(one)
    fcntl.fcntl(two, OFD_SETLK, lock)
    os.close(two)


def test_locks_show_the_block_device(tree: Tree) -> None:
    """/proc/locks names the inode by the numbers stat gives, so lslocks finds the file."""
    tree.write("f")
    fd = os.open("f", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    info = os.fstat(fd)
    word = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    with open("/proc/locks", encoding="ascii") as table:
        found = table.read()
    os.close(fd)
    if word not in found:
        raise AssertionError(f"{word} is not in /proc/locks: {found}")


def test_lease_is_broken_by_an_open(tree: Tree) -> None:
    """A write lease's holder is told when somebody else opens, and the opener waits for it."""
    tree.write("f", b"leased")
    told: list[int] = []
    signal.signal(signal.SIGIO, lambda number, _: told.append(number))
    fd = os.open("f", os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    expect_errno(errno.EAGAIN, in_child, lambda: os.close(os.open("f", os.O_RDONLY | os.O_NONBLOCK)))
    wait_until(lambda: told, "SIGIO")
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    in_child(lambda: os.close(os.open("f", os.O_RDONLY)))
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    told.clear()
    child = os.fork()
    if child == 0:
        os.truncate("f", 0)
        os._exit(0)
    wait_until(lambda: told, "SIGIO at truncate")
    equal(os.waitpid(child, os.WNOHANG)[0], 0, "truncate waits")
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    equal(os.waitpid(child, 0)[1], 0, "truncate")
    os.close(fd)


def record(tree: Tree, watch: Inotify, label: str, action: Callable[[], object]) -> None:
    """Note which events an action causes."""
    watch.events()
    action()
    # A nameless file is called by its inode number, which differs.
    tree.note(label, [(where, what, "#" if name.startswith("#") else name) for where, what,
                      name in watch.events()])


def test_inotify_on_names(tree: Tree) -> None:
    """Creating, linking, renaming and removing give ext4's events in ext4's order."""
    os.makedirs("d/sub")
    os.mkdir("e")
    tree.write("d/f", b"1")
    watch = Inotify()
    watch.watch("d")
    watch.watch("e")
    watch.watch("d/f", "file")
    watch.watch("d/sub", "sub")
    record(tree, watch, "create", lambda: tree.write("d/new"))
    record(tree, watch, "mkdir", lambda: os.mkdir("d/dir"))
    record(tree, watch, "mkfifo", lambda: os.mkfifo("d/fifo"))
    record(tree, watch, "symlink", lambda: os.symlink("x", "d/link"))
    record(tree, watch, "link", lambda: os.link("d/f", "e/hard"))
    record(tree, watch, "rename", lambda: os.rename("d/f", "d/g"))
    record(tree, watch, "rename across", lambda: os.rename("d/g", "e/g"))
    record(tree, watch, "rename over", lambda: os.rename("d/new", "e/g"))
    record(tree, watch, "rename dir", lambda: os.rename("d/sub", "e/sub"))
    record(tree, watch, "exchange", lambda: rename("e/g", "e/hard", RENAME_EXCHANGE))
    record(tree, watch, "unlink", lambda: os.unlink("e/g"))
    record(tree, watch, "last unlink", lambda: os.unlink("e/hard"))
    record(tree, watch, "rmdir", lambda: os.rmdir("e/sub"))
    record(tree, watch, "rmdir of the watched parent", lambda: os.rmdir("d/dir"))
    watch.close()


def test_inotify_on_data(tree: Tree) -> None:
    """Opening, reading, writing, truncating, mapping and closing give ext4's events."""
    os.mkdir("d")
    tree.write("d/f", b"12345")
    watch = Inotify()
    watch.watch("d")
    watch.watch("d/f", "file")
    record(tree, watch, "read", lambda: tree.read("d/f"))
    record(tree, watch, "write", lambda: tree.write("d/f", b"other"))
    record(tree, watch, "truncate", lambda: os.truncate("d/f", 2))
    fd = os.open("d/f", os.O_RDWR)
    record(tree, watch, "ftruncate", lambda: os.ftruncate(fd, 100))
    record(tree, watch, "fallocate", lambda: fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 50))
    record(tree, watch, "pwritev", lambda: os.pwritev(fd, [b"x"], 0))
    record(tree, watch, "preadv", lambda: os.preadv(fd, [bytearray(1)], 0))
    source = os.open("/proc/self/exe", os.O_RDONLY)
    record(tree, watch, "sendfile", lambda: os.sendfile(fd, source, 0, 100))
    record(tree, watch, "copy_file_range", lambda: os.copy_file_range(fd, fd, 10, 0, 50))
    os.close(source)
    record(tree, watch, "close", lambda: os.close(fd))
    record(tree, watch, "tmpfile", lambda: name_a_nameless("d/t", b"x"))
    record(tree, watch, "listing", lambda: os.listdir("d"))
    watch.close()


def test_inotify_on_attributes(tree: Tree) -> None:
    """chmod, chown, utime, xattr, ACL and chattr give ATTRIB to file and parent, as on ext4."""
    os.mkdir("d")
    tree.write("d/f", b"12345")
    watch = Inotify()
    watch.watch("d")
    watch.watch("d/f", "file")
    record(tree, watch, "chmod", lambda: os.chmod("d/f", 0o600))
    record(tree, watch, "chown", lambda: os.chown("d/f", 1, 2))
    record(tree, watch, "utime", lambda: os.utime("d/f"))
    record(tree, watch, "setxattr", lambda: os.setxattr("d/f", "user.x", b"1"))
    record(tree, watch, "removexattr", lambda: os.removexattr("d/f", "user.x"))
    record(tree, watch, "failed removexattr", lambda: expect_errno(errno.ENODATA, os.removexattr, "d/f",
                                                                   "user.x"))
    record(tree, watch, "chmod dir", lambda: os.chmod("d", 0o700))
    watch.close()


def test_inotify_sees_children_never_looked_up(tree: Tree) -> None:
    """A directory watch reports a change to a child whose dentry was dropped from the cache."""
    os.mkdir("d")
    tree.write("d/f", b"1")
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write("2")
    watch = Inotify()
    watch.watch("d")
    os.chmod("d/f", 0o600)
    tree.note(watch.events())
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write("3")
    tree.write("d/f", b"2")
    tree.note(watch.events())
    watch.close()


def test_fanotify_permission_events(tree: Tree) -> None:
    """A permission watcher of the whole mount decides opens, and a denied open fails with EPERM."""
    tree.write("allowed", b"1")
    tree.write("denied", b"2")
    group = call("fanotify_init", 0x4 | 0x2, os.O_RDONLY)
    call("fanotify_mark", group, 0x1, 0x00010000 | 0x08000000, AT_FDCWD, tree.root)
    child = os.fork()
    if child == 0:
        os.close(os.open("allowed", os.O_RDONLY))
        expect_errno(errno.EPERM, os.open, "denied", os.O_RDONLY)
        os._exit(0)
    answered = 0
    while answered < 2:
        wait_readable(group)
        data = os.read(group, 4096)
        for at in range(0, len(data), 24):
            fd = struct.unpack_from("=i", data, at + 16)[0]
            name = os.readlink(f"/proc/self/fd/{fd}")
            os.write(group, struct.pack("=iI", fd, 2 if name.endswith("/denied") else 1))
            os.close(fd)
            answered += 1
    equal(os.waitpid(child, 0)[1], 0, "the opener")
    os.close(group)


def wait_readable(fd: int) -> None:
    """Wait until an event is there."""
    import select
    if not select.select([fd], [], [], 20)[0]:
        raise AssertionError("no fanotify event within 20 s")


def test_locks_of_a_deleted_file(tree: Tree) -> None:
    """Locks work on a file without a name and on its second open by /proc."""
    tree.write("f")
    one = os.open("f", os.O_RDWR)
    os.unlink("f")
    two = os.open(f"/proc/self/fd/{one}", os.O_RDWR)
    fcntl.flock(one, fcntl.LOCK_EX)
    expect_errno(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(one)
    os.close(two)
