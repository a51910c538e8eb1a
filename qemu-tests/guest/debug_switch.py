# SPDX-License-Identifier: GPL-2.0
"""The kernel's switches for tests, /proc/sys/intermezzo/debug: the kernel's IZO_DEBUG_*."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Iterator

REFUSE, REFUSE_END, LINGER = 2, 4, 8


@contextlib.contextmanager
def going_wrong(what: int) -> Iterator[None]:
    """With these bits set."""
    switch = Path("/proc/sys/intermezzo/debug")
    switch.write_text(str(what), encoding="ascii")
    try:
        yield
    finally:
        switch.write_text("0", encoding="ascii")
