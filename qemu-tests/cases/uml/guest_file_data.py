# SPDX-License-Identifier: GPL-2.0
"""File data: every way of reading and writing, holes, allocation, copying between files, asynchronous and
direct I/O."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct

from guest import syscalls
from guest.disks import make_ext4, run
from guest.expect import (as_user, equal, errno_of, expect_errno, intermezzo_only, name_of,
                          process_state, unlike_tmpfs, wait_until)
from guest.subject import FILESET, mounted
from guest.syscalls import (FALLOC_COLLAPSE, FALLOC_INSERT, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO,
                            aio_transfer, call, fallocate)
from guest.tree import Tree

ALSO_ON = "vintermezzo"

FICLONE, FIGETBSZ, FS_IOC_FIEMAP = 0x40049409, 2, 0xC020660B
RWF_HIPRI, RWF_DSYNC, RWF_NOWAIT, RWF_APPEND, RWF_NOAPPEND = 1, 2, 8, 16, 32
PATTERN = bytes(range(256)) * 64


def aligned(data: bytes) -> mmap.mmap:
    """A page-aligned buffer, for O_DIRECT."""
    buffer = mmap.mmap(-1, len(data))
    buffer[:] = data
    return buffer


def test_open_flags(tree: Tree) -> None:
    """O_TRUNC, O_APPEND, O_RDONLY, O_WRONLY and O_DIRECTORY mean what they mean on ext4."""
    tree.write("f", b"long content")
    os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))
    equal(os.stat("f").st_size, 0, "size after O_TRUNC")
    one = os.open("f", os.O_WRONLY | os.O_APPEND)
    two = os.open("f", os.O_RDWR | os.O_APPEND)
    os.write(one, b"one ")
    os.write(two, b"two ")
    os.lseek(one, 0, os.SEEK_SET)
    os.write(one, b"three")
    tree.note("pwrite with O_APPEND", os.pwrite(two, b"!", 0))
    equal(tree.read("f"), b"one two three!", "appended")
    expect_errno(errno.EBADF, os.read, one, 1)
    os.close(one)
    os.close(two)
    reader = os.open("f", os.O_RDONLY)
    expect_errno(errno.EBADF, os.write, reader, b"x")
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)
    tree.note("flags", oct(fcntl.fcntl(reader, fcntl.F_GETFL)))
    os.close(reader)
    expect_errno(errno.ENOTDIR, os.open, "f", os.O_RDONLY | os.O_DIRECTORY)
    expect_errno(errno.EISDIR, os.open, ".", os.O_WRONLY)
    as_user(lambda: os.close(os.open("f", os.O_RDONLY)))
    expect_errno(errno.EPERM, as_user, lambda: os.close(os.open("f", os.O_RDONLY | os.O_NOATIME)))


def test_path_descriptors(tree: Tree) -> None:
    """O_PATH opens name objects only; reading and changing through them is refused."""
    tree.write("f", b"x", 0o000)
    fd = os.open("f", os.O_PATH)
    expect_errno(errno.EBADF, os.read, fd, 1)
    expect_errno(errno.EBADF, os.fchmod, fd, 0o600)
    expect_errno(errno.EBADF, os.ftruncate, fd, 0)
    tree.note(os.fstat(fd).st_size)
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    equal(os.read(again, 1), b"x", "content of the reopened file")
    os.close(again)
    os.close(fd)
    os.symlink("f", "s")
    fd = os.open("s", os.O_PATH | os.O_NOFOLLOW)
    equal(os.readlink("", dir_fd=fd), "f", "readlink by descriptor")
    os.close(fd)


def test_two_opens_see_each_other(tree: Tree) -> None:
    """What one descriptor writes, another reads at once."""
    writer = os.open("f", os.O_CREAT | os.O_RDWR)
    reader = os.open("f", os.O_RDONLY)
    for number in range(50):
        os.pwrite(writer, b"%08d" % number, number * 4093)
        equal(os.pread(reader, 8, number * 4093), b"%08d" % number, "bytes")
    os.ftruncate(writer, 5)
    equal(os.pread(reader, 100, 0), b"00000", "after truncate")
    os.close(writer)
    os.close(reader)


def test_vectors(tree: Tree) -> None:
    """readv, writev, preadv2 and pwritev2 with RWF flags."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    equal(os.writev(fd, [b"abc", b"", b"defg"]), 7, "writev")
    parts = [bytearray(2), bytearray(3), bytearray(10)]
    equal((os.preadv(fd, parts, 1), bytes(b"".join(parts))[:6]), (6, b"bcdefg"), "preadv")
    tree.note(os.pwritev(fd, [b"XY"], 0, RWF_APPEND), os.pwritev(fd, [b"Z"], 0, RWF_DSYNC))
    equal(tree.read("f"), b"ZbcdefgXY", "content")
    tree.note(errno_of(os.preadv, fd, [bytearray(4)], 0, 0x4000))
    os.close(fd)


