# SPDX-License-Identifier: GPL-2.0
"""demo-shell's consoles, with a socket in the place of a guest."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import select
import socket
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Iterator

import pytest

PROGRAM = Path(__file__).parents[2] / "demo-shell"
SECONDS = 20


@pytest.fixture
def demo_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "intermezzo").mkdir()
    loader = importlib.machinery.SourceFileLoader("demo_shell", str(PROGRAM))
    spec = importlib.util.spec_from_loader("demo_shell", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def guest(demo_shell: ModuleType) -> Iterator[socket.socket]:
    """The server's end of its console, which the host reads."""
    ours, guests = socket.socketpair()
    demo_shell.Console("server", ours)
    with guests:
        guests.settimeout(SECONDS)
        yield guests


class Terminal:
    """A terminal with `demo-shell server`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([PROGRAM, "server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def type(self, keys: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def shown(self, length: int) -> bytes:
        """Its next bytes."""
        assert self.process.stdout
        text = b""
        while len(text) < length and select.select([self.process.stdout], [], [], SECONDS)[0]:
            data = os.read(self.process.stdout.fileno(), length - len(text))
            if not data:
                break
            text += data
        return text

    def code(self) -> int:
        return self.process.wait(SECONDS)


def test_who_comes_late_is_shown_what_was_said_and_types_to_the_guest(guest: socket.socket) -> None:
    guest.sendall(b"login: ")
    terminal = Terminal()
    assert guest.recv(64) == b"\r", "for a new prompt"
    assert terminal.shown(7) == b"login: "
    terminal.type(b"poweroff\r")
    assert guest.recv(64) == b"poweroff\r"
    guest.sendall(b"bye")
    assert terminal.shown(3) == b"bye"
    terminal.type(b"\x1d")
    assert terminal.code() == 0


def test_a_terminal_that_leaves_leaves_the_guest_to_the_next(guest: socket.socket) -> None:
    first = Terminal()
    assert guest.recv(64) == b"\r"
    first.type(b"\x1d")
    assert first.code() == 0
    guest.sendall(b"meanwhile")
    second = Terminal()
    assert guest.recv(64) == b"\r"
    assert second.shown(9) == b"meanwhile"
    second.type(b"\x1d")
    assert second.code() == 0


def test_a_second_terminal_takes_over(guest: socket.socket) -> None:
    first = Terminal()
    assert guest.recv(64) == b"\r"
    second = Terminal()
    assert guest.recv(64) == b"\r"
    assert first.code() == 0
    guest.sendall(b"to the second")
    assert second.shown(13) == b"to the second"
    second.type(b"\x1d")
    assert second.code() == 0


def test_without_a_guest_the_terminal_is_told_how_to_start_one(demo_shell: ModuleType) -> None:
    run = subprocess.run([PROGRAM, "server"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == "demo-shell: no server runs; start both with `make demo-shell` in another terminal\n"
    assert demo_shell.path_of("server").parent.is_dir()


def test_a_second_pair_is_refused(demo_shell: ModuleType) -> None:
    with demo_shell.only_pair():
        run = subprocess.run([PROGRAM], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert run.returncode == 1
    assert "a pair runs already" in run.stderr
