# SPDX-License-Identifier: GPL-2.0
"""Mount options of intermezzo and vintermezzo, through mount(2) and through fsopen/fsconfig."""

from __future__ import annotations

import errno
import os
from typing import Callable

from guest.disks import make_ext3, make_ext4
from guest.expect import equal, expect_errno, intermezzo_only
from guest.kernel_log import KernelLog
from guest.mounting import (FSCONFIG_SET_STRING, MountError, mount_info, mount_new, mount_old,
                            proc_mounts_options, remount_new, remount_old, split_options, umount)
from guest.subject import filesystems, mounted
from guest.syscalls import call

MOUNTERS: tuple[Callable[[str, str, str, str], None], ...] = (mount_old, mount_new)
REMOUNTERS: tuple[Callable[[str, str], None], ...] = (remount_old, remount_new)
CHANNELS = 16


def accepted(device: str, where: str, options: str, fstype: str = "intermezzo") -> set[tuple[str,
                                                                                             str | None]]:
    """Both interfaces must take the options; what /proc/mounts then shows."""
    shown: list[set[tuple[str, str | None]]] = []
    for mount in MOUNTERS:
        mount(device, where, fstype, options)
        shown.append(set(split_options(proc_mounts_options(where))))
        umount(where)
    equal(shown[1], shown[0], f"what {options} shows through fsconfig")
    return shown[0]


def refused(device: str, where: str, options: str, *words: str, number: int = errno.EINVAL,
            fstype: str = "intermezzo") -> None:
    """Both interfaces must refuse with this errno and name these words."""
    for mount in MOUNTERS:
        error = expect_errno(number, mount, device, where, fstype, options)
        assert isinstance(error, MountError)
        for word in words:
            if word not in error.said:
                raise AssertionError(f"{mount.__name__} {options}: {error.said!r} does not say {word!r}")


@intermezzo_only
def test_three_types_are_registered(log: KernelLog) -> None:
    """intermezzo and InterMezzo need a device, vintermezzo does not, and they come after ext4."""
    names = filesystems()
    for name in ("intermezzo", "InterMezzo", "vintermezzo"):
        if name not in names:
            raise AssertionError(f"{name} is not in /proc/filesystems")
    if names.index("intermezzo") < names.index("ext4"):
        raise AssertionError("intermezzo is probed before ext4")
    with open("/proc/filesystems", encoding="ascii") as table:
        lines = table.read().splitlines()
    if "nodev\tvintermezzo" not in lines or "\tintermezzo" not in lines:
        raise AssertionError(f"wrong nodev marks: {lines}")


@intermezzo_only
def test_plain_mount_of_an_empty_disk(disk: str, where: str) -> None:
    """A fresh ext4 mounts read-write without options and gets the default fileset."""
    make_ext4(disk)
    shown = accepted(disk, where, "")
    if ("fileset", "rootset") not in shown:
        raise AssertionError(f"no fileset=rootset in {shown}")
    with mounted(disk, where=where) as folder:
        os.mkdir(f"{folder}/works")


@intermezzo_only
def test_fileset_and_mtp_with_their_aliases(disk: str, where: str) -> None:
    """fileset= and volume=, mtp= and mtpt= mean the same and are shown by their new names."""
    make_ext4(disk)
    wanted = {("fileset", "home"), ("mtp", "/srv/home")}
    for options in ("fileset=home,mtp=/srv/home", "volume=home,mtpt=/srv/home", "mtp=/srv/home,volume=home"):
        shown = accepted(disk, where, options)
        if not wanted <= shown:
            raise AssertionError(f"{options} is shown as {shown}")


@intermezzo_only
def test_same_option_twice(disk: str, where: str) -> None:
    """Every option may be given again with the same value, by either name, and not with another."""
    make_ext4(disk)
    accepted(disk, where, "fileset=a,fileset=a,volume=a,mtp=/,mtpt=/,mtp=/,cache_type=ext4,cache_type=ext4,"
             "channel=3,prestodev=/dev/intermezzo3,no_filter,no_filter,permit=optimistic,permit=optimistic")
    refused(disk, where, "fileset=a,volume=b", "fileset=b", "fileset=a")
    refused(disk, where, "mtp=/a,mtpt=/b", "mtp=/b", "mtp=/a")
    refused(disk, where, "channel=1,channel=2", "channel", "2")
    refused(disk, where, "fileset=a,cache_type=ext4,cache_type=ext3", "cache_type=ext3", "cache_type=ext4")


