# SPDX-License-Identifier: GPL-2.0
"""What an object is to other replicas: IZO_IOC_OBJECT, struct izo_object of <linux/intermezzo_reint.h>."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

from guest.kml import Fid
from guest.reint import ioctl

OBJECT = 0xc0387a24
# version, replica, flags, name, name_len, mode, ino, generation, fid_generation, fid_ino, body_changes
FORM = struct.Struct("=HHIQIIQIIQQ")
LOCAL, LISTED, CHANGING = 1, 2, 4
NO_FID = Fid(0, 0, 0)


class Object(NamedTuple):
    """The answer."""
    flags: int
    fid: Fid
    mode: int
    ino: int
    generation: int
    body_changes: int

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


def ask(fd: int, name: bytes | str = b"") -> Object:
    """Of a name in an open directory, or of the open object itself."""
    data = os.fsencode(name)
    buffer = ctypes.create_string_buffer(data, len(data) or 1)
    address = ctypes.addressof(buffer) if data else 0
    (version, replica, flags, its_address, length, mode, ino, generation, fid_generation, fid_ino,
     changes) = FORM.unpack(ioctl(fd, OBJECT, FORM.pack(1, 0, 0, address, len(data), 0, 0, 0, 0, 0, 0)))
    assert (version, its_address, length) == (1, address, len(data)), "what the caller has set"
    return Object(flags, Fid(replica, fid_ino, fid_generation), mode, ino, generation, changes)


def object_at(path: str) -> Object:
    """Of a name, by its directory."""
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return ask(fd, name)
    finally:
        os.close(fd)
