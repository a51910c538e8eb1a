# SPDX-License-Identifier: GPL-2.0
"""A disk whose blocks fail when a case says so."""

from __future__ import annotations

import os

from guest.disks import fill, make_ext4, run
from guest.mounting import mount_old, umount
from guest.subject import mount_point
from guest.syscalls import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, fallocate


class FailingDisk:
    """A disk on a tmpfs. With that full, a block never written before gets EIO; all others can be read and
    written."""

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole

    def __enter__(self) -> FailingDisk:
        self._below = mount_point()
        mount_old("none", self._below, "tmpfs", "size=72m" if self._whole else "size=24m")
        with open(f"{self._below}/image", "wb") as stream:
            if self._whole:
                stream.write(bytes(48 << 20))
            stream.truncate(48 << 20)
        self.device = run("losetup", "--find", "--show", f"{self._below}/image").strip()
        # of the journal only what was in use is there
        make_ext4(self.device, "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=1")
        return self

    def fail_at(self, blocks: list[int]) -> None:
        """From here on these cannot be written; all others can, if the disk is whole."""
        fd = os.open(f"{self._below}/image", os.O_RDWR)
        for block in blocks:
            fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, block * 4096, 4096)
        os.close(fd)
        fill(f"{self._below}/filler")

    def fail(self) -> None:
        """From here on the journal cannot go on."""
        os.sync()
        fill(f"{self._below}/filler")

    def repair(self) -> None:
        """Undo fail()."""
        os.unlink(f"{self._below}/filler")

    def __exit__(self, kind, error, trace) -> None:
        run("losetup", "--detach", self.device)
        if kind is None:
            umount(self._below)
