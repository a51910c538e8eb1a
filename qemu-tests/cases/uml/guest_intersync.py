# SPDX-License-Identifier: GPL-2.0
"""Server and client on one machine: what changes on one side comes to the other, once."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, Sequence

from guest.changes import ACL_TWO_USERS, change_a_bit_of_everything
from guest.disks import copy_as_after_a_crash, make_ext4, run
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, Pair, conflicts, converge, loopback_up, running, touch_directories
from guest.kml import Fid, Log
from guest.log_info import info, wait_for_spares
from guest.mounting import umount
from guest.restless import User
from guest.subject import FILESET, mounted
from guest.texts import Texts

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 240
OPTIONS = f"{FILESET},mtp=/srv"
# cap_net_raw=ep, as setcap(8) writes it.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


@contextlib.contextmanager
def pair(disk: str, second_disk: str, before: Callable[[str], None] = lambda root: None,
         options: str = OPTIONS, features: Sequence[str] = ()) -> Iterator[Pair]:
    """Both on fresh disks, running; `before` changes the server's tree when nobody runs yet."""
    make_ext4(disk, "-b", "4096", *features)
    make_ext4(second_disk, "-b", "4096", *features)
    with mounted(disk, options) as server_root, mounted(second_disk, options) as client_root:
        before(server_root)
        with running(server_root, client_root) as both:
            yield both


@intermezzo_only
def test_both_directions(disk: str, second_disk: str) -> None:
    """A file made on either side is on the other, with its body."""
    with pair(disk, second_disk) as both:
        Path(both.server_root, "from-server").write_bytes(b"server\n" * 1000)
        os.mkdir(f"{both.server_root}/d")
        both.converge()
        Path(both.client_root, "d/from-client").write_bytes(b"client\n" * 1000)
        both.converge()
        equal(Path(both.server_root, "d/from-client").read_bytes(), b"client\n" * 1000, "the body")


@intermezzo_only
def test_no_change_waits_for_the_journal(disk: str, second_disk: str) -> None:
    """The cache commits by itself every five minutes, but no change waits for that."""
    with pair(disk, second_disk, options=f"{OPTIONS},commit=300") as both:
        for number in range(150):
            Path(both.server_root, f"f{number}").write_bytes(b"server\n" * 600)
            copy = Path(both.client_root, f"f{number}")
            wait_until(lambda: copy.exists() and copy.stat().st_size == 4200, f"{copy.name} comes", 30)


def is_on_the_medium(root: str) -> bool:
    """All of the log."""
    now = info(root)
    return now.committed >= now.end


@intermezzo_only
def test_nothing_is_forced_for_nobody(disk: str, second_disk: str) -> None:
    """A server that nobody follows asks for no commit; when a client does, one comes at once (I2)."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, f"{OPTIONS},commit=300") as root, mounted(second_disk, OPTIONS) as other:
        wait_for_spares(root)
        with Intersync(root) as server:
            os.mkdir(f"{root}/d")
            before = info(root)
            equal(before.committed < before.end, True, f"not on the medium: {before}")
            threading.Event().wait(2)
            equal(info(root), before, "the log")
            with Intersync(other, server="127.0.0.1") as client:
                converge(root, other, server, client)
                equal(is_on_the_medium(root), True, "what the client has is on the server's medium")


@intermezzo_only
def test_commit_delay(disk: str, second_disk: str) -> None:
    """So long a change waits for others, before all are brought onto the medium and sent."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096")
    with mounted(disk, f"{OPTIONS},commit=300") as root, mounted(second_disk, OPTIONS) as other:
        wait_for_spares(root)
        with Intersync(root, "--commit-delay=2000") as server, Intersync(other, server="127.0.0.1") as client:
            converge(root, other, server, client)
            # The first one may find a delay that has begun already.
            for name in ("first", "second"):
                wait_until(lambda: is_on_the_medium(root), "all is on the medium")
                start = time.monotonic()
                os.mkdir(f"{root}/{name}")
                wait_until(lambda: os.path.isdir(f"{other}/{name}"), f"{name} comes")
                took = time.monotonic() - start
            equal(took >= 2, True, f"not before its time, but after {took} s")


def texts(side: str, turn: int) -> dict[str, str]:
    """Names and what is in them."""
    return {f"{side}-{turn}-{number}": f"{side} {turn} {number}\n" * 1000 for number in range(3)}


