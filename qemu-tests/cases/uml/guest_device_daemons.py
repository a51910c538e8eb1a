# SPDX-License-Identifier: GPL-2.0
"""Daemons that block, die and come back, and file systems that go meanwhile: nobody waits for the daemon (I4,
I11), no question is lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import random
import signal
import threading
import time
from typing import Iterator

from guest.device import LARGEST, Daemon, Upcall, answer_bytes, await_calm, decode, sync_log
from guest.disks import check_ext, make_ext4, run
from guest.expect import equal, expect_errno, intermezzo_only, process_state, start_child, wait_until
from guest.mounting import mount_old, umount, umount_lazily
from guest.subject import FILESET, mount_point, mounted

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
RARELY = "fileset=rootset,commit=300"


class Reader:
    """A process that reads upcalls, blocking, and passes them on."""

    def __init__(self, daemon: Daemon, count: int = 1) -> None:
        self._pipe, writer = os.pipe()

        def work() -> None:
            for _ in range(count):
                os.write(writer, os.read(daemon.fd, LARGEST).ljust(LARGEST, b"\0"))
        self.pid = start_child(work)
        os.close(writer)

    def await_blocked(self) -> None:
        """Until it sleeps in the device."""
        wait_until(lambda: process_state(self.pid) == "S", "the reader blocks")

    def read(self) -> Upcall:
        """What it has read next."""
        data = b""
        while len(data) < LARGEST:
            part = os.read(self._pipe, LARGEST - len(data))
            if not part:
                raise AssertionError("the reader has ended")
            data += part
        return decode(data[:int.from_bytes(data[:4], "little")])

    def end(self, signal_number: int = 0) -> int:
        """Wait for it; its status."""
        if signal_number:
            os.kill(self.pid, signal_number)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self._pipe)
        return status


@contextlib.contextmanager
def reading(daemon: Daemon, count: int = 1) -> Iterator[Reader]:
    """A reader that blocks in the device."""
    reader = Reader(daemon, count)
    reader.await_blocked()
    yield reader
    equal(reader.end(), 0, "status of the reader")


@intermezzo_only
def test_mount_and_umount_wake_a_blocked_reader(disk: str, where: str) -> None:
    """A reader that blocks gets MOUNTED, KML_GREW and GONE; the umount does not wait for it."""
    make_ext4(disk)
    with Daemon(blocking=True) as daemon:
        with reading(daemon) as reader:
            mount_old(disk, where, "intermezzo", FILESET)
            upcall = reader.read()
        equal(upcall.said, ("mounted", "rootset"), "told of the mount")
        daemon.answer(upcall)
        equal(daemon.grew().epoch, upcall.epoch, "told of the log")
        with reading(daemon) as reader:
            umount(where)
            equal(reader.read().said, ("gone", "rootset"), "told of the umount")
    check_ext(disk)


@intermezzo_only
def test_commit_wakes_a_blocked_reader(disk: str, where: str) -> None:
    """First the first record that is not committed, then the commit itself; nobody else asks for one."""
    make_ext4(disk)
    with mounted(disk, RARELY, where=where), Daemon(blocking=True) as daemon:
        await_calm(where)
        daemon.serve()
        for number in range(3):
            with reading(daemon) as reader:
                os.mkdir(f"{where}/d{number}")
                grew = reader.read()
            equal((grew.committed_recno, grew.recno), (2 * number, 2 * number + 1), "told of the change")
            with reading(daemon) as reader:
                os.rmdir(f"{where}/d{number}")
                reader.await_blocked()
                sync_log(where)
                grew = reader.read()
            equal((grew.committed_recno, grew.recno), (2 * number + 2,) * 2, "told of the commit")


@intermezzo_only
def test_second_mount_of_a_channel_under_a_blocked_reader(disk: str, second_disk: str, where: str) -> None:
    """Filesets come and go in any order while a reader blocks; each GONE is of the right one."""
    make_ext4(disk)
    make_ext4(second_disk)
    other = mount_point()
    with Daemon(blocking=True) as daemon:
        mount_old(disk, where, "intermezzo", "fileset=a,channel=0")
        daemon.serve("a")
        with reading(daemon, 3) as reader:
            mount_old(second_disk, other, "intermezzo", "fileset=b,channel=0")
            mounted_b = reader.read()
            equal(mounted_b.said, ("mounted", "b"), "the second one")
            equal(reader.read().said, ("grew", "b"), "its log")
            reader.await_blocked()
            umount(where)
            equal(reader.read().said, ("gone", "a"), "the first one")
        daemon.answer(mounted_b)
        umount(other)
        equal(daemon.next().said, ("gone", "b"), "the second one")


@intermezzo_only
def test_lazy_umount_is_told_when_the_last_user_is_gone(disk: str, where: str) -> None:
    """GONE is of the file system, not of its name in the tree."""
    make_ext4(disk)
    with Daemon() as daemon:
        mount_old(disk, where, "intermezzo", FILESET)
        daemon.serve()
        fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
        umount_lazily(where)
        equal([u.type for u in daemon.waiting() if u.type != "grew"], [], "while a file is open")
        os.close(fd)
        upcall = daemon.next()
        while upcall.type == "grew":
            upcall = daemon.next()
        equal(upcall.said, ("gone", "rootset"), "after the last close")


@intermezzo_only
def test_signals_end_a_blocked_read(disk: str) -> None:
    """A caught signal interrupts, SIGKILL ends it at once; the channel is free with the process's end."""
    make_ext4(disk)

    class Caught(Exception):
        """From the handler."""

    def handler(*unused: object) -> None:
        raise Caught()
    old = signal.signal(signal.SIGALRM, handler)
    with Daemon(blocking=True) as daemon:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            daemon.read()
            raise AssertionError("the read gave something")
        except Caught:
            pass
        reader = Reader(daemon)
        reader.await_blocked()
    signal.signal(signal.SIGALRM, old)
    # the reader alone has the device now
    expect_errno(errno.EBUSY, Daemon)
    equal(reader.end(signal.SIGKILL), signal.SIGKILL, "status of the killed reader")
    with Daemon() as daemon:
        equal(daemon.waiting(), [], "upcalls")


