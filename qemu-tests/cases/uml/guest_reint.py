# SPDX-License-Identifier: GPL-2.0
"""Reintegration: a peer's records applied, once each, so that both trees are the same (I3, I6, I8, I9)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import random
import signal
import struct
import time
from pathlib import Path

from guest.changes import make_everything
from guest.disks import check_ext, fill, make_ext4, run
from guest.expect import as_user, equal, expect_errno, intermezzo_only, start_child
from guest.kml import Log, reseal
from guest.mounting import mount_old, remount_old, umount
from guest.reint import BATCH, OP, REF, REINT, Replica, ioctl, position, raw_records, submit
from guest.reint_pair import all_stored, pair, same, tree, two
from guest.subject import FILESET, mounted
from guest.syscalls import Inotify, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, rename

CASE_DEADLINE = 240


@intermezzo_only
def test_every_operation(disk: str, second_disk: str) -> None:
    """Records of every kind, in large batches and one by one."""
    with two(disk, second_disk) as replica:
        make_everything(replica.peer_root)
        all_stored(replica.pull())
        same(replica.peer_root, replica.root)
        equal(list(Log.of_mount(replica.root).records()), [], "nothing is recorded here (I6)")
        equal(Log.of_mount(replica.root).received[0][:2], (replica.peer, replica.recno), "last_rcvd")
    for device in (disk, second_disk):
        check_ext(device)


@intermezzo_only
def test_one_record_a_batch(disk: str, second_disk: str) -> None:
    """The same with nothing of one batch known to the next but handles."""
    with two(disk, second_disk) as replica:
        make_everything(replica.peer_root)
        all_stored(replica.pull(batch=1))
        same(replica.peer_root, replica.root)


@intermezzo_only
def test_cold_caches(disk: str, second_disk: str) -> None:
    """Objects that nobody has in use: by their names where the daemon knows them, directories without too."""
    with two(disk, second_disk) as replica:
        make_everything(replica.peer_root)
        all_stored(replica.pull())
        for turn in range(2):
            os.mkdir(f"{replica.peer_root}/acl/plain/f/new{turn}")
            os.chmod(f"{replica.peer_root}/acl/plain", 0o700 + turn)
            os.rename(f"{replica.peer_root}/acl/plain/f/new{turn}", f"{replica.peer_root}/moved{turn}")
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
            all_stored(replica.pull(batch=1))
            same(replica.peer_root, replica.root)
            replica.hints = False
        os.chmod(f"{replica.peer_root}/acl/plain/a2", 0o600)
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
        epoch, (record, raw) = Log.of_mount(replica.peer_root).epoch, list(
            raw_records(Log.of_mount(replica.peer_root)))[-1]
        op = replica.operation(record, raw, {})
        op.refs[1] = bytes(REF.size)
        equal(submit(replica.root, replica.peer, epoch, [op.encode()])[0].code, "need-name",
              "a cold file without a name")


def pull_on(server: Replica, third_root: str) -> None:
    """A third replica gets from a server what that has of its peer; their trees are the same then."""
    client = Replica(third_root, server.root)
    client.other(server.indices[1], server.peer)
    client.peer_known = {handle: fid._replace(replica=server.indices[1])
                         for fid, handle in server.handles.items()}
    all_stored(client.pull())
    same(server.root, third_root)


@intermezzo_only
def test_forwarded_records(disk: str, second_disk: str, third_disk: str) -> None:
    """A server records what it applies, with its origin; a third replica gets the same tree from there."""
    make_ext4(third_disk)
    with two(disk, second_disk, forward=True) as server, mounted(third_disk, FILESET) as third_root:
        make_everything(server.peer_root)
        said = server.pull()
        all_stored(said)
        os.mkdir(f"{server.root}/servers-own")
        pull_on(server, third_root)
        theirs = list(Log.of_mount(server.peer_root).records())
        forwarded = [r for r in Log.of_mount(server.root).records() if r.origin == 2]
        numbers = {r.recno: r for r in theirs}
        applied = [result.about.recno for result in said if result.about and result.code == "applied"]
        equal([mine.origin_recno for mine in forwarded], applied, "forwarded records")
        equal(len(applied) > 40, True, f"{len(applied)} records are forwarded")
        for mine in forwarded:
            one = numbers[mine.origin_recno]
            equal((mine.op, mine.time, mine.uid, mine.gid, mine.groups),
                  (one.op, one.time, one.uid, one.gid, one.groups), str(one))


def acl_of_mode(mode: int) -> bytes:
    """An ACL that says no more than a mode: of owner, group and others."""
    entries = [struct.pack("<HHI", tag, mode >> shift & 7, 0xffffffff)
               for tag, shift in ((1, 6), (4, 3), (0x20, 0))]
    return struct.pack("<I", 2) + b"".join(entries)


@intermezzo_only
def test_modes_that_are_set_as_acls(disk: str, second_disk: str, third_disk: str) -> None:
    """An ACL that says no more than a mode, as `cp -a` sets it, and one that is removed, set the mode on
    every replica, also on one that has it from a server's record."""
    make_ext4(third_disk)
    with two(disk, second_disk, forward=True) as server, mounted(third_disk, FILESET) as third_root:
        top = server.peer_root
        for name in ("f", "g"):
            Path(top, name).touch(0o600)
        os.mkdir(f"{top}/d", 0o700)
        all_stored(server.pull())
        for name, mode in (("f", 0o644), ("d", 0o755)):
            os.setxattr(f"{top}/{name}", "system.posix_acl_access", acl_of_mode(mode))
            equal(os.stat(f"{top}/{name}").st_mode & 0o777, mode, "where it is set")
        run("setfacl", "-m", "u:7:rwx", f"{top}/g")
        run("setfacl", "-b", f"{top}/g")
        all_stored(server.pull())
        same(top, server.root)
        pull_on(server, third_root)


