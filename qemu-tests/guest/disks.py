# SPDX-License-Identifier: GPL-2.0
"""Making and checking the disks a case works on."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from typing import Sequence

# Discarding a ubd disk punches its file hole by hole: seconds for nothing.
MKE2FS_QUIET = ("-q", "-F", "-E", "nodiscard")


def run(*command: str, ok: Sequence[int] = (0,), stdin: str | None = None) -> str:
    """Run a command of the host's; its output, or an AssertionError with it."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, check=False)
    if done.returncode not in ok:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout[-1500:]}")
    return done.stdout


def make_ext4(device: str, *options: str, size: str = "") -> str:
    """An empty ext4 on device; returns the device."""
    run("mke2fs", *MKE2FS_QUIET, "-t", "ext4", *options, device, *([size] if size else []))
    return device


def make_ext3(device: str, *options: str) -> str:
    """An empty ext3 (mke2fs -j) on device; returns the device."""
    run("mke2fs", *MKE2FS_QUIET, "-t", "ext3", "-j", *options, device)
    return device


def make_xfs(device: str, *options: str) -> str:
    """An empty XFS on device, with a smaller log than mkfs.xfs wants people to have, which takes a second
    to write; returns the device."""
    run("mkfs.xfs", "--unsupported", "-q", "-f", "-K", "-l", "size=10m", *options, device)
    return device


def make_btrfs(device: str, *options: str) -> str:
    """An empty btrfs on device, of 110 MB at least; returns the device."""
    run("mkfs.btrfs", "-q", "-f", "-K", *options, device)
    return device


def check_xfs(device: str) -> None:
    """xfs_repair must find nothing to do, and no log to replay. It opens the device exclusively."""
    run("xfs_repair", "-n", device)


def check_btrfs(device: str) -> None:
    """btrfs-check(8) must find nothing to say. It opens the device exclusively."""
    run("btrfs", "check", "--readonly", device)


def check_ext(device: str) -> None:
    """e2fsck must find nothing to say. It opens the device exclusively, so a device in use fails too."""
    probe = os.open(device, os.O_RDONLY | os.O_EXCL)
    os.close(probe)
    output = run("e2fsck", "-fn", device)
    if "recover" in output.lower():
        raise AssertionError(f"e2fsck -fn {device}: {output[-800:]}")


def needs_recovery(device: str) -> bool:
    """Whether the journal of an unmounted ext4 still has to be replayed."""
    return "needs_recovery" in run("dumpe2fs", "-h", device)


def fill_with_garbage(device: str) -> str:
    """No file system at all on device."""
    with open(device, "r+b") as disk:
        disk.write(bytes(range(256)) * 4096)
    return device


def debugfs_write(device: str, *requests: str) -> str:
    """Change an unmounted ext4 with debugfs(8)."""
    return run("debugfs", "-w", "-f", "-", device, stdin="".join(f"{request}\n" for request in requests))


def fill(path: str, block: int = 1 << 16) -> int:
    """Write until the disk is full; the bytes written."""
    written = 0
    try:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return 0
    try:
        while True:
            try:
                written += os.write(fd, b"F" * block)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if block == 512:
                    return written
                block = 512
    finally:
        os.close(fd)


def copy_as_after_a_crash(device: str, target: str, size: int | None = None) -> str:
    """What the medium of a mounted disk has, or so many bytes of it, on another disk of its size; returns
    that. Nothing else may happen meanwhile: mount with a long commit=."""
    block = mmap.mmap(-1, 1 << 20)
    source = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with open(target, "r+b", buffering=0) as copy:
            while (size is None or copy.tell() < size) and (count := os.readv(source, [block])):
                copy.write(block[:count])
            os.fsync(copy.fileno())
    finally:
        os.close(source)
    return target


MAKERS = {"ext4": make_ext4, "ext3": make_ext3, "xfs": make_xfs, "btrfs": make_btrfs}
CHECKERS = {"ext4": check_ext, "ext3": check_ext, "xfs": check_xfs, "btrfs": check_btrfs}
