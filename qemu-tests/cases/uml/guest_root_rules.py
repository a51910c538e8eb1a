# SPDX-License-Identifier: GPL-2.0
"""The root's rules: read-only and not validated until /etc/fstab's line says what it is, then read-write."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from typing import Callable, Iterator

from guest.disks import check_ext, make_ext4
from guest.expect import equal, errno_of, expect_errno, intermezzo_only, provokes
from guest.mounting import (MountError, mount_new, mount_old, proc_mounts_options, remount_new, remount_old,
                            split_options, umount, umount_lazily)
from guest.subject import FILESET, FSTYPE, mounted
from guest.syscalls import call, rename

REMOUNTERS: tuple[Callable[[str, str], None], ...] = (remount_old, remount_new)
ROOT_WORDS = "rw,fileset=rootset,mtp=/"


def no_filter_of_channel(number: int) -> int:
    """The switch's value of a channel."""
    with open(f"/proc/sys/intermezzo/intermezzo{number}/no_filter", encoding="ascii") as switch:
        return int(switch.read())


def no_filter_of(where: str) -> str:
    """Path of the no_filter switch of the channel a mount is on."""
    device = dict(split_options(proc_mounts_options(where)))["prestodev"]
    assert device
    return f"/proc/sys/intermezzo/{os.path.basename(device)}/no_filter"


def no_filter(where: str) -> int:
    """The switch's value."""
    with open(no_filter_of(where), encoding="ascii") as switch:
        return int(switch.read())


def make_root(disk: str) -> None:
    """A disk as an installer leaves it: marked as InterMezzo's, with a little tree."""
    make_ext4(disk)
    with mounted(disk, FILESET) as folder:
        os.makedirs(f"{folder}/etc")
        with open(f"{folder}/etc/fstab", "w", encoding="ascii") as stream:
            stream.write("/dev/vda / intermezzo fileset=rootset,mtp=/ 0 0\n")


@contextlib.contextmanager
def booted_root(disk: str, where: str, mount: Callable[[str, str, str, str],
                                                       None] = mount_old) -> Iterator[str]:
    """The root as the kernel mounts it: read-only, no options."""
    make_root(disk)
    mount(disk, where, FSTYPE, "ro")
    try:
        yield where
    except BaseException:
        umount_lazily(where)
        raise
    umount(where)
    check_ext(disk)


def expect_said(error: OSError, present: tuple[str, ...], absent: tuple[str, ...] = ()) -> None:
    """The kernel's message must have these words and not those."""
    assert isinstance(error, MountError)
    before_remedy = error.said.split("missing")[0]
    for word in present:
        if word not in before_remedy:
            raise AssertionError(f"{error.said!r} does not name {word!r} as missing")
    for word in absent:
        if word in before_remedy:
            raise AssertionError(f"{error.said!r} names {word!r} as missing, which was given")


def test_read_only_mount_refuses_every_change(disk: str, where: str) -> None:
    """Everything that writes fails with EROFS on a read-only mount; reading works."""
    with booted_root(disk, where):
        os.chdir(f"{where}/etc")
        attempts = [
            (os.mkdir, "d"), (os.open, "new", os.O_CREAT | os.O_WRONLY), (os.open, "fstab", os.O_RDWR),
            (os.open, "fstab", os.O_TRUNC | os.O_WRONLY), (os.truncate, "fstab", 0), (os.unlink, "fstab"),
            (os.rename, "fstab", "f2"), (rename, "fstab", "f2", 1), (os.link, "fstab", "l"), (os.symlink, "a",
                                                                                              "s"),
            (os.mkfifo, "p"), (os.chmod, "fstab", 0o600), (os.chown, "fstab", 1, 1), (os.utime, "fstab"),
            (os.setxattr, "fstab", "user.a", b"1"), (os.removexattr, "fstab", "user.a"),
            (os.open, ".", os.O_TMPFILE | os.O_RDWR), (os.rmdir, "../lost+found"),
        ]
        for function, *arguments in attempts:
            expect_errno(errno.EROFS, function, *arguments)
        with open("fstab", "rb") as stream:
            equal(len(stream.read()) > 10, True, "content")
        fd = os.open("fstab", os.O_RDONLY)
        equal(errno_of(os.ftruncate, fd, 0), "EINVAL", "ftruncate of a reader")
        os.close(fd)
        os.chdir("/")


