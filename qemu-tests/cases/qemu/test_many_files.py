# SPDX-License-Identifier: GPL-2.0
"""Trees of 10,000 files, to an empty client that comes late, and back: names and contents are the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import accel, artifacts, replicas, small_replicas, verdict
from harness.qemu import empty_ext4
from harness.schedule import Job, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 is not replicated")

DISK_MIB, MEMORY_MB = 512, 512
LIMIT, STEP_LIMIT = 400, 150


@dataclass(frozen=True)
class ManyFiles(Job):
    """A server and a client, on disks that hold nothing."""

    def run(self, directory: Path) -> Outcome:
        halves = {}
        for role in replicas.ROLES:
            (directory / role).mkdir()
            halves[role] = small_replicas.Half(
                [empty_ext4(directory / role / "work.ext4", DISK_MIB)],
                {"IZO_LIMIT": str(round(STEP_LIMIT * accel.time_scale()))})
        ended = small_replicas.run_pair(directory, "many-files.sh", halves, limit=LIMIT, programs={},
                                        memory_mb=MEMORY_MB)
        together = verdict.Verdict(done=True)
        for role, end in ended.items():
            together.add(role, end.verdict)
        return Outcome(self, directory, "\n".join(end.run.console for end in ended.values()), together,
                       max(end.run.seconds for end in ended.values()))


MANY_FILES = ManyFiles("many-files", cores=2)


@boots(MANY_FILES)
def test_an_empty_client_gets_them_all(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    outcome.require("client: the server's tree is here")


@boots(MANY_FILES)
def test_a_server_gets_as_many_of_its_client(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    outcome.require("server: the client's tree is here")
