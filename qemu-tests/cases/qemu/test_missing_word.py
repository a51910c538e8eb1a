# SPDX-License-Identifier: GPL-2.0
"""A root whose fstab line lacks fileset= or mtp= stays read-only, and the kernel names the word."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import artifacts, debian, guest_script
from harness.qemu import Machine
from harness.schedule import Boot, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="ext4 knows none of these words")

# logind cannot work on a read-only root and is restarted five times, which takes long.
WITHOUT_LOGIND = "systemd.mask=systemd-logind.service"


def _boot(missing: str, fstab_words: str) -> Boot:
    def machine(directory: Path, nonce: str) -> Machine:
        script = guest_script.text("word-missing.sh", IZO_WORD=missing)
        return debian.debian(directory, nonce, script, fstab_words=fstab_words, words=WITHOUT_LOGIND)

    return Boot(f"debian-without-{missing}", machine)


WITHOUT_MTP = _boot("mtp", "fileset=rootset")
WITHOUT_FILESET = _boot("fileset", "mtp=/")


@boots(WITHOUT_MTP, WITHOUT_FILESET)
def test_boots_degraded_and_powers_off_without_kernel_trouble(outcome: Outcome) -> None:
    outcome.require_no_trouble()


@boots(WITHOUT_MTP, WITHOUT_FILESET)
def test_remount_is_refused_and_the_kernel_log_names_the_word(outcome: Outcome) -> None:
    outcome.require("systemd-remount-fs failed")
    outcome.require("the kernel log names the missing word")


@boots(WITHOUT_MTP, WITHOUT_FILESET)
def test_root_stays_read_only(outcome: Outcome) -> None:
    outcome.require("the root stays read-only")
    outcome.require("writing still says read-only")
    outcome.require("mount without words is refused as well")


@boots(WITHOUT_MTP, WITHOUT_FILESET)
def test_both_words_by_hand_repair_it(outcome: Outcome) -> None:
    outcome.require("both words by hand make it read-write")
    outcome.require("the root is read-write then")
    outcome.require("a file can be written then")
    outcome.require("the file can be removed")


@boots(WITHOUT_MTP, WITHOUT_FILESET)
def test_disk_is_clean_afterwards(outcome: Outcome) -> None:
    disk = outcome.directory / "root.ext4"
    assert not debian.needs_recovery(disk)
    assert debian.fsck(disk) == ""
