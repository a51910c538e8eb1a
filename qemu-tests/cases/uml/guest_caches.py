# SPDX-License-Identifier: GPL-2.0
"""xfs and btrfs as caches: alone on their device, one tree with one set of FIDs, logged, and what is left
of the log after an unclean stop."""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import os
import struct
import subprocess
from typing import Callable, Iterator

from guest.changes import change_a_bit_of_everything, fill_up, read, shrink, write
from guest.disks import CHECKERS, MAKERS, make_btrfs, make_ext4, make_xfs, run
from guest.expect import (equal, expect_errno, intermezzo_only, process_state, provokes, start_child,
                          wait_until)
from guest.kernel_log import KernelLog, said_by_us
from guest.kml import RECOVERED, WHOLE, Log
from guest.log_info import FAILED, OVERFLOW, flags_of
from guest.mounting import mount_info, mount_new, mount_old, refusal, remount_new, remount_old
from guest.replay import check, fid_of, snapshot
from guest.subject import mount_point, mounted
from guest.syscalls import syncfs

DISKS = ("160M", "160M", "160M", "160M", "160M")
CACHES = ("xfs", "btrfs")
FIFREEZE, FITHAW = 0xc0045877, 0xc0045878
FICLONE, FICLONERANGE, FIDEDUPERANGE = 0x40049409, 0x4020940d, 0xc0189436
KIB = 1024


def fileset(kind: str, *options: str) -> str:
    """The mount options that make a cache of that kind."""
    return ",".join((f"fileset=rootset,cache_type={kind}", *options))


@contextlib.contextmanager
def cache(kind: str, disk: str, *options: str) -> Iterator[str]:
    """A new file system, mounted; what its log says is compared with its tree at the end, and the disk is
    checked."""
    MAKERS[kind](disk)
    with mounted(disk, fileset(kind, *options)) as root:
        baseline = snapshot(root)
        yield root
        check(baseline, Log.of_mount(root), root)
    CHECKERS[kind](disk)


@intermezzo_only
def test_mount_shows_the_device_and_takes_its_own_options_back(disk: str) -> None:
    """st_dev, mountinfo, df and findmnt say the device, also where the cache has a device number of its own;
    a word that neither knows is refused by the cache; what is shown can be given to a remount."""
    for kind, words in (("xfs", "noalign,allocsize=65536,uquota"), ("btrfs", "commit=60,max_inline=1024")):
        with cache(kind, disk, words) as root:
            number = os.stat(disk).st_rdev
            write(f"{root}/f")
            equal((os.stat(root).st_dev, os.stat(f"{root}/f").st_dev), (number, number), "st_dev")
            equal((mount_info(root).device, mount_info(root).source), (number, disk), "mountinfo")
            equal(run("findmnt", "-n", "-o", "SOURCE", "--target", f"{root}/f").strip(), disk, "findmnt")
            equal(run("df", "--output=source", root).split()[-1], disk, "df")
            shown = mount_info(root).super_options
            wanted = (f"cache_type={kind}", words.split(",")[1].split("=")[0])
            equal([w for w in wanted if w not in shown], [], shown)
            options = f"rw,{shown.removeprefix('rw,')}"
            for remount in (remount_old, remount_new):
                remount(root, options)
                remount(root, options.replace("rw,", "ro,", 1))
                expect_errno(errno.EROFS, os.mkdir, f"{root}/d")
                remount(root, options)
            os.mkdir(f"{root}/d")
        expect_errno(errno.EINVAL, mount_old, disk, mount_point(), "intermezzo", fileset(kind, "nonsense"))