@intermezzo_only
def test_fileset_names(disk: str, where: str) -> None:
    """A fileset's name is one path component of sane bytes; others are refused by name."""
    make_ext4(disk)
    for name in ("a", "root.set-1_x", "n" * 64):
        accepted(disk, where, f"fileset={name}")
    for name in ("a/b", "/", "..", ".", ".hidden"):
        refused(disk, where, f"fileset={name}", "fileset=", name)
    for name in ("a b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", os.fsdecode(b"caf\xe9")):
        refused(disk, where, f"fileset={name}", "fileset=", "letters, digits")
    refused(disk, where, "fileset=", "fileset=")
    for length in (65, 250):
        refused(disk, where, f"fileset={'n' * length}", "fileset=", "64")


@intermezzo_only
def test_mtp_is_an_absolute_label(disk: str, where: str) -> None:
    """mtp= takes any absolute path, existing or not, and no relative one."""
    make_ext4(disk)
    for path in ("/", "/nowhere/at/all", "/with.dots/../and//slashes"):
        accepted(disk, where, f"fileset=a,mtp={path}")
    for path in ("relative", "", "./x"):
        refused(disk, where, f"fileset=a,mtp={path}", "mtp=")


@intermezzo_only
def test_channels(disk: str, where: str) -> None:
    """channel= and prestodev= name the same thing, agree or are refused, and have a range."""
    make_ext4(disk)
    for number in (0, 7, CHANNELS - 1):
        shown = accepted(disk, where, f"channel={number}")
        if ("prestodev", f"/dev/intermezzo{number}") not in shown:
            raise AssertionError(f"channel={number} is shown as {shown}")
        accepted(disk, where, f"prestodev=/dev/intermezzo{number}")
        accepted(disk, where, f"channel={number},prestodev=/dev/intermezzo{number}")
    for value in (str(CHANNELS), "-1", "x", "99999999999", "1x"):
        refused(disk, where, f"channel={value}", "channel", value)
    for value in ("/dev/null", "intermezzo0", f"/dev/intermezzo{CHANNELS}", "/dev/intermezzo",
                  "/dev/intermezzox"):
        refused(disk, where, f"prestodev={value}", "prestodev", value)
    refused(disk, where, "channel=1,prestodev=/dev/intermezzo2", "2", "1")


@intermezzo_only
def test_cache_types(disk: str, where: str) -> None:
    """ext4 and ext3 are taken on such a disk, tmpfs by vintermezzo; anything else is refused by name."""
    make_ext4(disk)
    shown = accepted(disk, where, "cache_type=ext4")
    if ("cache_type", "ext4") not in shown:
        raise AssertionError(f"shown: {shown}")
    accepted(disk, where, "cache_type=ext3")
    refused(disk, where, "cache_type=xfs", "cannot be mounted as xfs")
    for value in ("tmpfs", "intermezzo", "overlay", "nonsense", "ext2", "proc"):
        refused(disk, where, f"cache_type={value}", f"cache_type={value}")
    for value in ("ext4", "xfs", "nonsense"):
        refused("none", where, f"cache_type={value}", f"cache_type={value}", fstype="vintermezzo")
    accepted("none", where, "cache_type=tmpfs", "vintermezzo")


@intermezzo_only
def test_ext3_disk(disk: str, where: str) -> None:
    """A disk made by mke2fs -j, without extents, works through cache_type=ext3 and ext4."""
    make_ext3(disk, "-I", "256")
    for options in ("cache_type=ext3", "cache_type=ext4", ""):
        with mounted(disk, options, where=where) as folder:
            os.makedirs(f"{folder}/d/{options or 'none'}")
            with open(f"{folder}/f", "wb") as stream:
                stream.write(b"x" * 100000)
            equal(os.stat(f"{folder}/f").st_size, 100000, "size")


@intermezzo_only
def test_permit_and_ondemand(disk: str, where: str) -> None:
    """permit=optimistic is taken; strict and unknown permits and ondemand are refused by name until they
    exist."""
    make_ext4(disk)
    accepted(disk, where, "permit=optimistic")
    refused(disk, where, "permit=strict", "permit=strict")
    refused(disk, where, "permit=maybe", "permit=maybe")
    refused(disk, where, "permit=", "permit")
    refused(disk, where, "ondemand", "ondemand")


@intermezzo_only
def test_options_without_or_with_a_needless_value(disk: str, where: str) -> None:
    """A word option without a value and a flag with one are refused by name."""
    make_ext4(disk)
    for word in ("fileset", "mtp", "volume", "channel", "prestodev", "cache_type", "permit"):
        refused(disk, where, word, word)
    refused(disk, where, "no_filter=1", "no_filter")


@intermezzo_only
def test_comments_are_ignored(disk: str, where: str) -> None:
    """x-*, X-* and comment options may leak through without harm, and are not shown."""
    make_ext4(disk)
    shown = accepted(disk, where, "x-systemd.growfs,X-mount.mkdir=0755,x-initrd.mount,comment=anything")
    if any(key.lower().startswith(("x-", "comment")) for key, _ in shown):
        raise AssertionError(f"shown: {shown}")


