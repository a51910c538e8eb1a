# SPDX-License-Identifier: GPL-2.0
"""docs/quickstart.md on two hosts, literally: each types its own lines, and a change of each comes across."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import accel, artifacts, small_replicas, verdict
from harness.schedule import Job, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 is not replicated")

PAGE = artifacts.REPO / "docs/quickstart.md"
HEADING = "Server and client"
TREES = {"server": "/exports/server", "client": "/imports/server"}
# What only stands for what a reader has.
EXAMPLES = {"/dev/sdb1": "/dev/vda", "server-hostname": "10.7.7.1"}
# This machine's, instead of BusyBox's.
PROGRAMS = ("mke2fs", "mount")
DISK_MIB = (64, 1024)
LIMIT, STEP_LIMIT = 240, 60


def lines_of(role: str) -> list[str]:
    """What the page lets this side type: what names its tree, or the server's disk."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {HEADING}\n")[1].split("\n## ")[0]
    typed = re.findall(r"^ {4,}(\S.*)$", section, re.MULTILINE)
    is_clients = [TREES["client"] in line for line in typed]
    mine = [line for line, clients in zip(typed, is_clients) if clients == (role == "client")]
    for example, here in EXAMPLES.items():
        mine = [line.replace(example, here) for line in mine]
    return mine


def program(name: str) -> Path:
    """Where this machine has it."""
    found = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not found:
        raise artifacts.BuildError(f"{name} is missing: run make deps")
    return Path(found)


@dataclass(frozen=True)
class TwoHosts(Job):
    """A server with an empty disk of so many MiB, and a client with a cache in memory."""

    disk_mib: int = DISK_MIB[0]

    def run(self, directory: Path) -> Outcome:
        disk = directory / "server.disk"
        with disk.open("wb") as file:
            file.truncate(self.disk_mib << 20)
        limit = str(round(STEP_LIMIT * accel.time_scale()))
        halves = {role: small_replicas.Half(
            [disk] if role == "server" else [],
            {"IZO_LINES": "\n".join(lines_of(role)), "IZO_TREE": tree, "IZO_LIMIT": limit})
                  for role, tree in TREES.items()}
        ended = small_replicas.run_pair(directory, "quickstart.sh", halves, limit=LIMIT,
                                        programs={name: program(name) for name in PROGRAMS})
        together = verdict.Verdict(done=True)
        for role, end in ended.items():
            together.add(role, end.verdict)
        return Outcome(self, directory, "\n".join(end.run.console for end in ended.values()), together,
                       max(end.run.seconds for end in ended.values()))


TWO_HOSTS = [TwoHosts(f"quick-start-on-two-hosts-{mib}-MiB", cores=2, disk_mib=mib) for mib in DISK_MIB]


@boots(*TWO_HOSTS)
def test_each_line_does_what_the_page_says(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    assert not outcome.verdict.failures(), outcome.explain()
    for role, count in (("server", 5), ("client", 4)):
        typed = lines_of(role)
        assert len(typed) == count, typed
        for line in typed:
            outcome.require(f"{role}: typed {line}")
        outcome.require(f"{role}: the server's file is here")
        outcome.require(f"{role}: the client's directory is here")
