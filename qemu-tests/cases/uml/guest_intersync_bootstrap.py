# SPDX-License-Identifier: GPL-2.0
"""A client that begins with nothing: it gets the tree as it is, also what was there before the log, while
both sides change it and daemons die."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import threading
from pathlib import Path
from typing import Any, Iterator

from guest.disks import make_ext4, make_xfs, run
from guest.expect import equal, expect_errno, intermezzo_only, wait_until
from guest.intersync import Intersync, converge, loopback_up, touch_directories
from guest.log_info import info, trim
from guest.restless import User
from guest.subject import FILESET, mounted
from guest.syscalls import syncfs

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 240
DISKS = ("64M", "64M", "192M", "192M", "64M")
OPTIONS = f"{FILESET},mtp=/srv"
# The offset of a log's first record.
BEGINNING = 120
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
IMMUTABLE, APPEND, NODUMP = 0x10, 0x20, 0x40
ACL = bytes.fromhex("02000000" "01000700ffffffff" "02000500e8030000" "04000500ffffffff" "10000700ffffffff"
                    "20000000ffffffff")
SEALED = {"sealed": IMMUTABLE, "appended": APPEND, "sealed-dir": IMMUTABLE, "no-dump": NODUMP}
COUNT = 150
COPIES, WHOLE = "copies the server's tree", "copy of the server's tree is whole"


def flags_of(path: str) -> int:
    """As lsattr(1) shows them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return struct.unpack("=I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))[:4])[0]
    finally:
        os.close(fd)


def set_flags(path: str, flags: int) -> None:
    """As chattr(1) does."""
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=Q", flags_of(path) & ~0x70 | flags))
    os.close(fd)


def make_one_of_each(root: str) -> None:
    """All types and attributes that an object can have."""
    for name in ("plain", "empty", "set-id", "acl", "capable", "sealed", "appended", "no-dump", "xattrs"):
        Path(root, name).write_bytes(b"" if name == "empty" else name.encode() * 3000)
    os.chown(f"{root}/set-id", 1000, 1001)
    os.chmod(f"{root}/set-id", 0o6755)
    os.setxattr(f"{root}/acl", "system.posix_acl_access", ACL)
    os.setxattr(f"{root}/capable", "security.capability", bytes.fromhex("0100000200200000" "00" * 12)[:20])
    for number in range(8):
        os.setxattr(f"{root}/xattrs", f"user.{number}", bytes([number]) * 400)
    for folder in ("d", "d/e", "sticky", "default-acl", "sealed-dir"):
        os.mkdir(f"{root}/{folder}")
    os.setxattr(f"{root}/default-acl", "system.posix_acl_default", ACL)
    Path(root, "default-acl", "born-before").write_text("x", encoding="ascii")
    os.removexattr(f"{root}/default-acl/born-before", "system.posix_acl_access")
    Path(root, "sealed-dir", "inside").write_text("inside", encoding="ascii")
    os.chmod(f"{root}/sticky", 0o3777)
    os.symlink("../nowhere \udcff", f"{root}/d/symlink")
    os.lchown(f"{root}/d/symlink", 7, 8)
    os.mkfifo(f"{root}/d/fifo", 0o640)
    os.mknod(f"{root}/d/device", stat.S_IFCHR | 0o620, os.makedev(5, 300))
    os.mknod(f"{root}/d/block", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{root}/d/socket")
    os.link(f"{root}/plain", f"{root}/d/plain-too")
    os.link(f"{root}/d/symlink", f"{root}/d/e/symlink-too")
    os.link(f"{root}/d/fifo", f"{root}/another-fifo")
    for number, path in enumerate(("plain", "d/symlink", "d/device", "d/e", "d", "sealed-dir")):
        os.utime(f"{root}/{path}", ns=(number * 10**17, number * 10**17 + 123456789), follow_symlinks=False)
    os.setxattr(root, "user.of-the-root", b"root")
    os.chown(root, 3, 4)
    os.chmod(root, 0o751)
    os.utime(root, ns=(1, 1_600_000_000_000_000_001))
    for name, flags in SEALED.items():
        set_flags(f"{root}/{name}", flags)


def oldest_record(root: str) -> int:
    """The offset of the first one that the log still has."""
    fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    finally:
        os.close(fd)


def fill(root: str) -> None:
    """Many files."""
    for number in range(COUNT):
        folder = f"{root}/{number % 7}/{number % 11}"
        os.makedirs(folder, exist_ok=True)
        Path(folder, str(number)).write_bytes(b"%d\n" % number * (number % 300))


@contextlib.contextmanager
def mounts(disk: str, second_disk: str) -> Iterator[tuple[str, str]]:
    """A server's root, on a disk that is there, and a client's on a fresh one."""
    loopback_up()
    make_ext4(second_disk, "-b", "4096", "-N", "8000")
    with mounted(disk, OPTIONS) as server_root, mounted(second_disk, OPTIONS) as client_root:
        yield server_root, client_root


def end(*daemons: Intersync) -> None:
    """All stop as they should."""
    equal([daemon.stop() for daemon in daemons], [0] * len(daemons), "exit codes after SIGTERM")


@intermezzo_only
def test_a_tree_from_before_the_log(disk: str, second_disk: str) -> None:
    """What was on the disk before it became a cache comes whole, and nothing of it comes back."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, fstype="ext4") as root:
        make_one_of_each(root)
    run(f"{os.environ['IZO_TOOLS']}/src/tools/mkizofs", disk)
    with mounts(disk, second_disk) as (server_root, client_root):
        before = info(server_root).end_recno
        with Intersync(server_root) as server, Intersync(client_root, server="127.0.0.1") as client:
            converge(server_root, client_root, server, client)
            for name, flags in SEALED.items():
                equal(flags_of(f"{client_root}/{name}") & 0x70, flags, f"flags of {name}")
            equal([info(root).end_recno for root in (server_root, client_root)], [before, 0],
                  "numbers of the newest records")
            equal(WHOLE in client.said(), True, client.said()[-1500:])
            for root in (server_root, client_root):
                for name in SEALED:
                    set_flags(f"{root}/{name}", 0)
                Path(root, "plain").write_text(root, encoding="ascii")
                Path(root, "d", "new").write_text(root, encoding="ascii")
                converge(server_root, client_root, server, client)
            equal([name for name in os.listdir(client_root) if ".conflict-" in name], [], "conflict copies")
            end(client, server)


@intermezzo_only
def test_a_log_that_was_trimmed(disk: str, second_disk: str) -> None:
    """The server's log has not its beginning any more, and goes on from the copy."""
    make_ext4(disk, size="40M")
    with mounts(disk, second_disk) as (server_root, client_root):
        User(server_root, 500).run(300)
        while oldest_record(server_root) == BEGINNING:
            for mode in range(0o700, 0o777):
                os.chmod(server_root, mode)
            syncfs(server_root)
            trim(server_root)
        with Intersync(server_root) as server, Intersync(client_root, server="127.0.0.1") as client:
            converge(server_root, client_root, server, client)
            for n, root in enumerate((server_root, client_root)):
                User(root, 520 + n).run(150)
            converge(server_root, client_root, server, client)
            # One that goes on from where it was needs no copy.
            client.stop()
            User(server_root, 530).run(50)
            client.start()
            converge(server_root, client_root, server, client)
            equal(client.said().count(COPIES), 1, "copies")
            end(client, server)


class Storm(threading.Thread):
    """A user at work until the block ends, and how many of the changes were made while the client copied."""

    def __init__(self, root: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.user, self.over = User(root, seed), threading.Event()
        self.client: Intersync | None = None
        self.amid = 0

    def is_amid(self) -> bool:
        """The client has said that it copies, and not that the copy is whole."""
        said = self.client.said() if self.client else ""
        return COPIES in said and WHOLE not in said

    def run(self) -> None:
        while not self.over.wait(0.02):
            before, began_amid = self.user.done, self.is_amid()
            self.user.run(1)
            if began_amid and self.is_amid():
                self.amid += self.user.done - before

    def __enter__(self) -> Storm:
        self.start()
        return self

    def __exit__(self, *unused: Any) -> None:
        self.over.set()
        self.join()


@intermezzo_only
def test_more_attributes_than_linux_tells(disk: str, second_disk: str) -> None:
    """Of a file with more than 64 KiB of names of attributes nobody can list any; it is copied all the same,
    with its ACL, and the copy of the tree becomes whole."""
    make_xfs(disk)
    make_ext4(second_disk, "-b", "4096")
    with mounted(disk, f"{OPTIONS},cache_type=xfs") as root, mounted(second_disk, OPTIONS) as other:
        Path(root, "labelled").write_bytes(b"labelled")
        os.setxattr(f"{root}/labelled", "system.posix_acl_access", ACL)
        for number in range(300):
            os.setxattr(f"{root}/labelled", f"user.{'x' * 240}{number}", b"")
        expect_errno(errno.E2BIG, os.listxattr, f"{root}/labelled")
        loopback_up()
        with Intersync(root) as server, Intersync(other, server="127.0.0.1") as client:
            client.await_word(WHOLE)
            equal(Path(other, "labelled").read_bytes(), b"labelled", "its body")
            equal(os.listxattr(f"{other}/labelled"), ["system.posix_acl_access"], "its attributes")
            equal(os.stat(f"{other}/labelled").st_mode, os.stat(f"{root}/labelled").st_mode, "its mode")
            end(server, client)


@intermezzo_only
def test_while_both_change(disk: str, second_disk: str) -> None:
    """A storm on either side does not wait for the copy, nor the copy for its end: users of both are at work
    before it begins, all the while, and when it is whole."""
    make_ext4(disk, "-b", "1024", "-N", "8000")
    with mounts(disk, second_disk) as (server_root, client_root):
        fill(server_root)
        User(client_root, 540).run(50)
        with Intersync(server_root) as server, contextlib.ExitStack() as storms:
            users = [storms.enter_context(Storm(root, 541 + n))
                     for n, root in enumerate((server_root, client_root))]
            wait_until(lambda: all(user.user.done for user in users), "both users are at work")
            with Intersync(client_root, server="127.0.0.1") as client:
                for user in users:
                    user.client = client
                for word, seconds in ((COPIES, 30), (WHOLE, 120)):
                    client.await_word(word, seconds)
                    equal([user.is_alive() for user in users], [True, True], f"users at work at {word!r}")
                storms.close()
                equal([user.amid > 0 for user in users], [True, True],
                      f"changes while it copied: {[user.amid for user in users]}")
                converge(server_root, client_root, server, client, seconds=120)
                end(client, server)


@intermezzo_only
def test_killed_while_it_begins(disk: str, second_disk: str) -> None:
    """kill -9 of either daemon in the middle of the copy, again and again, while both sides change."""
    make_ext4(disk, "-b", "1024", "-N", "8000")
    with mounts(disk, second_disk) as (server_root, client_root):
        fill(server_root)
        syncfs(server_root)
        amid = 0
        with Intersync(server_root) as server, Intersync(client_root, server="127.0.0.1") as client:
            for turn in range(6):
                target = COUNT * (turn + 1) // 8
                wait_until(lambda target=target: names_in(client_root) >= target, f"{target} files", 60)
                victim = (client, server)[turn % 2]
                victim.kill()
                amid += names_in(client_root) < COUNT
                for n, root in enumerate((server_root, client_root)):
                    User(root, 560 + 10 * turn + n).run(10)
                victim.start()
            equal(amid >= 3, True, f"kills in the middle: {amid}")
            client.await_word(WHOLE, 120)
            converge(server_root, client_root, server, client, directory_times=False, seconds=120)
            touch_directories(server_root)
            converge(server_root, client_root, server, client)
            end(client, server)


def names_in(root: str) -> int:
    """How many files of fill() are there."""
    return sum(len(files) for folder, _, files in os.walk(root)
               if os.path.relpath(folder, root).count("/") == 1)
