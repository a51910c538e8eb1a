# SPDX-License-Identifier: GPL-2.0
"""Reintegration at its limits: what fails leaves the root writable, the tree whole and the answer true."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import struct
import threading
from pathlib import Path
from typing import Callable

from guest.debug_switch import LINGER, going_wrong
from guest.deep import bottom
from guest.disks import check_ext, copy_as_after_a_crash, debugfs_write, make_btrfs, make_ext4, make_xfs, run
from guest.expect import as_user, equal, expect_errno, intermezzo_only, process_state
from guest.kml import Log, Record, reseal
from guest.mounting import mount_old, umount
from guest.reint import (FORWARD, OBJECT_AT, PARTIAL, SML, UPSTREAM, Operation, Replica, Result, item_at,
                         position, raw_records, submit, with_fid, with_xattr)
from guest.reint_pair import all_stored, pair, same, two
from guest.replay import fid_of
from guest.subject import FILESET, mounted
from guest.syscalls import RENAME_WHITEOUT, link_open_file, rename

DISKS = ("256M", "256M", "160M", "160M", "160M")
CASE_DEADLINE = 120
FLAGS_AT, XATTRS_CUT = 80, 0x40
NO_JOURNAL = Path("/proc/sys/intermezzo/intermezzo1/no_journal")
# SGI_ACL_FILE of one entry that is none
ACL_OF_XFS = struct.pack(">IIIHH", 1, 0xffff, 0, 7, 0)


def next_record(replica: Replica) -> tuple[Record, bytes]:
    """The record that the replica has to apply next."""
    records = raw_records(Log.of_mount(replica.peer_root))
    return [found for found in records if found[0].recno == replica.recno + 1][0]


def next_operation(replica: Replica) -> Operation:
    """The operation for it."""
    replica.look_at_peer(Log.of_mount(replica.peer_root).self_index)
    return replica.operation(*next_record(replica), {})


def send(replica: Replica, op: Operation) -> str:
    """Its answer."""
    epoch, end = Log.of_mount(replica.peer_root).epoch, Log.of_mount(replica.root).end_of_committed
    return submit(replica.root, replica.peer, epoch, [op.encode()], decided=end,
                  flags=replica.flags)[0].code


def drop_bodies(replica: Replica) -> None:
    """A file system with an open file cannot be unmounted."""
    while replica.bodies:
        os.close(replica.bodies.pop())


def pass_over(replica: Replica) -> None:
    """The next record is not to be applied."""
    op = Operation(*next_record(replica))
    op.raw, op.skip = next_operation(replica).raw, 1000
    equal(send(replica, op), "skipped", str(op.record))
    replica.recno += 1
    replica.note_names(op.record)
    drop_bodies(replica)


def await_linger(thread: threading.Thread) -> None:
    """Until it lingers in its change, which LINGER makes it do for 20 ms."""
    assert thread.native_id
    while True:
        equal(thread.is_alive(), True, "it has not lingered yet")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if process_state(thread.native_id) == "D":
                return


@intermezzo_only
def test_more_peers_than_there_is_room_for(disk: str, second_disk: str) -> None:
    """The position of the 57th has no place: its records wait, and the root stays writable. One that is not
    in the table of replicas, or is this replica, is nobody."""
    with two(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        op = next_operation(replica)
        epoch = Log.of_mount(replica.peer_root).epoch
        for number in range(56):
            position(replica.root, bytes([number + 1]) * 16, 1, 1, 1)
        for skipped in (0, 1000):
            op.skip = skipped
            said = submit(replica.root, replica.peer, epoch, [op.encode()],
                          decided=Log.of_mount(replica.root).end_of_committed)[0]
            equal((said.code, said.error), ("stopped", -errno.ENOSPC), "the 57th")
        os.mkdir(f"{replica.root}/writable")
        op.skip = 0
        for peer in (bytes(16), Log.of_mount(replica.root).replica, b"\xaa" * 16):
            expect_errno(errno.EINVAL, submit, replica.root, peer, epoch, [op.encode()])
    check_ext(second_disk)


@intermezzo_only
def test_bodies_in_immutable_and_append_only_directories(disk: str, second_disk: str) -> None:
    """Such a directory keeps its names, and its files may be written: on the replica too."""
    with two(disk, second_disk) as replica:
        for name, flag in (("i", "+i"), ("a", "+a")):
            os.mkdir(f"{replica.peer_root}/{name}")
            Path(f"{replica.peer_root}/{name}/f").write_bytes(b"old")
            run("chattr", flag, f"{replica.peer_root}/{name}")
        all_stored(replica.pull())
        for name in "ia":
            Path(f"{replica.peer_root}/{name}/f").write_bytes(b"new body")
        all_stored(replica.pull())
        same(replica.peer_root, replica.root)
        equal(run("lsattr", "-d", f"{replica.root}/i").split()[0].count("i"), 1, "still immutable")
        expect_errno(errno.EPERM, os.mkdir, f"{replica.root}/i/d")
        os.mkdir(f"{replica.root}/writable")
    check_ext(second_disk)


@intermezzo_only
def test_bodies_of_another_project(disk: str, second_disk: str) -> None:
    """A file that was there before its directory got a project cannot be given a name there: its new body is
    refused before the old one has lost its own."""
    make_ext4(disk, "-b", "4096", "-I", "256", "-O", "quota", "-E", "quotatype=usrquota:prjquota")
    make_ext4(second_disk, "-b", "4096", "-I", "256", "-O", "quota", "-E", "quotatype=usrquota:prjquota")
    with pair(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        Path(f"{replica.peer_root}/d/f").touch()
        run("chattr", "+P", "-p", "5", f"{replica.peer_root}/d")
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/d/f").write_bytes(b"body")
        equal(replica.pull()[-1].code, "refused", "the body")
        equal(os.stat(f"{replica.root}/d/f").st_size, 0, "the old one")
        pass_over(replica)
        Path(f"{replica.peer_root}/outside").touch()
        all_stored(replica.pull())
        os.link(f"{replica.root}/outside", f"{replica.root}/twice")
        os.rename(f"{replica.peer_root}/outside", f"{replica.peer_root}/away")
        pass_over(replica)
    check_ext(second_disk)


@intermezzo_only
def test_a_name_that_is_being_added(disk: str, second_disk: str) -> None:
    """A link made while the body waits for the file's lock: not all names were given."""
    with two(disk, second_disk) as replica:
        for name in ("d", "e"):
            os.mkdir(f"{replica.peer_root}/{name}")
        Path(f"{replica.peer_root}/d/f").write_bytes(b"old")
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/d/f").write_bytes(b"new")
        op = next_operation(replica)
        os.fsync(op.body)
        os.sync()
        epoch, end = Log.of_mount(replica.peer_root).epoch, Log.of_mount(replica.root).end_of_committed
        with going_wrong(LINGER):
            linker = threading.Thread(target=os.link, args=(f"{replica.root}/d/f", f"{replica.root}/e/g"))
            linker.start()
            await_linger(linker)
            answer = submit(replica.root, replica.peer, epoch, [op.encode()], decided=end)[0].code
            linker.join()
        drop_bodies(replica)
        equal(answer, "need-name", "the answer")
        equal(os.stat(f"{replica.root}/e/g").st_ino, os.stat(f"{replica.root}/d/f").st_ino,
              "the file of both names")


