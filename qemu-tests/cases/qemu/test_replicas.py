# SPDX-License-Identifier: GPL-2.0
"""Two Debian roots, a server's and a client's, are replicas of each other: changes travel both ways, also if
written while one is out of reach; a conflict leaves a copy; the client loses its power; in the end both trees
are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from guest.replay import ROOT_LOCALS
from harness import artifacts, cache_state, replicas
from harness.qemu import copy_sparse
from harness.schedule import Job, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 is not replicated")


@dataclass(frozen=True)
class TwoRoots(Job):
    """Both guests with one script, as one job."""

    script: str

    def run(self, directory: Path) -> Outcome:
        sides = replicas.prepare(directory, self.script)
        copy_sparse(sides[0].disk, directory / "before.ext4")
        replicas.run(sides)
        runs = [[boot.outcome for boot in side.boots if boot.outcome] for side in sides]
        consoles = "\n".join(run.console for each in runs for run in each)
        return Outcome(self, directory, consoles, replicas.judged(sides),
                       max(sum(run.seconds for run in each) for each in runs))


TWO_ROOTS = TwoRoots("two-debian-roots", "replica-root.sh", cores=2)


# The names of their last boots.
AT_THE_END = ("server", "client-again")
# Facts that say when it was what.
STATES = ("seen read-only", "read-write", "multi-user")
# Directories of the server's in which nothing but what is class local changes.
TOUCHED = ("etc/default", "var")


def _require_of_both(outcome: Outcome, *checks: str, names: tuple[str, ...] = replicas.ROLES) -> None:
    for boot in names:
        for check in checks:
            outcome.require(f"{boot}: {check}")


@boots(TWO_ROOTS)
def test_both_power_off_without_kernel_trouble_and_leave_clean_disks(outcome: Outcome) -> None:
    outcome.require_no_trouble()


@boots(TWO_ROOTS)
def test_intersync_is_started_once_by_systemd_and_clears_no_filter(outcome: Outcome) -> None:
    for names in (replicas.ROLES, AT_THE_END):
        _require_of_both(outcome, "the system is running", "intersync runs", "no_filter is cleared",
                         names=names)
    _require_of_both(outcome, "intersync still runs", "it was never started anew", names=AT_THE_END)


@boots(TWO_ROOTS)
def test_the_unit_has_its_options_from_etc_default_and_reloads(outcome: Outcome) -> None:
    outcome.require("client: its options are those of /etc/default/intersync")
    outcome.require("server: a reload begins a new log")
    outcome.require("server: intersync runs after a reload")


@boots(TWO_ROOTS)
def test_changes_come_to_the_other_side(outcome: Outcome) -> None:
    outcome.require("client: a change of the server is here")
    outcome.require("client: it has its attribute, its access list and its capability")
    outcome.require("server: a change of the client is here")


@boots(TWO_ROOTS)
def test_the_root_is_read_only_first_and_read_write_by_its_remount(outcome: Outcome) -> None:
    for names in (replicas.ROLES, AT_THE_END):
        _require_of_both(outcome, "the root is read-only before the remount",
                         "a write before the remount says read-only", "no_filter is set before the remount",
                         "the root is read-write after the remount", names=names)


@boots(TWO_ROOTS)
def test_each_boot_has_its_milestones_in_their_order(outcome: Outcome) -> None:
    """Those of docs/history.md, from the read-only root to changes that travel; by the guest's clock too."""
    told = [check.name for check in outcome.verdict.checks]
    for boot in (*replicas.ROLES, AT_THE_END[1]):
        order = [f"{boot}: {milestone}" for milestone in replicas.BOOT_ORDER]
        if boot in replicas.ROLES:
            order.append(f"{boot}: {replicas.propagated(boot)}")
        assert [name for name in told if name in order] == order, outcome.explain()
        seconds = [float(outcome.fact(f"{boot}: {state}")) for state in STATES]
        assert seconds == sorted(seconds), f"{boot}: {seconds}"


@boots(TWO_ROOTS)
def test_what_was_written_before_intersync_ran_comes_too(outcome: Outcome) -> None:
    for names in (replicas.ROLES, AT_THE_END):
        _require_of_both(outcome, "intersync did not run yet when a unit had written a file",
                         "no_filter was set then", names=names)
    for side in replicas.ROLES:
        outcome.require(f"{side}: {replicas.propagated(side)}")


@boots(TWO_ROOTS)
def test_a_client_works_alone_and_catches_up(outcome: Outcome) -> None:
    """Folders are made, files written, renamed and removed, and sync(1) returns, with a frozen daemon and
    without one; nobody waits for the server."""
    for state in ("frozen", "stopped"):
        outcome.require(f"client: intersync was {state} all the time")
        outcome.require(f"server: what the client did while its daemon was {state} is here")
    outcome.require("client: the root works with a frozen daemon")
    outcome.require("client: the root works without its daemon")


@boots(TWO_ROOTS)
def test_both_write_while_the_link_is_cut_and_get_the_others(outcome: Outcome) -> None:
    _require_of_both(outcome, "the link is cut", "writes while the link is cut", "the link is back")
    outcome.require("client: the server is out of reach")
    outcome.require("client: intersync finds no server and goes on trying")
    outcome.require("client: the link is still cut")
    for side in replicas.ROLES:
        outcome.require(f"{side}: what the {replicas.other(side)} wrote meanwhile is here")


@boots(TWO_ROOTS)
def test_of_a_conflict_the_servers_version_has_the_name_and_a_copy_is_kept(outcome: Outcome) -> None:
    _require_of_both(outcome, "the version of the server has the name",
                     "the text of the client is kept in a copy", "izoctl lists the conflict and no other")


@boots(TWO_ROOTS)
def test_a_power_cut_loses_nothing_that_was_safe(outcome: Outcome) -> None:
    outcome.require("client-again: nothing that was safe before the power cut is lost")
    outcome.require("server: what was safe on the client before its power cut is here")


@boots(TWO_ROOTS)
def test_an_idle_root_writes_no_records(outcome: Outcome) -> None:
    _require_of_both(outcome, "intersync runs with -debug 31",
                     "no record in 10 s of an idle root with -debug 31", names=AT_THE_END)


@boots(TWO_ROOTS)
def test_both_trees_are_the_same_in_the_end(outcome: Outcome) -> None:
    _require_of_both(outcome, "both are the same", names=AT_THE_END)
    outcome.require("both disks have the same tree")
    print(", ".join(f"{boot}: {outcome.fact(f'{boot}: both are the same')} s" for boot in AT_THE_END),
          f"{outcome.fact('objects compared')} objects")


@boots(TWO_ROOTS)
def test_the_servers_tree_is_the_replay_of_its_log(outcome: Outcome) -> None:
    """What its client made is in its log too. Of a client that does not hold: its log has what it did itself
    and nothing that came from the server."""
    baseline = cache_state.Baseline.of(outcome.directory / "before.ext4", ROOT_LOCALS)
    finding = cache_state.examine(outcome.directory / "server/root.ext4", replace(baseline, touched=TOUCHED))
    print(f"{finding.records} records, {finding.forwarded} of them of changes that the client made")
    assert finding.sound, f"{finding}\n{outcome.explain()}"
    assert not finding.overflow and not finding.listed
    assert finding.forwarded > replicas.SAFE_TEXTS, finding.counts
