# SPDX-License-Identifier: GPL-2.0
"""Bodies that change where it is tight: while their change is ended, with the list of them full, without the
data reaching the medium."""

from __future__ import annotations

import copy
import ctypes
import errno
import fcntl
import mmap
import os
import struct
import tempfile
import resource
import time
from pathlib import Path
from typing import Callable

from guest.debug_switch import LINGER, going_wrong
from guest.disks import copy_as_after_a_crash, make_ext4, run
from guest.expect import equal, expect_errno, intermezzo_only, process_state, start_child, wait_until
from guest.kernel_log import KernelLog
from guest.kml import RECOVERED, Log
from guest.log_info import OVERFLOW, flags_of, info, wait_for_spares
from guest.mounting import mount_old, remount_old, umount
from guest.reint import UPSTREAM, position
from guest.replay import check, fid_of, snapshot
from guest.subject import FILESET, mount_point, mounted
from guest.syscalls import call, syncfs

CASE_DEADLINE = 300
FILE_DEADLINE = 1200
PAGE = 4096
FICLONE, FS_IOC_FIEMAP, FIEMAP_SYNC = 0x40049409, 0xC020660B, 1
WAIT_BEFORE = 1


def write(path: str, data: bytes = b"data") -> None:
    """A whole file."""
    with open(path, "wb") as stream:
        stream.write(data)


def overwrite(path: str, data: bytes) -> None:
    """Its beginning, without cutting it."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, data, 0)
    finally:
        os.close(fd)


def map_and_close(path: str, length: int = PAGE) -> int:
    """The address of a shared mapping that can be written, with no descriptor left."""
    fd = os.open(path, os.O_RDWR)
    try:
        return call("mmap", None, length, 3, mmap.MAP_SHARED, fd, 0)
    finally:
        os.close(fd)


def wait_for_size(path: str, size: int) -> None:
    """Somebody else writes it."""
    end = time.monotonic() + 20
    while os.stat(path).st_size != size:
        if time.monotonic() > end:
            raise AssertionError(f"{path} has not {size} bytes")


def wait_until_none_is_listed(root: str) -> None:
    """All bodies are closed and on the medium."""
    def listed() -> int:
        syncfs(root)
        return info(root).dirty
    wait_until(lambda: not listed(), "nothing is listed", 40)
    wait_until(lambda: not Log.of_mount(root).listed, "nothing is listed on the cache")


def others_change_files_being_closed(disk: str, join: Callable[[str], Callable[[], None]]) -> None:
    """A child writes files and closes them, slowly; `join` does something to each while its CLOSE is being
    written, and the rest of it afterwards. No change may stay without a CLOSE."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        names = [f"{root}/{number}" for number in range(20)]
        for name in names:
            write(name, b"old")
        wait_until_none_is_listed(root)
        with going_wrong(LINGER):
            child = start_child(lambda: [write(name, b"n" * PAGE) for name in names])
            rest = []
            for name in names:
                wait_for_size(name, PAGE)
                time.sleep(0.012)  # not a wait for anything: into its close, in another tick of the clock
                rest.append(join(name))
            equal(os.waitpid(child, 0)[1], 0, "the writer")
        for finish in rest:
            finish()
        wait_until_none_is_listed(root)
        equal(flags_of(root) & OVERFLOW, 0, "the log goes on")
        check(baseline, Log.of_mount(root), root)


@intermezzo_only
def test_file_is_mapped_while_it_is_closed(disk: str) -> None:
    """A mapping made while the CLOSE is being written: what is stored through it gets a CLOSE too."""
    def join(path: str) -> Callable[[], None]:
        address = map_and_close(path)

        def finish() -> None:
            ctypes.memset(address, 0x41, 100)
            call("munmap", address, PAGE)
        return finish
    others_change_files_being_closed(disk, join)


@intermezzo_only
def test_file_is_spliced_to_while_it_is_closed(disk: str) -> None:
    """Likewise what is spliced into the file."""
    def join(path: str) -> Callable[[], None]:
        reader, writer = os.pipe()
        os.write(writer, b"spliced")
        fd = os.open(path, os.O_WRONLY)
        for at in range(7):
            os.splice(reader, fd, 1, offset_dst=at * 300)
        for end in (reader, writer, fd):
            os.close(end)
        return lambda: None
    others_change_files_being_closed(disk, join)


