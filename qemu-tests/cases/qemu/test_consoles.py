# SPDX-License-Identifier: GPL-2.0
"""make demo-shell: both guests come up, their root shells are reached from other terminals, and what is typed
on one travels to the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from harness import accel, artifacts, replicas, verdict
from harness.schedule import Job, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 is not replicated")

PROGRAM = artifacts.REPO / "qemu-tests" / "demo-shell"
# Seconds for one step, a boot among them, on the reference machine.
LIMIT, LOOK_EVERY = 200, 0.05
# What is typed on which console, and what is on a line of its own then; one word for all that a boot says.
PROMPT = "root@"
STEPS = (("server", "", PROMPT), ("client", "", PROMPT),
         ("server", "findmnt -no FSTYPE /", "\nintermezzo"),
         ("client", "findmnt -no FSTYPE /", "\nintermezzo"),
         ("server", "echo over the net > /srv/typed", PROMPT),
         ("client", "until test -s /srv/typed; do sleep .2; done; cat /srv/typed", "\nover the net"),
         ("client", "poweroff", "Power down"), ("server", "poweroff", "Power down"))


class Terminal:
    """One with `demo-shell ROLE`."""

    def __init__(self, role: str, directory: Path, environment: dict[str, str]) -> None:
        self.file = directory / f"{role}.terminal"
        with self.file.open("wb") as out:
            self.process = subprocess.Popen([PROGRAM, role], stdin=subprocess.PIPE, stdout=out,
                                            stderr=subprocess.STDOUT, env=environment)

    def shown(self) -> str:
        """All that it has shown so far."""
        return self.file.read_text(errors="replace").replace("\r", "")

    def type(self, line: str, word: str, seconds: float) -> bool:
        """Whether the word is shown behind it in that time."""
        before, end = len(self.shown()), time.monotonic() + seconds
        if line:
            assert self.process.stdin
            self.process.stdin.write(f"{line}\r".encode())
            self.process.stdin.flush()
        while word not in self.shown()[before if line else 0:]:
            if time.monotonic() > end or self.process.poll() is not None:
                return False
            threading.Event().wait(LOOK_EVERY)
        return True


@contextlib.contextmanager
def pair(directory: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`make demo-shell`, ended in the end by Ctrl-C if need be."""
    with (directory / "pair").open("wb") as out:
        process = subprocess.Popen([PROGRAM], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@dataclass(frozen=True)
class Consoles(Job):
    """Both guests, and a terminal for each."""

    def run(self, directory: Path) -> Outcome:
        began, limit = time.monotonic(), LIMIT * accel.time_scale()
        environment = {**os.environ, "IZO_CONSOLES": str(directory)}
        judged = verdict.Verdict(done=True)
        terminals: dict[str, Terminal] = {}
        with pair(directory, environment) as process:
            while "two replicas boot" not in (directory / "pair").read_text() and process.poll() is None:
                if time.monotonic() - began > limit:
                    process.send_signal(signal.SIGINT)
                threading.Event().wait(LOOK_EVERY)
            for role in replicas.ROLES:
                terminals[role] = Terminal(role, directory, environment)
            for role, line, word in STEPS:
                found = terminals[role].type(line, word, limit)
                judged.checks.append(verdict.Check(f"{role}: {line or 'a prompt'}", found,
                                                   terminals[role].shown()[-300:]))
                if not found:
                    judged.problems.append(f"{role}: no {word!r} behind {line!r}")
                    break
            else:
                judged.facts["exit code"] = str(process.wait(limit))
        shown = "\n".join(terminal.shown() for terminal in terminals.values())
        return Outcome(self, directory, shown, judged, time.monotonic() - began)


CONSOLES = Consoles("two-consoles", cores=2)


@boots(CONSOLES)
def test_what_is_typed_on_one_console_travels_to_the_other(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    for role, line, _ in STEPS:
        outcome.require(f"{role}: {line or 'a prompt'}")


@boots(CONSOLES)
def test_it_ends_when_both_have_powered_off(outcome: Outcome) -> None:
    assert outcome.fact("exit code") == "0", (outcome.directory / "pair").read_text()
