# SPDX-License-Identifier: GPL-2.0
"""Reintegration on caches that are no ext4, or differ from the peer's."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Callable

from guest.disks import check_ext, debugfs_write, fill, make_btrfs, make_ext4, make_xfs, run
from guest.expect import equal, expect_errno, intermezzo_only
from guest.kml import Log
from guest.mounting import mount_old, umount
from guest.reint import Replica
from guest.reint_pair import all_stored, pair, tree
from guest.subject import FILESET, mounted
from guest.tree import differences

DISKS = ("256M", "256M", "160M", "160M", "160M")
CASE_DEADLINE = 120
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_XFLAG_EXTSZINHERIT = 0x801c581f, 0x401c5820, 0x1000


@intermezzo_only
def test_bodies_on_other_caches(disk: str, second_disk: str) -> None:
    """Without a transaction of ours: all names get the new body there too."""
    cases: list[tuple[Callable[[str], object], str]] = [
        (make_xfs, "cache_type=xfs"), (make_btrfs, "cache_type=btrfs"),
        (lambda device: make_ext4(device, "-O", "^has_journal"), "")]
    for make, options in (*cases, (lambda device: None, "tmpfs")):
        make_ext4(disk, "-b", "4096")
        make(second_disk)
        ours = (mounted("none", FILESET, "vintermezzo") if options == "tmpfs" else
                mounted(second_disk, ",".join(filter(None, (FILESET, options)))))
        with mounted(disk, FILESET) as peer, ours as root:
            replica = Replica(root, peer)
            os.chmod(root, 0o755)  # of a tmpfs it is another
            os.makedirs(f"{peer}/a/b")
            Path(f"{peer}/a/one").write_bytes(b"old")
            os.link(f"{peer}/a/one", f"{peer}/a/two")
            os.link(f"{peer}/a/one", f"{peer}/a/b/three")
            all_stored(replica.pull())
            run("chattr", "+i", f"{peer}/a/b")
            all_stored(replica.pull())
            Path(f"{peer}/a/one").write_bytes(b"new body")
            all_stored(replica.pull())
            trees = [tree(root) for root in (peer, replica.root)]
            for one in (entry for found in trees for entry in found.values() if entry["type"] == "dir"):
                one.pop("nlink", 0)  # btrfs does not count
            equal(differences(*trees), [], options)
            equal(os.stat(f"{replica.root}/a/one").st_nlink, 3, "links")
            run("chattr", "-i", f"{peer}/a/b")
            all_stored(replica.pull())


@intermezzo_only
def test_bodies_of_files_with_more_attributes_than_are_listed(disk: str, second_disk: str) -> None:
    """Some caches keep any number, and a new body keeps them; only for too many to copy it is refused."""
    cases: list[tuple[Callable[[str], object], str]] = [
        (make_xfs, "cache_type=xfs"), (make_btrfs, "cache_type=btrfs"), (lambda device: None, "tmpfs")]
    for make, options in cases:
        make_ext4(disk, "-b", "4096")
        make(second_disk)
        ours = (mounted("none", FILESET, "vintermezzo") if options == "tmpfs" else
                mounted(second_disk, f"{FILESET},{options}"))
        with mounted(disk, FILESET) as peer, ours as root:
            replica = Replica(root, peer)
            Path(f"{peer}/f").write_bytes(b"old")
            all_stored(replica.pull())
            names = [f"user.{number:0249}" for number in range(300)]
            for name in names:
                os.setxattr(f"{root}/f", name, name[-3:].encode())
            expect_errno(errno.E2BIG, os.listxattr, f"{root}/f")
            Path(f"{peer}/f").write_bytes(b"new body")
            all_stored(replica.pull())
            equal(Path(f"{root}/f").read_bytes(), b"new body", options)
            lost = [name for name in names if os.getxattr(f"{root}/f", name) != name[-3:].encode()]
            equal(lost, [], f"attributes that were lost, {options}")
            for number in range(300, 4200 if options == "tmpfs" else 0):
                os.setxattr(f"{root}/f", f"user.{number:0249}", b"")
            Path(f"{peer}/f").write_bytes(b"newer")
            equal(replica.pull()[-1].code, "refused" if options == "tmpfs" else "applied", options)


@intermezzo_only
def test_an_attribute_waits_for_room_on_tmpfs(disk: str, second_disk: str) -> None:
    """There user attributes take the room of inodes: that none is free now does not refuse one for ever."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET) as peer, \
            mounted("none", f"{FILESET},nr_inodes=1000", "vintermezzo") as root:
        replica = Replica(root, peer)
        Path(f"{peer}/f").touch()
        all_stored(replica.pull())
        os.mkdir(f"{root}/tmp")
        count = 0
        while os.statvfs(root).f_ffree > 1:
            count += 1
            Path(f"{root}/tmp/{count}").touch()
        os.setxattr(f"{peer}/f", "user.long", b"v" * 3500)
        said = replica.pull()[-1]
        equal((said.code, said.error), ("stopped", -errno.ENOSPC), "without room")
        for number in range(8):
            os.unlink(f"{root}/tmp/{count - number}")
        all_stored(replica.pull())
        equal(os.getxattr(f"{root}/f", "user.long"), b"v" * 3500, "the attribute")