def test_whether_a_write_appends_is_its_own_to_say(tree: Tree) -> None:
    """RWF_NOAPPEND writes where it is told on a descriptor with O_APPEND, be that from the open or set later;
    RWF_APPEND appends on one without."""
    tree.write("f", b"0123456789")
    fd = os.open("f", os.O_RDWR | os.O_APPEND)
    tree.note(os.pwritev(fd, [b"a"], 0, RWF_NOAPPEND), tree.read("f"))
    tree.note(os.pwrite(fd, b"b", 1), os.pwritev(fd, [b"c"], 2, RWF_NOAPPEND), tree.read("f"))
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    tree.note(os.pwrite(fd, b"d", 3), os.pwritev(fd, [b"e"], 4, RWF_APPEND), tree.read("f"))
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    tree.note(os.pwritev(fd, [b"f"], 5, RWF_NOAPPEND), os.write(fd, b"g"), tree.read("f"))
    equal(tree.read("f"), b"a1cd4f6789beg", "content")
    os.close(fd)


@unlike_tmpfs("no NOWAIT")
def test_nowait_on_cached_data(tree: Tree) -> None:
    """RWF_NOWAIT reads cached data, and is answered for writes as on ext4."""
    tree.write("f", PATTERN)
    fd = os.open("f", os.O_RDWR)
    os.fsync(fd)
    equal(os.pread(fd, 4096, 0), PATTERN[:4096], "warm")
    equal(os.preadv(fd, [bytearray(4096)], 0, RWF_NOWAIT), 4096, "cached read")
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    tree.note("uncached", errno_of(os.preadv, fd, [bytearray(4096)], 8192, RWF_NOWAIT) in ("EAGAIN", "ok"))
    os.pwrite(fd, b"y", 0)  # the first change of a body waits for the log
    tree.note("buffered write", errno_of(os.pwritev, fd, [b"x" * 512], 0, RWF_NOWAIT))
    os.close(fd)


