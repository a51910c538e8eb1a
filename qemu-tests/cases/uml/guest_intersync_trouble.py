# SPDX-License-Identifier: GPL-2.0
"""Replicas in trouble: a file that is in use or has a lease, a subvolume, a journal that fails, a log that
ends or is damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Iterator

from guest.disks import check_ext, fill, make_btrfs, make_ext4, run
from guest.expect import equal, errno_of, expect_errno, intermezzo_only, provokes, wait_until
from guest.failing_disk import FailingDisk
from guest.intersync import Intersync, Pair, conflicts, converge, lines_with, loopback_up, program, running
from guest.log_info import FAILED, OVERFLOW, flags_of
from guest.mounting import mount_old, refusal, remount_old
from guest.objects import FSFLAGS, object_at
from guest.subject import FILESET, mount_point, mounted
from guest.syscalls import syncfs

ENVIRONMENT = ("IZO_TOOLS",)
DISKS = ("160M", "160M", "160M", "160M", "160M")
CASE_DEADLINE = 240
OPTIONS = f"{FILESET},mtp=/srv"
IN_USE = "wait: a file is being changed here", "waiting: a file is being changed here"
FAULT = "the log met an error"
REPAIR = "the kernel's log says what to do"
ENDED = "the log has overflowed"
POLLED = "/pull: status 200"
LONGEST_POLL = 50
# Of the client's channel, the second.
NO_JOURNAL = "/proc/sys/intermezzo/intermezzo1/no_journal"


def said_once(daemon: Intersync, word: str, *words: str) -> None:
    """It said that in one line, or does so soon, and all of these in it."""
    daemon.await_word(word)
    lines = lines_with(daemon, word)
    equal((len(lines), [one for one in words if one not in lines[0]]), (1, []), f"{lines}")


def ticks(daemon: Intersync) -> int:
    """What it has used of a processor."""
    assert daemon.process is not None
    stat = Path(f"/proc/{daemon.process.pid}/stat").read_text(encoding="ascii")
    return sum(int(field) for field in stat.rpartition(")")[2].split()[11:13])


def stay_calm(*daemons: Intersync) -> None:
    """They run, and neither compute nor talk without end."""
    before = [(ticks(daemon), len(daemon.said())) for daemon in daemons]
    threading.Event().wait(2)
    for daemon, (used, said) in zip(daemons, before):
        assert daemon.process is not None
        equal(daemon.process.poll(), None, f"exit code: {daemon.said()[-1000:]}")
        took, more = (ticks(daemon) - used) / os.sysconf("SC_CLK_TCK"), daemon.said()[said:].splitlines()
        equal((took < 1, len(more) < 10), (True, True), f"{took} s of a processor in 2 s, and {more}")


@contextlib.contextmanager
def started(server_root: str, client_root: str) -> Iterator[Pair]:
    """Running and the same."""
    with running(server_root, client_root) as both:
        both.converge()
        yield both


def in_use(both: Pair, server_holds: bool, mine: bytes) -> None:
    """A file is open for writing on one side, where `mine` was written to it, while the other changes it and
    more; then it is closed."""
    holder, other = both.sides(server_holds)
    here, there = Path(holder.words[-1]), Path(other.words[-1])
    name = f"{'server' if server_holds else 'client'}-{len(mine)}"
    (here / name).write_bytes(b"old")
    both.converge()
    since = len(holder.said())
    with open(here / name, "r+b", buffering=0) as stream:
        if mine:
            stream.write(mine)
        (there / name).write_bytes(b"of the other side")
        behind = [f"{name}-behind-{number}" for number in range(3)]
        for one in behind:
            (there / one).write_bytes(one.encode())
        word = IN_USE[not server_holds]
        holder.await_word(word, since=since)
        os.mkdir(here / f"{name}-meanwhile")
        (here / f"{name}-meanwhile/f").write_bytes(b"meanwhile")
        wait_until(lambda: (there / f"{name}-meanwhile/f").exists(), "what is made meanwhile comes")
        equal((here / name).read_bytes(), mine or b"old", "the file in use")
        equal([one for one in behind if (here / one).exists()], [], "what came before its turn")
        stay_calm(holder, other)
        equal(len(lines_with(holder, word, since)), 1, "lines about it")
    if not mine:
        # No record tells of this close: whoever waits asks again by itself, long before a long poll ends.
        converge(*map(str, (here, there)), holder, other, seconds=20)
    both.converge()
    copies = sorted(path for path in os.listdir(here) if path.startswith(f"{name}.conflict-"))
    texts = [(here / path).read_bytes() for path in (name, *copies)]
    # The server's body keeps the name, whoever was the last.
    bodies = [b"of the other side", mine][::-1 if server_holds else 1]
    equal(texts, bodies if mine else [b"of the other side"], f"{name} and its copies {copies}")
    for root in (here, there):
        listed = [path for path in conflicts(str(root)) if os.path.basename(path).startswith(name)]
        equal([os.path.basename(path) for path in listed], copies, "what izoctl lists")
    equal([(here / one).read_bytes() for one in behind], [one.encode() for one in behind], "what was behind")


@intermezzo_only
def test_file_that_is_written_to(disk: str, second_disk: str) -> None:
    """The other side's body waits, with what is behind it, and that is said; the root goes on. Closed, it is
    a conflict: the server's body keeps the name, the client's is a copy that is listed."""
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        with started(root, other) as both:
            for server_holds in (False, True):
                in_use(both, server_holds, b"mine")


@intermezzo_only
def test_file_that_is_only_open_for_writing(disk: str, second_disk: str) -> None:
    """The other side's body waits, with what is behind it; when it is closed the body comes, without a
    copy."""
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        with started(root, other) as both:
            for server_holds in (False, True):
                in_use(both, server_holds, b"")


@intermezzo_only
def test_two_clients_wait(disk: str, second_disk: str, third_disk: str) -> None:
    """What each changed is in use on the server: it says so of each of them, once, and both come by in the
    end."""
    for one in (disk, second_disk, third_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as one_root, \
            mounted(third_disk, OPTIONS) as other_root, started(root, one_root) as both, \
            Intersync(other_root, server="127.0.0.1") as other, contextlib.ExitStack() as held:
        clients = {"one": one_root, "other": other_root}
        for name in clients:
            Path(root, name).write_bytes(b"old")
        both.converge()
        converge(root, other_root, both.server, other)
        for name, where in clients.items():
            held.enter_context(open(f"{root}/{name}", "r+b", buffering=0))
            Path(where, name).write_bytes(name.encode())
        wait_until(lambda: len(lines_with(both.server, IN_USE[0])) >= 2, "the server says it of both")
        stay_calm(both.server, both.client, other)
        lines = lines_with(both.server, IN_USE[0])
        whose = {line.partition("records of client ")[2].partition(" ")[0] for line in lines}
        equal((len(lines), len(whose)), (2, 2), f"lines, and clients in them: {lines}")
        held.close()
        converge(root, one_root, both.server, both.client)
        converge(root, other_root, both.server, other)
        both.converge()
        equal([Path(one_root, name).read_bytes() for name in clients], [b"one", b"other"], "what came by")


def lease_stands(both: Pair, server_holds: bool) -> None:
    """What a user changed and has a lease on, given back only later, is read then; all else goes on."""
    holder, other = both.sides(server_holds)
    here, there = Path(holder.words[-1]), Path(other.words[-1])
    name = f"leased-{server_holds}"
    equal(holder.stop(), 0, "exit code after SIGTERM")
    (here / name).write_bytes(b"leased")
    with open(here / name, "r+b", buffering=0) as stream:
        fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        holder.start()
        wait_until(lambda: fcntl.fcntl(stream, fcntl.F_GETLEASE) != fcntl.F_WRLCK, "the lease is asked back")
        (there / f"{name}-meanwhile").write_bytes(b"meanwhile")
        wait_until(lambda: (here / f"{name}-meanwhile").exists(), "what is made meanwhile comes")
        where = "on the server" if server_holds else "here"
        both.client.await_word(f"waiting: a file cannot be read {where} yet")
        equal((there / name).exists() and (there / name).read_bytes() == b"leased", False, "the body came")
        stay_calm(holder, other)
        equal("Resource temporarily unavailable" in holder.said(), False, holder.said()[-1000:])
        fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    both.converge()
    equal((there / name).read_bytes(), b"leased", "the body")


@intermezzo_only
def test_file_with_a_lease(disk: str, second_disk: str) -> None:
    """A lease on what is to be read is asked back, and that it is not given at once stops nothing else."""
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
            with started(root, other) as both:
                for server_holds in (False, True):
                    lease_stands(both, server_holds)
                both.stop()
    finally:
        signal.signal(signal.SIGIO, before)


@intermezzo_only
def test_attributes_of_a_file_with_a_lease(disk: str, second_disk: str) -> None:
    """Both sides set them, and somebody on the server has a lease on the file: the server's stay, the client
    gets them, and nobody asks the lease back for that."""
    def attributes(root: str) -> tuple[int, bytes, int, int]:
        path = f"{root}/leased"
        found = object_at(path, FSFLAGS)
        return os.stat(path).st_mode, os.getxattr(path, "user.of"), found.fsflags, found.projid

    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096", "-I", "256", "-O", "quota", "-E", "quotatype=usrquota:prjquota")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, \
            started(root, other) as both:
        Path(root, "leased").write_bytes(b"leased")
        both.converge()
        equal(both.client.stop(), 0, "exit code after SIGTERM")
        for where, mode, flag, project in ((root, 0o640, "+d", 7), (other, 0o604, "+A", 9)):
            os.chmod(f"{where}/leased", mode)
            os.setxattr(f"{where}/leased", "user.of", where.encode())
            run("chattr", flag, "-p", str(project), f"{where}/leased")
        servers = attributes(root)
        equal(servers[-1], 7, "the project there")
        with open(f"{root}/leased", "r+b", buffering=0) as stream:
            fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            both.client.start()
            wait_until(lambda: attributes(other) == servers, "the server's attributes come")
            equal(fcntl.fcntl(stream, fcntl.F_GETLEASE), fcntl.F_WRLCK, "the lease")
        both.converge()
        equal((attributes(root), attributes(other)), (servers, servers), "in the end")
        both.stop()


def beside_subvolumes(disk: str, second_disk: str, is_server: bool) -> None:
    """One side, whose cache has others below it, at work with the other."""
    make_btrfs(disk)
    make_ext4(second_disk, "-b", "4096")
    options = f"{OPTIONS},cache_type=btrfs"
    with mounted(disk, options) as root:
        os.mkdir(f"{root}/d")
    with mounted(disk, fstype="btrfs") as root:
        for name in ("snapshots", "d/inner"):
            run("btrfs", "subvolume", "create", f"{root}/{name}")
    with mounted(disk, options) as root, mounted(second_disk, OPTIONS) as other, \
            running(*((root, other) if is_server else (other, root))) as both:
        Path(root, "d/f").write_bytes(b"f")
        came = Path(other, "d/f")
        # with its body: what is written to it before is a conflict
        wait_until(lambda: came.exists() and came.read_bytes() == b"f", "a file comes")
        came.write_bytes(b"of the other")
        wait_until(lambda: Path(root, "d/f").read_bytes() == b"of the other", "and goes back")
        equal(sorted(os.listdir(f"{other}/d")), ["f"], "what came")
        equal(sorted(os.listdir(f"{root}/d")), ["f", "inner"], "what stayed")
        both.stop()


@intermezzo_only
def test_other_subvolumes(disk: str, second_disk: str) -> None:
    """Names of other subvolumes, which nobody can enter, stay where they are, and all else is shared."""
    for is_server in (True, False):
        beside_subvolumes(disk, second_disk, is_server)


def changed_in_the_cold(here: str, there: str, number: int) -> None:
    """What one side does in directories and to files that nobody has in use on the other."""
    syncfs(there)
    Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
    text = f"{number}".encode()
    for name in "abc":
        Path(here, name, "f").write_bytes(name.encode() + text)
        os.mkdir(f"{here}/{name}/{name}/new")
        os.rename(f"{here}/{name}/{name}/new", f"{here}/{name}/{number}")
    # In the root, which is always there: it comes behind all that.
    Path(here, "last").write_bytes(text)
    wait_until(lambda: Path(there, "last").read_bytes() == text, f"what comes behind change {number}")
    for name in "abc":
        equal((Path(there, name, "f").read_bytes(), os.stat(f"{there}/{name}/{name}/g").st_nlink,
               os.path.isdir(f"{there}/{name}/{number}")), (name.encode() + text, 2, True), f"{name} there")


@intermezzo_only
def test_what_nobody_has_in_use(disk: str, second_disk: str) -> None:
    """It is found on caches too that do not tell the kernel by a number where a directory is."""
    make_btrfs(second_disk)
    for where, fstype, options in ((second_disk, "intermezzo", f"{OPTIONS},cache_type=btrfs"),
                                   ("none", "vintermezzo", OPTIONS)):
        make_ext4(disk, "-b", "4096")
        with mounted(disk, OPTIONS) as root, mounted(where, options, fstype) as other, started(root, other):
            Path(root, "last").touch()
            for name in "abc":
                os.makedirs(f"{root}/{name}/{name}")
                Path(root, name, "f").touch()
                os.link(f"{root}/{name}/f", f"{root}/{name}/{name}/g")
            wait_until(lambda: os.path.exists(f"{other}/c/c/g"), "all of it")
            for number, (here, there) in enumerate(((root, other), (other, root), (root, other))):
                changed_in_the_cold(here, there, number)


def refused(root: str) -> list[str]:
    """What a server says that does not start, by lines."""
    done = subprocess.run([program(), "--log=none", "--state=/tmp/state", "--plain-http",
                           "--listen=127.0.0.1", root],
                          capture_output=True, text=True, timeout=30, check=False)
    equal(done.returncode, 1, f"exit code: {done.stderr}")
    return [line.removeprefix("intersync: ") for line in done.stderr.splitlines()]


def not_open(root: str, fileset: str = "rootset") -> str:
    """What a daemon says of a fileset on a mount that has been read-only from the beginning."""
    return (f"{root}: the log of its fileset {fileset} is not open, as it is mounted read-only: remount it "
            f"read-write with fileset={fileset} and mtp=; if that is refused, the kernel's log says why")


@intermezzo_only
def test_log_is_not_open(disk: str) -> None:
    """On a read-only mount the daemon says that the fileset's log is not open and what to do, be there a log
    or none yet; of a directory elsewhere that it is on no InterMezzo; and serves once it is remounted."""
    loopback_up()
    make_ext4(disk, "-b", "4096", size="32M")
    root = mount_point()
    for why in ("no log yet", "a log"):
        with mounted(disk, f"{OPTIONS},ro", where=root):
            equal(refused(root), [not_open(root)], why)
            equal(refused("/tmp"), ["/tmp is not an InterMezzo file system; mount one there, or name its "
                                    "mount point"], "elsewhere")
            remount_old(root, f"rw,{OPTIONS}")
            with Intersync(root) as server:
                equal(server.stop(), 0, f"{why}: exit code after SIGTERM")
    check_ext(disk)


def journal_fails(disk: str, is_servers: bool) -> None:
    """The journal below one side fails while both run; it is repaired as a boot does."""
    make_ext4(disk, "-b", "4096")
    root = mount_point()
    with FailingDisk() as failing, mounted(disk, OPTIONS) as sound_root, contextlib.ExitStack() as daemons:
        with mounted(failing.device, OPTIONS, where=root):
            both = daemons.enter_context(started(*((root, sound_root) if is_servers else (sound_root, root))))
            failed, sound = both.sides(is_servers)
            Path(root, "before").write_bytes(b"before" * 1000)
            both.converge()
            failing.fail()
            os.mkdir(f"{root}/lost")
            wait_until(lambda: flags_of(root) & FAILED, "the log has failed")
            failed.await_word(FAULT)
            Path(sound_root, "meanwhile").write_bytes(b"meanwhile")
            expect_errno(errno.EROFS, os.mkdir, f"{root}/refused")
            stay_calm(failed, sound)
            said_once(failed, FAULT, f"{root}/.intermezzo/rootset/kml: {FAULT}", REPAIR)
            if is_servers:
                said_once(sound, FAULT, f"status 503: {root}/.intermezzo/rootset/kml: {FAULT}", REPAIR)
            equal(os.path.exists(f"{sound_root}/lost"), False, "what was never committed is there")
            equal(failed.stop(), 0, "exit code after SIGTERM")
        failing.repair()
        run("e2fsck", "-fy", failing.device, ok=(0, 1))
        with mounted(failing.device, OPTIONS, where=root):
            failed.start()
            both.converge()
            equal(sorted(os.listdir(root)), ["before", "lost+found", "meanwhile"], "what is there")
            Path(root, "after").write_bytes(b"after" * 1000)
            both.converge()
            both.stop()
        check_ext(failing.device)


@intermezzo_only
@provokes("JBD2: .*error", "Aborting journal", "EXT4-fs error", "EXT4-fs warning", "I/O error")
def test_journal_of_the_client_fails(disk: str) -> None:
    """Its daemon says so once and stays; the server goes on; repaired and mounted both become equal."""
    journal_fails(disk, is_servers=False)


@intermezzo_only
@provokes("JBD2: .*error", "Aborting journal", "EXT4-fs error", "EXT4-fs warning", "I/O error")
def test_journal_of_the_server_fails(disk: str) -> None:
    """Its daemon says so once and stays; the client goes on; repaired and mounted both become equal."""
    journal_fails(disk, is_servers=True)


@intermezzo_only
def test_idle_client_says_that_its_log_has_ended(disk: str, second_disk: str) -> None:
    """At once, though it has all of the server's log and waits for more of it, which may take a minute."""
    make_ext4(disk)
    make_ext4(second_disk)
    with mounted(second_disk, OPTIONS) as root, mounted(disk, OPTIONS) as other, started(root, other) as both:
        Path(other, "f").write_bytes(b"f" * 1000)
        both.converge()
        # what came last has been asked for
        stay_calm(both.client, both.server)
        Path(NO_JOURNAL).write_text("1", encoding="ascii")
        os.mkdir(f"{other}/after")
        both.client.await_word(ENDED, 10)
        stay_calm(both.client, both.server)
        said_once(both.client, ENDED, f"{other}/.intermezzo/rootset/kml: {ENDED}", "mkizofs")


