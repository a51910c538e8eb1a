# SPDX-License-Identifier: GPL-2.0
"""intersync and what it must refuse or outlast: wrong words, wrong mounts, peers that are none."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

from guest.disks import make_ext4, run
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import PORT, Intersync, converge, lines_with, loopback_up, program, replicated
from guest.kml import Log
from guest.log_info import SEGMENT_LEAST, info
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


class FakeServer:
    """Answers every connection with the same bytes, and closes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.came: list[float] = []  # when each connection did
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
            self.came.append(time.monotonic())
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(self.answer)

    def close(self) -> None:
        """Stop listening."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


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
def test_server_that_hangs_up(disk: str, second_disk: str) -> None:
    """The client waits about twice as long before each next try, whatever changes meanwhile, and says so
    once; its tree works."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        fake = FakeServer(b"")
        with Intersync(other, server="127.0.0.1") as client:
            for tries in range(1, 5):
                wait_until(lambda: len(fake.came) >= tries, f"{tries} tries", 20)
                Path(other, "new").write_bytes(b"n" * 5000)
                os.rename(f"{other}/new", f"{other}/renamed-{tries}")
                Path(other, "gone").touch()
                os.unlink(f"{other}/gone")
            gaps = [after - before for before, after in zip(fake.came, fake.came[1:])]
            # Of each delay up to one half is taken off, at random.
            equal([gap > 0.45 * 2 ** number for number, gap in enumerate(gaps[:3])], [True] * 3,
                  f"back-off: {gaps}")
            equal(len(lines_with(client, "trying again")), 1, f"lines: {client.said()}")
            fake.close()
            with Intersync(root) as server:
                converge(root, other, server, client)


@intermezzo_only
def test_another_server(disk: str, second_disk: str, third_disk: str) -> None:
    """A client whose server is replaced by another replica of the fileset begins anew with that one, and
    gives it what is its own."""
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


@intermezzo_only
def test_server_with_a_new_log(disk: str, second_disk: str) -> None:
    """A client does not go on with a server whose log has begun anew, as is done after damage: it says so
    once, and its tree stays as it is."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(second_disk, OPTIONS) as client_root:
        with mounted(disk, OPTIONS) as root, Intersync(root) as server:
            with Intersync(client_root, server="127.0.0.1") as client:
                Path(root, "f").write_bytes(b"kept")
                converge(root, client_root, server, client)
                client.stop()
            server.stop()
        with mounted(disk, fstype="ext4") as cache:
            os.unlink(f"{cache}/.intermezzo/rootset/kml")
        Path(client_root, "own").write_bytes(b"own")
        before = replicated(client_root), info(client_root).end_recno
        with mounted(disk, OPTIONS) as root, Intersync(root) as server:
            os.unlink(f"{root}/f")
            Path(root, "new").write_bytes(b"new")
            with Intersync(client_root, server="127.0.0.1") as client:
                client.await_word("the server's log has begun anew: this replica cannot go on")
                wait_until(lambda: len(lines_with(server, " is here")) > 1, "another try")
                equal(len(lines_with(client, "trying again")), 1, f"lines: {client.said()}")
                equal(client.stop(), 0, "exit code")
            equal((replicated(client_root), info(client_root).end_recno), before, "the client's tree and log")
            equal(sorted(set(os.listdir(root)) - {"lost+found"}), ["new"], "the server's names")


@intermezzo_only
def test_client_with_a_new_log(disk: str, second_disk: str) -> None:
    """A client whose log has begun anew is refused, and told what to do, once: what its old log had and did
    not send nobody knows any more. Neither tree changes."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, Intersync(root) as server:
        with mounted(second_disk, OPTIONS) as other, Intersync(other, server="127.0.0.1") as client:
            Path(other, "sent").touch()
            converge(root, other, server, client)
            server.await_word(f"are applied up to {info(other).end_recno}\n")
            client.stop()
            Path(other, "not-sent").touch()
        with mounted(second_disk, fstype="ext4") as cache:
            os.unlink(f"{cache}/.intermezzo/rootset/kml")
        there = replicated(root), info(root).end_recno
        with mounted(second_disk, OPTIONS) as other:
            Path(other, "new").touch()
            here = replicated(other), info(other).end_recno
            with Intersync(other, server="127.0.0.1") as client:
                client.await_word("trying again")
                said(lines_with(client, "trying again")[0], "the client's log has begun anew",
                     "mkizofs --clone")
                wait_until(lambda: len(lines_with(server, " is refused: ")) > 1, "another try")
                equal(len(lines_with(client, "trying again")), 1, f"lines: {client.said()}")
                equal(client.stop(), 0, "exit code")
            equal((replicated(other), info(other).end_recno), here, "the client's tree and log")
        equal((replicated(root), info(root).end_recno), there, "the server's tree and log")