@unlike_tmpfs("any alignment is direct")
def test_direct_io(tree: Tree) -> None:
    """O_DIRECT reads and writes aligned blocks and stays coherent with buffered I/O."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    block = aligned(PATTERN[:8192])
    equal(os.pwrite(fd, block, 0), 8192, "direct write")
    equal(tree.read("f"), PATTERN[:8192], "buffered read of it")
    buffered = os.open("f", os.O_RDWR)
    os.pwrite(buffered, b"dirty in the page cache", 4096)
    back = aligned(bytes(8192))
    equal(os.preadv(fd, [back], 0), 8192, "direct read")
    equal(back[4096:4119], b"dirty in the page cache", "flushed before the direct read")
    expect_errno(errno.EINVAL, os.preadv, fd, [memoryview(back)[1:4097]], 0)
    expect_errno(errno.EINVAL, os.preadv, fd, [memoryview(back)[:4096]], 100)
    os.pwrite(fd, block, 16384)
    equal(os.stat("f").st_size, 24576, "size after a direct write behind the end")
    tree.note(os.preadv(fd, [back], 20480), os.preadv(fd, [back], 1 << 20))
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    os.pwrite(fd, b"odd", 1)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    tree.note(syscalls.statx("f", mask=0x2000).dio_mem_align)
    os.close(buffered)
    os.close(fd)


@unlike_tmpfs("other limits of seeking")
def test_holes(tree: Tree) -> None:
    """SEEK_HOLE and SEEK_DATA find the holes ext4 has."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"A" * 4096, 65536)
    os.pwrite(fd, b"B" * 4096, 1 << 20)
    os.ftruncate(fd, 2 << 20)
    os.fsync(fd)
    places = [os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 65536, os.SEEK_HOLE), os.lseek(fd, 80000,
                                                                                         os.SEEK_DATA),
              os.lseek(fd, (1 << 20) + 100, os.SEEK_HOLE), os.lseek(fd, 0, os.SEEK_END)]
    tree.note(places)
    equal(places[0], 65536, "first data")
    expect_errno(errno.ENXIO, os.lseek, fd, (1 << 20) + 8192, os.SEEK_DATA)
    expect_errno(errno.ENXIO, os.lseek, fd, 3 << 20, os.SEEK_HOLE)
    expect_errno(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
    expect_errno(errno.EINVAL, os.lseek, fd, 2**63 - 1, os.SEEK_SET)
    tree.note(os.stat("f").st_blocks)
    os.close(fd)


def test_positions(tree: Tree) -> None:
    """Every descriptor has its own position, dup shares it."""
    tree.write("f", b"0123456789")
    fd = os.open("f", os.O_RDONLY)
    other = os.open("f", os.O_RDONLY)
    twin = os.dup(fd)
    os.read(fd, 4)
    equal((os.lseek(twin, 0, os.SEEK_CUR), os.lseek(other, 0, os.SEEK_CUR)), (4, 0), "positions")
    equal((os.lseek(fd, -3, os.SEEK_END), os.read(twin, 10), os.read(fd, 10)), (7, b"789", b""), "end")
    for each in (fd, other, twin):
        os.close(each)


@unlike_tmpfs("fewer modes")
def test_fallocate_modes(tree: Tree) -> None:
    """Preallocate, keep size, punch, zero, collapse and insert change content and blocks as on ext4."""
    tree.write("f", PATTERN * 4)
    fd = os.open("f", os.O_RDWR)
    os.fsync(fd)
    fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 4096, 8192)
    equal(os.pread(fd, 8192, 4096), bytes(8192), "hole")
    fallocate(fd, FALLOC_ZERO, 20000, 1000)
    equal(os.pread(fd, 1000, 20000), bytes(1000), "zeroed")
    fallocate(fd, FALLOC_COLLAPSE, 8192, 4096)
    equal(os.fstat(fd).st_size, 61440, "collapsed size")
    fallocate(fd, FALLOC_INSERT, 4096, 16384)
    equal(os.fstat(fd).st_size, 77824, "inserted size")
    expect_errno(errno.EINVAL, fallocate, fd, FALLOC_COLLAPSE, 100, 4096)
    expect_errno(errno.EOPNOTSUPP, fallocate, fd, FALLOC_PUNCH_HOLE, 0, 4096)
    expect_errno(errno.EINVAL, fallocate, fd, 0, 0, 0)
    expect_errno(errno.EFBIG, fallocate, fd, 0, 2**62, 4096)
    fallocate(fd, FALLOC_KEEP_SIZE, 200000, 100000)
    equal(os.fstat(fd).st_size, 77824, "size kept")
    fallocate(fd, 0, 100000, 50000)
    equal(os.fstat(fd).st_size, 150000, "size grown")
    os.fsync(fd)
    tree.note(os.fstat(fd).st_blocks)
    os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    expect_errno(errno.EBADF, fallocate, fd, 0, 0, 4096)
    os.close(fd)


def test_fallocate_strips_setuid(tree: Tree) -> None:
    """fallocate by a user without privilege takes setuid away, as a write does."""
    tree.write("program", b"x" * 8192, 0o777)
    os.chmod("program", 0o4777)

    def punch() -> None:
        fd = os.open("program", os.O_WRONLY)
        fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 4096)
        os.close(fd)
    as_user(punch)
    equal(oct(os.stat("program").st_mode & 0o7777), "0o777", "mode")


def test_file_can_be_removed_while_a_splice_waits(tree: Tree) -> None:
    """A splice from an empty pipe waits without end, but not with the file locked."""
    target = os.open("spliced", os.O_CREAT | os.O_RDWR)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.splice(reader, target, 4096)
        os._exit(0)
    wait_until(lambda: process_state(child) == "S", "the splice to wait")
    os.unlink("spliced")
    os.write(writer, b"late")
    equal(os.waitpid(child, 0)[1], 0, "the splice")
    equal(os.pread(target, 10, 0), b"late", "content")


