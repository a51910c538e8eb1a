# SPDX-License-Identifier: GPL-2.0
"""The log of changes (I1): every operation leaves one record, and the records make the tree."""

from __future__ import annotations

import copy
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import time
from typing import Callable

from guest.changes import read
from guest.debug_switch import LINGER, going_wrong
from guest.expect import (as_user, equal, expect_errno, intermezzo_only, skip, start_child,
                          wait_until)
from guest.kml import (ATTRIBUTES, BODY, COMPLETE, EXCHANGE, EXISTENCE, LINK, ROOT, TIMES, WHITEOUT, WHOLE,
                       XATTR, Log, Record)
from guest.log_info import trim
from guest.mounting import remount_old
from guest.replay import check, snapshot
from guest.subject import CACHE, FILESET, IN_MEMORY, check_cache, make_cache, mounted
from guest.syscalls import (FALLOC_COLLAPSE, FALLOC_INSERT, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO,
                            RENAME_EXCHANGE, RENAME_WHITEOUT, fallocate, link_open_file, rename)

ALSO_ON = ("vintermezzo", "intermezzo:xfs", "intermezzo:btrfs")
# btrfs does not count subdirectories.
LINKS_OF_A_DIRECTORY = 1 if CACHE == "btrfs" else 2
CAPABILITY = "security.capability"
FS_IOC_SETFLAGS = 0x40086602
NODUMP, IMMUTABLE, PROJINHERIT = 0x40, 0x10, 0x20000000
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_XFLAG_PROJINHERIT = 0x801c581f, 0x401c5820, 0x200
# What not every cache can do with a body.
CHANGES_OF_SOME = {"tmpfs": (), "btrfs": ("zero",)}.get(CACHE, ("zero", "insert"))
# Filling segments takes time: less of it where less is promised.
SHARE = 2 if CACHE in ("xfs", "btrfs") else 1
TURNS = 6 // SHARE
CLOCK_REALTIME_COARSE = 5
BIRTH = EXISTENCE | ATTRIBUTES | LINK | TIMES
# What of its object an operation writes, where a case says nothing else.
ASPECTS = {"create": BIRTH | BODY, "symlink": BIRTH | BODY, "mkdir": BIRTH, "mknod": BIRTH,
           "unlink": LINK, "rmdir": LINK | EXISTENCE, "link": LINK, "rename": LINK, "close": BODY | TIMES,
           "setattr": ATTRIBUTES, "setxattr": XATTR, "removexattr": XATTR}


class Logged:
    """A fresh mount whose log is compared with its tree at the end."""

    def __init__(self, disk: str, *ext4_options: str) -> None:
        make_cache(disk, *ext4_options)
        self._mounted = mounted(disk, FILESET)

    def __enter__(self) -> Logged:
        self._since = time.time_ns()
        self.root = self._mounted.__enter__()
        self._baseline = snapshot(self.root)
        self._known = 0
        return self

    def path(self, name: str) -> str:
        """A name below the root."""
        return f"{self.root}/{name}"

    def records(self) -> list[Record]:
        """What was logged since the last call."""
        records = list(Log.of_mount(self.root).records())[self._known:]
        self._known += len(records)
        return records

    def one(self, what: Callable[[], object], op: str, aspects: int = 0) -> Record:
        """Run something that must leave exactly one record, which says what of its object it writes."""
        self.records()
        what()
        records = self.records()
        equal([(r.op, r.aspects) for r in records], [(op, aspects or ASPECTS[op])], "what was logged")
        return records[0]

    def none(self, what: Callable[[], object]) -> None:
        """Run something that must leave no record."""
        self.records()
        what()
        equal([str(r) for r in self.records()], [], "what was logged")

    def check(self) -> None:
        """The log so far makes the tree as it is; its records were logged since the mount, one after the
        other."""
        times = [self._since]
        check(copy.deepcopy(self._baseline), Log.of_mount(self.root), self.root,
              on_record=lambda record: times.append(record.time))
        times.append(time.time_ns())
        equal(times, sorted(times), "when records were logged")

    def write(self, name: str, data: bytes = b"data") -> None:
        """A whole file."""
        with open(self.path(name), "wb") as stream:
            stream.write(data)

    def write_nothing(self, name: str) -> None:
        """No bytes, into a file that is there."""
        fd = os.open(self.path(name), os.O_RDWR)
        equal(os.write(fd, b""), 0, "bytes")
        os.close(fd)

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.check()
        self._mounted.__exit__(kind, error, trace)