def names(root: str) -> list[str]:
    """In the root, but for what the cache has of its own."""
    return sorted(set(os.listdir(root)) - {"lost+found"})


@intermezzo_only
def test_client_put_back(disk: str, second_disk: str, third_disk: str) -> None:
    """A client whose disk was put back to an older state says so, once, also when its log has grown beyond
    what the server has of it, if need be by records as long as those: what changed on it since stays there
    and in its log, and neither side gets any of the other's (I5)."""
    loopback_up()
    make_ext4(disk)
    make_ext4(second_disk, size="32M")
    image = "/tmp/image"
    with mounted(disk, OPTIONS) as root, Intersync(root) as server:
        for turn in ("before", "since"):
            with mounted(second_disk, OPTIONS) as other, Intersync(other, server="127.0.0.1") as client:
                for number in range(4):
                    Path(other, f"{turn}-{number}").write_bytes(turn.encode())
                converge(root, other, server, client)
                server.await_word(f"are applied up to {info(other).end_recno}\n")
                newest = info(other).end_recno
                equal(client.stop(), 0, "exit code")
            if turn == "before":
                run("dd", f"if={second_disk}", f"of={image}", "bs=1M", "count=32", "conv=sparse",
                    "status=none")
        Path(root, "meanwhile").touch()
        there = names(root), info(root).end_recno
        for own, why in (("own-0", f"before what the server has of it, up to record {newest}"),
                         ("o" * 200, f"has other records up to {newest} than the server has"),
                         ("other", f"has other records up to {newest} than the server has")):
            run("dd", f"if={image}", f"of={third_disk}", "bs=1M", "status=none")
            with mounted(third_disk, OPTIONS) as other:
                number = 0
                while number == 0 or (info(other).end_recno <= newest and not own.endswith("-0")):
                    Path(other, f"{own}-{number}").write_bytes(b"other")
                    number += 1
                stays_apart(other, server, why)
                made = [record.place.name for record in Log.of_mount(other).records()
                        if record.op == "create" and record.place]
                equal(made.count(f"{own}-0".encode()), 1, f"records that make {own}-0")
            equal((names(root), info(root).end_recno), there, "the server's names and log")


def stays_apart(root: str, server: Intersync, why: str) -> None:
    """A client that tells once why it cannot go on, and tries again; nothing of it changes."""
    before = replicated(root), info(root).end_recno
    since = len(lines_with(server, " is here"))
    with Intersync(root, server="127.0.0.1") as client:
        client.await_word("trying again")
        said(lines_with(client, "trying again")[0], "this replica's log", why, "mkizofs --clone")
        wait_until(lambda: len(lines_with(server, " is here")) > since + 1, "another try")
        equal(len(lines_with(client, "trying again")), 1, f"lines: {client.said()}")
        equal(client.stop(), 0, "exit code")
    equal((replicated(root), info(root).end_recno), before, "the client's tree and log")


