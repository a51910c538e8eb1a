# SPDX-License-Identifier: GPL-2.0
"""kill -9 of a daemon at one system call: which calls of a life touch state, and a life that ends at one.

strace(1) counts the calls of each thread and of each system call by itself, so a point is a system call and
a number, and the first thread that comes so far dies there: before the call, which is not made then (the
kernel skips a call at whose entry the process is killed), or when it has had its effect and the daemon does
not know.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple

from guest.expect import equal, wait_until
from guest.intersync import Intersync

# Whatever changes a file system, makes a change last, or says something to the other side.
ALWAYS = ("mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
          "unlink", "unlinkat", "rmdir", "mknod", "mknodat", "pwrite64", "pwritev", "truncate", "ftruncate",
          "fallocate", "copy_file_range", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown",
          "fchownat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr",
          "fremovexattr", "fsync", "fdatasync", "sync", "syncfs", "sendto", "sendmsg", "sendmmsg", "sendfile")
# Only with these in their arguments: the ioctls that apply records, new files.
WITH = {"ioctl": re.compile(r"0x7a, 0x2[23]"), "openat": re.compile(r"O_CREAT|O_TMPFILE")}
# Not with these: threads that wake each other, and what is said for people.
WITHOUT = {"write": re.compile(r"^\d+<anon_inode|^2<"), "writev": re.compile(r"^2<")}
# Done, but unknown to the daemon: the other side, or the kernel, may go on from there. After any other call
# nobody notices anything before the next point of the same thread.
OTHERS_NOTICE = ("ioctl", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "sendto",
                 "sendmsg", "sendfile")
# Of these a slice has both: dead before the call and dead behind it. They apply records, with their position.
BOTH_SIDES = ("ioctl",)
STRACE = ("strace", "-D", "-f", "-y", "-s", "0", "-e", f"trace={','.join((*ALWAYS, *WITH, *WITHOUT))}")
# A daemon that has made none of these calls for so long does nothing any more.
QUIET = 1.0


class Point(NamedTuple):
    """Where to die."""

    call: str
    number: int
    done: bool
    # Of an ioctl, of which most tell something only, and a life makes now more and now fewer: strace follows
    # this path alone then, a fileset's root, and number is one of the calls on it.
    path: str = ""

    def __str__(self) -> str:
        return f"{self.call} {self.number}{' done' if self.done else ''}"

    def kind(self) -> str:
        """What a slice has at least one life of."""
        return f"{self.call} done" if self.done and self.call in BOTH_SIDES else self.call

    def words(self) -> list[str]:
        """For strace: a call that is done is held up until the daemon is killed."""
        end = "delay_exit=300s" if self.done else "signal=KILL"
        only = ["-P", self.path] if self.path else []
        return ["-e", f"inject={self.call}:{end}:when={self.number}", *only]


def numbered(trace: str) -> Iterator[tuple[Point, str]]:
    """The calls of a trace, numbered by threads, and their arguments."""
    numbers: Counter[tuple[str, str, str]] = Counter()
    for line in trace.splitlines():
        begun = re.match(r"(\d+) +(\w+)\((.*)", line)
        if not begun:
            continue  # the end of a call, a signal, an exit
        thread, call, arguments = begun.groups()
        on = re.match(r"\d+<(/[^>]*)>", arguments) if call == "ioctl" else None
        path = on[1] if on else ""
        numbers[thread, call, path] += 1
        yield Point(call, numbers[thread, call, path], False, path), arguments


def points_of(trace: str) -> list[Point]:
    """All points of a life that was traced, in the order in which the life came to them."""
    found: dict[Point, None] = {}
    for point, arguments in numbered(trace):
        call = point.call
        if (call in ALWAYS or (call in WITH and WITH[call].search(arguments))
                or (call in WITHOUT and not WITHOUT[call].search(arguments))):
            for done in (False, True)[:1 + (call in OTHERS_NOTICE)]:
                found[point._replace(done=done)] = None
    return list(found)


def slice_of(points: list[Point], seed: str) -> list[list[Point]]:
    """Of each kind all points in an order by chance: the first is to be died at, the next stand in for it."""
    kinds: dict[str, list[Point]] = {}
    for point in random.Random(seed).sample(points, len(points)):
        kinds.setdefault(point.kind(), []).append(point)
    return list(kinds.values())


def missed_kinds(lives: Iterable[tuple[Point, bool]]) -> list[str]:
    """Those of which lives were to end at a point, and none has."""
    ended: dict[str, bool] = {}
    for point, died in lives:
        ended[point.kind()] = died or ended.get(point.kind(), False)
    return sorted(kind for kind, has in ended.items() if not has)


def missed_points(lives: Iterable[tuple[Point, bool]]) -> list[Point]:
    """Those at which lives were to end, and none has."""
    ended: dict[Point, bool] = {}
    for point, died in lives:
        ended[point] = died or ended.get(point, False)
    return [point for point, has in ended.items() if not has]


class Life:
    """A life of a daemon under strace, until a point, or until it has done its work."""

    def __init__(self, daemon: Intersync, point: Point | None = None) -> None:
        self.daemon, self.point = daemon, point
        # At the call of the point's number, whatever it was.
        self.died = False
        self.file = Path(daemon.folder, "trace")
        self.file.unlink(missing_ok=True)
        daemon.start_under(*STRACE, "-o", str(self.file), *(point.words() if point else ()))

    def trace(self) -> str:
        """What strace wrote."""
        return self.file.read_text(encoding="utf-8", errors="replace") if self.file.exists() else ""

    def end(self, has_all: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Wait for its end; False: it did all its work without coming to the point, and was killed then; or
        the call of that number was one that touches nothing this time, as an ioctl that applies no record."""
        assert self.daemon.process
        process, limit = self.daemon.process, time.monotonic() + seconds
        size, since = -1, time.monotonic()
        while process.poll() is None:
            trace = self.trace()
            if self.point and self.point.done and "(DELAYED)" in trace:
                break
            if len(trace) != size:
                size, since = len(trace), time.monotonic()
            if time.monotonic() - since > QUIET:
                if has_all():
                    self.must_not_have_come()
                    break
                since = time.monotonic()
            if time.monotonic() > limit:
                raise AssertionError(f"{self.point}: neither dead nor done after {seconds:.0f} s: "
                                     f"{self.daemon.said()[-1500:]}\n{trace[-1500:]}")
            time.sleep(0.01)
        self.died = process.poll() is not None or "(DELAYED)" in self.trace()
        self.kill()
        return self.died and (not self.point or self.point in points_of(self.trace()))

    def must_not_have_come(self) -> None:
        """Whoever did all its work alive has made fewer calls; at the last moment it may be about to die."""
        process, point = self.daemon.process, self.point
        assert process
        if point and point._replace(done=False) in (call for call, _ in numbered(self.trace())):
            wait_until(lambda: process.poll() is not None or "(DELAYED)" in self.trace(),
                       f"{point}: it has come there, and must die")

    def kill(self) -> None:
        """Both the daemon and the tracer: one that holds a call up would let it go only after that."""
        assert self.daemon.process
        pid = self.daemon.process.pid
        if self.daemon.process.poll() is None:
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                tracer = next(int(line.split()[1]) for line in status if line.startswith("TracerPid:"))
            os.kill(pid, signal.SIGKILL)
            if tracer and "(DELAYED)" in self.trace():
                os.kill(tracer, signal.SIGKILL)
            else:
                wait_until(lambda: f"\n{pid} " in "\n" + self.trace().rpartition("+++ killed by")[0],
                           f"{self.point}: strace's last line")
        equal(self.daemon.stop(signal.SIGKILL), -signal.SIGKILL, f"{self.point}: exit code")


def tally(lives: Iterable[tuple[Point, bool]]) -> str:
    """How many ended where, for people; and which points no life came to, as each was over before."""
    lives = list(lives)
    came = Counter((point.kind(), died) for point, died in lives)
    counts = [f"{kind} {came[kind, True]} of {came[kind, True] + came[kind, False]}"
              for kind in sorted({kind for kind, _ in came})]
    missed = [str(point) for point in missed_points(lives)]
    return ", ".join(counts) + (f"; not reached: {', '.join(missed)}" if missed else "")
