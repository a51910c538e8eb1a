# SPDX-License-Identifier: GPL-2.0
"""Directories one in the other, deeper than any path is long: no call takes a path to the last one."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator


def _enter(directory: int, name: str) -> int:
    """A descriptor of a directory in another one, which is closed."""
    try:
        return os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def bottom(root: str, levels: int) -> Iterator[int]:
    """The last of so many directories `d`, one in the other below root, open; or FileNotFoundError."""
    at = os.open(root, os.O_PATH | os.O_DIRECTORY)
    for _ in range(levels):
        at = _enter(at, "d")
    try:
        yield at
    finally:
        os.close(at)


def read_in(directory: int, file: str) -> bytes | None:
    """What a file in an open directory has; None: it is not there, or not yet."""
    try:
        with open(os.open(file, os.O_RDONLY, dir_fd=directory), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def write_in(directory: int, file: str, text: bytes) -> None:
    """Give a file in an open directory these contents."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(file, flags, 0o644, dir_fd=directory), "wb") as stream:
        stream.write(text)
