# SPDX-License-Identifier: GPL-2.0
"""The replay oracle itself: a log that tells what happened fits its tree, and no other log does: one with a
record less, one more, two in the other order, or one of any kind altered."""

from __future__ import annotations

import stat
import struct
from copy import deepcopy
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Callable

import pytest

from guest import clone, kml, replay
from guest.kml import EXCHANGE, ROOT, WHITEOUT, Corrupt, Fid, Log, Place, Record
from guest.replay import Diverged, Identities, Model, Node, Tree

EPOCH, FIRST = 0x1122334455667788, 120
D, E, F, G, N, A, C, S, W, T = (Fid(1, ino, 7) for ino in range(20, 30))
DIRECTORY, REGULAR, LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o640, stat.S_IFLNK | 0o777
DEVICE = stat.S_IFCHR | 0o600
THEN = 1795513769_000000000


def at(number: int) -> int:
    """A time that only that record has."""
    return THEN + number


def place(folder: Fid, name: bytes, number: int) -> Place:
    """A name, and its directory's time after that record."""
    return Place(folder, name, at(number))


def record(op: str, fid: Fid, nlink: int, **what: Any) -> Record:
    """A record of our own; its number is its place in the log."""
    values: dict[str, Any] = {one.name: 0 for one in fields(Record)
                              if one.default is MISSING and one.default_factory is MISSING}
    values |= {"op": op, "epoch": EPOCH, "origin": 1, "object": fid, "nlink": nlink} | what
    return Record(**values)


def before() -> Tree:
    """What is there when the log begins."""
    return {
        ROOT: Node(DIRECTORY, 0, 0, 4, mtime=at(0), names={b"d": D, b"e": E}),
        D: Node(DIRECTORY, 0, 0, 2, mtime=at(0), names={b"f": F, b"g": G}),
        E: Node(DIRECTORY, 0, 0, 2, mtime=at(0)),
        F: Node(REGULAR, 0, 0, 1, size=1, mtime=at(0), xattrs={"user.old": b"1"}, content="of f"),
        G: Node(REGULAR, 0, 0, 1, size=1, mtime=at(0), content="of g"),
    }


def story() -> list[Record]:
    """Each kind of record once, and each kind of rename."""
    born = {"uid": 3, "gid": 4, "ctime": at(0), "atime": at(0)}
    return [
        record("mkdir", N, 2, place=place(ROOT, b"n", 1), attr={"mode": DIRECTORY, "mtime": at(1)} | born),
        record("create", A, 1, place=place(N, b"a", 2), attr={"mode": REGULAR, "mtime": at(2)} | born,
               xattrs={"security.a": b"born with it"}),
        record("mknod", C, 1, place=place(N, b"c", 3),
               attr={"mode": DEVICE, "rdev": 5 << 32 | 1, "mtime": at(3)} | born),
        record("symlink", S, 1, place=place(N, b"s", 4), attr={"mode": LINK, "mtime": at(4)} | born,
               target=b"to a"),
        record("link", A, 2, place=place(D, b"a2", 5)),
        record("setattr", G, 1, hint=Place(D, b"g", 0),
               attr={"mode": REGULAR | stat.S_ISUID, "uid": 5, "gid": 6, "size": 7, "mtime": at(6),
                     "fsflags": 0x40, "projid": 8}),
        record("setxattr", G, 1, hint=Place(D, b"g", 0), xattrs={"user.new": b"2"}),
        record("removexattr", F, 1, hint=Place(D, b"f", 0), xattrs={"user.old": b""}),
        record("close", A, 2, hint=Place(N, b"a", 0), flags=kml.WHOLE, attr={"size": 9, "mtime": at(9)}),
        record("rename", F, 1, place=place(D, b"f", 10), to=place(N, b"f", 10), attr={"ctime": at(10)}),
        record("rename", C, 1, flags=EXCHANGE, place=place(N, b"c", 11), to=place(D, b"a2", 11),
               replaced=(A, 2, at(11)), attr={"ctime": at(11)}),
        record("rename", G, 1, place=place(D, b"g", 12), to=place(N, b"s", 12), replaced=(S, 0, at(4)),
               attr={"ctime": at(12)}),
        record("rename", A, 2, flags=WHITEOUT, place=place(N, b"a", 13), to=place(ROOT, b"aa", 13),
               whiteout=(W, {"mode": stat.S_IFCHR, "mtime": at(13)}), attr={"ctime": at(13)}),
        record("unlink", C, 0, place=place(D, b"a2", 14)),
        record("rmdir", E, 0, place=place(ROOT, b"e", 15)),
        record("symlink", T, 1, place=place(ROOT, b"t", 16), attr={"mode": LINK, "mtime": at(16)} | born,
               target=b"to nothing"),
    ]