def set_acl(path: str, acl: bytes, gid: int) -> None:
    """By its owner, 1000, who is of this group."""
    as_user(lambda: os.setxattr(path, "system.posix_acl_access", acl), gid=gid)


@intermezzo_only
def test_set_group_id_goes_with_an_acl(disk: str, second_disk: str, third_disk: str) -> None:
    """Whoever sets an ACL, or a mode as one, and is not of the object's group takes set-group-id away with
    it: on every replica, also on one that has it from a server's record. A member leaves it."""
    make_ext4(third_disk)
    whole = acl_of_mode(0o775)
    two_users = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
        (1, 7, 0xffffffff), (2, 6, 7), (4, 5, 0xffffffff), (0x10, 7, 0xffffffff), (0x20, 5, 0xffffffff)))
    with two(disk, second_disk, forward=True) as server, mounted(third_disk, FILESET) as third_root:
        top = server.peer_root
        os.chmod(top, 0o755)
        for name in ("f", "g", "d", "e", "members"):
            os.mkdir(f"{top}/{name}") if name in "de" else Path(top, name).touch()
            os.chown(f"{top}/{name}", 1000, 2000)
            os.chmod(f"{top}/{name}", 0o2755)
        all_stored(server.pull())
        for name, acl, gid in (("f", two_users, 1000), ("g", whole, 1000), ("d", two_users, 1000),
                               ("e", whole, 1000), ("members", two_users, 2000)):
            set_acl(f"{top}/{name}", acl, gid)
            equal(os.stat(f"{top}/{name}").st_mode & 0o7777, 0o2775 if name == "members" else 0o775,
                  f"{name}: where it is set")
        all_stored(server.pull())
        same(top, server.root)
        pull_on(server, third_root)


