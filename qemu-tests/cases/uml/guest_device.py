# SPDX-License-Identifier: GPL-2.0
"""What a channel's daemon is told, and what it may say: docs/device-protocol.md."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import struct
from typing import Callable

from guest.device import (IOC_VERSION, LARGEST, MOUNTED, SIZES, VERSION, Daemon, answer_bytes, await_calm,
                          decode, sync_log)
from guest.disks import make_ext4
from guest.expect import as_user, equal, expect_errno, in_child, intermezzo_only, wait_until
from guest.kernel_log import KernelLog
from guest.kml import HEADER, Log
from guest.mounting import mount_new, mount_old, remount_new, remount_old, umount
from guest.subject import FILESET, mount_point, mounted
from guest.syscalls import CLONE_NEWUSER, call

# The journal commits only when asked to.
RARELY = "fileset=rootset,commit=300"


def identity(root: str, name: str = "rootset") -> tuple[bytes, bytes, int]:
    """Fileset, replica and epoch as the log's header has them."""
    with open(f"{root}/.intermezzo/{name}/kml", "rb") as stream:
        words = HEADER.unpack(stream.read(HEADER.size))
    return words[8], words[9], words[10]


@intermezzo_only
def test_version_comes_first() -> None:
    """Before the version is agreed on nothing is read or answered; an unknown one is refused, and the kernel
    says which it knows."""
    with Daemon(version=None) as daemon:
        equal(daemon.events(), select.POLLERR, "poll")
        expect_errno(errno.EPROTO, os.read, daemon.fd, LARGEST)
        expect_errno(errno.EPROTO, os.write, daemon.fd, answer_bytes(1))
        for version in (0, VERSION + 1, 0xffffffff):
            said = bytearray(struct.pack("=I", version))
            expect_errno(errno.EPROTONOSUPPORT, fcntl.ioctl, daemon.fd, IOC_VERSION, said)
            equal(struct.unpack("=I", said)[0], VERSION, "what the kernel speaks")
            expect_errno(errno.EPROTO, os.read, daemon.fd, LARGEST)
        expect_errno(errno.ENOTTY, fcntl.ioctl, daemon.fd, IOC_VERSION + 1, bytearray(4))
        daemon.say_version(VERSION)
        equal(daemon.waiting(), [], "upcalls of an idle channel")
    with Daemon(version=None) as daemon:
        expect_errno(errno.EPROTO, os.read, daemon.fd, LARGEST)


@intermezzo_only
def test_only_administrators_open_it() -> None:
    """CAP_SYS_ADMIN of the first user name space is needed, whatever the node's mode (I12)."""
    expect_errno(errno.EACCES, as_user, lambda: os.open("/dev/intermezzo0", os.O_RDWR))
    os.chmod("/dev/intermezzo0", 0o666)
    try:
        expect_errno(errno.EPERM, as_user, lambda: os.open("/dev/intermezzo0", os.O_RDWR))
        expect_errno(errno.EPERM, as_user, lambda: os.open("/dev/intermezzo0", os.O_RDONLY))

        def in_own_namespace() -> None:
            call("unshare", CLONE_NEWUSER)
            os.open("/dev/intermezzo0", os.O_RDWR)
        expect_errno(errno.EPERM, in_child, in_own_namespace)
    finally:
        os.chmod("/dev/intermezzo0", 0o600)


@intermezzo_only
def test_one_daemon_at_a_time(log: KernelLog) -> None:
    """A second open of a channel is EBUSY, without a word in the kernel's log; other channels are free."""
    with Daemon() as daemon:
        expect_errno(errno.EBUSY, Daemon)
        with Daemon(1):
            pass
        copy = os.dup(daemon.fd)
    expect_errno(errno.EBUSY, Daemon)
    os.close(copy)
    with Daemon():
        pass
    equal(log.read(), "", "the kernel's log")


@intermezzo_only
def test_mounted_says_what_it_is(disk: str, where: str) -> None:
    """MOUNTED has names, numbers and identity of the fileset, and asks."""
    make_ext4(disk)
    with mounted(disk, "fileset=home,mtp=/srv/my home,channel=5", where=where), Daemon(5) as daemon:
        mounted_upcall, _ = daemon.serve("home")
        fileset, replica, epoch = identity(where, "home")
        equal((mounted_upcall.fileset, mounted_upcall.replica, mounted_upcall.epoch),
              (fileset, replica, epoch), "identity")
        equal((mounted_upcall.channel, mounted_upcall.mtp, mounted_upcall.device, mounted_upcall.read_only,
               mounted_upcall.asks), (5, "/srv/my home", os.stat(where).st_dev, False, True), "the rest")