@intermezzo_only
@provokes("XFS .*error 16")
def test_device_is_nobody_elses_meanwhile(disk: str, second_disk: str, where: str) -> None:
    """A device that is mounted, in either way, is not mounted in the other one: EBUSY, by both interfaces,
    read-only or not, and by any of its devices."""
    for kind in CACHES:
        MAKERS[kind](disk)
        for options in ("", "ro"):
            with mounted(disk, fileset(kind, *filter(None, [options]))) as root:
                for mount in (mount_old, mount_new):
                    for words in ("", "ro"):
                        expect_errno(errno.EBUSY, mount, disk, where, kind, words)
                expect_errno(errno.EBUSY, os.open, disk, os.O_RDONLY | os.O_EXCL)
                if options:
                    expect_errno(errno.EROFS, os.mkdir, f"{root}/d")
            CHECKERS[kind](disk)
            with mounted(disk, options, kind):
                for mount in (mount_old, mount_new):
                    for words in ((), ("ro",)):
                        error = expect_errno(errno.EBUSY, mount, disk, where, "intermezzo",
                                             fileset(kind, *words))
                        equal("in use" in str(error), True, str(error))
    make_btrfs(disk, "-m", "single", "-d", "single", second_disk)
    run("btrfs", "device", "scan", disk, second_disk)
    with mounted(disk, fileset("btrfs")) as root:
        equal(os.stat(root).st_dev, os.stat(disk).st_rdev, "the device named")
        write(f"{root}/f")
        expect_errno(errno.EBUSY, mount_old, second_disk, where, "intermezzo", fileset("btrfs"))
        expect_errno(errno.EBUSY, mount_old, second_disk, where, "btrfs")
    with mounted(second_disk, fileset("btrfs")) as root:
        equal(os.stat(root).st_dev, os.stat(second_disk).st_rdev, "the device named")
        equal(read(f"{root}/f"), b"data", "the same file system")
    run("btrfs", "device", "scan", "--forget")


@intermezzo_only
@provokes("XFS .*ascii.*")
def test_wrong_type_and_unfit_file_systems_are_refused(disk: str, where: str) -> None:
    """A cache of another type than said; names that ignore case; not as vintermezzo."""
    make_ext4(disk)
    for kind in CACHES:
        expect_errno(errno.EINVAL, mount_old, disk, where, "intermezzo", fileset(kind))
    make_xfs(disk, "-n", "version=ci")
    lines = refusal(expect_errno(errno.EINVAL, mount_old, disk, where, "intermezzo", fileset("xfs")))
    equal((len(lines), "ignore case" in "".join(lines)), (1, True), f"{lines}")
    lines = refusal(expect_errno(errno.EINVAL, mount_old, "none", where, "vintermezzo", "cache_type=xfs"))
    equal("mount it as intermezzo" in "".join(lines), True, f"{lines}")
    make_btrfs(disk)
    lines = refusal(expect_errno(errno.EINVAL, mount_old, disk, where, "intermezzo",
                                 "ro,cache_type=btrfs"))
    equal("is not a cache yet" in "".join(lines), True, f"{lines}")


@intermezzo_only
def test_other_forms_of_xfs(disk: str) -> None:
    """Small blocks, and the old format without checksums."""
    for words in (("-b", "size=1024"), ("-m", "crc=0", "-b", "size=512"), ("-m", "crc=0")):
        make_xfs(disk, *words)
        with mounted(disk, fileset("xfs")) as root:
            baseline = snapshot(root)
            change_a_bit_of_everything(root, 0)
        with mounted(disk, fileset("xfs")) as root:
            change_a_bit_of_everything(root, 1)
            check(baseline, Log.of_mount(root), root)
        run("xfs_repair", "-n", disk)


def make_subvolumes(disk: str) -> None:
    """Two subvolumes, in one of them another, and a snapshot of that one."""
    make_btrfs(disk)
    with mounted(disk, fstype="btrfs") as root:
        for name in ("one", "two", "one/inner"):
            run("btrfs", "subvolume", "create", f"{root}/{name}")
            write(f"{root}/{name}/f", name.encode())
        run("btrfs", "subvolume", "snapshot", f"{root}/one", f"{root}/copy")


def expect_fenced(root: str, name: str) -> None:
    """The name is there, and leads nowhere."""
    path = f"{root}/{name}"
    equal(name in os.listdir(root), True, f"{name} is listed")
    write(f"{root}/file")
    calls: list[tuple[Callable, ...]] = [
        (os.stat, path), (os.listdir, path), (os.rmdir, path), (os.mkdir, path),
        (os.rename, path, f"{root}/new"), (os.rename, f"{root}/file", path), (read, f"{path}/f"),
        (os.link, f"{root}/file", f"{path}/l"),
    ]
    for function, *arguments in calls:
        expect_errno(errno.EXDEV, function, *arguments)
    os.unlink(f"{root}/file")


