# SPDX-License-Identifier: GPL-2.0
"""Random operations in lockstep on the cache's type and on the file system under test: same errors, same
answers, same trees.

IZO_FUZZ_SECONDS is the length (default 60; a sixth of it where less is promised), IZO_FUZZ_SEED the seed
(default 1): a failure names the seed and step.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import signal
import time
from functools import partial
from typing import Any, Callable

from guest.debug_switch import LINGER, going_wrong
from guest.expect import equal, intermezzo_only, name_of, provokes, start_child
from guest.kml import Log
from guest.replay import check, snapshot
from guest.subject import CACHE, FILESET, FSTYPE, IS_INTERMEZZO, check_cache, make_cache, mounted
from guest.syscalls import (FALLOC_COLLAPSE, FALLOC_INSERT, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO,
                            RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, fallocate, link_open_file,
                            rename)
from guest.tree import differences, manifest

ENVIRONMENT = ("IZO_FUZZ_SECONDS", "IZO_FUZZ_SEED")
EXTRA_SECONDS = "IZO_FUZZ_SECONDS"
ALSO_ON = ("intermezzo:xfs", "intermezzo:btrfs")
# Of these caches less is promised.
IS_SHORT = CACHE != "ext4"
OPEN_FLAGS = (os.O_CREAT, os.O_CREAT | os.O_EXCL, 0, os.O_TRUNC, os.O_CREAT | os.O_TRUNC,
              os.O_CREAT | os.O_APPEND)
ORDINARY_USER = 1000
NAMES = ("a", "b", "c", "dir", "n" * 40)
STEPS_BETWEEN_COMPARISONS = 800
MAXIMUM_SIZE = 1 << 20


class Side:
    """One of the two file systems, with the files a random program holds open."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: list[int] = []

    def at(self, path: str) -> str:
        """A relative path here."""
        return f"{self.root}/{path}" if path else self.root

    def close_all(self) -> None:
        """Close every held file."""
        for fd in self.files:
            os.close(fd)
        self.files.clear()


Operation = Callable[[Side], Any]


def stat_of(info: os.stat_result) -> tuple:
    """What of a stat must agree; sizes of directories depend on their hash seed."""
    is_directory = info.st_mode & 0o170000 == 0o040000
    return (oct(info.st_mode), info.st_nlink, info.st_uid, info.st_gid,
            None if is_directory else info.st_size)


def without_privilege(operation: Operation, side: Side) -> Any:
    """Run an operation as an ordinary user."""
    os.setegid(ORDINARY_USER)
    os.seteuid(ORDINARY_USER)
    try:
        return operation(side)
    finally:
        os.seteuid(0)
        os.setegid(0)


def map_and_change(fd: int, at: int, data: bytes) -> bytes:
    """Store into a shared mapping of a file, as far as it reaches; what is there afterwards.

    Python looks at the size again and refuses with ValueError a mapping beyond it: in a storm another process
    may have truncated the file since the fstat()."""
    size = os.fstat(fd).st_size
    if at >= size:
        return b""
    try:
        mapped = mmap.mmap(fd, size)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    with mapped as mapping:
        end = min(size, at + len(data))
        mapping[at:end] = data[:end - at]
        return mapping[max(0, at - 10):end + 10]


