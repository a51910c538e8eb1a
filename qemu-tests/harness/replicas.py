# SPDX-License-Identifier: GPL-2.0
"""Two Debian guests on a private network, whose roots are replicas of one fileset: a server; a client on a
copy of the server's disk, made a replica of its own by mkizofs --clone."""

from __future__ import annotations

import functools
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from harness import artifacts, debian, guest_script, verdict
from harness.qemu import Disk, Guest, Machine, Run, copy_sparse, script_disk

ROLES = ("server", "client")
UNIT = "intersync@.service"
LIMIT = 600


def _install(image: Path) -> None:
    """intersync and its unit, started at boot, in an ext4 image that is not mounted."""
    unit = artifacts.REPO / "intersync" / "units" / UNIT
    wants = "/etc/systemd/system/multi-user.target.wants"
    commands = []
    program = artifacts.intersync() / "src/daemon/intersync"
    for source, target, mode in ((program, "/usr/sbin/intersync", "0100755"),
                                 (unit, f"/usr/lib/systemd/system/{UNIT}", "0100644")):
        commands += [f"write {source} {target}", f"set_inode_field {target} mode {mode}",
                     f"set_inode_field {target} uid 0", f"set_inode_field {target} gid 0"]
    commands.append(f"symlink {wants}/intersync@-.service /usr/lib/systemd/system/{UNIT}")
    result = subprocess.run(["debugfs", "-w", "-f", "-", image], input="\n".join(commands), text=True,
                            check=True, capture_output=True)
    trouble = [line for line in result.stderr.splitlines() if not line.startswith("debugfs ")]
    if trouble:
        raise artifacts.BuildError(f"debugfs on {image}: {trouble[0]}")


def _mkizofs(*words: str | Path) -> None:
    program = artifacts.intersync() / "src/tools/mkizofs"
    result = subprocess.run([program, *words], capture_output=True, text=True)
    if result.returncode:
        raise artifacts.BuildError(f"mkizofs: {result.stderr.strip()}")


def _machine(directory: Path, role: str, script: str, nonce: str) -> Machine:
    """A guest with one end of the private network; root.ext4 is in `directory`."""
    sockets = {one: directory.parent / f"net-{one}" for one in ROLES}
    other = ROLES[1 - ROLES.index(role)]
    network = (f"dgram,id=private,local.type=unix,local.path={sockets[role]},"
               f"remote.type=unix,remote.path={sockets[other]}")
    card = f"virtio-net-pci,netdev=private,romfile=,mac=52:54:00:00:00:0{ROLES.index(role) + 1}"
    text = guest_script.text(script, IZO_ROLE=role, IZO_OTHER=other)
    return Machine(
        kernel=artifacts.kernel("qemu").image,
        append=f"root=/dev/vda rootfstype=intermezzo izo.role={role}",
        nonce=nonce,
        disks=[Disk(directory / "root.ext4", "izo-root"),
               Disk(script_disk(directory / "script.disk", text), "izo-test")],
        limit=LIMIT,
        options=["-netdev", network, "-device", card],
    )


@dataclass
class Side:
    """One of the two: its guest, and what became of it."""
    role: str
    directory: Path
    nonce: str
    guest: Guest
    outcome: Run | None = None

    def judged(self) -> verdict.Verdict:
        """What it said, once it has ended."""
        assert self.outcome
        judged = verdict.judge(self.outcome.channel, self.outcome.console, self.nonce)
        judged.problems = self.outcome.trouble + judged.problems
        return judged


def prepare(directory: Path, script: str, on_line: Callable[[str, str], None] | None = None) -> list[Side]:
    """Make both disks in `directory`; `on_line` gets role and each line of a console."""
    sides = []
    for role in ROLES:
        folder = directory / role
        folder.mkdir(parents=True)
        nonce = verdict.new_nonce()
        machine = _machine(folder, role, script, nonce)
        line = functools.partial(on_line, role) if on_line else None
        sides.append(Side(role, folder, nonce, Guest(machine, folder, role, line)))
    server, client = (side.directory / "root.ext4" for side in sides)
    copy_sparse(artifacts.debian_root(), server)
    debian.write_into(server, "/etc/fstab", f"/dev/vda / intermezzo {debian.FSTAB_WORDS} 0 1\n")
    _install(server)
    _mkizofs("--fileset=rootset", server)
    copy_sparse(server, client)
    _mkizofs("--clone", client)
    return sides


def run(sides: list[Side]) -> None:
    """Boot both side by side and wait until both have powered off."""
    def boot(side: Side) -> None:
        side.outcome = side.guest.run()
    threads = [threading.Thread(target=boot, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