def test_splice_and_sendfile(tree: Tree) -> None:
    """Data goes from file to pipe, pipe to file, and file to file without passing us."""
    tree.write("from", PATTERN)
    source = os.open("from", os.O_RDONLY)
    target = os.open("to", os.O_CREAT | os.O_RDWR)
    reader, writer = os.pipe()
    moved = 0
    while count := os.splice(source, writer, 4096):
        while count:
            done = os.splice(reader, target, count)
            count -= done
            moved += done
    equal(moved, len(PATTERN), "spliced")
    equal(tree.read("to"), PATTERN, "content")
    equal(os.sendfile(target, source, 100, 5000), 5000, "sendfile")
    equal(os.fstat(target).st_size, len(PATTERN) + 5000, "size")
    append = os.open("to", os.O_WRONLY | os.O_APPEND)
    os.write(writer, b"x")
    expect_errno(errno.EINVAL, os.splice, reader, append, 1)
    for fd in (source, target, reader, writer, append):
        os.close(fd)


def test_copy_file_range(tree: Tree) -> None:
    """copy_file_range inside one file, between files, from elsewhere, with overlapping ranges refused."""
    tree.write("a", PATTERN)
    source = os.open("a", os.O_RDWR)
    target = os.open("b", os.O_CREAT | os.O_RDWR)
    equal(os.copy_file_range(source, target, 10000, 100, 50), 10000, "copied")
    equal(os.pread(target, 10000, 50), PATTERN[100:10100], "content")
    equal(os.copy_file_range(source, source, 4096, 0, 12288), 4096, "inside one file")
    expect_errno(errno.EINVAL, os.copy_file_range, source, source, 4096, 0, 100)
    reader = os.open("b", os.O_RDONLY)
    expect_errno(errno.EBADF, os.copy_file_range, source, reader, 10)
    elsewhere = os.open("/proc/self/exe", os.O_RDONLY)
    tree.note("from another file system", errno_of(os.copy_file_range, elsewhere, target, 4096, 0, 0))
    for fd in (source, target, reader, elsewhere):
        os.close(fd)


def test_reflink_is_refused_as_on_ext4(tree: Tree) -> None:
    """FICLONE fails with ext4's errno, so cp falls back to copying."""
    tree.write("a", PATTERN)
    source = os.open("a", os.O_RDONLY)
    target = os.open("b", os.O_CREAT | os.O_RDWR)
    expect_errno(errno.EOPNOTSUPP, fcntl.ioctl, target, FICLONE, source)
    os.close(source)
    os.close(target)
    run("cp", "--reflink=auto", "a", "c")
    equal(tree.read("c"), PATTERN, "copy")


@unlike_tmpfs("no extents")
def test_fiemap(tree: Tree) -> None:
    """The extent map is ext4's, apart from where on the disk the blocks are."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"A" * 8192, 0)
    os.pwrite(fd, b"B" * 4096, 65536)
    fallocate(fd, 0, 1 << 20, 8192)
    os.fsync(fd)
    request = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 1, 0, 16, 0) + bytes(16 * 56))
    fcntl.ioctl(fd, FS_IOC_FIEMAP, request)
    count = struct.unpack_from("=I", request, 20)[0]
    extents = [struct.unpack_from("=QQQ16xI", request, 32 + 56 * n) for n in range(count)]
    tree.note([(logical, length, flags) for logical, _, length, flags in extents])
    equal([e[0] for e in extents], [0, 65536, 1 << 20], "extents")
    os.close(fd)


def test_asynchronous_io(tree: Tree) -> None:
    """io_submit reads and writes, buffered and direct."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    data = ctypes.create_string_buffer(PATTERN[:5000], 5000)
    equal(aio_transfer(fd, 1, data, 0), 5000, "written")
    back = ctypes.create_string_buffer(5000)
    equal(aio_transfer(fd, 0, back, 0), 5000, "read")
    equal(back.raw, PATTERN[:5000], "content")
    direct = os.open("f", os.O_RDWR | os.O_DIRECT)
    page = aligned(PATTERN[:4096])
    view = (ctypes.c_char * 4096).from_buffer(page)
    equal(aio_transfer(direct, 1, view, 8192), 4096, "direct write")
    equal(aio_transfer(direct, 0, view, 8192), 4096, "direct read")
    reader = os.open("f", os.O_RDONLY)
    expect_errno(errno.EBADF, aio_transfer, reader, 1, data, 0)
    for each in (fd, direct, reader):
        os.close(each)
    equal(os.stat("f").st_size, 12288, "size")


