# SPDX-License-Identifier: GPL-2.0
"""What a replica's disk has of another's changes, beside what its last_rcvd says that it has of them.

Both are one transaction (I3): on a disk that a power cut leaves, a change is there if, and only if, the
position is at its record or behind it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from guest.kml import Fid, Record
from guest.replay import made_elsewhere
from harness import cache_state

CONFLICT_COPY = ".conflict-"


@dataclass(frozen=True)
class Received:
    """Of the one other replica: how far its log has been applied, where what it made stands, and which of its
    records our log has, by their number there."""

    position: int
    places: dict[Fid, str]
    forwarded: list[int]


def look(tree: Path) -> Received:
    """At a disk whose journal is recovered, mounted itself. What was renamed as the loser of a conflict has
    the name that it lost."""
    log = cache_state.log_in(tree / ".intermezzo" / cache_state.FILESET)
    assert len(log.received) < 2, f"{len(log.received)} other replicas"
    places = {}
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(folder, name)
            fid = made_elsewhere(os.fsencode(path))
            if fid:
                places[fid] = name.split(CONFLICT_COPY)[0]
    forwarded = [record.origin_recno for record in log.records() if record.origin != log.self_index]
    return Received(max((recno for _, recno, _ in log.received), default=0), places, forwarded)


def records_made(tree: Path) -> list[Record]:
    """The changes that a replica made itself, from its own disk."""
    log = cache_state.log_in(tree / ".intermezzo" / cache_state.FILESET)
    return [record for record in log.records() if record.origin == log.self_index]


def faults(received: Received, made: list[Record], *, forwards: bool) -> list[str]:
    """Changes among those made by the other that are here without the position being at them, or the reverse.

    Looked at are the names of what was created, at most once renamed since, and never removed. One that
    `forwards` has the record of each change in its log too.
    """
    found = []
    names: dict[Fid, str] = {}
    last: dict[Fid, int] = {}
    for record in made:
        if record.op == "create" and record.place:
            last[record.object] = record.recno
            if record.recno <= received.position:
                names[record.object] = os.fsdecode(record.place.name)
        elif record.op == "rename" and record.to and record.object in last:
            last[record.object] = record.recno
            if record.recno <= received.position:
                names[record.object] = os.fsdecode(record.to.name)
    for fid, recno in last.items():
        expected, real = names.get(fid), received.places.get(fid)
        if expected != real:
            found.append(f"{fid} is {real}, by the position {expected}; its last record is {recno}")
    expected_records = [record.recno for record in made if record.recno <= received.position]
    if forwards and received.forwarded != expected_records:
        odd = sorted(set(received.forwarded) ^ set(expected_records))
        found.append(f"records {odd} are in one of log and position only")
    return [f"position {received.position}: {fault}" for fault in found]
