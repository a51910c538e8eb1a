# SPDX-License-Identifier: GPL-2.0
"""kill -9 of either daemon at each system call that touches state: nothing is lost, nothing comes twice (I3).

The gate takes one point of each system call, both sides of each ioctl, chosen by a seed that it tells;
IZO_KILL_SEED is that seed; IZO_ALL_KILLS, a number of seconds that they may take, takes all points;
IZO_KILL_AT, names of system calls, those of these.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Callable, Iterator

from guest.disks import make_ext4
from guest.expect import equal, intermezzo_only
from guest.intersync import Intersync, conflicts, converge, loopback_up, replicated, touch_directories
from guest.kill_points import Life, Point, missed_kinds, missed_points, points_of, slice_of, tally
from guest.subject import FILESET, HOST, mounted
from guest.syscalls import RENAME_EXCHANGE, rename
from guest.tree import differences

ENVIRONMENT = ("IZO_TOOLS", "IZO_ALL_KILLS", "IZO_KILL_AT", "IZO_KILL_SEED")
EXTRA_SECONDS = "IZO_ALL_KILLS"
CASE_DEADLINE = 400
# The log gets an eighth of its disk, and some two hundred lives have more than 8 MiB to say.
DISKS = ("64M", "64M", "256M", "256M", "64M")
OPTIONS = f"{FILESET},mtp=/srv"
SEED = os.environ.get("IZO_KILL_SEED") or str(time.time_ns() // 1000 % 1_000_000)
# So many lives for one that ends at a call: which thread makes it, and as which of its own, is another thing
# in another life (half of the writes wake a thread, and touch nothing).
TRIES = 12
# What a life must have to end at, or the scenario is about something else than it was written for.
MUST_HAVE = {"push-client": "openat write fsync fdatasync renameat sendto",
             "push-server": "openat write fsync renameat sendmsg ioctl",
             "pull-client": "openat write fsync renameat sendto ioctl",
             "pull-server": "openat write fsync fdatasync renameat sendmsg",
             "conflicts-client": "openat write fsync renameat sendto ioctl renameat2",
             "conflicts-server": "openat write fsync renameat sendmsg ioctl linkat utimensat fchown fchmod"}


class Replicas:
    """Both mounts and daemons, and what both must have in the end."""

    def __init__(self, server: Intersync, client: Intersync) -> None:
        self.server, self.client = server, client
        self.server_root, self.client_root = server.words[-1], client.words[-1]
        self.turn = 0
        self.victim = client

    def converge(self) -> None:
        """Until both have the same."""
        converge(self.server_root, self.client_root, self.server, self.client,
                 directory_times=self.victim is self.server)


def names_below(root: str) -> list[str]:
    """All names of a tree; reading no more than that leaves the processor to the daemons."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        if folder == root:
            folders[:] = [name for name in folders if name != "lost+found"]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in folders + files]
    return sorted(found)


class OneWriter:
    """One side changes a bit of everything; the other side gets exactly that."""

    def __init__(self, both: Replicas, root: str) -> None:
        self.both, self.root = both, root
        self.expected: dict[str, Any] = {}

    def prepare(self) -> None:
        """Nothing: all that it needs is there."""

    def change(self) -> None:
        """A new tree, while that of the last turn goes."""
        turn = self.both.turn
        top = f"{self.root}/{turn}"
        os.makedirs(f"{top}/a/b")
        # On the way to the server the last one is too large to come along with its record.
        large = 1_900_000 if self.root == self.both.client_root else 300_000
        for number, size in enumerate((0, 10, 5000, 300_000, large)):
            Path(top, f"f{number}").write_bytes(os.urandom(size))
        os.symlink("nowhere", f"{top}/symlink")
        os.mkfifo(f"{top}/fifo")
        os.rename(f"{top}/f1", f"{top}/a/moved")
        rename(f"{top}/f2", f"{top}/a/b", RENAME_EXCHANGE)
        os.link(f"{top}/f3", f"{top}/a/link")
        os.chmod(f"{top}/f4", 0o4711)
        os.setxattr(f"{top}/f3", "user.a", b"1" * 200)
        shutil.rmtree(f"{self.root}/{turn - 1}", ignore_errors=True)
        self.expected = replicated(self.root)

    def wrong(self) -> list[str]:
        """What is not as it must be in the end."""
        names = sorted(name for name in self.expected if name != ".")
        for root in (self.both.server_root, self.both.client_root):
            if names_below(root) != names:
                return [f"{Path(root).name}: {set(names_below(root)) ^ set(names)}: on one side only"]
        return [f"{Path(root).name}: {line}" for root in (self.both.server_root, self.both.client_root)
                for line in differences(self.expected, replicated(root))]