@unlike_tmpfs("a file may be larger")
def test_size_limits(tree: Tree) -> None:
    """Writes past RLIMIT_FSIZE and past the largest file are refused where ext4 refuses them."""
    import resource
    import signal
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    expect_errno(errno.EFBIG, os.pwrite, fd, b"x", 2**60)
    expect_errno(errno.EFBIG, os.pwrite, fd, b"x", 2**44)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, resource.RLIM_INFINITY))
    equal(os.pwrite(fd, b"x" * 5000, 8000), 2000, "short write at the limit")
    expect_errno(errno.EFBIG, os.pwrite, fd, b"x", 10000)
    expect_errno(errno.EFBIG, os.ftruncate, fd, 10001)
    os.close(fd)


def test_syncing(tree: Tree) -> None:
    """fsync, fdatasync, O_SYNC, O_DSYNC, sync_file_range, syncfs and fadvise are all taken."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_SYNC)
    os.write(fd, PATTERN)
    os.fsync(fd)
    os.fdatasync(fd)
    call("sync_file_range", fd, 0, 8192, 7)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
    equal(os.pread(fd, len(PATTERN), 0), PATTERN, "content")
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    expect_errno(errno.EISDIR, os.read, folder, 10)
    os.close(folder)
    os.close(fd)
    syscalls.syncfs(".")
    os.sync()


@unlike_tmpfs("nothing is ever dirty")
def test_sync_file_range_writes_the_data(tree: Tree) -> None:
    """After sync_file_range no page of the file is dirty: it reaches the pages, not an empty mapping."""
    def dirty_kilobytes() -> int:
        with open("/proc/meminfo", encoding="ascii") as info:
            return int(next(line.split()[1] for line in info if line.startswith("Dirty:")))
    syscalls.syncfs(".")
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(fd, bytes(4 << 20))
    before = dirty_kilobytes()
    call("sync_file_range", fd, 0, 0, 7)
    after = dirty_kilobytes()
    os.close(fd)
    if before - after < 3000:
        raise AssertionError(f"dirty kilobytes: {before} before, {after} after")
    os.unlink("f")


def test_ioctls_on_files(tree: Tree) -> None:
    """FIGETBSZ, FIONREAD, FS_IOC_GETVERSION and an unknown ioctl answer as ext4 does."""
    tree.write("f", b"12345678")
    fd = os.open("f", os.O_RDONLY)
    os.lseek(fd, 3, os.SEEK_SET)
    size, left = bytearray(4), bytearray(4)
    tree.note(errno_of(fcntl.ioctl, fd, FIGETBSZ, size), struct.unpack("=i", size))
    tree.note(errno_of(fcntl.ioctl, fd, 0x541B, left), struct.unpack("=i", left))
    tree.note(errno_of(fcntl.ioctl, fd, 0x80087601, bytearray(8)), errno_of(fcntl.ioctl, fd, 0x1234))
    os.close(fd)


def test_maintenance_ioctls(tree: Tree) -> None:
    """fstrim, the label and project attributes answer through a file here as they do on ext4."""
    fd = os.open(".", os.O_RDONLY)
    tree.note("FITRIM", errno_of(fcntl.ioctl, fd, 0xC0185879,
                                 bytearray(struct.pack("=QQQ", 0, 4 << 20, 4096))))
    tree.note("GETFSLABEL", errno_of(fcntl.ioctl, fd, 0x81009431, bytearray(256)))
    attributes = bytearray(28)
    tree.note("FSGETXATTR", errno_of(fcntl.ioctl, fd, 0x801C581F, attributes), attributes.hex())
    os.close(fd)


@intermezzo_only
def test_ioctls_behind_the_back_are_refused(where: str, disk: str) -> None:
    """What would move blocks and inodes under us, change the cache as a whole, or shut it down, is no command
    of a file, of a directory or of the log; chattr +j is refused, and giving up extents."""
    make_ext4(disk)
    requests: dict[str, tuple[int, int | bytes]] = {
        "SWAP_BOOT": (0x6611, 0), "MIGRATE": (0x6609, 0), "SETVERSION": (0x40087602, bytes(8)),
        "MOVE_EXT": (0xC028660F, bytes(40)), "RESIZE_FS": (0x40086610, bytes(8)),
        "GROUP_EXTEND": (0x40086607, bytes(8)), "GROUP_ADD": (0x40286608, bytes(40)),
        "SETRSVSZ": (0x40086606, bytes(8)), "SHUTDOWN": (0x8004587D, bytes(4)), "ALLOC_DA_BLKS": (0x660C, 0),
        "PRECACHE_EXTENTS": (0x6612, 0), "CLEAR_ES_CACHE": (0x6628, 0), "CHECKPOINT": (0x4004662B, bytes(4)),
        "SETFSUUID": (0x4008662C, bytes(8)), "SETFSLABEL": (0x41009432, bytes(256)),
        "SET_ENCRYPTION_POLICY": (0x800C6613, bytes(12)), "ENABLE_VERITY": (0x40806685, bytes(128))}
    flags = {"JOURNAL_DATA": (0x40086602, struct.pack("=q", 0x4000)), "no EXTENTS": (0x40086602, bytes(8))}
    with mounted(disk, FILESET, where=where):
        os.mkdir(f"{where}/d")
        with open(f"{where}/f", "wb") as stream:
            stream.write(PATTERN)
        for path, refusal in (("f", errno.EOPNOTSUPP), ("d", errno.EOPNOTSUPP),
                              (".intermezzo/rootset/kml", errno.EPERM)):
            fd = os.open(f"{where}/{path}", os.O_RDONLY)
            answers = {name: errno_of(fcntl.ioctl, fd, *request)
                       for name, request in (*requests.items(), *flags.items())}
            equal({name: answer for name, answer in answers.items() if answer != "ENOTTY"},
                  dict.fromkeys(flags, name_of(refusal)), f"what {path} answers but for ENOTTY")
            os.close(fd)


def test_direct_overwrite_without_waiting(tree: Tree) -> None:
    """RWF_NOWAIT on O_DIRECT overwrites of allocated blocks is answered as on ext4."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    block = aligned(PATTERN[:8192])
    os.pwrite(fd, block, 0)
    os.fsync(fd)
    tree.note("overwrite", errno_of(os.pwritev, fd, [block], 0, RWF_NOWAIT))
    tree.note("read", errno_of(os.preadv, fd, [block], 0, RWF_NOWAIT))
    tree.note("append", errno_of(os.pwritev, fd, [block], 8192, RWF_NOWAIT))
    os.close(fd)


