# SPDX-License-Identifier: GPL-2.0
"""How fast this machine runs a guest: KVM if it truly works, else emulation, and a scale for deadlines.

/dev/kvm may exist, open, and still execute nothing, so KVM counts only after a kernel has booted and
powered off under it. That answer is kept for as long as the host stays up.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import time
from pathlib import Path

from harness import artifacts

EMULATION = "tcg,thread=multi"
KVM_PROOF_SECONDS = 15
# The probe boot on the machine the deadlines were chosen on (two cores, idle, emulation).
REFERENCE_SECONDS = 3.0
PROBE_LIMIT_SECONDS = 120
# No guest outlives a test run that was killed.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProbeError(Exception):
    """Not even the smallest guest runs here."""


def _probe(accelerator: str, limit: float) -> float | None:
    """Boot a kernel whose first program powers off. Seconds it took, or None if it did not get there."""
    command = [*DIES_WITH_US, "qemu-system-x86_64", "-accel", accelerator, "-cpu", "max",
               "-m", "256", "-nodefaults", "-no-reboot", "-display", "none",
               "-kernel", str(artifacts.kernel("qemu").image), "-initrd", str(artifacts.busybox_initramfs()),
               "-append",
               "console=ttyS0 ignore_loglevel panic=-1 rdinit=/bin/busybox -- poweroff -f"]
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="izo-probe-") as console:
        try:
            subprocess.run([*command, "-serial", f"file:{console.name}"], stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return None
        booted = b"Power down" in Path(console.name).read_bytes()
    return time.monotonic() - started if booted else None


@functools.cache
def accelerator() -> str:
    """The -accel argument for this host. IZO_ACCEL= overrides."""
    override = os.environ.get("IZO_ACCEL")
    if override:
        return override
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATION
    answer = artifacts.cache_dir() / f"accel-{BOOT_ID.read_text().strip()}"
    if not answer.exists():
        proven = _probe("kvm", KVM_PROOF_SECONDS) is not None
        for old in answer.parent.glob("accel-*"):
            old.unlink()
        answer.write_text("kvm" if proven else EMULATION)
    return answer.read_text()


@functools.cache
def time_scale() -> float:
    """What deadlines are multiplied with: at least 1, more on a slower or busier host.

    IZO_TIME_SCALE= overrides.
    """
    override = os.environ.get("IZO_TIME_SCALE")
    if override:
        return float(override)
    seconds = _probe(accelerator(), PROBE_LIMIT_SECONDS)
    if seconds is None:
        raise ProbeError(f"the smallest guest did not boot in {PROBE_LIMIT_SECONDS} s under {accelerator()}")
    return max(1.0, seconds / REFERENCE_SECONDS)
