# SPDX-License-Identifier: GPL-2.0
"""The file system under test in this guest: its type, its disks, and mounting it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any, Iterator

from guest import disks, mounting

HOST = "/mnt/host"
MOUNTS = "/mnt/t"


def _job() -> dict[str, Any]:
    path = os.path.join(HOST, "job.json")
    if not os.path.exists(path):
        return {"fstype": "ext4"}
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


JOB = _job()
# "intermezzo:xfs" is intermezzo on another cache than its own.
FSTYPE, _, _CACHE_TYPE = JOB["fstype"].partition(":")
IS_INTERMEZZO = FSTYPE != "ext4"
IN_MEMORY = FSTYPE == "vintermezzo"
CACHE = _CACHE_TYPE or ("tmpfs" if IN_MEMORY else "ext4")
# What the subject is compared with: its own kind of cache.
REFERENCE_FSTYPE = CACHE
# What a disk that is not InterMezzo's yet needs to be mounted.
FILESET = ("fileset=rootset" + (f",cache_type={CACHE}" if _CACHE_TYPE else "")) if IS_INTERMEZZO else ""
# The pair every `tree` case runs on, and the disks a case may do anything with.
SUBJECT_DISK, REFERENCE_DISK = "/dev/ubda", "/dev/ubdb"
FREE_DISKS = ("/dev/ubdc", "/dev/ubdd", "/dev/ubde")


def mount_point() -> str:
    """A fresh empty directory to mount on."""
    os.makedirs(MOUNTS, exist_ok=True)
    return tempfile.mkdtemp(dir=MOUNTS)


def make_cache(device: str, *ext4_options: str) -> None:
    """An empty file system on device, of the kind that is under test below; in memory there is none to
    make."""
    if not IN_MEMORY:
        disks.MAKERS[CACHE](device, *(ext4_options if CACHE == "ext4" else ()))


def check_cache(device: str) -> None:
    """The unmounted file system on device is without a fault."""
    if not IN_MEMORY:
        disks.CHECKERS[CACHE](device)


@contextlib.contextmanager
def mounted(device: str, options: str = "", fstype: str = FSTYPE, where: str = "") -> Iterator[str]:
    """Mount for the length of a with block; unmounting must succeed."""
    target = where or mount_point()
    mounting.mount_old(device, target, fstype, options)
    try:
        yield target
    except BaseException:
        mounting.umount_lazily(target)
        raise
    mounting.umount(target)


def filesystems() -> list[str]:
    """The types this kernel knows."""
    with open("/proc/filesystems", encoding="ascii") as table:
        return [line.split("\t")[-1].strip() for line in table]
