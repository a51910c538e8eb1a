# SPDX-License-Identifier: GPL-2.0
"""Attributes: mode, owner, times, size, extended attributes, ACLs, inode flags and who may change them."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import time

from guest.disks import run
from guest.expect import as_user, equal, errno_of, expect_errno, skip, unlike_tmpfs
from guest.syscalls import statx
from guest.tree import Tree

ALSO_ON = "vintermezzo"

ACCESS_ACL, DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL attribute: (tag, permissions, id) entries."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def acl_for_user(uid: int, permissions: int) -> bytes:
    """rwx for the owner, r-x for group and others, and these permissions for one user."""
    nobody = 0xFFFFFFFF
    return acl((1, 7, nobody), (2, permissions, uid), (4, 5, nobody), (16, 7, nobody), (32, 5, nobody))


def test_chmod_and_its_rules(tree: Tree) -> None:
    """chmod as root and owner; others may not; setgid is lost when the group is not the caller's."""
    tree.write("f", b"x")
    for mode in (0o0, 0o7777, 0o644, 0o2755):
        os.chmod("f", mode)
        equal(os.stat("f").st_mode & 0o7777, mode, "mode")
    expect_errno(errno.EPERM, as_user, lambda: os.chmod("f", 0o600))
    os.chown("f", 1000, 2000)
    as_user(lambda: os.chmod("f", 0o2775))
    tree.note(oct(os.stat("f").st_mode))
    expect_errno(errno.ENOENT, os.chmod, "none", 0o600)
    expect_errno(errno.EPERM, as_user, lambda: os.chown("f", 1001, -1))
    expect_errno(errno.EPERM, as_user, lambda: os.chown("f", -1, 3000))
    as_user(lambda: os.chown("f", -1, 2000), groups=(2000,))


def test_chown_strips_setuid(tree: Tree) -> None:
    """chown takes setuid and setgid away from a program, keeps them on directories."""
    tree.write("program", b"x", 0o755)
    os.chmod("program", 0o6755)
    os.chown("program", 5, 6)
    equal(oct(os.stat("program").st_mode & 0o7777), "0o755", "mode")
    os.mkdir("d")
    os.chmod("d", 0o2775)
    os.chown("d", 5, 6)
    os.chown("program", 2**31, 2**32 - 2)
    equal((os.stat("program").st_uid, os.stat("program").st_gid), (2**31, 2**32 - 2), "large ids")