def behind() -> Tree:
    """What is there then."""
    return {
        ROOT: Node(DIRECTORY, 0, 0, 4, mtime=at(16), names={b"d": D, b"n": N, b"aa": A, b"t": T}),
        D: Node(DIRECTORY, 0, 0, 2, mtime=at(14)),
        N: Node(DIRECTORY, 3, 4, 2, mtime=at(13), names={b"a": W, b"c": A, b"f": F, b"s": G}),
        A: Node(REGULAR, 3, 4, 2, size=9, mtime=at(11), xattrs={"security.a": b"born with it"},
                content="written since"),
        F: Node(REGULAR, 0, 0, 1, size=1, mtime=at(0), content="of f"),
        G: Node(REGULAR | stat.S_ISUID, 5, 6, 1, size=7, mtime=at(6), fsflags=0x40, projid=8,
                xattrs={"user.new": b"2"}, content="of g"),
        W: Node(stat.S_IFCHR, 0, 0, 1, mtime=at(13)),
        T: Node(LINK, 3, 4, 1, mtime=at(16), target=b"to nothing"),
    }


def fid_bytes(fid: Fid) -> bytes:
    """As it stands in items."""
    return struct.pack("<QIHH", fid.ino, fid.generation, fid.replica, 0)


def place_bytes(one: Place) -> bytes:
    """An item PLACE, TO or HINT."""
    return fid_bytes(one.dir) + struct.pack("<qII", *divmod(one.mtime, 10**9), 0) + one.name


def attr_bytes(attr: dict[str, int]) -> bytes:
    """An item ATTR."""
    valid = sum(1 << bit for bit, name in enumerate(kml.ATTR_FIELDS) if name in attr)
    times = [divmod(attr.get(name, 0), 10**9) for name in ("mtime", "ctime", "atime")]
    small = (attr.get(name, 0) for name in ("mode", "uid", "gid", "fsflags", "projid"))
    return kml.ATTR.pack(valid, *small, *(nanoseconds for _, nanoseconds in times), 0, attr.get("rdev", 0),
                         attr.get("size", 0), *(seconds for seconds, _ in times))


def items_of(one: Record) -> list[tuple[str, bytes]]:
    """The items of a record, in the order of their numbers."""
    items = [(kind, place_bytes(getattr(one, kind))) for kind in ("place", "to", "hint")
             if getattr(one, kind)]
    if one.attr:
        items.append(("attr", attr_bytes(one.attr)))
    if one.replaced:
        fid, nlink, mtime = one.replaced
        seconds, nanoseconds = divmod(mtime, 10**9)
        items.append(("replaced", fid_bytes(fid) + struct.pack("<IIq", nlink, nanoseconds, seconds)))
    if one.whiteout:
        items.append(("whiteout", fid_bytes(one.whiteout[0]) + attr_bytes(one.whiteout[1])))
    if one.target is not None:
        items.append(("target", one.target))
    return items + [("xattr", struct.pack("<II", len(name), len(value)) + name.encode() + value)
                    for name, value in one.xattrs.items()]


def encode(one: Record, offset: int, number: int) -> bytes:
    """The bytes of a record that stands there and has that number."""
    numbers = {kind: number for number, kind in kml.ITEMS.items()}
    body = b"".join(struct.pack("<HHI", numbers[kind], 0, len(data)) + data + bytes(-len(data) % 8)
                    for kind, data in items_of(one))
    length = kml.HEAD.size + len(body) + kml.TAIL.size
    op = {name: number for number, name in kml.OPS.items()}[one.op]
    head = kml.HEAD.pack(kml.MAGIC, length, 0, op, 1, offset, EPOCH, number, number, 0, THEN, 0, 0,
                         one.aspects, one.nlink, one.flags, 0, one.object.ino, one.object.generation,
                         one.object.replica, 0)
    return kml.reseal(head + body + kml.TAIL.pack(length, kml.TAIL_MAGIC))


