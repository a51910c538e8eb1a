# SPDX-License-Identifier: GPL-2.0
"""What a daemon is told of single objects: who made them, whose they are, and whether their bodies are at
rest."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import stat
import struct
import time
from pathlib import Path
from typing import Callable, Iterator

from guest import clone
from guest.debug_switch import LINGER, going_wrong
from guest.disks import make_ext4, run
from guest.expect import (as_user, equal, expect_errno, in_child, intermezzo_only, skip, start_child,
                          wait_until)
from guest.kml import ROOT, Fid, Log, reseal
from guest.log_info import info
from guest.mounting import MS_BIND, mount_old, remount_old, umount
from guest.objects import FORM, FSFLAGS, NO_FID, OBJECT, Object, ask, object_at
from guest.reint import Replica, ioctl, position, raw_records, submit
from guest.reint_pair import all_stored, two
from guest.replay import FS_IOC_FSGETXATTR, FS_IOC_GETFLAGS, fid_of
from guest.subject import FILESET, FSTYPE, IN_MEMORY, make_cache, mounted
from guest.syscalls import (CLONE_NEWUSER, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, RENAME_EXCHANGE, call,
                            fallocate, link_open_file, rename)

ALSO_ON = "vintermezzo"
CASE_DEADLINE = 120
PAGE = 4096
CACHE_OWN = "lost+found"
# Pages of a body that is written and read in several steps.
PARTS = 4


@contextlib.contextmanager
def fileset(disk: str, options: str = "") -> Iterator[str]:
    """A fresh mount; without mtp= it may be a root."""
    make_cache(disk, "-b", "4096")
    with mounted(disk, ",".join(filter(None, (FILESET, options)))) as root:
        os.makedirs(f"{root}/{CACHE_OWN}", exist_ok=True)
        yield root


@contextlib.contextmanager
def opened(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor for the length of a with block."""
    fd = os.open(path, flags, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)


def asked(path: str) -> Object:
    """Of an open file or directory itself."""
    with opened(path) as fd:
        return ask(fd)


def make_one_of_each(folder: str) -> list[str]:
    """An object of every type, and a second name; their names."""
    os.mkdir(f"{folder}/dir")
    Path(f"{folder}/file").write_bytes(b"body")
    os.link(f"{folder}/file", f"{folder}/second")
    os.symlink("file", f"{folder}/symlink")
    os.symlink("nowhere", f"{folder}/dangling")
    os.mkfifo(f"{folder}/fifo")
    for name, kind in (("block", stat.S_IFBLK), ("character", stat.S_IFCHR), ("socket", stat.S_IFSOCK)):
        os.mknod(f"{folder}/{name}", kind | 0o600, os.makedev(1, 3))
    return sorted(os.listdir(folder))


def expect_own(folder: str, names: list[str], index: int) -> None:
    """The objects of these names were made here, and their inodes are their FIDs."""
    for name in names:
        found, fid = object_at(f"{folder}/{name}"), fid_of(os.fsencode(f"{folder}/{name}"), index)
        equal((found.fid, found.handle), (fid, (fid.ino, fid.generation)), name)
        equal(found.mode, os.lstat(f"{folder}/{name}").st_mode, f"{name}: type and mode")
        equal(found.is_local, False, f"{name}: local")


