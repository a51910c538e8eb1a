# SPDX-License-Identifier: GPL-2.0
"""What a caller is, has or suffers does not end the log of changes, and what ends it is said."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import select
import signal
import struct
import time
import traceback
from pathlib import Path
from typing import Callable, Iterator

from guest.changes import change_a_bit_of_everything, make_everything
from guest.debug_switch import REFUSE, REFUSE_END, going_wrong
from guest.disks import check_ext, make_ext4, run
from guest.expect import as_user, equal, expect_errno, intermezzo_only, provokes, skip, wait_until
from guest.kernel_log import KernelLog
from guest.kml import GROUPS_CUT, Log
from guest.mounting import mount_old, refusal, remount_old
from guest.replay import check, snapshot
from guest.subject import FILESET, IN_MEMORY, mount_point, mounted
from guest.syscalls import RENAME_WHITEOUT, rename

ALSO_ON = "vintermezzo"
CASE_DEADLINE = 120
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_XFLAG_NODUMP = 0x801c581f, 0x401c5820, 0x80


@contextlib.contextmanager
def fileset(disk: str, options: str = "", size: str = "") -> Iterator[str]:
    """A fresh mount; its log must make its tree and must not have ended."""
    if not IN_MEMORY:
        make_ext4(disk, "-b", "4096", size=size)
    with mounted(disk, ",".join(filter(None, [FILESET, "" if IN_MEMORY else options]))) as root:
        baseline = snapshot(root)
        yield root
        log = Log.of_mount(root)
        equal(log.overflow, False, "the log has ended")
        check(baseline, log, root)


def default_acl(named_users: int) -> bytes:
    """system.posix_acl_default with so many entries more than the least."""
    entries = [(1, 7, 0xffffffff), *((2, 7, 5000 + n) for n in range(named_users)), (4, 5, 0xffffffff),
               (0x10, 7, 0xffffffff), (0x20, 5, 0xffffffff)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@intermezzo_only
def test_groups_and_inherited_acls(disk: str) -> None:
    """A birth that inherits ACLs, by a caller with many groups: both fit into its record, up to the 256th
    group, and it says that there were more."""
    with fileset(disk) as root:
        os.mkdir(f"{root}/u")
        os.chown(f"{root}/u", 1000, 1000)

        def inherit() -> None:
            for users in range(100, 150):
                parent = f"{root}/u/{users}"
                os.mkdir(parent)
                os.setxattr(parent, "system.posix_acl_default", default_acl(users))
                os.mkdir(f"{parent}/d")
                os.mknod(f"{parent}/f")

        for groups in ((), tuple(range(2000, 2030)), tuple(range(2000, 2256)), tuple(range(2000, 2300))):
            as_user(inherit, groups=groups)
            newest = list(Log.of_mount(root).records())[-1]
            equal((newest.op, newest.groups, newest.flags & GROUPS_CUT),
                  ("create", groups[:256], GROUPS_CUT if len(groups) > 256 else 0), f"{len(groups)} groups")
            os.rename(f"{root}/u", f"{root}/{len(groups)}")
            os.mkdir(f"{root}/u")
            os.chown(f"{root}/u", 1000, 1000)


def started(function: Callable[[], object]) -> int:
    """A child that does this; it says why it failed, and ends."""
    child = os.fork()
    if child:
        return child
    try:
        function()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def churn(path: str, turns: int) -> None:
    """Large records, and data that a commit must wait for."""
    with open(path, "wb", buffering=0) as stream:
        for turn in range(turns):
            os.setxattr(path, "user.a", bytes([turn % 250 + 1]) * 3800)
            if turn % 4 == 0:
                stream.write(bytes(100000))
                stream.seek(0)


@intermezzo_only
def test_log_grows_in_time(disk: str) -> None:
    """A log that fills faster than a segment is made waits for the segment."""
    with fileset(disk, "nodelalloc", size="90M") as root:
        children = [started(lambda: churn(f"{root}/{number}", 150)) for number in range(12)]
        equal([os.waitpid(child, 0)[1] for child in children], [0] * 12, "exit codes")


@intermezzo_only
def test_journal_of_data(disk: str) -> None:
    """Where data goes through the journal too, a segment's zeros never arrive after its records."""
    if IN_MEMORY:
        skip("it has no journal")
    with fileset(disk, "data=journal", size="90M") as root:
        churn(f"{root}/f", 600)
        wanted = len(list(Log.of_mount(root).records()))
        # What is written by way of the device, such as records, overtakes what a file's pages hold.
        device = os.open(disk, os.O_RDONLY)
        os.fsync(device)
        os.close(device)
    with mounted(disk, FILESET) as root:
        equal(len(list(Log.of_mount(root).records())) >= wanted, True, "all records are there")