def texts_in(root: str) -> dict[str, str]:
    """All that are there."""
    return {path.name: path.read_text(encoding="ascii") for path in Path(root).iterdir() if path.is_file()}


def texts_up_to(log: Log, recno: int) -> dict[str, str]:
    """What a replica has that has applied so many records of it: names first, then what is in them."""
    there: dict[str, str] = {}
    names: dict[Fid, str] = {}
    for record in log.records():
        if record.recno > recno or record.op not in ("create", "close"):
            continue
        if record.place:
            names[record.object] = record.place.name.decode()
        name = names[record.object]
        side, turn, _ = name.split("-")
        there[name] = texts(side, int(turn))[name] if record.op == "close" else ""
    return there


@intermezzo_only
def test_both_lose_their_power(disk: str, second_disk: str, third_disk: str) -> None:
    """What one side has of the other is on the other's medium, and what it has acknowledged on its own,
    though nobody asked for a commit; trees agree with positions, and go on from there (I2)."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one, "-b", "4096", size="32M")
    options = f"{OPTIONS},commit=300"
    with mounted(second_disk, options) as client_root:
        with mounted(disk, options) as root:
            wait_for_spares(root)
            wait_for_spares(client_root)
            with Intersync(root) as server, Intersync(client_root, server="127.0.0.1") as client:
                for side, turn in (("server", 0), ("client", 0), ("server", 1), ("client", 1), ("server", 2)):
                    for name, text in texts(side, turn).items():
                        Path(root if side == "server" else client_root, name).write_text(text, "ascii")
                    converge(root, client_root, server, client)
                server.await_word(f"are applied up to {info(client_root).end_recno}\n")
                everything = texts_in(root)
                client.kill()
                server.kill()
            copy_as_after_a_crash(disk, third_disk, 32 << 20)
        copy_as_after_a_crash(second_disk, disk, 32 << 20)
        client_end = info(client_root).end_recno
    with mounted(third_disk, options) as root, mounted(disk, options) as client_root:
        log = Log.of_mount(root)
        equal((texts_in(root), log.received[0][1]), (everything, client_end), "the server's texts, position")
        there, position = texts_in(client_root), Log.of_mount(client_root).received[0][1]
        own = {name: text for name, text in everything.items() if name.startswith("client")}
        equal(there, {**texts_up_to(log, position), **own}, "the client's texts")
        # Those of the last turn may have gone again: the server has them.
        equal([name for name in everything if name not in there and "server-2" not in name], [], "gone")
        with Intersync(root) as server, Intersync(client_root, server="127.0.0.1") as client:
            converge(root, client_root, server, client)
            equal((texts_in(root), texts_in(client_root)), (everything, everything), "all texts")


@intermezzo_only
def test_a_bit_of_everything(disk: str, second_disk: str) -> None:
    """All kinds of changes, from before the first contact on, and by either side in turn."""
    with pair(disk, second_disk, lambda root: change_a_bit_of_everything(root, 0)) as both:
        both.converge()
        for turn, root in enumerate((both.client_root, both.server_root, both.client_root), 1):
            change_a_bit_of_everything(root, turn)
            both.converge()


@intermezzo_only
def test_changes_from_before_the_connection(disk: str, second_disk: str) -> None:
    """What changed while nobody followed comes to the other side without a commit of the cache's own."""
    with pair(disk, second_disk, options=f"{OPTIONS},commit=300") as both:
        both.converge()
        for turn, (daemon, root) in enumerate(itertools.product((both.client, both.server), both.roots)):
            daemon.stop()
            change_a_bit_of_everything(root, turn)
            daemon.start()
            both.converge()


@intermezzo_only
def test_large_bodies(disk: str, second_disk: str) -> None:
    """Bodies of several pieces, both ways, and changes of them."""
    with pair(disk, second_disk) as both:
        for turn, root in enumerate(both.roots * 2):
            Path(root, f"large-{turn % 2}").write_bytes(os.urandom(9_000_000 + turn))
            Path(root, f"empty-{turn % 2}").write_bytes(b"")
            both.converge()


@intermezzo_only
def test_nothing_changes_while_nothing_changes(disk: str, second_disk: str) -> None:
    """When both are the same, neither writes a record, and none comes back (I6)."""
    with pair(disk, second_disk, lambda root: change_a_bit_of_everything(root, 0)) as both:
        both.converge()
        change_a_bit_of_everything(both.client_root, 1)
        both.converge()
        Path(both.server_root, "last").touch()
        both.converge()
        before = [info(root).end_recno for root in both.roots]
        threading.Event().wait(3)
        equal([info(root).end_recno for root in both.roots], before, "numbers of the newest records")


