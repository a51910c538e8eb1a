# SPDX-License-Identifier: GPL-2.0
"""Compares a cache that no guest uses any more with its log, on the host, mounted privately as plain ext4.

The mount recovers the journal. The log is replayed over a baseline, taken before the guest ran, and the
outcome compared with the tree; then e2fsck looks at the disk. Of plain ext4 e2fsck alone is the judge.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import shutil
import struct
import subprocess
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence, TypeVar

from guest import kml, replay
from harness import artifacts, debian
from harness.blocklog import Cut, Rebuilder, Recording
from harness.qemu import copy_sparse

FILESET = "rootset"
CLONE_NEWNS = 0x00020000
# Records that a process remembers as sound: the states of one disk have most of their log in common.
RECORDS_REMEMBERED = 1 << 17

Answer = TypeVar("Answer")


class Body(NamedTuple):
    """The contents of a file that no one is changing."""

    closed: int  # the record that says so
    content: str


@dataclass
class Finding:
    """What was found in one state. `wrong` is a difference between tree and log, `unusable` what hid both."""

    cut: Cut | None = None
    wrong: str = ""
    unusable: str = ""
    fsck: str = ""
    records: int = 0
    forwarded: int = 0  # records of changes that another replica made
    counts: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    listed: int = 0
    overflow: bool = False
    logged: bool = False
    bodies: dict[kml.Fid, Body] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not (self.wrong or self.unusable or self.fsck)

    def sizes(self) -> list[tuple[str, int, float]]:
        """Of each kind of record how many the log has, and their mean length in bytes."""
        return [(kind, count, self.bytes[kind] / count) for kind, count in sorted(self.counts.items())]

    def kinds_missing(self) -> list[str]:
        """The kinds of records that the log has none of."""
        return [op for op in kml.OPS.values() if not self.counts.get(op)]

    def __str__(self) -> str:
        return f"{self.cut or 'the disk'}: {self.unusable or self.wrong or self.fsck or 'tree and log agree'}"


@dataclass(frozen=True)
class Baseline:
    """The tree before the first record, the places in it of class local, and directories that had no other
    change than of such places, whose times then differ from what the log says."""

    tree: replay.Tree
    local: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: Path, local: tuple[str, ...] = ()) -> Baseline:
        """Of a cache that has no log yet."""
        if artifacts.root_type() == "ext4":
            return cls({}, local)
        with _examiners(1) as pool:
            return cls(pool.submit(_mounted, image, "ro", _Snapshot(local)).result(), local)


@dataclass(frozen=True)
class _Snapshot:
    """Picklable, for another process."""

    local: tuple[str, ...]

    def __call__(self, tree: Path) -> replay.Tree:
        return replay.snapshot(str(tree), locals_=self.local)


@dataclass(frozen=True)
class _Populate:
    program: Path
    seed: int
    objects: int
    below: str
    install: str
    free_mb: int | None
    free_inodes: int | None

    def __call__(self, tree: Path) -> None:
        # as mkizofs makes it: else the first mount does, which changes the root's times
        Path(tree, ".intermezzo").mkdir(mode=0o700, exist_ok=True)
        Path(tree, self.below).mkdir(parents=True, exist_ok=True)
        command = [self.program, "populate", tree / self.below, str(self.seed), str(self.objects)]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, f"{self.program.name} populate: {run.stderr}"
        if self.install:
            shutil.copy2(self.program, tree / self.install)
        # where no comparison reads it
        filler = tree / "lost+found" / "filler"
        if self.free_mb is not None:
            space = os.statvfs(tree)
            with open(filler, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_bsize - (self.free_mb << 20))
        if self.free_inodes is not None:
            for number in range(os.statvfs(tree).f_favail - self.free_inodes):
                filler.with_suffix(f".{number}").touch()


def populate(image: Path, program: Path, seed: int, objects: int, *, below: str = "",
             install: str = "", free_mb: int | None = None, free_inodes: int | None = None) -> None:
    """Fill a cache with the objects that a storm begins with, in a directory of it or at its root.

    `install` is where the program goes itself; of the disk only `free_mb` and `free_inodes` stay free.
    """
    with _examiners(1) as pool:
        pool.submit(_mounted, image, "rw",
                    _Populate(program, seed, objects, below, install, free_mb, free_inodes)).result()


def seen(image: Path, look: Callable[[Path], Answer]) -> Answer:
    """What `look`, which another process can be given, sees in a disk once its journal is recovered."""
    with _examiners(1) as pool:
        return pool.submit(_mounted, image, "rw,noatime", look).result()


def examine(image: Path, baseline: Baseline) -> Finding:
    """One disk as it is."""
    with _examiners(1) as pool:
        return pool.submit(_examine, image, baseline, None).result()


def examine_cuts(recording: Recording, before: Path, cuts: Sequence[Cut], baseline: Baseline,
                 ) -> Iterator[Finding]:
    """What each cut leaves of the disk `before`, in order. The next is rebuilt while one is examined."""
    processes = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="states-", dir=before.parent) as folder, \
            _examiners(processes) as pool:
        rebuilder = Rebuilder(recording, copy_sparse(before, Path(folder, "safe")))
        waiting: list[Future[Finding]] = []
        for number, cut in enumerate(cuts):
            state = rebuilder.rebuild(cut, Path(folder, f"state-{number}"))
            waiting.append(pool.submit(_examine_and_remove, state, baseline, cut))
            if len(waiting) > processes:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


@contextlib.contextmanager
def _examiners(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with mounts of their own, which end with them whatever happens."""
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("forkserver"), _own_mounts)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare: examining disks needs root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    kml.crc32c = functools.lru_cache(RECORDS_REMEMBERED)(kml.crc32c)


