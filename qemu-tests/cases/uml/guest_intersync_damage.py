# SPDX-License-Identifier: GPL-2.0
"""A line that damages one message of each kind, either way: both sides go on as if it had been lost."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from guest.disks import make_ext4
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, converge, loopback_up
from guest.link import Link
from guest.subject import FILESET, mounted

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 240
OPTIONS = f"{FILESET},mtp=/srv"
KINDS = {"hello", "pull", "list", "describe", "fetch", "push", "upload"}
GARBAGE = b"garbage " * 12
# What is larger than 2 MiB is uploaded before its record, in pieces of 3 MiB.
LARGE = 4_000_000
LENGTH = re.compile(rb"(?i)content-length: (\d+)")
LAST_CHUNK = b"0\r\n\r\n"


def cut_off(head: bytes, body: bytes) -> bytes:
    """Half of it; then the connection ends."""
    return head + body[:len(body) // 2]


def one_bit_wrong(head: bytes, body: bytes) -> bytes:
    """In the middle of it, or of its first chunk, where a payload is."""
    told = LENGTH.search(head)
    start = 0 if told else body.index(b"\r\n") + 2
    at = start + (len(body) if told else int(body[:start], 16)) // 2
    return head + body[:at] + bytes([body[at] ^ 4]) + body[at + 1:]


def too_long(head: bytes, body: bytes) -> bytes:
    """More at its end than it should have, all of which HTTP says is the message."""
    told = LENGTH.search(head)
    if told:
        longer = b"Content-Length: %d" % (int(told[1]) + len(GARBAGE))
        return head.replace(told[0], longer) + body + GARBAGE
    return head + body.removesuffix(LAST_CHUNK) + b"%x\r\n%s\r\n" % (len(GARBAGE), GARBAGE) + LAST_CHUNK


def is_whole(head: bytes, body: bytes) -> bool:
    """Has all of a message come?"""
    told = LENGTH.search(head)
    return 0 < int(told[1]) <= len(body) if told else body.endswith(b"\r\n" + LAST_CHUNK)


class BadLine(Link):
    """Damages the first message of each kind that has a body: the requests, or the answers to these.

    One after the other: what else is to be damaged does not pass until the client has begun anew, which it
    must after each.
    """

    def __init__(self, requests: bool, how: str) -> None:
        self.requests_too, self.damage, self.cuts = requests, DAMAGES[how], how == "cut off"
        self.due = set(KINDS)
        self.is_anew, self.lost = False, ""
        self.asked: dict[socket.socket, str] = {}
        self.held: dict[socket.socket, bytes] = {}
        super().__init__()

    def altered(self, near: socket.socket, forth: bool, data: bytes) -> tuple[bytes, bool]:
        """What is to be damaged is held until it is whole."""
        with self.state:
            if forth and (told := re.match(rb"POST /izo/v1/rootset/(\w+)", data)):
                kind = told[1].decode()
                if kind == "hello":
                    # What still comes of other connections is lost to the client.
                    self.is_anew, self.asked, self.held = True, {}, {}
                self.is_anew = self.is_anew or kind == self.lost
                self.asked[near] = kind
            kind = self.asked.get(near, "")
            if forth != self.requests_too or kind not in self.due:
                return data, True
            data = self.held.pop(near, b"") + data
            if not forth and not b"HTTP/1.1 200".startswith(data[:12]):
                return data, True
            head, _, body = data.partition(b"\r\n\r\n")
            if not self.is_anew or not is_whole(head, body):
                self.held[near] = data
                return b"", True
            self.due.remove(kind)
            self.is_anew = False
            # curl itself sends a request again, of which nothing but the end of a connection came.
            self.lost = kind if forth and self.cuts else ""
            return self.damage(head + b"\r\n\r\n", body), not self.cuts

    def all_damaged(self) -> bool:
        """Each kind, and the client has begun anew since."""
        with self.state:
            return not self.due and self.is_anew


DAMAGES = {"cut off": cut_off, "one bit wrong": one_bit_wrong, "too long": too_long}


def change_again(root: str, other: str, names: dict[str, int]) -> bool:
    """As soon as they have it: a push whose answer went by while another kind was damaged does not come
    again."""
    for name, size in names.items():
        mine, theirs = Path(other, name), Path(root, name)
        if not mine.exists() or theirs.exists() and theirs.read_bytes() == mine.read_bytes():
            mine.write_bytes(os.urandom(size))
    return False


def each_kind_damaged(disk: str, requests: bool) -> None:
    """With a fresh client for each way to do it, so that all kinds of messages are needed."""
    loopback_up()
    make_ext4(disk)
    with mounted(disk, OPTIONS) as root, Intersync(root) as server:
        os.mkdir(f"{root}/d")
        for number in range(20):
            Path(root, f"d/f{number}").write_bytes(os.urandom(3000 + number))
        for how in DAMAGES:
            with BadLine(requests, how) as line, mounted("none", OPTIONS, fstype="vintermezzo") as other:
                own = {f"own of {how}": 3000, f"large of {how}": LARGE}
                change_again(root, other, own)
                since = len(server.said())
                with Intersync(other, server=line.server) as client:
                    wait_until(lambda: line.all_damaged() or change_again(root, other, own),
                               f"{how}: each kind is damaged, and the client begins anew each time", 90)
                    Path(root, "d/f0").write_bytes(how.encode())
                    converge(root, other, server, client)
                    equal("trying again" in client.said(), True, f"{how}: it says so: {client.said()}")
                    equal(client.stop(), 0, f"{how}: the client's exit code")
                if requests and how != "cut off":
                    said = server.said()[since:]
                    equal({kind for kind in KINDS if f"127.0.0.1 sent what is no {kind}: " not in said},
                          set(), f"{how}: what the server did not complain of, in {said}")
        copies = [name for name in os.listdir(root) if ".conflict-" in name]
        equal((copies, server.stop()), ([], 0), "conflict copies, the server's exit code")


@intermezzo_only
def test_damaged_requests(disk: str) -> None:
    """The server takes nothing of it, says who sent what, and goes on; the client sends it again."""
    each_kind_damaged(disk, True)


@intermezzo_only
def test_damaged_answers(disk: str) -> None:
    """The client takes nothing of it, says so, and asks again."""
    each_kind_damaged(disk, False)