@intermezzo_only
def test_what_was_changed_before_a_new_body_is_still_seen(disk: str, second_disk: str) -> None:
    """A local change that the daemon has not seen stands also against a record that comes after a new body of
    the same batch."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        Path(f"{peer}/f").touch()
        all_stored(replica.pull())
        decided = Log.of_mount(here).end_of_committed
        os.chmod(f"{here}/f", 0o600)
        Path(f"{peer}/f").write_bytes(b"body")
        os.chmod(f"{peer}/f", 0o666)
        equal([r.code for r in replica.pull(decided=decided)][-2:], ["applied", "changed"], "body and mode")
        equal(stat.S_IMODE(os.stat(f"{here}/f").st_mode), 0o600, "the local mode")


@intermezzo_only
def test_nothing_is_applied_after_the_log_has_ended(disk: str, second_disk: str) -> None:
    """With an overflowed log nothing tells what was changed here: records wait."""
    with two(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        Path(f"{replica.peer_root}/f").touch()
        all_stored(replica.pull())
        NO_JOURNAL.write_text("1", encoding="ascii")
        try:
            os.chmod(f"{replica.root}/d", 0o700)
        finally:
            NO_JOURNAL.write_text("0", encoding="ascii")
        equal(Log.of_mount(replica.root).overflow, True, "the log has ended")
        os.chmod(f"{replica.peer_root}/d", 0o755)
        said = replica.pull()[-1]
        equal((said.code, said.error), ("stopped", -errno.ENOSPC), "a mode")
        equal(stat.S_IMODE(os.stat(f"{replica.root}/d").st_mode), 0o700, "the local one")
        pass_over(replica)
        Path(f"{replica.peer_root}/f").write_bytes(b"body")
        equal(replica.pull()[-1].code, "stopped", "a body")


@intermezzo_only
def test_a_body_that_is_not_installed_is_nobodys(disk: str, second_disk: str) -> None:
    """A body that is refused (more names than the journal has room for), kept under a name of its own, is an
    object made here."""
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "4096", "-J", "size=4")
    with pair(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        Path(f"{peer}/f").touch()
        for number in range(60):
            os.link(f"{peer}/f", f"{peer}/f{number}")
        all_stored(replica.pull())
        Path(f"{peer}/f").write_bytes(b"body")
        op = next_operation(replica)
        equal(send(replica, op), "refused", "the body")
        link_open_file(op.body, f"{here}/copy")
        drop_bodies(replica)
        umount(here)
        mount_old(second_disk, here, "intermezzo", FILESET)
        os.chmod(f"{here}/copy", 0o600)
        os.sync()
        equal({r.object.replica for r in Log.of_mount(here).records()}, {replica.own_index}, "whose it is")
    check_ext(second_disk)


@intermezzo_only
def test_what_only_the_new_file_has_goes(disk: str, second_disk: str) -> None:
    """An ACL that the nameless file got from its directory, and attributes that somebody gave it."""
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
        (1, 6, 0xffffffff), (2, 6, 1001), (4, 4, 0xffffffff), (0x10, 6, 0xffffffff), (0x20, 0, 0xffffffff)))
    with two(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").touch()
        os.setxattr(f"{replica.peer_root}/f", "user.stays", b"1")
        os.setxattr(replica.peer_root, "system.posix_acl_default", acl)
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/f").write_bytes(b"body")
        op = next_operation(replica)
        equal("system.posix_acl_access" in os.listxattr(op.body), True, "it has inherited one")
        os.setxattr(op.body, "user.temporary", b"1")
        os.setxattr(op.body, "user.stays", b"2")
        equal(send(replica, op), "applied", "the body")
        drop_bodies(replica)
        same(replica.peer_root, replica.root)


@intermezzo_only
def test_immutable_directories_keep_their_names(disk: str, second_disk: str) -> None:
    """What a system call may not do in one, a record may not: it is refused, for the caller to decide."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        for name in ("d", "d/sub", "d/other", "d/moves", "moved"):
            os.mkdir(f"{peer}/{name}")
        for name in ("a", "d/gone", "d/b"):
            Path(f"{peer}/{name}").touch()
        all_stored(replica.pull())
        run("chattr", "+i", f"{here}/d")
        before = os.stat(f"{here}/d")
        changes: tuple[Callable[[], object], ...] = (
            lambda: os.mkdir(f"{peer}/d/new"), lambda: os.rmdir(f"{peer}/d/sub"),
            lambda: os.unlink(f"{peer}/d/gone"), lambda: os.link(f"{peer}/a", f"{peer}/d/link"),
            lambda: os.rename(f"{peer}/a", f"{peer}/d/a"), lambda: os.rename(f"{peer}/d/b", f"{peer}/b"),
            lambda: os.rename(f"{peer}/d/moves", f"{peer}/d/renamed"))
        for change in changes:
            change()
            said = replica.pull()[-1]
            equal(said.code, "refused", str(said))
            pass_over(replica)
        equal((sorted(os.listdir(f"{here}/d")), os.stat(f"{here}/d").st_mtime_ns),
              (["b", "gone", "moves", "other", "sub"], before.st_mtime_ns), "what is there")


