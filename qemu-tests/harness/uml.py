# SPDX-License-Identifier: GPL-2.0
"""Boots one User-mode Linux guest with disks, runs one case file in it and judges what it says.

The guest's root is the host's own, read-only, by hostfs; it can write its run directory only. Its first
process
is qemu-tests/guest/runner.py. Environment: IZO_UML_LINUX (another kernel), IZO_FSTYPE (type under test),
IZO_UML_SLOWNESS (multiplies every deadline; measured from the boot when not set).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from harness import accel, artifacts
from harness.verdict import Verdict, finished, judge, new_nonce

QEMU_TESTS = Path(__file__).resolve().parent.parent
RUNNER = QEMU_TESTS / "guest" / "runner.py"
UBD_LETTERS = "abcdefgh"
# Seconds from exec to the runner's first line on the machine the deadlines below were measured on.
NOMINAL_BOOT = 3.0
BOOT_DEADLINE = 120.0
CASE_DEADLINE = 150.0
FILE_DEADLINE = 600.0
MEMORY = "512M"
DEFAULT_FSTYPE = "intermezzo"
RUNS_KEPT = 20


@dataclass
class Job:
    """One guest: a case file and which of its functions to run."""

    case: Path
    functions: Sequence[str]
    fstype: str
    disks: Sequence[str] = ("256M", "256M", "96M", "96M", "96M")
    case_deadline: float = CASE_DEADLINE
    file_deadline: float = FILE_DEADLINE
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@dataclass
class GuestRun:
    """How one guest ended."""

    verdict: Verdict
    console: str
    directory: Path
    boot_seconds: float
    seconds: float

    def details(self, name: str) -> str:
        """The longer story the guest left about one test."""
        path = self.directory / f"{name}.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def discard(self) -> None:
        """Remove disks and logs."""
        shutil.rmtree(self.directory, ignore_errors=True)


def kernel() -> Path:
    """The User-mode Linux binary that runs the guests."""
    return artifacts.kernel("uml").image


def runs_directory() -> Path:
    """Where guests have their disks and leave their logs."""
    path = artifacts.cache_dir() / "uml-runs"
    path.mkdir(exist_ok=True)
    return path


def remove_old_runs() -> None:
    """Keep the logs of the last failures only."""
    runs = sorted(runs_directory().iterdir(), key=lambda path: path.stat().st_mtime)
    for path in runs[:-RUNS_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def fstype_under_test() -> str:
    """IZO_FSTYPE=ext4 proves the cases themselves."""
    return os.environ.get("IZO_FSTYPE", DEFAULT_FSTYPE)


def _make_disks(directory: Path, sizes: Sequence[str]) -> list[str]:
    """Sparse disks; their words for the kernel command line."""
    words = []
    for letter, size in zip(UBD_LETTERS, sizes):
        path = directory / f"disk-{letter}"
        with open(path, "wb") as disk:
            disk.truncate(int(size.rstrip("M")) << 20)
        words.append(f"ubd{letter}={path}")
    return words


def _command_line(binary: Path, directory: Path, nonce: str, job: Job) -> list[str]:
    return [
        *accel.DIES_WITH_US, str(binary), f"mem={MEMORY}",
        "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
        f"init={RUNNER}", *_make_disks(directory, job.disks), "con=null", "con0=null,fd:1", "ssl=null",
        "loglevel=8", f"umid=izo-{nonce}", f"uml_dir={directory}/", f"izo.nonce={nonce}",
        f"izo.run={directory}",
        f"izo.tests={QEMU_TESTS}", f"izo.cases={job.case.parent}",
    ]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the guest with all the host processes it consists of."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _slowness(boot_seconds: float) -> float:
    """How much slower than nominal this machine is now, by its boot; never less than 1."""
    if fixed := os.environ.get("IZO_UML_SLOWNESS"):
        return float(fixed)
    return max(1.0, boot_seconds / NOMINAL_BOOT)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _watch(process: subprocess.Popen[bytes], channel: Path, nonce: str, job: Job) -> tuple[str, float]:
    """Wait for the guest to end. Returns why it was stopped, if it was, and how long its boot took."""
    start = time.monotonic()
    boot_seconds, deadline = 0.0, start + BOOT_DEADLINE
    while process.poll() is None:
        if not boot_seconds and f"IZO {nonce} fact up:" in _read(channel):
            boot_seconds = time.monotonic() - start
            deadline = start + boot_seconds + job.file_deadline * _slowness(boot_seconds)
        if time.monotonic() > deadline:
            phase = "ran out of time" if boot_seconds else "did not boot in time"
            _kill(process)
            return f"guest {phase}: killed after {time.monotonic() - start:.0f} s", boot_seconds
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    return "", boot_seconds


def run_guest(binary: Path, job: Job) -> GuestRun:
    """Boot, run, power off; kill at the deadline. The run directory stays until discard()."""
    base = runs_directory()
    directory = Path(tempfile.mkdtemp(prefix=f"{job.case.stem}-", dir=base))
    nonce = new_nonce()
    for file in job.files:
        shutil.copy(artifacts.REPO / file, directory)
    (directory / "job.json").write_text(json.dumps({
        "case": job.case.name, "only": list(job.functions), "fstype": job.fstype, "limit": job.case_deadline,
        "environment": job.environment}), encoding="utf-8")
    channel, console = directory / "verdict", directory / "console"
    start = time.monotonic()
    with open(console, "wb") as output:
        process = subprocess.Popen(_command_line(binary, directory, nonce, job), stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output, start_new_session=True, cwd=directory)
        try:
            stopped, boot_seconds = _watch(process, channel, nonce, job)
        finally:
            _kill(process)
    said, shown = _read(channel), _read(console)
    allow = [line.split(": ", 1)[1] for line in said.splitlines() if " fact provokes " in line]
    verdict = judge(said, shown, nonce, allow)
    if stopped:
        verdict.problems.insert(0, stopped)
    elif not finished(said, nonce):
        verdict.problems.insert(0, "guest ended before it was done; last words: " + " / ".join(
            line.strip() for line in shown.splitlines()[-4:]))
    return GuestRun(verdict, shown, directory, boot_seconds, time.monotonic() - start)
