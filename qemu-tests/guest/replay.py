# SPDX-License-Identifier: GPL-2.0
"""The replay oracle (I1): a tree at one time plus the log since must be the tree now, by FID, exactly.

The baseline is taken when nothing is logged yet; `Model.apply()` replays record by record and refuses what
does not fit; `Model.differences()` compares with a tree: an intermezzo mount, or its cache mounted as
ext4. What a peer made is known as that in its cache only.

Alone, or a server, whose log has what its clients made too, a replica is as its log says. A client is not:
what comes from its server is not in its log.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import fnmatch
import hashlib
import os
import stat
import struct
from dataclasses import dataclass, field
from typing import Callable

from guest.kml import EXCHANGE, ROOT, Corrupt, Fid, Log, Record, crc32c

# kmod/class.c
ROOT_LOCALS = ("etc/default/intersync*", "etc/fstab", "etc/machine-id", "lost+found", "run", "tmp",
               "var/cache", "var/intermezzo-*", "var/lib/systemd/random-seed", "var/log", "var/tmp")
FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR = 0x80086601, 0x801c581f
COMPARED = ("mode", "uid", "gid", "rdev", "fsflags", "projid", "target", "xattrs", "names", "nlink", "mtime",
            "size", "content")
CACHES_OWN_XATTRS = ("btrfs.", "trusted.SGI_ACL_")
USER_FLAGS = 0x000380ff | 0x20000000
# Of an object that another replica made: version, flags, replica, generation, inode number there.
IDENTITY, IDENTITY_FORM = "trusted.izo", struct.Struct("<BBHIQ")
BASE, BASE_ENTRY, BASE_MAGIC = struct.Struct("<8sIIQQ"), struct.Struct("<IHH"), b"IZOBAS1\0"
_libc = ctypes.CDLL(None, use_errno=True)


class Diverged(Exception):
    """A record that does not fit the tree it is replayed on."""


def fid_of(path: bytes, index: int) -> Fid:
    """An object's FID by its file handle: inode number and generation."""
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
    mount = ctypes.c_int()
    for flags in (0x200, 0):  # AT_HANDLE_FID where there is no export, or an older kernel
        if not _libc.name_to_handle_at(-100, path, buffer, ctypes.byref(mount), flags):
            break
    else:
        raise OSError(ctypes.get_errno(), f"name_to_handle_at {path!r}")
    length, kind = struct.unpack_from("=Ii", buffer)
    if kind in (1, 2) and length >= 8:  # FILEID_INO32_GEN, and with the parent
        ino, generation = struct.unpack_from("=II", buffer, 8)
    elif kind == 0x81:  # FILEID_INO64_GEN
        ino, generation = struct.unpack_from("=QI", buffer, 8)
    elif kind == 0x4d:  # FILEID_BTRFS_WITHOUT_PARENT: the subvolume in between
        ino, _, generation = struct.unpack_from("=QQI", buffer, 8)
    else:  # tmpfs puts the generation first, then 64 bits of inode number
        generation, low, high = struct.unpack_from("=III", buffer, 8)
        ino = low | high << 32
    return Fid(index, ino, generation)