@intermezzo_only
def test_empty_log(disk: str) -> None:
    """A fresh fileset has an empty log and nothing listed."""
    with Logged(disk) as fs:
        log = Log.of_mount(fs.root)
        equal((list(log.records()), log.listed, log.received, log.overflow), ([], [], [], False), "the log")
        equal(os.stat(fs.path(".intermezzo/rootset/kml")).st_size, 120, "size of an empty log")


@intermezzo_only
def test_names(disk: str) -> None:
    """Making and removing names."""
    with Logged(disk) as fs:
        record = fs.one(lambda: os.mkdir(fs.path("d"), 0o750), "mkdir")
        equal((record.place.dir, record.place.name, record.attr["mode"], record.nlink),
              (ROOT, b"d", 0o40750, LINKS_OF_A_DIRECTORY), "mkdir")
        record = fs.one(lambda: os.symlink("t" * 100, fs.path("d/s")), "symlink")
        equal(record.target, b"t" * 100, "target")
        record = fs.one(lambda: os.mknod(fs.path("d/b"), 0o60600, os.makedev(8, 3)), "mknod")
        equal(record.attr["rdev"], 8 << 32 | 3, "device")
        fs.one(lambda: os.mkfifo(fs.path("p")), "mknod")
        record = fs.one(lambda: os.mknod(fs.path("f"), 0o100644), "create")
        record = fs.one(lambda: os.link(fs.path("f"), fs.path("d/l")), "link")
        equal((record.nlink, record.place.name), (2, b"l"), "link")
        equal(fs.one(lambda: os.unlink(fs.path("f")), "unlink").nlink, 1, "links left")
        record = fs.one(lambda: os.unlink(fs.path("d/l")), "unlink", LINK | EXISTENCE)
        equal(record.nlink, 0, "links left")
        os.mkdir(fs.path("e"))
        fs.one(lambda: os.rmdir(fs.path("e")), "rmdir")
        fs.none(lambda: expect_errno(errno.ENOTEMPTY, os.rmdir, fs.path("d")))
        fs.none(lambda: expect_errno(errno.EEXIST, os.mkdir, fs.path("d")))


@intermezzo_only
def test_renames(disk: str) -> None:
    """Every kind of rename."""
    with Logged(disk) as fs:
        for name in "abc":
            os.mkdir(fs.path(name))
            fs.write(f"{name}/f", name.encode())
        record = fs.one(lambda: rename(fs.path("a/f"), fs.path("a/g"), 0), "rename")
        equal((record.place.name, record.to.name, record.replaced), (b"f", b"g", None), "plain")
        record = fs.one(lambda: rename(fs.path("a/g"), fs.path("b/f"), 0), "rename")
        equal(record.replaced[1], 0, "links left")
        fs.one(lambda: rename(fs.path("a"), fs.path("b/a"), 0), "rename")
        record = fs.one(lambda: rename(fs.path("b"), fs.path("c/f"), RENAME_EXCHANGE), "rename")
        equal(record.flags & EXCHANGE, EXCHANGE, "flags")
        os.mkdir(fs.path("empty"))
        fs.one(lambda: rename(fs.path("c/f/a"), fs.path("empty"), 0), "rename")
        record = fs.one(lambda: rename(fs.path("b"), fs.path("left"), RENAME_WHITEOUT), "rename")
        equal((record.flags & WHITEOUT, record.whiteout[1]["rdev"]), (WHITEOUT, 0), "whiteout")
        fs.none(lambda: rename(fs.path("left"), fs.path("left"), 0))
        fs.write("c/f/child")
        os.mkdir(fs.path("source"))
        os.utime(fs.root, ns=(0, 0))

        def rename_in_vain() -> None:
            expect_errno((errno.ENOTEMPTY, errno.EEXIST), rename, fs.path("source"), fs.path("c/f"),
                         RENAME_WHITEOUT)
        if CACHE == "ext4":  # takes a whiteout back that it had not put yet
            record = fs.one(rename_in_vain, "setattr", TIMES)
            equal((record.object, sorted(record.attr)), (ROOT, ["ctime", "mtime"]), "touched")
        else:
            fs.none(rename_in_vain)


