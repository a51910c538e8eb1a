# SPDX-License-Identifier: GPL-2.0
"""Memory maps: one page cache for read, write and every mapping, also after the descriptor is closed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal

from guest.expect import equal, expect_errno, in_child, provokes, unlike_tmpfs, wait_until
from guest.syscalls import call, syncfs
from guest.tree import Tree

ALSO_ON = "vintermezzo"

PAGE = 4096
SHARED_RW = {"flags": mmap.MAP_SHARED, "prot": mmap.PROT_READ | mmap.PROT_WRITE}


def map_file(path: str, length: int = 0, **named: int) -> mmap.mmap:
    """Map a file and close its descriptor. Python keeps a duplicate, so the mapping is made with our own."""
    fd = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(fd, length, **(named or SHARED_RW))
    finally:
        os.close(fd)


class RawMapping:
    """A shared mapping with no descriptor left anywhere: mmap(2) itself, then close."""

    def __init__(self, path: str, length: int) -> None:
        fd = os.open(path, os.O_RDWR)
        self.length = length
        self.address = call("mmap", None, length, 3, 1, fd, 0)
        os.close(fd)

    def store(self, at: int, data: bytes) -> None:
        """Write through the mapping."""
        ctypes.memmove(self.address + at, data, len(data))

    def load(self, at: int, length: int) -> bytes:
        """Read through the mapping."""
        return ctypes.string_at(self.address + at, length)

    def close(self) -> None:
        """Unmap."""
        call("munmap", self.address, self.length)


def test_mapping_and_read_are_coherent(tree: Tree) -> None:
    """A store is read(2) at once and a write(2) is seen in the mapping, through two opens."""
    tree.write("f", b"a" * (4 * PAGE))
    mapping = map_file("f")
    other = os.open("f", os.O_RDWR)
    mapping[PAGE:PAGE + 5] = b"store"
    equal(os.pread(other, 5, PAGE), b"store", "read after store")
    os.pwrite(other, b"write", 3 * PAGE)
    equal(mapping[3 * PAGE:3 * PAGE + 5], b"write", "load after write")
    second = map_file("f")
    second[0:6] = b"second"
    equal(mapping[0:6], b"second", "two mappings")
    for each in (mapping, second):
        each.close()
    os.close(other)


def test_store_after_the_last_close(tree: Tree) -> None:
    """A mapping without a descriptor goes on writing the file."""
    tree.write("f", b"b" * (2 * PAGE))
    mapping = RawMapping("f", 2 * PAGE)
    mapping.store(10, b"late")
    equal(tree.read("f")[10:14], b"late", "content")
    syncfs(".")
    mapping.store(PAGE, b"after a sync")
    equal(tree.read("f")[PAGE:PAGE + 12], b"after a sync", "content")
    call("msync", mapping.address, mapping.length, 4)
    mapping.close()
    equal(tree.read("f")[PAGE:PAGE + 12], b"after a sync", "content after munmap")


def test_private_mapping_keeps_its_stores(tree: Tree) -> None:
    """Stores into a private mapping never reach the file; a read-only descriptor allows it."""
    tree.write("f", b"c" * PAGE)
    fd = os.open("f", os.O_RDONLY)
    private = mmap.mmap(fd, PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    private[0:4] = b"mine"
    equal((private[0:4], tree.read("f")[:4]), (b"mine", b"cccc"), "mapping and file")
    expect_errno(errno.EACCES, mmap.mmap, fd, PAGE, flags=mmap.MAP_SHARED, prot=3)
    shared = call("mmap", None, PAGE, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    expect_errno(errno.EACCES, call, "mprotect", shared, PAGE, 3)
    call("munmap", shared, PAGE)
    private.close()
    os.close(fd)
    fd = os.open("f", os.O_WRONLY)
    expect_errno(errno.EACCES, mmap.mmap, fd, PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    os.close(fd)


def test_mprotect_to_writable(tree: Tree) -> None:
    """A read-only shared mapping of a writable descriptor becomes writable and its stores arrive."""
    tree.write("f", b"d" * PAGE)
    fd = os.open("f", os.O_RDWR)
    address = call("mmap", None, PAGE, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    equal(ctypes.string_at(address, 1), b"d", "load")
    call("mprotect", address, PAGE, 3)
    ctypes.memmove(address, b"writable", 8)
    equal(tree.read("f")[:8], b"writable", "content")
    call("munmap", address, PAGE)


@unlike_tmpfs("stores leave mtime alone")
def test_store_moves_mtime(tree: Tree) -> None:
    """A store through a mapping moves mtime, at the latest at msync."""
    tree.write("f", b"e" * PAGE)
    os.utime("f", ns=(10**9, 10**9))
    mapping = map_file("f")
    mapping[0] = 1
    mapping.flush()
    if os.stat("f").st_mtime_ns == 10**9:
        raise AssertionError("mtime did not move")
    syncfs(".")
    os.utime("f", ns=(10**9, 10**9))
    mapping[1] = 2
    mapping.flush()
    if os.stat("f").st_mtime_ns == 10**9:
        raise AssertionError("mtime did not move after writeback")
    mapping.close()


@provokes(r"segfault at")
def test_access_past_the_end_is_sigbus(tree: Tree) -> None:
    """Truncation takes mapped pages away: SIGBUS behind the new end, zeroes up to the page's end."""
    tree.write("f", b"f" * (3 * PAGE))
    mapping = RawMapping("f", 3 * PAGE)
    equal(mapping.load(2 * PAGE, 1), b"f", "before")
    os.truncate("f", 100)
    equal(mapping.load(99, 3), b"f\0\0", "around the new end")
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        mapping.load(PAGE, 1)
        os._exit(0)
    equal(os.WTERMSIG(os.waitpid(child, 0)[1]), signal.SIGBUS, "signal")
    os.truncate("f", 3 * PAGE)
    equal(mapping.load(2 * PAGE, 1), b"\0", "grown again")
    mapping.close()


