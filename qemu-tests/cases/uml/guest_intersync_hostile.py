# SPDX-License-Identifier: GPL-2.0
"""Peers that say in good form what they must not: it stays within the fileset's tree (I9), is refused or
passed over, and others are served as before."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from pathlib import Path
from typing import AbstractSet as Set
from typing import Any, Iterator, NamedTuple

from guest.disks import make_ext4
from guest.expect import equal, errno_of, intermezzo_only, wait_until
from guest.intersync import Intersync, converge, lines_with, loopback_up, replicated
from guest.kml import ROOT, Fid, Log
from guest.messages import (A_HEAD, BODY, NONE, TYPES, Change, HostileClient, HostileServer, attribute,
                            attributes, birth, body, close, fid_field, frame, frames, packed_fid, place,
                            rename)
from guest.objects import object_at
from guest.replay import fid_of
from guest.subject import FILESET, mounted
from guest.tree import content_hash, manifest, xattrs

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 120
OPTIONS = f"{FILESET},mtp=/srv"
OUTSIDE = "/tmp/outside"
OWN = "that name is this machine's own, or something is mounted there"
REFUSED = "the file system does not take it"
# What waits, as its operation and its object cannot both be.
NO_SUCH_OBJECT = "the tree is not as its log says, code 19"
NO_NAME = "name that no file can have"
NOT_ITS_OWN = "a record of the client's log is not its own"
NO_REPLICA = "names a replica that the client's table does not have"
CONFLICT = re.compile(r"\.conflict-[0-9a-f]{8}(?=$|/)")
BAD_NAMES = {b"..": NO_NAME, b".": NO_NAME, b"a/b": NO_NAME, b"a\0b": NO_NAME, b"": "name of 0 bytes",
             b"n" * 256: "name of 256 bytes"}
LOGS = ("kml", "lml", "last_rcvd")
EXCHANGE, WHITEOUT = 1, 2
CAPABILITY = b"security.capability"
# A capability of the third form, of a user namespace whose root is nobody.
NOBODYS = struct.pack("<5IL", 0x03000000, 1, 0, 0, 0, 0xffffffff)
# The first is ours to give, the others are anybody's.
BORN_WITH = (b"trusted.izo", b"v"), (b"trusted.overlay.opaque", b"y"), (b"security.selinux", b"x")


def its(number: int, replica: int = 1) -> Fid:
    """An object of the sender's, or of somebody else's in its table."""
    return Fid(replica, number, 5)


def about(op: str, fid: Fid, where: Fid, name: bytes, nlink: int = 0) -> Change:
    """LINK, UNLINK or RMDIR."""
    return Change(op, fid, [("place", place(where, name))], nlink=nlink)


def set_xattr(fid: Fid, name: bytes) -> Change:
    """SETXATTR."""
    return Change("setxattr", fid, [("xattr", attribute(name, b"value"))], aspects=4)


def internal(root: str, peer: bytes) -> dict[str, Any]:
    """What `.intermezzo` has, but for what is written there for every change and for this peer's; and what is
    in lost+found."""
    found: dict[str, Any] = {"lost+found": manifest(f"{root}/lost+found", with_times=True)}
    for folder, _, files in os.walk(f"{root}/.intermezzo"):
        for name in [".", *(one for one in files if not one.startswith("kml."))]:
            path = os.path.join(folder, name)
            is_log = name in LOGS
            info = os.lstat(path)
            found[path] = (info.st_ino, info.st_mode, info.st_uid, info.st_nlink, xattrs(path),
                           "" if is_log or name == "." else content_hash(path))
    found["positions"] = sorted(one[:2] for one in Log.of_mount(root).received if one[0] != peer)
    return found


class Victim:
    """A mount with a directory, a file, a symbolic link that leads out of it, and what must stay of that."""

    def __init__(self, root: str) -> None:
        self.root = root
        os.makedirs(OUTSIDE, exist_ok=True)
        Path(OUTSIDE, "f").write_bytes(b"outside")
        os.mkdir(f"{root}/d")
        Path(root, "d/f").write_bytes(b"kept")
        os.symlink(OUTSIDE, f"{root}/l")
        self.own = set(self.tree())
        self.before: dict[str, Any] = {}

    def tree(self) -> dict[str, Any]:
        """But for the root's time, which is that of the newest name."""
        found = replicated(self.root)
        found["."].pop("mtime")
        return found

    def watch(self, peer: bytes) -> None:
        """From now on."""
        self.peer, self.outside = peer, manifest(OUTSIDE, with_times=True)
        self.before, self.inside = self.tree(), internal(self.root, peer)

    def check(self, what: str, new: Set[str], gone: Set[str] = frozenset()) -> None:
        """All is as it was, but for names that came and went. A star is for what a conflict name has more."""
        now = self.tree()
        equal({path: now.get(path) for path in self.own}, {path: self.before[path] for path in self.own},
              f"{what}: what was there")
        equal(({CONFLICT.sub("*", path) for path in set(now) - set(self.before)},
               {CONFLICT.sub("*", path) for path in set(self.before) - set(now)}), (new, gone),
              f"{what}: names that came and went")
        equal(internal(self.root, self.peer), self.inside, f"{what}: .intermezzo and lost+found")
        equal(manifest(OUTSIDE, with_times=True), self.outside, f"{what}: what is outside")
        self.before = now

    def fid(self, path: str, replica: int) -> Fid:
        """Of something made here, in the peer's terms."""
        return fid_of(os.fsencode(f"{self.root}/{path}"), replica)


