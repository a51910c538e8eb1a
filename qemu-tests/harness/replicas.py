# SPDX-License-Identifier: GPL-2.0
"""Two guests on a private network, whose disks are replicas of one fileset: a server's; a client's, a copy of
the server's made a replica of its own by mkizofs --clone. Here also: Debian guests with these as their roots;
the client's loses its power once.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from guest.intersync import replicated
from guest.replay import IDENTITY, ROOT_LOCALS, is_local
from guest.tree import differences
from harness import accel, artifacts, cable, cache_state, debian, guest_script, verdict
from harness.qemu import Disk, Guest, Machine, Run, copy_sparse, script_disk

ROLES = ("server", "client")
UNIT = "intersync@.service"
# Seconds for both guests together, and for one to wait for the other, on the reference machine.
LIMIT, STEP_LIMIT = 600, 120
# The client's power is cut when it has called so many texts safe, and goes on writing.
SAFE_TEXTS = 20
LOOK_EVERY = 0.02
# Facts by which guests ask the host for something.
SAFE_FACT, ASK_FACT = "safe", "asks the host"
SAFE = re.compile(rf"^IZO \w+ fact {SAFE_FACT}: (\d+) *\r?\n", re.MULTILINE)
# What both ask for, one after the other, of the cable between them, and whether it is there then.
CABLE_STEPS = (("to cut the link", False), ("to put the link back", True))
# What each boot says of itself, in the order that the old guide has (docs/history.md).
BOOT_ORDER = ("the root is read-only before the remount", "a write before the remount says read-only",
              "no_filter is set before the remount", "the root is read-write after the remount",
              "intersync did not run yet when a unit had written a file", "no_filter was set then",
              "intersync runs", "no_filter is cleared")
# Who tells, what, and facts about it.
Told = Callable[[str, str, dict[str, str]], None]


def _install(image: Path) -> None:
    """intersync, its unit, started at boot, and izoctl, in an ext4 image that is not mounted."""
    unit = artifacts.REPO / "intersync" / "units" / UNIT
    wants = "/etc/systemd/system/multi-user.target.wants"
    commands = []
    built = artifacts.intersync() / "src"
    for source, target, mode in ((built / "daemon/intersync", "/usr/sbin/intersync", "0100755"),
                                 (built / "tools/izoctl", "/usr/sbin/izoctl", "0100755"),
                                 (unit, f"/usr/lib/systemd/system/{UNIT}", "0100644")):
        commands += debian.placing(source, target, mode)
    debian.change(image, *commands, f"symlink {wants}/intersync@-.service /usr/lib/systemd/system/{UNIT}")


def other(role: str) -> str:
    """The other one of the two."""
    return ROLES[1 - ROLES.index(role)]


def propagated(role: str) -> str:
    """What this one says next in its first boot."""
    return f"what the {other(role)} wrote before intersync ran is here"


def network(directory: Path, role: str) -> list[str]:
    """QEMU's words for one end of a cable; its sockets are in `directory`. The MAC address ends in 1 or 2."""
    ends = (f"dgram,id={cable.NETDEV},local.type=unix,local.path={directory / f'net-{role}'},"
            f"remote.type=unix,remote.path={directory / f'net-{other(role)}'}")
    card = f"virtio-net-pci,netdev={cable.NETDEV},romfile=,mac=52:54:00:00:00:0{ROLES.index(role) + 1}"
    return ["-netdev", ends, "-device", card]


def make_replicas(server: Path, client: Path) -> None:
    """Make the server's disk, an ext4, a cache with a log, and the client's a copy with a log of its own."""
    _mkizofs("--fileset=rootset", server)
    copy_sparse(server, client)
    _mkizofs("--clone", "--of-server", client)


def _mkizofs(*words: str | Path) -> None:
    program = artifacts.intersync() / "src/tools/mkizofs"
    result = subprocess.run([program, *words], capture_output=True, text=True)
    if result.returncode:
        raise artifacts.BuildError(f"mkizofs: {result.stderr.strip()}")


def on_disk(top: Path) -> dict[str, dict[str, Any]]:
    """What must be the same on every replica, in a cache that is mounted itself."""
    tree = replicated(str(top))
    for entry in tree.values():
        # where an object was made its maker knows, and the mount does not show
        entry["xattrs"].pop(IDENTITY, None)
    return tree


def shared_root(disk: Path) -> dict[str, dict[str, Any]]:
    """All that two roots share, on the disk of one that no guest uses any more."""
    return cache_state.seen(disk, _shared)


def _shared(top: Path) -> dict[str, dict[str, Any]]:
    tree = on_disk(top)
    own = [path for path in tree if _is_own(path)]
    for path in own:
        del tree[path]
    for folder in {os.path.dirname(path) or "." for path in own}.intersection(tree):
        # one that has names of this machine's own is touched by their changes, on this machine alone
        for what in ("mtime", "nlink"):
            tree[folder].pop(what, None)
    return tree


def _is_own(path: str) -> bool:
    parts = path.split("/")
    return any(is_local("/".join(parts[:count]), (*ROOT_LOCALS, ".intermezzo"))
               for count in range(1, len(parts) + 1))