def drop_caches() -> None:
    """Have the inodes that nobody uses forgotten."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")


@intermezzo_only
def test_fids_are_those_of_the_log(disk: str) -> None:
    """Of every type, the FID that a name gives is that in the records that made the object and the name."""
    with fileset(disk) as root:
        os.mkdir(f"{root}/d")
        names = make_one_of_each(f"{root}/d")
        log = Log.of_mount(root)
        made = {os.fsdecode(record.place.name): record for record in log.records() if record.place}
        equal(sorted(made), sorted(["d", *names]), "names in the log")
        equal(object_at(f"{root}/d").fid, made["d"].object, "d")
        with opened(f"{root}/d") as folder:
            for name in names:
                found = ask(folder, name)
                equal((found.fid, found.fid.replica), (made[name].object, log.self_index), name)
                equal(made[name].place.dir, ask(folder).fid, f"{name}: its directory")
        equal(object_at(f"{root}/d/second"), object_at(f"{root}/d/file"), "two names of one file")
        expect_own(f"{root}/d", names, log.self_index)


@intermezzo_only
def test_the_open_object_itself(disk: str) -> None:
    """Without a name the command tells of what is open: file or directory, by whatever name or mount it was
    opened, what it is called now not mattering; and of the root, whose FID is the same everywhere."""
    with fileset(disk) as root:
        equal(asked(root).fid, ROOT, "the root")
        equal(asked(root).ino, os.stat(root).st_ino, "the root's inode")
        os.mkdir(f"{root}/d")
        Path(f"{root}/d/f").write_bytes(b"body")
        equal(asked(f"{root}/d"), object_at(f"{root}/d"), "a directory")
        equal(asked(f"{root}/d/f"), object_at(f"{root}/d/f"), "a file")
        os.mkdir(f"{root}/there")
        mount_old(f"{root}/d", f"{root}/there", "none", flags=MS_BIND)
        try:
            equal(asked(f"{root}/there/f"), object_at(f"{root}/d/f"), "a file by another mount")
            equal(object_at(f"{root}/there/f"), object_at(f"{root}/d/f"), "a name by another mount")
        finally:
            umount(f"{root}/there")
        before = object_at(f"{root}/d/f")
        with opened(f"{root}/d/f", os.O_WRONLY) as fd:
            os.rename(f"{root}/d/f", f"{root}/renamed")
            equal(ask(fd), before, "renamed while it is open for writing")


@intermezzo_only
def test_own_fids_stay(disk: str) -> None:
    """With a peer known, with nothing in memory, and after another mount own objects have the FIDs they
    had."""
    with fileset(disk) as root:
        os.mkdir(f"{root}/d")
        names, index = make_one_of_each(f"{root}/d"), Log.of_mount(root).self_index
        position(root, b"\x07" * 16)
        expect_own(f"{root}/d", names, index)
        drop_caches()
        expect_own(f"{root}/d", names, index)
        equal(asked(root).fid, ROOT, "the root")
        if not IN_MEMORY:
            umount(root)
            mount_old(disk, root, FSTYPE, FILESET)
            expect_own(f"{root}/d", names, index)
            equal(asked(root).fid, ROOT, "the root after another mount")


def expect_peers(replica: Replica, names: list[str]) -> None:
    """The objects of these names are the peer's, under handles of ours."""
    for name in names:
        theirs = object_at(f"{replica.peer_root}/{name}").fid
        here = fid_of(os.fsencode(f"{replica.root}/{name}"), 0)
        found = object_at(f"{replica.root}/{name}")
        equal(found.fid, theirs._replace(replica=replica.indices[theirs.replica]), name)
        equal(found.handle, (here.ino, here.generation), f"{name}: handle")
        equal(replica.handles[theirs], found.handle, f"{name}: the handle that was answered")