@intermezzo_only
def test_applied_once(disk: str, second_disk: str) -> None:
    """What was applied is passed over, also after a new mount; what is missing before it is refused."""
    with two(disk, second_disk) as replica:
        for number in range(5):
            os.mkdir(f"{replica.peer_root}/{number}")
        log = Log.of_mount(replica.peer_root)
        records = list(raw_records(log))
        all_stored(replica.apply(log.epoch, records[:2], None))
        operations = [replica.operation(record, raw, {}).encode() for record, raw in records]
        expect_errno(errno.EINVAL, submit, replica.root, replica.peer, log.epoch, operations[3:])
        expect_errno(errno.ESTALE, submit, replica.root, replica.peer, log.epoch ^ 1, [
            replica.operation(record, raw[:24] + struct.pack("<Q", log.epoch ^ 1) + raw[32:], {}).encode()
            for record, raw in records[2:3]])
        remount_old(replica.root, "ro")
        said = submit(replica.root, replica.peer, log.epoch, operations[2:])
        equal([(r.code, r.error) for r in said], [("stopped", -errno.EROFS)], "read-only")
        remount_old(replica.root, "rw")
        umount(replica.root)
        mount_old(second_disk, replica.root, "intermezzo", FILESET)
        said = submit(replica.root, replica.peer, log.epoch, operations,
                      decided=Log.of_mount(replica.root).end_of_committed)
        equal([r.code for r in said], ["already"] * 2 + ["applied"] * 3, "what was said")
        same(replica.peer_root, replica.root)
        expect_errno(errno.EINVAL, position, replica.root, replica.peer, log.epoch, 4, 1000)
        position(replica.root, replica.peer, log.epoch, 6, 1000)
        expect_errno(errno.EINVAL, position, replica.root, Log.of_mount(replica.root).replica)


@intermezzo_only
def test_what_does_not_fit_is_answered(disk: str, second_disk: str) -> None:
    """A name that is taken, gone, another object; nothing is done, and the position stays."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        for name in ("taken", "full", "a", "b", "m", "elsewhere"):
            os.mkdir(f"{peer}/{name}")
        os.rmdir(f"{peer}/taken")
        all_stored(replica.pull())
        os.mkdir(f"{here}/full/child")
        Path(f"{here}/taken").touch()
        run("chattr", "+i", f"{here}/elsewhere")
        run("mount", "-t", "tmpfs", "none", f"{here}/m")
        expected = {"exists": lambda: os.mkdir(f"{peer}/taken"),
                    "not-empty": lambda: os.rmdir(f"{peer}/full"),
                    "refused": lambda: os.chmod(f"{peer}/elsewhere", 0o700),
                    "mounted": lambda: os.rename(f"{peer}/m", f"{peer}/n"),
                    "missing": lambda: os.rmdir(f"{peer}/a")}
        os.rmdir(f"{here}/a")
        for code, change in expected.items():
            change()
            before, position_before = tree(here), Log.of_mount(here).received
            equal(replica.pull()[-1].code, code, "the answer")
            equal((tree(here), Log.of_mount(here).received), (before, position_before),
                  f"{code}: what was done")
            log = Log.of_mount(peer)
            record, raw = [pair for pair in raw_records(log) if pair[0].recno == replica.recno + 1][0]
            op = replica.operation(record, raw, {})
            op.skip = 1000
            equal(submit(here, replica.peer, log.epoch, [op.encode()])[0].code, "skipped", "the next answer")
            replica.recno += 1
        run("umount", f"{here}/m")


@intermezzo_only
def test_a_directory_does_not_come_to_lie_within_itself(disk: str, second_disk: str) -> None:
    """Two renames that are each possible where they were made, and not together."""
    with two(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/a")
        os.mkdir(f"{replica.peer_root}/b")
        all_stored(replica.pull())
        os.rename(f"{replica.root}/a", f"{replica.root}/b/a")
        os.rename(f"{replica.peer_root}/b", f"{replica.peer_root}/a/b")
        equal(replica.pull()[-1].code, "ancestry", "the answer")


@intermezzo_only
def test_changed_since_the_decision(disk: str, second_disk: str) -> None:
    """A record about something that has a newer record here is not applied; about anything else it is."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        for name in ("d", "e"):
            os.mkdir(f"{peer}/{name}")
        Path(f"{peer}/f").touch()
        all_stored(replica.pull())
        decided = Log.of_mount(here).end_of_committed
        os.chmod(f"{here}/d", 0o711)
        os.chmod(f"{peer}/e", 0o700)
        equal([r.code for r in replica.pull(decided=decided)], ["applied"], "another object")
        os.chmod(f"{peer}/d", 0o700)
        equal(replica.pull(decided=decided)[-1].code, "changed", "the same object")
        equal(replica.pull()[-1].code, "applied", "decided again")
        stream = open(f"{here}/f", "wb")
        stream.write(b"not closed yet")
        stream.flush()
        os.unlink(f"{peer}/f")
        equal(replica.pull()[-1].code, "changed", "a body being changed")
        stream.close()
        os.mkdir(f"{here}/name")
        decided = Log.of_mount(here).end_of_committed
        os.rmdir(f"{here}/name")
        equal(replica.pull(decided=decided)[-1].code, "applied", "the unlink, decided again")
        os.mkdir(f"{peer}/name")
        equal(replica.pull(decided=decided)[-1].code, "changed", "a name that was used since")


