# SPDX-License-Identifier: GPL-2.0
"""Boots what the collected cases need, side by side, and gives each test the outcome of its guest.

Environment: V=1 shows consoles live, KEEP=1 keeps every run with its disks.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from harness import accel, artifacts
from harness.schedule import Job, Outcome, Scheduler

SCHEDULER = pytest.StashKey[Scheduler]()
OUTCOME = pytest.StashKey[Outcome]()
FAILED_RUNS_KEPT = 5


def _run_directory() -> Path:
    """A fresh folder for this session's logs; `last` points to it, and old ones go."""
    runs = artifacts.cache_dir() / "runs"
    runs.mkdir(exist_ok=True)
    old = sorted(path for path in runs.iterdir() if path.is_dir() and not path.is_symlink())
    for path in old[:-FAILED_RUNS_KEPT]:
        shutil.rmtree(path)
    directory = runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    directory.mkdir()
    last = runs / "last"
    last.unlink(missing_ok=True)
    last.symlink_to(directory.name)
    return directory


def _boots_of(items: list[pytest.Item]) -> list[Job]:
    """The boots that the selected tests look at, in their order."""
    found: dict[str, Job] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        boot = callspec.params.get("outcome") if callspec else None
        if isinstance(boot, Job):
            found.setdefault(boot.name, boot)
    return list(found.values())


def pytest_collection_finish(session: pytest.Session) -> None:
    boots = _boots_of(session.items)
    if not boots or session.config.option.collectonly:
        return
    try:
        artifacts.kernel("qemu")
        artifacts.busybox_initramfs()
        artifacts.debian_root()
        artifacts.intersync()
        scale = accel.time_scale()
    except (artifacts.BuildError, accel.ProbeError) as error:
        pytest.exit(str(error), returncode=3)
    print(f"\n{len(boots)} guests under {accel.accelerator()}, deadlines x {scale:.1f}", file=sys.__stderr__)
    scheduler = Scheduler(_run_directory())
    session.config.stash[SCHEDULER] = scheduler
    for boot in boots:
        scheduler.submit(boot)


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """The finished guest that the test was parametrized with (see harness.schedule.boots)."""
    result = request.config.stash[SCHEDULER].outcome(request.param)
    request.node.stash[OUTCOME] = result
    return result


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = (yield).get_result()
    if report.failed and OUTCOME in item.stash:
        item.stash[OUTCOME].failed = True


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if SCHEDULER not in config.stash:
        return
    scheduler = config.stash[SCHEDULER]
    for name, seconds in scheduler.times():
        terminalreporter.write_line(f"guest {name}: {seconds:.1f} s")
    for directory in scheduler.close(keep_all=os.environ.get("KEEP") == "1"):
        terminalreporter.write_line(f"kept: {directory}")
