# SPDX-License-Identifier: GPL-2.0
"""intersync and what it must refuse or outlast: wrong words, wrong mounts, peers that are none."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Callable, Iterator

from guest.disks import make_ext4
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import PORT, Intersync, converge, loopback_up, program
from guest.log_info import info
from guest.subject import FILESET, mounted

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 120
OPTIONS = f"{FILESET},mtp=/srv"


def refused(*words: str, code: int = 1) -> str:
    """What it says on its way out: one line."""
    result = subprocess.run([program(), "--log=none", "--state=/tmp/state", *words], capture_output=True,
                            text=True, timeout=30, check=False)
    equal((result.returncode, result.stdout), (code, ""), f"{words}: exit code and output")
    lines = [line for line in result.stderr.splitlines() if "without encryption: anybody" not in line]
    equal(len(lines), 1, f"{words}: lines of {result.stderr!r}")
    return lines[0]


def said(line: str, *words: str) -> None:
    """All of these are in it."""
    for word in words:
        if word not in line:
            raise AssertionError(f"no {word!r} in {line!r}")


@intermezzo_only
def test_wrong_mounts(disk: str, where: str) -> None:
    """What is no fileset, or not one that can be served, is named with what to do."""
    said(refused(where, code=2), "--plain-http", "no encryption yet")
    said(refused("--plain-http", "/tmp"), "/tmp", "not an InterMezzo file system")
    said(refused("--plain-http", "/nowhere"), "/nowhere", "No such file")
    make_ext4(disk)
    with mounted(disk, OPTIONS, where=where):
        os.mkdir(f"{where}/d")
        said(refused("--plain-http", f"{where}/d"), f"{where}/d", "mount point")
    with mounted(disk, "ro", where=where):
        said(refused("--plain-http", where), "remount it read-write")


@intermezzo_only
def test_second_daemon_and_taken_port(disk: str, second_disk: str) -> None:
    """One daemon for a channel, one for a port: the second one says so, the first one goes on."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        with Intersync(root) as first:
            line = refused("--plain-http", "--listen=127.0.0.1", "--port=7799", root)
            said(line, "/dev/intermezzo", "busy")
            said(refused("--plain-http", "--listen=127.0.0.1", other), str(PORT), "in use")
            equal(first.stop(), 0, "exit code")


@intermezzo_only
def test_another_fileset(disk: str, second_disk: str) -> None:
    """A client of a fileset that the server does not have waits, and says which one the server has."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, "fileset=other,mtp=/srv") as other:
        with Intersync(root), Intersync(other, server="127.0.0.1") as client:
            client.await_word("mount the client with fileset=rootset")
            equal(client.stop(), 0, "exit code")


@intermezzo_only
def test_server_that_is_not_there(disk: str, second_disk: str) -> None:
    """The client's tree works meanwhile; the daemon tries again, and sends all of it later."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        with Intersync(other, server="127.0.0.1") as client:
            client.await_word("trying again")
            Path(other, "meanwhile").write_bytes(b"m" * 5000)
            with Intersync(root) as server:
                converge(root, other, server, client)


@intermezzo_only
def test_server_with_a_new_log(disk: str, second_disk: str, third_disk: str) -> None:
    """A client does not go on with a server whose log has begun anew: nothing of its own is lost."""
    loopback_up()
    for one in (disk, second_disk, third_disk):
        make_ext4(one)
    with mounted(second_disk, OPTIONS) as client_root:
        with mounted(disk, OPTIONS) as root, Intersync(root) as server:
            with Intersync(client_root, server="127.0.0.1") as client:
                Path(client_root, "f").write_bytes(b"kept")
                converge(root, client_root, server, client)
                client.stop()
            server.stop()
        with mounted(third_disk, OPTIONS) as root, Intersync(root) as server:
            with Intersync(client_root, server="127.0.0.1") as client:
                client.await_word("connected")
                converge(root, client_root, server, client)
            equal(Path(client_root, "f").read_bytes(), b"kept", "the client's file")


