# SPDX-License-Identifier: GPL-2.0
"""The BusyBox initramfs says one clear line when it cannot mount the root, and boots nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import artifacts
from harness.qemu import Disk, Machine, empty_ext4
from harness.schedule import Boot, Outcome, boots

LIMIT = 60
# It ends in the panic that the kernel itself makes of a root that cannot be mounted.
PANIC = (r"Kernel panic - not syncing: Attempted to kill init", r"Call Trace")


def _boot(name: str, words: str) -> Boot:
    def machine(directory: Path, nonce: str) -> Machine:
        disk = empty_ext4(directory / "root.ext4", 64)
        return Machine(kernel=artifacts.kernel("qemu").image, append=words, nonce=nonce,
                       initrds=[artifacts.busybox_initramfs()], disks=[Disk(disk)], limit=LIMIT)

    return Boot(f"initramfs-{name}", machine, allow=PANIC)


NO_TYPE = _boot("no-type", "root=/dev/vda")
UNKNOWN_TYPE = _boot("unknown-type", "root=/dev/vda rootfstype=intermezz")
NO_DEVICE = _boot("no-device", "root=/dev/vdz rootfstype=ext4 rd.izo.timeout=2")
BAD_OPTION = _boot("bad-option", f"root=/dev/vda rootfstype={artifacts.root_type()} rootflags=nonsense=1")
NO_LABEL = _boot("no-label", "root=LABEL=none-such rootfstype=ext4 rd.izo.timeout=1")
EMPTY_ROOT = _boot("empty-root", "root=none rootfstype=vintermezzo")


def _refused_with(outcome: Outcome, reason: str) -> None:
    assert f"izo-root: error: {reason}" in outcome.console, outcome.explain()
    # Nothing but the missing verdict: the guest ended by itself and in time.
    assert outcome.verdict.problems == ["verdict channel: the guest never said done"], outcome.explain()


@boots(NO_TYPE)
def test_root_without_a_type_is_refused(outcome: Outcome) -> None:
    _refused_with(outcome, "rootfstype= is missing")


@boots(UNKNOWN_TYPE)
def test_type_the_kernel_does_not_know_is_refused(outcome: Outcome) -> None:
    _refused_with(outcome, "rootfstype=intermezz: this kernel has no such file system")


@boots(NO_DEVICE)
def test_missing_device_is_named_after_the_timeout(outcome: Outcome) -> None:
    _refused_with(outcome, "root=/dev/vdz: no such device after 2 s")


@boots(NO_LABEL)
def test_missing_label_is_named_after_the_timeout(outcome: Outcome) -> None:
    _refused_with(outcome, "root=LABEL=none-such: no such device after 1 s")


@pytest.mark.skipif(artifacts.root_type() == "ext4", reason="needs a kernel with vintermezzo")
@boots(EMPTY_ROOT)
def test_root_in_memory_is_mounted_and_its_missing_init_named(outcome: Outcome) -> None:
    assert "izo-root: root none mounted as vintermezzo (ro)" in outcome.console, outcome.explain()
    _refused_with(outcome, "init=/sbin/init: no such program on the root")


@boots(BAD_OPTION)
def test_refused_mount_is_reported_with_its_options(outcome: Outcome) -> None:
    _refused_with(outcome, f"mount -t {artifacts.root_type()} -o ro,nonsense=1 /dev/vda failed")