@intermezzo_only
def test_each_fileset_is_told(disk: str, second_disk: str, where: str) -> None:
    """A daemon that comes later learns of each fileset of its channel, of none of another."""
    make_ext4(disk)
    make_ext4(second_disk)
    with mounted(disk, "fileset=one,channel=2", where=where), \
            mounted(second_disk, "fileset=two,channel=2"), \
            mounted("none", "fileset=three,channel=3", fstype="vintermezzo"):
        for _ in range(3):
            with Daemon(2) as daemon:
                told = [daemon.next() for _ in range(4)]
                equal(sorted(u.said for u in told),
                      [("grew", "one"), ("grew", "two"), ("mounted", "one"), ("mounted", "two")], "told")
                equal([u.id for u in told], sorted(u.id for u in told), "ids grow")
                for upcall in told:
                    if upcall.asks:
                        daemon.answer(upcall)
        with Daemon(3) as daemon:
            daemon.serve("three")


@intermezzo_only
def test_mounts_are_told_as_they_come(disk: str, where: str) -> None:
    """Mounting, remounting and unmounting under an open device, by either kernel interface."""
    make_ext4(disk)
    for mount, remount in ((mount_old, remount_old), (mount_new, remount_new)):
        with Daemon() as daemon:
            mount(disk, where, "intermezzo", FILESET)
            first, grew = daemon.serve()
            equal(grew is not None and grew.epoch == first.epoch, True, "KML_GREW is of the same log")
            remount(where, "ro")
            changed = daemon.next()
            equal((changed.said, changed.read_only), (("mounted", "rootset"), True), "read-only")
            daemon.answer(changed)
            remount(where, "ro")
            equal([u.type for u in daemon.waiting()], [], "told of nothing new")
            remount(where, "rw")
            changed = daemon.next()
            equal((changed.said, changed.read_only), (("mounted", "rootset"), False), "read-write")
            daemon.answer(changed)
            remount(where, "mtp=/home")
            changed = daemon.next()
            equal((changed.said, changed.mtp), (("mounted", "rootset"), "/home"), "a mount point is named")
            daemon.answer(changed)
            umount(where)
            equal([u.said for u in daemon.waiting()], [("gone", "rootset")], "after the umount")