def test_write_strips_setuid_and_capabilities(tree: Tree) -> None:
    """A write by somebody without privilege takes setuid, setgid and security.capability away."""
    tree.write("program", b"x" * 100, 0o777)
    os.chmod("program", 0o6777)

    def overwrite() -> None:
        fd = os.open("program", os.O_WRONLY)
        os.write(fd, b"y")
        os.close(fd)
    as_user(overwrite)
    equal(oct(os.stat("program").st_mode & 0o7777), "0o777", "mode after write")
    os.chmod("program", 0o6777)
    as_user(lambda: os.truncate("program", 5))
    equal(oct(os.stat("program").st_mode & 0o7777), "0o777", "mode after truncate")
    os.setxattr("program", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    as_user(overwrite)
    expect_errno(errno.ENODATA, os.getxattr, "program", "security.capability")
    os.chmod("program", 0o6777)
    overwrite()
    tree.note(oct(os.stat("program").st_mode))


def test_times_to_the_nanosecond(tree: Tree) -> None:
    """utimensat sets nanoseconds, years past 2038, and honours UTIME_OMIT-like calls by owner only."""
    tree.write("f")
    os.utime("f", ns=(123456789_987654321, 1))
    info = os.stat("f")
    equal((info.st_atime_ns, info.st_mtime_ns), (123456789_987654321, 1), "times")
    os.utime("f", ns=(4102444800 * 10**9 + 5, 9999999999 * 10**9 + 7))
    tree.note(os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns)
    os.utime("f", ns=(-1, -10**18))
    tree.note(os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns)
    os.utime("f", ns=(2**62, 2**62))
    tree.note(os.stat("f").st_mtime_ns)
    os.symlink("f", "s")
    os.utime("s", ns=(5, 6), follow_symlinks=False)
    equal(os.lstat("s").st_mtime_ns, 6, "symlink mtime")
    os.chmod("f", 0o666)
    expect_errno(errno.EPERM, as_user, lambda: os.utime("f", ns=(1, 1)))
    as_user(lambda: os.utime("f"))
    os.chmod("f", 0o644)
    expect_errno(errno.EACCES, as_user, lambda: os.utime("f"))


def changed_times(path: str, action: object) -> str:
    """Which of mtime and ctime an action moves, after both were set back."""
    os.utime(path, ns=(10**9, 10**9))
    before = os.stat(path)
    start = time.time_ns()
    while time.time_ns() - start < 25_000_000:  # two ticks of the kernel's coarse clock
        pass
    action()  # type: ignore[operator]
    after = os.stat(path)
    words = [word for word in ("mtime", "ctime")
             if getattr(after, f"st_{word}_ns") != getattr(before, f"st_{word}_ns")]
    return "+".join(words) or "none"


def test_which_times_each_operation_moves(tree: Tree) -> None:
    """Each operation moves the times of file and parent that it moves on ext4."""
    tree.write("f", b"12345")
    os.mkdir("d")
    fd = os.open("f", os.O_RDWR)
    tree.note("write", changed_times("f", lambda: os.pwrite(fd, b"x", 0)))
    tree.note("truncate same", changed_times("f", lambda: os.truncate("f", 5)))
    tree.note("ftruncate same", changed_times("f", lambda: os.ftruncate(fd, 5)))
    tree.note("truncate", changed_times("f", lambda: os.truncate("f", 3)))
    tree.note("fallocate", changed_times("f", lambda: os.posix_fallocate(fd, 0, 100)))
    tree.note("chmod", changed_times("f", lambda: os.chmod("f", 0o600)))
    tree.note("xattr", changed_times("f", lambda: os.setxattr("f", "user.a", b"1")))
    tree.note("link", changed_times("f", lambda: os.link("f", "d/g")))
    tree.note("rename", changed_times("f", lambda: os.rename("f", "f2") or os.rename("f2", "f")))
    tree.note("unlink one", changed_times("f", lambda: os.unlink("d/g")))
    tree.note("read", changed_times("f", lambda: os.pread(fd, 3, 0)))
    tree.note("parent create", changed_times("d", lambda: tree.write("d/n")))
    tree.note("parent link", changed_times("d", lambda: os.link("f", "d/l")))
    tree.note("parent unlink", changed_times("d", lambda: os.unlink("d/l")))
    tree.note("parent rename", changed_times("d", lambda: os.rename("d/n", "d/o")))
    tree.note("parent chmod of child", changed_times("d", lambda: os.chmod("d/o", 0o600)))
    tree.note("O_TRUNC", changed_times("f", lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))))
    tree.note("O_TRUNC empty", changed_times("f", lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))))
    os.close(fd)


def test_access_time_follows_relatime(tree: Tree) -> None:
    """A read moves an old atime, as relatime says, and O_NOATIME does not."""
    tree.write("f", b"12345")
    os.mkdir("d")
    for path in ("f", "d"):
        os.utime(path, ns=(10**9, 2 * 10**9))
    fd = os.open("f", os.O_RDONLY | os.O_NOATIME)
    os.read(fd, 5)
    os.close(fd)
    equal(os.stat("f").st_atime_ns, 10**9, "atime after O_NOATIME")
    tree.read("f")
    os.listdir("d")
    tree.note("moved", os.stat("f").st_atime_ns > 10**10, os.stat("d").st_atime_ns > 10**10)
    os.symlink("f", "s")
    os.utime("s", ns=(10**9, 2 * 10**9), follow_symlinks=False)
    os.readlink("s")
    tree.note("symlink", os.lstat("s").st_atime_ns > 10**10)