@intermezzo_only
def test_changes_that_are_not_made(disk: str, second_disk: str) -> None:
    """What leaves no copy behind is said, once, by the side that passed it: attributes that lost to newer
    ones, and what cannot be where something is mounted."""
    with pair(disk, second_disk) as both:
        for name in ("d", "busy"):
            os.mkdir(f"{both.server_root}/{name}")
        Path(both.server_root, "d/f").touch()
        both.converge()
        both.client.stop()
        for root, value in zip(both.roots, (b"there", b"here")):
            os.chmod(f"{root}/d/f", 0o640 if value == b"there" else 0o604)
            os.setxattr(f"{root}/d/f", "user.x", value)
        run("mount", "-t", "tmpfs", "none", f"{both.client_root}/busy")
        try:
            both.client.start()
            for word in ("setattr of d/f by client ", "setxattr of d/f by client "):
                both.server.await_word(word)
            os.chmod(f"{both.server_root}/busy", 0o711)
            os.rmdir(f"{both.server_root}/busy")
            Path(both.server_root, "behind").touch()
            wait_until(lambda: os.path.exists(f"{both.client_root}/behind"), "what comes behind it")
        finally:
            umount(f"{both.client_root}/busy")
        said = {daemon: [line for line in daemon.said().splitlines() if " is not made here: " in line]
                for daemon in (both.server, both.client)}
        equal((len(said[both.server]), len(said[both.client])), (2, 1), f"lines: {said.values()}")
        equal(["it conflicts with" in line for line in said[both.server]], [True, True], "its reason")
        equal("rmdir of busy by the server, its record" in said[both.client][0]
              and "something is mounted there" in said[both.client][0], True, said[both.client][0])
        equal(oct(os.stat(f"{both.client_root}/d/f").st_mode & 0o777), "0o640", "the mode")


@intermezzo_only
def test_attributes_that_lose(disk: str, second_disk: str) -> None:
    """Whatever of owner, mode, ACL and flags the client set, after a newer change of any of these on the
    server both have the server's (I8), and the server has what it had: set-user-id and capabilities too."""
    names = ("file", "dir", "had-acl", "program", ".")

    def acl(root: str, name: str) -> None:
        os.setxattr(f"{root}/{name}", "system.posix_acl_access", ACL_TWO_USERS)

    def make(root: str) -> None:
        os.mkdir(f"{root}/dir")
        for name in ("file", "had-acl", "program"):
            Path(root, name).touch()
        acl(root, "had-acl")
        os.setxattr(f"{root}/program", "security.capability", CAPABILITY)

    with pair(disk, second_disk, make) as both:
        both.converge()
        both.client.stop()
        for name in names:
            os.chmod(f"{both.server_root}/{name}", 0o4711 if name == "program" else 0o711)
        for name in ("file", "dir", "had-acl"):
            if name == "had-acl":
                os.removexattr(f"{both.client_root}/{name}", "system.posix_acl_access")
            else:
                acl(both.client_root, name)
            run("chattr", "+d", f"{both.client_root}/{name}")
            os.chown(f"{both.client_root}/{name}", 7, 8)
        os.setxattr(f"{both.client_root}/dir", "system.posix_acl_default", ACL_TWO_USERS)
        os.chmod(f"{both.client_root}/program", 0o700)
        os.chmod(both.client_root, 0o700)
        os.chown(both.client_root, 7, 8)
        both.client.start()
        both.converge()
        for root in both.roots:
            flags = [run("lsattr", "-d", f"{root}/{name}").split()[0] for name in names]
            equal(["d" in one for one in flags], [False] * 5, f"flags {flags}")
            have = {name: found for name in names if (found := os.listxattr(f"{root}/{name}"))}
            equal(have, {"had-acl": ["system.posix_acl_access"], "program": ["security.capability"]},
                  "extended attributes")
            equal([(os.stat(f"{root}/{name}").st_uid, oct(os.stat(f"{root}/{name}").st_mode & 0o7777))
                   for name in names], [(0, "0o711")] * 3 + [(0, "0o4711"), (0, "0o711")], "owners, modes")


