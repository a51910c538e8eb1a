# SPDX-License-Identifier: GPL-2.0
"""A link that is cut for a while, at any moment, while both sides go on writing."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Iterator

from guest.disks import make_ext4
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, Pair, lines_with, loopback_up, running
from guest.link import Link
from guest.restless import KEPT, User
from guest.subject import FILESET, mounted
from guest.texts import Texts

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 240
OPTIONS = f"{FILESET},mtp=/srv"
LARGE = 7_000_000
REMOVED = 36_000_000


class Linked(Pair):
    """With the link between them."""

    def __init__(self, link: Link, server: Intersync, client: Intersync) -> None:
        super().__init__(server, client)
        self.link = link

    def converge(self, directory_times: bool = True, seconds: float = 90) -> float:
        """Until both have the same. A client may try again only after as long as the link was cut."""
        return super().converge(directory_times, seconds)

    def users(self, seed: int, steps: int) -> list[threading.Thread]:
        """One on each side, at work."""
        threads = [threading.Thread(target=User(root, seed + number).run, args=(steps,))
                   for number, root in enumerate(self.roots)]
        for thread in threads:
            thread.start()
        return threads


@contextlib.contextmanager
def linked(disk: str, second_disk: str) -> Iterator[Linked]:
    """On fresh disks, running and the same."""
    loopback_up()
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "4096")
    with mounted(disk, OPTIONS) as server_root, mounted(second_disk, OPTIONS) as client_root, Link() as link:
        with running(server_root, client_root, link.server) as daemons:
            both = Linked(link, daemons.server, daemons.client)
            both.converge()
            yield both


def size_of(path: Path) -> int:
    """Of a file that may not be there."""
    return path.stat().st_size if path.exists() else 0


@intermezzo_only
def test_both_write_while_the_link_is_cut(disk: str, second_disk: str) -> None:
    """Nobody waits for the link (I4); nothing passes it; when it is back both become equal (I8), with all
    that was written (I5)."""
    with linked(disk, second_disk) as both:
        texts = Texts(*both.roots)
        for turn, silently in enumerate((False, True, False, True)):
            both.link.cut(silently)
            passed = both.link.passed
            for number, root in enumerate(both.roots):
                user = User(root, 10 * turn + number)
                user.run(150)
                # Who waited for the daemons' patience with a silent link would wait up to 30 s.
                equal(user.longest < 5, True, f"the longest change took {user.longest} s")
            start = time.monotonic()
            texts.write()
            equal(time.monotonic() - start < 5, True, f"nobody waited: {time.monotonic() - start} s")
            equal([Path(root, f"{KEPT}{1 - number}", f"{turn}").exists()
                   for number, root in enumerate(both.roots)], [False, False], "came through a cut link")
            equal(both.link.passed, passed, "bytes that passed a cut link")
            both.link.mend()
            both.converge()
            texts.check()


def is_quiet(link: Link) -> bool:
    """Nothing passes for a second."""
    passed = link.passed
    threading.Event().wait(1)
    return link.passed == passed


@intermezzo_only
def test_little_passes_the_link(disk: str, second_disk: str) -> None:
    """Bodies are compressed, many small ones come in few requests, and without news nothing passes."""
    with linked(disk, second_disk) as both:
        # What a client uploads in pieces, from 2 MiB on, is sent as it is.
        for source, target, size in zip(both.roots, both.roots[::-1], (5_000_000, 1_900_000)):
            passed = both.link.passed
            Path(source, f"zeros-{size}").write_bytes(bytes(size))
            wait_until(lambda: size_of(Path(target, f"zeros-{size}")) == size, "the zeros come", 60)
            equal(both.link.passed - passed < size // 10, True, f"{both.link.passed - passed} bytes passed")
        for side, (source, target) in zip("ab", (both.roots, both.roots[::-1])):
            both.link.cut()
            for number in range(300):
                Path(source, f"{side}-{number}").write_bytes(os.urandom(100))
            requests = both.link.requests
            both.link.mend()
            wait_until(lambda: size_of(Path(target, f"{side}-299")) == 100, "the last one comes", 60)
            equal(both.link.requests - requests < 20, True, f"{both.link.requests - requests} requests")
        both.converge()
        wait_until(lambda: is_quiet(both.link), "nothing passes", 60)
        passed = both.link.passed
        threading.Event().wait(3)
        equal(both.link.passed - passed < 1024, True, f"{both.link.passed - passed} bytes passed in 3 s")


@intermezzo_only
def test_link_cut_again_and_again(disk: str, second_disk: str) -> None:
    """It is cut at any moment, while both write: both become equal (I8), with all that was written (I5)."""
    with linked(disk, second_disk) as both:
        texts = Texts(*both.roots)
        users = both.users(100, 500)
        cuts = 0
        while any(user.is_alive() for user in users) or cuts < 8:
            # After more bytes each time: in a head, in records, in bodies.
            both.link.cut_after(200 << cuts % 9)
            texts.write()
            wait_until(lambda: both.link.is_cut() or not any(user.is_alive() for user in users),
                       "the link is cut or all is written", 60)
            both.link.cut(silently=cuts % 3 == 0)
            both.link.mend()
            cuts += 1
        for user in users:
            user.join()
        both.link.mend()
        both.converge()
        texts.check()


@intermezzo_only
def test_link_too_short_lived_for_a_large_body(disk: str, second_disk: str) -> None:
    """It is cut before half of a new body has passed, each time: what is there of it is not sent again."""
    with linked(disk, second_disk) as both:
        for turn, (source, target) in enumerate((both.roots[::-1], both.roots)):
            body = os.urandom(2 * LARGE)
            Path(source, f"large-{turn}").write_bytes(body)
            copy = Path(target, f"large-{turn}")
            cuts = 0
            while size_of(copy) < len(body):
                equal(cuts < 12, True, "less than twelve times")
                both.link.cut_after(LARGE - 500_000)
                wait_until(lambda: both.link.is_cut() or size_of(copy) == len(body),
                           "the link is cut or all is there", 60)
                both.link.cut()
                both.link.mend()
                cuts += 1
            equal(cuts > 2, True, "more than twice")
            both.converge()
            equal(copy.read_bytes() == body, True, "the body")


@intermezzo_only
def test_link_too_short_lived_for_a_first_copy(disk: str, second_disk: str) -> None:
    """That it is cut again and again is no answer of the server's: a large body of the tree comes by what it
    comes each time, and is not left out as one that the server cannot read."""
    loopback_up()
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "4096")
    body = os.urandom(2 * LARGE)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as copy, Link() as link:
        Path(root, "large").write_bytes(body)
        link.cut_after(LARGE // 3)
        with running(root, copy, link.server) as both:
            cuts = 0
            while size_of(Path(copy, "large")) < len(body):
                equal(cuts < 20, True, "less than twenty times")
                wait_until(lambda: link.is_cut() or size_of(Path(copy, "large")) == len(body),
                           "the link is cut or all is there", 60)
                link.cut()
                link.mend()
                link.cut_after(LARGE // 3)
                cuts += 1
            equal(cuts > 4, True, "more than four times")
            link.mend()
            both.converge(seconds=90)
            equal(lines_with(both.client, "cannot be read on the server"), [], "what it says")
            equal(Path(copy, "large").read_bytes() == body, True, "the body")


@intermezzo_only
def test_link_cut_in_a_large_body(disk: str, second_disk: str) -> None:
    """Until the new body is there as a whole, the old one is, as a whole (I7)."""
    with linked(disk, second_disk) as both:
        # In the first piece of an upload, at the end of one, and in the last one.
        for turn, size in enumerate((60_000, 3_200_000, 6_900_000)):
            for source, target in (both.roots, both.roots[::-1]):
                old = os.urandom(LARGE)
                Path(source, "large").write_bytes(old)
                both.converge()
                both.link.cut_after(size)
                new = os.urandom(LARGE + turn)
                Path(source, "large").write_bytes(new)
                wait_until(both.link.is_cut, f"the link is cut after {size} bytes", 60)
                equal(Path(target, "large").read_bytes() == old, True, "the old body is there")
                both.link.mend()
                both.converge()
                equal(Path(target, "large").read_bytes() == new, True, "the new body is there")


@intermezzo_only
def test_bodies_of_files_that_are_removed_meanwhile(disk: str, second_disk: str) -> None:
    """Of a body that is on its way when its file is removed the rest is not sent, in either direction."""
    with linked(disk, second_disk) as both:
        for source, target in (both.roots, both.roots[::-1]):
            before = both.link.passed
            Path(source, "removed").write_bytes(os.urandom(REMOVED))
            wait_until(lambda: both.link.passed - before > 1 << 20, "it is on its way")
            both.link.cut(silently=True)
            os.unlink(f"{source}/removed")
            Path(source, "behind").touch()
            both.link.mend()
            wait_until(lambda: os.path.exists(f"{target}/behind"), "what comes behind it")
            passed = both.link.passed - before
            equal(passed < REMOVED * 2 // 3, True, f"{passed} bytes passed")
            both.converge()
            os.unlink(f"{source}/behind")
            both.converge()