class Step(NamedTuple):
    """What a peer says at once, and what becomes of it."""
    what: str
    changes: list[Change]
    why: str = ""  # it is refused, or waits
    new: Set[str] = frozenset()
    gone: Set[str] = frozenset()
    lost: tuple[str, str] = ("", "")  # the line that says what is not made here: its begin and its end
    status: int = 200
    more: bytes = b""


def check_lines(step: Step, daemon: Intersync, since: int) -> None:
    """One that says what is not made, or none."""
    lines = [line.removeprefix("intersync: ") for line in lines_with(daemon, "made here", since)]
    begin, end = step.lost
    equal((len(lines), all(line.startswith(begin) and line.endswith(end) for line in lines)),
          (1 if begin else 0, True), f"{step.what}: {lines}")


class Attacked:
    """A server with an honest client and another one."""

    def __init__(self, victim: Victim, server: Intersync, peer: HostileClient) -> None:
        self.victim, self.server, self.peer = victim, server, peer

    def take(self, step: Step) -> None:
        """Push it, and look."""
        since, had = len(self.server.said()), self.peer.accepted
        said = self.peer.push(*step.changes, bodies=step.more)
        equal((said.status, said.why.endswith(step.why) if step.why else said.why),
              (step.status, True if step.why else ""), f"{step.what}: the answer {said}")
        equal(said.accepted - had, 0 if step.why else len(step.changes), f"{step.what}: records taken")
        check_lines(step, self.server, since)
        equal(len(lines_with(self.server, f"sent what is no push: {said.why}", since)),
              1 if step.status == 400 else 0, f"{step.what}: lines")
        self.victim.check(step.what, step.new, step.gone)