def move_and_move_back(one: str, two: str, flags: int, turns: int) -> None:
    """Two renames a turn, or exchanges."""
    for _ in range(turns):
        rename(one, two, flags)
        rename(two, one, flags)


@intermezzo_only
def test_directory_renamed_while_names_are_made_in_it(disk: str) -> None:
    """Within its parent a directory is renamed without its own lock: the time that a new name in it sets must
    not be undone by the record of the rename, which was made before and gets its place after."""
    with Logged(disk) as fs:
        for name in "ab":
            os.mkdir(fs.path(name))
        folder = os.open(fs.path("a"), os.O_RDONLY | os.O_DIRECTORY)
        for flags, two in ((0, "c"), (RENAME_EXCHANGE, "b")):
            with going_wrong(LINGER):
                child = start_child(lambda: move_and_move_back(fs.path("a"), fs.path(two), flags, 10))
                number = 0
                while not os.waitpid(child, os.WNOHANG)[0]:
                    os.mkdir(f"{flags}.{number}", dir_fd=folder)
                    number += 1
            equal(number > 3, True, f"{number} names were made meanwhile")
            fs.check()
        os.close(folder)


@intermezzo_only
def test_renamed_directories_times(disk: str) -> None:
    """A rename names the directory's time only where it changes it: with its parent."""
    with Logged(disk) as fs:
        for name in ("a", "b", "b/c"):
            os.mkdir(fs.path(name))
        record = fs.one(lambda: rename(fs.path("a"), fs.path("d"), 0), "rename")
        equal(sorted(record.attr), ["ctime"], "within the parent")
        record = fs.one(lambda: rename(fs.path("d"), fs.path("b"), RENAME_EXCHANGE), "rename")
        equal((sorted(record.attr), record.replaced[2]), (["ctime"], 0), "exchanged within the parent")
        record = fs.one(lambda: rename(fs.path("d/c"), fs.path("b"), RENAME_EXCHANGE), "rename")
        equal((sorted(record.attr), record.replaced[2] > 0), (["ctime", "mtime"], True), "exchanged across")
        record = fs.one(lambda: rename(fs.path("b"), fs.path("d/e"), 0), "rename")
        equal(sorted(record.attr), ["ctime", "mtime"], "across")


@intermezzo_only
def test_attributes(disk: str) -> None:
    """Mode, owner, times, flags; reading is no change."""
    with Logged(disk) as fs:
        fs.write("f")
        os.mkdir(fs.path("d"))
        record = fs.one(lambda: os.chmod(fs.path("f"), 0o4755), "setattr")
        equal((record.attr["mode"], sorted(record.attr)), (0o104755, ["ctime", "mode"]), "chmod")
        equal((record.hint.dir, record.hint.name), (ROOT, b"f"), "the hint")
        record = fs.one(lambda: os.chown(fs.path("f"), 7, 8), "setattr")
        equal((record.attr["uid"], record.attr["gid"], record.attr["mode"]), (7, 8, 0o100755), "chown")
        record = fs.one(lambda: os.utime(fs.path("d"), ns=(5, 6 * 10**9 + 7)), "setattr", TIMES)
        equal((record.attr["atime"], record.attr["mtime"]), (5, 6 * 10**9 + 7), "utime")
        record = fs.one(lambda: touch("-m", "-d", "@8", fs.path("f")), "setattr", TIMES)
        equal((sorted(record.attr), record.attr["mtime"]), (["ctime", "mtime"], 8 * 10**9), "the one time")
        fs.none(lambda: touch("-a", "-d", "@9", fs.path("f")))
        equal(os.stat(fs.path("f")).st_atime_ns, 9 * 10**9, "the other one, which is no change")
        fs.none(lambda: open(fs.path("f"), "rb").read())
        fs.none(lambda: os.listdir(fs.path("d")))
        for word, flags in (("+d", NODUMP), ("+i", NODUMP | IMMUTABLE), ("-i", NODUMP)):
            record = fs.one(lambda: chattr(word, fs.path("f")), "setattr")
            equal(record.attr["fsflags"] & (NODUMP | IMMUTABLE), flags, word)


def touch(*words: str) -> None:
    """touch(1) of what is there."""
    subprocess.run(["touch", "-c", *words], check=True)


def chattr(*words: str) -> None:
    """chattr(1)."""
    subprocess.run(["chattr", *words], check=True)


