# SPDX-License-Identifier: GPL-2.0
"""The log of changes as Python values, strictly: docs/kml-format.md.

`Log.of_mount()` reads it through a mount, `Log.of_cache()` from the files of a cache that is not mounted (but
visible: loop-mounted as ext4).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import Iterator, NamedTuple

MAGIC, TAIL_MAGIC, LML_MAGIC, RCVD_MAGIC = 0x4c4d4b49, 0x444e4549, 0x4c4d4c49, 0x44564352
HEADER_MAGIC, CONTROL_MAGIC, SEGMENT_MAGIC = b"IZOKML1\0", b"IZOCTL1\0", b"IZOSEG1\0"
HEAD, TAIL, FILLER_HEAD, FILLER_MIN = struct.Struct("<IIIHHQQQQQQIIIIIIQIHH"), struct.Struct("<II"), 32, 40
HEADER = struct.Struct("<8sIIIHHII16s16sQQQ32x")
CONTROL = struct.Struct("<8sII16s16sQIIQQIHH32x")
SEGMENT = struct.Struct("<8sIIQQQQ16x")
LML_ENTRY = struct.Struct("<IIQIHHQQQIIQ")
RCVD_SLOT = struct.Struct("<II16sQQQQII8x")
PLACE, ATTR, OTHER = struct.Struct("<QIHHqII"), struct.Struct("<IIIIIIIIIIQQqqq"), struct.Struct("<QIHHIIq")
RECORD_MAX = 128 << 10

FILLER = 1
OPS = {16: "create", 17: "mkdir", 18: "mknod", 19: "symlink", 20: "link", 21: "unlink", 22: "rmdir",
       23: "rename", 24: "setattr", 25: "setxattr", 26: "removexattr", 27: "close"}
ITEMS = {0: "pad", 1: "place", 2: "to", 3: "hint", 4: "attr", 5: "replaced", 6: "whiteout", 7: "target",
         8: "xattr", 9: "groups", 10: "ranges"}
EXCHANGE, WHITEOUT, WHOLE, RECOVERED, COMPLETE, GROUPS_CUT = 1, 2, 4, 8, 16, 32
# What of its object a record writes.
EXISTENCE, ATTRIBUTES, XATTR, BODY, LINK, TIMES = 1, 2, 4, 8, 16, 32
ATTR_FIELDS = ("mode", "uid", "gid", "size", "mtime", "ctime", "atime", "rdev", "fsflags", "projid")


class Corrupt(Exception):
    """Bytes that are no record; says what and where."""


class Fid(NamedTuple):
    """The name of an object that never changes."""
    replica: int
    ino: int
    generation: int

    def __str__(self) -> str:
        return "root" if self == ROOT else f"{self.replica}:{self.ino}:{self.generation:#x}"


ROOT = Fid(0, 1, 0)


class Place(NamedTuple):
    """A name in a directory, and the directory's mtime (ns) after the change."""
    dir: Fid
    name: bytes
    mtime: int


@dataclass
class Record:
    """One change."""
    op: str
    offset: int
    epoch: int
    recno: int
    length: int
    origin: int
    origin_recno: int
    seen: int
    time: int
    uid: int
    gid: int
    aspects: int
    nlink: int
    flags: int
    object: Fid
    place: Place | None = None
    to: Place | None = None
    hint: Place | None = None
    attr: dict[str, int] = field(default_factory=dict)
    replaced: tuple[Fid, int, int] | None = None
    whiteout: tuple[Fid, dict[str, int]] | None = None
    target: bytes | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)
    groups: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        names = " -> ".join(f"{p.dir}/{os.fsdecode(p.name)}" for p in (self.place or self.hint, self.to) if p)
        return f"record {self.recno}: {self.op} {self.object} {names} nlink={self.nlink}"


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """RFC 3720's."""
    crc = 0xffffffff
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def _crc_without(data: bytes, at: int) -> int:
    return crc32c(data[:at] + bytes(4) + data[at + 4:])


def _ns(seconds: int, nanoseconds: int) -> int:
    if nanoseconds >= 10**9:
        raise Corrupt(f"{nanoseconds} nanoseconds")
    return seconds * 10**9 + nanoseconds


def _fid(ino: int, generation: int, replica: int, zero: int) -> Fid:
    if zero or not ino or (not replica and (ino, generation) != (1, 0)):
        raise Corrupt(f"FID {replica}:{ino}:{generation} {zero}")
    return Fid(replica, ino, generation)


def _place(data: bytes) -> Place:
    ino, generation, replica, zero, seconds, nsec, zero2 = PLACE.unpack_from(data)
    name = data[PLACE.size:]
    if zero2 or not 1 <= len(name) <= 255 or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise Corrupt(f"place {name!r}")
    return Place(_fid(ino, generation, replica, zero), name, _ns(seconds, nsec))


