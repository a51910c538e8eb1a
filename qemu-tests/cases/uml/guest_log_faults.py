# SPDX-License-Identifier: GPL-2.0
"""The log of changes where it cannot be as it should: no journal, a failed one, no room."""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import mmap
import os
import re
import select
import signal
import struct
import time
from typing import Callable, Iterator

from guest import clone
from guest.changes import change_a_bit_of_everything, fill_up, make_everything, read, shrink, write
from guest.device import LARGEST, Daemon, await_calm, decode, sync_log
from guest.disks import check_ext, copy_as_after_a_crash, debugfs_write, make_ext4, run
from guest.expect import (equal, expect_errno, intermezzo_only, process_state, provokes, start_child,
                          wait_until)
from guest.failing_disk import FailingDisk
from guest.kernel_log import KernelLog, said_by_us
from guest.kml import LML_ENTRY, RECOVERED, WHOLE, Log, crc32c
from guest.log_info import FAILED, JOURNALED, OVERFLOW, SEGMENT_LEAST, flags_of, info, wait_for_spares
from guest.mounting import mount_old, refusal, remount_old
from guest.replay import check, fid_of, snapshot
from guest.subject import FILESET, mount_point, mounted
from guest.syscalls import syncfs

FIBMAP = 1
# sizeof(struct izo_kml_control); its version is at 8, its checksum at 12
CONTROL_BYTES = 120
# The journal commits only when asked to.
RARELY = "fileset=rootset,commit=300"
NO_JOURNAL = "/proc/sys/intermezzo/intermezzo0/no_journal"


