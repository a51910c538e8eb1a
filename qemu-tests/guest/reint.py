# SPDX-License-Identifier: GPL-2.0
"""A daemon in miniature: takes records from one mount's log and has another one apply them.

The forms are those of intermezzo_reint.h. What is applied is remembered as FID -> handle, as a daemon's index
does, and so is which names it has. The body of a CLOSE is what the peer's file holds now; that of one
that is gone is skipped, as a daemon does with what a later record supersedes.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
from dataclasses import dataclass, field
from typing import Callable, Iterator

from guest.kml import Fid, Log, Place, Record, decode, reseal
from guest.replay import fid_of

REINT, POSITION = 0xc0487a22, 0xc0307a23
REF, OP, BATCH = struct.Struct("=IIQQIHH"), struct.Struct("=IIIIiIII"), struct.Struct("=IIIIQIIQ16sQQ")
RESULT, POSITION_FORM = struct.Struct("=IiQIIQ"), struct.Struct("=HHI16sQQQ")
NONE, ROOT_REF, HANDLE, OF_RESULT = 0, 1, 2, 3
SKIP, FORWARD, SML, UPSTREAM, PARTIAL = 1, 1, 2, 1, 2
CODES = {0: "applied", 1: "already", 2: "skipped", 3: "inexact", 16: "exists", 17: "missing", 18: "other",
         19: "type", 20: "not-empty", 21: "mounted", 22: "ancestry", 23: "class", 24: "refused",
         25: "changed", 26: "need-name", 27: "busy", 64: "stopped"}
STORED = ("applied", "already", "skipped", "inexact")
SKIPPED_BODY = 300
# What gives an object that later operations of the batch name by the operation's number.
MAKE = ("create", "mkdir", "mknod", "symlink", "close")
SKIP_FLAG = struct.Struct("=I")
# In a record: where its replica indices are, from the head's start and from the start of an item's data.
ORIGIN_AT, OBJECT_AT, FID_REPLICA = 14, 88, 12
FIDS_OF_ITEM = {1: 0, 2: 0, 3: 0, 5: 0, 6: 0}


@dataclass
class Result:
    """What the kernel said of one operation."""
    code: str
    error: int
    ino: int
    generation: int
    recno: int
    about: Record | None = None

    def __str__(self) -> str:
        return f"{self.about}: {self.code} {self.error} {self.ino}:{self.generation:#x}"


@dataclass
class Operation:
    """A record on its way: its bytes, and what they name here."""
    record: Record
    raw: bytes
    skip: int = 0
    refs: list[bytes] = field(default_factory=list)
    names: bytes = b""
    body: int = 0
    its_names: list[bytes] = field(default_factory=list)

    def encode(self) -> bytes:
        """struct izo_reint_op with names and record."""
        names = self.names + bytes(-len(self.names) % 8)
        at = OP.size + 4 * REF.size + len(names) if self.its_names else 0
        names += b"".join(self.its_names)
        start = OP.size + 4 * REF.size + len(names)
        refs = b"".join(self.refs) or bytes(4 * REF.size)
        return OP.pack(start + len(self.raw), start, SKIP if self.skip else 0, self.skip, self.body,
                       len(self.its_names), at, 0) + refs + names + self.raw


def raw_records(log: Log) -> Iterator[tuple[Record, bytes]]:
    """Every record with its bytes."""
    at = 0
    for record in log.records():
        while True:
            found, length = decode(log.data, at, log.first + at, log.epoch)
            if found is not None:
                break
            at += length
        assert found.recno == record.recno
        yield record, log.data[at:at + length]
        at += length


def with_indices(raw: bytes, index: Callable[[int], int]) -> bytes:
    """The record with its replicas' indices translated."""
    data = bytearray(raw)

    def translate(at: int) -> None:
        struct.pack_into("<H", data, at, index(struct.unpack_from("<H", data, at)[0]))
    translate(ORIGIN_AT)
    translate(OBJECT_AT + FID_REPLICA)
    at = OBJECT_AT + 16
    while at < len(data) - 8:
        kind, _, length = struct.unpack_from("<HHI", data, at)
        if kind in FIDS_OF_ITEM:
            translate(at + 8 + FID_REPLICA)
        at = (at + 8 + length + 7) & ~7
    return reseal(bytes(data))


def with_fid(raw: bytes, at: int, ino: int, generation: int, replica: int) -> bytes:
    """The record with another FID at an offset."""
    data = bytearray(raw)
    struct.pack_into("<QIH", data, at, ino, generation, replica)
    return reseal(bytes(data))