@intermezzo_only
def test_times(disk: str) -> None:
    """A record has its object's times as stat(2) gives them afterwards, to the nanosecond; at a birth all
    three."""
    with Logged(disk) as fs:
        path = fs.path("create")
        births: dict[str, Callable[[str], object]] = {
            "create": lambda name: os.mknod(name, 0o100644), "mkdir": os.mkdir, "mknod": os.mkfifo,
            "symlink": lambda name: os.symlink("t", name)}
        for op, make in births.items():
            record = fs.one(lambda: make(fs.path(op)), op)
            found = os.lstat(fs.path(op))
            equal([record.attr[name] for name in ("atime", "mtime", "ctime")],
                  [found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns], f"times of a {op}")
        changes: dict[str, Callable[[], object]] = {
            "setattr": lambda: os.chmod(path, 0o600), "setxattr": lambda: os.setxattr(path, "user.a", b"1"),
            "removexattr": lambda: os.removexattr(path, "user.a"),
            "link": lambda: os.link(path, fs.path("l")),
            "rename": lambda: os.rename(fs.path("l"), fs.path("moved")), "close": lambda: fs.write("create")}
        for op, change in changes.items():
            os.utime(path, ns=(1, 2))
            before = os.stat(path).st_ctime_ns
            wait_until(lambda: time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > before, "the next tick")
            record = fs.one(change, op)
            now = os.stat(path).st_ctime_ns
            equal((record.attr["ctime"], now > before), (now, True), f"ctime of a {op}")


def setfacl(*words: str) -> None:
    """setfacl(1)."""
    subprocess.run(["setfacl", *words], check=True)


@intermezzo_only
def test_extended_attributes_and_acls(disk: str) -> None:
    """xattrs of all kinds; inherited ACLs come with the record that makes the object."""
    with Logged(disk) as fs:
        fs.write("f")
        os.mkdir(fs.path("d"))
        record = fs.one(lambda: os.setxattr(fs.path("f"), "user.a", b"1" * 300), "setxattr")
        equal(record.xattrs, {"user.a": b"1" * 300}, "attribute")
        fs.one(lambda: os.setxattr(fs.path("d"), "trusted.x", b""), "setxattr")
        equal(fs.one(lambda: os.removexattr(fs.path("f"), "user.a"), "removexattr").xattrs, {"user.a": b""},
              "removed")
        record = fs.one(lambda: setfacl("-m", "u:7:rwx", fs.path("f")), "setxattr", ATTRIBUTES)
        equal(record.attr["mode"] & 0o070, 0o070, "the mask is the group's bits")
        fs.one(lambda: os.chmod(fs.path("f"), 0o640), "setattr")
        fs.one(lambda: setfacl("-b", fs.path("f")), "removexattr", ATTRIBUTES)
        fs.one(lambda: setfacl("-d", "-m", "u:7:rwx", fs.path("d")), "setxattr", ATTRIBUTES)
        os.mkdir(fs.path("d/moved"))
        record = fs.one(lambda: rename(fs.path("d/moved"), fs.path("moved"), RENAME_WHITEOUT), "rename")
        # xfs makes it without a name first, and without an ACL
        equal(list(record.xattrs), [] if CACHE == "xfs" else ["system.posix_acl_access"], "of the whiteout")
        record = fs.one(lambda: os.mkdir(fs.path("d/e")), "mkdir")
        equal(sorted(record.xattrs), ["system.posix_acl_access", "system.posix_acl_default"], "inherited")


@intermezzo_only
def test_capabilities_go_by_a_record(disk: str) -> None:
    """Writing, cutting and giving away a file take its capabilities: a record says so, as of any other."""
    capabilities = struct.pack("<IIIII", 0x02000001, 0x20, 0, 0, 0)
    with Logged(disk) as fs:
        fs.write("f")
        for change, then in ((lambda: fs.write("f", b"new"), "close"),
                             (lambda: os.truncate(fs.path("f"), 1), "close"),
                             (lambda: os.chown(fs.path("f"), 7, 7), "setattr")):
            record = fs.one(lambda: os.setxattr(fs.path("f"), CAPABILITY, capabilities), "setxattr")
            equal(record.xattrs, {CAPABILITY: capabilities}, "set")
            change()
            gone, after = fs.records()
            equal((gone.op, gone.xattrs, after.op), ("removexattr", {CAPABILITY: b""}, then), "gone")