def sync_folder(path: str) -> None:
    """fsync(2) of a directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def expect_read_only(root: str, listed: int) -> None:
    """Every kind of change fails with EROFS; `listed` is an open file whose body is being changed."""
    changes: list[tuple[Callable, ...]] = [
        (os.mkdir, f"{root}/new"), (os.mknod, f"{root}/new"), (os.symlink, "t", f"{root}/new"),
        (os.link, f"{root}/d/f", f"{root}/new"), (os.rename, f"{root}/d/f", f"{root}/new"),
        (os.unlink, f"{root}/d/f"), (os.rmdir, f"{root}/empty"), (os.chmod, f"{root}/d/f", 0o600),
        (os.utime, f"{root}/d/f"), (os.truncate, f"{root}/d/f", 3),
        (os.setxattr, f"{root}/d/f", "user.a", b"1"), (os.open, root, os.O_TMPFILE | os.O_RDWR),
        (os.open, f"{root}/new", os.O_CREAT | os.O_WRONLY), (mmap.mmap, listed, 4096),
        (os.open, f"{root}/d/f", os.O_WRONLY | os.O_TRUNC), (os.pwrite, listed, b"more", 0),
        (os.ftruncate, listed, 1),
    ]
    for function, *arguments in changes:
        expect_errno(errno.EROFS, function, *arguments)
    with open(f"{root}/d/f", "r+b", buffering=0) as stream:
        expect_errno(errno.EROFS, stream.write, b"x")


@intermezzo_only
@provokes("JBD2: .*error", "Aborting journal", "EXT4-fs error", "EXT4-fs warning")
def test_journal_that_fails_makes_the_fileset_read_only(log: KernelLog) -> None:
    """The disk refuses the journal's blocks: changes get EROFS, one line says so, reading goes on; repaired
    and mounted again the tree is what its log says."""
    with FailingDisk() as disk:
        with mounted(disk.device, FILESET) as root:
            baseline = snapshot(root)
            body = os.urandom(60000)
            for name in ("d", "empty"):
                os.mkdir(f"{root}/{name}")
            write(f"{root}/d/f", body)
            os.symlink("d/f", f"{root}/s")
            listed = os.open(f"{root}/listed", os.O_CREAT | os.O_RDWR)
            os.write(listed, b"l" * 4096)
            os.sync()
            here = fid_of(os.fsencode(f"{root}/listed"), 1)
            wait_until(lambda: Log.of_mount(root).listed == [here], "only the open file is listed")
            # the first to ask afterwards may be the log's own worker, during the fsync
            log.mark()
            disk.fail()
            os.mkdir(f"{root}/lost")
            expect_errno((errno.EIO, errno.EROFS), sync_folder, root)
            expect_read_only(root, listed)
            lines = said_by_us(log)
            words = (os.path.basename(disk.device), "fileset rootset is read-only", "check the device",
                     "unmount, run e2fsck on it, mount again")
            equal((len(lines), [word for word in words if word not in "".join(lines)]), (1, []), f"{lines}")
            equal(flags_of(root) & FAILED, FAILED, "what the log says of itself")
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
                control.write("3")
            equal((read(f"{root}/s") == body, sorted(os.listdir(root))),
                  (True, ["d", "empty", "listed", "lost", "lost+found", "s"]), "what is read")
            equal(os.pread(listed, 4096, 0), b"l" * 4096, "the open file")
            os.close(listed)
        equal(len(said_by_us(log)), 0, "lines of the unmount")
        disk.repair()
        run("e2fsck", "-fy", disk.device, ok=(0, 1))
        with mounted(disk.device, FILESET) as root:
            equal(sorted(os.listdir(root)), ["d", "empty", "listed", "lost+found", "s"], "what was committed")
            os.mkdir(f"{root}/new")
            records = list(Log.of_mount(root).records())
            equal([r.object for r in records if r.flags & RECOVERED], [here], "bodies being changed")
            check(baseline, Log.of_mount(root), root)
        check_ext(disk.device)


@intermezzo_only
@provokes("EXT4-fs error", "Aborting journal", "EXT4-fs warning")
def test_error_of_the_cache_itself_makes_the_fileset_read_only(disk: str, log: KernelLog) -> None:
    """ext4 finds its own structures damaged: EROFS for every change, where ext4 alone answers EIO to some."""
    make_ext4(disk)
    with mounted(disk, f"{FILESET},errors=remount-ro") as root:
        for name in ("d", "empty"):
            os.mkdir(f"{root}/{name}")
        write(f"{root}/d/f")
        listed = os.open(f"{root}/listed", os.O_CREAT | os.O_RDWR)
        os.write(listed, b"l" * 4096)
        # ext4 opens no file any more afterwards
        late = os.open(f"{root}/d/f", os.O_RDWR)
        # the first to ask afterwards may be the log's own worker, before this line returns
        log.mark()
        write(f"/sys/fs/ext4/{os.path.basename(disk)}/trigger_fs_error", b"test")
        for function, *arguments in ((os.mkdir, f"{root}/new"), (os.unlink, f"{root}/d/f"),
                                     (os.open, root, os.O_TMPFILE | os.O_RDWR),
                                     (os.pwrite, listed, b"more", 0), (os.pwrite, late, b"x", 0)):
            expect_errno(errno.EROFS, function, *arguments)
        equal(len(said_by_us(log)), 1, "lines")
        os.close(listed)
        os.close(late)
    run("e2fsck", "-fy", disk, ok=(0, 1))
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/new")
    check_ext(disk)


@intermezzo_only
def test_cache_without_a_journal(disk: str) -> None:
    """ext4 made with ^has_journal is logged too, every operation and what is stored through a mapping, says
    that it promises less, and replays after unmounting."""
    make_ext4(disk, "-O", "^has_journal")
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        equal(flags_of(root), 0, "JOURNALED is not among the flags")
        change_a_bit_of_everything(root, 0)
        make_everything(root)
        check(copy.deepcopy(baseline), Log.of_mount(root), root)
    with mounted(disk, FILESET) as root:
        change_a_bit_of_everything(root, 1)
        log = Log.of_mount(root)
        check(copy.deepcopy(baseline), log, root)
        equal(sum(r.op == "mkdir" for r in log.records()), 16, "directories in the log")
        with open(f"{root}/1/f9", "r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapping:
            mapping[5000] = 0x41
        stored = fid_of(os.fsencode(f"{root}/1/f9"), 1)
    with mounted(disk, fstype="ext4") as root:
        log = Log.of_cache(f"{root}/.intermezzo/rootset")
        equal(log.listed, [], "listed after a clean end")
        newest = list(log.records())[-1]
        equal((newest.op, newest.object, newest.flags), ("close", stored, WHOLE), "of the mapping")
        check(baseline, log, root)
    check_ext(disk)
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        equal(flags_of(root), JOURNALED, "with a journal")


@intermezzo_only
def test_full_cache_ends_the_log_and_nothing_else(disk: str, log: KernelLog) -> None:
    """The log cannot grow for want of room: no caller gets an error for it, space can be made, the log says
    that it is not the whole truth, also after a new mount."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, FILESET) as root:
        fill_up(root)
        log.mark()
        count = 0
        while not flags_of(root) & OVERFLOW:
            os.utime(f"{root}/f", ns=(count, count))
            count += 1
        lines = [line for line in said_by_us(log) if "ends here" in line]
        equal((len(lines), count > 1000), (1, True), f"{lines} after {count} changes")
        newest = list(Log.of_mount(root).records())[-1]
        equal((newest.op, newest.attr["mtime"]), ("setattr", count - 2), "the newest record")
        shrink(root)
        os.mkdir(f"{root}/room")
        write(f"{root}/room/f", b"y" * 100000)
        equal(list(Log.of_mount(root).records())[-1].recno, newest.recno, "the newest record")
        equal(len([line for line in said_by_us(log) if "ends here" in line]), 0, "lines more")
    with mounted(disk, FILESET) as root:
        equal(flags_of(root) & OVERFLOW, OVERFLOW, "after a new mount")
        os.mkdir(f"{root}/next")
        equal(read(f"{root}/room/f"), b"y" * 100000, "a body")
    with mounted(disk, fstype="ext4") as root:
        equal(Log.of_cache(f"{root}/.intermezzo/rootset").overflow, True, "on the cache")
    check_ext(disk)