@intermezzo_only
def test_attributes_of_what_nobody_may_change(disk: str, second_disk: str) -> None:
    """A client's that lose on a file that is immutable on the server are passed and said; nothing waits, and
    the log does not fill with tries."""
    with pair(disk, second_disk, lambda root: Path(root, "sealed").touch()) as both:
        both.converge()
        both.client.stop()
        run("chattr", "+i", f"{both.server_root}/sealed")
        os.chmod(f"{both.client_root}/sealed", 0o604)
        run("chattr", "+d", f"{both.client_root}/sealed")
        Path(both.client_root, "behind").touch()
        before = info(both.server_root).end_recno
        both.client.start()
        wait_until(lambda: os.path.exists(f"{both.server_root}/behind"), "what comes behind it")
        both.server.await_word("setattr of sealed by client ")
        equal(info(both.server_root).end_recno - before < 20, True, "records of the server's")
        equal(oct(os.stat(f"{both.server_root}/sealed").st_mode & 0o777), "0o644", "the server's mode")
        run("chattr", "-i", f"{both.server_root}/sealed")
        os.chmod(f"{both.server_root}/sealed", 0o600)
        both.converge()


@intermezzo_only
def test_copies_in_directories_with_flags(disk: str, second_disk: str) -> None:
    """The copy of a conflict lies beside the file also where what is made gets a project or an ACL, or may
    only be added, and in the root if the directory is immutable; who may read it is as for the file, and
    nothing behind it waits."""
    flags = {"sealed": ["+i"], "grows": ["+a"], "project": ["+P", "-p", "42"], "acl": ["+d"]}

    def make(root: str) -> None:
        for folder in flags:
            os.mkdir(f"{root}/{folder}")
            Path(root, folder, f"in-{folder}").touch(0o640)

    with pair(disk, second_disk, make, features=("-I", "256", "-O", "project")) as both:
        both.converge()
        both.client.stop()
        for folder, words in flags.items():
            Path(both.server_root, folder, f"in-{folder}").write_bytes(b"server")
            Path(both.client_root, folder, f"in-{folder}").write_bytes(b"client")
            run("chattr", *words, f"{both.server_root}/{folder}")
        os.setxattr(f"{both.server_root}/acl", "system.posix_acl_default", ACL_TWO_USERS)
        Path(both.client_root, "behind").touch()
        both.client.start()
        wait_until(lambda: os.path.exists(f"{both.server_root}/behind"), "what comes behind it")
        copies = conflicts(both.server_root)
        equal([path[:-len("12345678")] for path in copies],
              ["acl/in-acl.conflict-", "grows/in-grows.conflict-", "in-sealed.conflict-",
               "project/in-project.conflict-"], "copies")
        for path in (Path(both.server_root, path) for path in copies):
            equal((path.read_bytes(), oct(path.stat().st_mode), os.listxattr(path)),
                  (b"client", "0o100640", []), f"the copy {path}")
        both.converge()


@intermezzo_only
def test_two_users_at_once(disk: str, second_disk: str) -> None:
    """Both sides change the same names at the same time; afterwards they are equal (I8), with what only one
    wrote (I5)."""
    with pair(disk, second_disk) as both:
        texts = Texts(*both.roots)
        for turn in range(4):
            users = [threading.Thread(target=User(root, 10 * turn + n).run, args=(150,))
                     for n, root in enumerate(both.roots)]
            for user in users:
                user.start()
            texts.write()
            for user in users:
                user.join()
            both.converge()
            texts.check()


@intermezzo_only
def test_disconnected(disk: str, second_disk: str) -> None:
    """Both sides change while the server's daemon is down, and then the client's: nothing that only one side
    wrote is lost (I5)."""
    with pair(disk, second_disk) as both:
        texts = Texts(*both.roots)
        for turn, daemon in enumerate((both.server, both.client)):
            daemon.stop()
            for n, root in enumerate(both.roots):
                User(root, 100 + 10 * turn + n).run(200)
            texts.write()
            daemon.start()
            both.converge()
            texts.check()


