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
from typing import Callable, Iterable, NamedTuple

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
STRACE = ("strace", "-D", "-f", "-y", "-s", "0", "-e", f"trace={','.join((*ALWAYS, *WITH, *WITHOUT))}")
# A daemon that has made none of these calls for so long does nothing any more.
QUIET = 1.0


class Point(NamedTuple):
    """Where to die."""

    call: str
    number: int
    done: bool

    def __str__(self) -> str:
        return f"{self.call} {self.number}{' done' if self.done else ''}"

    def words(self) -> str:
        """For strace: a call that is done is held up until the daemon is killed."""
        return f"inject={self.call}:{'delay_exit=300s' if self.done else 'signal=KILL'}:when={self.number}"


def points_of(trace: str) -> list[Point]:
    """All points of a life that was traced, in the order in which the life came to them."""
    found: dict[Point, None] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    for line in trace.splitlines():
        begun = re.match(r"(\d+) +(\w+)\((.*)", line)
        if not begun:
            continue  # the end of a call, a signal, an exit
        thread, call, arguments = begun.groups()
        numbers[thread, call] += 1
        if (call in ALWAYS or (call in WITH and WITH[call].search(arguments))
                or (call in WITHOUT and not WITHOUT[call].search(arguments))):
            for done in (False, True)[:1 + (call in OTHERS_NOTICE)]:
                found[Point(call, numbers[thread, call], done)] = None
    return list(found)


def slice_of(points: list[Point], count: int, seed: str) -> list[Point]:
    """So many of them at equal distances."""
    count = min(count, len(points))
    begin = random.Random(seed).random()
    return [points[int((begin + number) * len(points) / count)] for number in range(count)]


class Life:
    """A life of a daemon under strace, until a point, or until it has done its work."""

    def __init__(self, daemon: Intersync, point: Point | None = None) -> None:
        self.daemon, self.point = daemon, point
        self.file = Path(daemon.folder, "trace")
        self.file.unlink(missing_ok=True)
        daemon.start_under(*STRACE, "-o", str(self.file), *(("-e", point.words()) if point else ()))

    def trace(self) -> str:
        """What strace wrote."""
        return self.file.read_text(encoding="utf-8", errors="replace") if self.file.exists() else ""

    def end(self, has_all: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Wait for its end; False: it did all its work without coming to the point, and was killed then."""
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
                    break
                since = time.monotonic()
            if time.monotonic() > limit:
                raise AssertionError(f"{self.point}: neither dead nor done after {seconds:.0f} s: "
                                     f"{self.daemon.said()[-1500:]}\n{trace[-1500:]}")
            time.sleep(0.01)
        died = process.poll() is not None or "(DELAYED)" in self.trace()
        self.kill()
        return died

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
                wait_until(lambda: f"\n{pid} " in self.trace().rpartition("+++ killed by")[0],
                           f"{self.point}: strace's last line")
        equal(self.daemon.stop(signal.SIGKILL), -signal.SIGKILL, f"{self.point}: exit code")


def tally(lives: Iterable[tuple[Point, bool]]) -> str:
    """How many ended where, for people."""
    came = Counter((point.call, died) for point, died in lives)
    calls = sorted({call for call, _ in came})
    return ", ".join(f"{call} {came[call, True]} of {came[call, True] + came[call, False]}" for call in calls)