def with_name(raw: bytes, name: bytes) -> bytes:
    """A record whose first item is the place of a name of one byte, with another name."""
    place = raw[112:112 + 32] + name
    item = struct.pack("<HHI", 1, 0, len(place)) + place + bytes(-len(place) % 8)
    data = bytearray(raw[:104] + item + raw[112 + 40:])
    struct.pack_into("<I", data, 4, len(data))
    struct.pack_into("<I", data, len(data) - 8, len(data))
    return reseal(bytes(data))


@intermezzo_only
def test_own_names_and_attributes_are_kept(disk: str, second_disk: str) -> None:
    """Nothing that a peer sends reaches .intermezzo or the attribute that is an object's identity (I9)."""
    with two(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        os.setxattr(f"{replica.peer_root}/d", "user.abcdef", b"x")
        log = Log.of_mount(replica.peer_root)
        (made, made_raw), (attribute, attribute_raw) = raw_records(log)
        for name in (b"..", b"a/b", b"", b"n" * 256):
            op = replica.operation(made, with_name(made_raw, name), {})
            expect_errno(errno.EINVAL, submit, replica.root, replica.peer, log.epoch, [op.encode()])
        op = replica.operation(made, with_name(made_raw, b".intermezzo"), {})
        equal(submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code, "class", ".intermezzo")
        op = replica.operation(made, made_raw, {})
        os.chmod(replica.root, 0o755)
        as_user(lambda: str(expect_errno(errno.EPERM, submit, replica.root, replica.peer, log.epoch,
                                         [op.encode()])))
        all_stored(replica.pull(most=1))
        evil = reseal(attribute_raw.replace(b"user.abcdef", b"trusted.izo"))
        op = replica.operation(attribute, evil, {})
        equal(submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code, "refused", "trusted.izo")
        inside = os.stat(f"{replica.root}/.intermezzo/rootset")
        ref = REF.pack(2, 1, inside.st_ino, 0, 0, 0, 0)
        op.refs[0] = ref
        said = submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code
        equal(said in ("need-name", "refused"), True, f"{said}: an object within .intermezzo")


def resealed(part: bytearray) -> bytearray:
    """An altered operation whose record has a right checksum, so that more of it is believed."""
    at = struct.unpack_from("=I", part, 4)[0]
    if OP.size <= at <= len(part) - 32:
        part[at:] = reseal(bytes(part[at:]))
    return part


@intermezzo_only
def test_garbage(disk: str, second_disk: str) -> None:
    """Every truncation and many altered bytes of an operation: an answer or EINVAL, and no harm."""
    seed = random.Random(7)
    with two(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        Path(f"{replica.peer_root}/d/f").touch()
        rename(f"{replica.peer_root}/d/f", f"{replica.peer_root}/d/g", RENAME_NOREPLACE)
        log = Log.of_mount(replica.peer_root)
        made: dict = {}
        operations = []
        for number, (record, raw) in enumerate(raw_records(log)):
            operations.append(replica.operation(record, raw, made).encode())
            if record.op in ("create", "mkdir"):
                made[record.object] = number
        while replica.bodies:
            os.close(replica.bodies.pop())
        whole = b"".join(operations)
        for length in range(0, len(whole), 8):
            with contextlib.suppress(OSError):
                submit(replica.root, replica.peer, log.epoch, [whole[:length]], count=len(operations))
        for turn in range(500):
            # from the log's start again, into what the last turn has left, or into nothing
            position(replica.root, replica.peer, log.epoch + 1 + turn, 0, 120)
            position(replica.root, replica.peer, log.epoch, 0, 120)
            if seed.random() < 0.5:
                run("find", replica.root, "-mindepth", "1", "-not", "-path", "*/lost+found", "-delete")
            parts = [bytearray(part) for part in operations]
            for _ in range(seed.choice((1, 1, 2, 4))):
                part = seed.choice(parts)
                part[seed.randrange(len(part))] = seed.choice((0, 1, 2, 3, 0xff, seed.randrange(256)))
            if turn % 4:
                parts = [resealed(part) for part in parts]
            with contextlib.suppress(OSError):
                submit(replica.root, replica.peer, log.epoch, [bytes(part) for part in parts])
        form = BATCH.pack(1, BATCH.size, 0, 1, 8, OP.size, 0, 8, replica.peer, log.epoch, 0)
        fd = os.open(replica.root, os.O_RDONLY)
        expect_errno(errno.EFAULT, ioctl, fd, REINT, form)
        for at in range(0, BATCH.size, 4):
            broken = bytearray(form)
            struct.pack_into("=I", broken, at, 0xffffffff)
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, REINT, broken, True)
        os.close(fd)
        os.mkdir(f"{replica.root}/below")
        fd = os.open(f"{replica.root}/below", os.O_RDONLY)
        expect_errno(errno.ENOTTY, fcntl.ioctl, fd, REINT, ctypes.create_string_buffer(form))
        os.close(fd)
    check_ext(second_disk)


@intermezzo_only
def test_random_trees(disk: str, second_disk: str) -> None:
    """Thousands of records of a random tree, while others use and leave the replica's tree."""
    names = [f"{letter}{number}" for letter in "abc" for number in range(3)]
    seed = random.Random(int(os.environ.get("IZO_FUZZ_SEED", "1")))

    def write(path: str) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK | seed.choice((os.O_TRUNC, os.O_APPEND))
        fd = os.open(path, flags, 0o644)
        try:
            os.write(fd, b"b" * seed.randrange(9000))
        finally:
            os.close(fd)

    def some() -> str:
        return "/".join(seed.choices(names, k=seed.choice((1, 1, 2, 3))))

    def one(root: str) -> None:
        first, second = f"{root}/{some()}", f"{root}/{some()}"
        flags = seed.choice((0, 0, RENAME_EXCHANGE, RENAME_WHITEOUT, RENAME_NOREPLACE))
        seed.choice((lambda: os.mkdir(first), lambda: os.mkdir(first), lambda: os.mknod(first),
                     lambda: os.rmdir(first), lambda: os.unlink(first), lambda: os.symlink(second, first),
                     lambda: os.link(first, second, follow_symlinks=False),
                     lambda: rename(first, second, flags),
                     lambda: rename(first, second, flags), lambda: os.chmod(first, seed.randrange(1 << 12)),
                     lambda: os.chown(first, seed.randrange(9), seed.randrange(9), follow_symlinks=False),
                     lambda: os.setxattr(first, f"user.{seed.randrange(4)}", b"v" * seed.randrange(300),
                                         follow_symlinks=False),
                     lambda: write(first), lambda: write(first)))()

    def visit(root: str) -> None:
        """Somebody who looks, opens, and makes what is local to this side."""
        while True:
            for folder, _, files in os.walk(root):
                for name in files:
                    with contextlib.suppress(OSError):
                        os.close(os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK))

    # what attributes fit depends on it
    with two(disk, second_disk, block_size=4096) as replica:
        child = start_child(lambda: visit(replica.root))
        try:
            for _ in range(8):
                for _ in range(500):
                    with contextlib.suppress(OSError):
                        one(replica.peer_root)
                all_stored(replica.pull(batch=seed.choice((1, 7, 100, 1000))))
                same(replica.peer_root, replica.root)
                Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        print(f"{replica.recno} records applied", flush=True)
    check_ext(second_disk)


