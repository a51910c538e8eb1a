# SPDX-License-Identifier: GPL-2.0
"""The rebuilding of disks after a power cut, from a recording made by hand; no guest is booted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import blocklog
from harness.blocklog import Cut, DISCARD, FLUSH, FUA, MARK, Rebuilder, Recording, SECTOR, Survivors

BLOCK = 8
SECTORS = 256
SEEDS = range(40)


def _recording(path: Path, *requests: tuple[int, int, int, bytes]) -> Recording:
    """A recording of (sector, sectors, flags, byte the sectors are filled with)."""
    with path.open("wb") as file:
        head = blocklog.SUPERBLOCK.pack(blocklog.MAGIC, blocklog.VERSION, 0, SECTOR)
        file.write(head.ljust(SECTOR, b"\0"))
        for sector, sectors, flags, fill in requests:
            file.write(blocklog.ENTRY.pack(sector, sectors, flags, 0).ljust(SECTOR, b"\0"))
            if not flags & DISCARD:
                file.write(fill * (sectors * SECTOR))
    return Recording(path)


def _write(sector: int, fill: bytes, flags: int = 0) -> tuple[int, int, int, bytes]:
    return sector, BLOCK, flags, fill


FLUSHED = (0, 0, FLUSH, b"")
# Two safe writes, a flush, then one that must survive and two that may not.
REQUESTS = (_write(64, b"A"), _write(72, b"B"), FLUSHED,
            _write(64, b"c"), _write(80, b"d"), _write(88, b"F", FUA))


def _disk(path: Path) -> Path:
    path.write_bytes(b"." * (SECTORS * SECTOR))
    return path


def _rebuilt(directory: Path, recording: Recording, point: int, survivors: Survivors, seed: int = 1) -> str:
    """The first byte of each sector from 64 to 103 of the rebuilt disk."""
    before = _disk(directory / "before")
    state = Rebuilder(recording, before).rebuild(Cut(point, survivors, seed), directory / "state")
    data = state.read_bytes()
    assert len(data) == SECTORS * SECTOR
    return "".join(chr(data[number * SECTOR]) for number in range(64, 104))


def _blocks(said: str) -> str:
    """One letter for each block of 8 sectors, `?` for a torn one."""
    parts = [said[start:start + BLOCK] for start in range(0, len(said), BLOCK)]
    return "".join(part[0] if len(set(part)) == 1 else "?" for part in parts)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return _recording(tmp_path / "recording", *REQUESTS)


def test_all_unsafe_writes_survive_if_chosen(tmp_path: Path, recording: Recording) -> None:
    assert _blocks(_rebuilt(tmp_path, recording, 6, Survivors.ALL)) == "cBdF."
    assert _blocks(_rebuilt(tmp_path, recording, 4, Survivors.ALL)) == "cB..."
    assert _blocks(_rebuilt(tmp_path, recording, 1, Survivors.ALL)) == "A...."


@pytest.mark.parametrize("survivors", [Survivors.SOME, Survivors.TORN])
def test_safe_and_fua_writes_always_survive(tmp_path: Path, recording: Recording,
                                            survivors: Survivors) -> None:
    for seed in SEEDS:
        blocks = _blocks(_rebuilt(tmp_path, recording, 6, survivors, seed))
        assert blocks[0] in "Ac?" and blocks[1] == "B" and blocks[3] == "F" and blocks[4] == ".", blocks


def test_some_writes_get_lost_whole_and_in_any_combination(tmp_path: Path, recording: Recording) -> None:
    seen = {_blocks(_rebuilt(tmp_path, recording, 6, Survivors.SOME, seed)) for seed in SEEDS}
    assert seen == {"AB.F.", "cB.F.", "ABdF.", "cBdF."}


def test_torn_writes_lose_sectors(tmp_path: Path, recording: Recording) -> None:
    seen = {_rebuilt(tmp_path, recording, 6, Survivors.TORN, seed)[:BLOCK] for seed in SEEDS}
    assert len(seen) > 10
    assert all(set(block) <= set("Ac") for block in seen)


def test_block_of_the_superblock_is_not_torn(tmp_path: Path) -> None:
    recording = _recording(tmp_path / "recording", _write(0, b"S"))
    before = _disk(tmp_path / "before")
    seen = set()
    for seed in SEEDS:
        state = Rebuilder(recording, before).rebuild(Cut(1, Survivors.TORN, seed), tmp_path / "state")
        seen.add(state.read_bytes()[:BLOCK * SECTOR])
    assert seen == {b"S" * (BLOCK * SECTOR), b"." * (BLOCK * SECTOR)}


def test_same_seed_gives_the_same_cuts_and_states(tmp_path: Path, recording: Recording) -> None:
    assert recording.cuts(1, 4, 7) == recording.cuts(1, 4, 7) != recording.cuts(1, 4, 8)
    states = [_rebuilt(tmp_path, recording, 6, Survivors.TORN, 9) for _ in range(2)]
    assert states[0] == states[1]


def test_states_of_one_disk_follow_each_other(tmp_path: Path, recording: Recording) -> None:
    rebuilder = Rebuilder(recording, _disk(tmp_path / "before"))
    for point, blocks in ((2, "AB"), (3, "AB"), (4, "cB"), (6, "cB")):
        state = rebuilder.rebuild(Cut(point, Survivors.ALL, 1), tmp_path / f"state-{point}")
        assert _blocks(state.read_bytes()[64 * SECTOR:80 * SECTOR:SECTOR].decode()) == blocks
    with pytest.raises(ValueError, match="asked for after a later one"):
        rebuilder.rebuild(Cut(1, Survivors.ALL, 1), tmp_path / "state-1")


def test_discarded_sectors_read_zero_and_marks_write_nothing(tmp_path: Path) -> None:
    recording = _recording(tmp_path / "recording", _write(64, b"A"), (64, 4, DISCARD, b""),
                           (72, 1, MARK, b"M"), _write(80, b"B"))
    assert _rebuilt(tmp_path, recording, 4, Survivors.ALL) == "\0\0\0\0AAAA" + "." * 8 + "B" * 8 + "." * 16


def test_point_is_found_by_the_sectors_a_guest_has_written(recording: Recording) -> None:
    assert [recording.point_at(sectors) for sectors in (1, 8, 9, 16, 24, 40)] == [1, 1, 2, 2, 4, 6]
    with pytest.raises(blocklog.RecordingError, match="is it the right disk"):
        recording.point_at(41)


def test_discards_and_marks_are_not_counted_as_written(tmp_path: Path) -> None:
    recording = _recording(tmp_path / "recording", (64, 4, DISCARD, b""), (72, 1, MARK, b"M"),
                           _write(80, b"B"))
    assert recording.point_at(1) == 3


def test_cuts_lie_between_the_first_point_and_the_end(recording: Recording) -> None:
    assert [cut.point for cut in recording.cuts(4, 50, 1)] == [4, 5, 6]
    assert [cut.point for cut in recording.cuts(1, 50, 1, before=4)] == [1, 2, 3]
    assert {cut.survivors for cut in recording.cuts(4, 50, 1)} == set(Survivors)


def test_recording_cut_in_the_middle_of_a_write_ends_before_it(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    _recording(whole, *REQUESTS)
    whole.write_bytes(whole.read_bytes()[:-1])
    assert len(Recording(whole).entries) == len(REQUESTS) - 1


@pytest.mark.parametrize("content, said", [(b"", "the guest never opened the disk"),
                                           (b"x" * 4096, "no dm-log-writes recording")],
                         ids=["empty", "other"])
def test_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "recording"
    path.write_bytes(content)
    with pytest.raises(blocklog.RecordingError, match=said):
        Recording(path)