def log_of(records: list[Record], numbers: list[int] | None = None) -> Log:
    """A log of these; numbered one by one unless their numbers are given."""
    data = b""
    for one, number in zip(records, numbers or range(1, len(records) + 1), strict=True):
        data += encode(one, FIRST + len(data), number)
    return Log(EPOCH, 1, FIRST, 1, data)


def fits(log: Log, real: Tree | None = None) -> bool:
    """Is the tree what the log says? What the oracle refuses is not."""
    try:
        model = Model(before()).replay(log)
    except (Diverged, Corrupt):
        return False
    return not model.differences(real or behind())


def kinds(records: list[Record]) -> list[str]:
    """What the records are, with their numbers in the story."""
    return [f"{number}-{one.op}" for number, one in enumerate(records, 1)]


EACH = pytest.mark.parametrize("index", range(len(story())), ids=kinds(story()))


def test_log_of_what_happened_fits():
    """And it has a record of every kind."""
    assert Model(before()).replay(log_of(story())).differences(behind()) == []
    assert {one.op for one in story()} == set(kml.OPS.values())
    assert [one.op for one in log_of(story()).records()] == [one.op for one in story()]


@EACH
def test_record_that_is_missing(index):
    """With a gap in the numbers, and without."""
    records, numbers = story(), list(range(1, len(story()) + 1))
    del records[index], numbers[index]
    assert not fits(log_of(records, numbers))
    assert not fits(log_of(records))


@EACH
def test_record_that_comes_twice(index):
    """By its number; and without that, unless it only says once more how things are."""
    records, numbers = story(), list(range(1, len(story()) + 1))
    records.insert(index, records[index])
    numbers.insert(index, numbers[index])
    assert not fits(log_of(records, numbers))
    assert fits(log_of(records)) == (records[index].op in ("setattr", "setxattr", "close"))


# Neighbours that have nothing to do with each other: in either order they make the same tree.
APART = {(number, number + 1) for number in range(2, 15) if number != 12}


@pytest.mark.parametrize("number", range(1, len(story())))
def test_two_records_in_the_other_order(number):
    """By their numbers; and without those, unless they have nothing to do with each other."""
    records, numbers = story(), list(range(1, len(story()) + 1))
    for row in (records, numbers):
        row[number - 1], row[number] = row[number], row[number - 1]
    assert not fits(log_of(records, numbers))
    assert fits(log_of(records)) == ((number, number + 1) in APART)


@pytest.mark.parametrize("number, needs", [(2, 1), (3, 1), (4, 1), (5, 2), (9, 2), (10, 1), (11, 3), (11, 5),
                                           (12, 4), (13, 2), (14, 3), (14, 11)])
def test_record_before_the_one_that_it_needs(number, needs):
    """It has no object, no directory or another one in the way."""
    records = story()
    records.insert(needs - 1, records.pop(number - 1))
    assert not fits(log_of(records))


def other(fid: Fid) -> Fid:
    """An object that is none."""
    return fid._replace(generation=fid.generation + 1)


