# SPDX-License-Identifier: GPL-2.0
"""Running out: blocks, inodes, reserved blocks, quota; and getting the space back."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import struct

from guest.disks import check_ext, fill, make_ext4
from guest.expect import as_user, equal, errno_of, expect_errno, provokes, wait_until
from guest.log_info import wait_for_spares
from guest.subject import FILESET, IS_INTERMEZZO, mounted
from guest.syscalls import call, fallocate, syncfs

Q_GETQUOTA, Q_SETQUOTA, Q_SYNC = 0x800007, 0x800008, 0x800001
USRQUOTA = 0


def options(*words: str) -> str:
    """Mount options with the fileset."""
    return ",".join(filter(None, [FILESET, *words]))


def test_full_disk(disk: str, where: str) -> None:
    """On a full disk every operation that needs room fails with ENOSPC; removing works and makes room."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, FILESET, where=where):
        os.mkdir(f"{where}/d")
        os.close(os.open(f"{where}/small", os.O_CREAT | os.O_WRONLY))
        written = fill(f"{where}/big")
        if written < 5 << 20:
            raise AssertionError(f"only {written} bytes fitted")
        syncfs(where)
        fd = os.open(f"{where}/small", os.O_WRONLY)
        expect_errno(errno.ENOSPC, lambda: [os.write(fd, b"x" * 65536) for _ in range(20)])
        expect_errno(errno.ENOSPC, fallocate, fd, 0, 1 << 20, 8 << 20)
        os.close(fd)
        while errno_of(os.mkdir, f"{where}/d/{len(os.listdir(f'{where}/d'))}") == "ok":
            pass
        expect_errno(errno.ENOSPC, os.mkdir, f"{where}/d/one-more")
        os.truncate(f"{where}/big", 1 << 20)
        syncfs(where)
        os.mkdir(f"{where}/room")
        fill(f"{where}/again")
        os.unlink(f"{where}/again")
        os.unlink(f"{where}/big")
        os.makedirs(f"{where}/room/enough")
    check_ext(disk)


@provokes(r"runner\.py.*segfault")
def test_full_disk_through_a_mapping(disk: str, where: str) -> None:
    """A store into a hole of a full disk is SIGBUS, not a hang, and the process is gone cleanly."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, FILESET, where=where):
        fd = os.open(f"{where}/holes", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 8 << 20)
        fill(f"{where}/big")
        syncfs(where)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            mapping = mmap.mmap(fd, 8 << 20)
            for at in range(0, 8 << 20, 4096):
                mapping[at] = 1
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        equal(os.WIFSIGNALED(status) and os.WTERMSIG(status), signal.SIGBUS, "end of the process")
        os.close(fd)
        os.unlink(f"{where}/big")
    check_ext(disk)


def test_reserved_blocks_are_for_root(disk: str, where: str) -> None:
    """Users stop at the reserve, root's daemons may use it, a user's write after that still fails."""
    make_ext4(disk, "-m", "30", size="32M")
    with mounted(disk, FILESET, where=where):
        os.chmod(where, 0o777)
        by_user = as_user(lambda: fill(f"{where}/user"))
        syncfs(where)
        by_root = fill(f"{where}/root")
        if by_root < 4 << 20:
            raise AssertionError(f"root wrote {by_root} bytes into the reserve, the user {by_user} before")
        expect_errno(errno.ENOSPC, as_user, lambda: os.mkdir(f"{where}/no"))
        equal(os.statvfs(where).f_bavail, 0, "blocks for users")
        os.unlink(f"{where}/root")
        os.unlink(f"{where}/user")
    check_ext(disk)


def test_inodes_run_out(disk: str, where: str) -> None:
    """Without inodes nothing can be made, every kind fails with ENOSPC, and one removal makes one
    possible."""
    make_ext4(disk, "-N", "64", size="16M")
    with mounted(disk, FILESET, where=where):
        count = 0
        while errno_of(os.mknod, f"{where}/f{count}") == "ok":
            count += 1
        if count < 20:
            raise AssertionError(f"only {count} files fitted")
        expect_errno(errno.ENOSPC, os.mkdir, f"{where}/d")
        expect_errno(errno.ENOSPC, os.symlink, "a", f"{where}/s")
        expect_errno(errno.ENOSPC, os.mkfifo, f"{where}/p")
        expect_errno(errno.ENOSPC, os.open, where, os.O_TMPFILE | os.O_RDWR)
        expect_errno(errno.ENOSPC, os.open, f"{where}/x", os.O_CREAT | os.O_WRONLY)
        equal(os.statvfs(where).f_ffree, 0, "free inodes")
        os.link(f"{where}/f0", f"{where}/link")
        os.unlink(f"{where}/f1")
        os.mkdir(f"{where}/d")
    check_ext(disk)


def free_blocks(where: str) -> int:
    """Free blocks once everything is written."""
    syncfs(where)
    return os.statvfs(where).f_bfree


class FreeSpace:
    """How many blocks are taken since the log had all its files."""

    def __init__(self, where: str) -> None:
        if IS_INTERMEZZO:
            wait_for_spares(where)
        self._where = where
        self._start = free_blocks(where)

    def taken(self) -> int:
        """Blocks that are not free any more."""
        return self._start - free_blocks(self._where)

    def wait_below(self, blocks: int, what: str) -> None:
        """Not all that is freed is free at once; says how many are left if it never is."""
        try:
            wait_until(lambda: self.taken() < blocks, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.taken()} blocks are taken, expected less than {blocks}") \
                from error


def test_deleted_file_gives_its_space_back_at_close(disk: str, where: str) -> None:
    """df shows the space of a deleted open file again as soon as it is closed; a nameless file likewise."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET, where=where):
        space = FreeSpace(where)
        for named in (True, False):
            flags = os.O_CREAT | os.O_RDWR if named else os.O_TMPFILE | os.O_RDWR
            fd = os.open(f"{where}/f" if named else where, flags)
            os.write(fd, bytes(8 << 20))
            if named:
                os.unlink(f"{where}/f")
            taken = space.taken()
            if taken < 2000:
                raise AssertionError(f"named={named}: an 8 MiB file without a name takes {taken} blocks")
            second = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
            os.close(fd)
            equal(space.taken() >= 2000, True, f"named={named}: still taken by the second open")
            os.close(second)
            space.wait_below(20, f"named={named}: space back after the close")