@intermezzo_only
def test_log_at_its_limit_ends_on_a_cache_with_room(disk: str, log: KernelLog) -> None:
    """A log that nobody trims takes an eighth of the cache; then it ends, with one line, and no caller gets
    an error; the rest of the cache stays its users'."""
    make_ext4(disk, size="32M")
    with mounted(disk, FILESET) as root:
        write(f"{root}/f")
        log.mark()
        count = 0
        while not flags_of(root) & OVERFLOW:
            for count in range(count, count + 100):
                os.utime(f"{root}/f", ns=(count, count))
        lines = [line for line in said_by_us(log) if "ends here" in line]
        words = (os.path.basename(disk), "there is no room for more records",
                 "fileset rootset is not shared any more, see intersync(8)")
        equal((len(lines), [word for word in words if word not in "".join(lines)]), (1, []), f"{lines}")
        space, taken = os.statvfs(root), info(root).capacity
        eighth = space.f_blocks * space.f_frsize // 8
        equal(eighth - SEGMENT_LEAST < taken <= eighth, True, f"{taken} of {eighth}")
        equal(space.f_bavail * space.f_frsize > eighth, True, f"{space} is free")
        newest = list(Log.of_mount(root).records())[-1]
        os.mkdir(f"{root}/after")
        equal(list(Log.of_mount(root).records())[-1].recno, newest.recno, "the newest record")
    with mounted(disk, FILESET) as root:
        equal(flags_of(root) & OVERFLOW, OVERFLOW, "after a new mount")
        equal(os.path.isdir(f"{root}/after"), True, "what was made after the end")
    check_ext(disk)