class _NotMountable(Exception):
    """What mount(8) said."""


def _mounted(image: Path, mode: str, look: Callable[[Path], Answer]) -> Answer:
    """What `look` sees at the image's mount point."""
    with tempfile.TemporaryDirectory(prefix="izo-cache-") as folder:
        run = subprocess.run(["mount", "-t", "ext4", "-o", f"loop,{mode}", image, folder],
                             capture_output=True, text=True)
        if run.returncode:
            raise _NotMountable(run.stderr.strip())
        try:
            return look(Path(folder))
        finally:
            subprocess.run(["umount", folder], check=True)


def _examine(image: Path, baseline: Baseline, cut: Cut | None) -> Finding:
    found = Finding(cut)
    try:
        # a read-only loop device could not be recovered
        _mounted(image, "rw,noatime", functools.partial(_compare, baseline=baseline, found=found))
    except _NotMountable as error:
        found.unusable = f"not mountable: {error}"
    found.fsck = debian.fsck(image)
    return found


def _examine_and_remove(image: Path, baseline: Baseline, cut: Cut) -> Finding:
    try:
        return _examine(image, baseline, cut)
    finally:
        image.unlink()


def log_in(folder: Path) -> kml.Log:
    """The power may have been cut before the kernel had begun one: then no change is recorded, nor made."""
    control = folder / "kml"
    if control.exists() and any(control.read_bytes()):
        return kml.Log.of_cache(str(folder))
    return kml.Log(epoch=0, self_index=1, first=0, first_recno=1, data=b"")


def _compare(tree: Path, baseline: Baseline, found: Finding) -> None:
    if artifacts.root_type() == "ext4":
        return
    model, closes = replay.Model(baseline.tree), dict[kml.Fid, int]()
    try:
        log = log_in(tree / ".intermezzo" / FILESET)
        found.logged = bool(log.epoch)
        found.listed, found.overflow = len(log.listed), log.overflow
        for record in log.records():
            model.apply(record)
            found.forwarded += record.origin != log.self_index
            if record.op == "close":
                closes[record.object] = record.recno
        found.records, found.counts, found.bytes = model.records, model.counts, model.bytes
        real = replay.snapshot(str(tree), log.self_index, baseline.local)
        who = replay.Identities(str(tree), log.self_index, FILESET)
        touched = (who.fid(os.fsencode(tree / path)) for path in baseline.touched)
        differences = model.differences(real, {*log.listed, *touched})
        if differences:
            raise replay.Diverged(f"{len(differences)} differences after {model.records} records: "
                                  + "; ".join(differences[:8]))
    except replay.Diverged as error:
        found.wrong = str(error)
    except (kml.Corrupt, OSError, ValueError, struct.error) as error:
        found.unusable = f"no log: {type(error).__name__}: {error}"
    else:
        found.bodies = {fid: Body(recno, node.content) for fid, recno in closes.items()
                        if fid not in log.listed and (node := real.get(fid)) and node.content}
