# SPDX-License-Identifier: GPL-2.0
"""The log's segments on ext4: each stays where it is, is used in turn, and the newest tells where the log
ends."""

from __future__ import annotations

import copy
import fcntl
import os
import struct

from guest.changes import change_a_bit_of_everything, fill_up, shrink
from guest.disks import check_ext, copy_as_after_a_crash, make_ext4, run
from guest.expect import equal, intermezzo_only
from guest.kml import Log, Record
from guest.log_info import JOURNALED, SEGMENT_LEAST, flags_of, info, trim, wait_for_spares
from guest.replay import Model, Tree, snapshot
from guest.subject import FILESET, mounted
from guest.syscalls import syncfs

# As one is copied, small.
DISKS = ("24M", "24M", "24M", "24M", "24M")
FITRIM = 0xc0185879
BLOCK = 4096


def places_of_the_log(disk: str) -> dict[str, str]:
    """The numbers of all blocks of the files that a log begins with; the disk is not mounted."""
    return {name: run("debugfs", "-R", f"blocks /.intermezzo/rootset/{name}", disk).splitlines()[-1].strip()
            for name in ("kml", "lml", "last_rcvd", "replicas", "kml.0", "kml.1", "kml.2")}


def trim_log_and_disk(root: str) -> None:
    """Give up the whole log, and to the disk what is free."""
    log = Log.of_mount(root)
    equal([record.recno for record in log.records()][-1], info(root).end_recno, "the newest record")
    trim(root, log.end)
    fd = os.open(root, os.O_RDONLY)
    fcntl.ioctl(fd, FITRIM, bytearray(struct.pack("=QQQ", 0, 2**64 - 1, 0)))
    os.close(fd)


def touch_until_it_grows(path: str, root: str) -> None:
    """Small records, until the log has one more segment."""
    capacity, count = info(root).capacity, 0
    while info(root).capacity == capacity:
        os.utime(path, ns=(count, count))
        count += 1


@intermezzo_only
def test_blocks_of_the_log_stay_where_they_are(disk: str) -> None:
    """They are written by their numbers, which nobody asks ext4 for twice: the log grows, is trimmed and used
    again, what is free is discarded, the disk is full, and none of them has moved."""
    make_ext4(disk, "-m", "0", size="16M")
    with mounted(disk, FILESET) as root:
        wait_for_spares(root)
    before = places_of_the_log(disk)
    equal([name for name, blocks in before.items() if not blocks or "0" in blocks.split()], [], "holes")
    with mounted(disk, FILESET) as root:
        change_a_bit_of_everything(root, 0)
        touch_until_it_grows(f"{root}/0", root)
        trim_log_and_disk(root)
        for number in range(9000):
            os.utime(f"{root}/0", ns=(number, number))
            if number % 3000 == 2999:
                trim_log_and_disk(root)
        equal(Log.of_mount(root).first > info(root).capacity, True, "the first segments are used again")
        fill_up(root)
        for number in range(1000):
            os.utime(f"{root}/f", ns=(number, number))
        trim_log_and_disk(root)
        shrink(root)
        trim_log_and_disk(root)
        equal(flags_of(root), JOURNALED, "the log goes on")
    equal(places_of_the_log(disk), before, "where the log is")
    check_ext(disk)


def change_much(root: str, turn: int, count: int) -> None:
    """Some 4 KB of records each time: directories with an attribute, every other one for a moment."""
    for number in range(count):
        path = f"{root}/{turn}.{number}"
        os.mkdir(path)
        os.setxattr(path, "user.a", bytes([turn, number % 256]) * 1700)
        if number % 2:
            os.rmdir(path)


def damage(path: str, at: int) -> None:
    """Some bytes of a file."""
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(b"damaged")


@intermezzo_only
def test_tail_is_looked_for_in_the_newest_segment(disk: str) -> None:
    """Damage in the oldest of three segments: the log ends where it did, and goes on there. Without a journal
    nothing says that they are whole: all are read, and the log ends at the damage."""
    for options in ((), ("-O", "^has_journal")):
        make_ext4(disk, "-b", str(BLOCK), *options)
        with mounted(disk, FILESET) as root:
            change_much(root, 0, 180)
            log = Log.of_mount(root)
            records = list(log.records())
            equal(2 * SEGMENT_LEAST < log.end < 3 * (SEGMENT_LEAST - BLOCK), True, f"{log.end} bytes")
        with mounted(disk, fstype="ext4") as root:
            # the first block of a segment is its own, and the log's beginning is that of the first segment
            damage(f"{root}/.intermezzo/rootset/kml.0", BLOCK + records[50].offset + 120)
        with mounted(disk, FILESET) as root:
            found = (Log.of_mount(root).end_of_committed, info(root).end_recno)
            wanted = (records[50].offset, 50) if options else (log.end_of_committed, len(records))
            equal(found, wanted, f"tail and newest record {options}")
            os.mkdir(f"{root}/next")
            equal(info(root).end_recno, found[1] + 1, "the next record")


def replays_after_a_crash(disk: str, baseline: Tree, known: dict[int, Record]) -> list[Record]:
    """The log of a disk as a crash left it is a beginning of what is known, makes its tree together with what
    was trimmed, and goes on; what it had."""
    with mounted(disk, FILESET) as root:
        found = list(Log.of_mount(root).records())
        equal([record for record in found if record != known.get(record.recno)], [], "what nobody logged")
        model = Model(copy.deepcopy(baseline))
        for recno in range(1, found[-1].recno + 1):
            model.apply(known[recno])
        equal(model.differences(snapshot(root)), [], "differences")
        os.mkdir(f"{root}/next")
        newest = list(Log.of_mount(root).records())[-1]
        equal((newest.recno, newest.op), (found[-1].recno + 1, "mkdir"), "the log goes on")
    return found


@intermezzo_only
def test_crash_while_segments_are_used_again(disk: str, second_disk: str) -> None:
    """Power is lost in the third lap of the ring, where at each block a whole record of the second one lies
    behind the new ones: what counts are the new ones, and none that was safe is missing."""
    make_ext4(disk, "-b", str(BLOCK))
    known: dict[int, Record] = {}
    with mounted(disk, f"{FILESET},commit=300") as root:
        baseline = snapshot(root)

        def learn() -> Log:
            log = Log.of_mount(root)
            known.update((record.recno, record) for record in log.records())
            return log

        def change_safely(turn: int) -> None:
            """As many records as half a segment has blocks, each in a transaction and so in a block of its
            own."""
            for number in range(SEGMENT_LEAST // BLOCK // 2):
                os.mkdir(f"{root}/safe{turn}.{number}")
                syncfs(root)

        log, turn = learn(), 0
        while log.end < 2 * info(root).capacity:
            change_safely(turn)
            log, turn = learn(), turn + 1
            trim(root, log.end)
        for turn in range(turn, turn + 3):
            change_safely(turn)
            safe = info(root).end_recno
            change_much(root, turn, 20)
            copy_as_after_a_crash(disk, second_disk)
            log = learn()
            found = replays_after_a_crash(second_disk, baseline, known)
            equal((found[0].recno > 1, safe <= found[-1].recno < max(known)), (True, True),
                  f"records {found[0].recno} to {found[-1].recno} of {max(known)}, safe up to {safe}")
            trim(root, log.end)