def altered(one: Record) -> list[tuple[str, Record]]:
    """The record with one thing altered that the tree shows, each in turn."""
    out = [("object", replace(one, object=other(one.object)))]
    if one.op in ("create", "mknod", "symlink", "link", "unlink", "rmdir"):
        out.append(("nlink", replace(one, nlink=one.nlink + 1)))
    for kind in ("place", "to"):
        here = getattr(one, kind)
        if here:
            out += [(f"{kind} name", replace(one, **{kind: here._replace(name=here.name + b"x")})),
                    (f"{kind} dir", replace(one, **{kind: here._replace(dir=other(here.dir))}))]
    # Times of a change are nobody's that a tree shows.
    out += [(name, replace(one, attr=one.attr | {name: one.attr[name] + 1}))
            for name in one.attr if name not in ("ctime", "atime")]
    out += [(f"no {name}", replace(one, attr={key: one.attr[key] for key in one.attr if key != name}))
            for name in one.attr if name not in ("ctime", "atime")]
    out += [(f"value of {name}", replace(one, xattrs={name: value + b"x"}))
            for name, value in one.xattrs.items() if one.op != "removexattr"]
    out += [(f"name {name}", replace(one, xattrs={f"{name}x": one.xattrs[name]})) for name in one.xattrs]
    if one.target is not None:
        out.append(("target", replace(one, target=one.target + b"x")))
    if one.replaced:
        fid, nlink, mtime = one.replaced
        out += [("replaced", replace(one, replaced=(other(fid), nlink, mtime))),
                ("nothing replaced", replace(one, replaced=None)),
                ("exchange", replace(one, flags=one.flags ^ EXCHANGE))]
        if one.flags & EXCHANGE:
            out.append(("time of the replaced", replace(one, replaced=(fid, nlink, mtime + 1))))
        else:
            out.append(("links of the replaced", replace(one, replaced=(fid, nlink + 1, mtime))))
    if one.whiteout:
        fid, attr = one.whiteout
        out += [("whiteout", replace(one, whiteout=(other(fid), attr))),
                ("mode of the whiteout", replace(one, whiteout=(fid, attr | {"mode": DEVICE}))),
                ("no whiteout", replace(one, whiteout=None))]
    return out


# What a later record says anew.
LATER = {(number, f"{without}{name}") for without in ("", "no ")
         for number, names in ((1, ("mtime",)), (2, ("mtime",)), (9, ("mtime",)),
                               (3, ("mode", "rdev", "uid", "gid", "mtime")),
                               (4, ("mode", "uid", "gid", "mtime")))
         for name in names} | {(4, "target")}


@EACH
def test_record_that_is_altered(index):
    """In each thing that the tree shows: what a later record says anew it does not, and what goes later."""
    number = index + 1
    for what, one in altered(story()[index]):
        records = story()
        records[index] = one
        assert fits(log_of(records)) == ((number, what) in LATER), what


@pytest.mark.parametrize("folder, number", [(ROOT, 16), (D, 14), (N, 13)])
def test_time_of_a_directory(folder, number):
    """The last change in it tells its time."""
    records = story()
    last = records[number - 1]
    assert last.place is not None and last.place.dir == folder
    records[number - 1] = replace(last, place=last.place._replace(mtime=at(99)))
    assert not fits(log_of(records))


BORN = {"mode": REGULAR, "mtime": at(1)}


@pytest.mark.parametrize("why, one", [
    ("f exists", record("create", A, 1, place=place(D, b"f", 1), attr=BORN)),
    ("f exists", record("link", G, 2, place=place(D, b"f", 1))),
    ("1:22:0x7 exists", record("create", F, 1, place=place(D, b"x", 1), attr=BORN)),
    ("2 links", record("create", A, 2, place=place(D, b"x", 1), attr=BORN)),
    ("is no directory", record("create", A, 1, place=place(F, b"x", 1), attr=BORN)),
    ("is no directory", record("create", A, 1, place=place(N, b"x", 1), attr=BORN)),
    ("is unknown", record("setattr", A, 1, attr={"uid": 1})),
    ("is unknown", record("link", A, 2, place=place(D, b"x", 1))),
    ("2 links, the log says 3", record("link", F, 3, place=place(D, b"x", 1))),
    ("f is 1:22:0x7", record("unlink", G, 0, place=place(D, b"f", 1))),
    ("x is None", record("unlink", F, 0, place=place(D, b"x", 1))),
    ("0 links left, the log says 1", record("unlink", F, 1, place=place(D, b"f", 1))),
    ("wrong type", record("rmdir", F, 0, place=place(D, b"f", 1))),
    ("wrong type", record("unlink", E, 0, place=place(ROOT, b"e", 1))),
    ("is not empty", record("rmdir", D, 0, place=place(ROOT, b"d", 1))),
    ("stands there", record("rename", F, 1, place=place(D, b"f", 1), to=place(D, b"g", 1))),
    ("f is 1:22:0x7", record("rename", G, 1, place=place(D, b"f", 1), to=place(D, b"x", 1))),
    ("no attribute user.none", record("removexattr", F, 1, xattrs={"user.none": b""})),
    ("an item is missing", record("unlink", F, 0)),
])
def test_record_that_does_not_fit(why, one):
    """It is refused where it stands, whatever comes then."""
    with pytest.raises(Diverged, match=why):
        Model(before()).apply(one)