@intermezzo_only
def test_objects_that_a_peer_made(disk: str, second_disk: str) -> None:
    """They are the peer's, by our index of it: at once, with nothing in memory, and after another mount."""
    with two(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        names = ["d", *(f"d/{name}" for name in make_one_of_each(f"{replica.peer_root}/d"))]
        Path(f"{replica.root}/ours").touch()  # so that a peer's object has another inode number here
        all_stored(replica.pull())
        equal(replica.indices[1] != replica.own_index, True, "two replicas")
        expect_peers(replica, names)
        equal(object_at(f"{replica.root}/ours").fid.replica, replica.own_index, "ours")
        drop_caches()
        expect_peers(replica, names)
        if not IN_MEMORY:
            umount(replica.root)
            mount_old(second_disk, replica.root, FSTYPE, FILESET)
            expect_peers(replica, names)
            equal(object_at(f"{replica.root}/ours").fid.replica, replica.own_index, "ours, after a mount")


@intermezzo_only
def test_a_new_body_is_the_same_object(disk: str, second_disk: str) -> None:
    """Where a peer's body has replaced the file, the FID stays and the handle is another; who has the old
    file open is told that it is no object any more."""
    with two(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(b"old")
        os.link(f"{replica.peer_root}/f", f"{replica.peer_root}/g")
        all_stored(replica.pull())
        before = object_at(f"{replica.root}/f")
        with opened(f"{replica.root}/f") as fd:
            Path(f"{replica.peer_root}/f").write_bytes(b"new body")
            all_stored(replica.pull())
            expect_errno(errno.ENOENT, ask, fd)
        after = object_at(f"{replica.root}/f")
        equal((after.fid, after.handle != before.handle), (before.fid, True), "FID kept, handle new")
        equal(after.is_changing, False, "changing")
        expect_peers(replica, ["f", "g"])
        drop_caches()
        expect_peers(replica, ["f", "g"])
        if not IN_MEMORY:
            umount(replica.root)
            mount_old(second_disk, replica.root, FSTYPE, FILESET)
            expect_peers(replica, ["f", "g"])


@intermezzo_only
def test_objects_that_came_with_a_copied_disk(disk: str) -> None:
    """They are their maker's, by the table that mkizofs writes, but for lost+found, which is nobody's; what
    is made afterwards is ours."""
    if IN_MEMORY:
        skip("no disk to copy")
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as root:
        names = make_one_of_each(root)
        copied = {name: fid_of(os.fsencode(f"{root}/{name}"), clone.PEER) for name in names}
        clone.write_tables(root, {"replicas": clone.replicas(), "base": clone.base_of(clone.objects(root))})
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/later")
        copied[CACHE_OWN] = NO_FID
        for name, fid in copied.items():
            equal(object_at(f"{root}/{name}").fid, fid, name)
        expect_own(root, ["later"], clone.SELF)


@intermezzo_only
def test_a_fid_that_cannot_be(disk: str) -> None:
    """An attribute that names a replica nobody knows is not told as a FID."""
    if IN_MEMORY:
        skip("no cache to change by itself")
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as root:
        for name in ("damaged", "good"):
            Path(f"{root}/{name}").touch()
        clone.set_fid(f"{root}/damaged", Fid(9, 1000, 1))
        clone.set_fid(f"{root}/good", Fid(clone.PEER, 1000, 1))
        clone.write_tables(root, {"replicas": clone.replicas()})
    with mounted(disk, FILESET) as root:
        expect_errno(errno.EUCLEAN, object_at, f"{root}/damaged")
        equal(object_at(f"{root}/good").fid, Fid(clone.PEER, 1000, 1), "a good one")


LOCAL_NAMES = ("tmp", "tmp/d", "tmp/d/f", "var/log", "var/log/d/f", "run", "etc/fstab")
SHARED_NAMES = ("etc", "var", "home", "home/d/f", f"home/{CACHE_OWN}", "home/tmp")


def make_places(root: str) -> None:
    """Names that a root has to itself, and others."""
    for name in ("tmp/d", "var/log/d", "run", "etc", "home/d", f"home/{CACHE_OWN}", "home/tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    for name in ("tmp/d/f", "var/log/d/f", "etc/fstab", "home/d/f"):
        Path(f"{root}/{name}").write_bytes(b"body")


def expect_no_fids(root: str, names: tuple[str, ...]) -> None:
    """These are this machine's own; what they are here is told nevertheless."""
    for name in names:
        found, here = object_at(f"{root}/{name}"), fid_of(os.fsencode(f"{root}/{name}"), 0)
        equal((found.is_local, found.fid, found.body_changes), (True, NO_FID, 0), name)
        equal((found.handle, found.mode), ((here.ino, here.generation), os.lstat(f"{root}/{name}").st_mode),
              f"{name}: handle and mode")


@intermezzo_only
def test_what_a_root_has_to_itself(disk: str) -> None:
    """/tmp, /var/log and others are local in a root, and where the mount may be one; an object told as shared
    is one with records, and the reverse."""
    for options in ("", "mtp=/"):
        with fileset(disk, options) as root:
            make_places(root)
            expect_no_fids(root, LOCAL_NAMES)
            expect_own(root, list(SHARED_NAMES), Log.of_mount(root).self_index)
            recorded = {record.object for record in Log.of_mount(root).records()}
            equal(recorded, {object_at(f"{root}/{name}").fid for name in (*SHARED_NAMES, "home/d")}, options)


@intermezzo_only
def test_the_same_names_elsewhere(disk: str) -> None:
    """A fileset that is no root shares them."""
    with fileset(disk, "mtp=/srv") as root:
        make_places(root)
        expect_own(root, [*LOCAL_NAMES, *SHARED_NAMES], Log.of_mount(root).self_index)
        recorded = {record.object for record in Log.of_mount(root).records()}
        equal({object_at(f"{root}/{name}").fid for name in (*LOCAL_NAMES, *SHARED_NAMES)} - recorded, set(),
              "without records")


def change_within(folder: str) -> None:
    """Changes of every kind, of a directory and in it."""
    make_one_of_each(folder)
    os.chmod(f"{folder}/file", 0o600)
    os.setxattr(f"{folder}/file", "user.a", b"1")
    os.truncate(f"{folder}/file", 1)
    os.mkdir(f"{folder}/dir/below")
    os.rename(f"{folder}/file", f"{folder}/dir/below/moved")
    rename(f"{folder}/fifo", f"{folder}/symlink", RENAME_EXCHANGE)
    with opened(folder, os.O_TMPFILE | os.O_RDWR) as fd:
        os.write(fd, b"nameless")
        link_open_file(fd, f"{folder}/named")
    os.chmod(folder, 0o710)
    os.utime(folder, (1, 1))
    shutil.rmtree(f"{folder}/dir")
    os.unlink(f"{folder}/second")


@intermezzo_only
def test_lost_and_found_is_the_caches_own(disk: str) -> None:
    """In every fileset, whatever its mtp=: it has no FID, nothing in it has, and no record tells of any of
    its changes, nor of itself."""
    for options in ("", "mtp=/", "mtp=/srv"):
        with fileset(disk, options) as root:
            folder = f"{root}/{CACHE_OWN}"
            os.makedirs(f"{folder}/d/tmp")
            Path(f"{folder}/d/f").write_bytes(b"body")
            expect_no_fids(root, (CACHE_OWN, f"{CACHE_OWN}/d", f"{CACHE_OWN}/d/tmp", f"{CACHE_OWN}/d/f"))
            change_within(f"{folder}/d")
            os.chmod(folder, 0o755)
            os.rename(f"{folder}/d", f"{folder}/e")
            shutil.rmtree(folder)
            os.mkdir(folder)
            equal([str(record) for record in Log.of_mount(root).records()], [], options)
            equal(info(root).dirty, 0, "listed")
            os.mkdir(f"{root}/d")
            change_within(f"{root}/d")
            equal(len(list(Log.of_mount(root).records())) > 20, True, "what the same leaves elsewhere")


def link_itself(old: str, new: str) -> None:
    """link(2): of a symbolic link itself."""
    os.link(old, new, follow_symlinks=False)


@intermezzo_only
def test_nothing_crosses_the_border_of_lost_and_found(disk: str) -> None:
    """In a fileset that is no root too, link and rename into it and out of it are refused; so is giving it
    another name, or another directory its name. Inside they work, and below other directories that name is
    like any other."""
    with fileset(disk, "mtp=/srv") as root:
        own = f"{root}/{CACHE_OWN}"
        for folder in (own, root):
            os.makedirs(f"{folder}/d/below")
            os.makedirs(f"{folder}/empty")
            Path(f"{folder}/f").touch()
            os.symlink("f", f"{folder}/s")
        for here, there in ((own, root), (root, own), (own, f"{root}/empty"), (root, f"{own}/empty")):
            for name in ("d", "f", "s"):
                expect_errno(errno.EXDEV, os.rename, f"{here}/{name}", f"{there}/new")
            for name in ("f", "s"):
                expect_errno(errno.EXDEV, link_itself, f"{here}/{name}", f"{there}/new")
        for here, there in ((own, root), (root, own)):
            expect_errno(errno.EXDEV, os.rename, f"{here}/f", f"{there}/f")
            expect_errno(errno.EXDEV, os.rename, f"{here}/d", f"{there}/empty")
            expect_errno(errno.EXDEV, rename, f"{here}/f", f"{there}/d", RENAME_EXCHANGE)
            with opened(here, os.O_TMPFILE | os.O_RDWR) as fd:
                expect_errno(errno.EXDEV, link_open_file, fd, f"{there}/new")
        expect_errno(errno.EXDEV, os.rename, own, f"{root}/new")
        expect_errno(errno.EXDEV, rename, own, f"{root}/d", RENAME_EXCHANGE)
        expect_errno(errno.EXDEV, os.rename, f"{root}/d", own)
        os.rename(f"{own}/f", f"{own}/d/f")
        os.link(f"{own}/d/f", f"{own}/f")
        os.mkdir(f"{root}/d/{CACHE_OWN}")
        os.rename(f"{root}/f", f"{root}/d/{CACHE_OWN}/f")
        expect_own(root, [f"d/{CACHE_OWN}", f"d/{CACHE_OWN}/f"], Log.of_mount(root).self_index)


@intermezzo_only
def test_a_peer_cannot_make_lost_and_found(disk: str, second_disk: str) -> None:
    """A record that would is not applied: the name is this machine's own."""
    with two(disk, second_disk) as replica:
        own = f"{replica.root}/{CACHE_OWN}"
        os.makedirs(own, exist_ok=True)
        os.rmdir(own)
        os.mkdir(f"{replica.peer_root}/lost-found")
        log = Log.of_mount(replica.peer_root)
        (record, raw), = raw_records(log)
        op = replica.operation(record, reseal(raw.replace(b"lost-found", CACHE_OWN.encode())), {})
        for options in ("rw,fileset=rootset", "rw,fileset=rootset,mtp=/srv"):
            remount_old(replica.root, options)
            equal(submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code, "class", options)
            equal(os.path.exists(own), False, "is it there")
        all_stored(replica.pull())


@intermezzo_only
def test_the_kernels_directory_is_no_object(disk: str) -> None:
    """.intermezzo is not there, by its name, by a descriptor or by names in it."""
    for options in ("", "mtp=/srv"):
        with fileset(disk, options) as root:
            expect_errno(errno.ENOENT, object_at, f"{root}/.intermezzo")
            expect_errno(errno.ENOENT, asked, f"{root}/.intermezzo")
            expect_errno(errno.ENOENT, object_at, f"{root}/.intermezzo/rootset")
            expect_errno(errno.ENOENT, asked, f"{root}/.intermezzo/rootset")
            expect_errno(errno.ENOENT, object_at, f"{root}/.intermezzo/rootset/kml")
            expect_errno(errno.ENOTTY, asked, f"{root}/.intermezzo/rootset/kml")


@intermezzo_only
def test_names_below_what_is_mounted_there(disk: str) -> None:
    """A name on which another file system is mounted stands for what is below, though opened it is the
    other's."""
    with fileset(disk) as root:
        os.mkdir(f"{root}/d")
        Path(f"{root}/f").touch()
        before = {name: object_at(f"{root}/{name}") for name in "df"}
        mount_old("none", f"{root}/d", "tmpfs")
        Path(f"{root}/d/other").touch()
        mount_old(f"{root}/d/other", f"{root}/f", "none", flags=MS_BIND)
        try:
            equal(os.stat(f"{root}/d").st_dev != os.stat(root).st_dev, True, "something is mounted")
            equal({name: object_at(f"{root}/{name}") for name in "df"}, before, "what is below")
            expect_errno(errno.ENOTTY, asked, f"{root}/d")
            expect_errno(errno.ENOTTY, asked, f"{root}/f")
        finally:
            umount(f"{root}/f")
            umount(f"{root}/d")


def state(fd: int) -> tuple[bool, bool]:
    """Is the open file's body changing, and is it listed?"""
    found = ask(fd)
    return found.is_changing, found.is_listed


def wait_for_rest(fd: int) -> int:
    """The number of changes, once the body is on the medium and told of."""
    os.fsync(fd)
    wait_until(lambda: state(fd) == (False, False), "the body is at rest")
    return ask(fd).body_changes


def rewrite(path: str, data: bytes) -> None:
    """Open, write over the beginning, close."""
    with opened(path, os.O_WRONLY) as fd:
        os.pwrite(fd, data, 0)


@contextlib.contextmanager
def file_at_rest(root: str, data: bytes = bytes(PAGE)) -> Iterator[tuple[str, int]]:
    """A file with a body that nobody changes, and a descriptor to look at it."""
    path = f"{root}/f"
    Path(path).write_bytes(data)
    with opened(path) as look:
        wait_for_rest(look)
        yield path, look


@intermezzo_only
def test_a_change_from_its_first_write_to_its_close(disk: str) -> None:
    """At rest a body is neither changing nor listed; it is both from the first write of an open writer on,
    not changing once the writer has closed it, and not listed once it is on the medium. Each change counts
    once."""
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        start = ask(look).body_changes
        equal(object_at(path), ask(look), "by name and by descriptor")
        with opened(path, os.O_WRONLY) as writer:
            equal((state(look), ask(look).body_changes), ((False, False), start), "opened for writing")
            for _ in range(3):
                os.write(writer, b"data")
                equal((state(look), ask(look).body_changes), ((True, True), start + 1), "written to")
                equal(ask(writer), ask(look), "as the writer sees it")
        equal((ask(look).is_changing, ask(look).body_changes), (False, start + 1), "closed")
        equal(wait_for_rest(look), start + 1, "at rest again")
        rewrite(path, b"again")
        equal((ask(look).is_changing, ask(look).body_changes), (False, start + 2), "of a body at rest")
        rewrite(path, b"and again")
        equal((ask(look).is_changing, ask(look).body_changes), (False, start + 3), "one soon after another")


@intermezzo_only
def test_a_body_not_on_the_medium_is_listed(disk: str) -> None:
    """A body stays listed while its data is in memory only; fsync by whoever reads it ends that."""
    if IN_MEMORY:
        skip("no medium")
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        rewrite(path, b"new")
        equal(state(look), (False, True), "closed")
        for number in range(20):  # the worker that frees entries has looked at it when this one is free
            Path(f"{root}/{number}").write_bytes(b"x")
        with opened(f"{root}/19") as other:
            wait_for_rest(other)
        equal(state(look), (False, True), "still in memory")
        wait_for_rest(look)


@intermezzo_only
def test_whatever_changes_a_body_counts(disk: str) -> None:
    """By its name or a descriptor, through a mapping or with no data at all."""
    with fileset(disk) as root, file_at_rest(root, b"x" * 4 * PAGE) as (path, look):
        Path(f"{root}/source").write_bytes(b"y" * PAGE)

        def by_descriptor(change: Callable[[int], object]) -> None:
            with opened(path, os.O_RDWR) as fd:
                change(fd)
                equal(ask(look).is_changing, True, "while it is open")

        def copy(fd: int) -> None:
            with opened(f"{root}/source") as source:
                os.copy_file_range(source, fd, PAGE)

        changes: dict[str, Callable[[], object]] = {
            "truncate": lambda: os.truncate(path, 3 * PAGE),
            "truncate to more": lambda: os.truncate(path, 4 * PAGE),
            "ftruncate": lambda: by_descriptor(lambda fd: os.ftruncate(fd, 2 * PAGE)),
            "punch": lambda: by_descriptor(
                lambda fd: fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, PAGE)),
            "extend": lambda: by_descriptor(lambda fd: fallocate(fd, 0, 0, 5 * PAGE)),
            "append": lambda: by_descriptor(lambda fd: os.pwrite(fd, b"z", 5 * PAGE)),
            "copy": lambda: by_descriptor(copy),
            "O_TRUNC": lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
        }
        for what, change in changes.items():
            before = ask(look).body_changes
            change()
            after = ask(look)
            equal((after.is_changing, after.body_changes > before), (False, True), what)


@intermezzo_only
def test_what_does_not_change_a_body(disk: str) -> None:
    """Reading, opening for writing, attributes, names, and mappings that cannot be written or are private."""
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        before = ask(look)
        os.close(os.open(path, os.O_RDWR | os.O_APPEND))
        equal(len(Path(path).read_bytes()), PAGE, "read")
        os.utime(path, (1, 1))
        os.setxattr(path, "user.a", b"1")
        os.link(path, f"{root}/g")
        os.rename(path, f"{root}/h")
        with mmap.mmap(look, PAGE, mmap.MAP_SHARED, mmap.PROT_READ) as pages:
            equal(pages[0], 0, "mapped by a reader")
        with opened(f"{root}/h", os.O_RDWR) as fd, mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE) as pages:
            pages[0] = 1
        equal(ask(look), before, "what is told")


@intermezzo_only
def test_a_writable_mapping_is_a_change(disk: str) -> None:
    """Nothing tells of single stores: a body is changing as long as it is mapped so, or mapped by a writer
    who may yet make it so."""
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        for protection in (mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ):
            before = ask(look).body_changes
            with opened(path, os.O_RDWR) as fd:
                pages = mmap.mmap(fd, PAGE, prot=protection)
            equal((state(look), ask(look).body_changes > before), ((True, True), True), "mapped")
            if protection & mmap.PROT_WRITE:
                pages[0] = 0x41
                equal(ask(look).is_changing, True, "stored to")
            pages.close()
            wait_until(lambda: not ask(look).is_changing, "the change ends with the mapping")
        equal(Path(path).read_bytes()[:2], b"A\0", "what was stored")


@intermezzo_only
def test_a_rewrite_between_two_looks_is_seen(disk: str) -> None:
    """Another process has changed the body and is done: at neither look is it changing; the number tells."""
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        for number in range(30):
            before = ask(look)
            in_child(lambda number=number: rewrite(path, bytes([number])))
            after = ask(look)
            equal((before.is_changing, after.is_changing), (False, False), "neither look")
            equal(after.body_changes > before.body_changes, True, f"rewrite {number}")
            if number % 10 == 0:
                wait_for_rest(look)


def write_in_parts(path: str) -> None:
    """Bodies that are whole if all of their bytes are the same."""
    number = 0
    while True:
        number = (number + 1) % 256
        with opened(path, os.O_WRONLY) as fd:
            for part in range(PARTS):
                os.pwrite(fd, bytes([number]) * PAGE, part * PAGE)
                os.sched_yield()
        os.sched_yield()


@intermezzo_only
def test_a_body_by_the_rule_is_whole(disk: str) -> None:
    """While another process rewrites it, a body read between two looks that say so is of one rewrite; one of
    several is never taken for whole."""
    with fileset(disk) as root, file_at_rest(root, bytes(PARTS * PAGE)) as (path, look):
        writer = start_child(lambda: write_in_parts(path))
        whole = mixed = 0
        end = time.monotonic() + 60
        while (whole < 50 or mixed < 50) and time.monotonic() < end:
            before, body = ask(look), b""
            for part in range(PARTS):
                body += os.pread(look, PAGE, part * PAGE)
                if (whole + mixed) % 2:
                    os.sched_yield()
            after = ask(look)
            is_one = len(set(body)) == 1
            if not (before.is_changing or after.is_changing) and before.body_changes == after.body_changes:
                equal(is_one, True, f"a body taken for whole after {whole} others")
                whole += 1
            elif not is_one:
                mixed += 1
        os.kill(writer, 9)
        os.waitpid(writer, 0)
        equal((whole >= 50, mixed >= 50), (True, True), f"{whole} whole and {mixed} mixed ones were seen")


@intermezzo_only
def test_a_change_has_ended_when_its_record_is_there(disk: str) -> None:
    """A body that is not changing any more has its CLOSE in the log, not only on its way there."""
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        with going_wrong(LINGER):
            for number in range(8):
                records, changes = info(root).end_recno, ask(look).body_changes
                writer = start_child(lambda number=number: rewrite(path, bytes([number])))
                wait_until(lambda: ask(look).body_changes > changes, "the change begins")
                wait_until(lambda: not ask(look).is_changing, "the change ends")
                equal(info(root).end_recno, records + 1, "records")
                equal(os.waitpid(writer, 0)[1], 0, "the writer")


@intermezzo_only
def test_a_record_that_is_there_has_ended_its_change(disk: str) -> None:
    """Who has read a CLOSE is not told to wait for another, whatever its writer has yet to do. Without a
    journal it can be read at once."""
    make_cache(disk, "-O", "^has_journal")
    with mounted(disk, FILESET) as root, file_at_rest(root) as (path, look), going_wrong(LINGER):
        for number in range(8):
            records = info(root).end_recno
            writer = start_child(lambda number=number: rewrite(path, bytes([number])))
            wait_until(lambda: info(root).end_recno > records, "the record")
            equal(ask(look).is_changing, False, "changing")
            equal(os.waitpid(writer, 0)[1], 0, "the writer")


@intermezzo_only
def test_who_is_told_of_a_change_gets_a_record(disk: str) -> None:
    """A body that was mapped by a writer and never stored to has no CLOSE, unless somebody was told meanwhile
    that it is changing. On a tmpfs nothing tells whether it was, so it has one."""
    with fileset(disk) as root, file_at_rest(root) as (path, look):
        for asks in (False, True):
            records = info(root).end_recno
            with opened(path, os.O_RDWR) as fd:
                pages = mmap.mmap(fd, PAGE)
            if asks:
                equal(ask(look).is_changing, True, "changing")
            pages.close()
            os.fsync(look)
            wait_until(lambda: info(root).dirty == 0, "nothing is listed")
            equal(info(root).end_recno - records, int(asks or IN_MEMORY), f"records, {asks}")


@intermezzo_only
def test_stores_into_pages_that_were_read_are_told_of(disk: str) -> None:
    """On a tmpfs such a page is stored into without a fault, and the change counter stays."""
    with fileset(disk) as root, file_at_rest(root) as (path, _):
        records = info(root).end_recno
        with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, PAGE) as pages:
            equal(pages[5], 0, "read first")
            pages[5] = 0x41
        wait_until(lambda: info(root).end_recno == records + 1, "the CLOSE")
        equal(Path(path).read_bytes()[:6], bytes(5) + b"A", "the body")