@intermezzo_only
def test_symbolic_links_that_the_cache_cannot_hold(disk: str, second_disk: str) -> None:
    """A target of 1100 bytes, on blocks of 1 KiB: it is refused, for what comes after it to be applied."""
    with two(disk, second_disk) as replica:
        os.symlink("x" * 1100, f"{replica.peer_root}/s")
        os.mkdir(f"{replica.peer_root}/d")
        said = replica.pull()[-1]
        equal((said.code, os.path.lexists(f"{replica.root}/s")), ("refused", False), str(said))
        pass_over(replica)
        all_stored(replica.pull())
        equal(os.path.isdir(f"{replica.root}/d"), True, "what comes after it")
    check_ext(second_disk)


@intermezzo_only
def test_set_id_bits_that_a_peer_set_are_taken_away_with_a_record(disk: str, second_disk: str) -> None:
    """A file that was written before a peer made it set-user-id: the next writer's taking that away is
    recorded."""
    with two(disk, second_disk) as replica:
        os.chmod(replica.root, 0o755)
        for name, after in (("old", None), ("body", b"new")):
            Path(f"{replica.peer_root}/{name}").touch()
            os.chmod(f"{replica.peer_root}/{name}", 0o777)
            all_stored(replica.pull())
            path = f"{replica.root}/{name}"
            as_user(lambda path=path: Path(path).write_bytes(b"1") and None)
            os.chmod(f"{replica.peer_root}/{name}", 0o4777)
            if after:
                Path(f"{replica.peer_root}/{name}").write_bytes(after)
                os.chmod(f"{replica.peer_root}/{name}", 0o4777)
            all_stored(replica.pull())
            equal(stat.S_IMODE(os.stat(path).st_mode), 0o4777, f"{name}: the mode")
            recno = list(Log.of_mount(replica.root).records())[-1].recno
            fd = os.open(path, os.O_WRONLY)
            as_user(lambda fd=fd: os.write(fd, b"2"))
            os.close(fd)
            os.sync()
            equal(stat.S_IMODE(os.stat(path).st_mode), 0o777, f"{name}: the mode after a write")
            new = [r for r in Log.of_mount(replica.root).records() if r.recno > recno]
            equal([r.attr["mode"] & 0o7777 for r in new if "mode" in r.attr], [0o777], f"{name}: recorded")