def test_mapping_of_an_unlinked_file(tree: Tree) -> None:
    """A mapping keeps an unlinked file's pages."""
    tree.write("f", b"g" * PAGE)
    mapping = RawMapping("f", PAGE)
    os.unlink("f")
    mapping.store(0, b"gone")
    equal(mapping.load(0, 5), b"goneg", "content")
    mapping.close()


def test_mapping_of_a_replaced_file(tree: Tree) -> None:
    """After rename over it the old mapping shows the old file, the name the new one."""
    tree.write("old", b"O" * PAGE)
    tree.write("new", b"N" * PAGE)
    mapping = RawMapping("old", PAGE)
    os.rename("new", "old")
    mapping.store(0, b"x")
    equal((mapping.load(1, 1), tree.read("old")[:1]), (b"O", b"N"), "mapping and name")
    mapping.close()


def test_mapping_survives_fork_and_sync(tree: Tree) -> None:
    """A child's stores through an inherited shared mapping reach the file, after writeback too."""
    tree.write("f", bytes(PAGE * 4))
    mapping = RawMapping("f", PAGE * 4)
    for number in range(4):
        in_child(lambda n=number: mapping.store(n * PAGE, b"child%d" % n))  # type: ignore[misc]
        syncfs(".")
    equal([tree.read("f")[n * PAGE:n * PAGE + 6] for n in range(4)], [b"child%d" % n for n in range(4)],
          "stores")
    mapping.close()


def test_hole_is_filled_through_a_mapping(tree: Tree) -> None:
    """A store into a hole allocates a block, which shows after a sync."""
    with open("f", "wb") as stream:
        stream.truncate(1 << 20)
    mapping = RawMapping("f", 1 << 20)
    mapping.store(500000, b"x")
    syncfs(".")
    fd = os.open("f", os.O_RDONLY)
    tree.note(os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 500000, os.SEEK_HOLE), os.fstat(fd).st_blocks)
    os.close(fd)
    mapping.close()


