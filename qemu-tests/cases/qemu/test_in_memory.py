# SPDX-License-Identifier: GPL-2.0
"""vintermezzo over tmpfs in a guest without a disk, with overlayfs on top."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import artifacts, guest_script, tiny
from harness.qemu import Machine
from harness.schedule import Boot, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="needs a kernel with vintermezzo")


def _machine(directory: Path, nonce: str) -> Machine:
    return tiny.tiny(directory, nonce, guest_script.text("in-memory.sh"))


IN_MEMORY = Boot("vintermezzo-in-memory", _machine)


@boots(IN_MEMORY)
def test_mounting_in_memory_meets_no_kernel_trouble(outcome: Outcome) -> None:
    outcome.require_no_trouble()


@boots(IN_MEMORY)
def test_vintermezzo_needs_no_device(outcome: Outcome) -> None:
    for check in ("vintermezzo is mounted", "mountinfo shows the type", "a file reads back",
                  "vintermezzo is unmounted"):
        outcome.require(check)


@boots(IN_MEMORY)
def test_overlayfs_works_on_top(outcome: Outcome) -> None:
    for check in ("overlayfs is mounted on top", "overlayfs copies a changed file up", "the lower file stays",
                  "overlayfs leaves a whiteout", "overlayfs is unmounted"):
        outcome.require(check)
