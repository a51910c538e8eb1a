# SPDX-License-Identifier: GPL-2.0
"""last_rcvd on the cache: copies that take turns, of which the newest whole one counts (I3)."""

from __future__ import annotations

import os

from guest.disks import check_ext
from guest.expect import equal, intermezzo_only
from guest.kernel_log import KernelLog, said_by_us
from guest.kml import RCVD_SLOT, Log, slots
from guest.mounting import mount_old, umount
from guest.reint import Replica, position
from guest.reint_pair import all_stored, two
from guest.subject import FILESET

COPIES = 8


def copies(folder: str) -> list[tuple[int, int]]:
    """Serial and position of the first peer, of each copy; 0 of one that was never written."""
    with open(f"{folder}/last_rcvd", "rb") as stream:
        content = stream.read()
    size = len(content) // COPIES
    found = []
    for number in range(COPIES):
        _, recno, serial = next(slots(content[number * size:(number + 1) * size]), (b"", 0, 0))
        found.append((serial, recno))
    return found


def receive(replica: Replica, count: int, first: int = 0) -> list[list[tuple[int, int]]]:
    """One record at a time, each in a transaction of its own; the copies after each."""
    seen = []
    folder = f"{replica.root}/.intermezzo/rootset"
    for number in range(first, first + count):
        os.mkdir(f"{replica.peer_root}/{number}")
        all_stored(replica.pull())
        Log.of_mount(replica.root)
        seen.append(copies(folder))
    return seen


@intermezzo_only
def test_copies_take_turns(disk: str, second_disk: str) -> None:
    """The first move of a transaction writes the next copy, and none of the others."""
    with two(disk, second_disk) as replica:
        seen = receive(replica, 2 * COPIES)
    for before, after in zip(seen, seen[1:]):
        changed = [number for number in range(COPIES) if before[number] != after[number]]
        newest = max(range(COPIES), key=lambda number: before[number][0])
        equal(changed, [(newest + 1) % COPIES], f"which copy changed, {before} {after}")
    equal([max(copy)[1] for copy in seen], list(range(1, 2 * COPIES + 1)), "positions")
    check_ext(second_disk)


def damage(folder: str, copy: int, at: int, data: bytes) -> None:
    """Other bytes in a copy, and whether its slots are whole is not asked before."""
    with open(f"{folder}/last_rcvd", "r+b") as stream:
        stream.seek(os.fstat(stream.fileno()).st_size // COPIES * copy + at)
        stream.write(data)


@intermezzo_only
def test_damaged_copy_is_said_and_passed_over(disk: str, second_disk: str, log: KernelLog) -> None:
    """Whichever is damaged, and whichever of its slots, one or all or one that is empty in front of others:
    one line at the mount, and the newest of the other copies is believed."""
    others = [bytes([number]) * 16 for number in (7, 8)]
    last, behind = 2 * RCVD_SLOT.size, 5 * RCVD_SLOT.size
    for newest, damages in ((False, ((8, b"damaged!"),)), (True, ((8, b"damaged!"),)),
                            (True, ((last + 8, b"damaged!"),)), (True, ((behind, b"x"),)),
                            (True, ((0, bytes(RCVD_SLOT.size)),)),
                            (True, ((8, b"damaged!"), (last + 8, b"damaged!")))):
        with two(disk, second_disk) as replica:
            receive(replica, 1)
            for peer in others:
                position(replica.root, peer, 1, 1, 1)
            receive(replica, 10, first=1)
            umount(replica.root)
            mount_old(second_disk, replica.root, "ext4", "")
            folder = f"{replica.root}/.intermezzo/rootset"
            known = copies(folder)
            victim = known.index(max(known) if newest else min(known))
            for at, data in damages:
                damage(folder, victim, at, data)
            umount(replica.root)
            log.mark()
            mount_old(second_disk, replica.root, "intermezzo", FILESET)
            said = said_by_us(log)
            expected = f"copy {victim} of last_rcvd is damaged"
            equal((len(said), expected in "".join(said)), (1, True), f"{damages}: {said}")
            replica.recno = 0
            passed = [result.code for result in replica.pull(decided=0)].count("already")
            equal(passed, 10 if newest else 11, f"{damages}: records that count as applied")
        check_ext(second_disk)
