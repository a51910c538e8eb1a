# SPDX-License-Identifier: GPL-2.0
"""Logs of intersync's corpus that end in the middle, mounted: the kernel finds the end that is known."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from guest.disks import check_ext, make_ext4
from guest.expect import equal, intermezzo_only
from guest.kml import CONTROL, SEGMENT, Log, crc32c
from guest.log_info import info
from guest.subject import FILESET, HOST, mounted

FILES = ("intersync/src/kml/corpus/MANIFEST", "intersync/src/kml/corpus/crash/cut-after-header",
         "intersync/src/kml/corpus/crash/cut-before-tail", "intersync/src/kml/corpus/crash/cut-in-filler",
         "intersync/src/kml/corpus/crash/cut-in-head", "intersync/src/kml/corpus/crash/cut-in-item",
         "intersync/src/kml/corpus/crash/older-sector", "intersync/src/kml/corpus/crash/record-lost",
         "intersync/src/kml/corpus/crash/torn-sector-of-ones",
         "intersync/src/kml/corpus/crash/torn-sector-of-zeros", "intersync/src/kml/corpus/crash/whole")
BLOCK, FIRST, MOST = 4096, 120, 4096


def ends() -> dict[str, tuple[int, int]]:
    """For each of these logs: how many records it has, and the offset where it ends."""
    manifest = Path(HOST, "MANIFEST").read_text(encoding="ascii")
    found = re.findall(r"^crash/(\S+): (\d+) records, offset (\d+): ", manifest, re.MULTILINE)
    return {name: (int(records), int(offset)) for name, records, offset in found if int(offset) >= FIRST}


def set_epoch(path: str, size: int, crc_at: int, epoch_at: int, epoch: bytes) -> None:
    """Give a control block or a segment another epoch, sealed again."""
    with open(path, "r+b") as stream:
        head = bytearray(stream.read(size))
        head[epoch_at:epoch_at + 8] = epoch
        head[crc_at:crc_at + 4] = bytes(4)
        head[crc_at:crc_at + 4] = struct.pack("<I", crc32c(bytes(head)))
        stream.seek(0)
        stream.write(head)


def put_log(root: str, log: bytes) -> None:
    """On a cache that is mounted as ext4: what stands behind a log's header is the log."""
    folder = f"{root}/.intermezzo/rootset"
    epoch = struct.pack("<Q", struct.unpack_from("<Q", log, 64)[0])
    set_epoch(f"{folder}/kml", CONTROL.size, 12, 48, epoch)
    set_epoch(f"{folder}/kml.0", SEGMENT.size, 12, 16, epoch)
    with open(f"{folder}/kml.0", "r+b") as stream:
        stream.seek(BLOCK + FIRST)
        stream.write(log[FIRST:].ljust(MOST, b"\0"))


@intermezzo_only
def test_logs_end_where_the_corpus_says(disk: str) -> None:
    """Cut off, torn, with older bytes: as many records as the MANIFEST says, up to the offset it says."""
    make_ext4(disk, "-b", str(BLOCK))
    with mounted(disk, FILESET):
        pass
    equal(len(ends()), len(FILES) - 1, "logs")
    for name, (records, offset) in ends().items():
        with mounted(disk, fstype="ext4") as root:
            put_log(root, Path(HOST, name).read_bytes())
        with mounted(disk, FILESET) as root:
            equal((info(root).end_recno, info(root).end), (records, offset), f"the end of {name}")
            found = [record.recno for record in Log.of_mount(root).records()]
            equal(found, list(range(1, records + 1)), f"records of {name}")
    check_ext(disk)
