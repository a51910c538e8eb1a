# SPDX-License-Identifier: GPL-2.0
"""Two guests on a private network, whose disks are replicas of one fileset: a server's; a client's, a copy of
the server's made a replica of its own by mkizofs --clone. Here also: Debian guests with these as their roots.
"""

from __future__ import annotations

import dataclasses
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


def other(role: str) -> str:
    """The other one of the two."""
    return ROLES[1 - ROLES.index(role)]


def network(directory: Path, role: str) -> list[str]:
    """QEMU's words for one end of a cable; its sockets are in `directory`. The MAC address ends in 1 or 2."""
    cable = (f"dgram,id=private,local.type=unix,local.path={directory / f'net-{role}'},"
             f"remote.type=unix,remote.path={directory / f'net-{other(role)}'}")
    card = f"virtio-net-pci,netdev=private,romfile=,mac=52:54:00:00:00:0{ROLES.index(role) + 1}"
    return ["-netdev", cable, "-device", card]


def make_replicas(server: Path, client: Path) -> None:
    """Make the server's disk, an ext4, a cache with a log, and the client's a copy with a log of its own."""
    _mkizofs("--fileset=rootset", server)
    copy_sparse(server, client)
    _mkizofs("--clone", client)


def _mkizofs(*words: str | Path) -> None:
    program = artifacts.intersync() / "src/tools/mkizofs"
    result = subprocess.run([program, *words], capture_output=True, text=True)
    if result.returncode:
        raise artifacts.BuildError(f"mkizofs: {result.stderr.strip()}")


def _machine(directory: Path, role: str, script: str | None, nonce: str) -> Machine:
    """A guest with one end of the private network; root.ext4 is in `directory`."""
    disks = [Disk(directory / "root.ext4", "izo-root")]
    if script:
        text = guest_script.text(script, IZO_ROLE=role, IZO_OTHER=other(role))
        disks.append(Disk(script_disk(directory / "script.disk", text), "izo-test"))
    return Machine(
        kernel=artifacts.kernel("qemu").image,
        # without net.ifnames=0 udev renames the card, perhaps between finding it and giving it its address
        append=f"root=/dev/vda rootfstype=intermezzo izo.role={role} net.ifnames=0",
        nonce=nonce,
        disks=disks,
        limit=LIMIT,
        options=network(directory.parent, role),
    )


@dataclass
class Side:
    """One of the two: its guest, and what became of it."""
    role: str
    directory: Path
    nonce: str
    guest: Guest
    outcome: Run | None = None


def prepare(directory: Path, script: str | None,
            on_line: Callable[[str, str], None] | None = None) -> list[Side]:
    """Make both disks in `directory`; `on_line` gets role and each line of a console.

    Without a script they stay up for whoever is at their consoles.
    """
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
    make_replicas(server, client)
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


def judged(sides: list[Side]) -> verdict.Verdict:
    """What both said, with their roles, once both have ended; and how they left their disks."""
    together = verdict.Verdict(done=True)
    for side in sides:
        assert side.outcome
        alone = verdict.judge(side.outcome.channel, side.outcome.console, side.nonce)
        alone.problems += side.outcome.trouble
        disk = side.directory / "root.ext4"
        if debian.fsck(disk) or debian.needs_recovery(disk):
            alone.problems.append(f"its disk is not clean: {debian.fsck(disk)}")
        together.done = together.done and alone.done
        together.checks += [dataclasses.replace(check, name=f"{side.role}: {check.name}")
                            for check in alone.checks]
        together.facts |= {f"{side.role}: {key}": value for key, value in alone.facts.items()}
        together.problems += [f"{side.role}: {problem}" for problem in alone.problems]
    return together