@intermezzo_only
def test_root_is_told_once_it_is_a_fileset(disk: str, where: str) -> None:
    """A root being booted is no fileset; read-only with a name it has no identity yet; read-write it has."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        known = identity(where)
    with Daemon() as daemon:
        with mounted(disk, "ro", where=where):
            equal(daemon.waiting(), [], "of a mount without a name")
            remount_old(where, "ro,fileset=rootset,mtp=/")
            upcall, grew = daemon.serve()
            equal((upcall.epoch, upcall.replica, upcall.read_only, upcall.mtp, grew),
                  (0, bytes(16), True, "/", None), "read-only")
            remount_new(where, "rw")
            upcall, _ = daemon.serve()
            equal((upcall.fileset, upcall.replica, upcall.epoch, upcall.read_only), (*known, False), "now")
        equal([u.type for u in daemon.waiting()], ["gone"], "after the umount")


@intermezzo_only
def test_mounts_that_fail_are_not_told(disk: str, second_disk: str, where: str) -> None:
    """Neither a refused mount nor a refused remount leaves an upcall."""
    make_ext4(disk)
    make_ext4(second_disk)
    with Daemon() as daemon, mounted(disk, FILESET, where=where):
        daemon.serve()
        elsewhere = mount_point()
        expect_errno(errno.EBUSY, mount_old, second_disk, elsewhere, "intermezzo", f"{FILESET},channel=0")
        expect_errno(errno.EINVAL, mount_old, second_disk, elsewhere, "intermezzo",
                     "fileset=b,channel=0,no_such_option")
        for remount in (remount_old, remount_new):
            expect_errno(errno.EINVAL, remount, where, "mtp=/x,no_such_option")
        expect_errno(errno.EINVAL, mount_old, second_disk, elsewhere, "intermezzo",
                     f"fileset=b,channel=0,mtp=/{'m' * 1023}")
        equal(daemon.waiting(), [], "upcalls")
        mount_old(second_disk, elsewhere, "intermezzo", f"fileset=b,channel=0,mtp=/{'m' * 1022}")
        equal(daemon.next().mtp, f"/{'m' * 1022}", "the longest mtp=")
        umount(elsewhere)


@intermezzo_only
def test_gone_is_for_those_who_knew(disk: str, where: str) -> None:
    """GONE follows a MOUNTED that was read; an unread one is taken back, so the queue cannot grow."""
    make_ext4(disk)
    with Daemon() as daemon:
        for _ in range(20):
            with mounted(disk, FILESET, where=where):
                os.mkdir(f"{where}/d")
                os.rmdir(f"{where}/d")
        equal(daemon.waiting(), [], "nothing was read, nothing is told")
        with mounted(disk, FILESET, where=where):
            first = daemon.next()
            os.mkdir(f"{where}/d")
        for _ in range(20):
            with mounted(disk, FILESET, where=where):
                pass
        equal([u.said for u in daemon.waiting()], [("gone", "rootset")], "one GONE for what was known")
        expect_errno(errno.ENOENT, daemon.answer, first)


@intermezzo_only
def test_growth_is_told_twice_at_most(disk: str, where: str) -> None:
    """A hundred changes are two upcalls: there are records, and they are on the medium. Each has the newest
    numbers at the time of reading."""
    make_ext4(disk)
    with mounted(disk, RARELY, where=where), Daemon() as daemon:
        await_calm(where)
        daemon.serve()
        for number in range(100):
            os.mkdir(f"{where}/d{number}")
        grew = daemon.grew()
        equal(grew.committed_recno, 0, "on the medium before the commit")
        equal(0 < grew.recno <= 100, True, f"newest record {grew.recno}")
        equal(daemon.waiting(), [], "no more is told without a commit")
        sync_log(where)
        grew = daemon.grew()
        equal((grew.committed_recno, grew.recno), (100,) * 2, "after the commit")
        equal(grew.committed, os.stat(f"{where}/.intermezzo/rootset/kml").st_size, "end of the log's file")
        equal(list(Log.of_mount(where).records())[-1].recno, grew.recno, "the record that a reader sees")
        equal(daemon.waiting(), [], "no more is told")
        sync_log(where)
        equal(daemon.events(0.5) & select.POLLIN, 0, "nor after a commit of nothing")


@intermezzo_only
def test_growth_in_memory_is_told(where: str) -> None:
    """Without a journal a record is there at once; unread growth is one upcall with the newest numbers."""
    with mounted("none", FILESET, fstype="vintermezzo", where=where), Daemon() as daemon:
        _, grew = daemon.serve()
        for number in range(50):
            os.mkdir(f"{where}/d{number}")
            grew = daemon.grew()
            equal((grew.recno, grew.committed_recno), (number + 1,) * 2, "records")
        for number in range(50, 100):
            os.mkdir(f"{where}/d{number}")
        wait_until(lambda: daemon.events() & select.POLLIN, "growth is told")
        last = daemon.grew()
        while last.recno < 100:
            last = daemon.grew()
        equal(daemon.waiting(), [], "after the last one")


@intermezzo_only
def test_growth_before_the_daemon_came(disk: str, where: str) -> None:
    """Records that nobody was told of, committed or not, are told to the daemon that comes."""
    make_ext4(disk)
    with mounted(disk, RARELY, where=where):
        await_calm(where)
        os.mkdir(f"{where}/a")
        sync_log(where)
        os.mkdir(f"{where}/b")
        with Daemon() as daemon:
            _, grew = daemon.serve()
            equal((grew.committed_recno, grew.recno), (1, 2), "what it is told first")
            sync_log(where)
            equal(daemon.grew().committed_recno, 2, "and after the commit")
        with Daemon() as daemon:
            _, grew = daemon.serve()
            equal((grew.committed_recno, grew.recno), (2, 2), "what the next one is told first")


@intermezzo_only
def test_last_growth_before_read_only_is_told(disk: str, where: str) -> None:
    """What a remount to read-only commits is told before or after it, never lost."""
    make_ext4(disk)
    with mounted(disk, RARELY, where=where), Daemon() as daemon:
        daemon.serve()
        for number in range(5):
            os.mkdir(f"{where}/d{number}")
            remount_old(where, "ro")
            seen = daemon.next()
            while seen.type != "grew" or seen.committed_recno < number + 1:
                seen = daemon.next()
            remount_old(where, "rw")


@intermezzo_only
def test_waiting_for_a_commit_is_no_load(disk: str, where: str) -> None:
    """The worker that waits for the journal waits idly: no hung task, whatever the commit interval."""
    make_ext4(disk)

    def busy() -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                    name, state = stat.read().split("(")[1].split(")")
            except OSError:
                continue
            if state.split()[0] == "D":
                found.append(name)
        return found
    with mounted(disk, RARELY, where=where), Daemon() as daemon:
        await_calm(where)
        daemon.serve()
        os.mkdir(f"{where}/d")
        equal(daemon.grew().recno, 1, "the newest record")
        # a worker that waited as others do would be found here until the commit, minutes from now
        wait_until(lambda: not busy(), "nobody is in state D")


@intermezzo_only
def test_no_filter_leaves_notifications(disk: str, where: str) -> None:
    """With no_filter set MOUNTED, KML_GREW and GONE are told as ever."""
    make_ext4(disk)
    with Daemon() as daemon:
        with mounted(disk, f"{FILESET},no_filter,commit=300", where=where):
            with open("/proc/sys/intermezzo/intermezzo0/no_filter", encoding="ascii") as switch:
                equal(switch.read().strip(), "1", "no_filter")
            daemon.serve()
            os.mkdir(f"{where}/d")
            equal(daemon.grew().recno, 1, "newest record")
        equal(daemon.waiting()[-1].said, ("gone", "rootset"), "after the umount")


@intermezzo_only
def test_answers_are_checked(disk: str, where: str, log: KernelLog) -> None:
    """An answer that is not one, or is to no question, is refused; one that says why not is logged."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where), Daemon() as daemon:
        expect_errno(errno.ENOENT, os.write, daemon.fd, answer_bytes(1))  # not read yet
        upcall = daemon.next()
        whole = answer_bytes(upcall.id)
        for data in (b"", whole[:-1], whole + bytes(1), whole * 2,
                     struct.pack("=I", 23) + whole[4:], whole[:4] + b"\2\0" + whole[6:],
                     whole[:6] + b"\1\0" + whole[8:], answer_bytes(upcall.id, 512),
                     whole[:20] + b"\1\0\0\0"):
            expect_errno(errno.EINVAL, os.write, daemon.fd, data)
        for number in (0, upcall.id - 1, upcall.id + 1, 1 << 63):
            expect_errno(errno.ENOENT, os.write, daemon.fd, answer_bytes(number))
        grew = daemon.grew()
        expect_errno(errno.ENOENT, daemon.answer, grew)
        equal("intermezzo:" in log.read(), False, "lines of ours in the kernel's log so far")
        daemon.answer(upcall, errno.ENOSPC)
        equal("does not serve fileset rootset (error 28)" in log.read(), True, "the kernel's log")
        expect_errno(errno.ENOENT, daemon.answer, upcall)