@intermezzo_only
def test_an_object_whose_identity_finds_no_room_is_not_made(disk: str, second_disk: str) -> None:
    """On a full disk whose inodes have no room for attributes a file could be made, its FID not: nothing is,
    until there is room."""
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "1024", "-I", "256")
    debugfs_write(second_disk, "set_super_value want_extra_isize 124")
    with pair(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        for name in ("first", "f", "d"):
            os.mkdir(f"{peer}/{name}") if name == "d" else os.mkfifo(f"{peer}/{name}")
        all_stored(replica.pull(most=1))
        run("sh", "-c", f"cat /dev/zero > {here}/lost+found/filler; true")
        os.sync()
        fill(f"{here}/lost+found/filler", 1024)
        before = os.stat(here).st_mtime_ns
        said = replica.pull()[-1]
        equal((said.code, said.error), ("stopped", -errno.ENOSPC), "a FIFO")
        equal((os.path.lexists(f"{here}/f"), os.stat(here).st_mtime_ns), (False, before), "what is there")
        os.unlink(f"{here}/lost+found/filler")
        all_stored(replica.pull())
        umount(here)
        mount_old(second_disk, here, "intermezzo", FILESET)
        os.chmod(f"{here}/f", 0o600)
        os.rmdir(f"{here}/d")
        os.sync()
        equal(list(Log.of_mount(here).records())[-1].object.replica, replica.indices[1], "whose it is")
    check_ext(second_disk)


def extent_hint(path: str, size: int = 0) -> int:
    """The extent size hint of a file on xfs; with a size set one, of a directory for what is made in it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        value = bytearray(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)))
        if size:
            flags = struct.unpack_from("=I", value)[0] | FS_XFLAG_EXTSZINHERIT
            struct.pack_into("=II", value, 0, flags, size)
            fcntl.ioctl(fd, FS_IOC_FSSETXATTR, bytes(value))
        return int(struct.unpack_from("=I", value, 4)[0])
    finally:
        os.close(fd)


@intermezzo_only
def test_extent_size_hints_of_xfs_stay(disk: str, second_disk: str) -> None:
    """They are each side's own: a flag from the peer, and a new body, leave them."""
    make_ext4(disk, "-b", "4096")
    make_xfs(second_disk)
    with pair(disk, second_disk, options="cache_type=xfs") as replica:
        extent_hint(replica.root, 65536)
        ours, peers = (f"{root}/f" for root in (replica.root, replica.peer_root))
        Path(peers).touch()
        for flag, change in (("+A", None), ("+A", b"body"), ("-A", None)):
            run("chattr", flag, peers)
            if change:
                Path(peers).write_bytes(change)
            all_stored(replica.pull())
            equal(extent_hint(ours), 65536, f"the hint, {flag}")
            equal("A" in run("lsattr", ours).split()[0], flag == "+A", f"the flag, {flag}")
        equal(Path(ours).read_bytes(), b"body", "the body")
