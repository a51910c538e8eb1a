# SPDX-License-Identifier: GPL-2.0
"""Replicas at their limits: a full disk on either side, many files."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from guest.disks import fill, make_ext4
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, converge, lines_with, running
from guest.subject import FILESET, mounted
from guest.syscalls import syncfs

ENVIRONMENT = ("IZO_TOOLS", "IZO_MANY_FILES")
# For 10,000 files, which are some 40 ms each on a busy machine.
CASE_DEADLINE = 1500
FILE_DEADLINE = 1800
DISKS = ("64M", "64M", "192M", "192M", "64M")
OPTIONS = f"{FILESET},mtp=/srv"
FULL = "No space left on device"
BODY = 3_000_000


def works(root: str) -> None:
    """What users can do on a full disk (I5, I11)."""
    equal(Path(root, "before").read_bytes(), b"before" * 1000, "a file that was there")
    os.chmod(f"{root}/before", 0o600)
    os.rename(f"{root}/before", f"{root}/renamed")
    os.truncate(f"{root}/cut", 10)
    os.unlink(f"{root}/gone")


def no_room(full: Intersync, other: Intersync) -> None:
    """One side has no room for what comes from the other, until there is some again."""
    root, source = full.words[-1], other.words[-1]
    for name in ("before", "cut", "gone"):
        Path(root, name).write_bytes(b"before" * 1000)
    converge(source, root, full, other)
    # This class is the machine's own, so the ballast stays here.
    os.mkdir(f"{root}/tmp")
    wait_until(lambda: (fill(f"{root}/tmp/ballast"), syncfs(root), fill(f"{root}/tmp/ballast"))[2] == 0,
               "a full disk")
    bodies = {f"body-{number}": os.urandom(BODY + number) for number in range(3)}
    for name, body in bodies.items():
        Path(source, name).write_bytes(body)
    wait_until(lambda: lines_with(full, FULL), "it says that the disk is full", 60)
    works(root)
    # Long enough for several attempts.
    end = time.monotonic() + 8
    while time.monotonic() < end:
        equal(len(lines_with(full, FULL)), 1, f"lines about the full disk: {full.said()[-1500:]}")
        time.sleep(0.2)
    shutil.rmtree(f"{root}/tmp")
    syncfs(root)
    # The root's time was changed by what stays here.
    Path(root, "room").touch()
    converge(source, root, full, other, seconds=120)
    for name, body in bodies.items():
        equal(Path(root, name).read_bytes() == body, True, name)
    equal(sorted(name for name in os.listdir(root) if ".conflict-" in name), [], "conflict copies")
    equal(os.path.exists(f"{source}/renamed"), True, "what was renamed on the full disk")


def full_disk(disk: str, second_disk: str, is_servers: bool) -> None:
    """The server's disk is the small one, or the client's."""
    for one, is_small in ((disk, is_servers), (second_disk, not is_servers)):
        make_ext4(one, "-b", "4096", "-N", "12000", size="40M" if is_small else "96M")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, running(root, other) as both:
        both.converge()
        no_room(*both.sides(is_servers))


@intermezzo_only
def test_full_disk_of_the_client(disk: str, second_disk: str) -> None:
    """It says so in one line, its root works, and it goes on when there is room."""
    full_disk(disk, second_disk, is_servers=False)


@intermezzo_only
def test_full_disk_of_the_server(disk: str, second_disk: str) -> None:
    """It says so in one line, its root works, and it goes on when there is room."""
    full_disk(disk, second_disk, is_servers=True)


@intermezzo_only
def test_many_files(disk: str, second_disk: str) -> None:
    """A client begins with nothing and gets a large tree; then most of it goes again."""
    count = int(os.environ.get("IZO_MANY_FILES", "1000"))
    for one in (disk, second_disk):
        make_ext4(one, "-b", "1024", "-N", str(count + 2000))
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        for number in range(count):
            folder = f"{root}/{number % 10}/{number // 10 % 10}"
            os.makedirs(folder, exist_ok=True)
            Path(folder, f"file-{number}").write_bytes(b"%d\n" % number * (number % 50))
        with running(root, other) as both:
            last = f"{other}/{(count - 1) % 10}/{(count - 1) // 10 % 10}/file-{count - 1}"
            wait_until(lambda: os.path.exists(last), "the last file", 600)
            both.converge(seconds=300)
            for number in range(9):
                shutil.rmtree(f"{other}/{number}")
            wait_until(lambda: not os.path.exists(f"{root}/8"), "the last file goes", 600)
            both.converge(seconds=300)