@intermezzo_only
def test_log_grows_once_there_is_room(disk: str, log: KernelLog) -> None:
    """A cache that is full when the log wants to grow, and is not any more before the log is full."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        fill_up(root)
        log.mark()
        said: list[str] = []
        count, before = 0, info(root)
        while not said:
            os.utime(f"{root}/f", ns=(count, count))
            count += 1
            said += [line for line in said_by_us(log) if "cannot grow" in line]
        words = ("it ends when it is full", "fileset rootset", "make room before")
        equal([word for word in words if word not in said[0]], [], f"{said}")
        os.unlink(f"{root}/big")
        wait_until(lambda: info(root).capacity > before.capacity, "one more segment")
        for more in range(count + 2000):
            os.utime(f"{root}/f", ns=(more, more))
        equal((info(root).flags, said_by_us(log)), (JOURNALED, []), "the log goes on")
        check(baseline, Log.of_mount(root), root)
    check_ext(disk)


@intermezzo_only
def test_full_cache_without_a_log_is_mounted_without(disk: str, log: KernelLog) -> None:
    """A file system that is full when it becomes a cache: mounted read-write with one line, not logged until
    it has room at a mount, even at a remount."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, fstype="ext4") as root:
        fill_up(root)
    log.mark()
    with mounted(disk, FILESET) as root:
        lines = said_by_us(log)
        equal((len(lines), "no room for a log" in "".join(lines)), (1, True), f"{lines}")
        expect_errno(errno.ENOENT, os.open, f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
        expect_errno(errno.ENOSPC, os.mkdir, f"{root}/no-room")
        shrink(root)
        write(f"{root}/f", b"y" * 100000)
        remount_old(root, "ro")
        remount_old(root, "rw")
        equal(flags_of(root), JOURNALED, "with room")
        baseline = snapshot(root)
        change_a_bit_of_everything(root, 0)
        equal(len(said_by_us(log)), 0, "lines more")
    with mounted(disk, FILESET) as root:
        change_a_bit_of_everything(root, 1)
        check(baseline, Log.of_mount(root), root)
    check_ext(disk)


@intermezzo_only
def test_half_a_log_takes_no_room(disk: str, log: KernelLog) -> None:
    """Room for some of the log's files, or no inodes: what was made of it is removed again."""
    make_ext4(disk, "-m", "0", "-N", "64", size="16M")
    with mounted(disk, fstype="ext4") as root:
        os.makedirs(f"{root}/.intermezzo/rootset", 0o700)
        write(f"{root}/reserve", b"r" * 400000)
        fill_up(root)
        os.unlink(f"{root}/reserve")
    log.mark()
    with mounted(disk, FILESET) as root:
        equal(len(said_by_us(log)), 1, "lines")
        equal(os.listdir(f"{root}/.intermezzo/rootset"), ["replicas"], "what is left of the log")
        syncfs(root)
        write(f"{root}/reserve", b"r" * 380000)
        os.unlink(f"{root}/big")
        count = 0
        while os.statvfs(root).f_ffree:
            os.mknod(f"{root}/d/{count}")
            count += 1
    log.mark()
    with mounted(disk, FILESET) as root:
        equal(len(said_by_us(log)), 1, "lines without inodes")
        for number in range(count):
            os.unlink(f"{root}/d/{number}")
    with mounted(disk, FILESET) as root:
        equal(flags_of(root), JOURNALED, "with room")
    check_ext(disk)


@intermezzo_only
def test_full_clone_without_a_log_is_refused(disk: str) -> None:
    """Others know what a clone began with: what it does not log they would never learn of."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, fstype="ext4") as root:
        clone.write_tables(root, {"replicas": clone.replicas()})
        fill_up(root)
    where = mount_point()
    lines = refusal(expect_errno(errno.ENOSPC, mount_old, disk, where, "intermezzo", FILESET))
    equal((len(lines), "no room for a log" in "".join(lines)), (1, True), f"{lines}")
    with mounted(disk, f"{FILESET},ro") as root:
        equal(len(read(f"{root}/f")), 300000, "read-only it can be read")
    check_ext(disk)


def refused(disk: str, *words: str) -> None:
    """The cache is not mounted read-write, and one line says why; read-only it is."""
    where = mount_point()
    lines = refusal(expect_errno(errno.EINVAL, mount_old, disk, where, "intermezzo", FILESET))
    equal((len(lines), [word for word in words if word not in "".join(lines)]), (1, []), f"{lines}")
    with mounted(disk, f"{FILESET},ro") as root:
        equal(os.path.isdir(f"{root}/d"), True, "read-only")


ANEW = "restore it, or remove .intermezzo/rootset/kml on the unmounted cache to begin a new log"
MISSHAPEN = f"has holes, cannot be read or is not as long as it was made; check the device; {ANEW}"
MISSING = f"is missing or is no file; {ANEW}"
NO_TABLE = "rootset/replicas is missing or damaged; restore it from another copy of this cache, or save the"


@contextlib.contextmanager
def instead(disk: str, name: str, contents: bytes | None, size: int) -> Iterator[None]:
    """A file of the log has these bytes, and holes behind them up to a size, or is not there; in the end it
    is as it was, and nothing was made in its place."""
    path = f".intermezzo/rootset/{name}"
    with mounted(disk, fstype="ext4") as root:
        os.rename(f"{root}/{path}", f"{root}/{path}.kept")
        if contents is not None:
            write(f"{root}/{path}", contents)
            os.truncate(f"{root}/{path}", size)
    yield
    with mounted(disk, fstype="ext4") as root:
        equal(os.stat(f"{root}/{path}").st_size if os.path.exists(f"{root}/{path}") else None,
              None if contents is None else size, f"{name}: what was there stays")
        os.rename(f"{root}/{path}.kept", f"{root}/{path}")


@intermezzo_only
def test_files_of_the_log_that_no_kernel_made(disk: str) -> None:
    """Missing, too long, too short, with holes: refused in one line that names the file and says what to do,
    nothing guessed, nothing overwritten."""
    make_ext4(disk, size="32M")
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/d")
        wait_for_spares(root)
        table = read(f"{root}/.intermezzo/rootset/replicas")
    for name, contents, size, words in (
            ("kml", b"", 0, f"/kml, 0 bytes, {MISSHAPEN}"),
            ("kml", b"", 100, f"/kml, 100 bytes, {MISSHAPEN}"),
            ("kml", b"", 4096, f"/kml, 4096 bytes, {MISSHAPEN}"),
            ("kml", b"", 4 << 30, f"/kml, {4 << 30} bytes, {MISSHAPEN}"),
            ("lml", b"", 4 << 30, f"/lml, {4 << 30} bytes, {MISSHAPEN}"),
            ("lml", b"", 0, f"/lml, 0 bytes, {MISSHAPEN}"),
            ("lml", bytes(132 << 10), 132 << 10, f"/lml, {132 << 10} bytes, {MISSHAPEN}"),
            ("lml", None, 0, f"/lml {MISSING}"),
            ("last_rcvd", bytes(4096), 4096, f"/last_rcvd, 4096 bytes, {MISSHAPEN}"),
            ("last_rcvd", None, 0, f"/last_rcvd {MISSING}"),
            ("kml.1", b"", 0, f"/kml.1 has 0 bytes instead of {SEGMENT_LEAST}; {ANEW}"),
            ("kml.1", b"", 17 << 20, f"/kml.1 has {17 << 20} bytes instead of {SEGMENT_LEAST}; {ANEW}"),
            ("kml.1", b"", SEGMENT_LEAST, f"/kml.1, {SEGMENT_LEAST} bytes, {MISSHAPEN}"),
            ("kml.1", None, 0, f"/kml.1 {MISSING}"),
            ("replicas", b"", 0, NO_TABLE), ("replicas", None, 0, NO_TABLE),
            ("replicas", table, len(table) + (64 << 10), NO_TABLE)):
        with instead(disk, name, contents, size):
            refused(disk, words)
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/next")
        equal([r.place.name for r in Log.of_mount(root).records()], [b"d", b"next"], "the log")
    check_ext(disk)


@intermezzo_only
def test_last_segment_of_the_log_cut_short(disk: str) -> None:
    """One that was never used is made anew, as after a crash; one that the log has written to is missed."""
    make_ext4(disk, size="32M")
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/d")
        wait_for_spares(root)
    for used in (False, True):
        with mounted(disk, fstype="ext4") as root:
            folder = f"{root}/.intermezzo/rootset"
            with open(f"{folder}/kml.2", "r+b") as stream:
                stream.write(read(f"{folder}/kml.0")[:512] if used else b"")
                stream.truncate(SEGMENT_LEAST // 2)
        if used:
            refused(disk, f"/kml.2 has {SEGMENT_LEAST // 2} bytes instead of {SEGMENT_LEAST}; {ANEW}")
            continue
        with mounted(disk, FILESET) as root:
            wait_for_spares(root)
        with mounted(disk, fstype="ext4") as root:
            equal(os.stat(f"{root}/.intermezzo/rootset/kml.2").st_size, SEGMENT_LEAST, "made anew")
    check_ext(disk)


@intermezzo_only
def test_new_log_whatever_the_old_one_left(disk: str) -> None:
    """What the refusals say helps: with kml removed a new log begins, with segments of its own, though an
    older one was cut short, and others had another size, as on a disk that was smaller, and gaps."""
    make_ext4(disk, size="32M")
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/d")
        wait_for_spares(root)
    with mounted(disk, fstype="ext4") as root:
        os.truncate(f"{root}/.intermezzo/rootset/kml.1", SEGMENT_LEAST // 2)
    refused(disk, f"/kml.1 has {SEGMENT_LEAST // 2} bytes instead of {SEGMENT_LEAST}; {ANEW}")
    with mounted(disk, fstype="ext4") as root:
        folder = f"{root}/.intermezzo/rootset"
        for number in (2, 3, 7, 8, 256):
            write(f"{folder}/kml.{number}", bytes(2 * SEGMENT_LEAST))
        os.unlink(f"{folder}/kml")
    with instead(disk, "replicas", None, 0):
        refused(disk, NO_TABLE)
    for name in (b"first", b"second", b"third"):
        with mounted(disk, FILESET) as root:
            os.mkdir(os.fsencode(root) + b"/" + name)
            wait_for_spares(root)
            equal([r.place.name for r in Log.of_mount(root).records()][-1], name, "the log")
    with mounted(disk, fstype="ext4") as root:
        equal(sorted(name for name in os.listdir(f"{root}/.intermezzo/rootset") if "kml" in name),
              ["kml", "kml.0", "kml.1", "kml.2"], "its files")
    check_ext(disk)


@intermezzo_only
def test_log_of_another_version_or_altered(disk: str) -> None:
    """A control block of a version to come, one with a byte changed: refused in one line, left as it is."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/d")
    path = ".intermezzo/rootset/kml"
    for version, words in ((2, ("kml has version 2, this kernel knows 1",)),
                           (0, ("kml is damaged", "remove it on the unmounted cache"))):
        with mounted(disk, fstype="ext4") as root, open(f"{root}/{path}", "r+b") as stream:
            kept = stream.read()
            changed = bytearray(kept)
            if version:
                struct.pack_into("<II", changed, 8, version, 0)
                struct.pack_into("<I", changed, 12, crc32c(changed[:CONTROL_BYTES]))
            else:
                changed[CONTROL_BYTES - 40] ^= 1
            stream.seek(0)
            stream.write(changed)
        refused(disk, *words)
        with mounted(disk, fstype="ext4") as root, open(f"{root}/{path}", "r+b") as stream:
            equal(stream.read(), bytes(changed), "what was there stays")
            stream.seek(0)
            stream.write(kept)
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/next")
        equal([r.place.name for r in Log.of_mount(root).records()], [b"d", b"next"], "the log")
    check_ext(disk)


