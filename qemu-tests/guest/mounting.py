# SPDX-License-Identifier: GPL-2.0
"""Mounting by both kernel interfaces, mount(2) and fsopen/fsconfig/fsmount, with what the kernel says about
it."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import Iterator

from guest.kernel_log import KernelLog
from guest.syscalls import AT_FDCWD, MNT_DETACH, call

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING = 0, 1
FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = 6, 7
FSOPEN_CLOEXEC = 1
MOUNT_ATTR_RDONLY = 1
MOVE_MOUNT_F_EMPTY_PATH = 4


class MountError(OSError):
    """A refused mount; `said` is what the kernel gave as the reason, by its log or by the context's
    messages."""

    def __init__(self, number: int, call_name: str, said: str) -> None:
        super().__init__(number, f"{call_name}: {os.strerror(number)}: {said}")
        self.said = said


def refusal(error: OSError) -> list[str]:
    """Our lines of why a mount was refused."""
    assert isinstance(error, MountError)
    return [line for line in error.said.splitlines() if "intermezzo: " in line]


def split_options(options: str) -> list[tuple[str, str | None]]:
    """`a,b=c` as [("a", None), ("b", "c")]."""
    pairs = []
    for word in filter(None, options.split(",")):
        key, equals, value = word.partition("=")
        pairs.append((key, value if equals else None))
    return pairs


def context_messages(fd: int) -> str:
    """What the kernel wrote for us into an fs context."""
    lines = []
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            return "\n".join(lines)
        if not data:
            return "\n".join(lines)
        lines.append(data.decode(errors="replace").strip())


def mount_old(source: str, target: str, fstype: str, options: str = "", flags: int = 0) -> None:
    """mount(2), as util-linux before 2.39 calls it: `ro` and `rw` are flags, the rest is text."""
    words = [w for w in options.split(",") if w]
    if "ro" in words:
        flags |= MS_RDONLY
    text = ",".join(w for w in words if w not in ("ro", "rw"))
    log = KernelLog()
    try:
        call("mount", source, target, fstype, flags, text or None)
    except OSError as error:
        raise MountError(error.errno or 0, "mount", log.read()) from error
    finally:
        log.close()


def _configure(context: int, options: str, command: int) -> None:
    """Give a context its options one by one and run a command on it."""
    key = "source"
    try:
        for key, value in split_options(options):
            if value is None:
                call("fsconfig", context, FSCONFIG_SET_FLAG, key, None, 0)
            else:
                call("fsconfig", context, FSCONFIG_SET_STRING, key, value, 0)
        key = "the command"
        call("fsconfig", context, command, None, None, 0)
    except OSError as error:
        raise MountError(error.errno or 0, f"fsconfig {key}", context_messages(context)) from error


def mount_new(source: str, target: str, fstype: str, options: str = "") -> None:
    """fsopen(2) to move_mount(2), as util-linux from 2.39 on calls them."""
    context = call("fsopen", fstype, FSOPEN_CLOEXEC)
    try:
        if source:
            try:
                call("fsconfig", context, FSCONFIG_SET_STRING, "source", source, 0)
            except OSError as error:
                raise MountError(error.errno or 0, "fsconfig source", context_messages(context)) from error
        _configure(context, options, FSCONFIG_CMD_CREATE)
        attributes = MOUNT_ATTR_RDONLY if "ro" in options.split(",") else 0
        try:
            mount = call("fsmount", context, FSOPEN_CLOEXEC, attributes)
        except OSError as error:
            raise MountError(error.errno or 0, "fsmount", context_messages(context)) from error
        try:
            call("move_mount", mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(mount)
    finally:
        os.close(context)


def remount_old(target: str, options: str = "", source: str = "none") -> None:
    """mount(2) with MS_REMOUNT."""
    mount_old(source, target, "none", options, MS_REMOUNT)


def remount_new(target: str, options: str = "") -> None:
    """fspick(2) and reconfigure, then mount_setattr(2): `ro` and `rw` are of superblock and mount, as
    mount(8) has it."""
    context = call("fspick", AT_FDCWD, target, 0)
    try:
        _configure(context, options, FSCONFIG_CMD_RECONFIGURE)
    finally:
        os.close(context)
    words = options.split(",")
    if "ro" in words or "rw" in words:
        setting = MOUNT_ATTR_RDONLY if "ro" in words else 0
        attributes = struct.pack("=QQQQ", setting, MOUNT_ATTR_RDONLY - setting, 0, 0)
        call("mount_setattr", AT_FDCWD, target, 0, attributes, len(attributes))


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    call("umount2", target, flags)


def umount_lazily(target: str) -> None:
    """Take the mount out of the name space, whoever uses it."""
    umount(target, MNT_DETACH)


@dataclass(frozen=True)
class MountInfo:
    """One line of /proc/self/mountinfo."""

    device: int
    target: str
    options: str
    fstype: str
    source: str
    super_options: str


def _unescape(word: str) -> str:
    return re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), word)


def mounts() -> Iterator[MountInfo]:
    """All mounts of this name space."""
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        for line in table:
            left, right = line.rstrip("\n").split(" - ", 1)
            words, tail = left.split(" "), right.split(" ")
            major, minor = words[2].split(":")
            yield MountInfo(os.makedev(int(major), int(minor)), _unescape(words[4]), words[5],
                            tail[0], _unescape(tail[1]), tail[2] if len(tail) > 2 else "")


def mount_info(target: str) -> MountInfo:
    """The topmost mount on target."""
    found = [m for m in mounts() if m.target == target]
    if not found:
        raise AssertionError(f"{target} is not a mount point")
    return found[-1]


def proc_mounts_options(target: str) -> str:
    """The option word of the last /proc/mounts line of target."""
    with open("/proc/mounts", encoding="utf-8") as table:
        lines = [line.split(" ") for line in table]
    found = [words for words in lines if _unescape(words[1]) == target]
    if not found:
        raise AssertionError(f"{target} is not in /proc/mounts")
    return found[-1][3]
