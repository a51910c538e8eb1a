# SPDX-License-Identifier: GPL-2.0
"""The kernel's log from a mark on, as /dev/kmsg gives it."""

from __future__ import annotations

import os


class KernelLog:
    """Reads what the kernel says after the mark."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        self.mark()

    def mark(self) -> None:
        """Forget everything said so far."""
        os.lseek(self._fd, 0, os.SEEK_END)

    def read(self) -> str:
        """Everything said since the mark, and set a new one."""
        lines = []
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return "\n".join(lines)
            except BrokenPipeError:
                lines.append("(kernel log overran: records lost)")
                continue
            text = record.decode(errors="replace").split("\n", 1)[0]
            lines.append(text.split(";", 1)[1] if ";" in text else text)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def said_by_us(log: KernelLog) -> list[str]:
    """Our lines of the kernel log since the mark."""
    return [line for line in log.read().splitlines() if "intermezzo: " in line]