@contextlib.contextmanager
def attacked(disk: str, second_disk: str) -> Iterator[Attacked]:
    """In the end server and honest client are the same, and go on."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        victim = Victim(root)
        with Intersync(root) as server, Intersync(other, server="127.0.0.1") as client:
            Path(other, "theirs").touch()
            converge(root, other, server, client)
            peer = HostileClient(Log.of_mount(root).replica, Log.of_mount(other).replica)
            equal(peer.hello(), 200, "hello")
            victim.own.add("theirs")
            victim.watch(peer.replica)
            yield Attacked(victim, server, peer)
            Path(root, "from-server").write_bytes(b"s" * 5000)
            Path(other, "from-client").write_bytes(b"c" * 5000)
            converge(root, other, server, client)
            equal([client.stop(), server.stop()], [0, 0], "exit codes")


def refused_records(victim: Victim) -> Iterator[Step]:
    """What a client may not say at all, in turn with the server's text."""
    for name, why in BAD_NAMES.items():
        yield Step(f"create {name[:9]!r}", [birth("create", its(1), name)], why, status=400)
    yield Step("rename to ..", [rename(its(1), (ROOT, b"a"), (ROOT, b".."))], f"TO: {NO_NAME}", status=400)
    yield Step("hint ..", [close(victim.fid("d/f", 2), b"x", (ROOT, b".."))], f"HINT: {NO_NAME}", status=400)
    yield Step("a body of no record", [birth("mkdir", its(1), b"m")], "body number 7 of 1", status=400,
               more=body(7, b"x"))
    good = birth("mkdir", its(1), b"m")
    for replica, why in ((2, NOT_ITS_OWN), (3, NOT_ITS_OWN), (4, NO_REPLICA)):
        yield Step(f"origin {replica}", [Change("mkdir", its(1), good.items, origin=replica)], why)
        yield Step(f"birth of {replica}", [birth("mkdir", its(77, replica), b"m")], why)
    yield Step("birth of the root", [birth("mkdir", ROOT, b"m")], "mkdir of the root", status=400)
    for evil in (close(ROOT, b"evil"), Change("close", ROOT, close(ROOT, b"").items, flags=4, aspects=8)):
        yield Step(f"close of the root, body {evil.body!r}", [evil], "close of the root", status=400)
    yield Step("birth of .intermezzo", [birth("mkdir", victim.fid(".intermezzo", 2), b"m")], NOT_ITS_OWN)
    whiteout = ("whiteout", packed_fid(its(77, 2)) + attributes(mode=0o20000))
    yield Step("whiteout of the server's", [Change("rename", its(1), [
        ("place", place(ROOT, b"a")), ("to", place(ROOT, b"b")), whiteout], flags=WHITEOUT)], NOT_ITS_OWN)
    exchange = rename(its(1), (ROOT, b"a"), (ROOT, b"b"), its(2), EXCHANGE | WHITEOUT)
    exchange.items.append(("whiteout", packed_fid(its(78)) + attributes(mode=0o20000)))
    yield Step("exchange with a whiteout", [exchange], "exchange with WHITEOUT", status=400)


@intermezzo_only
def test_clients_records_that_are_refused(disk: str, second_disk: str) -> None:
    """Names that lead elsewhere or are none, records and objects that are not the client's own: nothing of
    the push is taken, and the answer says why. Of a record far ahead nothing is taken either."""
    with attacked(disk, second_disk) as it:
        for step in refused_records(it.victim):
            it.take(step)
        ahead = birth("mkdir", its(1), b"ahead")
        ahead.skips = 50
        equal((it.peer.push(ahead).why, it.peer.accepted), ("", 0), "a record far ahead")
        it.victim.check("a record far ahead", set())
        it.take(Step("the next one", [birth("mkdir", its(1), b"m")], new={"m"}))


def not_shared(victim: Victim, replica: int) -> Iterator[Step]:
    """About what is below `.intermezzo`, or has that name or lost+found's. The peer has the directory `a`."""
    inner, kml = victim.fid(".intermezzo", replica), victim.fid(".intermezzo/rootset/kml", replica)
    a, f, number = its(1), victim.fid("d/f", replica), 100
    for op in TYPES:
        for name in ("lost+found", ".intermezzo"):
            number += 1
            yield Step(f"{op} {name}", [birth(op, its(number), name.encode())],
                       lost=(f"{op} of {name} by", OWN))
        yield Step(f"{op} in .intermezzo", [birth(op, its(number + 50), b"in", inner)], new={"in*"})
    yield Step("rename to .intermezzo", [rename(a, (ROOT, b"a"), (ROOT, b".intermezzo"))],
               lost=("rename of a by", OWN))
    for flags in (EXCHANGE, 0):
        yield Step(f"rename over .intermezzo {flags}", [
            rename(a, (ROOT, b"a"), (ROOT, b".intermezzo"), inner, flags)], lost=("rename of a by", OWN))
    yield Step("rename into .intermezzo", [rename(a, (ROOT, b"a"), (inner, b"b"))], new={"b*"}, gone={"a"})
    yield Step("link to .intermezzo", [about("link", f, ROOT, b".intermezzo")], lost=("link of d/f by", OWN))
    yield Step("rename of .intermezzo", [rename(inner, (ROOT, b".intermezzo"), (ROOT, b"mine"))])
    yield Step("link of kml", [about("link", kml, ROOT, b"mine")])
    yield Step("unlink of kml", [about("unlink", kml, inner, b"kml")])
    yield Step("rmdir of .intermezzo", [about("rmdir", inner, ROOT, b".intermezzo")])
    yield Step("rmdir of the root", [about("rmdir", ROOT, ROOT, b"d")])
    yield Step("setattr of .intermezzo", [Change("setattr", inner, [("attr", attributes(mode=0o777))])])
    yield Step("setxattr of .intermezzo", [set_xattr(inner, b"user.x")])