@intermezzo_only
def test_a_position_is_on_the_medium_after_fsync(disk: str, second_disk: str, third_disk: str) -> None:
    """fsync of last_rcvd, on a client that has logged nothing: what was applied survives a crash."""
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "4096")
    with pair(disk, second_disk, options="commit=600") as replica:
        for name in "abc":
            os.mkdir(f"{replica.peer_root}/{name}")
        all_stored(replica.pull())
        for name in ("last_rcvd", "kml"):
            fd = os.open(f"{replica.root}/.intermezzo/rootset/{name}", os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            copy_as_after_a_crash(second_disk, third_disk)
            with mounted(third_disk, FILESET) as root:
                equal((Log.of_mount(root).received[0][:2], os.path.isdir(f"{root}/c")),
                      ((replica.peer, replica.recno), True), f"after fsync of {name}")
            Path(f"{replica.peer_root}/{name}").touch()
            os.mkdir(f"{replica.peer_root}/and-{name}")
            all_stored(replica.pull(most=2))


@intermezzo_only
def test_fids_that_name_no_replica(disk: str, second_disk: str) -> None:
    """An object cannot be the root's, or of a replica that is not in our table: no batch."""
    with two(disk, second_disk) as replica:
        peer = replica.peer_root
        os.mkdir(f"{peer}/d")
        Path(f"{peer}/d/f").write_bytes(b"body")
        rename(f"{peer}/d/f", f"{peer}/g", RENAME_WHITEOUT)
        os.rename(f"{peer}/g", f"{peer}/d/f")
        evil: list[tuple[int, tuple[int, int, int]]] = []
        while replica.recno < Log.of_mount(peer).first_recno + 4:
            op = next_operation(replica)
            kept = op.raw
            evil = [(OBJECT_AT, (5, 5, 77))]
            if op.record.op in ("create", "mkdir", "close"):
                evil.append((OBJECT_AT, (1, 0, 0)))
            if op.record.place:
                evil.append((item_at(kept, 1), (5, 5, 77)))
            if op.record.to:
                evil.append((item_at(kept, 2), (5, 5, 77)))
            if op.record.hint:
                evil.append((item_at(kept, 3), (5, 5, 77)))
            if op.record.replaced:
                evil.append((item_at(kept, 5), (5, 5, 77)))
            if op.record.whiteout:
                evil += [(item_at(kept, 6), (5, 5, 77)), (item_at(kept, 6), (1, 0, 0))]
            for at, fid in evil:
                op.raw = with_fid(kept, at, *fid)
                expect_errno(errno.EINVAL, send, replica, op)
            drop_bodies(replica)
            all_stored(replica.pull(most=1))
        same(peer, replica.root)


@intermezzo_only
def test_attributes_that_this_cache_cannot_hold(disk: str, second_disk: str) -> None:
    """A value longer than any may be, one that fits no block here, one that is the cache's own: refused."""
    for make, options in ((make_ext4, ""), (make_xfs, "cache_type=xfs"), (make_btrfs, "cache_type=btrfs")):
        make_ext4(disk, "-b", "4096")
        make(second_disk)
        with pair(disk, second_disk, options=options) as replica:
            Path(f"{replica.peer_root}/f").touch()
            os.setxattr(f"{replica.peer_root}/f", "user.abc", b"1")
            replica.look_at_peer(1)
            while next_record(replica)[0].op != "setxattr":
                all_stored(replica.pull(most=1))
            op = next_operation(replica)
            kept = op.raw
            wanted = {(b"user.abc", b"v" * 65537): "refused", (b"trusted.izo.x", b"1"): "refused"}
            if make is make_ext4:
                wanted[b"user.abc", b"v" * 10240] = "refused"
            if make is make_xfs:
                wanted[b"trusted.SGI_ACL_FILE", ACL_OF_XFS] = "refused"
            if make is make_btrfs:
                wanted[b"btrfs.compression", b"zlib"] = "refused"
            for (name, value), code in wanted.items():
                op.raw = with_xattr(kept, name, value)
                equal(send(replica, op), code, f"{options} {name.decode()} of {len(value)} bytes")
            os.mkdir(f"{replica.root}/writable")
            all_stored(replica.pull())
            equal(os.getxattr(f"{replica.root}/f", "user.abc"), b"1", "the attribute")


@intermezzo_only
def test_acls_where_this_cache_has_none(disk: str, second_disk: str) -> None:
    """A btrfs mounted `noacl`: an object gets the mode of an ACL, `inexact`; removing one is applied if it
    sets the mode, and finds none otherwise. An ACL that leaves the mode as it is is refused. A server records
    the mode."""
    for forward in (False, True):
        make_ext4(disk, "-b", "4096")
        make_btrfs(second_disk)
        with pair(disk, second_disk, forward=forward, options="cache_type=btrfs,noacl") as replica:
            peer, here = f"{replica.peer_root}/f", f"{replica.root}/f"
            Path(peer).touch()
            os.chmod(peer, 0o640)
            all_stored(replica.pull())
            for argument, code, mode in (("-mu:7:rwx", "inexact", 0o670), ("-b", "applied", 0o640),
                                         ("-mu:7:r", "refused", 0o640), ("-b", "missing", 0o640)):
                run("setfacl", argument, peer)
                what = f"setfacl {argument}, forward {forward}"
                said = replica.pull()[-1]
                equal((said.code, said.error), (code, -errno.EOPNOTSUPP if code == "inexact" else 0), what)
                modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (peer, here)]
                equal(modes, [mode, mode], f"{what}: the modes")
                if code in ("refused", "missing"):
                    pass_over(replica)
            equal(Log.of_mount(replica.root).received[0][:2], (replica.peer, replica.recno), "the position")
            os.sync()
            records = [r for r in Log.of_mount(replica.root).records() if r.op != "create"]
            equal([(r.op, stat.S_IMODE(r.attr["mode"])) for r in records],
                  [("setattr", 0o640), ("setattr", 0o670), ("setattr", 0o640)] if forward else [],
                  "what is recorded")