@intermezzo_only
def test_project(disk: str) -> None:
    """A file's project, and that of what is made in a directory whose project is inherited."""
    if CACHE not in ("ext4", "xfs"):
        skip("it has no projects")
    with Logged(disk, "-O", "project", "-I", "256") as fs:
        os.mkdir(fs.path("d"))
        fd = os.open(fs.path("d"), os.O_RDONLY)
        value = bytearray(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)))
        struct.pack_into("=I", value, 0, struct.unpack_from("=I", value)[0] | FS_XFLAG_PROJINHERIT)
        struct.pack_into("=I", value, 12, 7)
        record = fs.one(lambda: fcntl.ioctl(fd, FS_IOC_FSSETXATTR, bytes(value)), "setattr")
        os.close(fd)
        equal((record.attr["projid"], record.attr["fsflags"] & PROJINHERIT), (7, PROJINHERIT), "of it")
        record = fs.one(lambda: os.mknod(fs.path("d/f")), "create")
        equal(record.attr["projid"], 7, "inherited")


@intermezzo_only
def test_bodies(disk: str) -> None:
    """Writing leaves one CLOSE that says what changed, when the last writer closes."""
    with Logged(disk) as fs:
        fs.records()
        fs.write("f", b"x" * 10000)
        equal([r.op for r in fs.records()], ["create", "close"], "create and write")
        with open(fs.path("f"), "r+b") as one, open(fs.path("f"), "r+b") as two:
            one.write(b"1")
            two.seek(5000)
            two.write(b"22")
            two.close()
            equal(fs.records(), [], "while a writer is left")
            equal(len(Log.of_mount(fs.root).listed), 1, "listed while open")
        record, = fs.records()
        equal((record.op, record.ranges, record.attr["size"]), ("close", ((0, 1), (5000, 5002)), 10000),
              "CLOSE")
        record = fs.one(lambda: os.truncate(fs.path("f"), 20), "close")
        equal((record.attr["size"], record.flags & WHOLE), (20, WHOLE), "cut")
        equal(fs.one(lambda: os.truncate(fs.path("f"), 60), "close").ranges, ((20, 60),), "extended")
        fs.none(lambda: os.close(os.open(fs.path("f"), os.O_RDWR)))
        fs.none(lambda: fs.write_nothing("f"))
        with open(fs.path("f"), "r+b") as stream:
            for number in range(20):
                os.pwrite(stream.fileno(), b"y", number * 3)
        record, = fs.records()
        equal((record.flags & WHOLE, record.ranges), (WHOLE, ()), "too many to name")
        with open(fs.path("f"), "r+b") as stream:
            fallocate(stream.fileno(), FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 5, 10)
        equal(fs.records()[0].ranges, ((5, 15),), "a hole")
        if CACHE not in ("tmpfs", "btrfs"):
            fs.write("g", b"z" * 16384)
            fs.records()
            with open(fs.path("g"), "r+b") as stream:
                fallocate(stream.fileno(), FALLOC_COLLAPSE, 0, 4096)
            equal(fs.records()[0].flags & WHOLE, WHOLE, "collapsed")