@EACH
def test_damaged_record_ends_the_log(index):
    """What is no record is its end, and the rest is missing."""
    log = log_of(story())
    start = len(log_of(story()[:index]).data)
    log.data = log.data[:start + 40] + bytes([log.data[start + 40] ^ 1]) + log.data[start + 41:]
    assert len(list(log.records())) == index
    assert not fits(log)


CHANGES: list[tuple[str, Callable[[Tree], Any]]] = [
    ("an object less", lambda tree: tree.pop(W)),
    ("an object more", lambda tree: tree.setdefault(C, Node(DEVICE, 3, 4, 1))),
    ("content", lambda tree: setattr(tree[F], "content", "other")),
    ("a name", lambda tree: tree[N].names.update({b"x": F})),
    ("links", lambda tree: setattr(tree[A], "nlink", 3)),
    ("a target", lambda tree: setattr(tree[T], "target", b"to something")),
    ("a value", lambda tree: tree[G].xattrs.update({"user.new": b"3"})),
    ("an attribute", lambda tree: tree[G].xattrs.update({"user.more": b""})),
] + [(name, lambda tree, name=name: setattr(tree[G], name, getattr(tree[G], name) + 1))
     for name in ("mode", "uid", "gid", "size", "mtime", "fsflags", "projid", "rdev")]


@pytest.mark.parametrize("change", [one for _, one in CHANGES], ids=[name for name, _ in CHANGES])
def test_other_tree_does_not_fit(change):
    """The tree is not what the log says, in any one thing."""
    tree = deepcopy(behind())
    assert fits(log_of(story()), tree)
    change(tree)
    assert not fits(log_of(story()), tree)


def test_what_is_being_written_is_not_compared():
    """A body that the LML lists: its content, size and time; nothing else of it."""
    tree = behind()
    for name, value in (("content", "other"), ("size", 99), ("mtime", at(99))):
        setattr(tree[G], name, value)
    model = Model(before()).replay(log_of(story()))
    assert len(model.differences(tree)) == 3
    assert model.differences(tree, {G}) == []
    tree[G].uid += 1
    assert len(model.differences(tree, {G})) == 1


def identities(folder: Path, monkeypatch: pytest.MonkeyPatch, index: int = 2) -> Callable[[Fid | None], Fid]:
    """Who an object of that cache is which replica `index` has as its inode F, if it carries this FID."""
    def found(carried: Fid | None) -> Fid:
        monkeypatch.setattr(replay, "made_elsewhere", lambda path: carried)
        monkeypatch.setattr(replay, "fid_of", lambda path, index: F._replace(replica=index))
        return Identities(str(folder), index).fid(b"f")
    return found


def test_object_is_who_made_it(tmp_path, monkeypatch):
    """It is ours, but if it carries another's FID, or came with the copy of another's disk: then its inode is
    that of the table `base`, in the same generation."""
    who, ours = identities(tmp_path, monkeypatch), F._replace(replica=2)
    assert (who(None), who(Fid(1, 999, 3))) == (ours, Fid(1, 999, 3))
    (tmp_path / ".intermezzo/rootset").mkdir(parents=True)
    for entry, expected in (((F.generation, 1), F), ((F.generation, 3), F._replace(replica=3)),
                            ((F.generation + 1, 1), ours), ((F.generation, 0), ours), (None, ours)):
        entries = [(F.generation, 1)] * F.ino + ([entry] if entry else [])
        (tmp_path / ".intermezzo/rootset/base").write_bytes(clone.base(entries))
        assert (who(None), who(Fid(1, 999, 3))) == (expected, Fid(1, 999, 3))


@pytest.mark.parametrize("at", range(0, 48, 4))
def test_damaged_table_is_refused(at, tmp_path, monkeypatch):
    """As the kernel does: nobody would be who they are."""
    data = bytearray(clone.base([(7, 1), (8, 1)]))
    data[at] ^= 1
    (tmp_path / ".intermezzo/rootset").mkdir(parents=True)
    (tmp_path / ".intermezzo/rootset/base").write_bytes(data)
    with pytest.raises(Corrupt):
        identities(tmp_path, monkeypatch)(None)