@intermezzo_only
def test_a_body_that_can_still_be_written_is_none(disk: str, second_disk: str) -> None:
    """A descriptor open for writing, a shared mapping: what is stored later would be in no record."""
    with two(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(b"body" * 2000)
        all_stored(replica.pull(most=1))
        op = next_operation(replica)
        writer = os.open(f"/proc/self/fd/{op.body}", os.O_RDWR)
        equal(send(replica, op), "refused", "open for writing")
        page = mmap.mmap(writer, 4096)
        os.close(writer)
        equal(send(replica, op), "refused", "mapped")
        page.close()
        equal(send(replica, op), "applied", "neither")
        drop_bodies(replica)
        same(replica.peer_root, replica.root)


@intermezzo_only
def test_a_clone_knows_what_it_has_seen(disk: str, second_disk: str) -> None:
    """A position set for the upstream replica counts as seen from the start."""
    with two(disk, second_disk) as replica:
        epoch = Log.of_mount(replica.peer_root).epoch
        position(replica.root, replica.peer, epoch, 1000, 5000, 1)
        os.mkdir(f"{replica.root}/d")
        os.sync()
        equal([r.seen for r in Log.of_mount(replica.root).records()], [1000], "seen")
        expect_errno(errno.EINVAL, position, replica.root, replica.peer, epoch, 1001, 5000, 4)
        umount(replica.root)
        mount_old(second_disk, replica.root, "intermezzo", FILESET)
        os.mkdir(f"{replica.root}/e")
        os.sync()
        equal([r.seen for r in Log.of_mount(replica.root).records()], [1000, 1000], "after a new mount")


@intermezzo_only
def test_a_tree_that_is_being_copied(disk: str, second_disk: str) -> None:
    """What an SML makes has no turn and moves no position; the log goes on in turn meanwhile. Over a new
    mount too, until the position says that the copy is whole."""
    with two(disk, second_disk) as replica:
        log = Log.of_mount(replica.peer_root)

        def received() -> list[tuple[bytes, int, int]]:
            return [slot[:2] for slot in Log.of_mount(replica.root).received]

        def operation(name: str) -> bytes:
            made = (one for one in raw_records(Log.of_mount(replica.peer_root))
                    if one[0].place and one[0].place.name == name.encode())
            return replica.operation(*next(made), {}).encode()

        def sml(*operations: bytes, flags: int = SML, epoch: int = log.epoch) -> list[str]:
            end = Log.of_mount(replica.root).end_of_committed
            done = submit(replica.root, replica.peer, epoch, list(operations), flags=flags, decided=end)
            return [one.code for one in done]

        expect_errno(errno.EINVAL, position, replica.root, replica.peer, 0, 0, 0, PARTIAL)
        position(replica.root, replica.peer, log.epoch, 0, log.first, UPSTREAM)
        for name in ("d", "e", "late"):
            os.mkdir(f"{replica.peer_root}/{name}")
        replica.look_at_peer(log.self_index)
        expect_errno(errno.EINVAL, sml, operation("d"))
        position(replica.root, replica.peer, log.epoch, 0, log.first, UPSTREAM | PARTIAL)
        expect_errno(errno.EINVAL, sml, operation("d"), flags=SML | FORWARD)
        record, raw = next(raw_records(Log.of_mount(replica.peer_root)))
        other = replica.operation(record, raw[:24] + struct.pack("<Q", log.epoch ^ 1) + raw[32:], {}).encode()
        expect_errno(errno.ESTALE, sml, other, epoch=log.epoch ^ 1)
        equal((sml(operation("late")), received()), (["applied"], [(replica.peer, 0)]), "out of turn")
        all_stored(replica.pull(2))
        equal(received(), [(replica.peer, 2)], "in turn")
        umount(replica.root)
        mount_old(second_disk, replica.root, "intermezzo", FILESET)
        equal((sml(operation("late")), sml(operation("d"), flags=0), received()),
              (["exists"], ["already"], [(replica.peer, 2)]), "once more")
        skipped = replica.operation(*list(raw_records(Log.of_mount(replica.peer_root)))[2], {})
        skipped.skip = 300
        equal((sml(skipped.encode()), received()), (["skipped"], [(replica.peer, 2)]), "skipped")
        os.mkdir(f"{replica.root}/own")
        os.sync()
        equal([r.seen for r in Log.of_mount(replica.root).records()], [2], "seen")
        equal((sml(skipped.encode(), flags=0), received()), (["skipped"], [(replica.peer, 3)]), "the last")
        position(replica.root, replica.peer, log.epoch, 3, log.first + 4096, UPSTREAM)
        expect_errno(errno.EINVAL, sml, operation("late"))
        equal(os.listdir(replica.root).count("late"), 1, "made once")


@intermezzo_only
def test_what_is_forwarded_is_all_that_the_peer_said(disk: str, second_disk: str) -> None:
    """That there are more attributes to fetch, that a file had been made nameless, a name of a body."""
    with two(disk, second_disk, forward=True) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        Path(f"{replica.peer_root}/d/f").touch()
        fd = os.open(replica.peer_root, os.O_TMPFILE | os.O_RDWR, 0o640)
        link_open_file(fd, f"{replica.peer_root}/named")
        os.close(fd)
        op = next_operation(replica)
        op.raw = reseal(op.raw[:FLAGS_AT] + struct.pack("<I", XATTRS_CUT) + op.raw[FLAGS_AT + 4:])
        equal(send(replica, op), "inexact", "a directory with attributes that are missing")
        replica.recno += 1
        replica.note_names(op.record)
        replica.know(op.record.object, "d")
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/d/f").write_bytes(b"body")
        all_stored(replica.pull())
        theirs = {r.recno: r for r in Log.of_mount(replica.peer_root).records()}
        os.sync()
        mine = {r.origin_recno: r for r in Log.of_mount(replica.root).records()}
        equal({n: r.flags | (XATTRS_CUT if n == op.record.recno else 0) for n, r in theirs.items()},
              {n: r.flags for n, r in mine.items()}, "flags")
        equal({n: r.attr for n, r in theirs.items() if r.op in ("create", "mkdir")},
              {n: r.attr for n, r in mine.items() if r.op in ("create", "mkdir")}, "attributes of births")
        equal([r.hint and r.hint.name for r in mine.values() if r.op == "close"], [b"named", b"f"],
              "names of bodies")


@intermezzo_only
def test_bodies_of_files_without_extents(disk: str, second_disk: str) -> None:
    """A cache that was ext3 once: a new body keeps the form that the cache gives it."""
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "1024", "-O", "^extents,^64bit")
    with pair(disk, second_disk) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(b"old" * 10000)
        all_stored(replica.pull())
        same(replica.peer_root, replica.root)
        umount(replica.root)
        run("tune2fs", "-O", "extents", second_disk)
        mount_old(second_disk, replica.root, "intermezzo", FILESET)
        Path(f"{replica.peer_root}/f").write_bytes(b"new" * 10000)
        all_stored(replica.pull())
        same(replica.peer_root, replica.root)
    check_ext(second_disk)