class BothWriters:
    """Both sides change the same names while they do not hear of each other (docs/conflicts.md)."""

    def __init__(self, both: Replicas) -> None:
        self.both = both
        self.directory_times = both.victim is both.server
        self.texts: dict[str, str] = {}

    def prepare(self) -> None:
        """What both have in the beginning; what is left of the last turn goes."""
        root = self.both.server_root
        for name in os.listdir(root):
            if name != "lost+found":
                path = f"{root}/{name}"
                (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
        os.makedirs(f"{root}/d/directory")
        for name in ("body", "gone", "kept", "moved", "fine", "directory/inside"):
            Path(root, "d", name).write_text(f"{name} of both, {self.both.turn}", encoding="utf-8")
        self.both.converge()

    def change(self) -> None:
        """Each text is told where it must be found; one beginning with ? in a conflict copy."""
        turn = self.both.turn
        self.texts = {f"moved of both, {turn}": "d/moved-by-server", f"fine of both, {turn}": "d/fine"}
        for side, root, in (("client", self.both.client_root), ("server", self.both.server_root)):
            def write(name: str, where: str, side: str = side, root: str = root) -> None:
                text = f"{name} of the {side}, {turn}" + "." * (300_000 if name == "body" else 0)
                Path(root, "d", name).write_text(text, encoding="utf-8")
                self.texts[text] = where
            for name in ("body", "new"):
                write(name, f"d/{name}" if side == "server" else "?")
            write(f"of-{side}", f"d/of-{side}")
            # What one side removes the other changes.
            os.unlink(f"{root}/d/{'gone' if side == 'client' else 'kept'}")
            write("kept" if side == "client" else "gone", "?")
            os.rename(f"{root}/d/moved", f"{root}/d/moved-by-{side}")
            if side == "client":
                write("directory/late", "?")
            else:
                shutil.rmtree(f"{root}/d/directory")

    def wrong(self) -> list[str]:
        """What is not as it must be in the end."""
        if names_below(self.both.server_root) != names_below(self.both.client_root):
            return [f"{names_below(self.both.server_root)} and {names_below(self.both.client_root)}"]
        lines = differences(*(replicated(root, self.directory_times)
                              for root in (self.both.server_root, self.both.client_root)))
        places: dict[str, list[str]] = {text: [] for text in self.texts}
        top = Path(self.both.server_root)
        for path in sorted(top.rglob("*")):
            if path.is_file():
                places.setdefault(path.read_text(encoding="utf-8"), []).append(str(path.relative_to(top)))
        for text, found in places.items():
            where = self.texts.get(text, "nowhere")
            if where == "?":
                right = len(found) == 1 and ".conflict-" in found[0]
            else:
                right = found == [where]
            if not right:
                lines.append(f"{text[:40]!r}: in {found}, not {where}")
        for root in () if lines else (self.both.server_root, self.both.client_root):
            copies = [name for name in names_below(root) if ".conflict-" in name.rpartition("/")[2]]
            if conflicts(root) != copies:
                lines.append(f"{Path(root).name}: {conflicts(root)} are listed, {copies} are there")
        return lines


Scenario = OneWriter | BothWriters


def settled(both: Replicas, scenario: Scenario, what: str) -> None:
    """Until all is as it must be."""
    end = time.monotonic() + 60
    while True:
        try:
            lines = scenario.wrong()
        except OSError as error:  # it changes while it is read
            lines = [str(error)]
        if not lines:
            return
        if time.monotonic() > end:
            words = "".join(f"\n--- {d.words[-1]}\n{d.said()[-2500:]}" for d in (both.server, both.client))
            raise AssertionError(f"{what}: {'; '.join(lines[:6])}{words}")
        time.sleep(0.1)


def is_settled(scenario: Scenario) -> bool:
    """Now."""
    try:
        return not scenario.wrong()
    except OSError:
        return False


def due(points: list[Point], lives: list[tuple[Point, bool]], name: str) -> Iterator[Point]:
    """What the gate takes; or all points, or those of some calls, and up to three times more those at which
    no life has ended."""
    calls = os.environ.get("IZO_KILL_AT", "").split()
    if calls or "IZO_ALL_KILLS" in os.environ:
        chosen = [point for point in points if not calls or point.call in calls]
        yield from chosen
        for _ in range(3):
            yield from missed_points(lives)
        return
    for of_a_kind in slice_of(points, f"{SEED} {name}"):
        for point in islice(cycle(of_a_kind), TRIES):
            yield point
            if lives[-1][1]:
                break


def kill_at_each_call(both: Replicas, scenario: Scenario, name: str) -> None:
    """Count the calls of a life, then let a life end at each of them, or at one of each name."""
    victim = both.victim

    def begin() -> None:
        both.turn += 1
        scenario.prepare()
        victim.kill()
        scenario.change()

    begin()
    life = Life(victim)
    life.end(lambda: is_settled(scenario))
    points = points_of(life.trace())
    counts = Counter(point.kind() for point in points)
    equal(sorted({*MUST_HAVE[name].split()} - {*counts}), [], f"{name}: calls that a life has not made")
    victim.start()
    settled(both, scenario, "the counting life")
    lives: list[tuple[Point, bool]] = []
    start = time.monotonic()
    # For whoever keeps the logs (KEEP=1): how far it came, and where lives ended.
    with open(f"{HOST}/kills-{name}", "w", encoding="utf-8") as story:
        print(f"IZO_KILL_SEED={SEED}; {len(points)} points: {dict(counts)}", file=story, flush=True)
        for point in due(points, lives, name):
            begin()
            life = Life(victim, point)
            lives.append((point, life.end(lambda: is_settled(scenario))))
            how = "died" if lives[-1][1] else "died elsewhere" if life.died else "not reached"
            print(f"{time.monotonic() - start:.1f} s: {point}, {how}", file=story, flush=True)
            victim.start()
            settled(both, scenario, f"killed at {point} (IZO_KILL_SEED={SEED})")
            print(f"{time.monotonic() - start:.1f} s: all is right", file=story, flush=True)
        missed, tried = missed_points(lives), len({point for point, _ in lives})
        told = (f"{len(lives)} lives in {time.monotonic() - start:.0f} s, which ended at"
                f" {tried - len(missed)} of {tried} points: {tally(lives)}")
        print(told, file=story)
    print(f"kills: {name}, IZO_KILL_SEED={SEED}: {told}", flush=True)
    equal(missed_kinds(lives), [], f"{name}: calls at which no life has ended: {told} (IZO_KILL_SEED={SEED})")
    # How calls fall to threads and batches differs from life to life, so the last ones of a call that a life
    # made may be too many for four others. In the gate others stood in for those.
    if {"IZO_ALL_KILLS", "IZO_KILL_AT"} & {*os.environ} and len(missed) > max(2, tried // 10):
        raise AssertionError(f"{name}: too many points that no life came to: {told} (IZO_KILL_SEED={SEED})")


@contextlib.contextmanager
def replicas(disk: str, second_disk: str) -> Iterator[Replicas]:
    """Both on fresh disks, running and the same."""
    loopback_up()
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "4096")
    with mounted(disk, OPTIONS) as server_root, mounted(second_disk, OPTIONS) as client_root:
        with Intersync(server_root) as server, Intersync(client_root, server="127.0.0.1") as client:
            both = Replicas(server, client)
            both.converge()
            yield both
            equal([client.stop(), server.stop()], [0, 0], "exit codes after SIGTERM")


def each_side(disk: str, second_disk: str, scenario: Callable[[Replicas], Scenario], name: str) -> None:
    """The scenario with one daemon that is killed and then with the other."""
    with replicas(disk, second_disk) as both:
        for side, victim in (("client", both.client), ("server", both.server)):
            both.victim = victim
            kill_at_each_call(both, scenario(both), f"{name}-{side}")
            touch_directories(both.server_root)
            converge(both.server_root, both.client_root, both.server, both.client)


@intermezzo_only
def test_client_pushes(disk: str, second_disk: str) -> None:
    """The client's changes come to the server."""
    each_side(disk, second_disk, lambda both: OneWriter(both, both.client_root), "push")


@intermezzo_only
def test_client_pulls(disk: str, second_disk: str) -> None:
    """The server's changes come to the client."""
    each_side(disk, second_disk, lambda both: OneWriter(both, both.server_root), "pull")


@intermezzo_only
def test_conflicts(disk: str, second_disk: str) -> None:
    """Both changed the same: every text is there once, and copies are made of what conflicts only."""
    each_side(disk, second_disk, BothWriters, "conflicts")