@intermezzo_only
def test_read_only_without_options_is_not_validated(disk: str, where: str) -> None:
    """no_filter is 1 after the root mount and stays so until somebody clears it."""
    for mount in (mount_old, mount_new):
        with booted_root(disk, where, mount):
            equal(no_filter(where), 1, "no_filter")
            remount_old(where, ROOT_WORDS)
            equal(no_filter(where), 1, "no_filter after the remount")
            with open(no_filter_of(where), "w", encoding="ascii") as switch:
                switch.write("0")
            equal(no_filter(where), 0, "no_filter when the daemon has cleared it")
            remount_old(where, "ro")
            remount_old(where, ROOT_WORDS)
            equal(no_filter(where), 0, "no_filter after another remount")


@intermezzo_only
def test_no_filter_takes_0_and_1_only(disk: str, where: str) -> None:
    """The switch refuses other values; the option sets it on a read-write mount."""
    make_root(disk)
    with mounted(disk, "fileset=rootset,no_filter", where=where):
        equal(no_filter(where), 1, "no_filter")
        for value in ("2", "-1", "x"):
            def write(text: str = value) -> None:
                with open(no_filter_of(where), "w", encoding="ascii") as switch:
                    switch.write(text)
            expect_errno(errno.EINVAL, write)


@intermezzo_only
def test_a_missing_word_is_named(disk: str, where: str) -> None:
    """Remount read-write without fileset=, without mtp=, and without both is refused, naming what is
    missing."""
    with booted_root(disk, where):
        for remount in REMOUNTERS:
            expect_said(expect_errno(errno.EINVAL, remount, where, "rw"), ("fileset=", "mtp="))
            expect_said(expect_errno(errno.EINVAL, remount, where, "rw,fileset=rootset"), ("mtp=",),
                        ("fileset=",))
            expect_said(expect_errno(errno.EINVAL, remount, where, "rw,mtp=/"), ("fileset=",), ("mtp=",))
            expect_errno(errno.EROFS, os.mkdir, f"{where}/d")
            if "ro" not in proc_mounts_options(where).split(","):
                raise AssertionError(f"not read-only any more: {proc_mounts_options(where)}")
        shown = proc_mounts_options(where)
        if "fileset" in shown or "mtp" in shown:
            raise AssertionError(f"a refused remount left its words: {shown}")


@intermezzo_only
def test_both_words_make_it_read_write(disk: str, where: str) -> None:
    """With fileset= and mtp= the root becomes read-write at once, by either interface and either name."""
    for remount in REMOUNTERS:
        for words in (ROOT_WORDS, "rw,volume=rootset,mtpt=/", "rw,x-systemd.growfs,mtp=/,fileset=rootset"):
            with booted_root(disk, where):
                remount(where, words)
                os.mkdir(f"{where}/written")
                shown = set(split_options(proc_mounts_options(where)))
                if not {("fileset", "rootset"), ("mtp", "/"), ("rw", None)} <= shown:
                    raise AssertionError(f"shown: {shown}")


@intermezzo_only
def test_words_given_at_the_read_only_mount_count(disk: str, where: str) -> None:
    """rootflags= may carry one word or both; the remount needs the rest only."""
    make_root(disk)
    for first, second in (("ro,fileset=rootset", "rw,mtp=/"), ("ro,mtp=/", "rw,fileset=rootset"),
                          ("ro,fileset=rootset,mtp=/", "rw")):
        for remount in REMOUNTERS:
            with mounted(disk, first, where=where):
                if "mtp=/" not in first or "fileset" not in first:
                    expect_errno(errno.EINVAL, remount, where, "rw")
                remount(where, second)
                os.utime(where)