def made_elsewhere(path: bytes) -> Fid | None:
    """The FID of an object of a cache that carries one, as what a peer made does."""
    try:
        value = os.getxattr(path, IDENTITY, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise
    version, _, replica, generation, ino = IDENTITY_FORM.unpack(value)
    if version != 1 or not replica or not ino:
        raise Corrupt(f"{IDENTITY} of {path!r}: {value!r}")
    return Fid(replica, ino, generation)


def copied_with(data: bytes) -> dict[int, tuple[int, int]]:
    """The table `base` of a cloned disk: by inode number generation and maker of what came with the copy."""
    magic, version, crc, count, zero = BASE.unpack_from(data)
    entries = data[BASE.size:]
    if (magic, version, zero, len(entries)) != (BASE_MAGIC, 1, 0, count * BASE_ENTRY.size):
        raise Corrupt(f"base of {count} entries in {len(data)} bytes, magic {magic!r} version {version}")
    if crc32c(BASE.pack(magic, version, 0, count, zero) + entries) != crc:
        raise Corrupt("checksum of base")
    return {ino: (generation, replica)
            for ino, (generation, replica, _) in enumerate(BASE_ENTRY.iter_unpack(entries)) if replica}


class Identities:
    """Who the objects of a cache are, on replica `index` of a fileset: FIDs as its log has them."""

    def __init__(self, root: str, index: int, fileset: str = "rootset") -> None:
        self._index = index
        self._copied: dict[int, tuple[int, int]] = {}
        try:
            with open(f"{root}/.intermezzo/{fileset}/base", "rb") as stream:
                self._copied = copied_with(stream.read())
        except FileNotFoundError:
            pass

    def fid(self, path: bytes) -> Fid:
        """An object's own, whoever made it."""
        elsewhere = made_elsewhere(path)
        if elsewhere:
            return elsewhere
        here = fid_of(path, self._index)
        generation, replica = self._copied.get(here.ino, (0, 0))
        return here._replace(replica=replica) if replica and generation == here.generation else here


@dataclass
class Node:
    """An object of the tree."""
    mode: int
    uid: int
    gid: int
    nlink: int
    rdev: int = 0
    size: int | None = None
    mtime: int = 0
    fsflags: int = 0
    projid: int = 0
    target: bytes | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)
    names: dict[bytes, Fid] = field(default_factory=dict)
    content: str | None = None  # sha256 while no CLOSE has come since the baseline

    @property
    def is_dir(self) -> bool:
        """Is it a directory?"""
        return stat.S_ISDIR(self.mode)


Tree = dict[Fid, Node]


def _asked(fd: int, request: int, form: struct.Struct) -> tuple[int, ...]:
    """What an ioctl answers; zeros where there is none."""
    try:
        return form.unpack(fcntl.ioctl(fd, request, bytes(form.size)))
    except OSError:
        return form.unpack(bytes(form.size))


def _flags_of(path: bytes, mode: int) -> tuple[int, int]:
    """Flags and project, which only files and directories have."""
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return 0, 0
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        (flags,) = _asked(fd, FS_IOC_GETFLAGS, struct.Struct("=q"))
        *_, projid = _asked(fd, FS_IOC_FSGETXATTR, struct.Struct("=IIII12x"))
        return flags & USER_FLAGS, projid
    finally:
        os.close(fd)


def _xattrs_of(path: bytes) -> dict[str, bytes]:
    names = [n for n in os.listxattr(path, follow_symlinks=False)
             if n != IDENTITY and not n.startswith((f"{IDENTITY}.", *CACHES_OWN_XATTRS))]
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names}


def _node_of(path: bytes) -> Node:
    info = os.lstat(path)
    fsflags, projid = _flags_of(path, info.st_mode)
    node = Node(info.st_mode, info.st_uid, info.st_gid, info.st_nlink, mtime=info.st_mtime_ns,
                fsflags=fsflags, projid=projid, xattrs=_xattrs_of(path))
    if stat.S_ISREG(info.st_mode):
        node.size = info.st_size
        with open(path, "rb") as stream:
            node.content = hashlib.sha256(stream.read()).hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        node.size = info.st_size
        node.target = os.readlink(path)
    elif stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
        node.rdev = os.major(info.st_rdev) << 32 | os.minor(info.st_rdev)
    return node


def is_local(path: str, locals_: tuple[str, ...]) -> bool:
    """Is a path class local? `locals_` are patterns below the root."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in locals_)


def snapshot(root: str, index: int = 1, locals_: tuple[str, ...] = ()) -> Tree:
    """A tree as it is; class local and the log's own directory left out."""
    tree: Tree = {}
    top, who = os.fsencode(root), Identities(root, index)

    def scan(path: bytes, relative: str, fid: Fid) -> None:
        node = tree[fid] = _node_of(path)
        if not node.is_dir:
            return
        for name in os.listdir(path):
            below = f"{relative}/{os.fsdecode(name)}" if relative else os.fsdecode(name)
            child = path + b"/" + name
            if (not relative and name in (b".intermezzo", b"lost+found")) or is_local(below, locals_):
                continue
            its_fid = who.fid(child)
            node.names[name] = its_fid
            if its_fid not in tree:
                scan(child, below, its_fid)
        # what is not shared is not counted
        node.nlink = 2 + sum(tree[f].is_dir for f in node.names.values())
    scan(top, "", ROOT)
    return tree


