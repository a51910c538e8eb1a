# SPDX-License-Identifier: GPL-2.0
"""The daemon intersync in a guest: started, watched, stopped and killed; and when two trees are the same."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

from guest.expect import equal
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


def lines_with(daemon: Intersync, word: str, since: int = 0) -> list[str]:
    """What it said, after so many characters."""
    return [line for line in daemon.said()[since:].splitlines() if word in line]


def conflicts(root: str) -> list[str]:
    """The paths that `izoctl conflicts` lists, or what it complains of."""
    done = subprocess.run([f"{os.environ['IZO_TOOLS']}/src/tools/izoctl", "conflicts", "--json", root],
                          capture_output=True, text=True, check=False)
    found = sorted(json.loads(line)["path"] for line in done.stdout.splitlines())
    is_right = (done.returncode, done.stderr) == (3 if found else 0, "")
    return found if is_right else [f"exit code {done.returncode}: {done.stderr}"]


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


class Pair:
    """A server's mount and a client's, and their daemons."""

    def __init__(self, server: Intersync, client: Intersync) -> None:
        self.server, self.client = server, client
        self.server_root, self.client_root = self.roots = server.words[-1], client.words[-1]

    def sides(self, server_first: bool) -> tuple[Intersync, Intersync]:
        """Both, in this order or the other."""
        return (self.server, self.client) if server_first else (self.client, self.server)

    def converge(self, directory_times: bool = True, seconds: float = CONVERGE) -> float:
        """Until both have the same."""
        return converge(*self.roots, self.server, self.client, seconds=seconds,
                        directory_times=directory_times)

    def stop(self) -> None:
        """Those who run, as a service manager does."""
        alive = [daemon for daemon in (self.client, self.server) if daemon.process]
        equal([daemon.stop() for daemon in alive], [0] * len(alive), "exit codes after SIGTERM")


@contextlib.contextmanager
def running(server_root: str, client_root: str, server_at: str = "127.0.0.1") -> Iterator[Pair]:
    """The daemons of two mounts, until the end."""
    loopback_up()
    with Intersync(server_root) as server, Intersync(client_root, server=server_at) as client:
        both = Pair(server, client)
        yield both
        both.stop()
