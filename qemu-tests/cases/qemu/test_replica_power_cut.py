# SPDX-License-Identifier: GPL-2.0
"""The power of a server, or of a client, is cut while changes travel: after its next boot nothing is lost.

Both write texts at once. QEMU is killed, and the disk is made as the cut leaves it: all that a flush had made
safe, and of what was written since all, some whole writes, or single sectors. From that disk the guest boots
again; the other has gone on meanwhile. In the end both trees must be equal, and each text that was safe then,
or was written by the other, must be there once; and the server's tree must be the replay of its log.
Environment: IZO_REPLICA_CUTS= cuts of each of the two.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from guest.tree import differences
from harness import artifacts, cache_state, replicas, small_replicas, tiny, verdict
from harness.blocklog import Cut, Rebuilder, Recording, Survivors, recorded
from harness.cache_state import Baseline
from harness.qemu import Disk, Guest, copy_sparse, empty_ext4
from harness.schedule import Job, Outcome, boots

pytestmark = pytest.mark.skipif(artifacts.root_type() == "ext4", reason="plain ext4 is not replicated")

CUTS = int(os.environ.get("IZO_REPLICA_CUTS") or 1)
WRITER = Path(__file__).with_name("text_writer.c")
MEGABYTES = 128
TEXTS, TEXTS_AGAIN = 120, 10
# The cut comes when so many texts are safe and so many of the other's have come, and then when something is
# not safe: looked for so often. Whose power is cut would write more texts than it can by then.
SAFE_TEXTS, CAME, EVERY = (15, 80), (10, TEXTS // 2), 0.003
TEXTS_OF_THE_CUT = 6 * TEXTS
LIMIT = 240
DURABLE = re.compile(r"^durable ([0-9a-f]{16})\r?\n", re.MULTILINE)
SUM_OF_NOTHING, SUM_FACTOR = 14695981039346656037, 1099511628211


def sum_of(data: bytes) -> str:
    """As text_writer.c has it."""
    total = SUM_OF_NOTHING
    for byte in data:
        total = (total ^ byte) * SUM_FACTOR % 2**64
    return f"{total:016x}"


@dataclass
class Seen:
    """A tree as it must be on every replica, and how often each text is in it."""

    tree: dict
    texts: Counter[str]


def look(top: Path) -> Seen:
    """At a disk whose journal is recovered. What the guests said to each other is theirs."""
    tree = {name: entry for name, entry in replicas.on_disk(top).items()
            if name.split("/")[0] not in (".", ".intermezzo", "said")}
    texts = Counter(sum_of(path.read_bytes()) for path in (top / "texts").rglob("*") if path.is_file())
    return Seen(tree, texts)


@dataclass(frozen=True)
class CutPair(Job):
    """Both guests, one of which, `role`, loses its power and boots again."""

    role: str
    seed: int

    def run(self, directory: Path) -> Outcome:
        """The outcome's facts say what became of the texts."""
        return _Run(self, directory).outcome()