class Generator:
    """Makes random operations; the same one is run on both sides."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.held = 0

    def path(self) -> str:
        """A name up to three levels deep."""
        return "/".join(self.random.choices(NAMES, k=self.random.choice((1, 1, 2, 2, 3))))

    def data(self) -> bytes:
        """Up to 20 KB of one repeated byte with a head that differs."""
        length = self.random.choice((0, 1, 100, 4096, 5000, 20000))
        return (b"%08x" % self.random.getrandbits(32) + bytes([self.random.randrange(256)]) * length)[:length]

    def next(self) -> tuple[str, Operation]:
        """A label and a function of the side."""
        makers = (self.names,) * 5 + (self.attributes,) * 2 + (self.whole_files,) * 4 + (self.held_files,) * 6
        label, operation = self.random.choice(makers)()
        if self.random.random() < 0.2:
            return f"as a user: {label}", lambda side: without_privilege(operation, side)
        return label, operation

    def names(self) -> tuple[str, Operation]:
        """Name-space operations."""
        one, two = self.path(), self.path()
        flags = self.random.choice((0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT))
        mode = self.random.choice((0o755, 0o700, 0o2775))
        return self.random.choice((
            (f"mkdir {one}", lambda s: os.mkdir(s.at(one), mode)),
            (f"mkdir {one}", lambda s: os.mkdir(s.at(one), mode)),
            (f"rmdir {one}", lambda s: os.rmdir(s.at(one))),
            (f"unlink {one}", lambda s: os.unlink(s.at(one))),
            (f"rename {one} {two} flags {flags}", lambda s: rename(s.at(one), s.at(two), flags)),
            (f"link {one} {two}", lambda s: os.link(s.at(one), s.at(two), follow_symlinks=False)),
            (f"symlink {two} {one}", lambda s: os.symlink(two, s.at(one))),
            (f"mkfifo {one}", lambda s: os.mkfifo(s.at(one))),
            (f"readlink {one}", lambda s: os.readlink(s.at(one))),
            (f"listdir {one}", lambda s: sorted(os.listdir(s.at(one)))),
            (f"lstat {one}", lambda s: stat_of(os.lstat(s.at(one)))),
        ))

    def attributes(self) -> tuple[str, Operation]:
        """Mode, owner, times and extended attributes."""
        one = self.path()
        number = self.random.randrange(1 << 12)
        key, value = f"user.k{number % 5}", b"v" * (number % 300)
        return self.random.choice((
            (f"chmod {one} {number:o}", lambda s: os.chmod(s.at(one), number)),
            (f"chown {one} {number}", lambda s: os.chown(s.at(one), number, number % 7,
                                                         follow_symlinks=False)),
            (f"utime {one}", lambda s: os.utime(s.at(one), ns=(number, number * 10**9),
                                                follow_symlinks=False)),
            (f"setxattr {one} {key}", lambda s: os.setxattr(s.at(one), key, value, follow_symlinks=False)),
            (f"getxattr {one} {key}", lambda s: os.getxattr(s.at(one), key, follow_symlinks=False)),
            (f"removexattr {one} {key}", lambda s: os.removexattr(s.at(one), key, follow_symlinks=False)),
            (f"listxattr {one}", lambda s: sorted(os.listxattr(s.at(one), follow_symlinks=False))),
        ))

    def whole_files(self) -> tuple[str, Operation]:
        """Opening by name for one thing, and opening to hold."""
        one, data = self.path(), self.data()
        size = self.random.choice((0, 1, 4095, 4096, 10000, 100000))
        flags = os.O_RDWR | os.O_NONBLOCK | self.random.choice(OPEN_FLAGS)
        folder = self.path()

        def write_all(side: Side) -> int:
            fd = os.open(side.at(one), flags, 0o644)
            try:
                return os.write(fd, data)
            finally:
                os.close(fd)

        def read_all(side: Side) -> bytes:
            fd = os.open(side.at(one), os.O_RDONLY | os.O_NONBLOCK)
            try:
                return os.read(fd, MAXIMUM_SIZE)
            finally:
                os.close(fd)

        def hold(side: Side) -> None:
            fd = os.open(side.at(one), flags, 0o644)
            side.files.append(fd)

        def hold_nameless(side: Side) -> None:
            fd = os.open(side.at(folder), os.O_TMPFILE | os.O_RDWR, 0o600)
            side.files.append(fd)
        return self.random.choice((
            (f"write {one} {flags:#x} {len(data)}", write_all), (f"read {one}", read_all),
            (f"truncate {one} {size}", lambda s: os.truncate(s.at(one), size)),
            (f"hold {one} {flags:#x}", hold), (f"hold {one} {flags:#x}", hold),
            (f"hold nameless in {folder}", hold_nameless),
        ))

    def held_files(self) -> tuple[str, Operation]:
        """Operations on one of the held files."""
        if not self.held:
            return self.whole_files()
        index, data, name = self.random.randrange(self.held), self.data(), self.path()
        at = self.random.choice((0, 1, 4096, 8000, 65536))
        length = self.random.choice((1, 100, 4096, 8192, 20000))
        mode = self.random.choice((0, FALLOC_KEEP_SIZE, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, FALLOC_ZERO,
                                   FALLOC_COLLAPSE, FALLOC_INSERT))

        def close(side: Side) -> None:
            os.close(side.files.pop(index))
        return self.random.choice((
            (f"pwrite #{index} {len(data)} at {at}", lambda s: os.pwrite(s.files[index], data, at)),
            (f"pwrite #{index} {len(data)} at {at}", lambda s: os.pwrite(s.files[index], data, at)),
            (f"pread #{index} {length} at {at}", lambda s: os.pread(s.files[index], length, at)),
            (f"ftruncate #{index} {at}", lambda s: os.ftruncate(s.files[index], at)),
            (f"map #{index} {len(data)} at {at}", lambda s: map_and_change(s.files[index], at, data)),
            (f"fstat #{index}", lambda s: stat_of(os.fstat(s.files[index]))),
            (f"fsync #{index}", lambda s: os.fsync(s.files[index])),
            (f"fallocate #{index} mode {mode} {at} {length}",
             lambda s: fallocate(s.files[index], mode, at, length)),
            (f"linkat #{index} {name}", lambda s: link_open_file(s.files[index], s.at(name))),
            (f"fchmod #{index}", lambda s: os.fchmod(s.files[index], length & 0o777)),
            (f"copy in #{index}",
             lambda s: os.copy_file_range(s.files[index], s.files[index], length, 0, at)),
            (f"close #{index}", close),
        ))


def outcome(operation: Operation, side: Side) -> Any:
    """The answer, or the errno's name."""
    try:
        return operation(side)
    except OSError as error:
        return name_of(error.errno)