@intermezzo_only
def test_set_id_bits_are_stripped_when_data_arrives(disk: str) -> None:
    """A splice waits for its pipe, the owner sets the bit meanwhile: that it goes again is recorded."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        write(f"{root}/f")
        os.chmod(f"{root}/f", 0o777)
        reader, writer = os.pipe()
        told, tell = os.pipe()

        def splice() -> None:
            os.close(writer)
            os.setuid(1000)
            fd = os.open(f"{root}/f", os.O_WRONLY)
            os.write(tell, b"!")
            equal(os.splice(reader, fd, 100), 4, "bytes")
            os.close(fd)

        child = start_child(splice)
        os.read(told, 1)
        wait_until(lambda: process_state(child) == "S", "the splice to wait for data")
        os.chmod(f"{root}/f", 0o4777)
        os.write(writer, b"late")
        equal(os.waitpid(child, 0)[1], 0, "the splice")
        for end in (reader, writer, told, tell):
            os.close(end)
        equal(os.stat(f"{root}/f").st_mode & 0o7777, 0o777, "mode")
        wait_until_none_is_listed(root)
        check(baseline, Log.of_mount(root), root)


def with_large_records(function: Callable[[], object]) -> Callable[[], object]:
    """As a caller with many groups, which each record names: a segment is soon full."""
    def run() -> object:
        os.setgroups(range(2000, 2256))
        return function()
    return run


@intermezzo_only
def test_burst_of_closes_waits_for_the_log_to_grow(disk: str) -> None:
    """Files that exist are overwritten faster than segments are made: the log is not full, only behind."""
    make_ext4(disk, size="90M")
    with mounted(disk, fstype="ext4") as root:
        for number in range(200):
            os.mknod(f"{root}/{number}")
    with mounted(disk, f"{FILESET},nodelalloc") as root:
        baseline = snapshot(root)
        writer = start_child(lambda: [write(f"{root}/big", bytes(3 << 20)) for _ in range(8)])
        children = [start_child(with_large_records(lambda first=part: [  # type: ignore[misc]
            overwrite(f"{root}/{number}", b"x") for _ in range(5) for number in range(first, 200, 8)]))
            for part in range(8)]
        equal([os.waitpid(child, 0)[1] for child in (writer, *children)], [0] * 9, "exit codes")
        equal(flags_of(root) & OVERFLOW, 0, "the log goes on")
        wait_until_none_is_listed(root)
        check(baseline, Log.of_mount(root), root)


@intermezzo_only
def test_many_files_closed_at_once_wait_for_the_log_to_grow(disk: str) -> None:
    """A process with many written files ends: nothing is listed between one CLOSE and the next."""
    make_ext4(disk, size="90M")

    def write_many(root: str) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        for number in range(800):
            os.write(os.open(f"{root}/{number}", os.O_WRONLY), b"x" * 5000)

    with mounted(disk, fstype="ext4") as root:
        for number in range(800):
            os.mknod(f"{root}/{number}")
    with mounted(disk, f"{FILESET},nodelalloc") as root:
        baseline = snapshot(root)
        child = start_child(with_large_records(lambda: write_many(root)))
        equal(os.waitpid(child, 0)[1], 0, "exit code")
        wait_until_none_is_listed(root)
        equal(flags_of(root) & OVERFLOW, 0, "the log goes on")
        check(baseline, Log.of_mount(root), root)


def make_with_short_list(disk: str) -> None:
    """A cache whose LML has a single block: 64 entries."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET):
        pass
    with mounted(disk, fstype="ext4") as root:
        os.truncate(f"{root}/.intermezzo/rootset/lml", 4096)


@intermezzo_only
def test_list_full_of_closed_files_makes_room(disk: str) -> None:
    """More files than entries, one after the other, by four writers: none of them is refused, and no entry
    gets lost."""
    make_with_short_list(disk)
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        children = [start_child(lambda who=part: [  # type: ignore[misc]
            write(f"{root}/{who}.{number}", b"x" * 100) for number in range(250)]) for part in range(4)]
        equal([os.waitpid(child, 0)[1] for child in children], [0] * 4, "exit codes")
        held = [os.open(f"{root}/0.{number}", os.O_RDWR) for number in range(60)]
        for fd in held:
            os.write(fd, b"more")
        fids = sorted(fid_of(os.fsencode(f"{root}/0.{number}"), 1) for number in range(60))
        wait_until(lambda: sorted(Log.of_mount(root).listed) == fids, "each has one entry")
        for fd in held:
            os.close(fd)
        wait_until_none_is_listed(root)
        equal(flags_of(root) & OVERFLOW, 0, "the log goes on")
        check(baseline, Log.of_mount(root), root)


