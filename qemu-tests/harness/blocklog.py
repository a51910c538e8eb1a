# SPDX-License-Identifier: GPL-2.0
"""Records all that a guest writes to a disk, and rebuilds that disk as a power cut would have left it.

QEMU's blklogwrites driver writes the dm-log-writes form: a superblock, then for each write, flush and
discard one sector that describes it, and the data. A flush makes everything before it safe. Of what was
written since, a power cut may leave all, any part, or single sectors of each write.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import os
import random
import struct
import sys
import tempfile
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator

from harness.qemu import Machine, copy_sparse

MAGIC = 0x6A736677736872
VERSION = 1
SUPERBLOCK = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
SECTOR = 512
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
# ext4's superblock is the one thing that its journal cannot mend, as it is needed to find the journal: a
# torn one is for e2fsck, so the tearing spares the block that holds it.
NEVER_TORN = 4096 // SECTOR


class RecordingError(Exception):
    """The file is no recording, or not of what the caller says."""


class Survivors(enum.Enum):
    """What is left of the writes that no flush has made safe."""

    ALL = "all"
    SOME = "some"
    TORN = "torn"


@dataclass(frozen=True)
class Entry:
    """One request of the guest; its data stands at `offset` of the recording."""

    sector: int
    sectors: int
    flags: int
    offset: int

    @property
    def end(self) -> int:
        """Where the next one stands."""
        return self.offset + (0 if self.flags & DISCARD else self.sectors * SECTOR)

    @property
    def written(self) -> int:
        """Sectors it writes to the disk."""
        return 0 if self.flags & (DISCARD | MARK) else self.sectors


@dataclass(frozen=True)
class Cut:
    """The power goes off when `point` requests have been made. `seed` decides which writes survive."""

    point: int
    survivors: Survivors
    seed: int

    def __str__(self) -> str:
        return f"cut after request {self.point}, unsafe writes: {self.survivors.value} (seed {self.seed})"


def recorded(machine: Machine, image: Path, recording: Path) -> Machine:
    """The machine with one more disk, after the others, all writes to which are recorded."""
    recording.touch()
    files = [("disk", image), ("log", recording)]
    options = list(itertools.chain.from_iterable(
        ("-blockdev", f"driver=file,node-name=izo-{name},filename={path},cache.no-flush=on")
        for name, path in files))
    options += ["-blockdev", "driver=blklogwrites,node-name=izo-recorded,file=izo-disk,log=izo-log",
                "-device", "virtio-blk-pci,drive=izo-recorded,serial=izo-recorded"]
    return dataclasses.replace(machine, options=[*machine.options, *options])


class Recording:
    """A finished recording."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.entries = list(_entries(self._file, path))
        self._flushes = [number for number, entry in enumerate(self.entries) if entry.flags & FLUSH]

    def close(self) -> None:
        self._file.close()

    def is_whole(self) -> bool:
        """Whether no request is written behind one that is not written yet."""
        end = self.entries[-1].end if self.entries else SECTOR
        return os.fstat(self._file.fileno()).st_size <= end

    def point_at(self, sectors: int) -> int:
        """How many requests it took to write so many sectors (the seventh number of /sys/block/*/stat)."""
        totals = list(itertools.accumulate(entry.written for entry in self.entries))
        point = bisect_left(totals, sectors) + 1
        if point > len(totals):
            raise RecordingError(f"the guest wrote {sectors} sectors, but only {totals[-1] if totals else 0} "
                                 "are recorded: is it the right disk?")
        return point

    def safe_at(self, point: int) -> int:
        """How many of the first `point` requests a flush among them has made safe."""
        number = bisect_left(self._flushes, point)
        return self._flushes[number - 1] + 1 if number else 0

    def cuts(self, first: int, count: int, seed: int, before: int | None = None) -> list[Cut]:
        """So many different points from `first` on, in order, with the kinds of survivors in turn."""
        points = range(first, len(self.entries) + 1 if before is None else before)
        chosen = sorted(random.Random(seed).sample(points, min(count, len(points))))
        kinds = itertools.cycle(Survivors)
        return [Cut(point, kind, seed * 1_000_003 + point) for point, kind in zip(chosen, kinds)]

    def data(self, entry: Entry, first: int = 0, sectors: int | None = None) -> bytes:
        """What the request wrote, or a part of it."""
        length = (entry.sectors - first if sectors is None else sectors) * SECTOR
        if entry.flags & DISCARD:
            return bytes(length)
        data = os.pread(self._file.fileno(), length, entry.offset + first * SECTOR)
        if len(data) != length:
            raise RecordingError(f"the recording ends inside the data at {entry.offset}")
        return data


