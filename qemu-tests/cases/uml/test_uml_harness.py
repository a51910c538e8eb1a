# SPDX-License-Identifier: GPL-2.0
"""The harness itself: a guest that misbehaves in any way must be seen as a failure."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from harness import uml

MISBEHAVING = '''
import os, time
from guest.mounting import mount_old
from guest.subject import mount_point

def test_good():
    os.stat("/")

def test_wrong():
    assert 1 == 2

def test_hangs():
    time.sleep(1000)

def test_dies():
    os.kill(os.getpid(), 9)

def test_kernel_complains():
    with open("/dev/kmsg", "w") as log:
        log.write("WARNING: CPU: 0 PID: 1 at fs/intermezzo/dir.c:1\\n")

def test_leaves_a_mount():
    mount_old("none", mount_point(), "tmpfs")

def test_leaves_a_process():
    if os.fork() == 0:
        time.sleep(1000)

def test_differs(tree):
    tree.note(tree.root)

def test_writes_to_the_host(where):
    try:
        open("/written-by-a-guest", "w").close()
    except OSError:
        return
    raise AssertionError("the host's root can be written")
'''
LEAVES_EARLY = '''
import ctypes

def test_powers_off():
    ctypes.CDLL(None).reboot(0x4321FEDC)
'''


def run(folder: Path, text: str, **deadlines: float) -> uml.GuestRun:
    """One guest with a case file of ours."""
    case = folder / "guest_misbehaving.py"
    case.write_text(textwrap.dedent(text), encoding="utf-8")
    names = re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    return uml.run_guest(uml.kernel(), uml.Job(case, names, "ext4", **deadlines))


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> uml.GuestRun:
    """A guest in which everything goes wrong, one function each."""
    return run(tmp_path_factory.mktemp("case"), MISBEHAVING, case_deadline=3)


@pytest.mark.parametrize("name, reason", [
    ("test_wrong", "AssertionError"), ("test_hangs", "no answer within 3 s"), ("test_dies", "died"),
    ("test_kernel_complains", "WARNING"), ("test_leaves_a_mount", "left mounted"), ("test_differs", "noted"),
])
def test_misbehaviour_is_reported(misbehaving: uml.GuestRun, name: str, reason: str) -> None:
    """The failing function is named with its reason."""
    check = misbehaving.verdict.check(name)
    assert not check.ok
    assert reason in check.detail


@pytest.mark.parametrize("name", ["test_good", "test_leaves_a_process", "test_writes_to_the_host"])
def test_good_functions_pass_beside_bad_ones(misbehaving: uml.GuestRun, name: str) -> None:
    """One case's misbehaviour does not touch the next."""
    assert misbehaving.verdict.check(name).ok
    assert not misbehaving.verdict.passed


def test_console_complaint_fails_the_whole_guest(misbehaving: uml.GuestRun) -> None:
    """Kernel trouble on the console is a problem of the run, whatever the functions said."""
    assert any("WARNING" in problem for problem in misbehaving.verdict.problems)


def test_guest_that_powers_off_early_fails(tmp_path: Path) -> None:
    """Without the last word of the protocol nothing has passed."""
    guest = run(tmp_path, LEAVES_EARLY)
    assert not guest.verdict.passed
    assert "ended before it was done" in guest.verdict.problems[0]
    guest.discard()


def test_guest_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """The deadline of the whole guest ends it with all its processes."""
    guest = run(tmp_path, "def test_hangs():\n    import time\n    time.sleep(1000)\n", file_deadline=4)
    assert "ran out of time" in guest.verdict.problems[0]
    assert guest.seconds < 60
    guest.discard()


def test_every_guest_is_gone(misbehaving: uml.GuestRun) -> None:
    """No host process of a finished guest is left."""
    misbehaving.discard()
    left = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if str(misbehaving.directory).encode() in command:
            left.append(folder.name)
    assert not left