@intermezzo_only
def test_subvolumes_are_fenced_off(disk: str, log: KernelLog, where: str) -> None:
    """A fileset is one subvolume: others below it cannot be entered, removed or replaced, whose inode numbers
    are the same; any one can be the fileset, and while it is mounted no other is mounted in its place."""
    make_subvolumes(disk)
    log.mark()
    with mounted(disk, fileset("btrfs")) as root:
        for name in ("one", "two", "copy"):
            expect_fenced(root, name)
        equal(any("one is a subvolume of its own" in line for line in said_by_us(log)), True, "a line")
        change_a_bit_of_everything(root, 0)
        equal([str(r) for r in Log.of_mount(root).records() if r.object.ino == 256], [], "of no subvolume")
    for name in ("one", "copy"):
        with mounted(disk, fileset("btrfs", f"subvol={name}")) as root:
            equal(read(f"{root}/f"), b"one", "what is seen")
            equal(f"subvol=/{name}" in mount_info(root).super_options, True, "what is shown")
            expect_fenced(root, "inner")
            lines = refusal(expect_errno(errno.EBUSY, mount_old, disk, where, "intermezzo",
                                         fileset("btrfs", "subvol=two")))
            equal("unmount it to choose another part" in "".join(lines), True, f"{lines}")
            remount_old(root, f"ro,subvol={name}")
            remount_old(root, f"rw,subvol={name}")
            change_a_bit_of_everything(root, 1)
            equal(os.path.exists(f"{root}/0"), False, "the other subvolume's tree")
    CHECKERS["btrfs"](disk)


@intermezzo_only
def test_storage_properties_are_not_replicated(disk: str) -> None:
    """How btrfs stores a file stays with btrfs; that it is to be compressed is a flag that is logged."""
    with cache("btrfs", disk) as root:
        os.mkdir(f"{root}/d")
        expect_errno(errno.EOPNOTSUPP, os.setxattr, f"{root}/d", "btrfs.compression", b"lzo")
        run("chattr", "+c", f"{root}/d")
        expect_errno(errno.EOPNOTSUPP, os.removexattr, f"{root}/d", "btrfs.compression")
        os.mkdir(f"{root}/d/e")
        write(f"{root}/d/e/f", b"x" * 100000)
        equal((os.listxattr(f"{root}/d/e/f"), os.getxattr(f"{root}/d/e/f", "btrfs.compression")),
              (["btrfs.compression"], b"zlib"), "inherited")
        made = [r for r in Log.of_mount(root).records() if r.op in ("create", "mkdir")]
        equal([r.xattrs for r in made if r.xattrs], [], "attributes in the log")
        equal(made[-1].attr.get("fsflags", 0) & 4, 4, "the flag of a compressed file")


@intermezzo_only
def test_acls_of_xfs_are_recorded_once(disk: str) -> None:
    """xfs lists an ACL a second time, as an attribute of its own: it is not recorded, and not set by hand."""
    with cache("xfs", disk) as root:
        os.mkdir(f"{root}/d")
        run("setfacl", "-m", "d:u:7:rwx", f"{root}/d")
        equal("trusted.SGI_ACL_DEFAULT" in os.listxattr(f"{root}/d"), True, "xfs's own")
        expect_errno(errno.EOPNOTSUPP, os.removexattr, f"{root}/d", "trusted.SGI_ACL_DEFAULT")
        os.mkdir(f"{root}/d/e")
        made = list(Log.of_mount(root).records())[-1]
        equal(sorted(made.xattrs), ["system.posix_acl_access", "system.posix_acl_default"], "inherited")