@intermezzo_only
def test_list_full_of_open_files_ends_the_log_and_nothing_else(disk: str, log: KernelLog) -> None:
    """A user with more files being changed than can be listed: nobody's write or mmap fails for it."""
    make_with_short_list(disk)
    for late in (write, lambda path: call("munmap", map_and_close(path), PAGE)):
        with mounted(disk, FILESET) as root:
            for number in range(64):
                write(f"{root}/{number}")
            write(f"{root}/late", bytes(PAGE))
            wait_until_none_is_listed(root)
            held = [os.open(f"{root}/{number}", os.O_RDWR) for number in range(64)]
            for fd in held:
                os.write(fd, b"more")
            equal(flags_of(root) & OVERFLOW, 0, "with all entries in use")
            log.mark()
            late(f"{root}/late")
            said = [line for line in log.read().splitlines() if "ends here" in line]
            equal((len(said), flags_of(root) & OVERFLOW), (1, OVERFLOW), f"lines {said}")
            os.mkdir(f"{root}/after")
            for fd in held:
                os.close(fd)
        make_with_short_list(disk)


@intermezzo_only
def test_mappings_that_stay_do_not_hold_up_others(disk: str) -> None:
    """Whatever is mapped for long: the CLOSE of a mapping that has ended is not far."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        for number in range(80):
            write(f"{root}/{number}", bytes(PAGE))
        held = [map_and_close(f"{root}/{number}") for number in range(79)]
        late = map_and_close(f"{root}/79")
        for address in (*held, late):
            ctypes.memset(address, 0x42, 10)
        call("munmap", late, PAGE)
        before = len(list(Log.of_mount(root).records()))
        wait_until(lambda: len(list(Log.of_mount(root).records())) > before, "the CLOSE of the last one")
        newest = list(Log.of_mount(root).records())[-1]
        here = fid_of(os.fsencode(f"{root}/79"), 1)
        equal((newest.op, newest.object), ("close", here), "the newest record")
        for address in held:
            call("munmap", address, PAGE)


@intermezzo_only
def test_read_only_closes_all_that_waits(disk: str) -> None:
    """Two hundred mappings end, the fileset becomes read-only before the worker has looked."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        for number in range(200):
            write(f"{root}/{number}", bytes(PAGE))
        wait_until_none_is_listed(root)
        held = [map_and_close(f"{root}/{number}") for number in range(200)]
        before = len(list(Log.of_mount(root).records()))
        for address in held:
            ctypes.memset(address, 0x43, 10)
        for address in held:
            call("munmap", address, PAGE)
        remount_old(root, "ro")
        found = Log.of_mount(root)
        equal((len(list(found.records())) - before, found.listed), (200, []), "CLOSEs, and files listed")
        remount_old(root, "rw")
        os.mkdir(f"{root}/d")
        check(baseline, Log.of_mount(root), root)


@intermezzo_only
def test_clone_of_a_range_that_the_cache_refuses_is_no_change(disk: str) -> None:
    """FICLONE on ext4: nothing is listed or recorded for it."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        write(f"{root}/a")
        write(f"{root}/b")
        wait_until_none_is_listed(root)
        before = len(list(Log.of_mount(root).records()))
        with open(f"{root}/a", "rb") as source, open(f"{root}/b", "r+b") as target:
            expect_errno(errno.EOPNOTSUPP, fcntl.ioctl, target, FICLONE, source.fileno())
        equal(len(list(Log.of_mount(root).records())), before, "records")


def recovered_after_a_crash(disk: str, second_disk: str, change: Callable[[str], object],
                            flag: str = "") -> list[str]:
    """Overwrite a body by `change`, which forces the new data out, and lose power right then: the operations
    recorded by the next mount's recovery. With `flag`, of chattr(1), of a file that has it."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        write(f"{root}/f", b"o" * PAGE)
        write(f"{root}/source", b"N" * 100)
        if flag:
            run("chattr", flag, f"{root}/f")
    with mounted(disk, f"{FILESET},commit=300") as root:
        wait_for_spares(root)
        # an inode that was read in before the transaction of its entry, which then no fsync needs to commit
        os.stat(f"{root}/f")
        syncfs(root)
        change(f"{root}/f")
        copy_as_after_a_crash(disk, second_disk)
    with mounted(second_disk, FILESET) as root:
        with open(f"{root}/f", "rb") as stream:
            equal(stream.read(100), b"N" * 100, f"{change.__name__}: what is on the medium")
        return [r.op for r in Log.of_mount(root).records() if r.flags & RECOVERED]


