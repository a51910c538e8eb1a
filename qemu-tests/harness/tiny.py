# SPDX-License-Identifier: GPL-2.0
"""Guests without a distribution: the BusyBox initramfs with a script of ours in place of its init."""

from __future__ import annotations

import functools
import hashlib
import re
import subprocess
from pathlib import Path
from typing import Mapping, Sequence

from harness import artifacts, guest_script
from harness.qemu import Disk, Machine

LIMIT = 120


def archive(directory: Path, files: Mapping[str, Path | str]) -> Path:
    """A cpio archive with these files, all executable: a Path is copied, a str is the content."""
    tree = directory / "initrd-tree"
    for name, content in files.items():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.read_bytes() if isinstance(content, Path) else content.encode())
        target.chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    made = subprocess.run(["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"], cwd=tree,
                          input=names.encode(), stdout=subprocess.PIPE, check=True)
    out = directory / "test.cpio"
    out.write_bytes(made.stdout)
    return out


@functools.cache
def compiled(source: Path) -> Path:
    """A static program from one C file, for guests that have no libraries."""
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    program = artifacts.cache_dir() / f"{source.stem}-{key}"
    if not program.exists():
        part = program.with_suffix(".part")
        subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", part, source],
                       check=True)
        part.rename(program)
    return program


@functools.cache
def libraries(program: Path) -> dict[str, Path | str]:
    """What a program needs in a guest that has no libraries, by name there; nothing if it is static."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    missing = re.findall(r"(\S+) => not found", listed)
    if missing:
        raise artifacts.BuildError(f"{program} lacks {', '.join(missing)}")
    return {path.lstrip("/"): Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def tiny(directory: Path, nonce: str, script: str, *, disks: Sequence[Disk] = (), words: str = "",
         files: Mapping[str, Path | str] | None = None, cores: int = 1, limit: float = LIMIT) -> Machine:
    """A guest whose first program is BusyBox running `script` after the usual mounts; then it powers off."""
    init = guest_script.source("tiny-init.sh") + script + "\npoweroff -f\n"
    extra = archive(directory, {**(files or {}), "izo-test/init": init})
    return Machine(
        kernel=artifacts.kernel("qemu").image,
        append=f"rdinit=/izo-test/init {words}",
        nonce=nonce,
        initrds=[artifacts.busybox_initramfs(), extra],
        disks=disks,
        cores=cores,
        limit=limit,
    )