def _attr(data: bytes) -> dict[str, int]:
    if len(data) != ATTR.size:
        raise Corrupt(f"ATTR of {len(data)} bytes")
    (valid, mode, uid, gid, fsflags, projid, mnsec, cnsec, ansec, zero, rdev, size, mtime, ctime,
     atime) = ATTR.unpack(data)
    if not valid or valid >= 1 << len(ATTR_FIELDS) or zero:
        raise Corrupt(f"ATTR valid {valid:#x} zero {zero}")
    values = {"mode": mode, "uid": uid, "gid": gid, "size": size, "mtime": _ns(mtime, mnsec),
              "ctime": _ns(ctime, cnsec), "atime": _ns(atime, ansec), "rdev": rdev, "fsflags": fsflags,
              "projid": projid}
    for bit, name in enumerate(ATTR_FIELDS):
        if not valid >> bit & 1 and values.pop(name):
            raise Corrupt(f"ATTR {name} without its bit")
    return values


def _xattr(data: bytes) -> tuple[str, bytes]:
    name_len, value_len = struct.unpack_from("<II", data)
    if not 1 <= name_len <= 255 or 8 + name_len + value_len != len(data):
        raise Corrupt(f"XATTR of {name_len} and {value_len} in {len(data)} bytes")
    return os.fsdecode(data[8:8 + name_len]), data[8 + name_len:]


def _ranges(data: bytes) -> tuple[tuple[int, int], ...]:
    ranges = tuple(struct.iter_unpack("<QQ", data))
    last = -1
    for start, end in ranges:
        if start >= end or start <= last:
            raise Corrupt(f"ranges {ranges}")
        last = end
    if not 1 <= len(ranges) <= 8:
        raise Corrupt(f"{len(ranges)} ranges")
    return ranges


def _add_item(record: Record, kind: str, data: bytes) -> None:
    if kind in ("place", "to", "hint"):
        setattr(record, kind, _place(data))
    elif kind == "attr":
        record.attr = _attr(data)
    elif kind == "replaced":
        *fid, nlink, nsec, seconds = OTHER.unpack(data)
        record.replaced = (_fid(*fid), nlink, _ns(seconds, nsec))
    elif kind == "whiteout":
        record.whiteout = (_fid(*struct.unpack_from("<QIHH", data)), _attr(data[16:]))
    elif kind == "target":
        record.target = data
    elif kind == "xattr":
        name, value = _xattr(data)
        record.xattrs[name] = value
    elif kind == "groups":
        record.groups = struct.unpack(f"<{len(data) // 4}I", data)
    elif kind == "ranges":
        record.ranges = _ranges(data)
    elif data.strip(b"\0") or len(data) % 8 or 8 + len(data) >= FILLER_MIN:
        raise Corrupt("PAD that is not a few zero bytes")


def _items(record: Record, data: bytes) -> None:
    at, seen = 0, set()
    while at < len(data):
        kind, zero, length = struct.unpack_from("<HHI", data, at)
        end = at + 8 + length
        if kind not in ITEMS or zero or end > len(data) or (kind in seen and kind != 8) or 0 in seen:
            raise Corrupt(f"item {kind} of {length} bytes")
        _add_item(record, ITEMS[kind], data[at + 8:end])
        seen.add(kind)
        at = (end + 7) & ~7
        if data[end:at].strip(b"\0"):
            raise Corrupt(f"bytes after item {kind}")


def decode(data: bytes, at: int, offset: int, epoch: int) -> tuple[Record | None, int]:
    """The record (None: a filler) at data[at:], which stands at an offset of a log, and its length."""
    if len(data) - at < FILLER_HEAD:
        raise Corrupt("cut short")
    magic, length, crc, op, origin, its_offset, its_epoch = struct.unpack_from("<IIIHHQQ", data, at)
    if magic != MAGIC or length % 8 or not FILLER_MIN <= length <= RECORD_MAX or at + length > len(data):
        raise Corrupt(f"magic {magic:#x} length {length}")
    if TAIL.unpack_from(data, at + length - TAIL.size) != (length, TAIL_MAGIC):
        raise Corrupt("tail")
    covered = FILLER_HEAD if op == FILLER else length
    if _crc_without(data[at:at + covered], 8) != crc:
        raise Corrupt("checksum")
    if (its_offset, its_epoch) != (offset, epoch):
        raise Corrupt(f"offset {its_offset} epoch {its_epoch:#x}")
    if op == FILLER:
        return None, length
    if op not in OPS or length < HEAD.size + TAIL.size:
        raise Corrupt(f"operation {op}")
    (*_, recno, origin_recno, seen, time, uid, gid, aspects, nlink, flags, zero, ino, generation, replica,
     zero2) = HEAD.unpack_from(data, at)
    if zero:
        raise Corrupt("zero field")
    record = Record(OPS[op], offset, epoch, recno, length, origin, origin_recno, seen, time, uid, gid,
                    aspects, nlink, flags, _fid(ino, generation, replica, zero2))
    _items(record, data[at + HEAD.size:at + length - TAIL.size])
    return record, length


def reseal(record: bytes) -> bytes:
    """A record that was changed, with its checksum made anew."""
    return record[:8] + struct.pack("<I", _crc_without(record, 8)) + record[12:]