def _set_attr(node: Node, attr: dict[str, int]) -> None:
    for name in ("mode", "uid", "gid", "size", "mtime", "rdev", "fsflags", "projid"):
        if name in attr:
            setattr(node, name, attr[name])


class Model:
    """A tree that records are replayed on."""

    def __init__(self, baseline: Tree) -> None:
        self.tree = baseline
        self.records = 0
        self.counts: dict[str, int] = {}
        self.bytes: dict[str, int] = {}

    def _dir(self, fid: Fid) -> Node:
        node = self.tree.get(fid)
        if node is None or not node.is_dir:
            raise Diverged(f"{fid} is no directory")
        return node

    def _object(self, fid: Fid) -> Node:
        if fid not in self.tree:
            raise Diverged(f"{fid} is unknown")
        return self.tree[fid]

    def _put(self, place, fid: Fid) -> None:
        parent = self._dir(place.dir)
        if place.name in parent.names:
            raise Diverged(f"{os.fsdecode(place.name)} exists: {parent.names[place.name]}")
        parent.names[place.name] = fid
        parent.mtime = place.mtime

    def _take(self, place, fid: Fid) -> None:
        parent = self._dir(place.dir)
        if parent.names.get(place.name) != fid:
            raise Diverged(f"{os.fsdecode(place.name)} is {parent.names.get(place.name)}")
        del parent.names[place.name]
        parent.mtime = place.mtime

    def _links(self, fid: Fid, nlink: int) -> None:
        """The object has one name less: what the log says must be what is left."""
        node = self._object(fid)
        if node.is_dir:
            if node.names:
                raise Diverged(f"{fid} is not empty")
            left = 0
        else:
            left = node.nlink - 1
        if nlink != left:
            raise Diverged(f"{fid} has {left} links left, the log says {nlink}")
        node.nlink = left
        if not left:
            del self.tree[fid]

    def apply(self, record: Record) -> None:
        """Replay one record."""
        try:
            getattr(self, f"_{record.op}", self._change)(record)
        except Diverged as reason:
            raise Diverged(f"{record}: {reason}") from reason
        except (AttributeError, TypeError) as error:
            raise Diverged(f"{record}: an item is missing: {error}") from error
        self.records += 1
        # what a refused whiteout leaves is no call of anybody's
        touched = record.op == "setattr" and not record.hint and sorted(record.attr) == ["ctime", "mtime"]
        kind = "touched" if touched else record.op
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.bytes[kind] = self.bytes.get(kind, 0) + record.length

    def _create(self, record: Record) -> None:
        if record.object in self.tree:
            raise Diverged(f"{record.object} exists")
        node = Node(0, 0, 0, record.nlink, target=record.target, xattrs=dict(record.xattrs))
        _set_attr(node, record.attr)
        self._put(record.place, record.object)
        self.tree[record.object] = node
        if not node.is_dir and record.nlink != 1:
            raise Diverged(f"a new object has {record.nlink} links")

    _mkdir = _mknod = _symlink = _create

    def _link(self, record: Record) -> None:
        node = self._object(record.object)
        self._put(record.place, record.object)
        node.nlink += 1
        if node.nlink != record.nlink:
            raise Diverged(f"{node.nlink} links, the log says {record.nlink}")

    def _unlink(self, record: Record) -> None:
        if self._object(record.object).is_dir != (record.op == "rmdir"):
            raise Diverged("wrong type")
        self._take(record.place, record.object)
        self._links(record.object, record.nlink)

    _rmdir = _unlink

    def _rename(self, record: Record) -> None:
        standing = self._dir(record.to.dir).names.get(record.to.name)
        told = record.replaced[0] if record.replaced else None
        if standing != told:
            raise Diverged(f"{standing} stands there, the log says {told}")
        self._take(record.place, record.object)
        if standing:
            self._take(record.to, standing)
            if record.flags & EXCHANGE:
                self._put(record.place, standing)
                # a directory is written when it gets another parent
                if record.place.dir != record.to.dir:
                    self._object(standing).mtime = record.replaced[2]
            else:
                self._links(standing, record.replaced[1])
        self._put(record.to, record.object)
        _set_attr(self._object(record.object), record.attr)
        if record.whiteout:
            fid, attr = record.whiteout
            self.tree[fid] = node = Node(0, 0, 0, 1, xattrs=dict(record.xattrs))
            _set_attr(node, attr)
            self._put(record.place, fid)
        # the old directory's time once more: both may be one
        self._dir(record.place.dir).mtime = record.place.mtime

    def _change(self, record: Record) -> None:
        node = self._object(record.object)
        if record.op == "setxattr":
            node.xattrs.update(record.xattrs)
        elif record.op == "removexattr":
            for name in record.xattrs:
                if node.xattrs.pop(name, None) is None and not name.startswith("system.posix_acl_"):
                    raise Diverged(f"no attribute {name}")
        elif record.op == "close":
            node.content = None
        _set_attr(node, record.attr)
        if "mode" in record.attr and "system.posix_acl_access" in node.xattrs and record.op == "setattr":
            node.xattrs["system.posix_acl_access"] = _acl_with_mode(
                node.xattrs["system.posix_acl_access"], node.mode)

    def replay(self, log: Log) -> Model:
        """The whole log."""
        for record in log.records():
            self.apply(record)
        return self

    def differences(self, real: Tree, listed: set[Fid] | None = None) -> list[str]:
        """What of the real tree is not as the model has it; bodies being changed are not compared."""
        listed, found = listed or set(), []
        for fid in sorted(self.tree.keys() | real.keys()):
            mine, its = self.tree.get(fid), real.get(fid)
            if mine is None or its is None:
                where = "tree" if mine is None else "log"
                found.append(f"{fid}: only in the {where}: {its or mine}")
                continue
            for name in COMPARED:
                one, two = getattr(mine, name), getattr(its, name)
                if name == "nlink" and mine.is_dir:
                    continue
                if name in ("mtime", "size", "content") and fid in listed:
                    continue
                if name == "mtime" and stat.S_ISFIFO(its.mode):  # what goes through a pipe is nobody's
                    continue
                if one != two and not (name == "content" and one is None):
                    found.append(f"{stat.filemode(its.mode)} {fid}: {name} is {_shown(two, one)}, "
                                 f"the log says {_shown(one, two)}")
        return found


