# SPDX-License-Identifier: GPL-2.0
"""A change that a replica receives and its position in last_rcvd are one transaction (I3).

One guest writes, the other, a client or a server, receives, and all that it writes to its disk is recorded
until its power is cut. On each disk that a power cut could have left, earlier too, what came is what the
position says. A kernel told to store the position in a transaction of its own must fail this check.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from harness import artifacts, cache_state, received, replicas, small_replicas, tiny, verdict
from harness.blocklog import Cut, Rebuilder, Recording, recorded
from harness.qemu import Disk, Guest, copy_sparse, empty_ext4
from harness.schedule import Job, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 is not replicated")

WRITER = Path(__file__).with_name("text_writer.c")
MEGABYTES = 128
# The power is cut when so many have come, of more than can come by then.
CAME, TEXTS, EVERY = 120, 2000, 0.02
CUTS, CUTS_TO_NOTICE = 25, 60
LIMIT = 120
# The kernel parameter that breaks what this file tests.
SPLIT = "intermezzo.debug=1"


@dataclass(frozen=True)
class Receiving(Job):
    """A writer and a receiver, whose role is `role`; the power of both is cut."""

    role: str
    words: str = ""

    def run(self, directory: Path) -> Outcome:
        """The receiver's recording and its disk as it was before, and the writer's disk, are left there."""
        started = time.monotonic()
        for name in ("said", "texts/d0", "texts/d1", "texts/d2"):
            (directory / "tree" / name).mkdir(parents=True)
        for role in replicas.ROLES:
            (directory / role).mkdir()
        disks = {role: directory / role / "work.ext4" for role in replicas.ROLES}
        empty_ext4(disks["server"], MEGABYTES, "-d", directory / "tree")
        replicas.make_replicas(disks["server"], disks["client"])
        copy_sparse(disks[self.role], directory / "before.ext4")
        guests = {role: self._guest(directory / role, role, disks[role]) for role in replicas.ROLES}
        verdicts, consoles = verdict.Verdict(done=True), []

        def run(guest: Guest) -> None:
            ended = guest.run()
            alone = verdict.judge_cut_off(ended.channel, ended.console, guest.machine.nonce)
            alone.problems = ended.trouble + alone.problems
            verdicts.add(guest.name, alone)
            consoles.append(ended.console)
        threads = [threading.Thread(target=run, args=(guest,)) for guest in guests.values()]
        for thread in threads:
            thread.start()
        self._cut(guests, threads)
        for thread in threads:
            thread.join()
        return Outcome(self, directory, "\n".join(consoles), verdicts, time.monotonic() - started)

    def _guest(self, folder: Path, role: str, disk: Path) -> Guest:
        machine = small_replicas.machine(
            folder, role, verdict.new_nonce(), "replica-received.sh", limit=LIMIT,
            programs={"text_writer": tiny.compiled(WRITER)},
            IZO_COUNT=str(0 if role == self.role else TEXTS), IZO_SEED="1")
        if role == self.role:
            machine.append += f" {self.words}"
            machine = recorded(machine, disk, folder / "recording.disk")
        else:
            machine.disks = [Disk(disk)]
        return Guest(machine, folder, role)

    def _cut(self, guests: dict[str, Guest], threads: list[threading.Thread]) -> None:
        """First the receiver's power: then the writer's disk has all that the other was given."""
        receiver, writer = guests[self.role], guests[replicas.other(self.role)]

        def is_recorded() -> bool:
            recording = Recording(receiver.directory / "recording.disk")
            whole = recording.is_whole()
            recording.close()
            return whole
        while all(thread.is_alive() for thread in threads):
            if small_replicas.came(receiver.directory) >= CAME and receiver.cut_power(is_recorded):
                break
            threads[0].join(EVERY)
        writer.cut_power(lambda: True)


CUT = [Receiving(f"power-cut-of-receiving-{role}", role, cores=2) for role in replicas.ROLES]
CUT_SPLIT = [Receiving(f"power-cut-of-receiving-{role}-split", role, SPLIT, cores=2)
             for role in replicas.ROLES]


def _states(outcome: Outcome, role: str, count: int) -> Iterator[tuple[Cut, received.Received, list[str]]]:
    """What so many power cuts leave, and what is wrong with it."""
    made = cache_state.seen(outcome.directory / replicas.other(role) / "work.ext4", received.records_made)
    recording = Recording(outcome.directory / role / "recording.disk")
    folder = outcome.directory
    rebuilder = Rebuilder(recording, copy_sparse(folder / "before.ext4", folder / "safe.ext4"))
    for cut in recording.cuts(1, count, seed=1):
        state = cache_state.seen(rebuilder.rebuild(cut, folder / "state.ext4"), received.look)
        yield cut, state, received.faults(state, made, forwards=role == "server")
    recording.close()


@boots(*CUT)
def test_what_came_is_what_the_position_says_after_a_power_cut(outcome: Outcome) -> None:
    assert not outcome.verdict.failures(), outcome.explain()
    role = outcome.boot.role
    states = list(_states(outcome, role, CUTS))
    positions = sorted({state.position for _, state, _ in states})
    wrong = [f"{cut}: {faults}" for cut, _, faults in states if faults]
    print(f"{len(states)} states, {len(wrong)} wrong, {len(positions)} positions up to {positions[-1]}, "
          f"at most {max(len(state.places) for _, state, _ in states)} objects of the other's")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(states)} states:", *wrong[:10]])
    assert len(positions) >= 8, f"the states see only these positions: {positions}"


@boots(*CUT_SPLIT)
def test_position_in_a_transaction_of_its_own_is_noticed(outcome: Outcome) -> None:
    for number, (cut, _, faults) in enumerate(_states(outcome, outcome.boot.role, CUTS_TO_NOTICE), 1):
        if faults:
            print(f"noticed in state {number}: {cut}: {faults}")
            return
    pytest.fail(f"{SPLIT} is set, but {CUTS_TO_NOTICE} states are as their positions say")