def change_somewhere(fd: int, direct: int, source: int, chosen: random.Random) -> bool:
    """One of the calls that change a body, and grow it perhaps. Does what is behind it move?"""
    size = os.fstat(fd).st_size
    at, data = chosen.randrange(size), chosen.randbytes(chosen.randrange(1, 5000))
    kind = chosen.choice(["inside", "behind", "direct", "splice", "copy", "hole", "longer", *CHANGES_OF_SOME])
    if kind == "inside":
        os.pwrite(fd, data, at)
    elif kind == "behind":
        os.pwrite(fd, data, size + chosen.randrange(3) * 2500)
    elif kind == "direct":
        page = mmap.mmap(-1, 4096)
        page[:] = chosen.randbytes(4096)
        os.pwrite(direct, page, chosen.randrange(size // 4096 + 2) * 4096)
    elif kind == "splice":
        reader, writer = os.pipe()
        os.write(writer, data)
        os.splice(reader, fd, len(data), offset_dst=at)
        os.close(reader)
        os.close(writer)
    elif kind == "copy":
        os.copy_file_range(source, fd, len(data), chosen.randrange(20000), at)
    elif kind == "longer":
        os.ftruncate(fd, size + len(data))
    elif kind == "insert":
        fallocate(fd, FALLOC_INSERT, at // 4096 * 4096, 4096)
    else:
        fallocate(fd, FALLOC_ZERO if kind == "zero" else FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, at, len(data))
    return kind == "insert"


@intermezzo_only
def test_every_byte_that_differs_is_in_a_range(disk: str) -> None:
    """Random changes: with what a CLOSE names taken from the new body, the old one becomes the new one. WHOLE
    is said only of one whose bytes have moved."""
    chosen = random.Random(1)
    with Logged(disk) as fs:
        fs.write("source", chosen.randbytes(30000))
        source = os.open(fs.path("source"), os.O_RDONLY)
        for number in range(10 // SHARE):
            path = fs.path(f"{number}")
            fs.write(f"{number}", chosen.randbytes(20000))
            fs.records()
            bodies, moved = [read(path)], []
            for _ in range(20):
                fd, direct = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR | os.O_DIRECT)
                moved.append(any([change_somewhere(fd, direct, source, chosen)
                                  for _ in range(chosen.randrange(1, 6))]))
                os.close(direct)
                os.close(fd)
                bodies.append(read(path))
            records = fs.records()
            equal([(r.op, bool(r.flags & WHOLE), r.attr["size"]) for r in records],
                  [("close", *said) for said in zip(moved, map(len, bodies[1:]))], f"file {number}")
            for turn, record in enumerate(records):
                now = bodies[turn + 1]
                body = bytearray(bodies[turn].ljust(len(now), b"\0"))
                for start, end in ((0, len(now)),) if moved[turn] else record.ranges:
                    body[start:end] = now[start:end]
                equal(body == now, True, f"file {number}, turn {turn}: {record.ranges} are all")
        os.close(source)


@intermezzo_only
def test_set_id_bits_stripped_by_a_write_are_logged(disk: str) -> None:
    """A write by somebody else takes the set-id bits, and says so."""
    with Logged(disk) as fs:
        fs.write("f")
        os.chmod(fs.root, 0o755)
        os.chmod(fs.path("f"), 0o6777)
        fs.records()
        as_user(lambda: fs.write("f", b"other"))
        ops = [(r.op, r.attr.get("mode")) for r in fs.records()]
        equal(("setattr", 0o100777) in ops, True, f"{ops}")


@intermezzo_only
def test_mapped_body(disk: str) -> None:
    """A shared mapping keeps the change open past the close of its file."""
    with Logged(disk) as fs:
        fs.write("f", b"m" * 8192)
        fs.records()
        fd = os.open(fs.path("f"), os.O_RDWR)
        with mmap.mmap(fd, 8192) as mapping:
            os.close(fd)
            mapping[5000] = 0x41
            equal(fs.records(), [], "while it is mapped")
            equal(len(Log.of_mount(fs.root).listed), 1, "listed while mapped")
        seen: list[Record] = []

        def closed() -> bool:
            seen.extend(fs.records())
            return bool(seen)
        wait_until(closed, "a CLOSE after the mapping", 30)
        equal([(r.op, r.flags & WHOLE) for r in seen], [("close", WHOLE)], "CLOSE")
        with open(fs.path("f"), "rb") as stream:
            equal(stream.read()[5000], 0x41, "what was stored")
        fs.none(lambda: None)


@intermezzo_only
def test_nameless_objects_log_nothing_until_they_are_linked(disk: str) -> None:
    """O_TMPFILE: nothing until linkat, then all at once; an unlinked open file: nothing more."""
    with Logged(disk) as fs:
        fs.records()
        fd = os.open(fs.root, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b"nameless")
        os.fchmod(fd, 0o600)
        os.setxattr(fd, "user.k", b"v")
        equal(fs.records(), [], "while nameless")
        link_open_file(fd, fs.path("named"))
        record, = fs.records()
        equal((record.op, record.aspects, record.flags & COMPLETE, record.attr["size"], record.xattrs),
              ("create", ASPECTS["create"], COMPLETE, 8, {"user.k": b"v"}), "linkat")
        equal(len(Log.of_mount(fs.root).listed), 1, "its body is listed at once")
        os.close(fd)
        equal([r.op for r in fs.records()], ["close"], "its CLOSE")
        many = {f"user.{'k' * 60}{number:02}": b"v" for number in range(10)}
        fd = os.open(fs.root, os.O_TMPFILE | os.O_RDWR, 0o640)
        for name, value in many.items():
            os.setxattr(fd, name, value)
        link_open_file(fd, fs.path("attributes"))
        record, = fs.records()
        equal((record.op, record.flags, record.xattrs), ("create", COMPLETE, many), "680 bytes of names")
        os.close(fd)
        fs.write("gone")
        fd = os.open(fs.path("gone"), os.O_RDWR)
        os.unlink(fs.path("gone"))
        fs.records()
        os.write(fd, b"nobody sees")
        os.fchmod(fd, 0o600)
        os.close(fd)
        equal(fs.records(), [], "after the last name")


@intermezzo_only
def test_class_local_is_not_logged(disk: str) -> None:
    """The local places of a root leave no record; elsewhere the same names do."""
    make_cache(disk)
    with mounted(disk, f"{FILESET},mtp=/") as root:
        os.mkdir(f"{root}/tmp")
        os.mkdir(f"{root}/etc")
        for name in ("tmp/f", "etc/fstab", "etc/hostname"):
            with open(f"{root}/{name}", "wb") as stream:
                stream.write(b"x")
        equal([(r.op, (r.place or r.hint).name) for r in Log.of_mount(root).records()],
              [("mkdir", b"etc"), ("create", b"hostname"), ("close", b"hostname")], "a root's log")


@intermezzo_only
def test_identity(disk: str) -> None:
    """Who did it: user, group and supplementary groups."""
    with Logged(disk) as fs:
        os.chmod(fs.root, 0o777)
        fs.records()
        as_user(lambda: os.mkdir(fs.path("u")), 1000, 1001, (5, 1002))
        record, = fs.records()
        equal((record.uid, record.gid, record.groups), (1000, 1001, (5, 1002)), "identity")


@intermezzo_only
def test_log_goes_on_after_a_new_mount(disk: str) -> None:
    """The tail is found again; offsets and numbers go on; nothing is listed after a clean unmount."""
    if IN_MEMORY:
        return
    make_cache(disk)
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
    for number in range(5):
        with mounted(disk, FILESET) as root:
            log = Log.of_mount(root)
            equal((len(list(log.records())), log.listed), (3 * number, []), "before")
            os.mkdir(f"{root}/d{number}")
            with open(f"{root}/d{number}/f", "wb") as stream:
                stream.write(b"x")
    with mounted(disk, FILESET) as root:
        check(baseline, Log.of_mount(root), root)
    with mounted(disk, fstype=CACHE) as root:
        check(snapshot_at_start(baseline), Log.of_cache(f"{root}/.intermezzo/rootset"), root)
    check_cache(disk)


def snapshot_at_start(tree: dict) -> dict:
    """An empty tree: check() has changed the one it was given."""
    return {ROOT: type(tree[ROOT])(0o40755, 0, 0, 3)}


@intermezzo_only
def test_log_grows_by_segments(disk: str) -> None:
    """More records than a segment holds; every one is there."""
    with Logged(disk) as fs:
        for number in range(1500 // SHARE):
            os.mkdir(fs.path(f"{number}-" + "n" * 200))
            os.rmdir(fs.path(f"{number}-" + "n" * 200))
        equal(len(fs.records()), 3000 // SHARE, "records")


def make_and_remove(root: str, turn: int, count: int) -> None:
    """Twice as many records as the count, of about 600 bytes each."""
    for number in range(count):
        os.mkdir(f"{root}/{turn}-{number}-" + "n" * 200)
        os.rmdir(f"{root}/{turn}-{number}-" + "n" * 200)


@intermezzo_only
def test_trimmed_segments_are_used_again(disk: str) -> None:
    """The ring: what no replica needs makes room; the log still ends where it should, also after a new
    mount."""
    make_cache(disk)
    with mounted(disk, FILESET) as root:
        fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
        for turn in range(TURNS):
            make_and_remove(root, turn, 700)
            log = Log.of_mount(root)
            equal(list(log.records())[-1].recno, (turn + 1) * 1400, "the newest record")
            trim(root, log.end)
            expect_errno(errno.EINVAL, trim, root, log.end + (1 << 20))
            equal(list(Log.of_mount(root).records())[-1].recno, (turn + 1) * 1400, "the newest record")
        expect_errno(errno.ENODATA, os.pread, fd, 10, 120)
        equal(os.lseek(fd, 120, os.SEEK_DATA), Log.of_mount(root).first, "SEEK_DATA")
        os.close(fd)
        before = Log.of_mount(root)
        equal(before.first_recno > 1, True, "the oldest is gone")
        equal(len([n for n in os.listdir(f"{root}/.intermezzo/rootset") if n.startswith("kml.")]) < 9, True,
              "segments are used again")
    if IN_MEMORY:
        return
    with mounted(disk, FILESET) as root:
        after = Log.of_mount(root)
        equal((after.first, after.first_recno), (before.first, before.first_recno), "where the log begins")
        make_and_remove(root, TURNS, 1)
        equal(list(Log.of_mount(root).records())[-1].recno, TURNS * 1400 + 2, "the newest record")
    check_cache(disk)


@intermezzo_only
def test_logs_are_guarded(disk: str) -> None:
    """Only an administrator sees them, nobody writes them, segments are not opened at all."""
    with Logged(disk) as fs:
        folder = fs.path(".intermezzo/rootset")
        expect_errno(errno.EACCES, as_user, lambda: os.listdir(folder))
        expect_errno(errno.EACCES, as_user, lambda: os.open(f"{folder}/kml", os.O_RDONLY))
        for name in ("kml", "lml", "last_rcvd", "replicas", "kml.0"):
            expect_errno(errno.EPERM, os.open, f"{folder}/{name}", os.O_WRONLY)
            expect_errno(errno.EPERM, os.unlink, f"{folder}/{name}")
            expect_errno(errno.EPERM, os.rename, f"{folder}/{name}", fs.path("x"))
            expect_errno(errno.EPERM, os.chmod, f"{folder}/{name}", 0o666)
            expect_errno(errno.EPERM, os.chown, f"{folder}/{name}", 7, 7)
            expect_errno(errno.EPERM, os.utime, f"{folder}/{name}")
            expect_errno(errno.EPERM, os.truncate, f"{folder}/{name}", 0)
            expect_errno(errno.EPERM, os.setxattr, f"{folder}/{name}", "user.a", b"1")
            expect_errno((errno.EPERM, errno.EXDEV), os.link, f"{folder}/{name}", fs.path("x"))
        expect_errno(errno.EPERM, os.open, f"{folder}/kml.0", os.O_RDONLY)
        fd = os.open(f"{folder}/kml", os.O_RDONLY)
        flags = struct.pack("=I", NODUMP)
        expect_errno((errno.EPERM, errno.ENOTTY), fcntl.ioctl, fd, FS_IOC_SETFLAGS, flags)
        expect_errno(errno.EINVAL, os.ftruncate, fd, 0)
        os.close(fd)
        equal(os.listdir(fs.root), [n for n in os.listdir(fs.root) if n != ".intermezzo"], "not listed")
        fs.none(lambda: None)


@intermezzo_only
def test_no_journal_overflows_and_the_root_goes_on(disk: str) -> None:
    """With no_journal set changes are made, none is recorded, and the log says so durably."""
    make_cache(disk)
    with mounted(disk, f"{FILESET},channel=9") as root:
        os.mkdir(f"{root}/before")
        with open("/proc/sys/intermezzo/intermezzo9/no_journal", "w", encoding="ascii") as control:
            control.write("1")
        try:
            os.mkdir(f"{root}/after")
            with open(f"{root}/after/f", "wb") as stream:
                stream.write(b"x")
        finally:
            with open("/proc/sys/intermezzo/intermezzo9/no_journal", "w", encoding="ascii") as control:
                control.write("0")
        os.mkdir(f"{root}/later")
        log = Log.of_mount(root)
        equal(([r.place.name for r in log.records()], log.overflow), ([b"before"], True), "the log")
    if IN_MEMORY:
        return
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/next")
        log = Log.of_mount(root)
        equal((len(list(log.records())), log.overflow), (1, True), "after a new mount")
    check_cache(disk)


@intermezzo_only
def test_read_only_and_back(disk: str) -> None:
    """Read-only ends what is open; read-write goes on where it was."""
    with Logged(disk) as fs:
        fs.write("f")
        remount_old(fs.root, "ro")
        log = Log.of_mount(fs.root)
        equal((len(list(log.records())), log.listed), (2, []), "read-only")
        expect_errno(errno.EROFS, os.mkdir, fs.path("d"))
        remount_old(fs.root, "rw")
        os.mkdir(fs.path("d"))
        equal(len(fs.records()), 3, "records")
