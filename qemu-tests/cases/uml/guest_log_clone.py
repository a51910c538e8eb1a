# SPDX-License-Identifier: GPL-2.0
"""The log of a copied disk: who made an object, and what says so, whole or damaged."""

from __future__ import annotations

import contextlib
import copy
import errno
import mmap
import os
from pathlib import Path
from typing import Callable, Iterator

from guest import clone
from guest.disks import check_ext, make_ext4, run
from guest.expect import equal, expect_errno, intermezzo_only, wait_until
from guest.kml import ROOT, Fid, Log, Record
from guest.mounting import mount_old, refusal
from guest.replay import IDENTITY, IDENTITY_FORM, Model, Tree, fid_of, snapshot
from guest.subject import FILESET, mount_point, mounted


class Clone:
    """A disk copied from replica 1, which is replica 2 now: d/{f,moved,gone,mapped}, s, p and target from the
    copy, `theirs` by its attribute, and `late`, which the table does not name."""

    theirs = Fid(clone.PEER, 777777, 0x1234)

    def __init__(self, disk: str) -> None:
        self.disk = make_ext4(disk)
        with mounted(disk, fstype="ext4") as root:
            os.mkdir(f"{root}/d")
            for name in ("f", "moved", "gone", "mapped"):
                Path(f"{root}/d/{name}").write_bytes(name.encode() * 2000)
            Path(f"{root}/target").touch()
            os.symlink("d/f", f"{root}/s")
            os.mkfifo(f"{root}/p")
            self.copied = clone.objects(root)
            Path(f"{root}/theirs").write_bytes(b"theirs")
            clone.set_fid(f"{root}/theirs", self.theirs)
            Path(f"{root}/late").write_bytes(b"data")
            self.known = {fid._replace(replica=clone.SELF): fid for fid in self.copied}
            self.known[fid_of(os.fsencode(f"{root}/theirs"), clone.SELF)] = self.theirs
            clone.write_tables(root, {"replicas": clone.replicas(), "base": clone.base_of(self.copied)})

    def fid(self, path: str) -> Fid:
        """What an object's FID must be."""
        here = fid_of(os.fsencode(path), clone.SELF)
        return self.known.get(here, here)

    def tree(self, root: str) -> Tree:
        """The tree by the FIDs that its objects must have."""
        tree = snapshot(root, clone.SELF)
        for node in tree.values():
            node.names = {name: self.known.get(fid, fid) for name, fid in node.names.items()}
        return {self.known.get(fid, fid): node for fid, node in tree.items()}

    def check(self, baseline: Tree, root: str) -> None:
        """The replay oracle."""
        log = Log.of_mount(root)
        found = Model(baseline).replay(log).differences(self.tree(root), set(log.listed))
        equal(found, [], "differences")


