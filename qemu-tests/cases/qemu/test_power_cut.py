# SPDX-License-Identifier: GPL-2.0
"""After a power cut at any point, the tree is the baseline plus the log (I1), and the disk is clean.

All that the guest writes is recorded, from its first mount on; disks as power cuts would have left them are
made from that and compared with their logs on the host. Some go to another guest, which mounts them and must
find and end what was under way. A kernel told to log each change in a transaction of its own must fail
this check. Environment: IZO_CUTS= states for each storm, also of the Debian root; IZO_CUT_SEEDS= numbers of
the storms of the small guest.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from pathlib import Path

import pytest

from guest.kml import RECOVERED, Fid, Log, Record
from guest.replay import ROOT_LOCALS, snapshot
from harness import artifacts, cache_state, debian, guest_script, tiny, verdict
from harness.blocklog import Rebuilder, Recording, recorded
from harness.cache_state import Baseline, Finding
from harness.qemu import Disk, Guest, Machine, copy_sparse, empty_ext4
from harness.schedule import Boot, Outcome, boots

SECONDS = 10
MEGABYTES = 128
OBJECTS = 400
CUTS = int(os.environ.get("IZO_CUTS") or 50)
SEEDS = [int(word) for word in (os.environ.get("IZO_CUT_SEEDS") or "1").split()]
# Of the time before the storm: the mount that makes the log; of Debian all of the boot.
EARLY_CUTS = 10
# Each kind of survivors twice.
MOUNTED_CUTS = 6
# The kernel parameter that breaks what this file tests.
SPLIT = "intermezzo.debug=1"
CUTS_TO_NOTICE = 100
# A state of a whole Debian root takes a second to compare.
DEBIAN_CUTS = int(os.environ.get("IZO_CUTS") or 20)
DEBIAN_STORM = "srv/storm"
WRITER = Path(__file__).with_name("log_writer.c")

logged = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 has no log")


def _script(disk: str, below: str, mount: str, seed: int, top: str) -> str:
    """`top` is where the disk is mounted, with a slash at its end."""
    log = "" if artifacts.root_type() == "ext4" else ".intermezzo/rootset/kml"
    return guest_script.text("power-cut.sh", IZO_MOUNT=mount, IZO_DISK=disk, IZO_TREE=f"/{below}",
                             IZO_SECONDS=str(SECONDS), IZO_SEED=str(seed), IZO_COMMIT=f"{top}{log}")


def _small_guest(directory: Path, nonce: str, *, seed: int, words: str = "") -> Machine:
    """BusyBox, with the recorded disk on /mnt."""
    writer = tiny.compiled(WRITER)
    image = empty_ext4(directory / "work.ext4", MEGABYTES, "-E", "lazy_itable_init=0")
    cache_state.populate(image, writer, seed, OBJECTS)
    copy_sparse(image, directory / "before.ext4")
    options = "rw" if artifacts.root_type() == "ext4" else "rw,fileset=rootset,mtp=/mnt"
    mount = f"mount -t {artifacts.root_type()} -o {options} /dev/vda /mnt"
    machine = tiny.tiny(directory, nonce, _script("vda", "mnt", mount, seed, "/mnt/"), cores=2,
                        limit=SECONDS * 3 + 60, words=words, files={"bin/log_writer": writer})
    return recorded(machine, image, directory / "recording.disk")


def _debian_guest(directory: Path, nonce: str) -> Machine:
    """Debian, with its root recorded. It is the second disk, after that with the script."""
    script = _script("vdb", DEBIAN_STORM, "true", seed=1, top="/")
    machine = debian.debian(directory, nonce, script, device="/dev/vdb")
    root, *others = machine.disks
    words = "defaults" if artifacts.root_type() == "ext4" else debian.FSTAB_WORDS
    debian.write_into(root.path, "/etc/fstab", f"/dev/vdb / {artifacts.root_type()} {words} 0 1\n")
    cache_state.populate(root.path, tiny.compiled(WRITER), 1, OBJECTS, below=DEBIAN_STORM,
                         install="usr/bin/log_writer")
    copy_sparse(root.path, directory / "before.ext4")
    machine = dataclasses.replace(machine, disks=others, cores=2)
    return recorded(machine, root.path, directory / "recording.disk")


@dataclasses.dataclass(frozen=True)
class Storm(Boot):
    """A storm, and then a guest that mounts some of the disks which power cuts leave of it."""

    def run(self, directory: Path) -> Outcome:
        outcome = super().run(directory)
        if artifacts.root_type() != "ext4" and not outcome.verdict.failures():
            outcome.verdict.add("afterwards", _mounted_again(outcome, directory / "afterwards"))
        return outcome


def _state(folder: Path, number: int) -> Path:
    """A disk that a power cut left, which a guest has mounted; as it was before that it is beside it."""
    return folder / f"state-{number}.ext4"


def _untouched(state: Path) -> Path:
    return state.with_suffix(".before.ext4")


def _mounted_again(outcome: Outcome, folder: Path) -> verdict.Verdict:
    """What a guest says that is given some states."""
    folder.mkdir()
    recording, first = _recording(outcome)
    rebuilder = Rebuilder(recording, copy_sparse(outcome.directory / "before.ext4", folder / "safe.ext4"))
    states = []
    for number, cut in enumerate(recording.cuts(first, MOUNTED_CUTS, seed=2)):
        states.append(rebuilder.rebuild(cut, _state(folder, number)))
        copy_sparse(states[-1], _untouched(states[-1]))
    recording.close()
    nonce = verdict.new_nonce()
    machine = tiny.tiny(folder, nonce, guest_script.text("mount-states.sh"), disks=list(map(Disk, states)))
    run = Guest(machine, folder, "states").run()
    judged = verdict.judge(run.channel, run.console, nonce)
    judged.problems = run.trouble + judged.problems
    return judged


STORMS = [Storm(f"power-cut-{seed}", functools.partial(_small_guest, seed=seed), cores=2) for seed in SEEDS]
SPLIT_STORM = Boot("power-cut-split", functools.partial(_small_guest, seed=1, words=SPLIT), cores=2)
DEBIAN = Boot("power-cut-debian", _debian_guest, cores=2)


def _recording(outcome: Outcome) -> tuple[Recording, int]:
    """And the point in it at which the storm began."""
    recording = Recording(outcome.directory / "recording.disk")
    return recording, recording.point_at(int(outcome.fact("sectors before the storm")))


def _examine(outcome: Outcome, cuts: int, *, early: int = EARLY_CUTS, local: tuple[str, ...] = (),
             until_wrong: bool = False) -> list[Finding]:
    """What is found in `early` states before a storm, and in so many of it, at most until one is wrong."""
    outcome.require("all processes are at work until the end")
    recording, first = _recording(outcome)
    before = outcome.directory / "before.ext4"
    baseline, at_first = Baseline.of(before, local), recording.cuts(1, early, seed=1, before=first)
    findings = list(cache_state.examine_cuts(recording, before, at_first, baseline))
    for finding in cache_state.examine_cuts(recording, before, recording.cuts(first, cuts, seed=1), baseline):
        findings.append(finding)
        if until_wrong and finding.wrong:
            break
    recording.close()
    return findings


def _require_sound(outcome: Outcome, findings: list[Finding], cuts: int) -> None:
    """All states; they are as different as they should be, and the longest log has every kind of record."""
    unsound = [str(finding) for finding in findings if not finding.sound]
    lengths = {finding.records for finding in findings}
    print(f"{len(findings)} states, {sum(not finding.logged for finding in findings)} of before the log, "
          f"{len(unsound)} unsound, {len(lengths)} log lengths up to {max(lengths)}, "
          f"at most {max(finding.listed for finding in findings)} bodies listed")
    assert not unsound, "\n".join([f"{len(unsound)} of {len(findings)} states:", *unsound[:10],
                                   outcome.explain()])
    assert len(findings) == cuts + EARLY_CUTS
    if artifacts.root_type() != "ext4":
        longest = max(findings, key=lambda finding: finding.records)
        assert not longest.kinds_missing(), f"{longest.records} records, none is {longest.kinds_missing()}"
        assert len(lengths) >= min(10, cuts // 2), f"the states see only these logs: {sorted(lengths)}"
        assert not any(finding.overflow for finding in findings), "the log overflowed: enlarge the disk"


def _require_final_bodies(findings: list[Finding]) -> None:
    """A body is the same in all states in which the same record was the last to close it."""
    states: dict[tuple[Fid, int], list[Finding]] = {}
    for finding in findings:
        for fid, body in finding.bodies.items():
            states.setdefault((fid, body.closed), []).append(finding)
    pairs = [(fid, closed, one, other) for (fid, closed), seen in states.items()
             for one, other in itertools.pairwise(seen)]
    wrong = [f"{fid}, closed by record {closed}: one in {one.cut}, another in {other.cut or 'the end'}"
             for fid, closed, one, other in pairs if one.bodies[fid].content != other.bodies[fid].content]
    print(f"{len(states)} bodies, {len(pairs)} were in one more state")
    assert not wrong, "\n".join([f"{len(wrong)} bodies:", *wrong[:10]])
    assert len(pairs) > len(findings)


@boots(*STORMS)
def test_tree_is_the_replay_of_the_log_after_a_power_cut(outcome: Outcome) -> None:
    """Also before there is a log. A body that has not changed since, by the log, is what it was."""
    outcome.require_no_trouble()
    findings = _examine(outcome, CUTS)
    _require_sound(outcome, findings, CUTS)
    if artifacts.root_type() != "ext4":
        last = cache_state.examine(outcome.directory / "work.ext4",
                                   Baseline.of(outcome.directory / "before.ext4"))
        assert last.sound, f"the last state: {last}"
        _require_final_bodies([*findings, last])


@dataclasses.dataclass(frozen=True)
class Seen:
    """A disk's log, which bodies it lists, and which files there are."""

    records: list[Record]
    listed: set[Fid]
    files: set[Fid]


