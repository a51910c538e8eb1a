# SPDX-License-Identifier: GPL-2.0
"""Where the things under test come from: kernels, the Debian root image, the BusyBox initramfs.

Each is made by a command of its own folder, which caches outside the tree and prints a path.
"""

from __future__ import annotations

import functools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

# A ready kernel image instead of a built one, for work on a kernel by hand.
KERNEL_OVERRIDES = {"qemu": "IZO_BZIMAGE", "uml": "IZO_UML_LINUX"}
KERNEL_IMAGES = {"qemu": "bzImage", "uml": "linux"}


class BuildError(Exception):
    """A command that makes an artifact failed; its own output says why."""


@dataclass(frozen=True)
class Kernel:
    """A kernel image. `config` and `release` are files beside it; with an override they may be missing."""

    image: Path

    @property
    def config(self) -> Path:
        return self.image.with_name("config")

    @property
    def release(self) -> Path:
        return self.image.with_name("release")


def cache_dir() -> Path:
    """The folder for everything built or measured; never inside the source tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "intermezzo"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _printed_path(*command: str) -> Path:
    """Run a command of ours; its progress goes to our stderr, the path it prints is the answer."""
    run = subprocess.run([str(REPO / command[0]), *command[1:]], stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed with exit code {run.returncode}")
    path = Path(run.stdout.strip())
    if not path.exists():
        raise BuildError(f"{' '.join(command)} printed {path}, which does not exist")
    return path


@functools.cache
def kernel(flavour: str) -> Kernel:
    """The kernel of flavour `qemu` or `uml`, built when needed."""
    override = os.environ.get(KERNEL_OVERRIDES[flavour])
    if override:
        if not Path(override).is_file():
            raise BuildError(f"{KERNEL_OVERRIDES[flavour]}={override}: no such file")
        return Kernel(Path(override).resolve())
    return Kernel(_printed_path("kernel-patch/build-kernel", flavour) / KERNEL_IMAGES[flavour])


@functools.cache
def debian_root() -> Path:
    """The Debian 13 root, a raw ext4 image. Guests get copies of it."""
    return _printed_path("images/build-root")


@functools.cache
def busybox_initramfs() -> Path:
    """The small initramfs that mounts a root on InterMezzo."""
    return _printed_path("initramfs/busybox/build", "--path")


@functools.cache
def intersync() -> Path:
    """The folder where the programs of the user half were built."""
    return Path(os.environ.get("IZO_TOOLS") or _printed_path("intersync/build", "release"))


def root_type() -> str:
    """The file system type of guest roots; IZO_ROOTFSTYPE=ext4 proves the harness itself."""
    return os.environ.get("IZO_ROOTFSTYPE") or "intermezzo"