def item_at(raw: bytes, kind: int) -> int:
    """Where an item's contents begin in a record."""
    at = OBJECT_AT + 16
    while at < len(raw) - 8:
        found, _, length = struct.unpack_from("<HHI", raw, at)
        if found == kind:
            return at + 8
        at = (at + 8 + length + 7) & ~7
    raise AssertionError(f"no item {kind}")


def with_xattr(raw: bytes, name: bytes, value: bytes) -> bytes:
    """A record with another attribute in the place of its one."""
    at = item_at(raw, 8) - 8
    old = (8 + struct.unpack_from("<I", raw, at + 4)[0] + 7) & ~7
    contents = struct.pack("<II", len(name), len(value)) + name + value
    item = struct.pack("<HHI", 8, 0, len(contents)) + contents + bytes(-len(contents) % 8)
    data = bytearray(raw[:at] + item + raw[at + old:])
    struct.pack_into("<I", data, 4, len(data))
    struct.pack_into("<I", data, len(data) - 8, len(data))
    return reseal(bytes(data))


def made_by(record: Record) -> Fid | None:
    """The object that a record makes or gives a new body."""
    if record.whiteout:
        return record.whiteout[0]
    return record.object if record.op in MAKE else None


def ioctl(fd: int, command: int, form: bytes) -> bytes:
    """Of a structure that comes back changed."""
    buffer = bytearray(form)
    fcntl.ioctl(fd, command, buffer, True)
    return bytes(buffer)