@intermezzo_only
def test_only_daemons_may_ask(disk: str) -> None:
    """CAP_SYS_ADMIN of the machine it takes, whoever has opened the file."""
    with fileset(disk) as root, opened(root) as fd:
        os.mkdir(f"{root}/d")

        def refused() -> None:
            for name in ("", "d", "absent"):
                expect_errno(errno.EPERM, ask, fd, name)

        def refused_as_root_of_a_container() -> None:
            call("unshare", CLONE_NEWUSER)
            refused()
        as_user(refused)
        in_child(refused_as_root_of_a_container)
        equal(ask(fd, "d").is_local, False, "with it")


@intermezzo_only
def test_flags_and_project(disk: str) -> None:
    """Who asks is told what the open file or directory would say, and no lease is asked back for it."""
    with fileset(disk) as root, opened(root) as top:
        for name in make_one_of_each(root):
            told = [0, 0, 0]
            if name in (CACHE_OWN, "dir", "file", "second"):
                run("chattr", "+d", f"{root}/{name}")
                with opened(f"{root}/{name}") as fd:
                    told = [FSFLAGS, *struct.unpack("=q", ioctl(fd, FS_IOC_GETFLAGS, bytes(8))),
                            *struct.unpack("=12xI12x", ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)))]
            got = ask(top, name, FSFLAGS)
            equal([got.flags & FSFLAGS, got.fsflags, got.projid, ask(top, name).fsflags], [*told, 0], name)
        with open(f"{root}/file", "r+b", buffering=0) as stream:
            fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            equal((bool(ask(top, "file", FSFLAGS).fsflags), fcntl.fcntl(stream, fcntl.F_GETLEASE)),
                  (True, fcntl.F_WRLCK), "a lease")