@intermezzo_only
def test_shared_extents_are_changes_of_bodies(disk: str) -> None:
    """Clone, clone of a range and copy_file_range leave a CLOSE that says what changed; deduplication
    changes nothing."""
    for kind in CACHES:
        with cache(kind, disk) as root:
            source = os.urandom(256 * KIB)
            write(f"{root}/a", source)
            write(f"{root}/b", b"b" * 256 * KIB)
            known = len(list(Log.of_mount(root).records()))
            with open(f"{root}/a", "r+b") as one, open(f"{root}/b", "r+b") as two:
                a, b = one.fileno(), two.fileno()
                fcntl.ioctl(b, FICLONERANGE, struct.pack("=qQQQ", a, 0, 64 * KIB, 128 * KIB))
                equal(os.copy_file_range(a, b, 4 * KIB, 0, 252 * KIB), 4 * KIB, "bytes copied")
            with open(f"{root}/c", "wb") as three, open(f"{root}/a", "rb") as one:
                fcntl.ioctl(three.fileno(), FICLONE, one.fileno())
            ranges = [(r.op, r.ranges, r.flags & WHOLE)
                      for r in list(Log.of_mount(root).records())[known:] if r.op == "close"]
            equal(ranges, [("close", ((128 * KIB, 192 * KIB), (252 * KIB, 256 * KIB)), 0),
                           ("close", ((0, 256 * KIB),), 0)], f"{kind}: CLOSEs")
            body = b"b" * 128 * KIB + source[:64 * KIB] + b"b" * 60 * KIB + source[:4 * KIB]
            equal((read(f"{root}/b") == body, read(f"{root}/c") == source), (True, True), "bodies")
            known = len(list(Log.of_mount(root).records()))
            with open(f"{root}/a", "rb") as one, open(f"{root}/c", "rb") as three:
                answer = fcntl.ioctl(one.fileno(), FIDEDUPERANGE, struct.pack(
                    "=QQHHI", 0, 64 * KIB, 1, 0, 0) + struct.pack("=qQQiI", three.fileno(), 0, 0, 0, 0))
                equal(struct.unpack_from("=Qi", answer, 40), (64 * KIB, 0), "deduplicated")
            equal(len(list(Log.of_mount(root).records())), known, "records of that")


@intermezzo_only
def test_freezing_holds_changes_off(disk: str) -> None:
    """A frozen mount takes no change, its cache gets none, and thawed it goes on."""
    for kind in CACHES:
        with cache(kind, disk) as root:
            write(f"{root}/f")
            fd = os.open(root, os.O_RDONLY)
            fcntl.ioctl(fd, FIFREEZE, 0)
            child = start_child(lambda: change_a_bit_of_everything(root, 0))
            wait_until(lambda: process_state(child) == "D", "the child waits")
            equal(os.listdir(root), ["f"], "while frozen")
            fcntl.ioctl(fd, FITHAW, 0)
            equal(os.waitpid(child, 0)[1], 0, "the child")
            os.close(fd)


@intermezzo_only
def test_full_cache_ends_the_log_and_nothing_else(disk: str, log: KernelLog) -> None:
    """Records are written in place: a full file system does not make the fileset read-only. The log ends
    when it cannot grow, no caller gets an error for it, and space can be made."""
    for kind in CACHES:
        MAKERS[kind](disk)
        log.mark()
        with mounted(disk, fileset(kind)) as root:
            fill_up(root, names=False)
            # large records: a full btrfs takes a tenth of a second for each change
            os.setgroups(range(2000, 2256))
            count = 0
            while not flags_of(root) & (OVERFLOW | FAILED):
                os.utime(f"{root}/f", ns=(count, count))
                count += 1
            newest = list(Log.of_mount(root).records())[-1]
            equal((newest.op, newest.attr["mtime"], count > 200), ("setattr", count - 2, True), kind)
            shrink(root)
            change_a_bit_of_everything(root, 0)
            equal(flags_of(root) & (OVERFLOW | FAILED), OVERFLOW, "the log")
        with mounted(disk, fileset(kind)) as root:
            equal(flags_of(root) & (OVERFLOW | FAILED), OVERFLOW, "after a new mount")
            change_a_bit_of_everything(root, 1)
        CHECKERS[kind](disk)


@intermezzo_only
def test_full_cache_is_mounted(disk: str) -> None:
    """A file system that is full can be mounted, with its log or without one, and space made in it."""
    for kind in CACHES:
        for has_log in (True, False):
            MAKERS[kind](disk)
            if has_log:
                with mounted(disk, fileset(kind)):
                    pass
            with mounted(disk, fstype=kind) as root:
                fill_up(root, names=False)
            with mounted(disk, fileset(kind)) as root:
                shrink(root)
                equal(os.path.exists(f"{root}/.intermezzo/rootset/kml"), has_log, f"{kind}: a log")
            with mounted(disk, fileset(kind)) as root:
                change_a_bit_of_everything(root, 0)
                equal(flags_of(root), 0, f"{kind}: the log")
            CHECKERS[kind](disk)


