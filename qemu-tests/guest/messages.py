# SPDX-License-Identifier: GPL-2.0
"""A peer that says what it likes, in good form: docs/http-protocol.md, docs/kml-format.md.

Lengths, checksums and order of what is made here are right; names, numbers and FIDs are as the caller says.
"""

from __future__ import annotations

import contextlib
import http.client
import struct
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator, Sequence

from guest.intersync import PORT
from guest.kml import (ATTR, ATTR_FIELDS, HEAD, ITEMS, MAGIC, OPS, OTHER, PLACE, ROOT, TAIL, TAIL_MAGIC, Fid,
                       Log, crc32c, reseal)

FRAME, POSITION = struct.Struct("<4sBBHIIII"), struct.Struct("<QQQ")
A_HEAD, RECORDS, NAMES, BODY, DATA, BODY_END = range(1, 7)
HERE, NONE = 1, 2
OP_OF, ITEM_OF = ({name: number for number, name in table.items()} for table in (OPS, ITEMS))


def frame(kind: int, payload: bytes) -> bytes:
    """One, not compressed."""
    head = FRAME.pack(b"IZOF", kind, 0, 0, len(payload), len(payload), 0, 0)
    return FRAME.pack(b"IZOF", kind, 0, 0, len(payload), len(payload), crc32c(head + payload), 0) + payload


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Types and payloads of those in a message that has nothing compressed."""
    while data:
        magic, kind, encoding, _, length, *_ = FRAME.unpack_from(data)
        assert (magic, encoding) == (b"IZOF", 0), f"a frame {data[:FRAME.size]!r}"
        yield kind, data[FRAME.size:FRAME.size + length]
        data = data[FRAME.size + length:]


def fid_field(fid: Fid) -> bytes:
    """A FID of a head or an entry."""
    return struct.pack("<HQI", *fid)


def text(data: bytes) -> bytes:
    """A text of these."""
    return struct.pack("<H", len(data)) + data


def table_of(replicas: list[bytes]) -> bytes:
    """A table: the first one has the index 1."""
    return struct.pack("<H", len(replicas)) + b"".join(replicas)


def body(index: int, data: bytes) -> bytes:
    """The frames of a body that is whole."""
    return (frame(BODY, struct.pack("<IBQQ", index, HERE, len(data), 0)) + frame(DATA, data)
            + frame(BODY_END, struct.pack("<IB", index, 1)))


def packed_fid(fid: Fid) -> bytes:
    """A FID of a record."""
    return struct.pack("<QIHH", fid.ino, fid.generation, fid.replica, 0)


def place(directory: Fid, name: bytes) -> bytes:
    """PLACE, TO or HINT."""
    return PLACE.pack(directory.ino, directory.generation, directory.replica, 0, 0, 0, 0) + name


def attributes(**values: int) -> bytes:
    """ATTR with these: mode, uid, size, mtime in whole seconds."""
    valid = sum(1 << ATTR_FIELDS.index(name) for name in values)
    of = dict.fromkeys(ATTR_FIELDS, 0) | values
    return ATTR.pack(valid, of["mode"], of["uid"], of["gid"], of["fsflags"], of["projid"], 0, 0, 0, 0,
                     of["rdev"], of["size"], of["mtime"], of["ctime"], of["atime"])


def other(fid: Fid, nlink: int = 0) -> bytes:
    """REPLACED."""
    return OTHER.pack(fid.ino, fid.generation, fid.replica, 0, nlink, 0, 0)


def attribute(name: bytes, value: bytes) -> bytes:
    """XATTR."""
    return struct.pack("<II", len(name), len(value)) + name + value


@dataclass
class Change:
    """A record; its numbers are given to it where it is sent."""
    op: str
    object: Fid
    items: list[tuple[str, bytes]] = field(default_factory=list)
    flags: int = 0
    nlink: int = 1
    origin: int = 1
    aspects: int = 1 | 16
    skips: int = 0  # so many numbers, before its own
    number: int = 0  # in the log of who made it; 0: the same as here
    body: bytes | None = None

    def encode(self, recno: int, epoch: int, offset: int = 4096) -> bytes:
        """Its bytes."""
        items = b""
        for kind, data in self.items:
            items += struct.pack("<HHI", ITEM_OF[kind], 0, len(data)) + data + bytes(-len(data) % 8)
        length = HEAD.size + len(items) + TAIL.size
        recno += self.skips
        head = HEAD.pack(MAGIC, length, 0, OP_OF[self.op], self.origin, offset, epoch, recno,
                         self.number or recno, 0, 1, 0, 0, self.aspects, self.nlink, self.flags, 0,
                         self.object.ino, self.object.generation, self.object.replica, 0)
        return reseal(head + items + TAIL.pack(length, TAIL_MAGIC))


TYPES = {"create": 0o100644, "mkdir": 0o40755, "mknod": 0o10644, "symlink": 0o120777}


def birth(op: str, fid: Fid, name: bytes, directory: Fid = ROOT, target: bytes = b"x",
          xattrs: tuple[tuple[bytes, bytes], ...] = ()) -> Change:
    """CREATE, MKDIR, MKNOD (a FIFO) or SYMLINK."""
    items = [("place", place(directory, name)), ("attr", attributes(mode=TYPES[op], uid=0, gid=0, mtime=1))]
    items += [("target", target)] if op == "symlink" else []
    return Change(op, fid, items + [("xattr", attribute(*one)) for one in xattrs])


def rename(fid: Fid, old: tuple[Fid, bytes], new: tuple[Fid, bytes], replaced: Fid | None = None,
           flags: int = 0) -> Change:
    """RENAME."""
    items = [("place", place(*old)), ("to", place(*new))]
    return Change("rename", fid, items + ([("replaced", other(replaced))] if replaced else []), flags)


def close(fid: Fid, data: bytes, *hint: tuple[Fid, bytes]) -> Change:
    """CLOSE, and the body that comes with it."""
    items = [("attr", attributes(size=len(data), mtime=1, ctime=1))]
    items += [("hint", place(*one)) for one in hint]
    return Change("close", fid, items, flags=4, aspects=8, body=data)


@dataclass
class Said:
    """What a server answers to a push."""
    status: int
    why: str  # the text of a status, of a refusal or of what stops it; nothing if all was taken
    accepted: int  # number of the last record


class HostileClient:
    """Says hello with a right table, and then what it likes."""

    def __init__(self, *others: bytes) -> None:
        self.replica, self.epoch = uuid.uuid4().bytes, 7
        self.table = [self.replica, *others]
        self.accepted = 0

    def ask(self, kind: str, message: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        try:
            connection.request("POST", f"/izo/v1/rootset/{kind}", message)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def who(self) -> bytes:
        """How heads of hello and push begin."""
        return self.replica + struct.pack("<Q", self.epoch) + table_of(self.table)

    def hello(self) -> int:
        """The status."""
        return self.ask("hello", frame(A_HEAD, self.who()))[0]

    def push(self, *changes: Change, bodies: bytes = b"") -> Said:
        """These records, numbered on; more frames may follow them and their bodies."""
        records = b"".join(change.encode(self.accepted + number, self.epoch)
                           for number, change in enumerate(changes, 1))
        sent = b"".join(body(number, change.body) for number, change in enumerate(changes)
                        if change.body is not None)
        status, answer = self.ask("push", frame(A_HEAD, self.who() + b"\0") + frame(RECORDS, records) + sent
                                  + bodies)
        if status != 200:
            return Said(status, answer.decode().strip(), self.accepted)
        (_, head), = frames(answer)
        if head[0]:
            return Said(200, head[3:].decode(), self.accepted)
        _, self.accepted, _ = POSITION.unpack_from(head, 1)
        return Said(200, head[1 + POSITION.size + 2:].decode(), self.accepted)


class HostileServer:
    """Answers what it was told to, and a pull with what `tell()` has added to its log. What it has no answer
    for waits until it is closed."""

    EPOCH, COPIED = 99, 10  # of its log, and the number of the record up to which its tree is copied

    def __init__(self, client: Log) -> None:
        self.replica, stranger = uuid.uuid4().bytes, uuid.uuid4().bytes
        self.table = table_of([self.replica, client.replica, stranger])
        last = list(client.records())[-1]
        accepted = POSITION.pack(client.epoch, last.recno, last.offset + last.length)
        self.answers = {"hello": frame(A_HEAD, b"\0" + self.replica + struct.pack("<Q", self.EPOCH)
                                       + self.table + struct.pack("<QQ", 120, 1) + accepted + bytes(16))}
        self.log: list[Change] = []
        self.news, self.ended = threading.Condition(), False
        server = self

        class Handler(BaseHTTPRequestHandler):
            """One connection."""
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """One request."""
                (_, head), *_ = frames(self.rfile.read(int(self.headers["Content-Length"])))
                answer = server.answer(self.path.rpartition("/")[2], head)
                if answer is None:
                    self.close_connection = True
                    return
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *unused: Any) -> None:
                """Nobody reads it."""

        self.http = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def answer(self, kind: str, head: bytes) -> bytes | None:
        """To one request; None when it ends first."""
        with self.news:
            while not self.ended:
                if kind in self.answers:
                    return self.answers[kind]
                has = struct.unpack_from("<Q", head, 32)[0] - self.COPIED if kind == "pull" else len(self.log)
                if has < len(self.log):
                    return self.pulled(has)
                self.news.wait()
        return None

    def pulled(self, since: int) -> bytes:
        """The log from there on."""
        head = b"\0" + struct.pack("<Q", 8192) + self.table + bytes(17)
        return frame(A_HEAD, head) + self.records(self.log[since:], self.COPIED + 1 + since)

    def records(self, changes: Sequence[Change], first: int) -> bytes:
        """As a frame."""
        return frame(RECORDS, b"".join(change.encode(number, self.EPOCH)
                                       for number, change in enumerate(changes, first)))

    def listed(self, *entries: tuple[Fid, bytes, Fid]) -> bytes:
        """Names: of a directory, what, for which object."""
        names = b"".join(fid_field(where) + text(name) + fid_field(fid) for where, name, fid in entries)
        head = b"\0\1" + POSITION.pack(self.EPOCH, self.COPIED, 4096) + self.table
        return frame(A_HEAD, head) + frame(NAMES, names)

    def described(self, *changes: Change) -> bytes:
        """What objects are."""
        head = b"\0" + self.table + POSITION.pack(self.EPOCH, self.COPIED, 4096)
        return frame(A_HEAD, head) + self.records(changes, self.COPIED + 1)

    def fetched(self, *bodies: bytes) -> bytes:
        """These."""
        return (frame(A_HEAD, b"\0" + struct.pack("<I", len(bodies)))
                + b"".join(body(number, data) for number, data in enumerate(bodies)))

    def tell(self, *changes: Change) -> int:
        """More of its log; the number of the last record."""
        with self.news:
            self.log += changes
            self.news.notify_all()
        return self.COPIED + len(self.log)

    def __enter__(self) -> HostileServer:
        return self

    def __exit__(self, *unused: Any) -> None:
        with self.news:
            self.ended = True
            self.news.notify_all()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