def test_direct_write_under_a_mapping(tree: Tree) -> None:
    """An O_DIRECT write is seen through an existing mapping."""
    tree.write("f", b"h" * (2 * PAGE))
    mapping = RawMapping("f", 2 * PAGE)
    mapping.store(0, b"dirty page")
    fd = os.open("f", os.O_RDWR | os.O_DIRECT)
    block = mmap.mmap(-1, PAGE)
    block[:] = b"D" * PAGE
    os.pwrite(fd, block, PAGE)
    equal((mapping.load(PAGE, 1), mapping.load(0, 5)), (b"D", b"dirty"), "mapping")
    os.close(fd)
    mapping.close()


def test_read_into_its_own_mapping(tree: Tree) -> None:
    """read(2) of a file into a mapping of the same file, and write(2) from it, do not deadlock."""
    tree.write("f", bytes(range(256)) * 64)
    mapping = RawMapping("f", 4 * PAGE)
    fd = os.open("f", os.O_RDWR)
    target = (ctypes.c_char * PAGE).from_address(mapping.address + PAGE)
    equal(os.preadv(fd, [target], 0), PAGE, "read into the mapping")
    source = (ctypes.c_char * PAGE).from_address(mapping.address + 2 * PAGE)
    equal(os.pwrite(fd, source, 2 * PAGE), PAGE, "write of a page onto itself")
    equal(os.pwrite(fd, source, 3 * PAGE), PAGE, "write from the mapping")
    os.close(fd)
    mapping.close()


def test_locked_and_advised_mappings(tree: Tree) -> None:
    """madvise and mincore work on the upper file's mapping."""
    tree.write("f", b"i" * (8 * PAGE))
    mapping = map_file("f")
    mapping.madvise(mmap.MADV_WILLNEED)
    equal(mapping[7 * PAGE], ord("i"), "load")
    mapping[0] = ord("j")
    mapping.madvise(mmap.MADV_DONTNEED)
    equal(mapping[0], ord("j"), "store kept by a shared mapping")
    mapping.close()


def test_running_program_is_protected(tree: Tree) -> None:
    """A running program cannot be written (ETXTBSY), one that is open or mapped for writing cannot be run, a
    mapped file can be replaced."""
    with open("/bin/sleep", "rb") as program:
        tree.write("sleep", program.read(), 0o755)
    child = os.fork()
    if child == 0:
        os.execv("./sleep", ["sleep", "100"])
    wait_until(lambda: f"{tree.root}/sleep" in tree.read(f"/proc/{child}/maps").decode(),
               "maps names the program by the path it was run by")
    expect_errno(errno.ETXTBSY, os.open, "sleep", os.O_WRONLY)
    expect_errno(errno.ETXTBSY, os.truncate, "sleep", 0)
    equal(os.readlink(f"/proc/{child}/exe"), f"{tree.root}/sleep", "exe link")
    os.unlink("sleep")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    tree.write("script", b"#!/bin/true\n", 0o755)
    fd = os.open("script", os.O_WRONLY)
    expect_errno(errno.ETXTBSY, in_child, lambda: os.execv("./script", ["script"]))
    os.close(fd)
    mapping = RawMapping("script", PAGE)
    expect_errno(errno.ETXTBSY, in_child, lambda: os.execv("./script", ["script"]))
    mapping.close()
    equal(os.spawnv(os.P_WAIT, "./script", ["script"]), 0, "exit code")


def test_leases_see_writers_through_mappings(tree: Tree) -> None:
    """A lease is refused while somebody has the file open for writing, or mapped so."""
    tree.write("f", b"k")
    fd = os.open("f", os.O_RDONLY)
    writer = os.open("f", os.O_WRONLY)
    expect_errno(errno.EAGAIN, fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    os.close(writer)
    mapping = RawMapping("f", PAGE)
    for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
        expect_errno(errno.EAGAIN, fcntl.fcntl, fd, fcntl.F_SETLEASE, kind)
    mapping.close()
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    equal(fcntl.fcntl(fd, fcntl.F_GETLEASE), fcntl.F_RDLCK, "lease")
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(fd)