@intermezzo_only
def test_idle_for_longer_than_a_long_poll(disk: str, second_disk: str) -> None:
    """The poll of an idle client is answered without news and asked again, which nobody else notices; what
    changes after it comes at once."""
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    loopback_up()
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other, Intersync(root) as server, \
            Intersync(other, "-debug", "31", server="127.0.0.1") as client:
        Path(root, "f").write_bytes(b"f")
        converge(root, other, server, client)
        stay_calm(server, client)
        since, server_since = len(client.said()), len(server.said())
        client.await_word(POLLED, LONGEST_POLL + 5, since)
        stay_calm(server, client)
        equal([len(client.said()[since:].splitlines()), server.said()[server_since:]], [1, ""], "words")
        for where in (root, other):
            Path(where, "after").write_bytes(where.encode())
            converge(root, other, server, client, seconds=10)


def log_ends(disk: str, second_disk: str, is_servers: bool) -> None:
    """The log of one side overflows while both run."""
    make_ext4(disk, "-b", "4096", "-m", "0", size="16M")
    make_ext4(second_disk, "-b", "4096")
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as sound_root:
        with started(*((root, sound_root) if is_servers else (sound_root, root))) as both:
            ended, sound = both.sides(is_servers)
            Path(root, "f").write_bytes(b"f" * 1000)
            both.converge()
            # This class is the machine's own, so the ballast stays here.
            os.mkdir(f"{root}/tmp")
            fill(f"{root}/tmp/ballast")
            wait_until(lambda: (syncfs(root), fill(f"{root}/tmp/ballast"))[1] == 0, "a full disk")
            count = 0
            while not flags_of(root) & OVERFLOW:
                for count in range(count, count + 100):
                    os.utime(f"{root}/f", ns=(count, count))
            os.unlink(f"{root}/tmp/ballast")
            # Blocks are free again once what held them is committed.
            wait_until(lambda: (syncfs(root), errno_of(os.mkdir, f"{root}/after"))[1] == "ok", "room again")
            # the kernel tells it: nobody else gives it anything to do
            ended.await_word(ENDED)
            Path(sound_root, "of-the-other").write_bytes(b"other")
            stay_calm(ended, sound)
            said_once(ended, ENDED, f"{root}/.intermezzo/rootset/kml: {ENDED}", "mkizofs")
            if is_servers:
                said_once(sound, ENDED, f"status 503: {root}/.intermezzo/rootset/kml: {ENDED}", "mkizofs")
            equal((os.path.exists(f"{sound_root}/after"), os.path.exists(f"{root}/of-the-other")),
                  (False, False), "what is shared")
            Path(root, "works").write_bytes(b"works")
            equal(Path(root, "works").read_bytes(), b"works", "the root")
    for one in (disk, second_disk):
        check_ext(one)