@intermezzo_only
def test_bodies_are_whole_and_old_ones_stay_with_those_who_have_them(disk: str, second_disk: str) -> None:
    """A new body under every name; who has the old one open or mapped keeps it; no writer is overtaken."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        os.makedirs(f"{peer}/a/b/c")
        os.makedirs(f"{peer}/z")
        Path(f"{peer}/a/one").write_bytes(b"old" * 5000)
        for name in ("a/two", "a/b/three", "z/four", "a/b/c/five"):
            os.link(f"{peer}/a/one", f"{peer}/{name}")
        os.chmod(f"{peer}/a/one", 0o4750)
        os.setxattr(f"{peer}/a/one", "user.note", b"stays")
        all_stored(replica.pull())
        same(peer, here)
        reader = os.open(f"{here}/z/four", os.O_RDONLY)
        page = mmap.mmap(reader, 4096, prot=mmap.PROT_READ)
        before = os.stat(f"{here}/a/one")
        with open(f"{peer}/a/two", "r+b") as stream:
            stream.write(b"new" * 7000)
        all_stored(replica.pull())
        same(peer, here)
        equal((page[:3], os.pread(reader, 3, 0), os.fstat(reader).st_nlink), (b"old", b"old", 0),
              "the old file")
        page.close()
        os.close(reader)
        equal(os.stat(f"{here}/a/one").st_ino != before.st_ino, True, "it is another file")
        writer = os.open(f"{here}/a/one", os.O_WRONLY)
        Path(f"{peer}/z/four").write_bytes(b"newer")
        equal(replica.pull()[-1].code, "busy", "open for writing")
        os.close(writer)
        all_stored(replica.pull())
        Path(f"{here}/a/b/three").write_bytes(b"local")
        Path(f"{peer}/z/four").write_bytes(b"theirs")
        equal(replica.pull(decided=0)[-1].code, "changed", "a body changed here")
        all_stored(replica.pull())
        same(peer, here)
    for device in (disk, second_disk):
        check_ext(device)


@intermezzo_only
def test_what_is_no_body_is_refused(disk: str, second_disk: str) -> None:
    """A file with a name, one of another mount, a directory, a name that is missing or given twice."""
    with two(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(b"body")
        os.link(f"{replica.peer_root}/f", f"{replica.peer_root}/g")
        replica.pull(most=1)
        log = Log.of_mount(replica.peer_root)
        records = {record.op: (record, raw) for record, raw in raw_records(log)}
        close, raw = records["close"]
        Path(f"{replica.root}/named").touch()
        for path, flags in (("named", os.O_RDWR), ("", os.O_RDONLY), ("f", os.O_RDONLY)):
            op = replica.operation(close, raw, {})
            op.body = os.open(f"{replica.root}/{path}", flags)
            equal(submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code, "refused", path)
            os.close(op.body)
        op = replica.operation(close, raw, {})
        op.body = os.open(replica.peer_root, os.O_TMPFILE | os.O_RDWR)
        equal(submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code, "refused", "the peer's")
        os.close(op.body)
        op = replica.operation(close, raw, {})
        op.its_names *= 2
        equal(submit(replica.root, replica.peer, log.epoch, [op.encode()])[0].code, "refused", "a name twice")
        op.its_names = []
        expect_errno(errno.EINVAL, submit, replica.root, replica.peer, log.epoch, [op.encode()])
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/f").write_bytes(b"body of two")
        replica.names[close.object].pop()
        equal(replica.pull()[-1].code, "need-name", "a name too few")


@intermezzo_only
def test_who_uses_the_tree_sees_ordinary_changes(disk: str, second_disk: str) -> None:
    """A working directory that is removed or moved, a mount below one that moves, and watches."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        for name in ("cwd", "moves", "moves/mount", "watched"):
            os.mkdir(f"{peer}/{name}")
        Path(f"{peer}/watched/f").touch()
        all_stored(replica.pull())
        run("mount", "-t", "tmpfs", "none", f"{here}/moves/mount")
        Path(f"{here}/moves/mount/inside").touch()
        watch = Inotify()
        watch.watch(f"{here}/watched", "watched")
        folder = os.open(f"{here}/cwd", os.O_RDONLY)
        os.rmdir(f"{peer}/cwd")
        os.rename(f"{peer}/moves", f"{peer}/moved")
        os.chmod(f"{peer}/watched/f", 0o600)
        Path(f"{peer}/watched/f").write_bytes(b"body")
        os.rename(f"{peer}/watched/f", f"{peer}/watched/g")
        os.unlink(f"{peer}/watched/g")
        os.mkdir(f"{peer}/watched/d")
        all_stored(replica.pull())
        expect_errno(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
        equal(os.listdir(f"{here}/moved/mount"), ["inside"], "the mount moved with its directory")
        wanted = [("ATTRIB", "f"), ("MOVED_FROM", "f"), ("MOVED_TO", "g"), ("DELETE", "g"),
                  ("CREATE|ISDIR", "d")]
        equal([event[1:] for event in watch.events() if event[1:] in wanted], wanted, "what the watch saw")
        watch.close()
        run("umount", f"{here}/moved/mount")
        os.close(folder)


@intermezzo_only
def test_killed_daemon(disk: str, second_disk: str) -> None:
    """SIGKILL in the middle of batches: the next daemon goes on behind what last_rcvd says, and nothing is
    missing or done twice (I3)."""
    seed = random.Random(3)
    with two(disk, second_disk) as replica:
        for number in range(400):
            os.mkdir(f"{replica.peer_root}/{number}")
            os.rename(f"{replica.peer_root}/{number}", f"{replica.peer_root}/to-{number}")
        kills, turn = 0, 0
        while replica.recno < 800:
            turn += 1
            child = start_child(lambda: all_stored(replica.pull(batch=seed.choice((20, 800)))))
            # when it is killed is up to chance; later ones have time for more
            time.sleep(seed.random() * 0.1 * turn)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            before = replica.recno
            resume(replica)
            kills += before < replica.recno < 800
        equal(kills > 0, True, "kills in the middle")
        same(replica.peer_root, replica.root)
    check_ext(second_disk)


def resume(replica: Replica) -> None:
    """What a new daemon finds: the position, and which objects there are."""
    received = {who: recno for who, recno, _ in Log.of_mount(replica.root).received}
    replica.recno = received.get(replica.peer, 0)
    replica.names.clear()
    replica.places.clear()
    for record in list(Log.of_mount(replica.peer_root).records())[:replica.recno]:
        replica.note_names(record)
    for fid, names in replica.names.items():
        for _, name in names:
            replica.know(fid, os.fsdecode(name))


@intermezzo_only
def test_smallest_journal_with_three_quotas(disk: str, second_disk: str) -> None:
    """What a peer makes and changes fits into it: new owners and projects, of whom the quotas have not heard,
    a whiteout, an ACL that a directory hands down; each in a transaction of its own."""
    quotas = ("-b", "4096", "-I", "256", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota")
    make_ext4(disk, "-b", "4096", "-I", "256", "-O", "quota,project")
    make_ext4(second_disk, *quotas, size="64M")
    with pair(disk, second_disk, options="sync") as replica:
        peer = replica.peer_root
        os.mkdir(f"{peer}/d")
        run("setfacl", "-d", "-m", "u:7:rwx,g:8:rx", f"{peer}/d")
        for number in range(5):
            os.mkdir(f"{peer}/d/{number}")
            Path(f"{peer}/{number}").touch()
            os.chown(f"{peer}/{number}", 1000 + number, 2000 + number)
            run("chattr", "-p", str(3000 + number), f"{peer}/{number}")
            os.chmod(f"{peer}/{number}", 0o4755)
            rename(f"{peer}/{number}", f"{peer}/moved{number}", RENAME_WHITEOUT)
        all_stored(replica.pull(batch=1))
        same(peer, replica.root)
    check_ext(second_disk)


@intermezzo_only
def test_full_disk(disk: str, second_disk: str) -> None:
    """Without space a batch stops where it is, and goes on when there is some."""
    with two(disk, second_disk) as replica:
        for number in range(300):
            os.mkdir(f"{replica.peer_root}/{number}")
        filler = fill(f"{replica.root}/lost+found/filler", 1024)
        said = replica.pull(batch=1000)
        equal((said[-1].code, said[-1].error), ("stopped", -errno.ENOSPC), f"with {filler} bytes of filler")
        os.unlink(f"{replica.root}/lost+found/filler")
        all_stored(replica.pull())
        same(replica.peer_root, replica.root)
    check_ext(second_disk)
