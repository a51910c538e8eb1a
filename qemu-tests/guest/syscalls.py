# SPDX-License-Identifier: GPL-2.0
"""System calls that Python's os module lacks, for x86-64. Each raises OSError as os functions do."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from typing import Iterator

AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE, FALLOC_ZERO, FALLOC_INSERT = 1, 2, 8, 16, 32
MNT_FORCE, MNT_DETACH = 1, 2
UTIME_OMIT = 0x3ffffffe
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000

# Same numbers on the x86-64 host and in a 64-bit User-mode Linux guest.
_NUMBERS = {
    "msync": 26, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "io_setup": 206,
    "io_destroy": 207, "io_getevents": 208, "io_submit": 209, "getdents64": 217, "mknodat": 259,
    "unshare": 272, "sync_file_range": 277, "fallocate": 285, "inotify_init1": 294,
    "inotify_add_watch": 254, "syncfs": 306, "name_to_handle_at": 303, "fanotify_init": 300,
    "fanotify_mark": 301, "quotactl": 179, "linkat": 265, "fchmodat": 268, "renameat2": 316, "statx": 332,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mprotect": 10,
    "mmap": 9, "munmap": 11, "mount_setattr": 442, "cachestat": 451, "ioctl": 16,
    "utimensat": 280,
}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _as_argument(value: object) -> object:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, str):
        return ctypes.c_char_p(os.fsencode(value))
    if isinstance(value, bytes):
        return ctypes.c_char_p(value)
    if isinstance(value, int):
        return ctypes.c_long(value)
    return value


def call(name: str, *arguments: object) -> int:
    """Make one system call by name; strings become C strings, None becomes NULL."""
    result = _libc.syscall(ctypes.c_long(_NUMBERS[name]), *(_as_argument(a) for a in arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def rename(old: str, new: str, flags: int = 0) -> None:
    """renameat2(2), for its flags."""
    call("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with a mode."""
    call("fallocate", fd, mode, offset, length)


def link_open_file(fd: int, new: str) -> None:
    """Give a name to an O_TMPFILE file, as linkat(2)'s manual page shows it."""
    call("linkat", AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, new, AT_SYMLINK_FOLLOW)


def name_a_nameless(name: str, text: bytes) -> None:
    """Make a file that gets its name after its body."""
    fd = os.open(os.path.dirname(name), os.O_TMPFILE | os.O_WRONLY)
    os.write(fd, text)
    link_open_file(fd, name)
    os.close(fd)


def syncfs(path: str) -> None:
    """syncfs(2) on the file system of path."""
    fd = os.open(path, os.O_RDONLY)
    try:
        call("syncfs", fd)
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Statx:
    """The part of struct statx the cases look at."""

    mask: int
    attributes: int
    attributes_mask: int
    mode: int
    ino: int
    size: int
    btime_ns: int
    dev: int
    mnt_id: int
    dio_mem_align: int


def statx(path: str, flags: int = 0, mask: int = 0x3FFF) -> Statx:
    """statx(2)."""
    raw = ctypes.create_string_buffer(256)
    call("statx", AT_FDCWD, path, flags, mask, raw)
    got, _, attributes, _, _, _, mode, _, ino, size = struct.unpack_from("=IIQIIIHHQQ", raw, 0)
    attributes_mask, = struct.unpack_from("=Q", raw, 56)
    btime_sec, btime_nsec = struct.unpack_from("=qI", raw, 80)
    major, minor = struct.unpack_from("=II", raw, 136)
    mnt_id, dio_mem_align = struct.unpack_from("=QI", raw, 144)
    return Statx(got, attributes, attributes_mask, mode, ino, size, btime_sec * 10**9 + btime_nsec,
                 os.makedev(major, minor), mnt_id, dio_mem_align)


@dataclass(frozen=True)
class DirectoryEntry:
    """One entry as getdents64(2) gives it."""

    ino: int
    offset: int
    kind: int
    name: str


def getdents(fd: int, size: int = 32768) -> list[DirectoryEntry]:
    """One getdents64(2) call; an empty list at the end of the directory."""
    raw = ctypes.create_string_buffer(size)
    count = call("getdents64", fd, raw, size)
    entries, at = [], 0
    while at < count:
        ino, offset, length, kind = struct.unpack_from("=QqHB", raw.raw, at)
        name = raw.raw[at + 19:at + length].split(b"\0", 1)[0]
        entries.append(DirectoryEntry(ino, offset, kind, os.fsdecode(name)))
        at += length
    return entries


def read_directory(path: str, size: int = 32768) -> Iterator[DirectoryEntry]:
    """All entries of a directory, with `.` and `..`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while entries := getdents(fd, size):
            yield from entries
    finally:
        os.close(fd)


def file_handle(path: str) -> bytes:
    """name_to_handle_at(2): the whole struct file_handle."""
    room = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    mount_id = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, path, room, ctypes.byref(mount_id), 0)
    size, = struct.unpack_from("=I", room, 0)
    return room.raw[:8 + size]


INOTIFY_EVENTS = {
    0x1: "ACCESS", 0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x10: "CLOSE_NOWRITE", 0x20: "OPEN",
    0x40: "MOVED_FROM", 0x80: "MOVED_TO", 0x100: "CREATE", 0x200: "DELETE", 0x400: "DELETE_SELF",
    0x800: "MOVE_SELF", 0x2000: "UNMOUNT", 0x4000: "Q_OVERFLOW", 0x8000: "IGNORED",
}


class Inotify:
    """An inotify instance that gives events as (label of the watch, event names, file name)."""

    def __init__(self) -> None:
        self.fd = call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._labels: dict[int, str] = {}
        # of the events that events() gave last: what pairs the two of a rename
        self.cookies: list[int] = []

    def watch(self, path: str, label: str = "", mask: int = 0xFFF) -> None:
        """Watch path for all events."""
        self._labels[call("inotify_add_watch", self.fd, path, mask)] = label or path

    def events(self) -> list[tuple[str, str, str]]:
        """All events that have happened since the last call."""
        found = []
        self.cookies = []
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                watch, mask, cookie, length = struct.unpack_from("=iIII", data, at)
                name = data[at + 16:at + 16 + length].split(b"\0", 1)[0]
                names = [word for bit, word in INOTIFY_EVENTS.items() if mask & bit]
                if mask & 0x40000000:
                    names.append("ISDIR")
                self.cookies.append(cookie)
                found.append((self._labels.get(watch, "?"), "|".join(names), os.fsdecode(name)))
                at += 16 + length

    def close(self) -> None:
        """Give the instance back."""
        os.close(self.fd)


def aio_transfer(fd: int, opcode: int, buffer: ctypes.Array, offset: int) -> int:
    """One io_submit(2) of IOCB_CMD_PREAD (0) or PWRITE (1), waited for; returns its result."""
    context = ctypes.c_ulong(0)
    call("io_setup", 4, ctypes.byref(context))
    try:
        iocb = ctypes.create_string_buffer(struct.pack(
            "=QIiHhIQQqQII", 7, 0, 0, opcode, 0, fd, ctypes.addressof(buffer), len(buffer), offset, 0, 0, 0))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(iocb))
        call("io_submit", context.value, 1, pointers)
        event = ctypes.create_string_buffer(32)
        call("io_getevents", context.value, 1, 1, event, None)
        result, = struct.unpack_from("=q", event, 16)
    finally:
        call("io_destroy", context.value)
    if result < 0:
        raise OSError(-result, f"aio: {os.strerror(-result)}")
    return result
