# SPDX-License-Identifier: GPL-2.0
"""Reintegration under those who use the tree: working directories, mounts, leases, a freeze, watches and
readers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import signal
import stat
import struct
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

from guest.changes import ACL_TWO_USERS
from guest.disks import check_ext, run
from guest.expect import equal, expect_errno, intermezzo_only, start_child, wait_until
from guest.kml import Log
from guest.mounting import MS_BIND, mount_old, umount
from guest.reint import Replica, position, raw_records, submit
from guest.reint_pair import all_stored, same, tree, two
from guest.syscalls import (AT_FDCWD, CLONE_NEWNS, RENAME_EXCHANGE, RENAME_WHITEOUT, UTIME_OMIT, Inotify,
                            call, name_a_nameless, rename)

CASE_DEADLINE = 120
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, NODUMP = 0x80086601, 0x40086602, 0x40
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
PAGE = 4096


@intermezzo_only
def test_a_working_directory_moves_with_its_names(disk: str, second_disk: str) -> None:
    """A process whose working directory a peer renames, moves, exchanges, or moves an ancestor of, is in the
    same directory under its new path, and what it opens relative to it is there; in one that a peer removes
    it has no path and can make nothing, and can leave it."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        os.makedirs(f"{peer}/one/cwd/below")
        os.makedirs(f"{peer}/other/sibling")
        Path(f"{peer}/one/cwd/f").write_bytes(b"text 0")
        all_stored(replica.pull())
        moves: tuple[tuple[Callable[[], object], str], ...] = (
            (lambda: os.rename(f"{peer}/one/cwd", f"{peer}/one/renamed"), "one/renamed"),
            (lambda: os.rename(f"{peer}/one/renamed", f"{peer}/other/moved"), "other/moved"),
            (lambda: os.rename(f"{peer}/other", f"{peer}/elsewhere"), "elsewhere/moved"),
            (lambda: rename(f"{peer}/elsewhere/moved", f"{peer}/one", RENAME_EXCHANGE), "one"))
        os.chdir(f"{here}/one/cwd")
        try:
            for number, (move, path) in enumerate(moves, 1):
                move()
                all_stored(replica.pull())
                equal(os.getcwd(), f"{here}/{path}", "the working directory")
                equal(Path("f").read_bytes(), b"text %d" % (number - 1), f"{path}: a file there")
                Path(f"{peer}/{path}/f").write_bytes(b"text %d" % number)
                all_stored(replica.pull())
                equal(Path("f").read_bytes(), b"text %d" % number, f"{path}: its new body")
                equal(sorted(os.listdir(".")), ["below", "f"], f"{path}: names there")
                equal(os.path.samefile("..", os.path.dirname(f"{here}/{path}")), True, f"{path}: above")
            os.unlink(f"{peer}/one/f")
            os.rmdir(f"{peer}/one/below")
            os.rmdir(f"{peer}/one")
            all_stored(replica.pull())
            expect_errno(errno.ENOENT, os.getcwd)
            expect_errno(errno.ENOENT, os.open, "f", os.O_RDONLY)
            expect_errno(errno.ENOENT, os.open, "new", os.O_CREAT | os.O_WRONLY)
            expect_errno(errno.ENOENT, os.mkdir, "new")
            equal(os.stat(".").st_nlink, 0, "links of the removed directory")
            os.chdir("..")
            equal(os.getcwd(), here, "where it was")
        finally:
            os.chdir("/")
        same(peer, here)


def mount_over(path: str) -> None:
    """Something on it: a tmpfs, or on a file another file."""
    if os.path.isdir(path):
        mount_old("none", path, "tmpfs")
    else:
        mount_old("/proc/version", path, "none", flags=MS_BIND)


@contextlib.contextmanager
def mounted_here(path: str) -> Iterator[None]:
    """In this mount namespace."""
    mount_over(path)
    try:
        yield
    finally:
        umount(path)


