# SPDX-License-Identifier: GPL-2.0
"""What a directory tree looks like, in a form that two file systems can be compared by."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any

_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
          stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFSOCK: "socket"}


def xattrs(path: str) -> dict[str, str]:
    """All extended attributes that root can list, values in hex."""
    return {name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in sorted(os.listxattr(path, follow_symlinks=False))}


def content_hash(path: str) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(1 << 18):
            digest.update(block)
    return digest.hexdigest()


def describe(path: str, with_times: bool = False) -> dict[str, Any]:
    """One object, apart from its device and inode number. Directory sizes depend on the hash seed of the
    disk."""
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    said: dict[str, Any] = {"type": _TYPES[kind], "mode": oct(stat.S_IMODE(info.st_mode)), "uid": info.st_uid,
                            "gid": info.st_gid, "nlink": info.st_nlink, "xattrs": xattrs(path)}
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        said["rdev"] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    if kind == stat.S_IFLNK:
        said["target"] = os.readlink(path)
    if kind != stat.S_IFDIR:
        said["size"] = info.st_size
    if kind == stat.S_IFREG:
        said["content"] = content_hash(path)
    if with_times:
        said["mtime"] = info.st_mtime_ns
    return said


def manifest(top: str, with_times: bool = False) -> dict[str, dict[str, Any]]:
    """Every object below top by its relative path; hard links name the first path of their group."""
    found: dict[str, dict[str, Any]] = {".": describe(top, with_times)}
    first_name: dict[tuple[int, int], str] = {}
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            said = describe(path, with_times)
            if said["type"] != "dir" and said["nlink"] > 1:
                info = os.lstat(path)
                said["group"] = first_name.setdefault((info.st_dev, info.st_ino), relative)
            found[relative] = said
    return found


def differences(reference: dict[str, Any], tested: dict[str, Any], one: str = "ext4",
                other: str = "here") -> list[str]:
    """Where two manifests differ, one line each; `one` and `other` say in it whose they are."""
    lines = []
    for path in sorted(set(reference) | set(tested)):
        if path not in tested:
            lines.append(f"{path}: only on {one}")
        elif path not in reference:
            lines.append(f"{path}: not on {one}")
        elif reference[path] != tested[path]:
            keys = [k for k in {**reference[path], **tested[path]}
                    if reference[path].get(k) != tested[path].get(k)]
            lines += [f"{path}: {k}: {one} {str(reference[path].get(k)):.120}, {other} "
                      f"{str(tested[path].get(k)):.120}" for k in keys]
    return lines


class Tree:
    """The directory a case works in (it is the current directory) and what the case wrote down about it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.notes: list[Any] = []

    def note(self, *values: Any) -> None:
        """Write down something both file systems must agree on."""
        self.notes.append(list(values))

    def write(self, path: str, data: bytes = b"", mode: int = 0o644) -> str:
        """A file with this content."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
        finally:
            os.close(fd)
        return path

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        with open(path, "rb", buffering=0) as stream:
            return stream.read()

    def names(self, path: str = ".") -> list[str]:
        """The sorted names in a directory."""
        return sorted(os.listdir(path))