@intermezzo_only
def test_first_mount_that_a_crash_cut_short(disk: str) -> None:
    """Before there is a log, an empty table of replicas is one that was being made."""
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as root:
        os.makedirs(f"{root}/.intermezzo/rootset", 0o700)
        write(f"{root}/.intermezzo/rootset/replicas", b"")
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        change_a_bit_of_everything(root, 0)
        check(baseline, Log.of_mount(root), root)
    check_ext(disk)


@intermezzo_only
def test_times_that_do_not_exist(disk: str) -> None:
    """A damaged inode with more nanoseconds than a second has: its changes are recorded all the same."""
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as root:
        os.mkdir(f"{root}/d")
        write(f"{root}/d/f")
    for name in ("d", "d/f"):
        debugfs_write(disk, f"set_inode_field {name} mtime_extra 0xfffffffc")
    with mounted(disk, FILESET) as root:
        os.rename(f"{root}/d/f", f"{root}/g")
        os.chmod(f"{root}/d", 0o700)
        os.rename(f"{root}/g", f"{root}/f")
        records = list(Log.of_mount(root).records())
        equal([r.op for r in records], ["rename", "setattr", "rename"], "records")
        equal(records[0].attr["mtime"] % 10**9, 10**9 - 1, "nanoseconds of the file")
        equal(flags_of(root), JOURNALED, "the log goes on")


