# SPDX-License-Identifier: GPL-2.0
"""Mounting and unmounting, freezing, syncing, dropping caches: the life of a mount, and what the disk looks
like after."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import time

from guest.disks import check_ext, make_ext4, needs_recovery, run
from guest.expect import equal, expect_errno, wait_until
from guest.mounting import mount_new, mount_old, mounts, umount, umount_lazily
from guest.subject import FILESET, FSTYPE, mounted
from guest.syscalls import MNT_FORCE, call, syncfs
from guest.tree import differences, manifest

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


def drop_caches(what: int = 3) -> None:
    """Throw out everything clean."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write(str(what))


def work(folder: str, number: int) -> None:
    """A little of everything."""
    os.makedirs(f"{folder}/d{number}/sub", exist_ok=True)
    for name in range(10):
        with open(f"{folder}/d{number}/f{name}", "wb") as stream:
            stream.write(os.urandom(3000 * name))
    os.rename(f"{folder}/d{number}/f1", f"{folder}/d{number}/sub/f1")
    os.link(f"{folder}/d{number}/f2", f"{folder}/d{number}/sub/f2")
    os.symlink("sub", f"{folder}/d{number}/s")
    os.setxattr(f"{folder}/d{number}/f3", "user.k", b"v" * 100)
    os.unlink(f"{folder}/d{number}/f4")
    fd = os.open(f"{folder}/d{number}", os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"x" * 9000)
    os.close(fd)


def test_thirty_mounts_leave_a_clean_disk(disk: str, where: str) -> None:
    """30 mounts with work in each: the disk is free at once, clean, and has everything."""
    make_ext4(disk)
    for number in range(30):
        (mount_old if number % 2 else mount_new)(disk, where, FSTYPE, FILESET)
        work(where, number)
        umount(where)
        if number % 10 == 9:
            equal(needs_recovery(disk), False, "needs journal recovery")
            check_ext(disk)
    with mounted(disk, where=where):
        equal(len([n for n in os.listdir(where) if n.startswith("d")]), 30, "directories")
    check_ext(disk)


def test_umount_frees_the_device_at_once(disk: str, where: str) -> None:
    """umount followed by an exclusive open (fsck) never finds the device busy, 25 times."""
    make_ext4(disk)
    for number in range(25):
        mount_old(disk, where, FSTYPE, FILESET)
        with open(f"{where}/f{number}", "wb") as stream:
            stream.write(b"x" * 5000)
        umount(where)
        os.close(os.open(disk, os.O_RDWR | os.O_EXCL))


def test_umount_while_busy(disk: str, where: str) -> None:
    """An open file, a working directory, a mapping and a mount below keep the mount: EBUSY."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, FILESET)
    fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 4096)
    expect_errno(errno.EBUSY, umount, where)
    expect_errno(errno.EBUSY, umount, where, MNT_FORCE)
    address = call("mmap", None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    expect_errno(errno.EBUSY, umount, where)
    call("munmap", address, 4096)
    os.chdir(where)
    expect_errno(errno.EBUSY, umount, where)
    os.chdir("/")
    os.mkdir(f"{where}/below")
    mount_old("none", f"{where}/below", "tmpfs")
    expect_errno(errno.EBUSY, umount, where)
    umount(f"{where}/below")
    umount(where)
    check_ext(disk)


def test_lazy_umount_with_an_open_file(disk: str, where: str) -> None:
    """After a lazy umount an open file goes on working; with its close the device is free."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, FILESET)
    fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
    umount_lazily(where)
    equal(os.path.exists(f"{where}/f"), False, "visible after the lazy umount")
    os.write(fd, b"written after the umount")
    expect_errno(errno.EBUSY, os.open, disk, os.O_RDONLY | os.O_EXCL)
    os.close(fd)
    wait_until(lambda: exclusively_openable(disk), "the device is free after the close")
    check_ext(disk)
    with mounted(disk, where=where):
        with open(f"{where}/f", "rb") as stream:
            equal(stream.read(), b"written after the umount", "content")