@intermezzo_only
def test_words_may_arrive_while_read_only(disk: str, where: str) -> None:
    """A remount that stays read-only may bring the words; a later plain rw is enough then."""
    with booted_root(disk, where):
        remount_old(where, "ro,fileset=rootset,mtp=/")
        expect_errno(errno.EROFS, os.mkdir, f"{where}/d")
        remount_old(where, "rw")
        os.mkdir(f"{where}/d")


def test_read_only_and_read_write_many_times(disk: str, where: str) -> None:
    """The root goes rw, ro, rw again and again by both interfaces, with work in between."""
    with booted_root(disk, where):
        words = ROOT_WORDS if FSTYPE != "ext4" else "rw"
        for number in range(6):
            remount = REMOUNTERS[number % 2]
            remount(where, words)
            os.mkdir(f"{where}/d{number}")
            with open(f"{where}/d{number}/f", "wb") as stream:
                stream.write(b"x" * 10000)
            REMOUNTERS[(number + 1) % 2](where, "ro")
            expect_errno(errno.EROFS, os.mkdir, f"{where}/no")
            words = "rw"
        equal(len([n for n in os.listdir(where) if n.startswith("d")]), 6, "directories")


@intermezzo_only
def test_another_fileset_at_the_second_remount_is_refused(disk: str, where: str) -> None:
    """Once the root has a fileset, a remount cannot give it another."""
    with booted_root(disk, where):
        remount_old(where, ROOT_WORDS)
        remount_old(where, "ro")
        for words in ("rw,fileset=other,mtp=/", "rw,fileset=rootset,mtp=/other"):
            expect_errno(errno.EINVAL, remount_old, where, words)
        remount_old(where, "rw")


@intermezzo_only
def test_bad_words_at_the_remount(disk: str, where: str) -> None:
    """A bad name at the remount is refused and the root stays read-only and usable."""
    with booted_root(disk, where):
        for remount in REMOUNTERS:
            for words in ("rw,fileset=a/b,mtp=/", "rw,fileset=,mtp=/", "rw,fileset=rootset,mtp=relative",
                          "rw,fileset=rootset,mtp=/,nonsense", "rw,fileset=rootset,mtp=/,channel=16"):
                expect_errno(errno.EINVAL, remount, where, words)
                expect_errno(errno.EROFS, os.mkdir, f"{where}/d")
        remount_old(where, ROOT_WORDS)
        os.mkdir(f"{where}/d")


def test_remount_read_only_with_a_writer_is_busy(disk: str, where: str) -> None:
    """An open writer keeps the mount read-write (EBUSY), by both interfaces; without it ro works."""
    make_root(disk)
    with mounted(disk, FILESET, where=where):
        fd = os.open(f"{where}/f", os.O_CREAT | os.O_WRONLY)
        for remount in REMOUNTERS:
            expect_errno(errno.EBUSY, remount, where, "ro")
            os.write(fd, b"still writable")
        os.close(fd)
        remount_old(where, "ro")
        remount_old(where, "rw" + (",fileset=rootset,mtp=/" if FSTYPE != "ext4" else ""))