@intermezzo_only
def test_each_of_two_readers_gets_its_own(disk: str, second_disk: str, where: str) -> None:
    """Two processes and two threads that block in one device share the upcalls, none twice, none lost."""
    make_ext4(disk)
    make_ext4(second_disk)
    other = mount_point()
    with Daemon(blocking=True) as daemon:
        readers = [Reader(daemon), Reader(daemon)]
        for reader in readers:
            reader.await_blocked()
        mount_old(disk, where, "intermezzo", "fileset=a,channel=0,ro")
        mount_old(second_disk, other, "intermezzo", "fileset=b,channel=0,ro")
        got = [reader.read() for reader in readers]
        equal(sorted(u.said for u in got), [("mounted", "a"), ("mounted", "b")], "what two processes read")
        for reader in readers:
            equal(reader.end(), 0, "status")
        seen: list[Upcall] = []
        threads = [threading.Thread(target=lambda: seen.append(daemon.read())) for _ in range(2)]
        for thread in threads:
            thread.start()
        umount(where)
        umount(other)
        for thread in threads:
            thread.join(20)
        equal(sorted(u.said for u in seen), [("gone", "a"), ("gone", "b")], "what two threads read")


@intermezzo_only
def test_unanswered_questions_go_to_the_next_daemon(disk: str, second_disk: str, where: str) -> None:
    """What was read and not answered keeps its number; what was answered is told anew."""
    make_ext4(disk)
    make_ext4(second_disk)
    with mounted(disk, "fileset=a,channel=0,ro", where=where), \
            mounted(second_disk, "fileset=b,channel=0,ro"):
        with Daemon() as daemon:
            first = {u.name: u for u in daemon.waiting()}
            daemon.answer(first["a"])
        with Daemon() as daemon:
            second = {u.name: u for u in daemon.waiting()}
            equal(second["b"].id, first["b"].id, "number of the question that was not answered")
            equal(second["a"].id > first["b"].id, True, "number of the one that was")
            expect_errno(errno.ENOENT, daemon.answer, first["a"])
            daemon.answer(second["b"])
            daemon.answer(second["a"])
        with Daemon() as daemon:
            equal(sorted(u.name for u in daemon.waiting()), ["a", "b"], "told to the one after")


@intermezzo_only
def test_killed_daemon_s_questions_go_to_the_next(disk: str, where: str) -> None:
    """kill -9 after reading a question, and in the middle of the next read."""
    make_ext4(disk)
    with mounted(disk, RARELY, where=where):
        known = None
        for _ in range(5):
            daemon = Daemon(blocking=True)
            reader = Reader(daemon, 3)  # MOUNTED and KML_GREW, then it blocks
            daemon.close()
            upcall = reader.read()
            equal(upcall.said, ("mounted", "rootset"), "the question")
            equal(known in (None, upcall.id), True, f"number {upcall.id}, before {known}")
            known = upcall.id
            equal(reader.read().type, "grew", "the growth is told to each")
            reader.await_blocked()
            equal(reader.end(signal.SIGKILL), signal.SIGKILL, "status")
        with Daemon() as daemon:
            equal(daemon.next().id, known, "the question in the end")