class _Run:
    def __init__(self, job: CutPair, directory: Path) -> None:
        self._job, self._directory = job, directory
        self._chance = random.Random(f"{job.role} {job.seed}")
        self._verdict = verdict.Verdict(done=True)
        self._consoles: list[str] = []
        self._seconds = 0.0
        self._had: Counter[str] = Counter()

    def outcome(self) -> Outcome:
        job = self._job
        for role in replicas.ROLES:
            (self._directory / role).mkdir()
        # a directory that both make would be a conflict
        for name in ("said", "texts/d0", "texts/d1", "texts/d2"):
            (self._directory / "tree" / name).mkdir(parents=True)
        empty_ext4(self._disk("server"), MEGABYTES, "-d", self._directory / "tree")
        replicas.make_replicas(self._disk("server"), self._disk("client"))
        self._baseline = Baseline.of(self._disk("server"))
        before = copy_sparse(self._disk(job.role), self._directory / "before.ext4")
        started = time.monotonic()
        survivor, nonce = self._guest(replicas.other(job.role), "first")
        survival = threading.Thread(target=self._finish, args=(survivor, nonce))
        survival.start()
        try:
            self._cut()
            state = self._rebuild(before)
            self._had = cache_state.seen(copy_sparse(state, self._directory / "as-cut.ext4"), look).texts
            again, nonce = self._guest(job.role, "again", state)
            self._finish(again, nonce)
        finally:
            survival.join()
        self._seconds = time.monotonic() - started
        self._compare(self._disk(survivor.name), state)
        self._replay(state if job.role == "server" else self._disk("server"))
        return Outcome(job, self._directory, "\n".join(self._consoles), self._verdict, self._seconds)

    def _disk(self, role: str) -> Path:
        return self._directory / role / "work.ext4"

    def _guest(self, role: str, part: str, disk: Path | None = None) -> tuple[Guest, str]:
        """Not started yet. Recorded is the one whose power is cut."""
        folder = self._directory / (role if part == "first" else f"{role}-{part}")
        folder.mkdir(exist_ok=True)
        nonce = verdict.new_nonce()
        count = (TEXTS_AGAIN if part != "first" else
                 TEXTS_OF_THE_CUT if role == self._job.role else TEXTS)
        machine = small_replicas.machine(
            folder, role, nonce, "replica-cut.sh", limit=LIMIT,
            programs={"text_writer": tiny.compiled(WRITER)},
            IZO_PART=part, IZO_SEED=str(self._job.seed), IZO_COUNT=str(count))
        if role == self._job.role and part == "first":
            machine = recorded(machine, self._disk(role), folder / "recording.disk")
        else:
            machine.disks = [Disk(disk or self._disk(role))]
        return Guest(machine, folder, role), nonce

    def _finish(self, guest: Guest, nonce: str) -> None:
        """Run it to its end, and take what it said."""
        run = guest.run()
        alone = verdict.judge(run.channel, run.console, nonce)
        self._take(guest, alone, run.trouble, run.console)

    def _take(self, guest: Guest, alone: verdict.Verdict, trouble: list[str], console: str) -> None:
        self._consoles.append(console)
        alone.problems = trouble + alone.problems
        self._verdict.add(guest.directory.name, alone)

    def _cut(self) -> None:
        """Boot the one whose power is cut, and cut it."""
        guest, nonce = self._guest(self._job.role, "first")
        wanted = self._chance.randint(*SAFE_TEXTS)
        ended = threading.Event()

        def cut() -> None:
            while not ended.wait(EVERY):
                safe, came = len(self._durable(guest.directory)), small_replicas.came(guest.directory)
                if safe < SAFE_TEXTS[0] or came < CAME[0] or (safe < wanted and came < CAME[1]):
                    continue
                if guest.cut_power(self._something_is_unsafe):
                    return
        thread = threading.Thread(target=cut)
        thread.start()
        run = guest.run()
        ended.set()
        thread.join()
        alone = verdict.judge_cut_off(run.channel, run.console, nonce)
        self._take(guest, alone, run.trouble, run.console)
        others = self._durable(self._directory / replicas.other(self._job.role))
        self._verdict.facts["safe before the cut"] = str(len(self._durable(guest.directory)))
        self._verdict.facts["of the other then"] = str(len(others))
        self._verdict.facts["came before the cut"] = str(small_replicas.came(guest.directory))
        self._verdict.facts["asked for"] = str(wanted)

    def _durable(self, folder: Path) -> list[str]:
        """The texts that a guest has called safe."""
        return DURABLE.findall(small_replicas.output(folder))

    def _recording(self) -> Recording:
        return Recording(self._directory / self._job.role / "recording.disk")

    def _something_is_unsafe(self) -> bool:
        recording = self._recording()
        point = len(recording.entries)
        unsafe = recording.is_whole() and recording.safe_at(point) < point
        recording.close()
        return unsafe

    def _rebuild(self, before: Path) -> Path:
        """The disk that the cut leaves. What was written is what the other side may have been told."""
        recording = self._recording()
        point = len(recording.entries)
        kind = list(Survivors)[self._job.seed % len(Survivors)]
        cut = Cut(point, kind, self._chance.randrange(2**32))
        state = Rebuilder(recording, before).rebuild(cut, self._directory / "state.ext4")
        self._verdict.facts["cut"] = f"{cut}; {point - recording.safe_at(point)} requests were unsafe"
        recording.close()
        return state

    def _compare(self, survivor: Path, state: Path) -> None:
        one, other = cache_state.seen(survivor, look), cache_state.seen(state, look)
        if self._job.role == "client":
            # docs/conflicts.md: what is not promised
            for entry in (*one.tree.values(), *other.tree.values()):
                if entry["type"] == "dir":
                    entry.pop("mtime")
        facts = self._verdict.facts
        facts["differences"] = "; ".join(differences(one.tree, other.tree)[:8])
        role = self._job.role
        wanted = {text for folder in (role, replicas.other(role), f"{role}-again")
                  for text in self._durable(self._directory / folder)}
        facts["texts"] = str(len(wanted))
        of_other = self._durable(self._directory / replicas.other(role))
        facts["of the other on the disk that the cut left"] = str(sum(text in self._had for text in of_other))
        facts["lost"] = " ".join(sorted(text for text in wanted if text not in one.texts))
        facts["twice"] = " ".join(sorted(text for text, count in one.texts.items()
                                         if count > 1 and text != f"{SUM_OF_NOTHING:016x}"))
        facts["conflict copies"] = str(sum(".conflict-" in name for name in one.tree))

    def _replay(self, server: Path) -> None:
        """The server's disk and its log, which has what the client made too. Of a client that does not hold:
        its log has nothing that came from the server."""
        finding = cache_state.examine(server, self._baseline)
        self._verdict.facts["records of the server's log"] = str(finding.records)
        self._verdict.facts["of the client's changes"] = str(finding.forwarded)
        self._verdict.facts["not as the server's log says"] = "" if finding.sound else str(finding)


PAIRS = [CutPair(f"power-cut-of-{role}-{seed}", role, seed, cores=2)
         for seed in range(1, CUTS + 1) for role in replicas.ROLES]


@boots(*PAIRS)
def test_nothing_is_lost_by_a_power_cut_while_changes_travel(outcome: Outcome) -> None:
    facts = outcome.verdict.facts
    print("; ".join(f"{name}: {fact}" for name, fact in facts.items() if fact))
    assert not outcome.verdict.failures(), outcome.explain()
    assert int(facts["safe before the cut"]) < TEXTS_OF_THE_CUT, "the cut came when all was written"
    came = int(facts["came before the cut"])
    assert CAME[0] <= came < TEXTS, f"{came} had come: the cut was not amid the other's changes"
    assert int(facts["texts"]) >= TEXTS + TEXTS_AGAIN + SAFE_TEXTS[0]
    # each text of the client's was made and written
    assert int(facts["of the client's changes"]) >= 2 * SAFE_TEXTS[0]
    for fault in ("differences", "lost", "twice", "not as the server's log says"):
        assert not facts[fault], f"{fault}: {facts[fault]}\n{facts}\n{outcome.explain()}"