def slots(copy: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Peers, their positions and the serial, in one copy of last_rcvd."""
    for at in range(0, len(copy) - RCVD_SLOT.size + 1, RCVD_SLOT.size):
        slot = copy[at:at + RCVD_SLOT.size]
        magic, crc, replica, _, recno, _, serial, _, _ = RCVD_SLOT.unpack(slot)
        if magic == RCVD_MAGIC and crc == _crc_without(slot, 4):
            yield replica, recno, serial
        elif slot.strip(b"\0"):
            raise Corrupt(f"last_rcvd at {at}")


@dataclass
class Log:
    """A log's bytes from its oldest record on, and what its cache lists beside it."""
    epoch: int
    self_index: int
    first: int
    first_recno: int
    data: bytes
    listed: list[Fid] = field(default_factory=list)
    listed_seen: dict[Fid, int] = field(default_factory=dict)
    received: list[tuple[bytes, int, int]] = field(default_factory=list)
    overflow: bool = False
    end: int = 0
    replica: bytes = b""

    @property
    def end_of_committed(self) -> int:
        """Offset behind all that was read, fillers among it."""
        return self.first + len(self.data)

    def records(self) -> Iterator[Record]:
        """All records; afterwards `end` is where the log ends. What is no record ends it."""
        at, recno = 0, self.first_recno
        while True:
            try:
                record, length = decode(self.data, at, self.first + at, self.epoch)
            except Corrupt:
                break
            at += length
            if record is None:
                continue
            if record.recno != recno:
                raise Corrupt(f"{record} follows record {recno - 1}")
            recno += 1
            yield record
        self.end = self.first + at

    @classmethod
    def of_mount(cls, mount: str, fileset: str = "rootset") -> Log:
        """Through a mount: what is committed of it, after asking for that."""
        folder = f"{mount}/.intermezzo/{fileset}"
        fd = os.open(f"{folder}/kml", os.O_RDONLY)
        try:
            os.fsync(fd)
            (magic, version, length, crc, index, _, _, flags, _, replica, epoch, first,
             first_recno) = HEADER.unpack(os.pread(fd, HEADER.size, 0))
            if (magic, version, length) != (HEADER_MAGIC, 1, HEADER.size):
                raise Corrupt(f"header {magic!r} version {version}")
            if _crc_without(os.pread(fd, HEADER.size, 0), 16) != crc:
                raise Corrupt("checksum of the header")
            data = bytearray()
            while part := os.pread(fd, 1 << 20, first + len(data)):
                data += part
        finally:
            os.close(fd)
        log = cls(epoch, index, first, first_recno, bytes(data), overflow=bool(flags & 1), replica=replica)
        log.read_lists(folder)
        return log

    @classmethod
    def of_cache(cls, folder: str) -> Log:
        """From control block and segments in .intermezzo/FILESET of a cache."""
        with open(f"{folder}/kml", "rb") as stream:
            block = stream.read()
        (magic, version, crc, _, _, epoch, size, block_size, _, trimmed, flags, index,
         _) = CONTROL.unpack_from(block)
        if (magic, version) != (CONTROL_MAGIC, 1) or _crc_without(block[:CONTROL.size], 12) != crc:
            raise Corrupt("control block")
        segments = {}
        number = 0
        while os.path.exists(f"{folder}/kml.{number}"):
            with open(f"{folder}/kml.{number}", "rb") as stream:
                content = stream.read()
            number += 1
            if len(content) != size:  # it was being made
                continue
            magic, version, crc, its_epoch, base, first, first_recno = SEGMENT.unpack_from(content)
            if (magic == SEGMENT_MAGIC and its_epoch == epoch
                    and _crc_without(content[:SEGMENT.size], 12) == crc):
                segments[base] = (first, first_recno, content[block_size:])
        base = max(segments)
        chain = [base]
        while base - (size - block_size) in segments and segments[base][0] > trimmed:
            base -= size - block_size
            chain.insert(0, base)
        first, first_recno, _ = segments[chain[0]]
        data = b"".join(segments[b][2] for b in chain)[first - chain[0]:]
        log = cls(epoch, index, first, first_recno, data, overflow=bool(flags & 1))
        log.read_lists(folder)
        return log

    def read_lists(self, folder: str) -> None:
        """The LML and last_rcvd."""
        with open(f"{folder}/lml", "rb") as stream:
            content = stream.read()
        for at in range(0, len(content), LML_ENTRY.size):
            entry = content[at:at + LML_ENTRY.size]
            magic, crc, *fid, _, seen, epoch, _, _, _ = LML_ENTRY.unpack(entry)
            if not entry.strip(b"\0"):
                continue
            if magic != LML_MAGIC or crc != _crc_without(entry, 4):
                raise Corrupt(f"LML entry {at // LML_ENTRY.size}")
            if epoch == self.epoch:
                self.listed.append(_fid(*fid))
                self.listed_seen[self.listed[-1]] = seen
        with open(f"{folder}/last_rcvd", "rb") as stream:
            content = stream.read()
        newest: tuple[int, list[tuple[bytes, int, int]]] = (0, [])
        copy_size = len(content) // 8
        for copy in range(8):
            found = list(slots(content[copy * copy_size:(copy + 1) * copy_size]))
            if found and found[0][2] > newest[0]:
                newest = (found[0][2], found)
        self.received = newest[1]