@intermezzo_only
def test_nothing_is_lost_by_a_bad_buffer(disk: str, where: str) -> None:
    """A buffer too small, absent, or half absent loses nothing; one that is just large enough will do."""
    make_ext4(disk)
    libc = ctypes.CDLL(None, use_errno=True)
    size = SIZES[MOUNTED]

    def read_at(fd: int, address: int, length: int) -> int:
        got = libc.read(fd, ctypes.c_void_p(address), ctypes.c_size_t(length))
        if got < 0:
            raise OSError(ctypes.get_errno(), "read")
        return got
    with mounted(disk, FILESET, where=where), Daemon() as daemon:
        for length in (0, 1, size - 1):
            expect_errno(errno.EMSGSIZE, os.read, daemon.fd, length)
        pages = call("mmap", None, 2 * mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE,
                     mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        call("mprotect", pages + mmap.PAGESIZE, mmap.PAGESIZE, mmap.PROT_READ)
        for address in (0, pages + mmap.PAGESIZE - 200, pages + mmap.PAGESIZE, 1 << 63):
            expect_errno(errno.EFAULT, read_at, daemon.fd, address, size)
        # what lies behind the upcall need not be there
        equal(read_at(daemon.fd, pages + mmap.PAGESIZE - size, size + 100), size, "bytes read")
        said = ctypes.string_at(pages + mmap.PAGESIZE - size, size)
        equal(decode(said).said, ("mounted", "rootset"), "the upcall")


@intermezzo_only
def test_polling_ways(disk: str, where: str) -> None:
    """select, poll and epoll, level and edge, all see an upcall come."""
    make_ext4(disk)
    with Daemon() as daemon:
        level, edge = select.epoll(), select.epoll()
        level.register(daemon.fd, select.EPOLLIN)
        edge.register(daemon.fd, select.EPOLLIN | select.EPOLLET)
        waits: list[Callable[[], bool]] = [
            lambda: bool(select.select([daemon.fd], [], [], 0)[0]),
            lambda: bool(daemon.events() & select.POLLIN),
            lambda: bool(level.poll(0)),
        ]
        equal([wait() for wait in waits] + [bool(edge.poll(0))], [False] * 4, "before")
        equal(select.select([], [daemon.fd], [], 0)[1], [daemon.fd], "an answer can always be written")
        with mounted(disk, FILESET, where=where):
            equal([wait() for wait in waits] + [bool(edge.poll(20))], [True] * 4, "after the mount")
            daemon.serve()
            equal([wait() for wait in waits], [False] * 3, "when all is read")
        level.close()
        edge.close()
