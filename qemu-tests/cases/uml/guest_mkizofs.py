# SPDX-License-Identifier: GPL-2.0
"""mkizofs(8) and the kernel: what one writes the other takes, and clones keep the FIDs of what they were
copied with."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from pathlib import Path

from guest.disks import check_ext, make_ext4, run
from guest.expect import equal, expect_errno, intermezzo_only
from guest.kml import Fid, Log, Record
from guest.mounting import mount_old, refusal
from guest.replay import fid_of
from guest.subject import FILESET, mount_point, mounted

ENVIRONMENT = ("IZO_TOOLS",)


def mkizofs(*words: str) -> dict:
    """Run it and give what it says."""
    return json.loads(run(f"{os.environ['IZO_TOOLS']}/src/tools/mkizofs", "--json", *words))


def copy_disk(source: str, target: str) -> None:
    """Byte by byte, as dd(1) does."""
    with open(source, "rb") as reading, open(target, "wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)


def identity(root: str) -> tuple[str, str, int]:
    """Fileset, replica and number of the replica, as the log's header has them."""
    header = Path(f"{root}/.intermezzo/rootset/kml").read_bytes()[:120]
    fileset, replica = (str(uuid.UUID(bytes=header[at:at + 16])) for at in (32, 48))
    return fileset, replica, Log.of_mount(root).self_index


def newest(root: str) -> Record:
    """The newest record."""
    return list(Log.of_mount(root).records())[-1]


@intermezzo_only
def test_kernel_takes_the_identity(disk: str) -> None:
    """The UUIDs of mkizofs are those of the log."""
    made = mkizofs("--mkfs", "--force", disk)
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/d")
        equal(identity(root), (made["fileset_uuid"], made["replica_uuid"], 1), "identity")
        equal(newest(root).object.replica, 1, "who made it")
    equal(mkizofs(disk), {**made, "changed": False}, "afterwards")
    check_ext(disk)


@intermezzo_only
def test_kernel_s_own_cache_is_marked_already(disk: str) -> None:
    """What the kernel made at its first mount mkizofs leaves as it is."""
    make_ext4(disk)
    with mounted(disk, FILESET) as root:
        os.mkdir(f"{root}/d")
        known = identity(root)
    found = mkizofs(disk)
    equal((found["changed"], found["fileset_uuid"], found["replica_uuid"]), (False, *known[:2]), "identity")


@intermezzo_only
def test_clone(disk: str, second_disk: str) -> None:
    """Both go on from the same tree, as two replicas; what was copied is the same object on both."""
    origin, copied = disk, second_disk
    made = mkizofs("--mkfs", "--force", origin)
    with mounted(origin, FILESET) as root:
        os.makedirs(f"{root}/d/e")
        Path(f"{root}/d/f").write_bytes(b"body")
        theirs = {name: fid_of(os.fsencode(f"{root}/{name}"), 1) for name in ("d", "d/e", "d/f")}
    copy_disk(origin, copied)
    where = mount_point()
    cloned = mkizofs("--clone", copied)
    equal((cloned["replica"], cloned["replicas"]), (2, 2), "number")
    check_ext(copied)
    with mounted(origin, FILESET) as root, mounted(copied, FILESET) as other:
        equal(identity(other), (made["fileset_uuid"], cloned["replica_uuid"], 2), "identity")
        for name, fid in theirs.items():
            for side in (root, other):
                os.chmod(f"{side}/{name}", 0o700)
                equal(newest(side).object, fid, f"{name} on {side}")
        os.mknod(f"{other}/d/new")
        record = newest(other)
        equal((record.object.replica, record.place.dir), (2, theirs["d"]), "a new object")
        equal(Log.of_mount(other).overflow, False, "the log")
    check_ext(copied)
    # a copy that nobody cloned is refused as soon as the two have different tables
    with mounted(copied, fstype="ext4") as root:
        shutil.copy(f"{root}/.intermezzo/rootset/replicas", "/tmp/replicas")
    with mounted(origin, fstype="ext4") as root:
        shutil.copy("/tmp/replicas", f"{root}/.intermezzo/rootset/replicas")
    error = expect_errno(errno.EINVAL, mount_old, origin, where, "intermezzo", FILESET)
    equal("belongs to another replica" in "".join(refusal(error)), True, "the reason")


@intermezzo_only
def test_clone_of_a_clone(disk: str, second_disk: str) -> None:
    """Three makers in one tree."""
    first, second = disk, second_disk
    mkizofs("--mkfs", "--force", first)
    with mounted(first, FILESET) as root:
        os.mkdir(f"{root}/one")
        one = fid_of(os.fsencode(f"{root}/one"), 1)
    copy_disk(first, second)
    mkizofs("--clone", second)
    with mounted(second, FILESET) as root:
        os.mkdir(f"{root}/two")
        two = fid_of(os.fsencode(f"{root}/two"), 2)
    copy_disk(second, first)
    equal(mkizofs("--clone", first)["replica"], 3, "number")
    with mounted(first, FILESET) as root:
        os.mkdir(f"{root}/three")
        found: list[Fid] = []
        for name in ("one", "two", "three"):
            os.utime(f"{root}/{name}")
            found.append(newest(root).object)
        equal(found, [one, two, fid_of(os.fsencode(f"{root}/three"), 3)], "FIDs")
    check_ext(first)
