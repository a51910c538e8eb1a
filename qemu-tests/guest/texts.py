# SPDX-License-Identifier: GPL-2.0
"""Texts that must be everywhere in the end, once, whatever happened meanwhile (I3, I5)."""

from __future__ import annotations

import os
from pathlib import Path

from guest.expect import equal
from guest.restless import KEPT


class Texts:
    """Written on each side in a directory of its own, which restless users leave alone."""

    def __init__(self, *roots: str) -> None:
        self.roots = roots
        self.expected: dict[str, bytes] = {}
        for side, root in enumerate(roots):
            os.mkdir(f"{root}/{KEPT}{side}")

    def write(self) -> None:
        """A new one on each side, and a new state of the one before."""
        number = len(self.expected) // len(self.roots)
        for side, root in enumerate(self.roots):
            for back in range(min(number, 1), -1, -1):
                text = f"{number - back} of {side}, state {back}\n".encode() + os.urandom(1000 + 3000 * back)
                name = f"{KEPT}{side}/{number - back}"
                Path(root, name).write_bytes(text)
                self.expected[name] = text

    def check(self) -> None:
        """After both have become the same: what was written last, all of it, and nothing else."""
        equal(len(self.expected) > 0, True, "texts were written")
        for root in self.roots:
            found = {str(path.relative_to(root)): path.read_bytes()
                     for folder in Path(root).glob(f"{KEPT}*") for path in folder.iterdir()}
            equal(sorted(found.keys() ^ self.expected.keys()), [], f"{root}: names on one side only")
            equal([name for name, text in found.items() if text != self.expected[name]], [],
                  f"{root}: texts of another state")