@intermezzo_only
def test_files_in_use_are_not_removed_under_their_writers(disk: str, second_disk: str) -> None:
    """A file that is open for writing here and has not been written yet: neither removed nor replaced."""
    with two(disk, second_disk) as replica:
        peer, here = replica.peer_root, replica.root
        for name in ("f", "g", "new"):
            Path(f"{peer}/{name}").touch()
        all_stored(replica.pull())
        for name, change in (("f", lambda: os.unlink(f"{peer}/f")),
                             ("g", lambda: os.rename(f"{peer}/new", f"{peer}/g"))):
            writer = os.open(f"{here}/{name}", os.O_WRONLY)
            change()
            equal(replica.pull()[-1].code, "busy", name)
            os.close(writer)
            all_stored(replica.pull())
        same(peer, here)


@intermezzo_only
def test_who_opens_a_file_for_writing_gets_the_one_that_has_the_name(disk: str, second_disk: str) -> None:
    """Opens, a reader's O_TRUNC too, and a truncate that have looked the name up while a new body was on its
    way to it."""
    with two(disk, second_disk, forward=True) as replica:
        Path(f"{replica.peer_root}/f").write_bytes(b"old")
        all_stored(replica.pull())
        path = f"{replica.root}/f"
        for number, use in enumerate((lambda: os.open(path, os.O_WRONLY),
                                      lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
                                      lambda: os.truncate(path, 2))):
            Path(f"{replica.peer_root}/f").write_bytes(b"new %d" % number)
            op = next_operation(replica)
            os.sync()
            submitted: list[Result] = []
            batch = (replica.root, replica.peer, Log.of_mount(replica.peer_root).epoch, [op.encode()])
            end = Log.of_mount(replica.root).end_of_committed
            sender = threading.Thread(target=lambda batch=batch, end=end, said=submitted: said.extend(
                submit(*batch, flags=FORWARD, decided=end)))
            with going_wrong(LINGER):
                sender.start()
                await_linger(sender)
                fd = use()
                sender.join()
            equal([r.code for r in submitted], ["applied"], "the body")
            replica.recno += 1
            replica.handles[op.record.object] = (submitted[0].ino, submitted[0].generation)
            drop_bodies(replica)
            if fd is not None:
                equal(os.fstat(fd).st_nlink, 1, "the file that was opened")
                os.close(fd)
        equal(os.stat(path).st_size, 2, "the file that was cut")


