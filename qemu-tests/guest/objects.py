# SPDX-License-Identifier: GPL-2.0
"""What an object is to other replicas: IZO_IOC_OBJECT, struct izo_object of <linux/intermezzo_reint.h>."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

from guest.kml import Fid
from guest.reint import ioctl

OBJECT = 0xc0407a24
# version, replica, flags, name, name_len, mode, ino, generation, fid_generation, fid_ino, body_changes,
# fsflags, projid
FORM = struct.Struct("=HHIQIIQIIQQII")
LOCAL, LISTED, CHANGING, FSFLAGS = 1, 2, 4, 8
NO_FID = Fid(0, 0, 0)


class Object(NamedTuple):
    """The answer."""
    flags: int
    fid: Fid
    mode: int
    ino: int
    generation: int
    body_changes: int
    fsflags: int = 0
    projid: int = 0

    @property
    def handle(self) -> tuple[int, int]:
        """What a batch calls it by."""
        return self.ino, self.generation

    @property
    def is_local(self) -> bool:
        """Is it this machine's own?"""
        return bool(self.flags & LOCAL)

    @property
    def is_listed(self) -> bool:
        """May its body be missing on the medium?"""
        return bool(self.flags & LISTED)

    @property
    def is_changing(self) -> bool:
        """Has its body changed with no CLOSE telling of it yet?"""
        return bool(self.flags & CHANGING)


def ask(fd: int, name: bytes | str = b"", flags: int = 0) -> Object:
    """Of a name in an open directory, or of the open object itself; with FSFLAGS these too."""
    data = os.fsencode(name)
    buffer = ctypes.create_string_buffer(data, len(data) or 1)
    address = ctypes.addressof(buffer) if data else 0
    asked = FORM.pack(1, 0, flags, address, len(data), *8 * [0])
    (version, replica, told, its_address, length, mode, ino, generation, fid_generation, fid_ino,
     changes, fsflags, projid) = FORM.unpack(ioctl(fd, OBJECT, asked))
    assert (version, its_address, length) == (1, address, len(data)), "what the caller has set"
    fid = Fid(replica, fid_ino, fid_generation)
    return Object(told, fid, mode, ino, generation, changes, fsflags, projid)


def object_at(path: str, flags: int = 0) -> Object:
    """Of a name, by its directory."""
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return ask(fd, name, flags)
    finally:
        os.close(fd)