def copy_disk(source: str, target: str) -> None:
    """What is on the medium, past all caches."""
    subprocess.run(["dd", f"if={source}", f"of={target}", "bs=1M", "iflag=direct", "oflag=direct",
                    "status=none"], check=True)


@intermezzo_only
def test_unclean_stop_leaves_a_log_that_goes_on(disk: str, second_disk: str, log: KernelLog) -> None:
    """Nothing is promised of what was not synced. A body that was being changed gets its CLOSE, the log goes
    on where it ended, and no new object gets the FID of one that is lost."""
    for kind in CACHES:
        MAKERS[kind](disk)
        with mounted(disk, fileset(kind)) as root:
            baseline = snapshot(root)
            change_a_bit_of_everything(root, 0)
            changing = os.open(f"{root}/changing", os.O_CREAT | os.O_RDWR)
            os.write(changing, b"c" * 4096)
            syncfs(root)
            here = fid_of(os.fsencode(f"{root}/changing"), 1)
            wait_until(lambda: Log.of_mount(root).listed == [here], "only the open file is listed")
            syncfs(root)
            synced = len(list(Log.of_mount(root).records()))
            known = {r.object for r in Log.of_mount(root).records()}
            for number in range(8):
                os.mkdir(f"{root}/lost{number}")
            known |= {r.object for r in Log.of_mount(root).records()}
            copy_disk(disk, second_disk)
            os.close(changing)
        copy_disk(second_disk, disk)
        log.mark()
        with mounted(disk, fileset(kind)) as root:
            equal(any("1 files were being changed" in line for line in said_by_us(log)), True, "a line")
            records = list(Log.of_mount(root).records())
            equal([r.object for r in records if r.flags & RECOVERED], [here], f"{kind}: CLOSEs")
            equal(read(f"{root}/changing"), b"c" * 4096, "what was synced")
            equal((len(records) > synced, Log.of_mount(root).listed), (True, []), f"{kind}: the log")
            change_a_bit_of_everything(root, 1)
            for number in range(8):
                os.mkdir(f"{root}/new{number}")
            made = {fid_of(os.fsencode(f"{root}/new{number}"), 1) for number in range(8)}
            equal(sorted(map(str, made & known)), [], f"{kind}: FIDs given a second time")
            if not any(name.startswith("lost") for name in os.listdir(root)) and \
                    not any(r.place and r.place.name.startswith(b"lost") for r in records):
                check(copy.deepcopy(baseline), Log.of_mount(root), root)
        with mounted(disk, fileset(kind)) as root:
            more = list(Log.of_mount(root).records())[len(records):]
            equal([r.recno for r in more], list(range(records[-1].recno + 1, more[-1].recno + 1)), "numbers")
        CHECKERS[kind](disk)


@intermezzo_only
def test_lost_record_ends_the_log_for_good(disk: str) -> None:
    """A record that an unclean stop has lost ends the log: those that followed it do not count again once the
    log has grown up to them."""
    for kind in CACHES:
        MAKERS[kind](disk)
        with mounted(disk, fileset(kind)) as root:
            for number in range(10):
                os.mkdir(f"{root}/d{number}")
            lost = list(Log.of_mount(root).records())[5]
        with mounted(disk, fstype=kind) as root:
            with open(f"{root}/.intermezzo/rootset/kml.0", "r+b") as segment:
                segment.seek(4 * KIB + lost.offset)
                segment.write(bytes(lost.length))
        for _ in range(2):
            with mounted(disk, fileset(kind)) as root:
                if not os.path.exists(f"{root}/e5"):
                    os.mkdir(f"{root}/e5")
                names = [r.place.name for r in Log.of_mount(root).records() if r.place]
                equal(names, [b"d0", b"d1", b"d2", b"d3", b"d4", b"e5"], f"{kind}: the log")
        CHECKERS[kind](disk)