@intermezzo_only
def test_a_client_and_what_is_not_shared(disk: str, second_disk: str) -> None:
    """Names in the root that are the cache's or ours are not made; what has to lie in .intermezzo lies in the
    root, as in any directory that is not here; what is said of objects there is said of nothing, and nobody
    gets to read them (I12)."""
    with attacked(disk, second_disk) as it:
        victim = it.victim
        it.take(Step("a directory", [birth("mkdir", its(1), b"a")], new={"a"}))
        for step in not_shared(victim, 2):
            it.take(step)
        kml = victim.fid(".intermezzo/rootset/kml", 2)
        for hint, name in ((victim.fid(".intermezzo", 2), "kml"), (ROOT, ".intermezzo")):
            it.take(Step("body of kml", [close(kml, b"evil", (hint, name.encode()))], new={f"{name}*"}))
        mine = Log.of_mount(victim.root).self_index
        for path in ("kml", "replicas", "last_rcvd", "kml.0"):
            fid = fid_field(victim.fid(f".intermezzo/rootset/{path}", mine))
            status, answer = it.peer.ask("fetch", frame(A_HEAD, fid + struct.pack("<QQQ", 1 << 40, 0, 0)))
            _, (kind, head) = frames(answer)
            equal((status, kind, head[4]), (200, BODY, NONE), f"fetch of {path}")
            status, answer = it.peer.ask("describe", frame(A_HEAD, fid))
            (_, head), = frames(answer)
            equal((status, head[-len(fid):]), (200, fid), f"describe of {path}: it is gone")


def shapes(victim: Victim, replica: int) -> Iterator[Step]:
    """Trees that none can be, and attributes."""
    yield Step("a symbolic link and a file below it", [
        birth("symlink", its(20), b"s", target=OUTSIDE.encode()), birth("create", its(21), b"g", its(20))],
        new={"s", "g*"})
    for number, path, name in ((22, "l", "h"), (23, "d/f", "i")):
        yield Step(f"a file below {path}", [
            birth("create", its(number), name.encode(), victim.fid(path, replica))], new={f"{name}*"})
    # Ours; of no namespace; what nobody knows; an ACL that is none.
    for attr in ("trusted.izo", "trusted.izo.x", "nonsense", "system.nothing", "system.posix_acl_access"):
        yield Step(attr, [set_xattr(its(11), attr.encode())], lost=("setxattr of", REFUSED))
    yield Step("born with trusted.izo", [birth("create", its(30), b"born", xattrs=BORN_WITH)], new={"born"},
               lost=("create of born", "not all of its attributes: the file system does not take them"))


def check_born(root: str) -> None:
    """It has its own FID, and all but what is ours to give."""
    equal(object_at(f"{root}/born").fid[1:], its(30)[1:], "its FID, but for the index")
    equal(xattrs(f"{root}/born"), {"security.selinux": "78", "trusted.overlay.opaque": "79"}, "attributes")


@intermezzo_only
def test_a_clients_tree_that_is_none(disk: str, second_disk: str) -> None:
    """A directory in itself, what lies below a symbolic link or a file: it lies in the root, and no link is
    followed. A second name of a directory and the body of one wait, and what comes in their place does not.
    A body of what has none is passed over; trusted.izo is not given, other attributes are."""
    with attacked(disk, second_disk) as it:
        victim, b, c = it.victim, its(10), its(11)
        it.take(Step("below itself", [birth("mkdir", b, b"b"), birth("mkdir", c, b"c", b),
                                      rename(b, (ROOT, b"b"), (c, b"b"))], new={"b*", "b*/c"}))
        for step in shapes(victim, 2):
            it.take(step)
        check_born(victim.root)
        for change in (about("link", victim.fid("d", 2), ROOT, b"dd", 1), close(victim.fid("d", 2), b"evil"),
                       close(victim.fid("l", 2), b"evil")):
            it.take(Step(f"{change.op} of {change.object}", [change], NO_SUCH_OBJECT))
        it.take(Step("body of a directory", [birth("mkdir", its(40), b"m")], new={"m"}, more=body(0, b"x")))
        for number, name in ((41, "n" * 255), (42, "n" * 237 + "*")):
            it.take(Step("255 bytes", [birth("create", its(number), b"n" * 255)], new={name}))