@intermezzo_only
def test_file_size_limit_of_the_caller(disk: str) -> None:
    """RLIMIT_FSIZE is about files of the caller's."""
    with fileset(disk) as root:
        os.chmod(root, 0o777)

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            os.mkdir(f"{root}/a")

        as_user(limited)
        os.mkdir(f"{root}/after")


@intermezzo_only
def test_killed_callers(disk: str) -> None:
    """A SIGKILL in the middle of a change: there is its record, or neither."""
    with fileset(disk) as root:
        for turn in range(40):
            child = started(lambda: [os.mknod(f"{root}/{turn}.{number}") for number in range(100000)])
            wait_until(lambda: os.path.exists(f"{root}/{turn}.{turn}"), "some files", 30)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@intermezzo_only
def test_flags_set_in_part(disk: str) -> None:
    """FS_IOC_FSSETXATTR that sets the flags and then fails at the project: what was set is recorded."""
    if IN_MEMORY:
        return
    with fileset(disk) as root:
        fd = os.open(f"{root}/f", os.O_CREAT | os.O_RDONLY)
        value = bytearray(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)))
        value[0] |= FS_XFLAG_NODUMP
        struct.pack_into("=I", value, 12, 5)
        expect_errno(errno.EOPNOTSUPP, fcntl.ioctl, fd, FS_IOC_FSSETXATTR, bytes(value))
        equal(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28))[0] & FS_XFLAG_NODUMP, FS_XFLAG_NODUMP, "the flag")
        newest = list(Log.of_mount(root).records())[-1]
        equal((newest.op, newest.attr["fsflags"] & 0x40), ("setattr", 0x40), "the newest record")
        before = newest.recno
        expect_errno(errno.EOPNOTSUPP, fcntl.ioctl, fd, FS_IOC_FSSETXATTR, bytes(value))
        equal(list(Log.of_mount(root).records())[-1].recno, before, "records, where nothing changed")
        os.close(fd)


@intermezzo_only
def test_poll_wakes_at_the_commit(disk: str) -> None:
    """Nothing else happens after the change: its reader is woken all the same."""
    with fileset(disk, "commit=1") as root:
        fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
        for turn in range(3):
            os.fsync(fd)
            os.lseek(fd, 0, os.SEEK_END)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            equal(poll.poll(0), [], "nothing new")
            poller = Path(f"/proc/{os.getpid()}/stat")

            def change() -> None:
                wait_until(lambda: ") S " in poller.read_text(encoding="ascii"), "the poller to sleep", 10)
                os.mkdir(f"{root}/{turn}")

            child = started(change)
            start = time.monotonic()
            equal(poll.poll(20000), [(fd, select.POLLIN)], "poll")
            # at its end poll(2) looks by itself
            equal(time.monotonic() - start < 15, True, "woken")
            equal(os.waitpid(child, 0)[1], 0, "the child")
        os.close(fd)


@intermezzo_only
def test_options_that_the_log_needs_outlast_a_remount(disk: str) -> None:
    """noauto_da_alloc: a rename must not write data out within its transaction."""
    if IN_MEMORY:
        return
    with fileset(disk) as root:
        for options in ("rw,auto_da_alloc", "ro", "rw,auto_da_alloc"):
            remount_old(root, options)
            line = next(line for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
                        if f" {root} " in line)
            equal("noauto_da_alloc" in line, True, line)


@intermezzo_only
@provokes("a change could not be recorded")
def test_missing_record_ends_the_log(disk: str, log: KernelLog) -> None:
    """The change is made; the log ends in the same transaction, with one line, and for good."""
    if not IN_MEMORY:
        make_ext4(disk)
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/before")
        log.mark()
        with going_wrong(REFUSE):
            os.mkdir(f"{root}/missing")
        os.mkdir(f"{root}/after")
        said = [line for line in log.read().splitlines() if "ends here" in line]
        equal(len(said), 1, f"lines {said}")
        found = Log.of_mount(root)
        equal((found.overflow, [r.place.name for r in found.records()]), (True, [b"before"]), "the log")
    if IN_MEMORY:
        return
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/next")
        equal(sorted(os.listdir(root)), ["after", "before", "lost+found", "missing", "next"], "the tree")
        equal(Log.of_mount(root).overflow, True, "after a new mount")