class FakeServer:
    """Answers every connection with the same bytes, and closes."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.count = answer, 0
        self.socket = socket.create_server(("127.0.0.1", PORT))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        """Until the socket is closed."""
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(self.answer)
            self.count += 1

    def close(self) -> None:
        """Stop listening."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def answers() -> Iterator[tuple[str, bytes, str]]:
    """What servers say that are none, and what of that the client says."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    yield "no HTTP", b"\x00\xff" * 500, "127.0.0.1"
    yield "nothing", b"", "127.0.0.1"
    yield "no frames", head + b"Content-Length: 100\r\n\r\n" + b"x" * 100, "the server's answer is none"
    yield "cut off", head + b"Content-Length: 100\r\n\r\nIZOF", "127.0.0.1"
    yield "empty", head + b"Content-Length: 0\r\n\r\n", "cut off"
    yield "an error", b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad", "status 500"
    yield "a page", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "302"
    yield "a head without end", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200000, "127.0.0.1"


@intermezzo_only
def test_servers_that_are_none(disk: str) -> None:
    """Whatever comes instead of an answer: one line, another try, and nothing changes."""
    loopback_up()
    make_ext4(disk)
    with mounted(disk, OPTIONS) as root:
        Path(root, "f").write_bytes(b"kept")
        for what, answer, words in answers():
            fake = FakeServer(answer)
            with Intersync(root, server="127.0.0.1") as client:
                client.await_word("trying again")
                said(client.said(), words)
                equal(client.stop(), 0, f"{what}: exit code")
            fake.close()
        equal(sorted(set(os.listdir(root)) - {"lost+found"}), ["f"], "names")


def requests() -> Iterator[tuple[bytes, bytes]]:
    """What clients say that are none, and how the answer begins."""
    def post(path: bytes, body: bytes) -> bytes:
        return (b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: "
                + str(len(body)).encode() + b"\r\n\r\n" + body)
    yield b"\x16\x03\x01 no HTTP\r\n\r\n", b""
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 400"
    yield b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"
    yield b"GET /izo/v1/rootset/hello HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"
    yield post(b"/izo/v1/other/hello", b""), b"HTTP/1.1 404"
    yield post(b"/izo/v1/rootset/nothing", b""), b"HTTP/1.1 404"
    for kind in (b"hello", b"pull", b"list", b"fetch", b"push"):
        yield post(b"/izo/v1/rootset/" + kind, b""), b"HTTP/1.1 400"
        yield post(b"/izo/v1/rootset/" + kind, os.urandom(3000)), b"HTTP/1.1 400"
    yield post(b"/izo/v1/rootset/upload", b"x"), b"HTTP/1.1 400"
    yield post(b"/izo/v1/rootset/upload?client=x&number=1&offset=0", b"x"), b"HTTP/1.1 400"
    yield post(b"/izo/v1/rootset/../../etc/passwd", b""), b"HTTP/1.1 400"
    yield post(b"/" + b"a" * 5000, b""), b"HTTP/1.1 4"


@intermezzo_only
def test_clients_that_are_none(disk: str, second_disk: str) -> None:
    """A server answers garbage with an error, changes nothing, and serves the others."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, Intersync(root) as server:
        before = info(root).end_recno
        for request, answer in requests():
            with socket.create_connection(("127.0.0.1", PORT), 10) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR) if not answer else None
                got = connection.recv(100)
            equal(got[:len(answer)], answer, f"answer to {request[:60]!r}")
        equal(info(root).end_recno, before, "number of the newest record")
        with Intersync(other, server="127.0.0.1") as client:
            Path(other, "f").write_bytes(b"served")
            converge(root, other, server, client)


@intermezzo_only
def test_full_disks(disk: str, second_disk: str) -> None:
    """A side that is full waits and says so; when there is room again both become the same (I5)."""
    loopback_up()
    make_ext4(disk, size="90M")
    make_ext4(second_disk, size="40M")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        with Intersync(root) as server, Intersync(other, server="127.0.0.1") as client:
            Path(root, "large").write_bytes(os.urandom(50 << 20))
            Path(root, "small").write_bytes(b"small")
            wait: Callable[[], bool] = lambda: "No space left" in client.said() or "error 28" in client.said()
            wait_until(wait, "the client says that it is full", 60)
            os.truncate(f"{root}/large", 1000)
            converge(root, other, server, client)