class AttackedClient:
    """A client and a server that it should not have."""

    def __init__(self, victim: Victim, server: HostileServer) -> None:
        self.victim, self.server = victim, server

    def none(self, what: str, why: str) -> None:
        """The client begins, says that, and that it tries again."""
        with Intersync(self.victim.root, server="127.0.0.1") as client:
            client.await_word("trying again")
            lines = lines_with(client, "trying again")
            equal((len(lines), why in lines[0]), (1, True), f"{what}: {lines}")
            equal(client.stop(), 0, f"{what}: exit code")
        self.victim.check(what, set())

    def position(self) -> int:
        """The number of the last record that the client has taken."""
        return dict(one[:2] for one in Log.of_mount(self.victim.root).received).get(self.server.replica, 0)

    def take(self, step: Step, client: Intersync) -> None:
        """Tell it that, and look; what waits is told no more to the next daemon."""
        since = len(client.said())
        last = self.server.tell(*step.changes)
        if step.why:
            client.await_word(f"waiting: {step.why}", since=since)
            equal(client.stop(), 0, f"{step.what}: exit code")
            del self.server.log[-len(step.changes):]
            client.start()
        else:
            wait_until(lambda: self.position() == last, f"{step.what}: position")
            # They are written behind it.
            client.await_word(step.lost[0], since=since)
            check_lines(step, client, since)
        self.victim.check(step.what, step.new, step.gone)


