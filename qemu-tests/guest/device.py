# SPDX-License-Identifier: GPL-2.0
"""The device of a channel, strictly as docs/device-protocol.md has it: upcalls as Python values, and a daemon
that reads and answers them."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
from dataclasses import dataclass

from guest.expect import wait_until

VERSION = 1
IOC_VERSION, IOC_KML_INFO = 0xC0047A30, 0x80787A20
MOUNTED, GONE, KML_GREW = 1, 2, 3
NAMES = {MOUNTED: "mounted", GONE: "gone", KML_GREW: "grew"}
ASKS, READ_ONLY = 1, 2
HEAD = struct.Struct("=IHHQII16s72sQQ")
MOUNTED_TAIL = struct.Struct("=16sIIQ1024s")
GREW_TAIL = struct.Struct("=QQQQ")
ANSWER = struct.Struct("=IHHQII")
SIZES = {MOUNTED: HEAD.size + MOUNTED_TAIL.size, GONE: HEAD.size, KML_GREW: HEAD.size + GREW_TAIL.size}
LARGEST = max(SIZES.values())


class Broken(Exception):
    """Bytes that are no upcall."""


@dataclass(frozen=True)
class Upcall:
    """One upcall; fields that its type does not have are 0 or empty."""

    type: str
    id: int
    channel: int
    name: str
    fileset: bytes
    epoch: int
    asks: bool
    read_only: bool = False
    replica: bytes = bytes(16)
    device: int = 0
    mtp: str = ""
    committed: int = 0
    committed_recno: int = 0
    recno: int = 0

    @property
    def said(self) -> tuple[str, str]:
        """What and of which fileset."""
        return self.type, self.name


def _text(field: bytes) -> str:
    text, _, rest = field.partition(b"\0")
    if len(text) == len(field) or any(rest):
        raise Broken(f"text {field!r:.80}")
    return text.decode()


def decode(data: bytes) -> Upcall:
    """What one read gave."""
    if len(data) < HEAD.size:
        raise Broken(f"{len(data)} bytes")
    size, version, kind, number, flags, channel, fileset, name, epoch, reserved = HEAD.unpack_from(data)
    if version != VERSION or SIZES.get(kind) != size or size != len(data) or reserved or not number:
        raise Broken(f"version {version} type {kind} size {size} of {len(data)} id {number}")
    if flags & ~READ_ONLY != (ASKS if kind == MOUNTED else 0) or (flags & READ_ONLY and kind != MOUNTED):
        raise Broken(f"type {kind} with flags {flags:#x}")
    if not _text(name) or channel > 15 or (epoch == 0) != (fileset == bytes(16)):
        raise Broken(f"channel {channel} epoch {epoch} name {name!r}")
    common = (NAMES[kind], number, channel, _text(name), fileset, epoch, bool(flags & ASKS))
    if kind == MOUNTED:
        replica, major, minor, reserved, mtp = MOUNTED_TAIL.unpack_from(data, HEAD.size)
        if reserved or (epoch == 0) != (replica == bytes(16)) or not (_text(mtp) or "/").startswith("/"):
            raise Broken(f"MOUNTED {replica!r} {mtp!r:.80}")
        return Upcall(*common, bool(flags & READ_ONLY), replica, os.makedev(major, minor), _text(mtp))
    if kind == KML_GREW:
        committed, committed_recno, recno, reserved = GREW_TAIL.unpack_from(data, HEAD.size)
        if reserved or not epoch or committed < 120 or committed % 8 or committed_recno > recno:
            raise Broken(f"KML_GREW {committed} {committed_recno} {recno}")
        return Upcall(*common, committed=committed, committed_recno=committed_recno, recno=recno)
    return Upcall(*common)


def answer_bytes(number: int, error: int = 0) -> bytes:
    """A struct izo_answer."""
    return ANSWER.pack(ANSWER.size, VERSION, 0, number, error, 0)


def sync_log(root: str, name: str = "rootset") -> None:
    """What a daemon does to see records: fsync(2) of the log's file."""
    fd = os.open(f"{root}/.intermezzo/{name}/kml", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def await_calm(root: str, name: str = "rootset") -> None:
    """Until the log has its spare segments: making them commits. Then only fsync(2) does, or a long time."""
    segment = os.stat(f"{root}/.intermezzo/{name}/kml.0").st_size
    fd = os.open(f"{root}/.intermezzo/{name}/kml", os.O_RDONLY)

    def capacity() -> int:
        info = bytearray(120)
        fcntl.ioctl(fd, IOC_KML_INFO, info)
        return struct.unpack_from("=Q", info, 88)[0]
    try:
        wait_until(lambda: capacity() >= 3 * segment, "the log has its spare segments")
        os.fsync(fd)
    finally:
        os.close(fd)


class Daemon:
    """Has a channel's device open. Not blocking, unless asked."""

    def __init__(self, channel: int = 0, blocking: bool = False, version: int | None = VERSION) -> None:
        self.path = f"/dev/intermezzo{channel}"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK))
        if version is not None:
            try:
                self.say_version(version)
            except OSError:
                self.close()
                raise

    def say_version(self, version: int) -> None:
        """As the first thing."""
        fcntl.ioctl(self.fd, IOC_VERSION, struct.pack("=I", version))

    def read(self) -> Upcall:
        """The next upcall; EAGAIN if none waits."""
        return decode(os.read(self.fd, LARGEST))

    def answer(self, upcall: Upcall, error: int = 0) -> None:
        """Done, or why not."""
        os.write(self.fd, answer_bytes(upcall.id, error))

    def events(self, seconds: float = 0) -> int:
        """What poll(2) gives."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        found = poll.poll(seconds * 1000)
        return found[0][1] if found else 0

    def next(self, seconds: float = 20) -> Upcall:
        """Wait for an upcall and read it."""
        if not self.events(seconds) & select.POLLIN:
            raise AssertionError(f"{self.path}: nothing to read within {seconds:.0f} s")
        return self.read()

    def waiting(self) -> list[Upcall]:
        """All that waits now."""
        found = []
        while True:
            try:
                found.append(self.read())
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return found

    def serve(self, name: str = "rootset") -> tuple[Upcall, Upcall | None]:
        """Read and answer MOUNTED of the only fileset, and read what KML_GREW says at first if it has a
        log."""
        mounted = self.next()
        if mounted.said != ("mounted", name):
            raise AssertionError(f"expected mounted {name}, got {mounted}")
        self.answer(mounted)
        return mounted, self.grew() if mounted.epoch else None

    def grew(self) -> Upcall:
        """The next upcall, which must be KML_GREW."""
        upcall = self.next()
        if upcall.type != "grew":
            raise AssertionError(f"expected grew, got {upcall}")
        return upcall

    def close(self) -> None:
        """Leave the channel."""
        os.close(self.fd)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
