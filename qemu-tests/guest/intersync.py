# SPDX-License-Identifier: GPL-2.0
"""The daemon intersync in a guest: started, watched, stopped and killed; and when two trees are the same."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from guest.tree import differences, manifest

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PORT = 7733
CONVERGE = 60.0


def loopback_up() -> None:
    """Let processes of this guest reach each other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def program() -> str:
    """The path of the daemon that was built for this run."""
    return f"{os.environ['IZO_TOOLS']}/src/daemon/intersync"


class Intersync:
    """One daemon. Its words go to a file; a failure shows their end."""

    def __init__(self, mount_point: str, *options: str, server: str = "", ready: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="intersync-", dir="/tmp")
        self.log = Path(self.folder, "words")
        self.words = [program(), "--plain-http", "-debug", "17", f"--state={self.folder}", "--log=none",
                      *options]
        self.words += [f"--server={server}"] if server else ["--listen=127.0.0.1"]
        self.words.append(mount_point)
        self.ready = ready or ("is a client of" if server else "serves fileset")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Once more, after stop() or kill()."""
        before = len(self.said())
        self.start_under()
        self.await_word(self.ready, since=before)

    def start_under(self, *words: str) -> None:
        """By another program, which becomes the daemon in the same process; for nothing is waited."""
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([*words, *self.words], stdout=out, stderr=out)

    def said(self) -> str:
        """All its words."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def await_word(self, word: str, seconds: float = 30, since: int = 0) -> None:
        """Until it has said that, in what it said after so many characters."""
        end = time.monotonic() + seconds
        while word not in self.said()[since:]:
            assert self.process is not None
            code = self.process.poll()
            if code is not None or time.monotonic() > end:
                raise AssertionError(f"{self.words[-1]}: no {word!r}, exit code {code}: "
                                     f"{self.said()[-1500:]}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def __enter__(self) -> Intersync:
        return self

    def __exit__(self, *unused: Any) -> None:
        if self.process is not None:
            self.kill()


def replicated(root: str, directory_times: bool = True) -> dict[str, dict[str, Any]]:
    """All of a tree that must be the same on every replica (I8).

    Without `directory_times` where a client is killed while both change one directory (docs/conflicts.md).
    """
    found = manifest(root, with_times=True)
    for entry in found.values():
        if not directory_times and entry["type"] == "dir":
            entry.pop("mtime")
    # The root is each side's own inode, with .intermezzo in it; lost+found is the cache's.
    found["."].pop("nlink", None)
    found.pop("lost+found", None)
    return found


def touch_directories(root: str) -> None:
    """Change each directory's time: whatever a killed client left different is even behind that."""
    for folder, folders, _ in os.walk(root):
        if folder == root:
            folders[:] = [name for name in folders if name != "lost+found"]
        os.utime(folder)


def converge(one: str, other: str, *daemons: Intersync, seconds: float = CONVERGE,
             directory_times: bool = True) -> float:
    """Wait until two trees are the same; how long that took, in seconds."""
    start = time.monotonic()
    while True:
        try:
            lines = differences(replicated(one, directory_times), replicated(other, directory_times))
        except OSError as error:  # it changes while it is read
            lines = [str(error)]
        if not lines:
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            words = "".join(f"\n--- {d.words[-1]}\n{d.said()[-2500:]}" for d in daemons)
            shown = "; ".join(lines[:8]).encode("utf-8", "backslashreplace").decode()
            raise AssertionError(f"{len(lines)} differences after {seconds:.0f} s: {shown}{words}")
        time.sleep(0.05)