@unlike_tmpfs("a file may be larger")
def test_truncate_every_way(tree: Tree) -> None:
    """truncate and ftruncate down, up, past the limit, on directories, read-only descriptors and symlinks."""
    tree.write("f", b"0123456789" * 1000)
    os.truncate("f", 5000)
    os.truncate("f", 9000)
    equal(tree.read("f")[4990:5010], b"0123456789" + bytes(10), "bytes around the old end")
    os.mkdir("d")
    expect_errno(errno.EISDIR, os.truncate, "d", 0)
    fd = os.open("f", os.O_RDONLY)
    expect_errno(errno.EINVAL, os.ftruncate, fd, 0)
    os.close(fd)
    expect_errno(errno.EFBIG, os.truncate, "f", 2**62)
    expect_errno(errno.EINVAL, os.truncate, "f", -1)
    os.symlink("f", "s")
    os.truncate("s", 17)
    os.truncate("f", 2**40)
    equal(os.stat("f").st_size, 2**40, "sparse size")
    os.truncate("f", 12)
    expect_errno(errno.EACCES, as_user, lambda: os.truncate("f", 0))


def test_umask_and_setgid_directories(tree: Tree) -> None:
    """The umask applies; a setgid directory hands down its group and, to directories, the bit."""
    os.umask(0o027)
    os.mkdir("masked", 0o777)
    tree.write("masked/file", b"", 0o666)
    equal((oct(os.stat("masked").st_mode & 0o777), oct(os.stat("masked/file").st_mode & 0o777)),
          ("0o750", "0o640"), "modes")
    os.umask(0)
    os.mkdir("shared")
    os.chown("shared", 0, 4242)
    os.chmod("shared", 0o2777)

    def inside() -> None:
        os.mkdir("shared/sub", 0o755)
        os.close(os.open("shared/file", os.O_CREAT | os.O_WRONLY, 0o2755))
        os.symlink("x", "shared/link")
        os.close(os.open("shared", os.O_TMPFILE | os.O_WRONLY, 0o600))
    as_user(inside)
    equal((os.stat("shared/sub").st_gid, os.stat("shared/file").st_gid), (4242, 4242), "groups")
    tree.note(oct(os.stat("shared/sub").st_mode), oct(os.stat("shared/file").st_mode))
    os.umask(0o022)


def test_sticky_directory(tree: Tree) -> None:
    """In a sticky directory only owners remove and rename."""
    os.mkdir("tmp")
    os.chmod("tmp", 0o1777)
    tree.write("tmp/roots")
    as_user(lambda: tree.write("tmp/own"))
    expect_errno(errno.EPERM, as_user, lambda: os.unlink("tmp/roots"))
    expect_errno(errno.EPERM, as_user, lambda: os.rename("tmp/roots", "tmp/x"))
    expect_errno(errno.EPERM, as_user, lambda: os.rename("tmp/own", "tmp/roots"))
    expect_errno(errno.EPERM, as_user, lambda: os.unlink("tmp/own"), 1001)
    as_user(lambda: os.rename("tmp/own", "tmp/own2"))


def test_permissions_of_others(tree: Tree) -> None:
    """Without privilege: search, read, write and execute bits decide as on ext4."""
    os.mkdir("closed", 0o700)
    tree.write("closed/f", b"x", 0o666)
    os.mkdir("search", 0o711)
    tree.write("search/f", b"x", 0o644)
    os.mkdir("write", 0o733)
    tree.write("secret", b"x", 0o600)
    tree.write("script", b"#!/bin/sh\nexit 0\n", 0o644)

    def attempts() -> list[str]:
        return [errno_of(os.stat, "closed/f"), errno_of(os.listdir, "closed"), errno_of(os.stat, "search/f"),
                errno_of(os.listdir, "search"), errno_of(os.open, "secret", os.O_RDONLY),
                errno_of(os.open, "search/f", os.O_WRONLY), errno_of(os.mkdir, "search/d"),
                errno_of(os.mkdir, "write/d"), errno_of(os.unlink, "secret"), errno_of(os.rmdir, "write/d"),
                errno_of(os.link, "script", "write/s"), str(os.access("script", os.X_OK)),
                str(os.access("secret", os.R_OK)), errno_of(os.execv, "./script", ["script"])]
    said = as_user(attempts)
    equal(said[0], "EACCES", "stat below 0700")  # type: ignore[index]
    tree.note(said)


