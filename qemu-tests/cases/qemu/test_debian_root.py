# SPDX-License-Identifier: GPL-2.0
"""A real Debian 13 root boots on InterMezzo: mounted by the kernel itself and from the BusyBox initramfs."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from guest.kml import Log, Record
from guest.replay import ROOT_LOCALS
from harness import artifacts, cache_state, debian, guest_script
from harness.qemu import Machine, copy_sparse
from harness.schedule import Boot, Outcome, boots

logged = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 has no log")
# Files of the sample package.
PACKAGE = ("usr/bin/izo-sample", "usr/share/izo-sample/data", "usr/share/izo-sample/same-data")
# The block of the journal that cannot be written: further than it comes before that is wanted.
BAD_BLOCK = 4000


def _script(root_type: str) -> str:
    return guest_script.text("root-states.sh", "debian-root.sh", IZO_TYPE=root_type)


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


def _log_ends(directory: Path, nonce: str) -> Machine:
    """The root is on the second disk, after that with the script."""
    machine = debian.debian(directory, nonce, guest_script.text("log-ends.sh"), device="/dev/vdb")
    root = directory / "root.ext4"
    debian.write_into(root, "/etc/fstab", f"/dev/vdb / intermezzo {debian.FSTAB_WORDS} 0 1\n")
    return debian.failing_when_written(machine, debian.sector_of_journal(root, BAD_BLOCK))


@dataclass(frozen=True)
class Seen:
    """What is on a root that no guest uses any more: its log, and the package."""

    records: list[Record]
    overflow: bool
    package: list[str]
    data_is_one_file: bool

    def names(self, op: str) -> list[bytes]:
        """What an operation was done to, in the log's order."""
        return [record.place.name for record in self.records if record.op == op and record.place]


def _look(tree: Path) -> Seen:
    log = Log.of_cache(str(tree / ".intermezzo" / cache_state.FILESET))
    files = [tree / name for name in PACKAGE if (tree / name).is_file()]
    inodes = {file.stat().st_ino for file in files if file.name in ("data", "same-data")}
    return Seen(list(log.records()), log.overflow, [str(file.relative_to(tree)) for file in files],
                len(inodes) == 1)


KERNEL_MOUNTED = Boot("debian-mounted-by-kernel", _kernel_mounted)
FROM_INITRAMFS = Boot("debian-from-initramfs", _from_initramfs)
OLD_SPELLING = Boot("debian-old-spelling", _old_spelling)
WORDS_AT_BOOT = Boot("debian-words-at-boot", _words_at_boot)
LOG_ENDS = Boot("debian-log-ends", _log_ends,
                allow=("Aborting journal on device", "JBD2: I/O error",
                       "EXT4-fs error .*Detected aborted journal"))

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
                  "purge leaves exactly the earlier tree", "purge leaves exactly the earlier packages",
                  "dpkg installs the package again", "the package installed again is whole"):
        outcome.require(check)
    assert int(outcome.fact("files compared")) > 2000


@boots(*READ_ONLY_FIRST)
def test_shutdown_with_open_files_leaves_a_clean_disk(outcome: Outcome) -> None:
    outcome.require("a process is left holding files")
    assert not debian.needs_recovery(outcome.directory / "root.ext4")
    assert debian.fsck(outcome.directory / "root.ext4") == ""


@logged
@boots(KERNEL_MOUNTED)
def test_whole_run_replays_from_the_log(outcome: Outcome) -> None:
    """Boot, dpkg install, remove, purge and install, shutdown: the tree before plus the log is the tree now
    (I1), and the package is in it."""
    baseline = cache_state.Baseline.of(outcome.directory / "before.ext4", ROOT_LOCALS)
    finding = cache_state.examine(outcome.directory / "root.ext4", baseline)
    print("".join(f"| {kind} | {count} | {mean:.0f} |\n" for kind, count, mean in finding.sizes())
          + f"| all | {finding.records} | {sum(finding.bytes.values()) / max(finding.records, 1):.0f} |")
    assert finding.sound, f"{finding}\n{outcome.explain()}"
    assert not finding.overflow and not finding.listed
    assert finding.counts["create"] > 30 and finding.counts["unlink"] > 30, finding.counts
    seen = cache_state.seen(outcome.directory / "root.ext4", _look)
    assert seen.package == list(PACKAGE) and seen.data_is_one_file, seen.package
    # what the guest is asked for of a log that has ended: that this is not in it
    assert b"izo-sample.dpkg-new" in seen.names("create")


@logged
@boots(*READ_ONLY_FIRST)
def test_izoctl_prints_the_log_of_the_root(outcome: Outcome) -> None:
    """What it prints on the running root, dpkg's work among it, is how the log on the disk begins."""
    for check in ("izoctl says that the root is well", "izoctl prints the log"):
        outcome.require(check)
    seen = cache_state.seen(outcome.directory / "root.ext4", _look)
    seen.records[int(outcome.fact("records printed")):] = []
    lines = [f"{record.recno} {record.offset} {record.length} {record.op}" for record in seen.records]
    assert b"izo-sample" in seen.names("unlink"), "the printed part ends before dpkg's work"
    assert outcome.fact("last record printed") == lines[-1]
    assert outcome.fact("sum of the records printed").split()[0] == _sum_of(lines)


def _sum_of(lines: list[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


@logged
@boots(LOG_ENDS)
def test_root_that_was_full_goes_on(outcome: Outcome) -> None:
    """No room for anything: files can be removed, which is logged, and all is well again."""
    for check in ("the root is full", "a tree can be removed from a full root", "room can be made on it",
                  "the system runs on a root that was full", "its log goes on"):
        outcome.require(check)


@logged
@boots(LOG_ENDS)
def test_root_without_a_log_goes_on(outcome: Outcome) -> None:
    """no_journal ends the log of a root in use: one line says so, and izoctl; no caller notices."""
    for check in ("dpkg installs a package without a log", "the program runs",
                  "the system runs without a log", "the kernel says that the log ends",
                  "the log's end is one line", "izoctl says that the log overflowed"):
        outcome.require(check)
    seen = cache_state.seen(_repaired(outcome), _look)
    assert b"filler" in seen.names("unlink"), "what was removed from the full root is not in the log"
    assert seen.overflow and b"izo-sample.dpkg-new" not in seen.names("create"), "the log did not end"
    assert seen.package == list(PACKAGE), seen.package


@logged
@boots(LOG_ENDS)
def test_root_whose_journal_failed_can_be_read(outcome: Outcome) -> None:
    """The disk refuses a block of the journal: a change says read-only, one line says why, what is there can
    be read, and the guest powers off."""
    for check in ("a change says read-only", "the kernel says that the journal failed",
                  "the failure is one line", "a directory is listed", "a file is read",
                  "izoctl says that the log failed"):
        outcome.require(check)
    outcome.require_no_trouble()
    assert debian.fsck(_repaired(outcome)) == ""


def _repaired(outcome: Outcome) -> Path:
    """The disk whose journal failed, once e2fsck has been there."""
    disk = outcome.directory / "root.ext4"
    run = subprocess.run(["e2fsck", "-f", "-p", disk], capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return disk


@boots(WORDS_AT_BOOT)
def test_words_in_rootflags_with_rw_need_no_remount(outcome: Outcome) -> None:
    outcome.require("the root is read-write from the start")
    outcome.require("the remount changed nothing")
    assert not debian.needs_recovery(outcome.directory / "root.ext4")
    assert debian.fsck(outcome.directory / "root.ext4") == ""