def _entries(file: BinaryIO, path: Path) -> Iterator[Entry]:
    """The superblock's count lags behind: the entries are followed to the first that is empty or cut."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(SUPERBLOCK.size)
    if len(head) < SUPERBLOCK.size:
        raise RecordingError(f"{path} is empty: the guest never opened the disk")
    magic, version, _, sector_size = SUPERBLOCK.unpack(head)
    if (magic, version, sector_size) != (MAGIC, VERSION, SECTOR):
        raise RecordingError(f"{path} is no dm-log-writes recording of version {VERSION} "
                             f"with {SECTOR}-byte sectors")
    position = SECTOR
    while position + SECTOR <= size:
        sector, sectors, flags, _ = ENTRY.unpack(os.pread(file.fileno(), ENTRY.size, position))
        data = position + SECTOR
        position = data + (0 if flags & DISCARD else sectors * SECTOR)
        if not (sectors or flags) or position > size:
            return
        yield Entry(sector, sectors, flags, data)


class Rebuilder:
    """Makes the states of one disk, in the order of their points, each a file of its own.

    `before` is the disk as it was before the recording; it is changed.
    """

    def __init__(self, recording: Recording, before: Path) -> None:
        self._recording = recording
        self._path = before
        self._applied = 0

    def rebuild(self, cut: Cut, target: Path) -> Path:
        """Write the disk that the power cut leaves. What is safe is applied to the common image once."""
        safe = self._recording.safe_at(cut.point)
        if safe < self._applied:
            raise ValueError(f"{cut}: asked for after a later one")
        with self._path.open("r+b") as disk:
            for entry in self._recording.entries[self._applied:safe]:
                self._apply(disk, entry)
        self._applied = safe
        copy_sparse(self._path, target)
        with target.open("r+b") as disk:
            self._apply_unsafe(disk, cut, self._recording.entries[safe:cut.point])
        return target

    def _apply_unsafe(self, disk: BinaryIO, cut: Cut, entries: list[Entry]) -> None:
        chance = random.Random(cut.seed)
        survival = chance.random()
        for entry in entries:
            if cut.survivors is Survivors.ALL or entry.flags & FUA:
                self._apply(disk, entry)
            elif cut.survivors is Survivors.TORN and entry.sector >= NEVER_TORN:
                for number in range(entry.written):
                    if chance.random() < survival:
                        self._apply(disk, entry, number, 1)
            elif chance.random() < survival:
                self._apply(disk, entry)

    def _apply(self, disk: BinaryIO, entry: Entry, first: int = 0, sectors: int | None = None) -> None:
        if entry.sectors and not entry.flags & MARK:
            os.pwrite(disk.fileno(), self._recording.data(entry, first, sectors),
                      (entry.sector + first) * SECTOR)


def main() -> None:
    """Make one state of a disk, to look at: what a failed test names, from the files it kept."""
    if len(sys.argv) != 7:
        sys.exit("usage: python3 -m harness.blocklog RECORDING BEFORE POINT all|some|torn SEED STATE")
    recording, before, point, survivors, seed, state = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="izo-safe-") as folder:
        safe = copy_sparse(Path(before), Path(folder, "safe"))
        cut = Cut(int(point), Survivors(survivors), int(seed))
        Rebuilder(Recording(Path(recording)), safe).rebuild(cut, Path(state))


if __name__ == "__main__":
    main()