@intermezzo_only
def test_other_options_go_to_the_cache(disk: str, where: str) -> None:
    """ext4's options take effect and are shown; what ext4 does not know it refuses, and says so."""
    make_ext4(disk)
    shown = accepted(disk, where, "errors=remount-ro,commit=17,data=ordered")
    for pair in (("errors", "remount-ro"), ("commit", "17")):
        if pair not in shown:
            raise AssertionError(f"{pair} is not in {shown}")
    refused(disk, where, "nonsense", "nonsense")
    refused(disk, where, "nonsense=17", "nonsense")
    refused(disk, where, "commit=many", "commit")
    refused(disk, where, "fileset=a,data=sideways", "data")


@intermezzo_only
def test_shown_options_are_accepted_back(disk: str, where: str) -> None:
    """Whatever /proc/mounts shows can be given to a mount and to a remount, as shutdown tools do."""
    make_ext4(disk)
    for first in ("", "fileset=a,mtp=/", "channel=5,fileset=b,mtp=/x,commit=30,errors=remount-ro", "ro"):
        for mount, remount in zip(MOUNTERS, REMOUNTERS):
            mount(disk, where, "intermezzo", first)
            shown = proc_mounts_options(where)
            ours = ",".join(w for w in shown.split(",") if w not in ("relatime", "nosuid", "noatime"))
            for _ in range(2):
                remount(where, ours)
                equal(proc_mounts_options(where), shown, f"options after remount with {ours}")
            umount(where)
            mount(disk, where, "intermezzo", ours)
            equal(proc_mounts_options(where), shown, f"options after mount with {ours}")
            umount(where)


@intermezzo_only
def test_remount_with_nothing_new(disk: str, where: str) -> None:
    """An unchanged remount, with all, some or none of the options, changes nothing."""
    make_ext4(disk)
    with mounted(disk, "fileset=a,mtp=/,channel=2", where=where):
        before = proc_mounts_options(where)
        for remount in REMOUNTERS:
            for options in ("", "rw", "fileset=a", "mtp=/", "fileset=a,mtp=/,channel=2", "volume=a,mtpt=/",
                            "prestodev=/dev/intermezzo2", "cache_type=ext4", "x-systemd.automount",
                            "no_filter"):
                remount(where, options)
                equal(proc_mounts_options(where), before, f"options after remount {options!r}")


@intermezzo_only
def test_remount_cannot_rename(disk: str, where: str) -> None:
    """A remount that would change fileset, mtp, channel or cache type is refused and says from what to
    what."""
    make_ext4(disk)
    with mounted(disk, "fileset=a,mtp=/,channel=2", where=where):
        before = proc_mounts_options(where)
        for options, words in (("fileset=b", ("fileset=b", "fileset=a")), ("mtp=/b", ("mtp=/b", "mtp=/")),
                               ("channel=3", ("3", "2")), ("cache_type=tmpfs", ("cache_type=tmpfs",)),
                               ("prestodev=/dev/intermezzo4", ("4", "2")), ("nonsense", ("nonsense",)),
                               ("permit=strict", ("permit=strict",))):
            for remount in REMOUNTERS:
                error = expect_errno(errno.EINVAL, remount, where, options)
                assert isinstance(error, MountError)
                for word in words:
                    if word not in error.said:
                        raise AssertionError(f"{remount.__name__} {options}: {error.said!r} without {word!r}")
                equal(proc_mounts_options(where), before, f"options after the refused {options}")


@intermezzo_only
def test_remount_passes_cache_options(disk: str, where: str) -> None:
    """commit= on a remount reaches the cache."""
    make_ext4(disk)
    with mounted(disk, "fileset=a", where=where):
        for seconds, remount in zip((11, 12), REMOUNTERS):
            remount(where, f"commit={seconds}")
            if ("commit", str(seconds)) not in split_options(proc_mounts_options(where)):
                raise AssertionError(f"{remount.__name__}: {proc_mounts_options(where)}")


@intermezzo_only
def test_generic_flags(disk: str, where: str) -> None:
    """noatime, sync, dirsync, lazytime and ro reach the mount, and writes then behave so."""
    make_ext4(disk)
    for options in ("sync", "dirsync", "lazytime"):
        shown = accepted(disk, where, options) if options != "sync" else None
        if shown is not None and (options, None) not in shown:
            raise AssertionError(f"{options} is shown as {shown}")
    mount_old(disk, where, "intermezzo", "", 1024)
    os.utime(where, ns=(1, 2))
    os.listdir(where)
    equal(os.stat(where).st_atime_ns, 1, "atime under noatime")
    umount(where)