def fuzz(reference: Side, tested: Side, seed: int, seconds: float) -> int:
    """Run until the time is over; the number of steps."""
    generator, history = Generator(seed), []
    end, step = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        step += 1
        generator.held = len(reference.files)
        label, operation = generator.next()
        expected, got = outcome(operation, reference), outcome(operation, tested)
        history.append(f"{label} -> {str(expected)[:60]}")
        if expected != got or len(reference.files) != len(tested.files):
            last = "\n".join(history[-30:])
            raise AssertionError(f"seed {seed} step {step}: {label}: {CACHE} {expected!r:.200}, "
                                 f"here {got!r:.200}\n{last}")
        if len(reference.files) > 12:
            for side in (reference, tested):
                os.close(side.files.pop(0))
        if step % STEPS_BETWEEN_COMPARISONS == 0:
            if generator.random.random() < 0.5:
                with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
                    control.write("2")
            compare(reference, tested, f"seed {seed} step {step}")
    return step


def compare(reference: Side, tested: Side, when: str) -> None:
    """Both trees must be the same."""
    lines = differences(manifest(reference.root), manifest(tested.root))
    if lines:
        raise AssertionError(f"{when}: {'; '.join(lines[:5])}")


def storm(root: str, seed: int, end: float) -> None:
    """One of several processes doing anything in one small tree, against each other's locks."""
    generator, side = Generator(seed), Side(root)
    while time.monotonic() < end:
        generator.held = len(side.files)
        outcome(generator.next()[1], side)
        if len(side.files) > 6:
            side.close_all()


def keep_storming(root: str, seed: int, end: float) -> None:
    """A process that stores into a page another one truncates away dies of SIGBUS; the next follows."""
    while time.monotonic() < end:
        seed += 1
        status = os.waitpid(start_child(partial(storm, root, seed, end)), 0)[1]
        if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS):
            raise AssertionError(f"a process of the storm ended with status {status:#x}")


def storm_and_replay(disk: str, seconds: float, drops: int) -> None:
    """Six processes in one tree while caches are dropped so often; then the log must make the tree."""
    seed = int(os.environ.get("IZO_FUZZ_SEED", "1"))
    make_cache(disk)
    with mounted(disk, FILESET) as folder:
        root = f"{folder}/tree"
        baseline = snapshot(folder) if IS_INTERMEZZO else {}
        os.mkdir(root)
        os.chmod(root, 0o777)
        children, end = [], time.monotonic() + seconds
        for worker in range(6):
            children.append(start_child(partial(keep_storming, root, (seed * 100 + worker) * 1000, end)))
        for _ in range(drops):
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
                control.write("2")
            time.sleep(0.5)  # spreads the drops over the storm; nothing is waited for
        for child in children:
            equal(os.waitpid(child, 0)[1], 0, "a supervisor of the storm")
        manifest(root)
        if IS_INTERMEZZO:
            model = check(baseline, Log.of_mount(folder), folder)
            print(f"storm: {model.records} records: {model.counts}", flush=True)
    check_cache(disk)


@provokes(r"runner\.py.*segfault")
def test_storm_of_processes_in_one_tree(disk: str) -> None:
    """Six processes rename, link and write in one tree: no deadlock, no kernel complaint, a clean disk, and a
    log that makes the tree."""
    storm_and_replay(disk, seconds=5 if IS_SHORT else 15, drops=8 if IS_SHORT else 20)


@intermezzo_only
@provokes(r"runner\.py.*segfault")
def test_storm_while_records_linger(disk: str) -> None:
    """The same when 20 ms pass between what a record says and its place in the log: whatever others can do to
    the object meanwhile shows as a log that does not make the tree."""
    with going_wrong(LINGER):
        storm_and_replay(disk, seconds=5 if IS_SHORT else 20, drops=4)


def test_random_operations_give_the_same_on_both(disk: str, second_disk: str) -> None:
    """Errors, answers and trees of random operations agree step by step, and both disks are clean
    afterwards."""
    seed = int(os.environ.get("IZO_FUZZ_SEED", "1"))
    seconds = float(os.environ.get("IZO_FUZZ_SECONDS", "60")) / (6 if IS_SHORT else 1)
    make_cache(disk, "-b", "4096")
    make_cache(second_disk, "-b", "4096")
    with mounted(disk, fstype=CACHE) as one, mounted(second_disk, FILESET) as two:
        sides = Side(f"{one}/tree"), Side(f"{two}/tree")
        baseline = snapshot(two) if IS_INTERMEZZO else {}
        for side in sides:
            os.mkdir(side.root)
            os.chmod(side.root, 0o777)
        steps = fuzz(*sides, seed, seconds)
        for side in sides:
            side.close_all()
        compare(*sides, f"seed {seed} at the end")
        if IS_INTERMEZZO:
            model = check(baseline, Log.of_mount(two), two)
            print(f"fuzz: {model.records} records: {model.counts}", flush=True)
    with mounted(disk, fstype=CACHE) as one, mounted(second_disk, FILESET) as two:
        compare(Side(f"{one}/tree"), Side(f"{two}/tree"), f"seed {seed} after a new mount")
    for device in (disk, second_disk):
        check_cache(device)
    print(f"fuzz: seed {seed}, {steps} steps in {seconds:.0f} s on {FSTYPE} over {CACHE}", flush=True)
