# SPDX-License-Identifier: GPL-2.0
"""Sixteen processes on two processors change all they can while they are killed, frozen and starved; every
change that was made is in the log, once, and nothing else is.

Environment: IZO_STORM_SECONDS= length of the disturbed part, IZO_STORM_SEED=; IZO_LOCKDEP=1: the kernel has
lockdep, which must be on to the end. `make storm` brings such a kernel, and has ten minutes of it.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from harness import artifacts, cache_state, guest_script, tiny
from harness.cache_state import Baseline, Finding
from harness.qemu import Disk, Machine, copy_sparse, empty_ext4
from harness.schedule import Boot, Outcome, boots

# With the two without space, a minute.
SECONDS = int(os.environ.get("IZO_STORM_SECONDS") or 48)
FULL_SECONDS = 6
LOCKDEP = os.environ.get("IZO_LOCKDEP") == "1"
SEED = int(os.environ.get("IZO_STORM_SEED") or 1)
MEMORY_MB = 256
OBJECTS = 300
INODES = 4096
# The log gets an eighth of its disk and is not trimmed here. Where there is no room for another of its
# segments, those made before must last, and they are large on a large disk. The images are sparse.
MEGABYTES = 8192
DISKS = {"disturbed": {}, "full": {"free_mb": 48}, "no-inodes": {"free_inodes": 64}}
KINDS = ("CREATE", "MKDIR", "MKNOD", "SYMLINK", "LINK", "UNLINK", "RMDIR", "RENAME", "SETATTR", "SETXATTR",
         "REMOVEXATTR")
WRITER = Path(__file__).with_name("log_writer.c")


def _before(image: Path) -> Path:
    return image.with_suffix(".before.ext4")


def _machine(directory: Path, nonce: str) -> Machine:
    writer = tiny.compiled(WRITER)
    disks = []
    for name, free in DISKS.items():
        image = empty_ext4(directory / f"{name}.ext4", MEGABYTES, "-m", "0", "-N", str(INODES))
        cache_state.populate(image, writer, SEED, OBJECTS, **free)
        copy_sparse(image, _before(image))
        disks.append(Disk(image))
    options = "rw" if artifacts.root_type() == "ext4" else "rw,fileset=rootset,mtp=/mnt"
    script = guest_script.text("log-storm.sh", IZO_TYPE=artifacts.root_type(), IZO_OPTIONS=options,
                               IZO_SECONDS=str(SECONDS), IZO_FULL_SECONDS=str(FULL_SECONDS),
                               IZO_SEED=str(SEED))
    machine = tiny.tiny(directory, nonce, script, disks=disks, cores=2, limit=SECONDS * 3 + 120,
                        files={"bin/log_writer": writer})
    return dataclasses.replace(machine, memory_mb=MEMORY_MB)


STORM = Boot("log-storm", _machine, cores=2)


def _counted(outcome: Outcome, disk: str, kind: str) -> range:
    """How many records of a kind there may be: calls that were made, and those that may have been."""
    done, doubtful = map(int, outcome.fact(f"{disk} {kind}").split())
    return range(done, done + doubtful + 1)


def _lost_or_made_up(outcome: Outcome, disk: str, finding: Finding) -> list[str]:
    wrong = []
    for kind in KINDS:
        made, logged = _counted(outcome, disk, kind), finding.counts.get(kind.lower(), 0)
        if logged not in made:
            wrong.append(f"{disk}: {logged} records of {kind}, but {made[0]} to {made[-1]} changes were made")
    return wrong


@boots(STORM)
def test_storm_meets_no_kernel_trouble(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    if LOCKDEP or "lockdep is still on" in (check.name for check in outcome.verdict.checks):
        outcome.require("lockdep is still on")


@boots(STORM)
@pytest.mark.parametrize("disk", DISKS)
def test_calls_of_a_storm_give_right_answers(outcome: Outcome, disk: str) -> None:
    for check in (f"{disk} is mounted", f"no process met a wrong answer on {disk}", f"{disk} is unmounted"):
        outcome.require(check)
    done = sum(_counted(outcome, disk, kind)[0] for kind in KINDS)
    no_space = int(outcome.fact(f"{disk} no-space"))
    print(f"{disk}: {done} changes, {no_space} times no space")
    assert done > 1000
    if disk == "disturbed":
        assert int(outcome.fact("freezes")) > SECONDS / 4
        assert int(outcome.fact("hogs")) > 0
        assert int(outcome.fact("disturbed killed")) > SECONDS
    else:
        assert no_space > 100


@boots(STORM)
@pytest.mark.parametrize("disk", DISKS)
def test_log_of_a_storm_has_every_change_once(outcome: Outcome, disk: str) -> None:
    image = outcome.directory / f"{disk}.ext4"
    finding = cache_state.examine(image, Baseline.of(_before(image)))
    print(f"{disk}: {finding.records} records, {finding.counts}")
    assert finding.sound, f"{disk}: {finding}\n{outcome.explain()}"
    if artifacts.root_type() == "ext4":
        return
    assert not finding.overflow, f"{disk}: the log overflowed: give the disk more room"
    wrong = _lost_or_made_up(outcome, disk, finding)
    assert not wrong, "\n".join([*wrong, outcome.explain()])
    # A CLOSE is not counted by the writer: how many changes of a body one ends is the kernel's affair.
    assert not finding.kinds_missing(), f"{disk}: no record of {finding.kinds_missing()}"