def test_remount_read_only_with_a_mapping_is_busy(disk: str, where: str) -> None:
    """A shared writable mapping whose descriptor is closed counts as a writer."""
    make_root(disk)
    with mounted(disk, FILESET, where=where):
        fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 4096)
        address = call("mmap", None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        os.close(fd)
        for remount in REMOUNTERS:
            expect_errno(errno.EBUSY, remount, where, "ro")
        call("munmap", address, 4096)
        fd = os.open(f"{where}/f", os.O_RDONLY)
        reading = call("mmap", None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        os.close(fd)
        remount_old(where, "ro")
        call("munmap", reading, 4096)


def test_remount_read_only_with_a_deleted_file_open(disk: str, where: str) -> None:
    """A deleted file that is still open keeps the disk read-write: freeing it is a write."""
    make_root(disk)
    with mounted(disk, FILESET, where=where):
        with open(f"{where}/f", "wb") as stream:
            stream.write(b"x" * 10000)
        fd = os.open(f"{where}/f", os.O_RDONLY)
        os.unlink(f"{where}/f")
        for remount in REMOUNTERS:
            expect_errno(errno.EBUSY, remount, where, "ro")
        os.close(fd)
        remount_old(where, "ro")
        expect_errno(errno.EROFS, os.mkdir, f"{where}/d")


def log_blocks(where: str) -> int:
    """Blocks of the file system that the logs take, which grow."""
    folder = f"{where}/.intermezzo/rootset"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sum(os.stat(f"{folder}/{name}").st_blocks for name in names) * 512 // os.statvfs(where).f_bsize


def test_many_deleted_files_do_not_keep_it_read_write(disk: str, where: str) -> None:
    """1,000 files looked at, kept in caches and then removed neither hold their space nor the mount."""
    make_root(disk)
    with mounted(disk, FILESET, where=where):
        free = os.statvfs(where).f_bfree + log_blocks(where)
        for number in range(1000):
            with open(f"{where}/f{number}", "wb") as stream:
                stream.write(b"x" * 5000)
        os.sync()
        if free - log_blocks(where) - os.statvfs(where).f_bfree < 2000:
            raise AssertionError("the files take no space")
        for number in range(1000):
            os.stat(f"{where}/f{number}")
            os.unlink(f"{where}/f{number}")
        remount_old(where, "ro")
        grown = free - log_blocks(where) - os.statvfs(where).f_bfree
        if grown > 100:
            raise AssertionError(f"{grown} blocks are still taken")


@intermezzo_only
def test_read_only_mounts_change_nothing_on_the_disk(disk: str, where: str) -> None:
    """Mounting read-only, with and without words, and unmounting leaves every byte of the disk as it was."""
    make_root(disk)

    def image() -> bytes:
        with open(disk, "rb") as stream:
            return stream.read(8 << 20)
    before = image()
    for options in ("ro", "ro,fileset=rootset,mtp=/", "ro,noload"):
        with mounted(disk, options, where=where):
            os.listdir(where)
    equal(image() == before, True, "disk unchanged")


@intermezzo_only
def test_read_only_mount_of_a_foreign_disk_is_refused(disk: str, where: str) -> None:
    """Read-only too, a disk that is not InterMezzo's needs fileset= to be accepted."""
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as folder:
        os.mkdir(f"{folder}/home")
    error = expect_errno(errno.EINVAL, mount_old, disk, where, FSTYPE, "ro")
    assert isinstance(error, MountError)
    if "fileset=" not in error.said:
        raise AssertionError(f"{error.said!r} does not give the remedy")


def test_writers_race_with_remounts(disk: str, where: str) -> None:
    """While processes write, remounts to ro fail or succeed cleanly and every error is EROFS or EBUSY."""
    make_root(disk)
    with mounted(disk, FILESET + (",mtp=/" if FILESET else ""), where=where):
        children = []
        for worker in range(3):
            child = os.fork()
            if child == 0:
                for number in range(150):
                    result = errno_of(write_and_remove, f"{where}/w{worker}-{number % 5}")
                    if result not in ("ok", "EROFS", "ENOENT"):
                        os._exit(1)
                os._exit(0)
            children.append(child)
        for number in range(60):
            result = errno_of(REMOUNTERS[number % 2], where, ("ro", "rw")[number % 2])
            if result not in ("ok", "EBUSY"):
                raise AssertionError(f"remount: {result}")
        for child in children:
            equal(os.waitpid(child, 0)[1], 0, "writer")
        remount_old(where, "rw")


def write_and_remove(path: str) -> None:
    """One writer's step."""
    with open(path, "wb") as stream:
        stream.write(b"x" * 3000)
    os.unlink(path)


@provokes("EXT4-fs error", "Aborting journal", "EXT4-fs warning")
def test_read_only_fallback_of_the_cache_is_not_a_crash(disk: str, where: str) -> None:
    """When the cache turns itself read-only after an error, writers get EROFS and reading goes on."""
    make_root(disk)
    with mounted(disk, ",".join(filter(None, [FILESET, "errors=remount-ro"])), where=where):
        fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"before the error")
        os.fsync(fd)
        with open(f"/sys/fs/ext4/{os.path.basename(disk)}/trigger_fs_error", "wb") as trigger:
            trigger.write(b"test")
        expect_errno((errno.EROFS, errno.EIO), os.mkdir, f"{where}/d")
        expect_errno((errno.EROFS, errno.EIO), os.open, f"{where}/new", os.O_CREAT | os.O_WRONLY)
        equal(errno_of(os.pwrite, fd, b"after", 0) in ("EROFS", "EIO"), True, "write is refused")
        expect_errno((errno.EROFS, errno.EIO), os.unlink, f"{where}/f")
        expect_errno((errno.EROFS, errno.EIO), os.chmod, f"{where}/f", 0o600)
        expect_errno((errno.EROFS, errno.EIO), os.setxattr, f"{where}/f", "user.a", b"1")
        expect_errno((errno.EROFS, errno.EIO), os.rename, f"{where}/f", f"{where}/g")
        # ext4 counts as shut down then and may refuse reads too.
        equal(errno_of(os.pread, fd, 6, 0) in ("ok", "EIO"), True, "reading answers")
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.close(fd)
        equal(errno_of(os.listdir, f"{where}/etc") in ("ok", "EIO"), True, "listing answers")


@intermezzo_only
def test_reconfigured_without_ro_or_rw_the_cache_stays_read_only(disk: str, where: str) -> None:
    """fspick(2) passes no flags; ext4 looks at the flags alone and would write to the disk of a read-only
    mount."""
    with booted_root(disk, where):
        with open(disk, "rb") as device:
            before = device.read(8 << 20)
        remount_new(where, "fileset=rootset,mtp=/")
        expect_errno(errno.EROFS, os.mkdir, f"{where}/new")
        with open(disk, "rb") as device:
            equal(device.read(8 << 20) == before, True, "disk unchanged")
        remount_new(where, "rw")
        os.mkdir(f"{where}/new")


@intermezzo_only
def test_a_failed_remount_changes_neither_channel_nor_no_filter(disk: str, where: str) -> None:
    """A remount to another channel that the cache refuses leaves the mount where it was."""
    with booted_root(disk, where):
        for remount in REMOUNTERS:
            expect_errno(errno.EINVAL, remount, where, f"{ROOT_WORDS},channel=3,no_such_option")
            equal(dict(split_options(proc_mounts_options(where)))["prestodev"], "/dev/intermezzo0", "channel")
            equal((no_filter(where), no_filter_of_channel(3)), (1, 0), "no_filter")
        remount_old(where, f"{ROOT_WORDS},channel=3")
        equal((no_filter(where), no_filter_of_channel(0)), (1, 0), "no_filter goes along")


@intermezzo_only
def test_quick_start_goes_read_only_and_back(disk: str, where: str) -> None:
    """A mount that was read-write without mtp= needs no words to become so again."""
    make_ext4(disk)
    with mounted(disk, "", where=where):
        for remount in REMOUNTERS:
            remount(where, "ro")
            expect_errno(errno.EROFS, os.mkdir, f"{where}/new")
            remount(where, "rw")
            equal(no_filter(where), 0, "no_filter")
        os.mkdir(f"{where}/new")


@intermezzo_only
def test_mark_is_there_after_a_lookup_that_missed_it(disk: str, where: str) -> None:
    """stat of .intermezzo on a read-only mount of an unmarked disk is not remembered past the remount."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, "ro,fileset=rootset")
    try:
        expect_errno(errno.ENOENT, os.stat, f"{where}/.intermezzo")
        remount_old(where, ROOT_WORDS)
        os.stat(f"{where}/.intermezzo/rootset")
    finally:
        umount(where)
