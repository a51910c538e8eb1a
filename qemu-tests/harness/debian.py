# SPDX-License-Identifier: GPL-2.0
"""Guests made from the Debian 13 root image: their disks, kernel command lines and scripts."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Sequence

from harness import artifacts
from harness.qemu import Disk, Machine, copy_sparse, script_disk

# A Debian root is at multi-user in about 25 s under emulation on the reference machine.
LIMIT = 300
FSTAB_WORDS = "fileset=rootset,mtp=/"
# Of the image's file system, and of disks.
BLOCK, SECTOR = 4096, 512


def change(image: Path, *commands: str) -> None:
    """Change an ext4 image that is not mounted, by debugfs(8)'s commands."""
    run = subprocess.run(["debugfs", "-w", "-f", "-", image], input="\n".join(commands), text=True,
                         check=True, capture_output=True)
    trouble = [line for line in run.stderr.splitlines() if not line.startswith("debugfs ")]
    if trouble:
        raise artifacts.BuildError(f"debugfs on {image}: {trouble[0]}")


def placing(source: Path, inside: str, mode: str) -> list[str]:
    """Commands for change(): a file of root's, with its mode in octal."""
    return [f"write {source} {inside}", f"set_inode_field {inside} mode {mode}",
            f"set_inode_field {inside} uid 0", f"set_inode_field {inside} gid 0"]


def write_into(image: Path, inside: str, text: str) -> None:
    """Replace a file in an ext4 image that is not mounted."""
    source = image.with_suffix(".insert")
    source.write_text(text)
    change(image, f"rm {inside}", *placing(source, inside, "0100644"))
    source.unlink()


def failing_when_written(machine: Machine, sector: int) -> Machine:
    """The machine with its first disk after the others; what is written to that sector of it fails."""
    disk, *others = machine.disks
    error = {"event": "none", "iotype": "write", "errno": 5, "sector": sector}
    words = ",".join(f"inject-error.0.{key}={value}" for key, value in error.items())
    options = ["-blockdev", f"driver=file,node-name=izo-disk,filename={disk.path},cache.no-flush=on",
               "-blockdev", f"driver=blkdebug,node-name=izo-failing,image=izo-disk,{words}",
               "-device", f"virtio-blk-pci,drive=izo-failing,serial={disk.serial}"]
    return dataclasses.replace(machine, disks=others, options=[*machine.options, *options])


def sector_of_journal(image: Path, block: int) -> int:
    """Where on the disk a block of its journal is."""
    run = subprocess.run(["debugfs", "-R", f"bmap <8> {block}", image], capture_output=True, text=True,
                         check=True)
    return int(run.stdout) * (BLOCK // SECTOR)


def debian(directory: Path, nonce: str, script: str | None, *, root_type: str | None = None, words: str = "",
           fstab_words: str = FSTAB_WORDS, initrds: Sequence[Path] = (), device: str = "/dev/vda") -> Machine:
    """A guest with the Debian root, and izoctl, on /dev/vda (root.ext4 in `directory`) that runs `script` and
    powers off.

    Without a script it stays up for whoever is at its console.
    """
    root_type = root_type or artifacts.root_type()
    root = copy_sparse(artifacts.debian_root(), directory / "root.ext4")
    if root_type == "ext4":
        fstab_words = "defaults"
    write_into(root, "/etc/fstab", f"/dev/vda / {root_type} {fstab_words} 0 1\n")
    change(root, *placing(artifacts.intersync() / "src/tools/izoctl", "/usr/sbin/izoctl", "0100755"))
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
