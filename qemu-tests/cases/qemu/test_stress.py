# SPDX-License-Identifier: GPL-2.0
"""Several processes on two processors work on one InterMezzo mount; nothing gets lost or damaged."""

from __future__ import annotations

from pathlib import Path

from harness import artifacts, debian, guest_script, tiny
from harness.qemu import Disk, Machine, empty_ext4
from harness.schedule import Boot, Outcome, boots

SECONDS = 20
PROGRAM = Path(__file__).with_name("stress.c")


def _machine(directory: Path, nonce: str) -> Machine:
    disk = Disk(empty_ext4(directory / "work.ext4", 256))
    options = "rw" if artifacts.root_type() == "ext4" else "rw,fileset=rootset,mtp=/mnt"
    script = guest_script.text("stress.sh", IZO_TYPE=artifacts.root_type(), IZO_OPTIONS=options,
                               IZO_SECONDS=str(SECONDS))
    return tiny.tiny(directory, nonce, script, disks=[disk], cores=2, limit=SECONDS * 4 + 60,
                     files={"bin/stress": tiny.compiled(PROGRAM)})


STRESS = Boot("stress-two-processors", _machine, cores=2)


@boots(STRESS)
def test_two_processors_meet_no_kernel_trouble(outcome: Outcome) -> None:
    outcome.require_no_trouble()


@boots(STRESS)
def test_every_process_reads_what_it_wrote(outcome: Outcome) -> None:
    outcome.require("the disk is mounted")
    outcome.require("no process met a wrong answer")
    assert int(outcome.fact("operations")) > 1000


@boots(STRESS)
def test_tree_is_the_same_through_plain_ext4_afterwards(outcome: Outcome) -> None:
    outcome.require("the disk is unmounted")
    outcome.require("the tree is the same through ext4")
    assert int(outcome.fact("objects")) > 50


@boots(STRESS)
def test_disk_passes_fsck_and_needs_no_recovery(outcome: Outcome) -> None:
    disk = outcome.directory / "work.ext4"
    assert not debian.needs_recovery(disk)
    assert debian.fsck(disk) == ""
