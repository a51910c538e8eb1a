# SPDX-License-Identifier: GPL-2.0
"""Guests made from the Debian 13 root image: their disks, kernel command lines and scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Sequence

from harness import artifacts
from harness.qemu import Disk, Machine, copy_sparse, script_disk

# A Debian root is at multi-user in about 25 s under emulation on the reference machine.
LIMIT = 300
FSTAB_WORDS = "fileset=rootset,mtp=/"


def write_into(image: Path, inside: str, text: str) -> None:
    """Replace a file in an ext4 image that is not mounted."""
    source = image.with_suffix(".insert")
    source.write_text(text)
    commands = f"rm {inside}\nwrite {source} {inside}\nset_inode_field {inside} mode 0100644\n"
    commands += f"set_inode_field {inside} uid 0\nset_inode_field {inside} gid 0\n"
    subprocess.run(["debugfs", "-w", "-f", "-", image], input=commands, text=True, check=True,
                   capture_output=True)
    source.unlink()


def debian(directory: Path, nonce: str, script: str | None, *, root_type: str | None = None, words: str = "",
           fstab_words: str = FSTAB_WORDS, initrds: Sequence[Path] = (), device: str = "/dev/vda") -> Machine:
    """A guest with the Debian root on /dev/vda (root.ext4 in `directory`) that runs `script` and powers off.

    Without a script it stays up for whoever is at its console.
    """
    root_type = root_type or artifacts.root_type()
    root = copy_sparse(artifacts.debian_root(), directory / "root.ext4")
    if root_type == "ext4":
        fstab_words = "defaults"
    write_into(root, "/etc/fstab", f"/dev/vda / {root_type} {fstab_words} 0 1\n")
    disks = [Disk(root, "izo-root")]
    if script is not None:
        disks.append(Disk(script_disk(directory / "script.disk", script), "izo-test"))
    return Machine(
        kernel=artifacts.kernel("qemu").image,
        append=f"root={device} rootfstype={root_type} {words}",
        nonce=nonce,
        initrds=initrds,
        disks=disks,
        limit=LIMIT,
    )


def fsck(image: Path) -> str:
    """What `e2fsck -fn` finds wrong with a disk nobody uses; nothing if it is clean."""
    run = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True)
    return "" if run.returncode == 0 else run.stdout + run.stderr


def needs_recovery(image: Path) -> bool:
    """Whether the journal still holds what the disk does not."""
    run = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, text=True, check=True)
    features = [line for line in run.stdout.splitlines() if line.startswith("Filesystem features:")]
    return "needs_recovery" in features[0]