def position(root: str, peer: bytes, epoch: int = 0, recno: int = 0, offset: int = 0, flags: int = 0) -> int:
    """Make a peer known, and with an epoch say where its log begins for us; its index here."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return POSITION_FORM.unpack(ioctl(fd, POSITION, POSITION_FORM.pack(1, 0, flags, peer, epoch, recno,
                                                                           offset)))[1]
    finally:
        os.close(fd)


def submit(root: str, peer: bytes, epoch: int, operations: list[bytes], *, flags: int = 0,
           decided: int = 0, count: int | None = None) -> list[Result]:
    """One batch; the results of what was done, and of what ended it."""
    count = len(operations) if count is None else count
    data = b"".join(operations)
    ops = ctypes.create_string_buffer(data, len(data) or 1)
    results = ctypes.create_string_buffer(max(1, count) * RESULT.size)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        answer = ioctl(fd, REINT, BATCH.pack(1, BATCH.size, flags, count,
                                             ctypes.addressof(ops), len(data), 0, ctypes.addressof(results),
                                             peer, epoch, decided))
    finally:
        os.close(fd)
    done = BATCH.unpack(answer)[6]
    said = [RESULT.unpack_from(results, RESULT.size * n) for n in range(min(done + 1, count))]
    return [Result(CODES[code], error, ino, generation, recno)
            for code, error, ino, generation, _, recno in said]


class Replica:
    """A mount that applies another's log."""

    def __init__(self, root: str, peer_root: str, *, forward: bool = False) -> None:
        self.root, self.peer_root = root, peer_root
        self.flags = FORWARD if forward else 0
        self.own_index = Log.of_mount(root).self_index
        peer = Log.of_mount(peer_root)
        self.peer = peer.replica
        self.indices = {0: 0, peer.self_index: position(root, self.peer)}
        self.handles: dict[Fid, tuple[int, int]] = {}
        self.places: dict[Fid, Place] = {}
        self.names: dict[Fid, set[tuple[Fid, bytes]]] = {}
        self.paths: dict[Fid, str] = {}
        self.bodies: list[int] = []
        self.peer_known: dict[tuple[int, int], Fid] = {}
        self.recno = 0
        self.hints = True

    def know(self, fid: Fid, path: str) -> None:
        """An object that was here before: made by the peer, or on both sides by a copy."""
        here = fid_of(os.fsencode(f"{self.root}/{path}"), 0)
        self.handles[fid] = (here.ino, here.generation)

    def other(self, index: int, replica: bytes) -> None:
        """A third replica, whose records the peer forwards."""
        self.indices[index] = position(self.root, replica)

    def ref(self, fid: Fid | None, made: dict[Fid, int], op: Operation) -> bytes:
        """How the operation names an object."""
        if fid is None:
            return bytes(REF.size)
        if fid.replica == 0:
            return REF.pack(ROOT_REF, 0, 0, 0, 0, 0, 0)
        if fid in made:
            return REF.pack(OF_RESULT, 0, made[fid], 0, 0, 0, 0)
        ino, generation = self.handles.get(fid, (1 << 31, 1))
        place = self.places.get(fid)
        if not self.hints or place is None:
            return REF.pack(HANDLE, generation, ino, 0, 0, 0, 0)
        parent = (0, 0) if place.dir.replica == 0 else self.handles.get(place.dir, (0, 0))
        at = OP.size + 4 * REF.size + len(op.names)
        op.names += place.name
        return REF.pack(HANDLE, generation, ino, *parent, at, len(place.name))

    def operation(self, record: Record, raw: bytes, made: dict[Fid, int]) -> Operation:
        """What the record needs to be applied here."""
        op = Operation(record, with_indices(raw, self.indices.__getitem__))
        if record.op == "close" and record.object not in self.paths:
            op.skip = SKIPPED_BODY
            return op
        births = ("create", "mkdir", "mknod", "symlink")
        place = record.place or record.hint
        op.refs = [self.ref(None if record.op in births else record.object, made, op),
                   self.ref(place.dir if place else None, made, op),
                   self.ref(record.to.dir if record.to else None, made, op),
                   self.ref(record.replaced[0] if record.replaced else None, made, op)]
        if record.op == "close":
            op.body = self.stage(self.paths[record.object])
            op.its_names = [self.named(directory, name, made, op)
                            for directory, name in sorted(self.names[record.object])]
        return op

    def named(self, directory: Fid, name: bytes, made: dict[Fid, int], op: Operation) -> bytes:
        """A reference to a directory that carries a name in it."""
        ref = self.ref(directory, made, op)
        at = OP.size + 4 * REF.size + len(op.names)
        op.names += name
        return ref[:-4] + struct.pack("=HH", at, len(name))

    def stage(self, path: str) -> int:
        """A nameless file with the peer's body, open for reading: a writer would keep the next body out."""
        fd = os.open(self.root, os.O_TMPFILE | os.O_RDWR, 0o600)
        with open(path, "rb") as stream:
            while part := stream.read(1 << 20):
                os.write(fd, part)
        self.bodies.append(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))
        os.close(fd)
        return self.bodies[-1]

    def note_names(self, record: Record) -> None:
        """Which names objects have after a record."""
        if record.op == "rename":
            self._move(record.object, record.place, record.to)
            if record.replaced and record.flags & 1:
                self._move(record.replaced[0], record.to, record.place)
            elif record.replaced:
                self.names.get(record.replaced[0], set()).discard((record.to.dir, record.to.name))
            if record.whiteout:
                self._move(record.whiteout[0], record.place, record.place)
        elif record.place and record.op in ("unlink", "rmdir"):
            self.names.get(record.object, set()).discard((record.place.dir, record.place.name))
        elif record.place:
            self.places[record.object] = record.place
            self.names.setdefault(record.object, set()).add((record.place.dir, record.place.name))

    def _move(self, fid: Fid, one: Place, two: Place) -> None:
        names = self.names.setdefault(fid, set())
        names.discard((one.dir, one.name))
        names.add((two.dir, two.name))
        self.places[fid] = two

    def look_at_peer(self, index: int) -> None:
        """Where the peer's files are now."""
        self.paths = {}
        for folder, _, files in os.walk(self.peer_root):
            for name in files:
                path = os.path.join(folder, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    self.paths[self.peer_fid(os.fsencode(path), index)] = path

    def peer_fid(self, path: bytes, index: int) -> Fid:
        """The FID of an object of the peer's."""
        here = fid_of(path, index)
        return self.peer_known.get((here.ino, here.generation), here)

    def pull(self, most: int = 1 << 30, batch: int = 100, decided: int | None = None) -> list[Result]:
        """Apply what is new in the peer's log; stops at the first record that is not applied."""
        log = Log.of_mount(self.peer_root)
        self.look_at_peer(log.self_index)
        records = [(record, raw) for record, raw in raw_records(log) if record.recno > self.recno][:most]
        said: list[Result] = []
        while records and (not said or said[-1].code in STORED):
            part, records = records[:batch], records[batch:]
            said += self.apply(log.epoch, part, decided)
        return said

    def apply(self, epoch: int, records: list[tuple[Record, bytes]], decided: int | None) -> list[Result]:
        """One batch."""
        made: dict[Fid, int] = {}
        operations = []
        for number, (record, raw) in enumerate(records):
            operations.append(self.operation(record, raw, made).encode())
            if not SKIP_FLAG.unpack_from(operations[-1], 8)[0] and (fid := made_by(record)):
                made[fid] = number
            self.note_names(record)
        if decided is None:
            decided = Log.of_mount(self.root).end_of_committed
        results = submit(self.root, self.peer, epoch, operations, flags=self.flags, decided=decided)
        while self.bodies:
            os.close(self.bodies.pop())
        for (record, _), result in zip(records, results):
            result.about = record
            if result.code not in STORED:
                break
            self.recno = record.recno
            if result.ino and (fid := made_by(record)):
                self.handles[fid] = (result.ino, result.generation)
        return results