def _shown(value, other) -> str:
    if isinstance(value, dict) and isinstance(other, dict):
        return repr({k: v for k, v in value.items() if other.get(k) != v})[:300]
    return oct(value) if isinstance(value, int) and value < 1 << 16 else repr(value)


def _acl_with_mode(value: bytes, mode: int) -> bytes:
    """What chmod(2) makes of an access ACL: owner, mask (or group) and others follow the mode."""
    entries = list(struct.iter_unpack("<HHI", value[4:]))
    has_mask = any(tag == 0x10 for tag, _, _ in entries)
    bits = {0x01: mode >> 6 & 7, 0x20: mode & 7, 0x10 if has_mask else 0x04: mode >> 3 & 7}
    return value[:4] + b"".join(struct.pack("<HHI", tag, bits.get(tag, perm), who)
                                for tag, perm, who in entries)


def check(baseline: Tree, log: Log, root: str, locals_: tuple[str, ...] = (),
          on_record: Callable[[Record], None] | None = None) -> Model:
    """Baseline plus log must be the tree. Raises Diverged with the first differences."""
    model = Model(baseline)
    for record in log.records():
        model.apply(record)
        if on_record:
            on_record(record)
    found = model.differences(snapshot(root, log.self_index, locals_), set(log.listed))
    if found:
        raise Diverged(f"{len(found)} differences after {model.records} records: " + "; ".join(found[:8]))
    return model