class Watched:
    """Runs changes and gives the records they leave."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._seen = len(list(Log.of_mount(root).records()))

    def __call__(self, function: Callable, *arguments: object) -> list[Record]:
        function(*arguments)
        records = list(Log.of_mount(self.root).records())[self._seen:]
        self._seen += len(records)
        return records


@intermezzo_only
def test_copied_objects_keep_their_fids(disk: str) -> None:
    """What came with the copy is named as its maker named it, whatever is done to it; what is made here, also
    under the number of a copied object that is gone, is ours."""
    cloned = Clone(disk)
    with mounted(disk, FILESET) as root:
        equal(Log.of_mount(root).self_index, clone.SELF, "who we are")
        baseline, run_ = cloned.tree(root), Watched(root)
        folder = cloned.fid(f"{root}/d")
        equal((folder.replica, cloned.fid(f"{root}/late").replica), (clone.PEER, clone.SELF), "the test")
        fids = {name: cloned.fid(f"{root}/{name}") for name in ("d/f", "d/moved", "d/gone", "target", "s",
                                                                "p")}
        record, = run_(os.chmod, f"{root}/d/f", 0o640)
        equal(record.object, fids["d/f"], "chmod")
        record, = run_(os.chmod, f"{root}/theirs", 0o640)
        equal((record.object, record.hint.dir), (Clone.theirs, ROOT), "chmod of theirs")
        record, = run_(os.chmod, f"{root}/late", 0o640)
        equal(record.object, cloned.fid(f"{root}/late"), "chmod of ours")
        record, = run_(os.rename, f"{root}/d/moved", f"{root}/target")
        equal((record.object, record.place.dir, record.replaced[0]),
              (fids["d/moved"], folder, fids["target"]), "rename")
        record, = run_(os.chmod, f"{root}/d/f", 0o600)
        equal((record.object, record.hint.dir), (fids["d/f"], folder), "chmod, and a hint")
        record, = run_(os.unlink, f"{root}/d/gone")
        equal((record.object, record.place.dir), (fids["d/gone"], folder), "unlink")
        record, = run_(os.link, f"{root}/theirs", f"{root}/d/link")
        equal((record.object, record.place.dir), (Clone.theirs, folder), "link")
        record, = run_(os.lchown, f"{root}/s", 5, 5)
        equal(record.object, fids["s"], "lchown")
        records = run_(Path(f"{root}/p-body").write_bytes, b"data")
        equal({r.object for r in records}, {cloned.fid(f"{root}/p-body")}, "a new file")
        record, = run_(os.unlink, f"{root}/p")
        equal(record.object, fids["p"], "unlink of the FIFO")
        record, = run_(os.truncate, f"{root}/theirs", 3)
        equal((record.op, record.object), ("close", Clone.theirs), "a body")
        numbers = {fid.ino for fid in cloned.copied}
        for number in range(10):
            record, = run_(os.mknod, f"{root}/new{number}")
            equal(record.object, fid_of(os.fsencode(f"{root}/new{number}"), clone.SELF), "a new object")
        reused = [n for n in range(10) if os.stat(f"{root}/new{n}").st_ino in numbers]
        equal(bool(reused), True, "a number is used again")
        cloned.check(copy.deepcopy(baseline), root)
    with mounted(disk, FILESET) as root:
        run_ = Watched(root)
        for name in (f"new{reused[0]}", "d", "theirs", "target"):
            record, = run_(os.utime, f"{root}/{name}", (1, 1))
            equal(record.object, cloned.fid(f"{root}/{name}"), name)
        equal(cloned.fid(f"{root}/new{reused[0]}").replica, clone.SELF, "the new one's maker")
        cloned.check(baseline, root)
    check_ext(disk)


@intermezzo_only
def test_copied_body_is_listed_under_its_fid(disk: str) -> None:
    """Also where nothing but a store through a mapping changes it."""
    cloned = Clone(disk)
    for change in ("write", "store"):
        with mounted(disk, FILESET) as root:
            run_ = Watched(root)
            fid = cloned.fid(f"{root}/d/mapped")
            fd = os.open(f"{root}/d/mapped", os.O_RDWR)
            if change == "write":
                os.pwrite(fd, b"w", 0)
                os.close(fd)
            else:
                with mmap.mmap(fd, 4096) as mapping:
                    os.close(fd)
                    mapping[7] = 0x41
                    equal(Log.of_mount(root).listed, [fid], "listed while mapped")
            closes: list[Record] = []
            wait_until(lambda: closes.extend(run_(os.stat, root)) or closes, "a CLOSE", 30)
            equal([(r.op, r.object) for r in closes], [("close", fid)], change)
    check_ext(disk)


@intermezzo_only
def test_identity_is_not_copied_and_not_set(disk: str) -> None:
    """trusted.izo: no process sees it, sets it or takes it away; a copy of a file is a new object."""
    cloned = Clone(disk)
    with mounted(disk, FILESET) as root:
        path, run_ = f"{root}/theirs", Watched(root)
        value = IDENTITY_FORM.pack(1, 0, clone.PEER, 1, 5)
        for name in ("trusted.izo", "trusted.izo.x"):
            equal(run_(expect_errno, errno.EOPNOTSUPP, os.setxattr, path, name, value), [], "records")
            expect_errno(errno.EOPNOTSUPP, os.setxattr, f"{root}/late", name, value)
            expect_errno(errno.EOPNOTSUPP, os.getxattr, path, name)
            expect_errno(errno.EOPNOTSUPP, os.removexattr, path, name)
        equal(os.listxattr(path), [], "attributes seen")
        os.setxattr(path, "user.a", b"1")
        records = run_(run, "cp", "-a", path, f"{root}/copy")
        copied = cloned.fid(f"{root}/copy")
        # the first one is the attribute set above
        equal((records[0].object, {r.object for r in records[1:]}, copied.replica),
              (Clone.theirs, {copied}, clone.SELF), "what cp -a did")
        equal(os.getxattr(f"{root}/copy", "user.a"), b"1", "cp copies attributes")
        record, = run_(os.chmod, path, 0o600)
        equal(record.object, Clone.theirs, "the original")
    with mounted(disk, fstype="ext4") as root:
        marked = [name for name in ("theirs", "copy", "late")
                  if IDENTITY in os.listxattr(f"{root}/{name}")]
        equal(marked, ["theirs"], "who has it on the cache")
    check_ext(disk)


@contextlib.contextmanager
def attribute(disk: str, value: bytes) -> Iterator[str]:
    """The clone mounted with `theirs` carrying this."""
    with mounted(disk, fstype="ext4") as root:
        os.setxattr(f"{root}/theirs", IDENTITY, value)
    with mounted(disk, FILESET) as root:
        yield root


@intermezzo_only
def test_damaged_identity_is_not_guessed(disk: str) -> None:
    """An object whose attribute makes no sense can be read and not changed."""
    Clone(disk)
    good = IDENTITY_FORM.pack(1, 0, clone.PEER, 0x1234, 777777)
    for value in (good[:-1], good + b"\0", b"\2" + good[1:], IDENTITY_FORM.pack(1, 0, 0, 1, 5),
                  IDENTITY_FORM.pack(1, 0, 3, 1, 5)):
        with attribute(disk, value) as root:
            equal(Path(f"{root}/theirs").read_bytes(), b"theirs", "its body")
            expect_errno(errno.EUCLEAN, os.chmod, f"{root}/theirs", 0o600)
            expect_errno(errno.EUCLEAN, os.truncate, f"{root}/theirs", 1)
            os.chmod(f"{root}/late", 0o600)
    with attribute(disk, good) as root:
        os.chmod(f"{root}/theirs", 0o600)
    check_ext(disk)


@intermezzo_only
def test_damaged_base_is_refused(disk: str) -> None:
    """A table of copied objects that is not whole: no read-write mount, one line that names it."""
    cloned = Clone(disk)
    whole = clone.base_of(cloned.copied)
    entries = [(1, clone.PEER)] * 5000
    broken = {
        "a changed entry": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
        "a changed checksum": whole[:12] + bytes([whole[12] ^ 1]) + whole[13:],
        "another magic": b"X" + whole[1:],
        "another version": whole[:8] + b"\2" + whole[9:],
        "a count too large": clone.base(entries, count=5001),
        "a count too small": clone.base(entries, count=4999),
        "a huge count": clone.base(entries, count=(1 << 61) + 5000),
        "cut within the entries": whole[:-8],
        "cut within an entry": whole[:-3],
        "cut within the head": whole[:20],
        "empty": b"",
        "a replica that the log does not know": clone.base([*entries, (1, 3)]),
    }
    where = mount_point()
    for what, data in broken.items():
        with mounted(disk, fstype="ext4") as root:
            clone.write_tables(root, {"base": data})
        lines = refusal(expect_errno(errno.EINVAL, mount_old, disk, where, "intermezzo", FILESET))
        equal((len(lines), "base is damaged" in "".join(lines)), (1, True), f"{what}: {lines}")
    with mounted(disk, f"{FILESET},ro") as root:
        equal(Path(f"{root}/late").read_bytes(), b"data", "read-only")
    for data in (clone.base(entries), clone.base([]), whole):
        with mounted(disk, fstype="ext4") as root:
            clone.write_tables(root, {"base": data})
        with mounted(disk, FILESET) as root:
            os.utime(f"{root}/d/f")
    check_ext(disk)