@intermezzo_only
def test_source_must_be_a_block_device(disk: str, where: str) -> None:
    """No source, a missing one, a directory and a character device are refused by name."""
    refused("/dev/nothing-here", where, "", "/dev/nothing-here", number=errno.ENOENT)
    refused("/mnt", where, "", "/mnt", number=errno.ENOTBLK)
    refused("/dev/null", where, "", "/dev/null", number=errno.ENOTBLK)
    expect_errno((errno.EINVAL, errno.ENOENT), mount_new, "", where, "intermezzo", "")


@intermezzo_only
def test_vintermezzo_passes_size_to_tmpfs(where: str) -> None:
    """vintermezzo keeps its files in tmpfs and passes size= and mode= on."""
    shown = accepted("none", where, "size=1m,mode=750", "vintermezzo")
    if ("size", "1024k") not in shown:
        raise AssertionError(f"shown: {shown}")
    with mounted("none", "size=1m", "vintermezzo", where) as folder:
        equal(os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize, 1 << 20, "size")
        with open(f"{folder}/f", "wb", buffering=0) as stream:
            expect_errno(errno.ENOSPC, lambda: [stream.write(bytes(65536)) for _ in range(20)])
        os.unlink(f"{folder}/f")
        os.mkdir(f"{folder}/room-again")
        equal(mount_info(folder).fstype, "vintermezzo", "type")
    refused("none", where, "size=lots", "size", fstype="vintermezzo")


def test_vintermezzo_has_the_limits_of_tmpfs(where: str) -> None:
    """Without options half of the memory and a bounded number of inodes, as tmpfs has."""
    with mounted("none", "", "vintermezzo", where) as folder:
        room = os.statvfs(folder)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if not 0 < room.f_blocks * room.f_frsize <= memory * 6 // 10 or not room.f_files:
            raise AssertionError(f"{room.f_blocks} blocks of {room.f_frsize}, {room.f_files} inodes")
        remount_old(folder, "size=2m")
        equal(os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize, 2 << 20, "size after a remount")
    with mounted("none", "nr_inodes=20", "vintermezzo", where) as folder:
        expect_errno(errno.ENOSPC, lambda: [os.mkdir(f"{folder}/{n}") for n in range(30)])


def test_options_for_the_cache_are_limited(where: str) -> None:
    """fsopen(2) needs little privilege: more than a page of options for the cache is refused."""
    context = call("fsopen", "vintermezzo", 0)
    try:
        value = "x" * 200
        expect_errno(errno.EINVAL, lambda: [call("fsconfig", context, FSCONFIG_SET_STRING, f"o{n}", value, 0)
                                            for n in range(40)])
    finally:
        os.close(context)


@intermezzo_only
def test_two_vintermezzo_mounts_are_two(where: str) -> None:
    """Each mount of vintermezzo has its own files and device number."""
    second = where + "-second"
    os.mkdir(second)
    with mounted("none", "fileset=a", "vintermezzo", where):
        with mounted("none", "fileset=b", "vintermezzo", second):
            os.mkdir(f"{where}/only-here")
            equal(os.listdir(second), [], "the other's files")
            if os.stat(where).st_dev == os.stat(second).st_dev:
                raise AssertionError("both have one device number")


@intermezzo_only
def test_device_name_and_number_are_found(disk: str, where: str) -> None:
    """df, findmnt and lsblk find the device: source, st_dev, mountinfo and statfs agree with the block
    device."""
    make_ext4(disk)
    number = os.stat(disk).st_rdev
    with mounted(disk, "fileset=a", where=where):
        info = mount_info(where)
        equal((info.source, info.fstype), (disk, "intermezzo"), "mountinfo")
        equal((info.device, os.stat(where).st_dev), (number, number), "device numbers")
        with open(f"{where}/f", "wb") as stream:
            equal(os.fstat(stream.fileno()).st_dev, number, "st_dev of a file")
        before = os.statvfs(where)
        if before.f_blocks * before.f_frsize < 50 << 20:
            raise AssertionError(f"statvfs: {before}")


@intermezzo_only
def test_old_spelling(disk: str, where: str) -> None:
    """The type may be written InterMezzo, and mount then works the same."""
    make_ext4(disk)
    accepted(disk, where, "volume=home,mtpt=/,prestodev=/dev/intermezzo0", "InterMezzo")
    with mounted(disk, "fileset=home", "InterMezzo", where) as folder:
        os.mkdir(f"{folder}/works")
    with mounted(disk, "fileset=home", "intermezzo", where) as folder:
        os.stat(f"{folder}/works")