@contextlib.contextmanager
def mounted_elsewhere(path: str) -> Iterator[None]:
    """In a mount namespace of a child's own; here nothing is to be seen of it."""
    ready, to_go = os.pipe(), os.pipe()

    def other() -> None:
        os.close(to_go[1])
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_REC | MS_PRIVATE, None)
        mount_over(path)
        os.write(ready[1], b".")
        os.read(to_go[0], 1)
        umount(path)

    child = start_child(other)
    os.close(ready[1])
    os.close(to_go[0])
    try:
        equal(os.read(ready[0], 1), b".", "the other's mount")
        equal(os.path.ismount(path), False, "a mount here")
        yield
    finally:
        os.close(to_go[1])
        os.close(ready[0])
        equal(os.waitpid(child, 0)[1], 0, "the child with the mount")


def is_kept_while_mounted(replica: Replica, name: str, change: Callable[[], object]) -> None:
    """The peer's change of what is mounted on, in either namespace, does nothing and moves no position; when
    nothing is mounted there any more the same record applies."""
    for where, mounting in (("here", mounted_here), ("elsewhere", mounted_elsewhere)):
        path = f"{replica.root}/{where}/{name}"
        replica_recno = replica.recno
        os.chdir(f"{replica.peer_root}/{where}")
        try:
            change()
        finally:
            os.chdir("/")
        with mounting(path):
            before = tree(replica.root), Log.of_mount(replica.root).received
            said = replica.pull()[-1].code
            equal((said, replica.recno), ("mounted", replica_recno), f"{where} {name}")
            after = tree(replica.root), Log.of_mount(replica.root).received
            equal(after, before, f"{where} {name}: after it")
        all_stored(replica.pull())
        equal(replica.recno, replica_recno + 1, f"{where}/{name}: records applied without the mount")


@contextlib.contextmanager
def with_mount_points(disk: str, second_disk: str) -> Iterator[Replica]:
    """A directory and files to mount on, one for each namespace; both trees are the same afterwards."""
    with two(disk, second_disk) as replica:
        for where in ("here", "elsewhere"):
            os.makedirs(f"{replica.peer_root}/{where}/d")
            for name in ("f", "g", "new"):
                Path(f"{replica.peer_root}/{where}/{name}").write_bytes(name.encode())
        all_stored(replica.pull())
        yield replica
        same(replica.peer_root, replica.root)
    check_ext(second_disk)


@intermezzo_only
def test_a_directory_with_a_mount_is_not_removed(disk: str, second_disk: str) -> None:
    """Not by RMDIR while something is mounted there, in this or another mount namespace; then it is."""
    with with_mount_points(disk, second_disk) as replica:
        is_kept_while_mounted(replica, "d", lambda: os.rmdir("d"))


@intermezzo_only
def test_a_file_with_a_mount_is_not_removed(disk: str, second_disk: str) -> None:
    """Not by UNLINK, and not by a RENAME of another file over it."""
    with with_mount_points(disk, second_disk) as replica:
        is_kept_while_mounted(replica, "f", lambda: os.unlink("f"))
        is_kept_while_mounted(replica, "g", lambda: os.rename("new", "g"))


@intermezzo_only
def test_a_file_with_a_mount_gets_no_new_body(disk: str, second_disk: str) -> None:
    """Not by CLOSE: the mount would be on a file that has no name any more."""
    with with_mount_points(disk, second_disk) as replica:
        is_kept_while_mounted(replica, "f", lambda: os.truncate("f", 1))


@contextlib.contextmanager
def told_of_leases() -> Iterator[list[int]]:
    """The SIGIOs by which the holder of a lease hears that somebody waits for it."""
    told: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _: told.append(number))
    try:
        yield told
    finally:
        signal.signal(signal.SIGIO, before)


