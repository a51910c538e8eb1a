# SPDX-License-Identifier: GPL-2.0
"""A user who changes a tree without rest, at random but alike for one seed: names, attributes, bodies."""

from __future__ import annotations

import os
import random
import stat
import time

from guest.syscalls import RENAME_EXCHANGE, rename

NAMES = ("a", "b", "c", "dir", "long" * 30, "b\udcff\udcfe", "with space", "e")
# Directories of the root that begin so are left alone.
KEPT = "kept-"


class User:
    """One of perhaps several in a tree. What the file system refuses is no matter."""

    def __init__(self, root: str, seed: int) -> None:
        self.root, self.largest, self.deepest = root, 20000, 4
        self.random = random.Random(seed)
        self.done = 0
        # Seconds that one change took at most.
        self.longest = 0.0

    def run(self, steps: int) -> None:
        """So many changes, or tries."""
        for _ in range(steps):
            start = time.monotonic()
            try:
                self.random.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0](self)
                self.done += 1
            except OSError:
                pass
            self.longest = max(self.longest, time.monotonic() - start)

    def path(self) -> str:
        """Somewhere in the tree; it may not be there."""
        return "/".join([self.root, *(self.random.choice(NAMES)
                                      for _ in range(self.random.randint(1, self.deepest)))])

    def existing(self) -> str:
        """Something that was there a moment ago."""
        here = self.root
        for _ in range(self.random.randint(1, self.deepest)):
            names = [name for name in sorted(os.listdir(here))
                     if name != "lost+found" and not name.startswith(KEPT)]
            if not names:
                break
            here = f"{here}/{self.random.choice(names)}"
            if not stat.S_ISDIR(os.lstat(here).st_mode):
                break
        return here if here != self.root else self.path()

    def make_directory(self) -> None:
        """mkdir(2)."""
        os.mkdir(self.path(), self.random.choice((0o755, 0o700, 0o2775, 0o1777)))

    def write(self) -> None:
        """A new file or a new body, whole or in part."""
        path = self.random.choice((self.path, self.existing))()
        flags = self.random.choice((os.O_TRUNC, os.O_APPEND, 0))
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o640)
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.write(fd, self.random.randbytes(self.random.randint(0, self.largest)))
        finally:
            os.close(fd)

    def cut(self) -> None:
        """truncate(2)."""
        path = self.existing()
        if stat.S_ISREG(os.lstat(path).st_mode):
            os.truncate(path, self.random.randint(0, self.largest))

    def special(self) -> None:
        """A symbolic link, a fifo or a device."""
        kind = self.random.randrange(3)
        if kind == 0:
            os.symlink("/nowhere/" + "t" * self.random.randint(1, 300), self.path())
        else:
            os.mknod(self.path(), (stat.S_IFIFO if kind == 1 else stat.S_IFCHR) | 0o600, os.makedev(1, 3))

    def link(self) -> None:
        """One more name."""
        os.link(self.existing(), self.path(), follow_symlinks=False)

    def move(self) -> None:
        """rename(2), over what is there."""
        os.rename(self.existing(), self.random.choice((self.path, self.existing))())

    def exchange(self) -> None:
        """Two objects take each other's name."""
        rename(self.existing(), self.existing(), RENAME_EXCHANGE)

    def remove(self) -> None:
        """unlink(2) or rmdir(2)."""
        path = self.existing()
        (os.rmdir if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink)(path)

    def attributes(self) -> None:
        """Mode, owner, times, an extended attribute."""
        path = self.existing()
        kind = self.random.randrange(4)
        if kind == 0:
            os.chmod(path, self.random.choice((0o644, 0o4755, 0o600, 0o777)))
        elif kind == 1:
            os.chown(path, self.random.randint(0, 3), self.random.randint(0, 3), follow_symlinks=False)
        elif kind == 2:
            os.utime(path, ns=(0, self.random.randrange(1 << 60)), follow_symlinks=False)
        else:
            os.setxattr(path, f"trusted.{self.random.choice('xy')}", self.random.randbytes(30),
                        follow_symlinks=False)


KINDS = ((User.make_directory, 3), (User.write, 8), (User.cut, 1), (User.special, 1), (User.link, 2),
         (User.move, 3), (User.exchange, 1), (User.remove, 3), (User.attributes, 4))
