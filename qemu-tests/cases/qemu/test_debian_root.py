# SPDX-License-Identifier: GPL-2.0
"""A real Debian 13 root boots on InterMezzo: mounted by the kernel itself and from the BusyBox initramfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.replay import ROOT_LOCALS
from harness import artifacts, cache_state, debian, guest_script
from harness.qemu import Machine, copy_sparse
from harness.schedule import Boot, Outcome, boots


def _script(root_type: str) -> str:
    return guest_script.text("debian-root.sh", IZO_TYPE=root_type)


def _kernel_mounted(directory: Path, nonce: str) -> Machine:
    machine = debian.debian(directory, nonce, _script(artifacts.root_type()))
    copy_sparse(directory / "root.ext4", directory / "before.ext4")
    return machine


def _from_initramfs(directory: Path, nonce: str) -> Machine:
    return debian.debian(directory, nonce, _script(artifacts.root_type()),
                         initrds=[artifacts.busybox_initramfs()], device="LABEL=izo-root")


def _old_spelling(directory: Path, nonce: str) -> Machine:
    root_type = "InterMezzo" if artifacts.root_type() == "intermezzo" else artifacts.root_type()
    return debian.debian(directory, nonce, _script(root_type), root_type=root_type)


def _words_at_boot(directory: Path, nonce: str) -> Machine:
    flags = "" if artifacts.root_type() == "ext4" else f"rootflags={debian.FSTAB_WORDS}"
    script = guest_script.text("words-at-boot.sh", IZO_TYPE=artifacts.root_type())
    return debian.debian(directory, nonce, script, words=f"rw {flags}")


KERNEL_MOUNTED = Boot("debian-mounted-by-kernel", _kernel_mounted)
FROM_INITRAMFS = Boot("debian-from-initramfs", _from_initramfs)
OLD_SPELLING = Boot("debian-old-spelling", _old_spelling)
WORDS_AT_BOOT = Boot("debian-words-at-boot", _words_at_boot)

READ_ONLY_FIRST = (KERNEL_MOUNTED, FROM_INITRAMFS, OLD_SPELLING)
ALL = (*READ_ONLY_FIRST, WORDS_AT_BOOT)


@boots(*ALL)
def test_boots_and_powers_off_without_kernel_trouble(outcome: Outcome) -> None:
    outcome.require_no_trouble()


@boots(*ALL)
def test_reaches_multi_user_with_no_failed_unit(outcome: Outcome) -> None:
    outcome.require("no unit failed")
    outcome.require("the system is running")


@boots(*READ_ONLY_FIRST)
def test_root_is_read_only_before_the_remount(outcome: Outcome) -> None:
    outcome.require("the root is read-only before the remount")
    outcome.require("the root has the asked type before the remount")
    outcome.require("a write before the remount says read-only")


@boots(*READ_ONLY_FIRST)
def test_no_filter_is_set_before_the_remount(outcome: Outcome) -> None:
    if artifacts.root_type() != "ext4":
        outcome.require("no_filter is set before the remount")


@boots(*READ_ONLY_FIRST)
def test_fstab_line_makes_the_root_read_write(outcome: Outcome) -> None:
    outcome.require("the root is read-write after the remount")
    outcome.require("the root has the asked type after the remount")
    if artifacts.root_type() != "ext4":
        outcome.require("the mount shows its fileset")
        outcome.require("the mount shows its mount point")
    assert float(outcome.fact("seen read-only")) < float(outcome.fact("read-write"))


@boots(*READ_ONLY_FIRST)
def test_df_findmnt_lsblk_and_stat_find_the_device(outcome: Outcome) -> None:
    for check in ("findmnt finds the root", "findmnt names the device", "df reports sizes",
                  "df names the type", "lsblk shows the root on its disk",
                  "a file is on the device of the disk"):
        outcome.require(check)


@boots(*READ_ONLY_FIRST)
def test_dpkg_installs_removes_and_purges_a_package_without_trace(outcome: Outcome) -> None:
    for check in ("dpkg installs a package", "the installed package is whole", "dpkg removes the package",
                  "removal keeps a changed configuration file", "dpkg purges the package",
                  "purge leaves exactly the earlier tree", "purge leaves exactly the earlier packages"):
        outcome.require(check)
    assert int(outcome.fact("files compared")) > 2000


@boots(*READ_ONLY_FIRST)
def test_shutdown_with_open_files_leaves_a_clean_disk(outcome: Outcome) -> None:
    outcome.require("a process is left holding files")
    assert not debian.needs_recovery(outcome.directory / "root.ext4")
    assert debian.fsck(outcome.directory / "root.ext4") == ""


@pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 has no log")
@boots(KERNEL_MOUNTED)
def test_whole_run_replays_from_the_log(outcome: Outcome) -> None:
    """Boot, dpkg install, remove and purge, shutdown: the tree before plus the log is the tree now (I1)."""
    baseline = cache_state.Baseline.of(outcome.directory / "before.ext4", ROOT_LOCALS)
    finding = cache_state.examine(outcome.directory / "root.ext4", baseline)
    assert finding.sound, f"{finding}\n{outcome.explain()}"
    assert not finding.overflow and not finding.listed
    assert finding.counts["create"] > 30 and finding.counts["unlink"] > 30, finding.counts
    size = sum(finding.bytes.values())
    print(f"{finding.records} records, {size} bytes, {size / finding.records:.0f} each: {finding.counts}")


@boots(WORDS_AT_BOOT)
def test_words_in_rootflags_with_rw_need_no_remount(outcome: Outcome) -> None:
    outcome.require("the root is read-write from the start")
    outcome.require("the remount changed nothing")
    assert not debian.needs_recovery(outcome.directory / "root.ext4")
    assert debian.fsck(outcome.directory / "root.ext4") == ""