@intermezzo_only
def test_log_of_the_client_ends(disk: str, second_disk: str) -> None:
    """Its daemon says what that means; from there on nothing is shared, and both roots go on."""
    log_ends(disk, second_disk, is_servers=False)


@intermezzo_only
def test_log_of_the_server_ends(disk: str, second_disk: str) -> None:
    """Its daemon says what that means; from there on nothing is shared, and both roots go on."""
    log_ends(disk, second_disk, is_servers=True)


@intermezzo_only
def test_segment_of_the_log_cut_short(disk: str, second_disk: str) -> None:
    """kml.0 of the server has lost its end: the mount, and the remount of what can still be read, are refused
    with its name and what to do; the daemon names the log that it cannot follow; restored, all goes on."""
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096", size="32M")
    root = mount_point()
    with mounted(second_disk, OPTIONS) as other:
        with mounted(disk, OPTIONS, where=root), started(root, other) as both:
            Path(root, "f").write_bytes(b"f" * 1000)
            both.converge()
        with mounted(disk, fstype="ext4") as cache:
            segment = Path(cache, ".intermezzo/rootset/kml.0")
            whole = segment.read_bytes()
            os.truncate(segment, len(whole) // 2)
        words = (f"/kml.0 has {len(whole) // 2} bytes instead of {len(whole)};",
                 "restore it, or remove")
        lines = refusal(expect_errno(errno.EINVAL, mount_old, disk, root, "intermezzo", OPTIONS))
        equal((len(lines), [word for word in words if word not in "".join(lines)]), (1, []), f"{lines}")
        with mounted(disk, f"{OPTIONS},ro", where=root):
            equal(Path(root, "f").read_bytes(), b"f" * 1000, "read-only")
            equal(refused(root), [not_open(root)], "what the daemon says")
            lines = refusal(expect_errno(errno.EINVAL, remount_old, root, "rw"))
            equal((len(lines), [word for word in words if word not in "".join(lines)]), (1, []), f"{lines}")
        with mounted(disk, fstype="ext4") as cache:
            Path(cache, ".intermezzo/rootset/kml.0").write_bytes(whole)
        with mounted(disk, OPTIONS, where=root), started(root, other) as both:
            Path(other, "g").write_bytes(b"g" * 1000)
            both.converge()
    check_ext(disk)
