# SPDX-License-Identifier: GPL-2.0
"""What cases do to a tree where any change will do: whole files, some of everything, a full disk."""

from __future__ import annotations

import os
import time

from guest.disks import fill
from guest.expect import errno_of, wait_until
from guest.syscalls import RENAME_EXCHANGE, link_open_file, rename, syncfs


def write(path: str, data: bytes = b"data") -> None:
    """A whole file."""
    with open(path, "wb") as stream:
        stream.write(data)


def read(path: str) -> bytes:
    """A whole file."""
    with open(path, "rb") as stream:
        return stream.read()


def change_a_bit_of_everything(root: str, turn: int) -> None:
    """Names, attributes, bodies, a nameless file."""
    top = f"{root}/{turn}"
    os.makedirs(f"{top}/a/b")
    for number in range(20):
        write(f"{top}/f{number}", os.urandom(number * 700))
    os.rename(f"{top}/f1", f"{top}/a/f2")
    rename(f"{top}/f3", f"{top}/a/b", RENAME_EXCHANGE)
    os.link(f"{top}/f4", f"{top}/a/link")
    os.unlink(f"{top}/f4")
    os.chmod(f"{top}/f5", 0o4711)
    os.truncate(f"{top}/f6", 100)
    os.setxattr(f"{top}/f7", "user.a", b"1" * 200)
    fd = os.open(top, os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"nameless")
    link_open_file(fd, f"{top}/named")
    os.close(fd)


def fill_up(root: str, names: bool = True) -> None:
    """Some things to work with, and not a block left; for names too, if asked, of which some file systems
    have room of their own."""
    os.mkdir(f"{root}/d")
    for name in ("gone", "cut", "moved", "f"):
        write(f"{root}/{name}", b"x" * 300000)
    syncfs(root)
    fill(f"{root}/big")
    syncfs(root)
    # blocks are free again once what held them is committed
    wait_until(lambda: fill(f"{root}/rest") == 0 and (
        not names or errno_of(os.mkdir, f"{root}/d/{time.monotonic_ns()}") == "ENOSPC"), "a full disk")


def shrink(root: str) -> None:
    """What must work on a full disk."""
    os.chmod(f"{root}/f", 0o600)
    os.rename(f"{root}/moved", f"{root}/d/moved")
    os.truncate(f"{root}/cut", 10)
    os.unlink(f"{root}/gone")
    os.rename(f"{root}/f", f"{root}/d/moved")
    os.unlink(f"{root}/big")
    syncfs(root)
