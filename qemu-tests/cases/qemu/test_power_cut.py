# SPDX-License-Identifier: GPL-2.0
"""After a power cut at any point, the tree is the baseline plus the log (I1), and the disk is clean.

All that the guest writes is recorded; disks as power cuts would have left them are made from that and
compared with their logs on the host. A kernel told to log each change in a transaction of its own must fail
this check. Environment: IZO_CUTS= states for each storm, IZO_CUT_SEEDS= numbers of the storms.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

import pytest

from guest.replay import ROOT_LOCALS
from harness import artifacts, cache_state, debian, guest_script, tiny
from harness.blocklog import Recording, recorded
from harness.cache_state import Baseline, Finding
from harness.qemu import Machine, copy_sparse, empty_ext4
from harness.schedule import Boot, Outcome, boots

SECONDS = 10
MEGABYTES = 128
OBJECTS = 400
CUTS = int(os.environ.get("IZO_CUTS") or 50)
SEEDS = [int(word) for word in (os.environ.get("IZO_CUT_SEEDS") or "1").split()]
# The kernel parameter that breaks what this file tests.
SPLIT = "intermezzo.debug=1"
CUTS_TO_NOTICE = 100
# A state of a whole Debian root takes seconds to compare.
DEBIAN_CUTS = 20
DEBIAN_STORM = "srv/storm"
WRITER = Path(__file__).with_name("log_writer.c")


def _script(disk: str, below: str, mount: str, seed: int) -> str:
    return guest_script.text("power-cut.sh", IZO_MOUNT=mount, IZO_DISK=disk, IZO_TREE=f"/{below}",
                             IZO_SECONDS=str(SECONDS), IZO_SEED=str(seed))


def _small_guest(directory: Path, nonce: str, *, seed: int, words: str = "") -> Machine:
    """BusyBox, with the recorded disk on /mnt."""
    writer = tiny.compiled(WRITER)
    image = empty_ext4(directory / "work.ext4", MEGABYTES, "-E", "lazy_itable_init=0")
    cache_state.populate(image, writer, seed, OBJECTS)
    copy_sparse(image, directory / "before.ext4")
    options = "rw" if artifacts.root_type() == "ext4" else "rw,fileset=rootset,mtp=/mnt"
    mount = f"mount -t {artifacts.root_type()} -o {options} /dev/vda /mnt"
    machine = tiny.tiny(directory, nonce, _script("vda", "mnt", mount, seed), cores=2, limit=SECONDS * 3 + 60,
                        words=words, files={"bin/log_writer": writer})
    return recorded(machine, image, directory / "recording.disk")


def _debian_guest(directory: Path, nonce: str) -> Machine:
    """Debian, with its root recorded. It is the second disk, after that with the script."""
    script = _script("vdb", DEBIAN_STORM, "true", seed=1)
    machine = debian.debian(directory, nonce, script, device="/dev/vdb")
    root, *others = machine.disks
    words = "defaults" if artifacts.root_type() == "ext4" else debian.FSTAB_WORDS
    debian.write_into(root.path, "/etc/fstab", f"/dev/vdb / {artifacts.root_type()} {words} 0 1\n")
    cache_state.populate(root.path, tiny.compiled(WRITER), 1, OBJECTS, below=DEBIAN_STORM,
                         install="usr/bin/log_writer")
    copy_sparse(root.path, directory / "before.ext4")
    machine = dataclasses.replace(machine, disks=others, cores=2)
    return recorded(machine, root.path, directory / "recording.disk")


STORMS = [Boot(f"power-cut-{seed}", functools.partial(_small_guest, seed=seed), cores=2) for seed in SEEDS]
SPLIT_STORM = Boot("power-cut-split", functools.partial(_small_guest, seed=1, words=SPLIT), cores=2)
DEBIAN = Boot("power-cut-debian", _debian_guest, cores=2)


def _examine(outcome: Outcome, cuts: int, *, local: tuple[str, ...] = (),
             until_wrong: bool = False) -> list[Finding]:
    """What is found in so many states of a storm, at most until one is wrong."""
    outcome.require("all processes are at work until the end")
    recording = Recording(outcome.directory / "recording.disk")
    before = outcome.directory / "before.ext4"
    first = recording.point_at(int(outcome.fact("sectors before the storm")))
    findings = []
    for finding in cache_state.examine_cuts(recording, before, recording.cuts(first, cuts, seed=1),
                                            Baseline.of(before, local)):
        findings.append(finding)
        if until_wrong and finding.wrong:
            break
    recording.close()
    return findings


def _require_sound(outcome: Outcome, findings: list[Finding], cuts: int) -> None:
    """All states, and they are as different as they should be."""
    unsound = [str(finding) for finding in findings if not finding.sound]
    lengths = {finding.records for finding in findings}
    print(f"{len(findings)} states, {len(unsound)} unsound, {len(lengths)} log lengths up to {max(lengths)}, "
          f"at most {max(finding.listed for finding in findings)} bodies listed")
    assert not unsound, "\n".join([f"{len(unsound)} of {len(findings)} states:", *unsound[:10],
                                   outcome.explain()])
    assert len(findings) == cuts
    if artifacts.root_type() != "ext4":
        assert len(lengths) >= min(10, cuts // 2), f"the states see only these logs: {sorted(lengths)}"
        assert not any(finding.overflow for finding in findings), "the log overflowed: enlarge the disk"


@boots(*STORMS)
def test_tree_is_the_replay_of_the_log_after_a_power_cut(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    _require_sound(outcome, _examine(outcome, CUTS), CUTS)


@pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 has no log")
@boots(SPLIT_STORM)
def test_record_in_a_transaction_of_its_own_is_noticed(outcome: Outcome) -> None:
    findings = _examine(outcome, CUTS_TO_NOTICE, until_wrong=True)
    print(f"noticed in state {len(findings)}: {findings[-1]}")
    assert findings[-1].wrong, f"{SPLIT} is set, but {len(findings)} states agree with their logs"


@boots(DEBIAN)
def test_debian_root_is_the_replay_of_its_log_after_a_power_cut(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    _require_sound(outcome, _examine(outcome, DEBIAN_CUTS, local=ROOT_LOCALS), DEBIAN_CUTS)