@intermezzo_only
def test_what_is_no_question(disk: str) -> None:
    """Another version, and fields that must be 0, are refused; so are addresses that cannot be read or
    written."""
    with fileset(disk) as root, opened(root) as fd:
        Path(f"{root}/f").touch()
        good = [1, *12 * [0]]
        ioctl(fd, OBJECT, FORM.pack(*good))
        for field in range(len(good)):
            for value in (0, 2, 0xffff) if field == 0 else (1, 0x8000) if field not in (3, 4) else ():
                form = [*good[:field], value, *good[field + 1:]]
                expect_errno(errno.EINVAL, ioctl, fd, OBJECT, FORM.pack(*form))
        ioctl(fd, OBJECT, FORM.pack(1, 0, 0, 8, *good[4:]))  # an address of no bytes is nobody's business
        expect_errno(errno.EFAULT, ioctl, fd, OBJECT, FORM.pack(1, 0, 0, 8, 1, *good[5:]))
        for address in (0, 8):
            expect_errno(errno.EFAULT, call, "ioctl", fd, OBJECT, address)
        with opened("/dev/zero", os.O_RDWR) as zero:
            address = call("mmap", None, PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, zero, 0)
        ctypes.memmove(address, FORM.pack(*good), FORM.size)
        call("mprotect", address, PAGE, mmap.PROT_READ)
        expect_errno(errno.EFAULT, call, "ioctl", fd, OBJECT, address)
        call("munmap", address, PAGE)


