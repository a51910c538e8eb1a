# SPDX-License-Identifier: GPL-2.0
"""Server and client on one machine: what changes on one side comes to the other, once."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator

from guest.disks import make_ext4
from guest.expect import equal, intermezzo_only
from guest.intersync import Intersync, converge, loopback_up
from guest.subject import FILESET, mounted

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 180


class Pair:
    """A server's mount and a client's, and their daemons."""

    def __init__(self, server_root: str, client_root: str, server: Intersync, client: Intersync) -> None:
        self.server_root, self.client_root = server_root, client_root
        self.server, self.client = server, client

    def converge(self) -> float:
        """Until both have the same."""
        return converge(self.server_root, self.client_root, self.server, self.client)


@contextlib.contextmanager
def pair(disk: str, second_disk: str) -> Iterator[Pair]:
    """Both on fresh disks, running."""
    loopback_up()
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "4096")
    with mounted(disk, f"{FILESET},mtp=/srv") as server_root, \
            mounted(second_disk, f"{FILESET},mtp=/srv") as client_root:
        with Intersync(server_root) as server, Intersync(client_root, server="127.0.0.1") as client:
            yield Pair(server_root, client_root, server, client)
            equal([client.stop(), server.stop()], [0, 0], "exit codes after SIGTERM")


@intermezzo_only
def test_both_directions(disk: str, second_disk: str) -> None:
    """A file made on either side is on the other, with its body."""
    with pair(disk, second_disk) as both:
        Path(both.server_root, "from-server").write_bytes(b"server\n" * 1000)
        os.mkdir(f"{both.server_root}/d")
        both.converge()
        Path(both.client_root, "d/from-client").write_bytes(b"client\n" * 1000)
        both.converge()
        equal(Path(both.server_root, "d/from-client").read_bytes(), b"client\n" * 1000, "the body")
