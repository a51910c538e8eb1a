# SPDX-License-Identifier: GPL-2.0
"""Replicas at their limits: a full disk on either side, what one cache cannot hold, files with long holes,
many files, deep trees.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from guest.deep import bottom, read_in, write_in
from guest.disks import debugfs_write, fill, make_ext4, run
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, conflicts, converge, lines_with, running
from guest.subject import FILESET, mounted
from guest.syscalls import syncfs

ENVIRONMENT = ("IZO_TOOLS", "IZO_MANY_FILES")
# For 10,000 files, which are some 40 ms each on a busy machine.
CASE_DEADLINE = 1500
FILE_DEADLINE = 1800
DISKS = ("64M", "64M", "192M", "192M", "64M")
OPTIONS = f"{FILESET},mtp=/srv"
FULL = "No space left on device"
BODY = 3_000_000
# ext4 has files of 16 TiB with blocks of 4 KiB, and of 4 TiB with blocks of 1 KiB.
HUGE = 15 << 40
WITHIN = (0, HUGE // 2, HUGE - 100)
LEVELS = 4200


def works(root: str) -> None:
    """What users can do on a full disk (I5, I11)."""
    equal(Path(root, "before").read_bytes(), b"before" * 1000, "a file that was there")
    os.chmod(f"{root}/before", 0o600)
    os.rename(f"{root}/before", f"{root}/renamed")
    os.truncate(f"{root}/cut", 10)
    os.unlink(f"{root}/gone")


def no_room(full: Intersync, other: Intersync) -> None:
    """One side has no room for what comes from the other, until there is some again."""
    root, source = full.words[-1], other.words[-1]
    for name in ("before", "cut", "gone"):
        Path(root, name).write_bytes(b"before" * 1000)
    converge(source, root, full, other)
    # This class is the machine's own, so the ballast stays here.
    os.mkdir(f"{root}/tmp")
    wait_until(lambda: (fill(f"{root}/tmp/ballast"), syncfs(root), fill(f"{root}/tmp/ballast"))[2] == 0,
               "a full disk")
    bodies = {f"body-{number}": os.urandom(BODY + number) for number in range(3)}
    for name, body in bodies.items():
        Path(source, name).write_bytes(body)
    wait_until(lambda: lines_with(full, FULL), "it says that the disk is full", 60)
    works(root)
    # Long enough for several attempts.
    end = time.monotonic() + 8
    while time.monotonic() < end:
        equal(len(lines_with(full, FULL)), 1, f"lines about the full disk: {full.said()[-1500:]}")
        time.sleep(0.2)
    shutil.rmtree(f"{root}/tmp")
    syncfs(root)
    # The root's time was changed by what stays here.
    Path(root, "room").touch()
    converge(source, root, full, other, seconds=120)
    for name, body in bodies.items():
        equal(Path(root, name).read_bytes() == body, True, name)
    equal(sorted(name for name in os.listdir(root) if ".conflict-" in name), [], "conflict copies")
    equal(os.path.exists(f"{source}/renamed"), True, "what was renamed on the full disk")


def full_disk(disk: str, second_disk: str, is_servers: bool) -> None:
    """The server's disk is the small one, or the client's."""
    for one, is_small in ((disk, is_servers), (second_disk, not is_servers)):
        make_ext4(one, "-b", "4096", "-N", "12000", size="40M" if is_small else "96M")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, running(root, other) as both:
        both.converge()
        no_room(*both.sides(is_servers))


@intermezzo_only
def test_full_disk_of_the_client(disk: str, second_disk: str) -> None:
    """It says so in one line, its root works, and it goes on when there is room."""
    full_disk(disk, second_disk, is_servers=False)


@intermezzo_only
def test_full_disk_of_the_server(disk: str, second_disk: str) -> None:
    """It says so in one line, its root works, and it goes on when there is room."""
    full_disk(disk, second_disk, is_servers=True)


def write_within(path: str, word: bytes) -> None:
    """100 bytes at the beginning, the middle and the end of a file of 15 TiB."""
    with open(path, "r+b" if os.path.exists(path) else "wb") as stream:
        for offset in WITHIN:
            stream.seek(offset)
            stream.write(word.ljust(100, b"."))


def read_within(path: str) -> tuple[int, list[bytes], bool]:
    """Size of such a file, what is in it, and whether it is little; nothing if there is none."""
    if not os.path.exists(path):
        return 0, [], False
    with open(path, "rb") as stream:
        found = os.fstat(stream.fileno())
        return found.st_size, [os.pread(stream.fileno(), 100, offset).rstrip(b".") for offset in WITHIN], \
            found.st_blocks < 64


@intermezzo_only
def test_files_with_long_holes(disk: str, second_disk: str) -> None:
    """A file of 15 TiB with 300 bytes in it comes as fast as those, whichever side made it, and if it is kept
    as a copy, and what comes behind it; its holes are holes on the other side."""
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, running(root, other) as both:
        both.converge()
        for source, target, name in ((root, other, "of-server"), (other, root, "of-client")):
            write_within(f"{source}/{name}", name.encode())
            Path(source, f"behind-{name}").touch()
            # Nothing but a hole.
            with open(f"{source}/empty-{name}", "wb") as stream:
                stream.truncate(HUGE)
            wait_until(lambda: os.path.exists(f"{target}/behind-{name}"), "what comes behind it", 30)
            equal(read_within(f"{target}/{name}"), (HUGE, [name.encode()] * 3, True), name)
            wait_until(lambda: read_within(f"{target}/empty-{name}") == (HUGE, [bytes(100)] * 3, True),
                       "the one without bytes", 30)
        both.client.stop()
        write_within(f"{root}/of-client", b"server")
        write_within(f"{other}/of-client", b"client")
        # What is removed here is copied there as it is, not as it came.
        write_within(f"{root}/of-server", b"newer")
        os.unlink(f"{other}/of-server")
        Path(other, "behind").touch()
        both.client.start()
        wait_until(lambda: os.path.exists(f"{root}/behind"), "what comes behind copies", 30)
        copy, newer = conflicts(root)
        for where in (root, other):
            for name, word in ((copy, b"client"), ("of-client", b"server"), (newer, b"newer")):
                wait_until(lambda: read_within(f"{where}/{name}") == (HUGE, [word] * 3, True),
                           f"{where}/{name}", 30)


@intermezzo_only
def test_a_copy_is_what_came(disk: str, second_disk: str) -> None:
    """A body that loses becomes the copy as it came: a disk with room for that, and not for another one, is
    large enough, and nothing has to be copied while others wait."""
    make_ext4(disk, "-b", "4096", "-N", "2000", size="48M")
    make_ext4(second_disk, "-b", "4096")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, running(root, other) as both:
        Path(root, "f").write_bytes(b"before")
        os.chmod(f"{root}/f", 0o640)
        both.converge()
        both.client.stop()
        found = os.statvfs(root)
        size = found.f_bfree * found.f_bsize * 2 // 5
        bodies = {where: os.urandom(size) for where in (root, other)}
        for where, data in bodies.items():
            Path(where, "f").write_bytes(data)
            syncfs(where)
        Path(other, "behind").touch()
        both.client.start()
        wait_until(lambda: os.path.exists(f"{root}/behind"), "what comes behind it", 30)
        copy, = conflicts(root)
        both.converge()
        for where in (root, other):
            equal(Path(where, copy).read_bytes() == bodies[other], True, f"the copy on {where}")
            equal(Path(where, "f").read_bytes() == bodies[root], True, f"the file on {where}")
            equal(oct(os.stat(f"{where}/{copy}").st_mode), "0o100640", "mode of the copy")
        equal(lines_with(both.server, FULL), [], "lines about a full disk")


def too_large(disk: str, second_disk: str, is_servers: bool) -> None:
    """Files that fit the one disk only, the server's or the client's."""
    make_ext4(disk, "-b", "4096" if is_servers else "1024", "-N", "2000")
    make_ext4(second_disk, "-b", "1024" if is_servers else "4096", "-N", "2000")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        write_within(f"{root if is_servers else other}/before", b"before")
        with running(root, other) as both:
            source, target = both.sides(is_servers)
            has, gets = source.words[-1], target.words[-1]
            Path(has, "first").touch()
            wait_until(lambda: os.path.exists(f"{gets}/first"), "what comes behind one from before", 30)
            write_within(f"{has}/huge", b"huge")
            Path(has, "behind").touch()
            wait_until(lambda: os.path.exists(f"{gets}/behind"), "what comes behind one", 30)
            target.await_word("close of huge by ")
            said = lines_with(target, "close of huge by ")
            equal([line.split(", is not made here: ")[-1] for line in said],
                  ["the file system does not take it"], f"what it says: {said}")
            equal(len(lines_with(target, f"a file of {HUGE} bytes comes: ")), 2, target.said()[-1500:])
            equal([os.stat(f"{gets}/{name}").st_size for name in ("before", "huge")], [0, 0], "sizes")
            equal([read_within(f"{has}/{name}")[0] for name in ("before", "huge")], [HUGE] * 2, "sizes there")
            for name in ("before", "huge"):
                os.truncate(f"{has}/{name}", 100)
            both.converge()


@intermezzo_only
def test_files_that_are_too_large_for_the_client(disk: str, second_disk: str) -> None:
    """They are passed, and that is said once; nothing waits, and they come when they have become shorter."""
    too_large(disk, second_disk, is_servers=True)


@intermezzo_only
def test_files_that_are_too_large_for_the_server(disk: str, second_disk: str) -> None:
    """They are passed, and that is said once; nothing waits, and they come when they have become shorter."""
    too_large(disk, second_disk, is_servers=False)


def too_long(disk: str, second_disk: str, is_servers: bool) -> None:
    """The server's cache has the small blocks, or the client's."""
    for one, is_small in ((disk, is_servers), (second_disk, not is_servers)):
        make_ext4(one, "-b", "1024" if is_small else "4096", size="32M")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, running(root, other) as both:
        both.converge()
        small, large = both.sides(is_servers)
        here, there = (Path(daemon.words[-1]) for daemon in (small, large))
        (there / "long").symlink_to("x" * 1100)
        (there / "after").write_bytes(b"after")
        wait_until(lambda: (here / "after").exists(), "what comes after it")
        os.lchown(there / "long", 1000, 1000)
        (there / "long").rename(there / "renamed")
        (there / "last").mkdir()
        wait_until(lambda: (here / "last").exists(), "what comes after what is done with it")
        said = lines_with(small, "does not take it")
        equal(any("symlink of long" in line for line in said), True, f"lines {said}")
        (here / "back").mkdir()
        wait_until(lambda: (there / "back").exists(), "the other way")
        equal(os.readlink(there / "renamed"), "x" * 1100, "what stays where it was made")
        (there / "renamed").unlink()
        both.converge()


@intermezzo_only
def test_symbolic_links_too_long_for_the_client(disk: str, second_disk: str) -> None:
    """Blocks of 1 KiB cannot hold a target that those of 4 KiB can: it says so, and all else is shared."""
    too_long(disk, second_disk, is_servers=False)


@intermezzo_only
def test_symbolic_links_too_long_for_the_server(disk: str, second_disk: str) -> None:
    """Likewise what a client has made; and the client keeps it."""
    too_long(disk, second_disk, is_servers=True)


@intermezzo_only
def test_many_files(disk: str, second_disk: str) -> None:
    """A client begins with nothing and gets a large tree; then most of it goes again."""
    count = int(os.environ.get("IZO_MANY_FILES", "1000"))
    for one in (disk, second_disk):
        make_ext4(one, "-b", "1024", "-N", str(count + 2000))
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        for number in range(count):
            folder = f"{root}/{number % 10}/{number // 10 % 10}"
            os.makedirs(folder, exist_ok=True)
            Path(folder, f"file-{number}").write_bytes(b"%d\n" % number * (number % 50))
        with running(root, other) as both:
            last = f"{other}/{(count - 1) % 10}/{(count - 1) // 10 % 10}/file-{count - 1}"
            wait_until(lambda: os.path.exists(last), "the last file", 600)
            both.converge(seconds=300)
            for number in range(9):
                shutil.rmtree(f"{other}/{number}")
            wait_until(lambda: not os.path.exists(f"{root}/8"), "the last file goes", 600)
            both.converge(seconds=300)


@intermezzo_only
def test_directories_deeper_than_any_path(disk: str, second_disk: str) -> None:
    """Daemons that begin with cold caches have read 4,200 levels within half a minute, and a file at the
    bottom goes both ways."""
    make_ext4(disk, "-b", "1024", "-N", str(LEVELS + 2000), size="24M")
    debugfs_write(disk, *("mkdir d", "cd d") * LEVELS)
    mkizofs = f"{os.environ['IZO_TOOLS']}/src/tools/mkizofs"
    run(mkizofs, disk)
    run("dd", f"if={disk}", f"of={second_disk}", "bs=1M", "count=24", "status=none")
    run(mkizofs, "--clone", "--of-server", second_disk)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, running(root, other) as both:
        with bottom(root, LEVELS) as here, bottom(other, LEVELS) as there:
            for number, (writer, reader) in enumerate(((here, there), (there, here))):
                text = os.urandom(1000)
                write_in(writer, "file", text)
                wait_until(lambda: read_in(reader, "file") == text, f"change {number} at the bottom", 30)
        equal([lines_with(daemon, "fail") for daemon in both.sides(True)], [[], []], "complaints")