@intermezzo_only
@provokes("could not be recorded", "Aborting journal", "JBD2: .*error", "EXT4-fs error", "EXT4-fs warning")
def test_log_that_cannot_even_end_takes_the_change_back(disk: str) -> None:
    """Neither the record nor its absence can be written: the change is never committed."""
    if IN_MEMORY:
        return
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        os.mkdir(f"{root}/before")
        os.sync()
        with going_wrong(REFUSE | REFUSE_END):
            expect_errno((errno.EIO, errno.EROFS), os.mkdir, f"{root}/missing")
        expect_errno(errno.EROFS, os.mkdir, f"{root}/after")
        equal(sorted(os.listdir(root)), ["before", "lost+found", "missing"], "what can be read")
    with mounted(disk, FILESET) as root:
        equal(sorted(os.listdir(root)), ["before", "lost+found"], "after a new mount")
        os.mkdir(f"{root}/next")
        found = Log.of_mount(root)
        equal(found.overflow, False, "the log has ended")
        check(baseline, found, root)


@intermezzo_only
@provokes("the end of the log could not be recorded", "Aborting journal", "JBD2: .*error", "EXT4-fs error",
          "EXT4-fs warning")
def test_end_of_the_log_that_cannot_be_written_takes_the_change_back(disk: str) -> None:
    """With no_journal set a change says in its transaction that the log ends; where it cannot, it is never
    committed."""
    if IN_MEMORY:
        return
    make_ext4(disk)
    switch = Path("/proc/sys/intermezzo/intermezzo9/no_journal")
    with mounted(disk, f"{FILESET},channel=9") as root:
        os.mkdir(f"{root}/before")
        os.sync()
        switch.write_text("1", encoding="ascii")
        try:
            with going_wrong(REFUSE_END):
                expect_errno((errno.EIO, errno.EROFS), os.mkdir, f"{root}/missing")
        finally:
            switch.write_text("0", encoding="ascii")
        expect_errno(errno.EROFS, os.mkdir, f"{root}/after")
    with mounted(disk, FILESET) as root:
        equal(sorted(os.listdir(root)), ["before", "lost+found"], "after a new mount")
        equal(Log.of_mount(root).overflow, False, "the log has ended")


@intermezzo_only
def test_largest_change_fits_into_the_smallest_journal(disk: str) -> None:
    """A rename that leaves a whiteout, with three quotas: more than ext4 itself ever asks for at once."""
    if IN_MEMORY:
        return
    make_ext4(disk, "-b", "4096", "-O", "quota", "-E", "quotatype=usrquota:grpquota:prjquota", size="64M")
    with mounted(disk, FILESET) as root:
        baseline = snapshot(root)
        for number in range(5):
            os.mknod(f"{root}/{number}")
            os.chown(f"{root}/{number}", 1000 + number, 2000 + number)
            rename(f"{root}/{number}", f"{root}/moved{number}", RENAME_WHITEOUT)
        check(baseline, Log.of_mount(root), root)


@intermezzo_only
def test_every_change_is_a_transaction_of_its_own(disk: str) -> None:
    """Small blocks, three quotas, and a commit for each change: none needs more of the journal than it asked
    for, not a directory that splits either, and the records make the tree."""
    if IN_MEMORY:
        return
    for option in ("sync", "dirsync"):
        make_ext4(disk, "-b", "1024", "-O", "quota,project", "-I", "256", "-J", "size=4",
                  "-E", "quotatype=usrquota:grpquota:prjquota", size="64M")
        with mounted(disk, f"{FILESET},{option}") as root:
            baseline = snapshot(root)
            make_everything(root)
            change_a_bit_of_everything(root, 0)
            os.mkdir(f"{root}/splits")
            run("setfacl", "-d", "-m", "u:7:rwx,g:8:rx", f"{root}/splits")
            for number in range(200):
                os.mkdir(f"{root}/splits/{number}{'n' * 200}")
                os.chown(f"{root}/splits/{number}{'n' * 200}", number, number)
            check(baseline, Log.of_mount(root), root)
        check_ext(disk)


@intermezzo_only
def test_journal_that_is_too_small_is_refused(disk: str) -> None:
    """Small blocks and three quotas: one line says what to do, and it helps."""
    if IN_MEMORY:
        return
    quotas = ("-b", "1024", "-O", "quota", "-E", "quotatype=usrquota:grpquota:prjquota")
    make_ext4(disk, *quotas, size="30M")
    lines = refusal(expect_errno(errno.EINVAL, mount_old, disk, mount_point(), "intermezzo", FILESET))
    equal((len(lines), "tune2fs -J size=" in "".join(lines)), (1, True), f"{lines}")
    make_ext4(disk, *quotas, "-J", "size=4", size="30M")
    with mounted(disk, FILESET) as root:
        os.mknod(f"{root}/f")
        rename(f"{root}/f", f"{root}/moved", RENAME_WHITEOUT)
