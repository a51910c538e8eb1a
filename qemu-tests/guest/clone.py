# SPDX-License-Identifier: GPL-2.0
"""What mkizofs --clone writes, by hand: the tables of a replica whose disk is a copy of another's."""

from __future__ import annotations

import os
import struct
import uuid

from guest.kml import Fid, crc32c
from guest.replay import BASE, BASE_ENTRY, BASE_MAGIC, IDENTITY, IDENTITY_FORM, fid_of

REPLICAS, REPLICA = struct.Struct("<8sII16sHHI16x"), struct.Struct("<16sHHI8x")
PEER, SELF = 1, 2
REPLICAS_SIZE = 16384


def replicas(self_index: int = SELF, count: int = 2) -> bytes:
    """The file `replicas` of this replica."""
    fileset = uuid.UUID(int=77).bytes
    head = REPLICAS.pack(b"IZOREP1\0", 1, 0, fileset, self_index, count, 0)
    data = REPLICAS.pack(b"IZOREP1\0", 1, crc32c(head), fileset, self_index, count, 0)
    for index in range(1, count + 1):
        who = uuid.UUID(int=1000 + index).bytes
        data += REPLICA.pack(who, index, 0, crc32c(REPLICA.pack(who, index, 0, 0)))
    return data.ljust(REPLICAS_SIZE, b"\0")


def base(entries: list[tuple[int, int]], count: int | None = None) -> bytes:
    """The file `base`: generation and replica by inode number; `count` may lie."""
    body = b"".join(BASE_ENTRY.pack(generation, replica, 0) for generation, replica in entries)
    told = len(entries) if count is None else count
    crc = crc32c(BASE.pack(BASE_MAGIC, 1, 0, told, 0) + body)
    return BASE.pack(BASE_MAGIC, 1, crc, told, 0) + body


def objects(root: str) -> list[Fid]:
    """All objects of a tree, as made by the peer under their numbers here."""
    found = []
    for folder, folders, files in os.walk(root):
        found += [fid_of(os.fsencode(f"{folder}/{name}"), PEER) for name in folders + files]
    return found


def base_of(made_by_peer: list[Fid]) -> bytes:
    """The table that names these objects."""
    entries = [(0, 0)] * (max(fid.ino for fid in made_by_peer) + 1)
    for fid in made_by_peer:
        entries[fid.ino] = (fid.generation, fid.replica)
    return base(entries)


def set_fid(path: str, fid: Fid) -> None:
    """Mark an object of a cache as one that a peer made."""
    value = IDENTITY_FORM.pack(1, 0, fid.replica, fid.generation, fid.ino)
    os.setxattr(path, IDENTITY, value, follow_symlinks=False)


def write_tables(root: str, tables: dict[str, bytes], fileset: str = "rootset") -> None:
    """Put them into a cache that is mounted as what it is."""
    folder = f"{root}/.intermezzo/{fileset}"
    for path in (f"{root}/.intermezzo", folder):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
    for name, data in tables.items():
        with open(f"{folder}/{name}", "wb") as stream:
            stream.write(data)