@intermezzo_only
def test_directories_of_any_depth_are_found(disk: str, second_disk: str) -> None:
    """By its handle, one that nobody has in use, 2,100 levels below the root."""
    levels = 2100
    make_ext4(disk, "-b", "4096")
    make_ext4(second_disk, "-b", "1024")
    debugfs_write(second_disk, *("mkdir d", "cd d") * levels)
    with pair(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        peers = next_record(replica)[0].object
        pass_over(replica)
        with bottom(replica.root, levels) as here:
            deep = fid_of(b"/proc/self/fd/%d/." % here, 0)
        replica.handles[peers], replica.hints = (deep.ino, deep.generation), False
        os.mkdir(f"{replica.peer_root}/d/made")
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
        all_stored(replica.pull())
        with bottom(replica.root, levels) as here:
            equal(os.listdir(f"/proc/self/fd/{here}"), ["made"], "what is there")
    check_ext(second_disk)


@intermezzo_only
def test_names_of_other_subvolumes(disk: str, second_disk: str) -> None:
    """A name that is another subvolume here is this machine's own: nothing is made or renamed there."""
    make_ext4(disk, "-b", "4096")
    make_btrfs(second_disk)
    with mounted(second_disk, fstype="btrfs") as root:
        os.mkdir(f"{root}/.intermezzo", 0o700)
        run("btrfs", "subvolume", "create", f"{root}/taken")
    with pair(disk, second_disk, options="cache_type=btrfs") as replica:
        peer = replica.peer_root
        for name in ("d", "taken"):
            os.mkdir(f"{peer}/{name}")
        equal(replica.pull()[-1].code, "class", "made")
        pass_over(replica)
        os.rmdir(f"{peer}/taken")
        equal(replica.pull()[-1].code, "class", "removed")
        pass_over(replica)
        os.rename(f"{peer}/d", f"{peer}/taken")
        equal(replica.pull()[-1].code, "class", "renamed")
        equal(os.path.isdir(f"{replica.root}/d"), True, "what is there")


@intermezzo_only
def test_a_log_below_a_project_of_its_own(disk: str, second_disk: str) -> None:
    """Where everything below the cache's root inherits a project, a body of another one still passes by the
    log's directory, as it must without a journal."""
    for device, features in ((disk, "quota"), (second_disk, "quota,^has_journal")):
        make_ext4(device, "-b", "4096", "-I", "256", "-O", features, "-E", "quotatype=usrquota:prjquota")
    with mounted(second_disk, fstype="ext4") as root:
        run("chattr", "+P", "-p", "5", root)
    with pair(disk, second_disk) as replica:
        os.mkdir(f"{replica.peer_root}/d")
        run("chattr", "+P", "-p", "7", f"{replica.peer_root}/d")
        Path(f"{replica.peer_root}/d/f").touch()
        all_stored(replica.pull())
        Path(f"{replica.peer_root}/d/f").write_bytes(b"body")
        all_stored(replica.pull())
        equal(Path(f"{replica.root}/d/f").read_bytes(), b"body", "the body")
        equal(run("lsattr", "-p", f"{replica.root}/d/f").split()[0], "7", "its project")