@unlike_tmpfs("attributes may be larger")
def test_extended_attributes(tree: Tree) -> None:
    """user, trusted and security attributes: set, create, replace, list, remove, large and too large
    values."""
    tree.write("f")
    os.mkdir("d")
    for target in ("f", "d"):
        os.setxattr(target, "user.one", b"1")
        os.setxattr(target, "trusted.two", b"22")
        os.setxattr(target, "security.three", b"")
    expect_errno(errno.EEXIST, os.setxattr, "f", "user.one", b"x", os.XATTR_CREATE)
    expect_errno(errno.ENODATA, os.setxattr, "f", "user.none", b"x", os.XATTR_REPLACE)
    os.setxattr("f", "user.one", b"replaced", os.XATTR_REPLACE)
    expect_errno(errno.EOPNOTSUPP, os.setxattr, "f", "nonsense.x", b"1")
    expect_errno((errno.EINVAL, errno.EOPNOTSUPP), os.setxattr, "f", "user.", b"1")
    os.setxattr("f", "user.large", b"L" * 3500)
    expect_errno((errno.ENOSPC, errno.E2BIG), os.setxattr, "f", "user.larger", b"L" * 60000)
    expect_errno(errno.E2BIG, os.setxattr, "f", "user.huge", b"L" * 65537)
    expect_errno(errno.ERANGE, os.setxattr, "f", "user." + "n" * 300, b"1")
    os.symlink("f", "s")
    expect_errno(errno.EPERM, lambda: os.setxattr("s", "user.x", b"1", follow_symlinks=False))
    os.setxattr("s", "trusted.x", b"1", follow_symlinks=False)
    os.removexattr("d", "user.one")
    expect_errno(errno.ENODATA, os.removexattr, "d", "user.one")
    expect_errno(errno.ENODATA, os.getxattr, "d", "user.one")
    tree.note(sorted(as_user(lambda: os.listxattr("f"))))  # type: ignore[call-overload]
    expect_errno((errno.ENODATA, errno.EPERM), as_user, lambda: len(os.getxattr("f", "trusted.two")))
    expect_errno(errno.EPERM, as_user, lambda: os.setxattr("f", "trusted.two", b"x"))


def test_many_attributes(tree: Tree) -> None:
    """Attributes fill the inode and the block, then ENOSPC; removing makes room again."""
    tree.write("f")
    count = 0
    while errno_of(os.setxattr, "f", f"user.key{count:04}", b"v" * 50) == "ok":
        count += 1
        if count > 1000:
            skip("attributes have no limit here")
    tree.note("room for", count)
    os.removexattr("f", "user.key0000")
    os.setxattr("f", "user.again0", b"v" * 40)
    equal(len(os.listxattr("f")), count, "attributes")


def test_acl_decides_access(tree: Tree) -> None:
    """An access ACL lets one user in and changes the group bits of the mode."""
    tree.write("f", b"secret", 0o640)
    expect_errno(errno.EACCES, as_user, lambda: len(tree.read("f")))
    os.setxattr("f", ACCESS_ACL, acl_for_user(1000, 4))
    as_user(lambda: len(tree.read("f")))
    expect_errno(errno.EACCES, as_user, lambda: os.close(os.open("f", os.O_WRONLY)))
    os.chmod("f", 0o700)
    expect_errno(errno.EACCES, as_user, lambda: len(tree.read("f")))
    os.chmod("f", 0o770)
    as_user(lambda: len(tree.read("f")))
    expect_errno(errno.EPERM, as_user, lambda: os.setxattr("f", ACCESS_ACL, acl_for_user(1000, 7)))
    expect_errno(errno.EOPNOTSUPP, os.setxattr, "f", ACCESS_ACL, b"rubbish!")
    expect_errno(errno.EINVAL, os.setxattr, "f", ACCESS_ACL, acl((1, 7, 0xFFFFFFFF)))
    os.removexattr("f", ACCESS_ACL)
    expect_errno(errno.EACCES, os.setxattr, "f", DEFAULT_ACL, acl_for_user(1000, 7))


def test_default_acl_is_inherited(tree: Tree) -> None:
    """A default ACL replaces the umask for files, directories, nodes and nameless files below it."""
    os.umask(0o077)
    os.mkdir("d")
    os.setxattr("d", DEFAULT_ACL, acl_for_user(1000, 6))
    tree.write("d/file", b"x", 0o666)
    os.mkdir("d/sub", 0o777)
    os.mkfifo("d/fifo", 0o666)
    os.symlink("x", "d/link")
    fd = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o666)
    tree.note("tmpfile", oct(os.fstat(fd).st_mode), os.getxattr(fd, ACCESS_ACL).hex())
    os.close(fd)
    tree.write("d/sub/deeper", b"y", 0o600)
    os.umask(0o022)