def _look(tree: Path) -> Seen:
    log = Log.of_cache(str(tree / ".intermezzo" / cache_state.FILESET))
    objects = snapshot(str(tree), log.self_index)
    files = {fid for fid, node in objects.items() if node.content}
    return Seen(list(log.records()), set(log.listed), files)


@logged
@boots(*STORMS)
def test_state_of_a_power_cut_is_mounted_and_goes_on(outcome: Outcome) -> None:
    """A mount changes no record that is there, and ends what was under way: each listed file that still has a
    name gets one CLOSE, and none is listed any more. Then changes are recorded as ever."""
    baseline = Baseline.of(outcome.directory / "before.ext4")
    ended = 0
    for number in range(MOUNTED_CUTS):
        state = _state(outcome.directory / "afterwards", number)
        for what in ("is mounted", "can be changed", "is unmounted"):
            outcome.require(f"afterwards: /dev/vd{chr(ord('a') + number)} {what}")
        before, after = cache_state.seen(_untouched(state), _look), cache_state.seen(state, _look)
        count = len(before.records)
        assert after.records[:count] == before.records, f"{state.name}: earlier records have changed"
        recovered = [record for record in after.records[count:] if record.flags & RECOVERED]
        closed = sorted(record.object for record in recovered)
        assert closed == sorted(before.listed & before.files), f"{state.name}: {closed}"
        others = [(record.op, record.place and record.place.name) for record in after.records[count:]
                  if record not in recovered]
        assert others == [("mkdir", b"mounted-again")], f"{state.name}: {others}"
        assert not after.listed, f"{state.name}: {after.listed}"
        finding = cache_state.examine(state, baseline)
        assert finding.sound, f"{state.name}: {finding}"
        ended += len(recovered)
    print(f"{MOUNTED_CUTS} states, {ended} bodies were being changed")
    assert ended, "no state has a body that was being changed"


@logged
@boots(SPLIT_STORM)
def test_record_in_a_transaction_of_its_own_is_noticed(outcome: Outcome) -> None:
    findings = _examine(outcome, CUTS_TO_NOTICE, early=0, until_wrong=True)
    print(f"noticed in state {len(findings)}: {findings[-1]}")
    assert findings[-1].wrong, f"{SPLIT} is set, but {len(findings)} states agree with their logs"


@boots(DEBIAN)
def test_debian_root_is_the_replay_of_its_log_after_a_power_cut(outcome: Outcome) -> None:
    outcome.require_no_trouble()
    _require_sound(outcome, _examine(outcome, DEBIAN_CUTS, local=ROOT_LOCALS), DEBIAN_CUTS)