def blocks_of(path: str, count: int) -> list[int]:
    """Where the blocks of a file are (FIBMAP, on plain ext4)."""
    with open(path, "rb") as stream:
        return [struct.unpack("=i", fcntl.ioctl(stream, FIBMAP, struct.pack("=i", number)))[0]
                for number in range(count)]


@intermezzo_only
@provokes("I/O error", "lost async page write", "Detected IO errors", "EXT4-fs warning")
def test_body_that_cannot_be_written_stays_listed(log: KernelLog) -> None:
    """The disk refuses a body's blocks: what it has of it nobody knows, so its entry stays until the next
    mount's CLOSE. Other entries go."""
    with FailingDisk(whole=True) as disk:
        with mounted(disk.device, fstype="ext4") as root:
            write(f"{root}/f", b"o" * 8192)
            syncfs(root)
            blocks = blocks_of(f"{root}/f", 2)
        with mounted(disk.device, FILESET) as root:
            baseline = snapshot(root)
            wait_for_spares(root)
            here = fid_of(os.fsencode(f"{root}/f"), 1)
            os.sync()
            disk.fail_at(blocks)
            with open(f"{root}/f", "r+b") as stream:
                stream.write(b"N" * 8192)
            os.sync()
            write(f"{root}/g")
            other = fid_of(os.fsencode(f"{root}/g"), 1)
            wait_until(lambda: other in Log.of_mount(root).listed, "the other file is listed")
            os.sync()
            wait_until(lambda: other not in Log.of_mount(root).listed, "the other file's entry is free")
            equal(Log.of_mount(root).listed, [here], "what is listed")
            equal(info(root).dirty, 1, "what the log says is listed")
        disk.repair()
        with mounted(disk.device, FILESET) as root:
            records = list(Log.of_mount(root).records())
            equal([r.object for r in records if r.flags & RECOVERED], [here], "CLOSEs of the next mount")
            check(baseline, Log.of_mount(root), root)
        check_ext(disk.device)


