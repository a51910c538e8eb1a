# SPDX-License-Identifier: GPL-2.0
"""Two small guests on a private network, BusyBox and intersync, with replicas of one fileset on /mnt."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from harness import artifacts, guest_script, replicas, tiny
from harness.qemu import Machine

MEMORY_MB = 256


def machine(directory: Path, role: str, nonce: str, script: str, *, limit: float,
            programs: Mapping[str, Path], **variables: str) -> Machine:
    """A guest without its disk; the network's sockets are in the folder above `directory`.

    `programs` are more of them, by name in the guest's /bin. The script finds `variables` and what
    guest/small-replica.sh has.
    """
    files: dict[str, Path | str] = {}
    daemon = artifacts.intersync() / "src/daemon/intersync"
    for name, program in {"intersync": daemon, **programs}.items():
        files |= {f"bin/{name}": program, **tiny.libraries(program)}
    other = replicas.other(role)
    text = guest_script.text("small-replica.sh", IZO_ROLE=role, IZO_OTHER=other, **variables)
    text += guest_script.source(script)
    made = tiny.tiny(directory, nonce, text, files=files, limit=limit)
    made.memory_mb = MEMORY_MB
    made.options = replicas.network(directory.parent, role)
    return made
