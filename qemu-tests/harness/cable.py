# SPDX-License-Identifier: GPL-2.0
"""The cable between two QEMU guests: both ends can be pulled out, so that both see no carrier."""

from __future__ import annotations

import json
import socket
from pathlib import Path

NETDEV = "private"
PATIENCE = 30


def _socket(directory: Path, role: str) -> Path:
    return directory / f"monitor-{role}"


def monitor(directory: Path, role: str) -> list[str]:
    """QEMU's words for the socket in `directory` by which that end is pulled."""
    return ["-qmp", f"unix:{_socket(directory, role)},server=on,wait=off"]


def plug(directory: Path, role: str, there: bool) -> None:
    """Put that end of the cable into its card, or pull it out."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(PATIENCE)
        end.connect(str(_socket(directory, role)))
        with end.makefile("r") as answers:
            # the greeting
            answers.readline()
            for command in ({"execute": "qmp_capabilities"},
                            {"execute": "set_link", "arguments": {"name": NETDEV, "up": there}}):
                end.sendall(json.dumps(command).encode())
                while "event" in (answer := json.loads(answers.readline())):
                    pass
                if "error" in answer:
                    raise RuntimeError(f"{role}: {command}: {answer['error']}")
