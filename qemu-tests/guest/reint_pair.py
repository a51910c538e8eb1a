# SPDX-License-Identifier: GPL-2.0
"""A peer's mount and ours, and whether they have become the same."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from guest.disks import make_ext4
from guest.expect import equal
from guest.reint import Replica, Result
from guest.subject import FILESET, mounted
from guest.tree import differences, manifest


def tree(root: str) -> dict[str, dict[str, Any]]:
    """All that is replicated (I8)."""
    found = manifest(root, with_times=True)
    found["."].pop("nlink")  # .intermezzo and lost+found are each side's own
    found.pop("lost+found", None)
    return found


def same(origin: str, replica: str) -> None:
    """The trees agree."""
    lines = differences(tree(origin), tree(replica))
    if lines:
        raise AssertionError(f"{len(lines)} differences: " + "; ".join(lines[:8]))


def all_stored(results: list[Result]) -> None:
    """Every record was applied, or is a body."""
    equal([str(r) for r in results if r.code not in ("applied", "skipped")], [], "what was not applied")


@contextlib.contextmanager
def two(disk: str, second_disk: str, *, forward: bool = False, block_size: int = 1024) -> Iterator[Replica]:
    """A peer's mount and ours, both empty."""
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", str(block_size))
    with mounted(disk, FILESET) as peer, mounted(second_disk, FILESET) as root:
        yield Replica(root, peer, forward=forward)


@contextlib.contextmanager
def pair(disk: str, second_disk: str, *, forward: bool = False, options: str = "",
         peer_options: str = "") -> Iterator[Replica]:
    """The same on disks that have been made, with mount options."""
    with (mounted(disk, ",".join(filter(None, (FILESET, peer_options)))) as peer,
          mounted(second_disk, ",".join(filter(None, (FILESET, options)))) as root):
        yield Replica(root, peer, forward=forward)