def exclusively_openable(device: str) -> bool:
    """Whether nobody holds the device."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return False
    return True


def test_lazy_umount_with_a_mapping(disk: str, where: str) -> None:
    """A mapping alone keeps the file system alive after a lazy umount and its stores are not lost."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, FILESET)
    fd = os.open(f"{where}/f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 8192)
    mapping = mmap.mmap(fd, 8192)
    os.close(fd)
    umount_lazily(where)
    mapping[5000:5004] = b"late"
    mapping.close()
    wait_until(lambda: exclusively_openable(disk), "the device is free after munmap")
    check_ext(disk)
    with mounted(disk, where=where):
        with open(f"{where}/f", "rb") as stream:
            equal(stream.read()[5000:5004], b"late", "content")


def test_process_death_while_writing(disk: str, where: str) -> None:
    """Processes killed in the middle of everything leave nothing that keeps the mount."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, FILESET)
    for number in range(5):
        child = os.fork()
        if child == 0:
            while True:
                work(f"{where}", number)
                run("rm", "-rf", f"{where}/d{number}")
        wait_until(lambda n=number: os.path.exists(f"{where}/d{n}"), "the child works")  # type: ignore[misc]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    wait_until(lambda: all_dead("rm"), "rm is gone")
    umount(where)
    check_ext(disk)


def all_dead(name: str) -> bool:
    """No process of that name."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                if comm.read().strip() == name:
                    return False
        except OSError:
            continue
    return True


def test_tree_is_the_same_warm_cold_and_remounted(disk: str, where: str) -> None:
    """Contents, attributes and links read the same from caches, from the disk, and after a new mount."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        for number in range(3):
            work(where, number)
        for name in ("f5", "f6"):
            os.chmod(f"{where}/d0/{name}", 0o4711)
            os.utime(f"{where}/d0/{name}", ns=(10**18 + 1, 10**18 + 3))
        warm = manifest(where, with_times=True)
        os.sync()
        drop_caches()
        lines = differences(warm, manifest(where, with_times=True))
        equal(lines, [], "differences after drop_caches")
    with mounted(disk, where=where):
        equal(differences(warm, manifest(where, with_times=True)), [], "differences after a new mount")
    with mounted(disk, fstype="ext4", where=where):
        plain = manifest(where, with_times=True)
        plain = {path: said for path, said in plain.items() if not path.startswith(".intermezzo")}
        for each in (plain, warm):
            each.pop(".")
        equal(differences(warm, plain), [], "differences to what plain ext4 sees")


def test_inode_numbers_survive_cache_drops(disk: str, where: str) -> None:
    """An inode number is the same before and after its inode was dropped, and hard links stay one."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        work(where, 1)
        numbers = {name: os.stat(f"{where}/d1/{name}").st_ino for name in os.listdir(f"{where}/d1")}
        fd = os.open(f"{where}/d1/f5", os.O_RDONLY)
        drop_caches()
        for name, number in numbers.items():
            equal(os.stat(f"{where}/d1/{name}").st_ino, number, name)
        equal(os.fstat(fd).st_ino, numbers["f5"], "open file")
        equal(os.stat(f"{where}/d1/sub/f2").st_ino, numbers["f2"], "hard link")
        os.close(fd)


def test_dropping_caches_under_load(disk: str, where: str) -> None:
    """drop_caches 40 times while four processes work: nobody sees an error, the disk stays clean."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        children = []
        for worker in range(4):
            child = os.fork()
            if child == 0:
                for _ in range(6):
                    work(where, worker)
                    run("rm", "-rf", f"{where}/d{worker}")
                os._exit(0)
            children.append(child)
        for number in range(40):
            drop_caches(number % 3 + 1)
        for child in children:
            equal(os.waitpid(child, 0)[1], 0, "worker")
    check_ext(disk)


def frozen_write(path: str) -> int:
    """Start a process that writes; its id."""
    child = os.fork()
    if child == 0:
        with open(path, "wb") as stream:
            stream.write(b"after the thaw")
        os._exit(0)
    return child


def is_blocked(pid: int) -> bool:
    """Whether a process waits in the kernel."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] in "DS"


def test_freeze_blocks_writers_until_the_thaw(disk: str, where: str) -> None:
    """FIFREEZE stops every writer, readers go on, the frozen disk is consistent, FITHAW lets writers
    finish."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        work(where, 1)
        fd = os.open(f"{where}/mapped", os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 4096)
        folder = os.open(where, os.O_RDONLY)
        fcntl.ioctl(folder, FIFREEZE, 0)
        expect_errno(errno.EBUSY, fcntl.ioctl, folder, FIFREEZE, 0)
        equal(needs_recovery(disk), False, "the frozen disk needs recovery")
        writers = [frozen_write(f"{where}/new{n}") for n in range(3)]
        faulting = os.fork()
        if faulting == 0:
            mapping = mmap.mmap(fd, 4096)
            mapping[0] = 1
            os._exit(0)
        for child in [*writers, faulting]:
            wait_until(lambda pid=child: is_blocked(pid), "the writer waits")  # type: ignore[misc]
        equal(os.path.exists(f"{where}/new0"), False, "a file made while frozen")
        equal(len(os.listdir(f"{where}/d1")) > 5, True, "reading works")
        for child in [*writers, faulting]:
            equal(os.waitpid(child, os.WNOHANG)[0], 0, "a writer that went on while frozen")
        fcntl.ioctl(folder, FITHAW, 0)
        for child in [*writers, faulting]:
            equal(os.waitpid(child, 0)[1], 0, "writer after the thaw")
        expect_errno(errno.EINVAL, fcntl.ioctl, folder, FITHAW, 0)
        os.close(folder)
        os.close(fd)
    check_ext(disk)


def test_closing_files_while_frozen(disk: str, where: str) -> None:
    """A written and a deleted file can be closed while frozen, by a process that is then free to thaw."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        written = os.open(f"{where}/written", os.O_CREAT | os.O_RDWR)
        os.write(written, b"x" * 50000)
        folder = os.open(where, os.O_RDONLY)
        fcntl.ioctl(folder, FIFREEZE, 0)
        os.close(written)
        fcntl.ioctl(folder, FITHAW, 0)
        os.close(folder)
    check_ext(disk)


def test_freezing_again_and_again_under_load(disk: str, where: str) -> None:
    """Thirty freezes and thaws while processes create, write, map and delete."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        children = []
        for worker in range(3):
            child = os.fork()
            if child == 0:
                end = time.monotonic() + 4
                while time.monotonic() < end:
                    work(where, worker)
                    run("rm", "-rf", f"{where}/d{worker}")
                os._exit(0)
            children.append(child)
        folder = os.open(where, os.O_RDONLY)
        for _ in range(30):
            fcntl.ioctl(folder, FIFREEZE, 0)
            fcntl.ioctl(folder, FITHAW, 0)
        os.close(folder)
        for child in children:
            equal(os.waitpid(child, 0)[1], 0, "worker")
    check_ext(disk)


def test_umount_of_a_frozen_mount(disk: str, where: str) -> None:
    """A frozen file system whose last mount goes lazily is thawed and freed, as ext4 does it."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, FILESET)
    work(where, 1)
    run("fsfreeze", "--freeze", where)
    run("fsfreeze", "--unfreeze", where)
    umount(where)
    check_ext(disk)


def test_synced_data_is_on_the_disk(disk: str, where: str) -> None:
    """After fsync and after syncfs the data is found on the disk below, before any umount."""
    make_ext4(disk, "-b", "4096")
    with mounted(disk, FILESET, where=where):
        for name, sync in (("by-fsync", os.fsync), ("by-syncfs", lambda _: syncfs(where))):
            marker = os.urandom(4096)
            fd = os.open(f"{where}/{name}", os.O_CREAT | os.O_WRONLY)
            os.write(fd, marker)
            sync(fd)
            os.close(fd)
            drop_caches(1)  # or the device's own page cache answers from the time before
            with open(disk, "rb") as device:
                found = any(marker in block for block in iter(lambda: device.read(1 << 20), b""))
            equal(found, True, f"data on the disk {name}")


def test_mounts_disappear_from_the_tables(disk: str, where: str) -> None:
    """Nothing of a mount is left in mountinfo after the umount, nor is the private one ever shown."""
    make_ext4(disk)
    before = len(list(mounts()))
    with mounted(disk, FILESET, where=where):
        equal(len(list(mounts())), before + 1, "mounts while mounted")
        equal([m.fstype for m in mounts() if m.source == disk], [FSTYPE], "mounts of the device")
    equal(len(list(mounts())), before, "mounts after")


def test_mount_namespaces_keep_it_alive(disk: str, where: str) -> None:
    """A process in another mount name space keeps the device; with its end it is free."""
    make_ext4(disk)
    mount_old(disk, where, FSTYPE, FILESET)
    reader, writer = os.pipe()
    done_reader, done_writer = os.pipe()
    child = os.fork()
    if child == 0:
        call("unshare", 0x20000)
        os.write(writer, b"x")
        os.read(done_reader, 1)
        os.mkdir(f"{where}/still-there")
        os._exit(0)
    os.read(reader, 1)
    umount(where)
    expect_errno(errno.EBUSY, os.open, disk, os.O_RDONLY | os.O_EXCL)
    os.write(done_writer, b"x")
    equal(os.waitpid(child, 0)[1], 0, "child")
    wait_until(lambda: exclusively_openable(disk), "the device is free")
    with mounted(disk, where=where):
        os.stat(f"{where}/still-there")


def test_concurrent_mounts_and_umounts(disk: str, where: str) -> None:
    """Processes mounting and unmounting one device at once get it, share it or are told EBUSY; nothing
    leaks."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        pass
    children = []
    for worker in range(4):
        child = os.fork()
        if child == 0:
            place = f"{where}-{worker}"
            os.mkdir(place)
            for number in range(12):
                fstype = "ext4" if worker == 3 else FSTYPE
                try:
                    mount_old(disk, place, fstype)
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        os._exit(1)
                    continue
                os.makedirs(f"{place}/d{worker}-{number}")
                umount(place)
            os._exit(0)
        children.append(child)
    for child in children:
        equal(os.waitpid(child, 0)[1], 0, "mounter")
    wait_until(lambda: exclusively_openable(disk), "the device is free")
    check_ext(disk)


def test_crash_is_recovered_by_the_journal(disk: str, second_disk: str, where: str) -> None:
    """A copy of the disk taken while mounted mounts again, with the journal replayed and synced files
    whole."""
    make_ext4(disk, size="24M")
    with mounted(disk, FILESET, where=where):
        work(where, 1)
        syncfs(where)
        with open(disk, "rb") as source, open(second_disk, "r+b") as target:
            for _ in range(24):
                target.write(source.read(1 << 20))
        expected = manifest(f"{where}/d1")
    if not needs_recovery(second_disk):
        raise AssertionError("the copy was clean: the case proves nothing")
    with mounted(second_disk, FILESET, where=where):
        equal(differences(expected, manifest(f"{where}/d1")), [], "differences")
    check_ext(second_disk)