@intermezzo_only
def test_killed_again_and_again(disk: str, second_disk: str) -> None:
    """kill -9 of either daemon at any moment, while both change: what only one side wrote is there in the
    end, once (I3, I5)."""
    with pair(disk, second_disk) as both:
        texts = Texts(*both.roots)
        users = [threading.Thread(target=User(root, 200 + n).run, args=(600,))
                 for n, root in enumerate(both.roots)]
        for user in users:
            user.start()
        kills = 0
        while any(user.is_alive() for user in users) or kills < 8:
            daemon = (both.server, both.client)[kills % 2]
            texts.write()
            threading.Event().wait(0.1 + 0.13 * (kills % 5))
            daemon.kill()
            daemon.start()
            kills += 1
        for user in users:
            user.join()
        both.converge(directory_times=False)
        touch_directories(both.server_root)
        both.converge()
        texts.check()


@intermezzo_only
def test_copied_disk(disk: str, second_disk: str) -> None:
    """A client that begins with a copy of the server's disk: what is there is one object on both."""
    loopback_up()
    program = f"{os.environ['IZO_TOOLS']}/src/tools/mkizofs"
    with tempfile.TemporaryDirectory() as folder:
        User(folder, 400).run(200)
        make_ext4(disk, "-d", folder)
    run(program, disk)
    with mounted(disk, OPTIONS) as root:
        User(root, 401).run(50)
    run("dd", f"if={disk}", f"of={second_disk}", "bs=1M", "status=none")
    run(program, "--clone", second_disk)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as copy:
        with Intersync(root) as server, Intersync(copy, server="127.0.0.1") as client:
            converge(root, copy, server, client)
            for turn in range(3):
                for n, side in enumerate((root, copy)):
                    User(side, 410 + 10 * turn + n).run(100)
                converge(root, copy, server, client)
            equal([client.stop(), server.stop()], [0, 0], "exit codes after SIGTERM")


@intermezzo_only
def test_copied_disk_knows_of_when(disk: str, second_disk: str) -> None:
    """mkizofs --clone --of-server notes how far the copy has the server's log: what is changed on it has seen
    that, from the first write on, so that it is no conflict with what was there before."""
    loopback_up()
    make_ext4(disk)
    with mounted(disk, OPTIONS) as root:
        User(root, 600).run(300)
        for name in ("here", "there"):
            Path(root, name).write_text("both", encoding="ascii")
    run("dd", f"if={disk}", f"of={second_disk}", "bs=1M", "status=none")
    run(f"{os.environ['IZO_TOOLS']}/src/tools/mkizofs", "--clone", "--of-server",
        second_disk)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as copy:
        for number in range(100):
            Path(root, f"later-{number}").write_text("later", encoding="ascii")
        for name, side in (("there", root), ("here", copy)):
            Path(side, name).write_text(name, encoding="ascii")
        with Intersync(root) as server, Intersync(copy, server="127.0.0.1") as client:
            converge(root, copy, server, client)
            equal([Path(copy, name).read_text(encoding="ascii") for name in ("here", "there")],
                  ["here", "there"], "the texts")
            equal([name for name in os.listdir(root) if "here.conflict-" in name], [], "conflict copies")
            equal([client.stop(), server.stop()], [0, 0], "exit codes after SIGTERM")


def each_change_once(*roots: str) -> int:
    """Whoever made a change, a log has it once, and none has one of its own replica as a peer's (I6). How
    many were made elsewhere."""
    foreign = 0
    for root in roots:
        log = Log.of_mount(root)
        seen = [(record.origin, record.origin_recno) for record in log.records()]
        equal(len(seen) - len(set(seen)), 0, f"records of {root} that are there twice")
        own = [record for record in log.records() if record.origin == log.self_index]
        equal([str(record) for record in own if record.origin_recno != record.recno], [], "what came back")
        foreign += len(seen) - len(own)
    return foreign


@intermezzo_only
def test_two_clients(disk: str, second_disk: str, third_disk: str) -> None:
    """What one client changes comes to the other through the server."""
    make_ext4(third_disk, "-b", "1024")
    with pair(disk, second_disk) as both, mounted(third_disk, OPTIONS) as third:
        with Intersync(third, server="127.0.0.1") as other:
            for turn in range(3):
                users = [threading.Thread(target=User(root, 300 + 10 * turn + n).run, args=(100,))
                         for n, root in enumerate((*both.roots, third))]
                for user in users:
                    user.start()
                for user in users:
                    user.join()
                converge(both.client_root, third, both.server, both.client, other)
                both.converge()
            wait_until(lambda: other.process is not None, "it runs")
            equal(each_change_once(*both.roots, third) > 100, True, "the clients' changes are there")
