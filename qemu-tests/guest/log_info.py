# SPDX-License-Identifier: GPL-2.0
"""What a log says of itself: IZO_IOC_KML_INFO, struct izo_kml_info of <linux/intermezzo.h>; and what makes it
shorter."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import NamedTuple

from guest.expect import wait_until

KML_INFO, KML_TRIM = 0x80787a20, 0x40087a21
OVERFLOW, JOURNALED, FAILED = 0x1, 0x100, 0x200
SEGMENT_LEAST = 256 << 10


class Info(NamedTuple):
    """Some of it."""
    flags: int
    committed: int
    end: int
    end_recno: int
    capacity: int
    dirty: int


def info(root: str) -> Info:
    """Ask the log."""
    fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
    try:
        answer = fcntl.ioctl(fd, KML_INFO, bytes(120))
    finally:
        os.close(fd)
    committed, end, end_recno, capacity, _, dirty = struct.unpack_from("=QQQQQQ", answer, 64)
    return Info(*struct.unpack_from("=I", answer, 4), committed, end, end_recno, capacity, dirty)


def flags_of(root: str) -> int:
    """The flags of that."""
    return info(root).flags


def trim(root: str, end: int | None = None) -> None:
    """Let the log forget all that is on the medium, or what lies before an offset: as if every replica had
    it."""
    fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
    try:
        end = os.lseek(fd, 0, os.SEEK_END) if end is None else end
        fcntl.ioctl(fd, KML_TRIM, struct.pack("=Q", end))
    finally:
        os.close(fd)


def wait_for_spares(root: str) -> None:
    """Let a small cache's new log have all that it wants: a segment and two spares. They are made beside the
    mount, one after the other."""
    wait_until(lambda: info(root).capacity >= 3 * SEGMENT_LEAST, "two spare segments")