@intermezzo_only
def test_a_newer_state_replaces_the_question(disk: str, where: str) -> None:
    """A MOUNTED that was read before a remount cannot be answered any more: the newer one can."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where), Daemon() as daemon:
        old = daemon.next()
        daemon.grew()
        run("mount", "-i", "-o", "remount,ro", where)
        new = daemon.next()
        equal((new.said, new.read_only), (old.said, True), "the newer one")
        expect_errno(errno.ENOENT, daemon.answer, old)
        daemon.answer(new)


@intermezzo_only
def test_umount_takes_the_question_back(disk: str, where: str) -> None:
    """After the umount an answer finds no question, for the daemon that read it and for the next."""
    make_ext4(disk)
    daemon = Daemon()
    mount_old(disk, where, "intermezzo", FILESET)
    upcall = daemon.next()
    umount(where)
    expect_errno(errno.ENOENT, daemon.answer, upcall)
    daemon.close()
    with Daemon() as daemon:
        equal(daemon.waiting(), [], "what the next daemon is told")
        expect_errno(errno.ENOENT, daemon.answer, upcall)


@intermezzo_only
def test_nobody_waits_for_a_stopped_daemon(disk: str, second_disk: str, where: str) -> None:
    """With the daemon stopped (SIGSTOP) in the middle of its work everything goes on (I11)."""
    make_ext4(disk)
    make_ext4(second_disk)

    def work() -> None:
        with Daemon(blocking=True) as daemon:
            while True:
                upcall = daemon.read()
                if upcall.asks:
                    daemon.answer(upcall)
    with mounted(disk, FILESET, where=where):
        child = start_child(work)
        wait_until(lambda: process_state(child) == "S", "the daemon waits")
        os.kill(child, signal.SIGSTOP)
        for number in range(200):
            with open(f"{where}/f{number}", "wb") as stream:
                stream.write(b"x" * 5000)
        os.sync()
        with mounted(second_disk, "fileset=other,channel=0") as other:
            os.mkdir(f"{other}/d")
        for _ in range(3):
            run("mount", "-i", "-o", "remount,ro", where)
            run("mount", "-i", "-o", "remount,rw", where)
    os.kill(child, signal.SIGKILL)
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    check_ext(disk)
    check_ext(second_disk)


@intermezzo_only
def test_daemon_s_own_page_fault_holds_up_nobody(disk: str, second_disk: str, where: str) -> None:
    """A daemon whose buffer is a mapping of a file on a frozen fileset waits for the thaw, alone; then it has
    its upcall."""
    make_ext4(disk)
    make_ext4(second_disk)
    with mounted(disk, FILESET, where=where), Daemon() as daemon:
        daemon.serve()
        fd = os.open(f"{where}/buffer", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, mmap.PAGESIZE)
        os.fsync(fd)
        buffer = mmap.mmap(fd, mmap.PAGESIZE)
        other = mount_point()
        folder = os.open(where, os.O_RDONLY)
        daemon.waiting()
        fcntl.ioctl(folder, FIFREEZE, 0)
        mount_old(second_disk, other, "intermezzo", "fileset=other,channel=0,ro")

        def work() -> None:
            size = os.readv(daemon.fd, [buffer])
            equal(decode(buffer[:size]).said, ("gone", "other"), "read after the thaw")
        child = start_child(work)
        wait_until(lambda: process_state(child) == "D", "the reader waits for its page")
        equal(daemon.next().said, ("mounted", "other"), "what another one reads meanwhile")
        umount(other)
        fcntl.ioctl(folder, FITHAW, 0)
        equal(os.waitpid(child, 0)[1], 0, "status of the reader")
        buffer.close()
        os.close(fd)
        os.close(folder)
    check_ext(disk)


@intermezzo_only
def test_mounts_and_daemons_at_random(disk: str, second_disk: str, where: str) -> None:
    """Mounts come and go, daemons read, answer, stop and are killed, at random: what each daemon is told
    makes sense, and nothing is left."""
    make_ext4(disk)
    make_ext4(second_disk)
    end = time.monotonic() + 8

    def mounts(device: str, target: str, name: str) -> None:
        chance = random.Random(name)
        while time.monotonic() < end:
            mount_old(device, target, "intermezzo", f"fileset={name},channel=0,commit=1")
            for number in range(chance.randrange(4)):
                os.mkdir(f"{target}/d{number}")
                os.rmdir(f"{target}/d{number}")
            if chance.randrange(2):
                run("mount", "-i", "-o", "remount,ro", target)
            umount(target)

    def serve() -> None:
        known: set[str] = set()
        with Daemon(blocking=True) as daemon:
            chance = random.Random(os.getpid())
            while True:
                upcall = daemon.read()
                if upcall.type == "mounted":
                    known.add(upcall.name)
                    if chance.randrange(3):
                        try:
                            daemon.answer(upcall)
                        except OSError as error:
                            equal(error.errno, errno.ENOENT, "error of an answer")
                else:
                    equal(upcall.name in known, True, f"{upcall.said} of a fileset that was MOUNTED")
                if upcall.type == "gone":
                    known.remove(upcall.name)
    other = mount_point()
    workers = [start_child(lambda: mounts(disk, where, "a")),
               start_child(lambda: mounts(second_disk, other, "b"))]
    chance = random.Random(1)
    while time.monotonic() < end:
        daemon = start_child(serve)
        time.sleep(chance.random() / 5)  # how long it lives is the point
        os.kill(daemon, signal.SIGKILL)
        equal(os.waitpid(daemon, 0)[1], signal.SIGKILL, "the daemon's status")
    for worker in workers:
        equal(os.waitpid(worker, 0)[1], 0, "status of a mounter")
    with Daemon() as last:
        equal(last.waiting(), [], "what is left")
        expect_errno(errno.ENOENT, os.write, last.fd, answer_bytes(1))
    check_ext(disk)
    check_ext(second_disk)