@intermezzo_only
def test_a_body_waits_for_a_lease(disk: str, second_disk: str) -> None:
    """With a read or write lease on the file its holder is told, and the body is `stopped`, without waiting,
    with nothing done, as often as it comes; when the lease is given up it applies, and the holder has the old
    body."""
    with two(disk, second_disk) as replica, told_of_leases() as told:
        for lease, name in ((fcntl.F_RDLCK, "read"), (fcntl.F_WRLCK, "write")):
            here, peer = f"{replica.root}/{name}", f"{replica.peer_root}/{name}"
            Path(peer).write_bytes(b"old")
            all_stored(replica.pull())
            told.clear()
            holder = os.open(here, os.O_RDONLY)
            fcntl.fcntl(holder, fcntl.F_SETLEASE, lease)
            # `tree` would open the file, and break the lease
            before = os.stat(here), Log.of_mount(replica.root).received
            Path(peer).write_bytes(b"new")
            for turn in ("first", "second"):
                said = replica.pull()[-1]
                equal((said.code, said.error), ("stopped", -errno.EAGAIN), f"{name}: the {turn} answer")
                wait_until(lambda: told, "SIGIO")
                equal(fcntl.fcntl(holder, fcntl.F_GETLEASE), fcntl.F_UNLCK, f"{name}: what stays")
                equal((os.stat(here), Log.of_mount(replica.root).received), before, f"{name}: what is there")
            equal(len(told), 1, f"{name}: SIGIOs")
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            all_stored(replica.pull())
            equal((os.pread(holder, 9, 0), Path(here).read_bytes()), (b"old", b"new"), f"{name}: the bodies")
            os.close(holder)
        same(replica.peer_root, replica.root)


@intermezzo_only
def test_a_lease_does_not_keep_a_name(disk: str, second_disk: str) -> None:
    """An UNLINK, a RENAME and a mode are applied to a file with a lease as unlink(2), rename(2) and chmod(2)
    are: its holder keeps lease and file, and is told nothing."""
    with two(disk, second_disk) as replica, told_of_leases() as told:
        names = ("local", "peers")
        for name in names:
            Path(f"{replica.peer_root}/{name}").write_bytes(b"text")
        all_stored(replica.pull())
        holders = [os.open(f"{replica.root}/{name}", os.O_RDONLY) for name in names]
        for holder in holders:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        for name, root in zip(names, (replica.root, replica.peer_root)):
            os.chmod(f"{root}/{name}", 0o600)
            os.rename(f"{root}/{name}", f"{root}/{name}-moved")
            os.unlink(f"{root}/{name}-moved")
        all_stored(replica.pull())
        found = [(fcntl.fcntl(holder, fcntl.F_GETLEASE), os.fstat(holder).st_nlink, os.pread(holder, 9, 0))
                 for holder in holders]
        equal(found, [(fcntl.F_WRLCK, 0, b"text")] * 2, "leases, links and texts")
        equal((told, [name for name in os.listdir(replica.root) if name.startswith(names)]), ([], []),
              "SIGIOs, and names that are left")
        for holder in holders:
            os.close(holder)