def _machine(directory: Path, role: str, script: str | None, nonce: str, **variables: str) -> Machine:
    """A guest with one end of the private network; root.ext4 is in `directory`."""
    disks = [Disk(directory / "root.ext4", "izo-root")]
    if script:
        text = guest_script.text("root-states.sh", "two-guests.sh", "root-tree.sh", script,
                                 IZO_TYPE="intermezzo", IZO_ROLE=role, IZO_OTHER=other(role),
                                 IZO_LIMIT=str(round(STEP_LIMIT * accel.time_scale())), **variables)
        disks.append(Disk(script_disk(directory / "script.disk", text), "izo-test"))
    return Machine(
        kernel=artifacts.kernel("qemu").image,
        # without net.ifnames=0 udev renames the card, perhaps between finding it and giving it its address
        append=f"root=/dev/vda rootfstype=intermezzo izo.role={role} net.ifnames=0",
        nonce=nonce,
        disks=disks,
        limit=LIMIT,
        options=[*network(directory.parent, role), *cable.monitor(directory.parent, role)],
    )


@dataclass
class Boot:
    """A guest, and what became of it."""
    name: str
    directory: Path
    nonce: str
    guest: Guest
    outcome: Run | None = None

    def said(self) -> str:
        """On the verdict channel so far."""
        path = self.directory / "verdict.log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class Side:
    """One of the two, with all its boots: each but the last was ended by a power cut."""
    role: str
    script: str | None
    boots: list[Boot] = field(default_factory=list)
    told: Told = lambda who, what, facts: None

    @property
    def disk(self) -> Path:
        """Its root."""
        return self.boots[-1].directory / "root.ext4"

    def said(self) -> str:
        """On the verdict channel so far."""
        return "\n".join(boot.said() for boot in self.boots)

    def add_boot(self, directory: Path, part: str, **variables: str) -> None:
        """One that is not begun yet; its disk goes with it."""
        directory.mkdir(parents=True)
        if self.boots:
            self.disk.rename(directory / self.disk.name)
        nonce = verdict.new_nonce()
        machine = _machine(directory, self.role, self.script, nonce, IZO_PART=part, **variables)
        self.boots.append(Boot(directory.name, directory, nonce, Guest(machine, directory, self.role)))

    def run(self) -> None:
        """Until it has powered off."""
        if self.role == "client" and self.script:
            if not self._lose_power():
                return
            self.told("host", f"cuts the power of the {self.role}, while it writes text after text",
                      {"texts that were safe": str(self._safe_texts())})
            folder = self.boots[-1].directory
            self.add_boot(folder.with_name(f"{folder.name}-again"), "again", IZO_SAFE=str(self._safe_texts()))
            self.told(self.role, "boots again", {})
        self._run_last()

    def _run_last(self) -> None:
        self.boots[-1].outcome = self.boots[-1].guest.run()

    def _lose_power(self) -> bool:
        """Run it until its power is cut while it writes. Whether it came to that."""
        ended, lost = threading.Event(), threading.Event()

        def cut() -> None:
            while not ended.wait(LOOK_EVERY):
                if self._safe_texts() >= SAFE_TEXTS and self.boots[-1].guest.cut_power(lambda: True):
                    lost.set()
                    return
        cutter = threading.Thread(target=cut)
        cutter.start()
        self._run_last()
        ended.set()
        cutter.join()
        return lost.is_set()

    def _safe_texts(self) -> int:
        return max(map(int, SAFE.findall(self.said())), default=0)


def prepare(directory: Path, script: str | None) -> list[Side]:
    """Make both disks in `directory`. Without a script they stay up for whoever is at their consoles."""
    sides = [Side(role, script) for role in ROLES]
    for side in sides:
        side.add_boot(directory / side.role, "first")
    server, client = (side.disk for side in sides)
    copy_sparse(artifacts.debian_root(), server)
    debian.write_into(server, "/etc/fstab", f"/dev/vda / intermezzo {debian.FSTAB_WORDS} 0 1\n")
    _install(server)
    make_replicas(server, client)
    return sides


def run(sides: list[Side], told: Told | None = None) -> None:
    """Boot both side by side and wait until both have powered off; the link between them is cut once, and the
    client loses its power once."""
    ended = threading.Event()
    for side in sides:
        side.told = told or side.told
    threads = [threading.Thread(target=side.run) for side in sides]
    link = threading.Thread(target=_do_to_the_link, args=(sides, ended))
    for thread in [*threads, link]:
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    link.join()


def _do_to_the_link(sides: list[Side], ended: threading.Event) -> None:
    """What both ask for, once both have."""
    for step, there in CABLE_STEPS:
        while not all(f" fact {ASK_FACT}: {step}" in side.said() for side in sides):
            if ended.wait(LOOK_EVERY):
                return
        for side in sides:
            cable.plug(side.boots[0].directory.parent, side.role, there)
        sides[0].told("host", "puts the link back" if there else "cuts the link between the two", {})


def judged(sides: list[Side]) -> verdict.Verdict:
    """What both said, with the names of their boots, once both have ended; and what is on their disks."""
    together = verdict.Verdict(done=True)
    for side in sides:
        for boot in side.boots:
            if not boot.outcome:
                together.problems.append(f"{boot.name} was not booted")
                continue
            judge = verdict.judge if boot is side.boots[-1] else verdict.judge_cut_off
            alone = judge(boot.outcome.channel, boot.outcome.console, boot.nonce)
            alone.problems += boot.outcome.trouble
            together.add(boot.name, alone)
        if debian.fsck(side.disk) or debian.needs_recovery(side.disk):
            together.problems.append(f"{side.role}: its disk is not clean: {debian.fsck(side.disk)}")
    if not together.problems:
        server, client = (shared_root(side.disk) for side in sides)
        together.facts["objects compared"] = str(len(server))
        together.checks.append(_are_the_same(server, client))
    return together


def _are_the_same(server: dict[str, dict[str, Any]], client: dict[str, dict[str, Any]]) -> verdict.Check:
    found = differences(server, client, "the server", "the client")
    return verdict.Check("both disks have the same tree", not found, "; ".join(found[:8]))
