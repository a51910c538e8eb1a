# SPDX-License-Identifier: GPL-2.0
"""What cases do to a tree where any change will do: whole files, some of everything, one record of
each kind, a full disk."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

from guest.disks import fill, run
from guest.expect import errno_of, wait_until
from guest.syscalls import RENAME_EXCHANGE, RENAME_WHITEOUT, link_open_file, rename, syncfs

ACL_TWO_USERS = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
    (1, 7, 0xffffffff), (2, 6, 1001), (2, 5, 1002), (4, 5, 0xffffffff), (0x10, 7, 0xffffffff),
    (0x20, 0, 0xffffffff)))


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


def make_everything(root: str) -> None:
    """One of each kind of record, and some more."""
    for name in ("d", "d/e", "d/e/f", "sgid", "acl", "gone", "other"):
        os.mkdir(f"{root}/{name}", 0o750)
    os.chmod(f"{root}/sgid", 0o2775)
    os.chown(f"{root}/sgid", 1000, 1234)
    os.mkdir(f"{root}/sgid/inherits")
    os.setxattr(f"{root}/acl", "system.posix_acl_default", ACL_TWO_USERS)
    os.mkdir(f"{root}/acl/inherits")
    Path(f"{root}/acl/file").touch()
    os.mkdir(f"{root}/acl/plain")
    os.removexattr(f"{root}/acl/plain", "system.posix_acl_default")
    for name in ("a", "b", "c", "d/x", "d/y"):
        Path(f"{root}/{name}").write_bytes(name.encode())
    os.symlink("../target/" + "t" * 90, f"{root}/long")
    os.symlink("a", f"{root}/short")
    os.mkfifo(f"{root}/fifo", 0o640)
    os.mknod(f"{root}/device", 0o60600, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{root}/socket")
    os.link(f"{root}/a", f"{root}/d/e/a2")
    os.link(f"{root}/a", f"{root}/d/e/f/a3")
    os.unlink(f"{root}/a")
    os.rmdir(f"{root}/gone")
    os.rename(f"{root}/d/e", f"{root}/other/e")
    os.rename(f"{root}/b", f"{root}/c")
    rename(f"{root}/d/x", f"{root}/d/y", RENAME_EXCHANGE)
    rename(f"{root}/other/e", f"{root}/acl/plain", RENAME_EXCHANGE)
    rename(f"{root}/d/x", f"{root}/d/moved", RENAME_WHITEOUT)
    os.chmod(f"{root}/c", 0o4711)
    os.chown(f"{root}/d/y", 7, 8)
    os.chown(f"{root}/short", 7, 8, follow_symlinks=False)
    os.utime(f"{root}/d", ns=(10**9, 2 * 10**9 + 5))
    os.utime(f"{root}/long", ns=(3, 4), follow_symlinks=False)
    os.setxattr(f"{root}/c", "user.note", b"text")
    os.setxattr(f"{root}/c", "user.gone", b"x" * 900)
    os.removexattr(f"{root}/c", "user.gone")
    os.setxattr(f"{root}/c", "system.posix_acl_access", ACL_TWO_USERS)
    os.setxattr(f"{root}/c", "trusted.t", b"1")
    run("chattr", "+d", f"{root}/c")
    fd = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.setxattr(fd, "user.before", b"it had a name")
    os.link(f"/proc/self/fd/{fd}", f"{root}/named", src_dir_fd=0, follow_symlinks=True)
    os.close(fd)