@contextlib.contextmanager
def attacked_client(disk: str, second_disk: str) -> Iterator[AttackedClient]:
    """In the end the client has what an honest server has, and that one what was the client's."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        victim = Victim(root)
        with HostileServer(Log.of_mount(root)) as server:
            # It becomes known, with the table's others, before anything is compared.
            server.answers["list"] = frame(A_HEAD, b"\1\0\0")
            with Intersync(root, server="127.0.0.1") as client:
                client.await_word("the server refuses: ")
                equal(client.stop(), 0, "exit code")
            victim.watch(server.replica)
            yield AttackedClient(victim, server)
        Path(other, "from-server").write_bytes(b"s" * 5000)
        Path(root, "from-client").write_bytes(b"c" * 5000)
        with Intersync(other) as honest, Intersync(root, server="127.0.0.1") as client:
            converge(root, other, honest, client)
            equal(Path(other, "from-client").read_bytes(), b"c" * 5000, "what the client has made since")
            equal([client.stop(), honest.stop()], [0, 0], "exit codes")


@intermezzo_only
def test_servers_answers_that_are_refused(disk: str, second_disk: str) -> None:
    """Names that lead elsewhere, replicas that nobody is, records that describe nothing, bodies that were not
    asked for: the client says what is wrong, once, and takes nothing of it."""
    with attacked_client(disk, second_disk) as it:
        server, is_none = it.server, "the server's answer is none:"
        for name in (b"..", b"a/b"):
            server.answers["list"] = server.listed((ROOT, name, its(1)))
            it.none(f"list of {name!r}", f"{is_none} a {NO_NAME}")
        server.answers["list"] = server.listed((ROOT, b"o", its(1, 9)))
        it.none("list of nobody's", "the server's tree names a replica that its table does not have")
        server.answers["list"] = server.listed((ROOT, b"o", its(1))) + body(0, b"x")
        it.none("list with a body", f"{is_none} body number 0 of 0")
        server.answers["list"] = server.listed((ROOT, b"o", its(1)))
        for change, why in ((birth("create", its(1), b".."), f"PLACE: {NO_NAME}"),
                            (birth("mkdir", ROOT, b"o"), "mkdir of the root"),
                            (rename(its(1), (ROOT, b"a"), (ROOT, b"b")), "by a record that describes none")):
            server.answers["describe"] = server.described(change)
            it.none(f"describe by {change.op}", why)
        server.answers["describe"] = server.described(birth("create", its(1), b"o"), close(its(1), b"body"))
        server.answers["fetch"] = server.fetched(b"body", b"more")
        it.none("more bodies", "the server sent 2 bodies for 1")
        server.answers["fetch"] = server.fetched(b"body") + body(7, b"x")
        it.none("another body", f"{is_none} body number 7 of 1")
        del server.answers["fetch"]
        server.answers["list"] = server.listed((ROOT, b"o", ROOT))
        ahead = birth("mkdir", its(1), b"m")
        ahead.skips = 9
        for change, why in ((birth("create", its(1), b"a/b"), f"PLACE: {NO_NAME}"),
                            (birth("mkdir", its(1, 9), b"m"), "log names a replica that its table"),
                            (ahead, "goes on with record 20 where 11 is due")):
            server.log = [change]
            it.none(f"log with {change.op}", why)
        server.log = []


@intermezzo_only
def test_a_servers_tree_that_is_none(disk: str, second_disk: str) -> None:
    """Names that are this machine's own are not made, nor what is in them or below a symbolic link; nothing
    follows one. An object with a FID of what is in .intermezzo is another one, and that stays as it is."""
    with attacked_client(disk, second_disk) as it:
        server, victim = it.server, it.victim
        inner, kml = victim.fid(".intermezzo", 2), victim.fid(".intermezzo/rootset/kml", 2)
        server.answers["list"] = server.listed(
            (ROOT, b".intermezzo", its(1)), (ROOT, b"lost+found", its(2)), (its(1), b"inside", its(3)),
            (inner, b"x", its(4)), (ROOT, b"twin", inner), (ROOT, b"mine", kml), (ROOT, b"born", its(30)),
            (ROOT, b"s", its(10)), (its(10), b"below", its(11)),
            (its(21), b"p", its(22)), (its(22), b"q", its(21)))
        server.answers["describe"] = server.described(
            birth("mkdir", its(1), b"z"), birth("mkdir", its(2), b"z"), birth("create", its(3), b"z"),
            birth("create", its(4), b"z"), birth("mkdir", inner, b"z"),
            birth("symlink", its(10), b"z", target=OUTSIDE.encode()), birth("create", its(11), b"z"),
            birth("mkdir", its(21), b"z"), birth("mkdir", its(22), b"z"),
            birth("create", its(30), b"z", xattrs=BORN_WITH),
            set_xattr(its(30), b"trusted.izo"), close(its(30), b"body"), birth("create", kml, b"z"),
            close(kml, b"evil"), set_xattr(ROOT, b"trusted.izo"))
        server.answers["fetch"] = server.fetched(b"body", b"evil")
        with Intersync(victim.root, server="127.0.0.1") as client:
            client.await_word("not all of the server's tree could be copied yet: the directory of below ")
            victim.check("the copy", {"twin", "twin/x", "s", "born", "mine"})
            check_born(victim.root)
            equal(Path(victim.root, "mine").read_bytes(), b"evil", "the body of mine")
            equal(client.stop(), 0, "exit code")


@intermezzo_only
def test_a_servers_log_that_is_none(disk: str, second_disk: str) -> None:
    """What a client does with a record that is not to be: it is as on a server. A name that the client's own
    object is to have there is not given if it is .intermezzo's."""
    with attacked_client(disk, second_disk) as it:
        server, victim = it.server, it.victim
        own = next(record for record in Log.of_mount(victim.root).records() if record.op == "mkdir")
        server.answers["list"] = server.listed((ROOT, b"a", its(1)))
        server.answers["describe"] = server.described(
            birth("mkdir", its(1), b"a"), Change("setattr", ROOT, [("attr", attributes(atime=1))]))
        with Intersync(victim.root, server="127.0.0.1") as client:
            client.await_word("the copy of the server's tree is whole")
            victim.check("the copy", {"a"})
            for step in not_shared(victim, 2):
                it.take(step, client)
            it.take(Step("directories", [
                birth("mkdir", its(10), b"b"), birth("mkdir", its(11), b"c", its(10))],
                new={"b", "b/c"}), client)
            for step in shapes(victim, 2):
                it.take(step, client)
            check_born(victim.root)
            echo = birth("mkdir", Fid(2, own.object.ino, own.object.generation), b".intermezzo")
            echo.origin, echo.number = 2, own.recno
            it.take(Step("another name for its own", [echo]), client)
            it.take(Step("a second name of a directory", [about("link", its(1), ROOT, b"dd", 1)],
                         NO_SUCH_OBJECT), client)
            it.take(Step("below itself", [rename(its(10), (ROOT, b"b"), (its(11), b"b"))],
                         "changes of this replica go to the server first", new={"c*"}, gone={"b/c"}), client)
            equal(client.stop(), 0, "exit code")


