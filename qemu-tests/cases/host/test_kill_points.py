# SPDX-License-Identifier: GPL-2.0
"""Which points of a traced life the gate kills a daemon at, and what it makes of those no life came to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from guest import kill_points
from guest.kill_points import Life, Point, missed_kinds, missed_points, points_of, slice_of, tally

TRACE = """\
10 mkdir("/tmp/state", 0700) = 0
10 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 3
10 openat(AT_FDCWD, "/tmp/state/new", O_WRONLY|O_CREAT, 0600) = 3
11 ioctl(4</srv>, _IOC(_IOC_READ|_IOC_WRITE, 0x7a, 0x22, 0x20), 0x7ff) = 0
11 ioctl(4</srv>, _IOC(_IOC_READ|_IOC_WRITE, 0x7a, 0x24, 0x20), 0x7ff) = 0
11 ioctl(8</srv/file>, _IOC(_IOC_READ|_IOC_WRITE, 0x7a, 0x24, 0x20), 0x7ff) = 0
10 ioctl(4</srv>, _IOC(_IOC_READ|_IOC_WRITE, 0x7a, 0x23, 0x20), 0x7ff <unfinished ...>
11 write(5<anon_inode:[eventfd]>, ""..., 8) = 8
11 write(6</srv/file>, ""..., 8) = 8
10 <... ioctl resumed>) = 0
11 ioctl(4</srv>, _IOC(_IOC_READ|_IOC_WRITE, 0x7a, 0x22, 0x20), 0x7ff) = 0
10 sendto(7<socket:[1]>, ""..., 9, MSG_NOSIGNAL, NULL, 0) = 9
11 +++ killed by SIGKILL +++
"""
POINTS = [Point("mkdir", 1, False), Point("openat", 2, False),
          Point("ioctl", 1, False, "/srv"), Point("ioctl", 1, True, "/srv"), Point("write", 2, False),
          Point("ioctl", 3, False, "/srv"), Point("ioctl", 3, True, "/srv"),
          Point("sendto", 1, False), Point("sendto", 1, True)]
MANY = [Point(call, number, done) for call in ("ioctl", "linkat") for number in range(1, 31)
        for done in (False, True)]


def test_a_point_is_a_call_that_touches_state_and_its_number_of_all_of_its_thread() -> None:
    """Those of one number in two threads are one point; reads, other ioctls and threads' wakes are none; of
    ioctls only those on the same path count."""
    assert points_of(TRACE) == POINTS


def test_strace_is_told_the_path_of_an_ioctl_alone() -> None:
    """It counts what it follows: other calls are counted wherever they are made."""
    assert Point("ioctl", 3, False, "/srv").words() == ["-e", "inject=ioctl:signal=KILL:when=3", "-P", "/srv"]
    assert Point("linkat", 2, True).words() == ["-e", "inject=linkat:delay_exit=300s:when=2"]


def test_a_slice_has_every_call_and_both_sides_of_each_ioctl() -> None:
    """With each seed; and all points of a kind, once, for others to stand in for one."""
    for seed in range(50):
        chosen = slice_of(POINTS, str(seed))
        kinds = [{point.kind() for point in of_a_kind} for of_a_kind in chosen]
        assert sorted(kind for one in kinds for kind in one) == [
            "ioctl", "ioctl done", "mkdir", "openat", "sendto", "write"]
        assert sorted(point for of_a_kind in chosen for point in of_a_kind) == sorted(POINTS)


def test_a_seed_is_one_slice_and_seeds_come_to_all_points() -> None:
    """Also to both sides of a call of which one life is enough."""
    assert slice_of(MANY, "7 push-client") == slice_of(MANY, "7 push-client")
    first = {of_a_kind[0] for seed in range(1000) for of_a_kind in slice_of(MANY, str(seed))}
    assert first == set(MANY)


def test_a_kind_is_missed_until_one_life_has_ended_at_it() -> None:
    """A life that was to end at one side of an ioctl does not count for the other."""
    before, behind = Point("ioctl", 3, False), Point("ioctl", 3, True)
    assert missed_kinds([]) == []
    assert missed_kinds([(before, True), (behind, False)]) == ["ioctl done"]
    assert missed_kinds([(before, False), (behind, False), (behind, True)]) == ["ioctl"]
    assert missed_kinds([(before, True), (before, False), (behind, True)]) == []


def test_a_point_is_missed_if_no_life_ended_there() -> None:
    """However many tried."""
    one, two = Point("fsync", 1, False), Point("fsync", 2, False)
    assert missed_points([(one, False), (two, False), (one, True), (two, False)]) == [two]


def test_the_tally_counts_each_kind_and_names_what_was_not_reached() -> None:
    """Nothing is said of that when all were."""
    lives = [(Point("ioctl", 3, True), True), (Point("fsync", 1, False), True),
             (Point("fsync", 9, False), False)]
    assert tally(lives) == "fsync 1 of 2, ioctl done 1 of 1; not reached: fsync 9"
    assert tally(lives[:2]) == "fsync 1 of 1, ioctl done 1 of 1"


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Life:
    """One that was to end at its second call of linkat, and lives."""
    monkeypatch.setattr(kill_points, "wait_until", fail_unless)
    made = Life.__new__(Life)
    made.point = Point("linkat", 2, False)
    made.daemon = SimpleNamespace(process=SimpleNamespace(poll=lambda: None))  # type: ignore[assignment]
    return made


def fail_unless(condition: Any, what: str) -> None:
    """wait_until() without its twenty seconds."""
    assert condition(), what


def test_who_came_to_its_point_and_lives_is_not_one_who_did_not_come(life: Life,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a life fails the test; one that made fewer calls does not, nor one that is held up there."""
    line = '10 linkat(AT_FDCWD, "a", AT_FDCWD, "b", 0) = 0'
    for lines, has_come in (([line], False), ([line, line.replace("10", "11")], False), ([line, line], True)):
        monkeypatch.setattr(life, "trace", lambda lines=lines: "\n".join(lines))
        if has_come:
            with pytest.raises(AssertionError, match="linkat 2: it has come there"):
                life.must_not_have_come()
        else:
            life.must_not_have_come()
    monkeypatch.setattr(life, "trace", lambda: f"{line}\n{line} (DELAYED)")
    life.must_not_have_come()
