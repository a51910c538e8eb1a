# SPDX-License-Identifier: GPL-2.0
"""Boots guests side by side, as many as there are processors, and lets tests wait for the outcomes.

A test module describes its guests as Boot objects, or as jobs of its own where some run together; many tests
look at the outcome of one.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import pytest

from harness import verdict
from harness.qemu import Guest, Machine, drop_disks

CONSOLE_LINES_SHOWN = 40


@dataclass(frozen=True)
class Job:
    """What tests refer to: a guest, or some together, with so many virtual processors in all."""

    name: str
    cores: int = field(default=1, kw_only=True)

    def run(self, directory: Path) -> Outcome:
        """Everything it needs and leaves is in the directory."""
        raise NotImplementedError


@dataclass(frozen=True)
class Boot(Job):
    """One guest. `machine(directory, nonce)` puts its disks into the directory.

    `allow` holds patterns of console lines that this boot provokes on purpose.
    """

    machine: Callable[[Path, str], Machine]
    allow: tuple[str, ...] = ()

    def run(self, directory: Path) -> Outcome:
        nonce = verdict.new_nonce()
        run = Guest(self.machine(directory, nonce), directory, self.name).run()
        judged = verdict.judge(run.channel, run.console, nonce, self.allow)
        judged.problems = run.trouble + judged.problems
        return Outcome(self, directory, run.console, judged, run.seconds)


def boots(*which: Job) -> pytest.MarkDecorator:
    """Run the test once for each of these, with its outcome as the fixture `outcome`."""
    return pytest.mark.parametrize("outcome", which, indirect=True, ids=lambda boot: boot.name)


@dataclass
class Outcome:
    """What a job came to. Tests ask it; a failed question shows the reasons and where the logs are."""

    boot: Job
    directory: Path
    console: str
    verdict: verdict.Verdict
    seconds: float
    failed: bool = field(default=False)

    def require(self, name: str) -> None:
        """The guest made the check of this name, and it was ok."""
        check = self.verdict.check(name)
        assert check.ok, f"{name}: {check.detail}\n{self.explain()}"

    def require_no_trouble(self) -> None:
        """The guest ended in time, said all it had to say, and its kernel did not complain."""
        assert not self.verdict.problems, self.explain()

    def fact(self, key: str) -> str:
        assert key in self.verdict.facts, f"the guest did not report {key}\n{self.explain()}"
        return self.verdict.facts[key]

    def explain(self) -> str:
        last = [line for line in self.console.splitlines() if line][-CONSOLE_LINES_SHOWN:]
        return "\n".join([f"guest {self.boot.name}, logs in {self.directory}", *self.verdict.failures(),
                          f"--- last {len(last)} console lines", *last])


class Scheduler:
    """Starts jobs in the order given, never more than `processors` virtual ones at once."""

    def __init__(self, directory: Path, processors: int | None = None) -> None:
        self.directory = directory
        self._processors = processors or os.cpu_count() or 1
        self._free = self._processors
        self._queue: deque[Job] = deque()
        self._turn = threading.Condition()
        self._outcomes: dict[str, Future[Outcome]] = {}

    def submit(self, boot: Job) -> None:
        """Boot it when its turn comes; one already known is not repeated."""
        if boot.name in self._outcomes:
            return
        future: Future[Outcome] = Future()
        self._outcomes[boot.name] = future
        self._queue.append(boot)
        threading.Thread(target=self._serve, args=(boot, future), daemon=True).start()

    def outcome(self, boot: Job) -> Outcome:
        """Wait for it to end."""
        self.submit(boot)
        return self._outcomes[boot.name].result()

    def times(self) -> list[tuple[str, float]]:
        """The name of each finished job and how long its guests ran."""
        done = [future for future in self._outcomes.values() if future.done() and not future.exception()]
        return [(future.result().boot.name, future.result().seconds) for future in done]

    def close(self, keep_all: bool) -> list[Path]:
        """Remove what no failed test needs. The directories kept."""
        kept = []
        for future in self._outcomes.values():
            if not future.done() or future.exception() is not None:
                continue
            outcome = future.result()
            if keep_all or outcome.failed:
                kept.append(outcome.directory)
                if not keep_all:
                    drop_disks(outcome.directory)
            else:
                shutil.rmtree(outcome.directory)
        return kept

    def _serve(self, boot: Job, future: Future[Outcome]) -> None:
        cores = min(boot.cores, self._processors)
        with self._turn:
            self._turn.wait_for(lambda: self._queue[0] is boot and self._free >= cores)
            self._queue.popleft()
            self._free -= cores
            self._turn.notify_all()
        try:
            directory = self.directory / boot.name
            directory.mkdir(parents=True)
            future.set_result(boot.run(directory))
        except BaseException as error:  # handed to the waiting test, whatever it is
            future.set_exception(error)
        finally:
            with self._turn:
                self._free += cores
                self._turn.notify_all()
