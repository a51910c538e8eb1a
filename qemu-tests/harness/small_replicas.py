# SPDX-License-Identifier: GPL-2.0
"""Two small guests on a private network, BusyBox and intersync, with replicas of one fileset."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

from harness import artifacts, guest_script, replicas, tiny, verdict
from harness.qemu import Disk, Guest, Machine, Run

MEMORY_MB = 256
TAKE_CARD = artifacts.REPO / "images/tree/debian-13/usr/lib/izo-test/take-card"
# As count_what_comes of cases/qemu/guest/small-replica.sh says it.
CAME = re.compile(r"^came (\d+)\r?\n", re.MULTILINE)


@dataclass
class Half:
    """What one of the two is given: disks, and what its script finds in variables."""

    disks: Sequence[Path] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Ended:
    """What became of it."""

    run: Run
    verdict: verdict.Verdict


def run_pair(folder: Path, script: str, halves: Mapping[str, Half], *, limit: float,
             programs: Mapping[str, Path], memory_mb: int = MEMORY_MB) -> dict[str, Ended]:
    """Both, by role, side by side until both have powered off; each has a folder of its own in `folder`."""
    def boot(role: str, half: Half) -> Ended:
        nonce = verdict.new_nonce()
        made = machine(folder / role, role, nonce, script, limit=limit, programs=programs, **half.variables)
        made.memory_mb = memory_mb
        made.disks = [Disk(path) for path in half.disks]
        run = Guest(made, folder / role, role).run()
        judged = verdict.judge(run.channel, run.console, nonce)
        judged.problems = run.trouble + judged.problems
        return Ended(run, judged)
    for role in halves:
        (folder / role).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        running = {role: pool.submit(boot, role, half) for role, half in halves.items()}
    return {role: future.result() for role, future in running.items()}


def machine(directory: Path, role: str, nonce: str, script: str, *, limit: float,
            programs: Mapping[str, Path], **variables: str) -> Machine:
    """A guest without its disk; the network's sockets are in the folder above `directory`.

    `programs` are more of them, by name in the guest's /bin. The script finds `variables` and what
    cases/qemu/guest/small-replica.sh has.
    """
    files: dict[str, Path | str] = {}
    ours = {"intersync": artifacts.intersync() / "src/daemon/intersync", "take-card": TAKE_CARD}
    for name, program in {**ours, **programs}.items():
        files |= {f"bin/{name}": program, **tiny.libraries(program)}
    other = replicas.other(role)
    text = guest_script.text("two-guests.sh", "small-replica.sh", IZO_ROLE=role, IZO_OTHER=other, **variables)
    text += guest_script.source(script)
    made = tiny.tiny(directory, nonce, text, files=files, limit=limit)
    made.memory_mb = MEMORY_MB
    made.options = replicas.network(directory.parent, role)
    return made


def output(folder: Path) -> str:
    """All that a guest whose folder this is has written so far."""
    path = folder / "output.log"
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def came(folder: Path) -> int:
    """How many texts of the other's it had when it said so last."""
    return max(map(int, CAME.findall(output(folder))), default=0)