def flip_a_byte_of_the_log(cache: str) -> int:
    """Of a record in the middle of kml.0, where the log begins; its offset. The blocks are of 4096 bytes."""
    log = Log.of_cache(f"{cache}/.intermezzo/rootset")
    record = next(record for record in log.records() if record.offset > SEGMENT_LEAST // 2)
    with open(f"{cache}/.intermezzo/rootset/kml.0", "r+b", buffering=0) as segment:
        at = 4096 + record.offset + record.length // 2
        byte = os.pread(segment.fileno(), 1, at)
        os.pwrite(segment.fileno(), bytes([byte[0] ^ 1]), at)
    return record.offset


@intermezzo_only
def test_altered_log(disk: str, second_disk: str) -> None:
    """A daemon whose log has another byte than the kernel wrote says which file, where and what, and shares
    nothing, be it server or client; the tree can be used."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, OPTIONS) as root:
        Path(root, "f").write_bytes(b"kept")
        # The newest segment, where the log ends, is another one then.
        while info(root).end_recno < 1000:
            os.mkdir(f"{root}/{'n' * 200}")
            os.rmdir(f"{root}/{'n' * 200}")
    with mounted(disk, fstype="ext4") as cache:
        offset = flip_a_byte_of_the_log(cache)
    words = f"/.intermezzo/rootset/kml at offset {offset}: ", "checksum"
    with mounted(disk, OPTIONS) as altered, mounted(second_disk, OPTIONS) as other:
        before = info(other).end_recno
        with Intersync(altered) as server, Intersync(other, server="127.0.0.1") as client:
            server.await_word("checksum")
            said(lines_with(server, "checksum")[0], altered, *words)
            client.await_word("trying again")
            equal(client.stop(), 0, "exit code")
            equal(server.stop(), 0, "exit code")
        with Intersync(other) as server, Intersync(altered, server="127.0.0.1") as client:
            client.await_word("trying again")
            said(lines_with(client, "trying again")[0], altered, *words)
            equal([client.stop(), server.stop()], [0, 0], "exit codes")
        equal((sorted(set(os.listdir(other)) - {"lost+found"}), info(other).end_recno), ([], before),
              "names and records of the other side")
        equal(Path(altered, "f").read_bytes(), b"kept", "a file of the altered side")
        Path(altered, "new").write_bytes(b"new")


def answers() -> Iterator[tuple[str, bytes, str]]:
    """What servers say that are none, and how the client's reason is known (a regular expression)."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    yield "no HTTP", b"\x00\xff" * 500, "HTTP/0.9"
    yield "nothing", b"", "Empty reply"
    yield "no frames", head + b"Content-Length: 100\r\n\r\n" + b"x" * 100, "the server's answer is none"
    yield "cut off", head + b"Content-Length: 100\r\n\r\nIZOF", " 96 bytes "
    yield "empty", head + b"Content-Length: 0\r\n\r\n", "cut off"
    why = b"this server speaks version 2 of the protocol, not version 1 as was asked for"
    yield ("another version", b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%s\n" % (len(why) + 1, why),
           f"status 404: {why.decode()}; trying again")
    yield "an error", b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad", "status 500"
    yield "a page", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "302"
    yield "a head without end", head + b"X: y\r\n" * 50000, "the head of the answer has no end"
    # As curl says it, and as newer ones do.
    yield "a line without end", head + b"X: " + b"y" * 200000, "Out of memory|larger than allowed"


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
                line = lines_with(client, "trying again")[0]
                equal(bool(re.search(words, line)), True, f"{what}: {line}")
                equal(client.stop(), 0, f"{what}: exit code")
            fake.close()
        equal(sorted(set(os.listdir(root)) - {"lost+found"}), ["f"], "names")


KINDS = ("hello", "pull", "list", "describe", "fetch", "push", "upload")


def requests() -> Iterator[tuple[bytes, bytes]]:
    """What clients say that are none, and how the answer begins."""
    def post(path: str, body: bytes) -> bytes:
        return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    yield b"\x16\x03\x01 no HTTP\r\n\r\n", b""
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 400"
    yield b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"
    yield b"GET /izo/v1/rootset/hello HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"
    yield post("/izo/v1/other/hello", b""), b"HTTP/1.1 404"
    yield post("/izo/v1/rootset/nothing", b""), b"HTTP/1.1 404"
    yield post("/izo/v2/rootset/hello", b""), b"HTTP/1.1 404"
    for kind in KINDS:
        yield post(f"/izo/v1/rootset/{kind}", b""), b"HTTP/1.1 400"
        yield post(f"/izo/v1/rootset/{kind}", os.urandom(3000)), b"HTTP/1.1 400"
    yield post("/izo/v1/rootset/../../etc/passwd", b""), b"HTTP/1.1 400"
    yield post("/" + "a" * 5000, b""), b"HTTP/1.1 4"


@intermezzo_only
def test_clients_that_are_none(disk: str, second_disk: str) -> None:
    """A server answers garbage with an error, says who sent what, changes nothing, and serves the others."""
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
        for kind, why in itertools.product(KINDS, ("it is cut off", "offset 0: no frame begins here")):
            equal(len(lines_with(server, f"127.0.0.1 sent what is no {kind}: {why}")), 1,
                  f"{kind}, {why}: lines of {server.said()}")
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