def inode_position(device: str, path: str) -> int:
    """Where an inode is on an unmounted ext4, in bytes."""
    said = run("debugfs", "-R", f"imap {path}", device)
    found = re.search(r"located at block (\d+), offset 0x([0-9a-f]+)", said)
    assert found
    return int(found[1]) * 4096 + int(found[2], 16)


def change_byte(device: str, position: int) -> None:
    """Damage one byte of a disk; a second time: repair it."""
    with open(device, "r+b", buffering=0) as disk:
        disk.seek(position)
        byte = disk.read(1)
        disk.seek(position)
        disk.write(bytes([byte[0] ^ 0xff]))
        os.fsync(disk.fileno())


@intermezzo_only
@provokes("EXT4-fs error", "EXT4-fs warning", "cannot be read")
def test_listed_body_that_cannot_be_read_at_recovery(disk: str, second_disk: str) -> None:
    """After a crash a listed inode is damaged: the mount says so and goes on, the entry stays; once the inode
    can be read again it gets its CLOSE."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, f"{FILESET},commit=300") as root:
        baseline = snapshot(root)
        for name in ("f", "g"):
            write(f"{root}/{name}")
        listed = [fid_of(os.fsencode(f"{root}/{name}"), 1) for name in ("f", "g")]
        files = [open(f"{root}/{name}", "r+b", buffering=0) for name in ("f", "g")]
        for stream in files:
            stream.write(b"more")
            os.fsync(stream.fileno())
        equal(sorted(Log.of_mount(root).listed), sorted(listed), "listed")
        copy_as_after_a_crash(disk, second_disk)
        for stream in files:
            stream.close()
    run("e2fsck", "-fy", second_disk, ok=(0, 1))
    where = inode_position(second_disk, "f") + 0x20
    change_byte(second_disk, where)
    with mounted(second_disk, FILESET) as root:
        found = Log.of_mount(root)
        equal([r.object for r in found.records() if r.flags & RECOVERED], listed[1:], "recovered")
        equal(found.listed, listed[:1], "still listed")
        os.mkdir(f"{root}/d")
    change_byte(second_disk, where)
    with mounted(second_disk, FILESET) as root:
        found = Log.of_mount(root)
        equal([r.object for r in found.records() if r.flags & RECOVERED], listed[::-1], "recovered")
        equal(found.listed, [], "still listed")
        check(baseline, found, root)


@intermezzo_only
def test_what_is_being_changed_is_listed_once_the_log_is_synced(disk: str, second_disk: str) -> None:
    """A daemon that sees a body changing counts on its CLOSE, also after a crash: the medium has the file
    listed as soon as the log has been synced, though no record was on its way there."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, RARELY) as root:
        for name, data in (("empty", b""), ("full", b"f" * 5000)):
            write(f"{root}/{name}", data)
        await_calm(root)
        os.sync()
        wait_until(lambda: not Log.of_mount(root).listed, "nothing is listed")
        changed = [fid_of(os.fsencode(f"{root}/{name}"), 1) for name in ("empty", "full")]
        with (open(f"{root}/empty", "r+b", buffering=0) as one,
              open(f"{root}/full", "r+b", buffering=0) as other):
            for stream in (one, other):
                stream.write(b"more")
            sync_log(root)
            copy_as_after_a_crash(disk, second_disk)
    with mounted(second_disk, FILESET) as root:
        found = Log.of_mount(root)
        equal(sorted(r.object for r in found.records() if r.flags & RECOVERED), sorted(changed), "recovered")


