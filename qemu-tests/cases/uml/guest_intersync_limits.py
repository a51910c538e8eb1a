# SPDX-License-Identifier: GPL-2.0
"""Replicas at their limits: a full disk on either side, many files."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Iterator

from guest.disks import fill, make_ext4
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, converge, loopback_up
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


@contextlib.contextmanager
def pair(disk: str, second_disk: str, *sizes: str) -> Iterator[tuple[Intersync, Intersync]]:
    """Server and client on fresh disks, running and the same."""
    loopback_up()
    for one, size in zip((disk, second_disk), sizes or ("", "")):
        make_ext4(one, "-b", "4096", "-N", "12000", size=size)
    with mounted(disk, OPTIONS) as server_root, mounted(second_disk, OPTIONS) as client_root:
        with Intersync(server_root) as server, Intersync(client_root, server="127.0.0.1") as client:
            converge(server_root, client_root, server, client)
            yield server, client
            equal([client.stop(), server.stop()], [0, 0], "exit codes after SIGTERM")


def lines_with(daemon: Intersync, word: str) -> list[str]:
    """What it said."""
    return [line for line in daemon.said().splitlines() if word in line]


def works(root: str) -> None:
    """What users can do on a full disk (I5, I11)."""
    equal(Path(root, "before").read_bytes(), b"before" * 1000, "a file that was there")
    os.chmod(f"{root}/before", 0o600)
    os.rename(f"{root}/before", f"{root}/renamed")
    os.truncate(f"{root}/cut", 10)
    os.unlink(f"{root}/gone")


def full_disk(full: Intersync, other: Intersync, says: Intersync) -> None:
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
    wait_until(lambda: lines_with(says, FULL), "it says that the disk is full", 60)
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


@intermezzo_only
def test_full_disk_of_the_client(disk: str, second_disk: str) -> None:
    """It says so in one line, its root works, and it goes on when there is room."""
    with pair(disk, second_disk, "96M", "40M") as (server, client):
        full_disk(client, server, client)


@intermezzo_only
def test_full_disk_of_the_server(disk: str, second_disk: str) -> None:
    """It says so in one line, its root works, and it goes on when there is room."""
    with pair(disk, second_disk, "40M", "96M") as (server, client):
        full_disk(server, client, server)


@intermezzo_only
def test_many_files(disk: str, second_disk: str) -> None:
    """A client begins with nothing and gets a large tree; then most of it goes again."""
    count = int(os.environ.get("IZO_MANY_FILES", "1000"))
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one, "-b", "1024", "-N", str(count + 2000))
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        for number in range(count):
            folder = f"{root}/{number % 10}/{number // 10 % 10}"
            os.makedirs(folder, exist_ok=True)
            Path(folder, f"file-{number}").write_bytes(b"%d\n" % number * (number % 50))
        with Intersync(root) as server, Intersync(other, server="127.0.0.1") as client:
            last = f"{other}/{(count - 1) % 10}/{(count - 1) // 10 % 10}/file-{count - 1}"
            wait_until(lambda: os.path.exists(last), "the last file", 600)
            converge(root, other, server, client, seconds=300)
            for number in range(9):
                shutil.rmtree(f"{other}/{number}")
            wait_until(lambda: not os.path.exists(f"{root}/8"), "the last file goes", 600)
            converge(root, other, server, client, seconds=300)
            equal([client.stop(), server.stop()], [0, 0], "exit codes after SIGTERM")