@intermezzo_only
def test_data_is_forced_out_after_its_entry(disk: str, second_disk: str) -> None:
    """A mapping, copy_file_range and splice to an O_DSYNC file, a direct read: what reaches the medium in
    place of older data is listed there."""
    def by_mapping(path: str) -> None:
        address = map_and_close(path)
        ctypes.memset(address, 0x4e, 100)
        # as msync(2), but for the commit at its end
        fd = os.open(path, os.O_RDONLY)
        call("munmap", address, PAGE)
        call("sync_file_range", fd, 0, PAGE, 7)
        os.close(fd)

    def by_copy(path: str) -> None:
        source = os.open(f"{os.path.dirname(path)}/source", os.O_RDONLY)
        target = os.open(path, os.O_WRONLY | os.O_DSYNC)
        equal(os.copy_file_range(source, target, 100), 100, "bytes")
        os.close(source)
        os.close(target)

    def by_splice(path: str) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"N" * 100)
        target = os.open(path, os.O_WRONLY | os.O_DSYNC)
        equal(os.splice(reader, target, 100), 100, "bytes")
        for end in (reader, writer, target):
            os.close(end)

    def by_direct_read(path: str) -> None:
        overwrite(path, b"N" * 100)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        os.readv(fd, [mmap.mmap(-1, PAGE)])
        os.close(fd)

    for change in (by_mapping, by_copy, by_splice, by_direct_read):
        recovered = recovered_after_a_crash(disk, second_disk, change)
        equal(recovered, ["close"], f"{change.__name__}: recovered")


@intermezzo_only
def test_synchronous_files_are_written_after_their_entries(disk: str, second_disk: str) -> None:
    """chattr +S: each write, and each copy to it, goes to the medium at once."""
    def by_write(path: str) -> None:
        overwrite(path, b"N" * 100)

    def by_copy(path: str) -> None:
        source = os.open(f"{os.path.dirname(path)}/source", os.O_RDONLY)
        target = os.open(path, os.O_WRONLY)
        equal(os.copy_file_range(source, target, 100), 100, "bytes")
        os.close(source)
        os.close(target)

    recovered = {change.__name__: recovered_after_a_crash(disk, second_disk, change, "+S")
                 for change in (by_write, by_copy)}
    equal(recovered, dict.fromkeys(recovered, ["close"]), "recovered")


@intermezzo_only
def test_data_that_others_force_out_has_its_entry(disk: str, second_disk: str) -> None:
    """chattr +i, FIEMAP_FLAG_SYNC, a copy from an O_DIRECT descriptor, POSIX_FADV_DONTNEED: but for the first
    one nobody needs to be able to write the file for them."""
    def by_immutable(path: str) -> None:
        overwrite(path, b"N" * 100)
        run("chattr", "+i", path)

    def by_fiemap(path: str) -> None:
        overwrite(path, b"N" * 100)
        with open(path, "rb") as stream:
            fcntl.ioctl(stream, FS_IOC_FIEMAP, struct.pack("=QQIIII", 0, 2**64 - 1, FIEMAP_SYNC, 0, 0, 0))

    def by_copy_from_direct(path: str) -> None:
        overwrite(path, b"N" * 100)
        source = os.open(path, os.O_RDONLY | os.O_DIRECT)
        target = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR)
        equal(os.copy_file_range(source, target, PAGE), PAGE, "bytes")
        os.close(source)
        os.close(target)

    def by_advice(path: str) -> None:
        overwrite(path, b"N" * 100)
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        call("sync_file_range", fd, 0, PAGE, WAIT_BEFORE)
        os.close(fd)

    recovered = {change.__name__: recovered_after_a_crash(disk, second_disk, change)
                 for change in (by_immutable, by_fiemap, by_copy_from_direct, by_advice)}
    equal(recovered, dict.fromkeys(recovered, ["close"]), "recovered")