@unlike_tmpfs("the page cache is the file")
def test_cache_statistics(tree: Tree) -> None:
    """cachestat and fadvise see the file's pages, not an empty mapping."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(fd, PATTERN)
    os.fsync(fd)

    def cached() -> int:
        answer = ctypes.create_string_buffer(40)
        call("cachestat", fd, struct.pack("=QQ", 0, 0), answer, 0)
        return struct.unpack_from("=Q", answer, 0)[0]
    equal(cached(), 4, "cached pages")
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    equal(cached(), 0, "cached pages after DONTNEED")
    os.close(fd)


def test_a_writer_and_a_truncater(tree: Tree) -> None:
    """Two processes writing and truncating one file leave whole blocks and a size one of them set."""
    tree.write("f")
    children = []
    for worker in range(4):
        child = os.fork()
        if child == 0:
            fd = os.open("f", os.O_RDWR)
            for number in range(200):
                if worker:
                    os.pwrite(fd, bytes([64 + worker]) * 4096, (number % 8) * 4096)
                else:
                    os.ftruncate(fd, (number % 9) * 4096)
            os._exit(0)
        children.append(child)
    for child in children:
        equal(os.waitpid(child, 0)[1], 0, "worker")
    data = tree.read("f")
    equal(len(data) % 4096, 0, "size")
    for at in range(0, len(data), 4096):
        equal(len(set(data[at:at + 4096])), 1, "kinds of bytes in a block")
    os.unlink("f")