def test_acl_tools(tree: Tree) -> None:
    """setfacl and getfacl speak with the file system as with ext4."""
    tree.write("f", b"x")
    os.mkdir("d")
    run("setfacl", "-m", "u:1000:rw,g:2000:r,m::rw", "f")
    run("setfacl", "-d", "-m", "u:1000:rwx,o::-", "d")
    os.mkdir("d/e")
    tree.note(run("getfacl", "-n", "f", "d", "d/e"))
    run("setfacl", "-b", "f")
    run("setfacl", "-k", "d")
    tree.note(run("getfacl", "-n", "f", "d"))


def test_inode_flags(tree: Tree) -> None:
    """chattr: immutable and append-only take effect and can be taken back; nodump and noatime are kept."""
    tree.write("f", b"fixed")
    os.mkdir("d")
    run("chattr", "+i", "f")
    tree.note([errno_of(os.unlink, "f"), errno_of(os.open, "f", os.O_WRONLY), errno_of(os.rename, "f", "g"),
               errno_of(os.chmod, "f", 0o600), errno_of(os.link, "f", "l"), errno_of(os.truncate, "f", 0),
               errno_of(os.setxattr, "f", "user.x", b"1"), errno_of(os.utime, "f")])
    expect_errno(errno.EPERM, os.unlink, "f")
    tree.note(run("lsattr", "f").split()[0], statx("f").attributes & 0x10)
    run("chattr", "-i", "f")
    os.chmod("f", 0o644)
    run("chattr", "+a", "f")
    expect_errno(errno.EPERM, os.open, "f", os.O_WRONLY)
    fd = os.open("f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b" and more")
    expect_errno(errno.EPERM, os.ftruncate, fd, 0)
    os.close(fd)
    run("chattr", "-a", "f")
    run("chattr", "+i", "d")
    expect_errno(errno.EPERM, os.mkdir, "d/x")
    run("chattr", "-i", "d")
    run("chattr", "+a", "d")
    tree.write("d/new")
    expect_errno(errno.EPERM, os.unlink, "d/new")
    run("chattr", "-a", "d")
    run("chattr", "+dA", "f")
    tree.note(run("lsattr", "f").split()[0])
    expect_errno(errno.EPERM, as_user, lambda: run_or_eperm("chattr", "+i", "f"))


def run_or_eperm(*command: str) -> None:
    """A tool's exit status as an errno."""
    if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        raise PermissionError(errno.EPERM, command[0])


def test_statx_knows_the_birth_time(tree: Tree) -> None:
    """statx gives a birth time that later changes do not move, the same inode as stat, and ext4's
    attributes."""
    tree.write("f", b"x")
    first = statx("f")
    if not first.mask & 0x800:
        raise AssertionError("no birth time")
    os.chmod("f", 0o600)
    tree.write("f", b"yy")
    second = statx("f")
    equal(second.btime_ns, first.btime_ns, "birth time")
    equal((second.ino, second.dev, second.size), (os.stat("f").st_ino, os.stat("f").st_dev, 2),
          "statx and stat")
    tree.note(first.mask, first.attributes, first.attributes_mask)


def test_mapped_ids_and_capabilities(tree: Tree) -> None:
    """A file without read permission is read with CAP_DAC_OVERRIDE; ids survive 32 bits."""
    tree.write("f", b"x", 0o000)
    os.chown("f", 70000, 80000)
    equal(tree.read("f"), b"x", "content as root")
    expect_errno(errno.EACCES, as_user, lambda: len(tree.read("f")), 70001)
    tree.note(os.stat("f").st_uid, os.stat("f").st_gid)


def test_fifo_times_follow_writes(tree: Tree) -> None:
    """A write to a FIFO sets its mtime, which no lower write does for it."""
    os.mkfifo("fifo")
    os.utime("fifo", (1, 1))
    fd = os.open("fifo", os.O_RDWR)
    os.write(fd, b"x")
    os.close(fd)
    tree.note(os.stat("fifo").st_mtime > 1)
    tree.note(os.stat("fifo").st_mtime == os.stat("fifo").st_ctime)