@intermezzo_only
def test_close_has_seen_what_was_applied_when_its_change_began(disk: str, second_disk: str) -> None:
    """What is applied of the upstream log while a body is being changed its writer had not seen: neither its
    entry nor its CLOSE says so, nor the CLOSE that a recovery writes."""
    make_ext4(disk)
    peer = bytes(range(16))
    with mounted(disk, f"{FILESET},commit=300") as root:
        write(f"{root}/f", b"o" * PAGE)
        wait_for_spares(root)
        wait_until_none_is_listed(root)
        here = fid_of(os.fsencode(f"{root}/f"), 1)
        position(root, peer, 7, 1000, 5000, UPSTREAM)
        fd = os.open(f"{root}/f", os.O_WRONLY)
        os.write(fd, b"N" * 100)
        position(root, peer, 7, 2000, 9000, UPSTREAM)
        os.write(fd, b"N" * 100)
        os.fsync(fd)
        equal(Log.of_mount(root).listed_seen, {here: 1000}, "the entry")
        copy_as_after_a_crash(disk, second_disk)
        os.close(fd)
        os.mkdir(f"{root}/d")
        newest = list(Log.of_mount(root).records())[-2:]
        equal([(r.op, r.seen) for r in newest], [("close", 1000), ("mkdir", 2000)], "seen")
    with mounted(second_disk, FILESET) as root:
        os.mkdir(f"{root}/d")
        newest = list(Log.of_mount(root).records())[-2:]
        equal([(r.op, r.flags & RECOVERED, r.seen) for r in newest],
              [("close", RECOVERED, 1000), ("mkdir", 0, 2000)], "seen, after a crash")


@intermezzo_only
def test_files_that_mke2fs_has_made(disk: str, second_disk: str) -> None:
    """mke2fs -d gives what it makes generation 0, which is any to ext4: they are recovered all the same."""
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/f", b"o" * PAGE)
        make_ext4(disk, "-d", folder)
    with mounted(disk, f"{FILESET},commit=300") as root:
        wait_for_spares(root)
        fd = os.open(f"{root}/f", os.O_WRONLY | os.O_DSYNC)
        os.write(fd, b"N" * 100)
        os.close(fd)
        copy_as_after_a_crash(disk, second_disk)
    with mounted(second_disk, FILESET) as root:
        equal([(r.op, r.object.generation) for r in Log.of_mount(root).records() if r.flags & RECOVERED],
              [("close", 0)], "recovered")


@intermezzo_only
def test_lazytime_does_not_leave_the_log_ahead(disk: str, second_disk: str) -> None:
    """A CLOSE says the time of the last write; after a crash the file has it: ext4 counts changes of an inode
    (i_version), and writes one whose count moved, times and all."""
    make_ext4(disk)
    with mounted(disk, f"{FILESET},lazytime,commit=300") as root:
        baseline = snapshot(root)
        # in a block of inodes that nothing else is in
        for number in range(40):
            write(f"{root}/{number}")
        write(f"{root}/f", b"o" * PAGE)
        for number in range(40, 80):
            write(f"{root}/{number}")
        wait_for_spares(root)
        wait_until_none_is_listed(root)
        overwrite(f"{root}/f", b"N" * 100)
        fd = os.open(f"{root}/f", os.O_RDONLY)
        # not syncfs(2), which writes the times too
        call("sync_file_range", fd, 0, PAGE, 7)
        os.close(fd)
        wait_until(lambda: not info(root).dirty, "its data is on the medium")
        wait_until(lambda: not Log.of_mount(root).listed, "its entry is free on the cache")
        copy_as_after_a_crash(disk, second_disk)
    with mounted(second_disk, FILESET) as root:
        found = Log.of_mount(root)
        equal([r.op for r in found.records() if r.flags & RECOVERED], [], "recovered")
        check(baseline, found, root)


@intermezzo_only
def test_emergency_remount_of_the_cache(disk: str, log: KernelLog) -> None:
    """SysRq-U makes the cache read-only below us; unmounting still lets go of every file, and the next mount
    goes on."""
    make_ext4(disk)
    where = mount_point()
    mount_old(disk, where, "intermezzo", FILESET)
    baseline = snapshot(where)
    with open(f"{where}/f", "wb") as stream:
        stream.write(b"data")
        stream.flush()
        Path("/proc/sysrq-trigger").write_text("u", encoding="ascii")
        wait_until(lambda: is_read_only(where), "a read-only cache")
    equal(info(where).dirty, 1, "listed still")
    umount(where)
    equal("Busy inodes" in log.read(), False, "inodes were left")
    with mounted(disk, FILESET) as root:
        check(copy.deepcopy(baseline), Log.of_mount(root), root)
        os.mkdir(f"{root}/d")
        check(baseline, Log.of_mount(root), root)


def is_read_only(root: str) -> bool:
    """Does the cache refuse changes?"""
    try:
        os.mkdir(f"{root}/probe")
        os.rmdir(f"{root}/probe")
    except OSError as error:
        equal(error.errno, errno.EROFS, "errno")
        return True
    return False