@intermezzo_only
def test_file_that_is_listed_twice(disk: str, second_disk: str) -> None:
    """A crash may leave an entry that was one too many, or was to be freed, beside the file's newest: it
    gets one CLOSE, and all entries go. One of an inode that the object had before does not stand for it."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, RARELY) as root:
        write(f"{root}/f")
        listed = fid_of(os.fsencode(f"{root}/f"), 1)
        with open(f"{root}/f", "r+b", buffering=0) as stream:
            stream.write(b"more")
            os.fsync(stream.fileno())
            copy_as_after_a_crash(disk, second_disk)
    with mounted(second_disk, fstype="ext4") as root, \
            open(f"{root}/.intermezzo/rootset/lml", "r+b", buffering=0) as entries:
        content = entries.read()
        size = LML_ENTRY.size
        at = next(at for at in range(0, len(content), size) if any(content[at:at + size]))
        entry = content[at:at + size]
        fields = list(LML_ENTRY.unpack(entry))
        fields[1], fields[9] = 0, fields[9] ^ 1
        fields[1] = crc32c(LML_ENTRY.pack(*fields))
        os.pwrite(entries.fileno(), LML_ENTRY.pack(*fields) + entry + entry, at)
    with mounted(second_disk, FILESET) as root:
        found = Log.of_mount(root)
        equal(([r.object for r in found.records() if r.flags & RECOVERED], found.listed), ([listed], []),
              "recovered, and listed still")
    check_ext(second_disk)


@intermezzo_only
@provokes("JBD2: .*error", "Aborting journal", "EXT4-fs error", "EXT4-fs warning", "I/O error")
def test_waiting_reader_is_told_that_the_journal_has_failed() -> None:
    """Nobody changes anything after the commit that failed: poll(2) of the log returns all the same."""
    with FailingDisk() as disk, mounted(disk.device, f"{FILESET},commit=1") as root:
        wait_for_spares(root)
        fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
        os.fsync(fd)
        os.lseek(fd, 0, os.SEEK_END)
        disk.fail()
        os.mkdir(f"{root}/lost")
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        start = time.monotonic()
        events = poll.poll(60000)
        equal([bool(event & select.POLLERR) for _, event in events], [True], f"{events}")
        # at its end poll(2) looks by itself
        equal(time.monotonic() - start < 50, True, "woken")
        os.close(fd)


@contextlib.contextmanager
def woken(daemon: Daemon, recno: int, polls: bool = True) -> Iterator[None]:
    """Somebody who sleeps in poll(2), or read(2), of the channel's device is woken to a KML_GREW with the log
    as it was."""
    def sleep() -> None:
        if polls:
            equal(daemon.events(60), select.POLLIN, "what poll(2) says")
        grew = decode(os.read(daemon.fd, LARGEST))
        equal((grew.said, grew.recno), (("grew", "rootset"), recno), "what is read")
    child = start_child(sleep)
    wait_until(lambda: process_state(child) == "S", "it sleeps")
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.extend([status] if pid else [])
        return bool(ended)
    try:
        yield
        wait_until(has_ended, "who slept is woken")
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    equal(ended, [0], "the exit code of who slept")


@intermezzo_only
def test_daemon_is_told_that_the_log_has_ended(disk: str) -> None:
    """An overflow wakes a daemon that sleeps in read(2) or poll(2), once, though there is no new record; what
    has happened is in the log's state then."""
    for polls in (False, True):
        make_ext4(disk)
        with mounted(disk, RARELY) as root, Daemon(blocking=True) as daemon:
            await_calm(root)
            daemon.serve()
            with woken(daemon, 0, polls):
                write(NO_JOURNAL, b"1")
                os.mkdir(f"{root}/after")
            equal(flags_of(root) & OVERFLOW, OVERFLOW, "what the log says of itself")
            os.mkdir(f"{root}/more")
            equal(daemon.events(0.5), 0, "once more")
        with mounted(disk, RARELY), Daemon() as daemon:
            daemon.serve()
            equal(daemon.events(0.5), 0, "more than the first look at a new mount")


@intermezzo_only
def test_daemon_is_told_of_the_end_amid_a_transaction(disk: str) -> None:
    """Records that wait for a commit, which is minutes away, do not keep the end from it."""
    make_ext4(disk)
    with mounted(disk, RARELY) as root, Daemon(blocking=True) as daemon:
        await_calm(root)
        daemon.serve()
        os.mkdir(f"{root}/pending")
        equal(daemon.grew().recno, 1, "the newest record")
        with woken(daemon, 1):
            write(NO_JOURNAL, b"1")
            os.mkdir(f"{root}/after")
        equal(flags_of(root) & OVERFLOW, OVERFLOW, "what the log says of itself")
        equal(daemon.events(0.5), 0, "once more")


@intermezzo_only
@provokes("JBD2: .*error", "Aborting journal", "EXT4-fs error", "EXT4-fs warning", "I/O error")
def test_daemon_is_told_that_the_journal_has_failed() -> None:
    """As of an overflow."""
    with FailingDisk() as disk, mounted(disk.device, RARELY) as root, Daemon(blocking=True) as daemon:
        await_calm(root)
        daemon.serve()
        disk.fail()
        os.mkdir(f"{root}/lost")
        equal(daemon.grew().recno, 1, "the newest record")
        with woken(daemon, 1):
            expect_errno((errno.EIO, errno.EROFS), sync_folder, root)
        equal(flags_of(root) & FAILED, FAILED, "what the log says of itself")
        equal(daemon.events(0.5), 0, "once more")