def test_deleted_mapped_file_gives_its_space_back(disk: str, where: str) -> None:
    """A deleted file whose last user is a mapping is freed at munmap."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET, where=where):
        space = FreeSpace(where)
        fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
        os.write(fd, bytes(4 << 20))
        address = call("mmap", None, 4 << 20, 3, mmap.MAP_SHARED, fd, 0)
        os.close(fd)
        os.unlink(f"{where}/f")
        equal(space.taken() > 1000, True, "taken while mapped")
        call("munmap", address, 4 << 20)
        space.wait_below(20, "space back after munmap")


def test_overwritten_and_replaced_files_give_space_back(disk: str, where: str) -> None:
    """rename over a file and O_TRUNC free the old body at once, with the old one looked up and cached."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET, where=where):
        space = FreeSpace(where)
        for number in range(8):
            with open(f"{where}/new", "wb") as stream:
                stream.write(bytes(4 << 20))
            if number:
                os.stat(f"{where}/f")
            os.rename(f"{where}/new", f"{where}/f")
        space.wait_below(1100, "only one body is left")
        os.close(os.open(f"{where}/f", os.O_WRONLY | os.O_TRUNC))
        space.wait_below(30, "no body is left")


def test_hard_links_free_with_the_last_name(disk: str, where: str) -> None:
    """A body with two cached names stays until both are gone, also when one was never looked up."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET, where=where):
        space = FreeSpace(where)
        with open(f"{where}/a", "wb") as stream:
            stream.write(bytes(4 << 20))
        os.link(f"{where}/a", f"{where}/b")
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
            control.write("2")
        os.unlink(f"{where}/a")
        equal(space.taken() > 1000, True, "taken by the second name")
        equal(os.stat(f"{where}/b").st_nlink, 1, "links")
        os.unlink(f"{where}/b")
        space.wait_below(20, "space back")


def set_quota(device: str, uid: int, blocks: int, inodes: int) -> None:
    """Hard limits in KiB and inodes, by the device's name as setquota does it."""
    limits = struct.pack("=QQQQQQQQII", blocks, blocks, 0, inodes, inodes, 0, 0, 0, 1 | 4, 0)
    call("quotactl", Q_SETQUOTA << 8 | USRQUOTA, device, uid, limits)


def used_bytes(device: str, uid: int) -> int:
    """Bytes charged to a user."""
    usage = ctypes.create_string_buffer(72)
    call("quotactl", Q_GETQUOTA << 8 | USRQUOTA, device, uid, usage)
    return struct.unpack_from("=Q", usage, 16)[0]


def test_quota_limits_users(disk: str, where: str) -> None:
    """A user's hard limits give EDQUOT for blocks and inodes, root passes, chown moves the charge."""
    make_ext4(disk, "-O", "quota", "-E", "quotatype=usrquota")
    with mounted(disk, options("usrquota"), where=where):
        os.chmod(where, 0o777)
        set_quota(disk, 1000, 2048, 10)
        written = as_user(lambda: fill(f"{where}/user"))
        assert isinstance(written, int)
        if not 1 << 20 < written <= 2 << 20:
            raise AssertionError(f"the user wrote {written} bytes under a limit of 2 MiB")
        expect_errno(errno.EDQUOT, as_user, lambda: [os.mknod(f"{where}/n{n}") for n in range(20)])
        as_user(lambda: fill(f"{where}/other-user"), 1001)
        with open(f"{where}/root", "wb") as stream:
            stream.write(bytes(4 << 20))
        os.unlink(f"{where}/user")
        as_user(lambda: fill(f"{where}/user", 4096))
        if used_bytes(disk, 1001) < 1 << 20:
            raise AssertionError("no usage is shown for uid 1001")
        os.chown(f"{where}/root", 1002, -1)
        call("quotactl", Q_SYNC << 8 | USRQUOTA, disk, 0, None)
        equal(used_bytes(disk, 1002) >= 4 << 20, True, "chown moved the charge")
    check_ext(disk)


def test_statfs_is_the_disks(disk: str, where: str) -> None:
    """statfs gives the same totals through the mount as for the disk itself, and reacts to every write."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, fstype="ext4", where=where):
        plain = os.statvfs(where)
    with mounted(disk, FILESET, where=where):
        ours = os.statvfs(where)
        equal((ours.f_blocks, ours.f_bsize, ours.f_files, ours.f_namemax),
              (plain.f_blocks, plain.f_bsize, plain.f_files, plain.f_namemax), "statvfs")
        space = FreeSpace(where)
        with open(f"{where}/f", "wb") as stream:
            stream.write(bytes(2 << 20))
        equal(space.taken() >= 512, True, "free blocks went down")
