# SPDX-License-Identifier: GPL-2.0
"""Memory reclaim forgets the cache's names of a directory in use; renames and the unmount stay right."""

from __future__ import annotations

from pathlib import Path

from harness import artifacts, debian, guest_script, tiny
from harness.qemu import Disk, Machine, empty_ext4
from harness.schedule import Boot, Outcome, boots


def _machine(directory: Path, nonce: str) -> Machine:
    options = "rw" if artifacts.root_type() == "ext4" else "rw,fileset=rootset,mtp=/mnt"
    script = guest_script.text("forgotten-names.sh", IZO_TYPE=artifacts.root_type(), IZO_OPTIONS=options)
    return tiny.tiny(directory, nonce, script, disks=[Disk(empty_ext4(directory / "work.ext4", 64))])


FORGOTTEN = Boot("forgotten-names", _machine)


@boots(FORGOTTEN)
def test_names_move_into_and_out_of_a_directory_in_use(outcome: Outcome) -> None:
    for check in ("a file moves into the directory in use", "a file moves out of it",
                  "a directory moves out of it", "a directory moves into it", "the moved file reads back"):
        outcome.require(check)


@boots(FORGOTTEN)
def test_unmount_leaves_no_busy_inodes(outcome: Outcome) -> None:
    outcome.require("the disk is unmounted")
    outcome.require_no_trouble()


@boots(FORGOTTEN)
def test_disk_is_clean_afterwards(outcome: Outcome) -> None:
    assert debian.fsck(outcome.directory / "work.ext4") == ""