@intermezzo_only
def test_a_clients_capability_that_is_none(disk: str, second_disk: str) -> None:
    """A client's file is born with a security.capability that no system call would set (EINVAL), and which
    nobody can read then (EINVAL): a new honest client must get a whole copy all the same."""
    loopback_up()
    for one in (disk, second_disk):
        make_ext4(one)
    with mounted(disk, OPTIONS) as root, mounted(second_disk, OPTIONS) as other:
        Path(root, "f").touch()
        equal(errno_of(os.setxattr, f"{root}/f", "security.capability", b"x"), "EINVAL", "a user's")
        with Intersync(root) as server:
            peer = HostileClient(Log.of_mount(root).replica)
            equal(peer.hello(), 200, "hello")
            for number, value in enumerate((b"x", NOBODYS)):
                made = Fid(1, 1 + number, 5)
                peer.push(birth("create", made, b"born%d" % number, xattrs=((CAPABILITY, value),)),
                          Change("setxattr", made, [("xattr", attribute(CAPABILITY, value))], aspects=4))
                equal(os.listxattr(f"{root}/born{number}"), [], "attributes")
            with Intersync(other, server="127.0.0.1") as client:
                client.await_word("the copy of the server's tree is whole", 15)
                converge(root, other, server, client)


@intermezzo_only
def test_a_servers_capability_that_is_none(disk: str) -> None:
    """The same from a server to a client."""
    loopback_up()
    make_ext4(disk)
    with mounted(disk, OPTIONS) as root:
        Path(root, "f").touch()
        with HostileServer(Log.of_mount(root)) as fake:
            fake.answers["list"] = fake.listed((ROOT, b"born", Fid(1, 1, 5)))
            fake.answers["describe"] = fake.described(
                birth("create", Fid(1, 1, 5), b"z", xattrs=((b"security.capability", b"x"),)),
                Change("setattr", ROOT, [("attr", attributes(atime=1))]))
            with Intersync(root, server="127.0.0.1") as client:
                client.await_word("the copy of the server's tree is whole")
        equal(errno_of(os.getxattr, f"{root}/born", "security.capability"), "ENODATA", "the attribute")


@intermezzo_only
def test_an_attribute_without_a_name(disk: str) -> None:
    """`user.` (EINVAL below): a record of it can never be applied, and should be passed over with a line as
    system.nothing is, not wait for ever as if the disk were full."""
    loopback_up()
    make_ext4(disk)
    with mounted(disk, OPTIONS) as root:
        with Intersync(root):
            peer = HostileClient(Log.of_mount(root).replica)
            peer.hello()
            said = peer.push(birth("create", Fid(1, 1, 5), b"f"), Change(
                "setxattr", Fid(1, 1, 5), [("xattr", attribute(b"user.", b"v"))], aspects=4))
            equal((said.why, said.accepted), ("", 2), "answer")


@intermezzo_only
def test_hello_of_nobody(disk: str) -> None:
    """A client whose UUID is zeros: a refusal or 400, not 503 (the server's file system failed)."""
    loopback_up()
    make_ext4(disk)
    with mounted(disk, OPTIONS) as root:
        with Intersync(root):
            peer = HostileClient(Log.of_mount(root).replica)
            peer.replica = bytes(16)
            peer.table[0] = bytes(16)
            status, answer = peer.ask("hello", frame(A_HEAD, peer.who()))
            equal((status, b"not a message of kind hello" in answer), (400, True), f"{answer!r}")