@intermezzo_only
def test_what_is_no_name(disk: str) -> None:
    """Names that are not there, are no single names, are too long, or are asked of a file."""
    with fileset(disk) as root, opened(root) as fd:
        Path(f"{root}/f").touch()
        os.mkdir(f"{root}/d")
        for name in (b"absent", b"n" * 255, b"f "):
            expect_errno(errno.ENOENT, ask, fd, name)
        for name in (b".", b"..", b"/", b"d/", b"d/f", b"/d", b"f\0", b"\0"):
            expect_errno(errno.EACCES, ask, fd, name)
        expect_errno(errno.ENAMETOOLONG, ask, fd, b"n" * 256)
        longest = FORM.pack(1, 0, 0, 8, 0xffffffff, *8 * [0])
        expect_errno(errno.ENAMETOOLONG, ioctl, fd, OBJECT, longest)
        with opened(f"{root}/f") as file:
            for name in (b"f", b".", b"n" * 256):
                expect_errno(errno.ENOTDIR, ask, file, name)
        Path(f"{root}/{'n' * 255}").touch()
        equal(ask(fd, "n" * 255).handle, object_at(f"{root}/{'n' * 255}").handle, "the longest name")


@intermezzo_only
def test_what_has_no_name(disk: str) -> None:
    """A nameless file, and files and directories that have lost their last name, are not there; a nameless
    file is from when it gets one."""
    with fileset(disk) as root:
        os.mkdir(f"{root}/d")
        Path(f"{root}/f").write_bytes(b"body")
        os.link(f"{root}/f", f"{root}/g")
        with opened(f"{root}/f", os.O_RDWR) as file, opened(f"{root}/d") as folder:
            os.unlink(f"{root}/f")
            equal(ask(file), object_at(f"{root}/g"), "with one name left")
            os.write(file, b"more")
            os.unlink(f"{root}/g")
            os.rmdir(f"{root}/d")
            for fd in (file, folder):
                expect_errno(errno.ENOENT, ask, fd)
            expect_errno(errno.ENOENT, ask, folder, b"f")
        with opened(root, os.O_TMPFILE | os.O_RDWR) as file:
            expect_errno(errno.ENOENT, ask, file)
            os.write(file, b"body")
            expect_errno(errno.ENOENT, ask, file)
            link_open_file(file, f"{root}/named")
            expect_own(root, ["named"], Log.of_mount(root).self_index)
            equal(ask(file), object_at(f"{root}/named"), "by descriptor and by name")
            equal(ask(file).is_changing, True, "changing, as it is open for writing")


@intermezzo_only
def test_without_a_log_there_is_nothing_to_tell(disk: str, where: str) -> None:
    """A read-only root that is being booted has none, whether it was read-write before or never, until it
    becomes read-write; read-only afterwards it has its log still."""
    if IN_MEMORY:
        skip("no disk to mount read-only")
    make_ext4(disk)
    for options in ("ro,fileset=rootset", "ro"):
        mount_old(disk, where, FSTYPE, options)
        try:
            with opened(where) as fd:
                for name in ("", CACHE_OWN, "absent"):
                    expect_errno(errno.ENODATA, ask, fd, name)
                as_user(lambda fd=fd: str(expect_errno(errno.EPERM, ask, fd)))
                remount_old(where, "rw,fileset=rootset,mtp=/")
                equal(ask(fd).fid, ROOT, "read-write")
                Path(f"{where}/f").touch()
                remount_old(where, "ro")
                equal(ask(fd, "f").fid, fid_of(os.fsencode(f"{where}/f"), Log.of_mount(where).self_index),
                      "read-only again")
        finally:
            umount(where)