@intermezzo_only
def test_a_frozen_file_system_stops_a_batch(disk: str, second_disk: str) -> None:
    """Nothing waits for the thaw: names, bodies, what is to be skipped and positions are put off at once and
    nothing is done; after the thaw the same batch applies."""
    with two(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(b"old")
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/f").write_bytes(b"new")
        os.mkdir(f"{replica.peer_root}/d")
        log = Log.of_mount(replica.peer_root)
        replica.look_at_peer(log.self_index)
        new = [found for found in raw_records(log) if found[0].recno > replica.recno]
        operations = [replica.operation(*found, {}) for found in new]
        batch = [op.encode() for op in operations]
        operations[0].skip = 1000
        skipped = operations[0].encode()
        here = Log.of_mount(replica.root)
        before, end = (tree(replica.root), here.received), here.end_of_committed
        folder = os.open(replica.root, os.O_RDONLY)
        fcntl.ioctl(folder, FIFREEZE, 0)
        try:
            for one in (batch, batch[1:] if len(batch) > 2 else batch, [skipped]):
                said = submit(replica.root, replica.peer, log.epoch, one, decided=end)
                equal([(r.code, r.error) for r in said], [("stopped", -errno.EAGAIN)], "the answer")
            expect_errno(errno.EAGAIN, position, replica.root, replica.peer)
        finally:
            fcntl.ioctl(folder, FITHAW, 0)
            os.close(folder)
        equal((tree(replica.root), Log.of_mount(replica.root).received), before, "after the thaw")
        said = submit(replica.root, replica.peer, log.epoch, batch,
                      decided=Log.of_mount(replica.root).end_of_committed)
        equal([r.code for r in said], ["applied"] * len(batch), "the same batch")
        while replica.bodies:
            os.close(replica.bodies.pop())
        same(replica.peer_root, replica.root)
    check_ext(second_disk)


@intermezzo_only
def test_watches_see_a_body_as_an_editors_save(disk: str, second_disk: str) -> None:
    """A watch on a directory sees each name moved there; one on the file ends with it: what rename(2) of a
    new file over the old one makes them see."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        os.mkdir(f"{peer}/d")
        for name in ("saved", "f", "one"):
            Path(f"{peer}/d/{name}").write_bytes(b"old")
        os.link(f"{peer}/d/one", f"{peer}/d/two")
        all_stored(replica.pull())
        Path(f"{here}/new").write_bytes(b"new")

        def seen(name: str, change: Callable[[], object],
                 reader: bool = False) -> list[tuple[str, str, str]]:
            watch = Inotify()
            holder = os.open(f"{here}/d/{name}", os.O_RDONLY)
            watch.watch(f"{here}/d", "directory")
            watch.watch(f"{here}/d/{name}", "file")
            if not reader:
                os.close(holder)
                watch.events()
            change()
            events = watch.events()
            if reader:
                os.close(holder)
                events += [("the reader", "goes", ""), *watch.events()]
            watch.close()
            return events

        def body(name: str) -> None:
            Path(f"{peer}/d/{name}").write_bytes(b"new")
            all_stored(replica.pull())

        saved = seen("saved", lambda: os.rename(f"{here}/new", f"{here}/d/saved"))
        ended = [("file", "ATTRIB", ""), ("file", "DELETE_SELF", ""), ("file", "IGNORED", "")]
        equal(sorted(saved), [("directory", "MOVED_TO", "saved"), *ended], "an editor's save")
        equal(sorted(seen("f", lambda: body("f"))), [("directory", "MOVED_TO", "f"), *ended], "a body")
        equal(sorted(seen("one", lambda: body("two"))),
              [("directory", "MOVED_TO", "one"), ("directory", "MOVED_TO", "two"), *ended], "of two names")
        held = seen("f", lambda: body("f"), reader=True)
        goes = held.index(("the reader", "goes", ""))
        equal(sorted(held[:goes]), [("directory", "MOVED_TO", "f"), ended[0]], "with a reader")
        equal(("file", "DELETE_SELF", "") in held[goes:], True, f"when the reader goes: {held[goes:]}")


def write(name: str, flags: int = 0) -> None:
    """A body for a file."""
    fd = os.open(name, os.O_WRONLY | flags)
    os.write(fd, b"text")
    os.close(fd)


def set_no_dump(name: str) -> None:
    """As chattr(1) does."""
    fd = os.open(name, os.O_RDONLY)
    flags, = struct.unpack("=Q", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=Q", flags | NODUMP))
    os.close(fd)


def set_time(name: str, which: int) -> None:
    """One of the times: of access (0) or of modification (1)."""
    times = [(0, UTIME_OMIT)] * 2
    times[which] = (1, 3)
    call("utimensat", AT_FDCWD, name, struct.pack("=qqqq", *times[0], *times[1]), 0)


class Alike(NamedTuple):
    """A change of a tree, and which of its objects are watched then, beside the directories d and e."""
    name: str
    change: Callable[[], object]
    watched: tuple[str, ...] = ()


class Different(NamedTuple):
    """A change that reintegration makes in another way: all events of the call, and all of reintegration."""
    name: str
    change: Callable[[], object]
    watched: tuple[str, ...]
    of_the_call: list[str]
    applied: list[str]


ACL = "system.posix_acl_access"
ALIKE = (
    Alike("mkdir", lambda: os.mkdir("d/dir")),
    Alike("mkfifo", lambda: os.mkfifo("d/fifo")),
    Alike("mknod", lambda: os.mknod("d/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))),
    Alike("mknod of a file", lambda: os.mknod("d/made", stat.S_IFREG | 0o600)),
    Alike("symlink", lambda: os.symlink("f", "d/symlink")),
    Alike("link", lambda: os.link("d/f", "e/hard"), ("d/f",)),
    Alike("link of a symlink", lambda: os.link("d/symlink", "e/symlink", follow_symlinks=False)),
    Alike("chmod", lambda: os.chmod("d/f", 0o600), ("d/f",)),
    Alike("chmod by another name", lambda: os.chmod("e/hard", 0o640), ("d/f",)),
    Alike("chown", lambda: os.chown("d/f", 1, 2), ("d/f",)),
    Alike("chown of a set-id file", lambda: os.chown("d/set-id", 1, 2), ("d/set-id",)),
    Alike("chown of a symlink", lambda: os.lchown("d/symlink", 1, 2)),
    Alike("both times", lambda: os.utime("d/f", ns=(1, 2)), ("d/f",)),
    Alike("the modification time", lambda: set_time("d/f", 1), ("d/f",)),
    Alike("setxattr", lambda: os.setxattr("d/f", "user.x", b"1"), ("d/f",)),
    Alike("setxattr again", lambda: os.setxattr("d/f", "user.x", b"2"), ("d/f",)),
    Alike("removexattr", lambda: os.removexattr("d/f", "user.x"), ("d/f",)),
    Alike("an ACL", lambda: os.setxattr("d/f", ACL, ACL_TWO_USERS), ("d/f",)),
    Alike("chmod with an ACL", lambda: os.chmod("d/f", 0o604), ("d/f",)),
    Alike("no ACL", lambda: os.removexattr("d/f", ACL), ("d/f",)),
    Alike("chmod of a directory", lambda: os.chmod("d/sub", 0o700), ("d/sub",)),
    Alike("setxattr of a directory", lambda: os.setxattr("d/sub", "user.x", b"1"), ("d/sub",)),
    Alike("chmod of d", lambda: os.chmod("d", 0o750)),
    Alike("rename", lambda: os.rename("d/f", "d/g"), ("d/f",)),
    Alike("rename across", lambda: os.rename("d/g", "e/g"), ("d/g",)),
    Alike("rename over one of two names", lambda: os.rename("d/new", "e/hard"), ("d/new", "e/hard")),
    Alike("rename over the last name", lambda: os.rename("d/made", "e/g"), ("d/made", "e/g")),
    Alike("rename of a directory", lambda: os.rename("d/sub", "d/to"), ("d/sub",)),
    Alike("rename of a directory across", lambda: os.rename("d/to", "e/to"), ("d/to",)),
    Alike("rename over a directory", lambda: os.rename("d/dir", "e/empty"), ("d/dir", "e/empty")),
    Alike("exchange", lambda: rename("e/g", "d/fifo", RENAME_EXCHANGE), ("e/g", "d/fifo")),
    Alike("exchange with a directory", lambda: rename("d/fifo", "e/to", RENAME_EXCHANGE), ("d/fifo", "e/to")),
    Alike("rename that leaves a whiteout", lambda: rename("d/left", "e/left", RENAME_WHITEOUT), ("d/left",)),
    Alike("unlink of one of two names", lambda: os.unlink("d/one"), ("d/one",)),
    Alike("unlink of the last name", lambda: os.unlink("e/two"), ("e/two",)),
    Alike("unlink of a symlink", lambda: os.unlink("d/symlink")),
    Alike("rmdir", lambda: os.rmdir("e/empty"), ("e/empty",)),
    Alike("rmdir of what nobody watches", lambda: os.rmdir("d/fifo")),
)
# A peer's body is a nameless file that takes all names of the one that was there, which is opened, written to
# and closed by nobody: a watcher of that file sees it lose its names and go, one of a directory sees a file
# moved to each name, without the pairing number of a rename, as there is no name that it was moved from.
DIFFERENT = (
    Different("create", lambda: write("d/created", os.O_CREAT), (),
              ["d CREATE created", "d OPEN created", "d MODIFY created", "d CLOSE_WRITE created"],
              ["d CREATE created", "d MOVED_TO created"]),
    Different("create without a body", lambda: os.close(os.open("d/bare", os.O_CREAT | os.O_WRONLY)), (),
              ["d CREATE bare", "d OPEN bare", "d CLOSE_WRITE bare"],
              ["d CREATE bare"]),
    Different("a name for a nameless file", lambda: name_a_nameless("d/named", b"text"), (),
              ["d OPEN #", "d MODIFY #", "d CREATE named", "d CLOSE_WRITE #"],
              ["d CREATE named", "d MOVED_TO named"]),
    Different("write", lambda: write("d/body"), ("d/body",),
              ["d OPEN body", "d/body OPEN", "d MODIFY body", "d/body MODIFY", "d CLOSE_WRITE body",
               "d/body CLOSE_WRITE"],
              ["d/body ATTRIB", "d MOVED_TO body", "d/body DELETE_SELF", "d/body IGNORED"]),
    Different("truncate", lambda: os.truncate("d/body", 1), ("d/body",),
              ["d MODIFY body", "d/body MODIFY"],
              ["d/body ATTRIB", "d MOVED_TO body", "d/body DELETE_SELF", "d/body IGNORED"]),
    Different("truncate of a file with two names", lambda: os.truncate("e/three", 1), ("e/three",),
              ["e MODIFY three", "e/three MODIFY"],
              ["e/three ATTRIB", "e MOVED_TO four", "e MOVED_TO three", "e/three DELETE_SELF",
               "e/three IGNORED"]),
    # the daemon opens nothing for that
    Different("flags", lambda: set_no_dump("d/body"), ("d/body",),
              ["d OPEN body", "d/body OPEN", "d CLOSE_NOWRITE body", "d/body CLOSE_NOWRITE"],
              []),
    # each replica has its own
    Different("the access time", lambda: set_time("d/body", 0), ("d/body",),
              ["d ACCESS body", "d/body ACCESS"],
              []),
)


def make_what_is_changed(root: str) -> None:
    """The tree before ALIKE and DIFFERENT."""
    for name in ("d", "e", "d/sub", "e/empty"):
        os.mkdir(f"{root}/{name}")
    for name in ("d/f", "d/new", "d/set-id", "d/left", "d/one", "d/body", "e/three"):
        Path(root, name).write_bytes(name.encode())
    os.chmod(f"{root}/d/set-id", 0o4755)
    os.link(f"{root}/d/one", f"{root}/e/two")
    os.link(f"{root}/e/three", f"{root}/e/four")


@contextlib.contextmanager
def all_events(root: str, watched: tuple[str, ...]) -> Iterator[list[str]]:
    """What is seen in a tree of what the block does there: who sees which event of which name, and of which
    of the renames it is."""
    watch, seen = Inotify(), []
    for name in ("d", "e", *watched):
        watch.watch(f"{root}/{name}", name)
    yield seen
    for event, cookie in zip(watch.events(), watch.cookies):
        pair = f"of rename {sorted({0, *watch.cookies}).index(cookie)}" if cookie else ""
        # a nameless file is called by its inode number
        seen.append(" ".join(filter(None, (*event[:2], re.sub("#[0-9]+", "#", event[2]), pair))))
    watch.close()


def with_names_in_order(events: list[str]) -> list[str]:
    """Which of its names a body takes first is not promised."""
    names = sorted(event for event in events if " MOVED_TO " in event)
    return [names.pop(0) if " MOVED_TO " in event else event for event in events]


@intermezzo_only
def test_watches_see_the_events_of_the_calls(disk: str, second_disk: str) -> None:
    """When a peer's change is applied those who watch directories and what is in them see every event which
    the call that made it gave those of the peer, in that order, and no other; what must differ is DIFFERENT.
    Also of what is in no cache of names."""
    for is_cold in (False, True):
        with two(disk, second_disk) as replica:
            make_what_is_changed(replica.peer_root)
            all_stored(replica.pull())
            for operation in (*ALIKE, *DIFFERENT):
                with all_events(replica.peer_root, operation.watched) as of_the_call:
                    with contextlib.chdir(replica.peer_root):
                        operation.change()
                with all_events(replica.root, operation.watched) as applied:
                    if is_cold:
                        Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
                    all_stored(replica.pull())
                if isinstance(operation, Different):
                    equal(of_the_call, operation.of_the_call, f"{operation.name}: by the call")
                    equal(with_names_in_order(applied), operation.applied,
                          f"{operation.name}: by reintegration")
                else:
                    equal(of_the_call != [], True, f"{operation.name}: the call is seen")
                    equal(applied, of_the_call, operation.name)
            same(replica.peer_root, replica.root)


def body_of(number: int) -> bytes:
    """A body that tells by its first byte what all of it is."""
    return bytes([number]) * (PAGE * (2 + number % 4) + number)


class Reader:
    """A process that reads a file again and again, by a descriptor of its own each time and by one that it
    has kept, and counts."""

    def __init__(self, path: str) -> None:
        # how often it has read, of which body it has read last, how many bodies it has seen
        self.counts = mmap.mmap(-1, 16)
        self.kept = os.open(path, os.O_RDONLY)
        self.first = os.pread(self.kept, 1 << 20, 0)
        self.child = start_child(lambda: self.read(path))

    def said(self) -> tuple[int, int, int]:
        """These three."""
        reads, last, seen = struct.unpack_from("=III", self.counts)
        return reads, last, seen

    def read(self, path: str) -> None:
        """In the child, until it is killed."""
        seen: set[int] = set()
        while True:
            fd = os.open(path, os.O_RDONLY)
            parts = iter(lambda: os.read(fd, 1000), b"")
            text = b"".join(parts)
            os.close(fd)
            equal(text == body_of(text[0] if text else 0), True, f"{len(text)} bytes of {set(text)}")
            old = b"".join(os.pread(self.kept, 1000, at) for at in range(0, len(self.first) + 1, 1000))
            equal(old == self.first, True, f"{len(old)} bytes of {set(old)} are the old body")
            seen.add(text[0])
            struct.pack_into("=III", self.counts, 0, self.said()[0] + 1, text[0], len(seen))

    def end(self) -> None:
        """It must have run so far."""
        equal(os.waitpid(self.child, os.WNOHANG), (0, 0), "the reader ended by itself")
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        os.close(self.kept)


@intermezzo_only
def test_active_swap_files_keep_their_names(disk: str, second_disk: str) -> None:
    """The kernel writes to their blocks: like an immutable file one neither moves nor loses a name, until it
    is in use no more."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        Path(f"{peer}/swap").write_bytes(bytes(1 << 20))
        run("mkswap", f"{peer}/swap")
        os.link(f"{peer}/swap", f"{peer}/second")
        all_stored(replica.pull())
        for path, change in (("swap", lambda: os.rename(f"{peer}/swap", f"{peer}/renamed")),
                             ("renamed", lambda: os.unlink(f"{peer}/second"))):
            call("swapon", f"{here}/{path}", 0)
            change()
            said = replica.pull()[-1]
            call("swapoff", f"{here}/{path}")
            equal(said.code, "refused", str(said))
            all_stored(replica.pull())
        same(peer, here)


@intermezzo_only
def test_a_reader_sees_whole_bodies(disk: str, second_disk: str) -> None:
    """While fifty bodies are installed each one that is read is one of them, from its first to its last byte
    (I7); who has kept a descriptor reads the body that was there when he opened it."""
    with two(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(body_of(0))
        all_stored(replica.pull())
        reader = Reader(f"{replica.root}/f")
        try:
            wait_until(lambda: reader.said()[0], "the first read")
            for number in range(1, 51):
                Path(f"{replica.peer_root}/f").write_bytes(body_of(number))
                all_stored(replica.pull())
                if number % 5 == 0:
                    wait_until(lambda number=number: reader.said()[1] == number, f"body {number} is read")
            print(f"reads, last, bodies seen: {reader.said()}", flush=True)
            equal(reader.said()[2] >= 11, True, f"bodies seen, of reads, last, bodies: {reader.said()}")
        finally:
            reader.end()
        same(replica.peer_root, replica.root)
