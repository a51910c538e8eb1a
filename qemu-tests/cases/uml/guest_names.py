# SPDX-License-Identifier: GPL-2.0
"""Names: making, linking, renaming and removing every kind of object, on ext4 and on the file system under
test."""

from __future__ import annotations

import errno
import os
import socket
import stat

from guest.disks import debugfs_write, make_ext4
from guest.expect import as_user, equal, errno_of, expect_errno, intermezzo_only
from guest.subject import FILESET, mounted
from guest.syscalls import (RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, file_handle, link_open_file,
                            rename)
from guest.tree import Tree

ALSO_ON = "vintermezzo"


def test_mkdir_and_rmdir_count_links(tree: Tree) -> None:
    """mkdir and rmdir keep the parent's link count."""
    os.mkdir("a")
    os.mkdir("a/b", 0o751)
    equal(os.stat("a").st_nlink, 3, "links of a")
    expect_errno(errno.EEXIST, os.mkdir, "a/b")
    expect_errno(errno.ENOTEMPTY, os.rmdir, "a")
    os.rmdir("a/b")
    equal(os.stat("a").st_nlink, 2, "links of a")
    expect_errno(errno.ENOENT, os.rmdir, "a/b")


def test_create_sees_existing_objects(tree: Tree) -> None:
    """open with O_CREAT and O_EXCL meets files, directories, symlinks and missing parents as ext4 does."""
    tree.write("file", b"x")
    os.mkdir("dir")
    os.symlink("nowhere", "dangling")
    flags = os.O_CREAT | os.O_RDWR
    expect_errno(errno.EEXIST, os.open, "file", flags | os.O_EXCL)
    expect_errno(errno.EISDIR, os.open, "dir", flags)
    expect_errno(errno.EEXIST, os.open, "dangling", flags | os.O_EXCL)
    expect_errno(errno.ENOENT, os.open, "missing/file", flags)
    expect_errno(errno.ENOTDIR, os.open, "file/below", flags)
    expect_errno(errno.ELOOP, os.open, "dangling", flags | os.O_NOFOLLOW)
    os.close(os.open("dangling", flags, 0o600))
    equal(tree.names(), ["dangling", "dir", "file", "nowhere"], "names")


def test_mknod_makes_every_type(tree: Tree) -> None:
    """fifo, character and block device, socket and plain file by mknod, with their device numbers."""
    os.mkfifo("fifo", 0o640)
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod("large", stat.S_IFCHR | 0o600, os.makedev(259, 70000))
    os.mknod("block", stat.S_IFBLK | 0o600, os.makedev(98, 0))
    os.mknod("socket", stat.S_IFSOCK | 0o600)
    os.mknod("file", stat.S_IFREG | 0o604)
    equal(os.stat("large").st_rdev, os.makedev(259, 70000), "rdev")
    fd = os.open("null", os.O_RDWR)
    equal((os.write(fd, b"gone"), os.read(fd, 4)), (4, b""), "/dev/null by our node")
    os.close(fd)
    os.chmod(".", 0o777)
    expect_errno(errno.EPERM, as_user, lambda: os.mknod("mine", stat.S_IFCHR, os.makedev(1, 3)))


def test_fifo_and_socket_work(tree: Tree) -> None:
    """Bytes pass a fifo and a bound socket that live here."""
    os.mkfifo("fifo")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"through")
    equal(os.read(reader, 16), b"through", "fifo")
    os.close(reader)
    os.close(writer)
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    client.close()
    server.close()
    client = socket.socket(socket.AF_UNIX)
    expect_errno(errno.ECONNREFUSED, client.connect, "socket")
    client.close()


def test_symlinks_short_long_and_too_long(tree: Tree) -> None:
    """Symlinks inside the inode, in a block, and past the limit; they are followed."""
    tree.write("target", b"here")
    os.symlink("target", "fast")
    os.symlink("./" * 60 + "target", "slow")
    os.symlink("x" * 4095, "longest")
    expect_errno(errno.ENAMETOOLONG, os.symlink, "x" * 4096, "too-long")
    expect_errno(errno.ENOENT, os.symlink, "", "empty")
    expect_errno(errno.EEXIST, os.symlink, "a", "fast")
    equal((tree.read("fast"), tree.read("slow")), (b"here", b"here"), "content through links")
    equal(os.lstat("longest").st_size, 4095, "size of longest")
    os.symlink("loop", "loop")
    expect_errno(errno.ELOOP, os.stat, "loop")
    os.symlink("target", "owned")
    os.chown("owned", 7, 8, follow_symlinks=False)


def test_links_share_the_inode(tree: Tree) -> None:
    """link counts, shared content, and what cannot be linked."""
    tree.write("a", b"1")
    os.link("a", "b")
    os.mkdir("d")
    os.link("b", "d/c")
    equal(os.stat("a").st_nlink, 3, "links")
    equal(os.stat("a").st_ino, os.stat("d/c").st_ino, "inode")
    tree.write("d/c", b"changed")
    equal(tree.read("a"), b"changed", "content by the first name")
    expect_errno(errno.EPERM, os.link, "d", "dir-link")
    expect_errno(errno.EEXIST, os.link, "a", "b")
    expect_errno(errno.EXDEV, os.link, "a", "/tmp/elsewhere")
    os.symlink("a", "s")
    os.link("s", "s2", follow_symlinks=False)
    equal(os.lstat("s").st_nlink, 2, "links of the symlink")
    os.unlink("a")
    equal(os.stat("b").st_nlink, 2, "links after unlink")


def test_unlink_refusals(tree: Tree) -> None:
    """unlink of directories and missing names, rmdir of files."""
    os.mkdir("d")
    tree.write("f")
    expect_errno(errno.EISDIR, os.unlink, "d")
    expect_errno(errno.ENOTDIR, os.rmdir, "f")
    expect_errno(errno.ENOENT, os.unlink, "none")
    expect_errno(errno.EINVAL, os.rmdir, "d/.")
    expect_errno(errno.ENOTEMPTY, os.rmdir, "d/..")


def test_deleted_file_stays_usable(tree: Tree) -> None:
    """An unlinked open file reads, writes, maps and stats with link count 0."""
    tree.write("f", b"before")
    fd = os.open("f", os.O_RDWR)
    os.unlink("f")
    equal(os.fstat(fd).st_nlink, 0, "links")
    os.pwrite(fd, b"AFTER", 0)
    equal(os.pread(fd, 10, 0), b"AFTERe", "content")
    os.ftruncate(fd, 100000)
    os.fchmod(fd, 0o600)
    equal(os.fstat(fd).st_size, 100000, "size")
    expect_errno(errno.ENOENT, link_open_file, fd, "again")
    os.close(fd)
    equal(tree.names(), [], "names")


def test_removed_working_directory(tree: Tree) -> None:
    """A removed current directory is empty and takes nothing."""
    os.mkdir("d")
    os.chdir("d")
    os.rmdir("../d")
    expect_errno(errno.ENOENT, os.mkdir, "x")
    expect_errno(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY)
    equal(os.listdir("."), [], "entries")
    expect_errno(errno.ENOENT, os.getcwd)
    tree.note(os.stat(".").st_nlink)
    os.chdir(tree.root)


def test_rename_over_file_and_directory(tree: Tree) -> None:
    """rename replaces files and empty directories and keeps the inode."""
    tree.write("a", b"A")
    tree.write("b", b"B")
    ino = os.stat("a").st_ino
    os.rename("a", "b")
    equal((os.stat("b").st_ino, tree.read("b")), (ino, b"A"), "b")
    os.mkdir("d1")
    os.mkdir("d1/sub")
    os.mkdir("d2")
    os.rename("d1", "d2")
    equal(os.stat(".").st_nlink, 3, "links of the parent")
    os.mkdir("full")
    tree.write("full/x")
    expect_errno((errno.ENOTEMPTY, errno.EEXIST), os.rename, "d2", "full")
    expect_errno(errno.EISDIR, os.rename, "b", "d2")
    expect_errno(errno.ENOTDIR, os.rename, "d2", "b")
    expect_errno(errno.ENOENT, os.rename, "none", "b")


def test_rename_into_itself_is_refused(tree: Tree) -> None:
    """A directory cannot go below itself, and an ancestor cannot be replaced."""
    os.makedirs("a/b/c")
    expect_errno(errno.EINVAL, os.rename, "a", "a/b/c/d")
    expect_errno(errno.EINVAL, os.rename, "a", "a/b")
    expect_errno(errno.ENOTEMPTY, os.rename, "a/b/c", "a")
    expect_errno(errno.EBUSY, os.rename, "a/.", "x")


def test_rename_of_two_names_of_one_file_does_nothing(tree: Tree) -> None:
    """rename between hard links of one inode leaves both names."""
    tree.write("a", b"1")
    os.link("a", "b")
    os.rename("a", "b")
    equal(tree.names(), ["a", "b"], "names")
    os.rename("a", "a")


def test_rename_across_directories_moves_dotdot(tree: Tree) -> None:
    """A moved directory's .. is its new parent and both link counts follow."""
    os.makedirs("from/moved/deep")
    os.mkdir("to")
    os.rename("from/moved", "to/moved")
    equal(os.stat("to/moved/..").st_ino, os.stat("to").st_ino, "..")
    tree.note(os.stat("from").st_nlink, os.stat("to").st_nlink)
    tree.write("from/file", b"f")
    tree.write("to/file", b"old")
    os.rename("from/file", "to/file")
    equal(tree.read("to/file"), b"f", "content")


def test_rename_noreplace(tree: Tree) -> None:
    """RENAME_NOREPLACE refuses an existing name."""
    tree.write("a", b"A")
    tree.write("b", b"B")
    expect_errno(errno.EEXIST, rename, "a", "b", RENAME_NOREPLACE)
    rename("a", "c", RENAME_NOREPLACE)
    expect_errno(errno.EINVAL, rename, "b", "c", RENAME_NOREPLACE | RENAME_EXCHANGE)


def test_rename_exchange(tree: Tree) -> None:
    """RENAME_EXCHANGE swaps files, directories and one of each, also across directories."""
    tree.write("a", b"A")
    tree.write("b", b"B")
    rename("a", "b", RENAME_EXCHANGE)
    equal((tree.read("a"), tree.read("b")), (b"B", b"A"), "contents")
    os.makedirs("x/dir/sub")
    os.mkdir("y")
    tree.write("y/file", b"F")
    rename("x/dir", "y/file", RENAME_EXCHANGE)
    equal(tree.read("x/dir"), b"F", "file in the directory's place")
    equal(os.stat("y/file/..").st_ino, os.stat("y").st_ino, "..")
    tree.note(os.stat("x").st_nlink, os.stat("y").st_nlink)
    expect_errno(errno.ENOENT, rename, "a", "none", RENAME_EXCHANGE)
    expect_errno(errno.EINVAL, rename, "y", "y/file", RENAME_EXCHANGE)


def test_rename_whiteout(tree: Tree) -> None:
    """RENAME_WHITEOUT leaves a 0:0 character device, as overlayfs needs it."""
    tree.write("a", b"A")
    rename("a", "b", RENAME_WHITEOUT)
    info = os.lstat("a")
    equal((stat.S_ISCHR(info.st_mode), info.st_rdev), (True, 0), "the whiteout")
    os.mkdir("d")
    rename("b", "d/b", RENAME_WHITEOUT)
    tree.write("c", b"C")
    rename("c", "d/b", RENAME_WHITEOUT)
    tree.note(tree.names(), tree.names("d"))


def test_names_of_every_length_and_byte(tree: Tree) -> None:
    """255 bytes are a name, 256 are not; any byte but slash and zero goes."""
    tree.write("n" * 255, b"long")
    expect_errno(errno.ENAMETOOLONG, os.open, "n" * 256, os.O_CREAT | os.O_WRONLY)
    expect_errno(errno.ENAMETOOLONG, os.mkdir, "n" * 256)
    expect_errno(errno.ENAMETOOLONG, os.stat, "n" * 256)
    expect_errno(errno.ENAMETOOLONG, os.rename, "n" * 255, "m" * 256)
    expect_errno(errno.ENAMETOOLONG, os.stat, "/".join(["d"] * 2100))
    every = bytes(b for b in range(1, 256) if b != ord("/"))
    os.close(os.open(every[:200], os.O_CREAT | os.O_WRONLY))
    os.close(os.open(every[200:], os.O_CREAT | os.O_WRONLY))
    tree.write(" trailing blank ")
    tree.write("new\nline")
    tree.write("Case")
    tree.write("case")
    tree.note(sorted(os.fsencode(n).hex() for n in os.listdir(".")))


def test_deep_paths(tree: Tree) -> None:
    """A path of more than PATH_MAX bytes can be built step by step and removed again."""
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    tree.note(errno_of(os.stat, "../" * 20))
    tree.write("bottom", b"deep")
    for _ in range(20):
        os.chdir("..")
    equal(os.stat(".").st_ino, os.stat(tree.root).st_ino, "back on top")
    fd = os.open(".", os.O_RDONLY)
    for _ in range(20):
        os.chdir("d" * 250)
    os.unlink("bottom")
    for _ in range(20):
        os.chdir("..")
        os.rmdir("d" * 250)
    os.close(fd)


def test_tmpfile_gets_a_name_by_linkat(tree: Tree) -> None:
    """O_TMPFILE files have no name until linkat, and O_EXCL ones never get one."""
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"nameless" * 1000)
    os.setxattr(fd, "user.k", b"v")
    equal((os.fstat(fd).st_nlink, tree.names()), (0, []), "before linkat")
    link_open_file(fd, "named")
    equal(os.fstat(fd).st_nlink, 1, "links after linkat")
    os.write(fd, b"more")
    os.close(fd)
    private = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    expect_errno(errno.ENOENT, link_open_file, private, "never")
    os.close(private)
    expect_errno(errno.EINVAL, os.open, ".", os.O_TMPFILE | os.O_RDONLY)
    expect_errno(errno.ENOTDIR, os.open, "named", os.O_TMPFILE | os.O_RDWR)
    equal(len(tree.read("named")), 8004, "size")


def test_link_count_limit(disk: str) -> None:
    """A file that has 64,999 links takes one more and refuses the next."""
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as folder:
        os.close(os.open(f"{folder}/f", os.O_CREAT | os.O_WRONLY))
    debugfs_write(disk, "set_inode_field f links_count 64999")
    with mounted(disk, FILESET) as folder:
        os.link(f"{folder}/f", f"{folder}/g")
        equal(os.stat(f"{folder}/f").st_nlink, 65000, "links")
        expect_errno(errno.EMLINK, os.link, f"{folder}/f", f"{folder}/h")


def test_trailing_slashes_and_dots(tree: Tree) -> None:
    """Names that end in a slash or are dots answer as ext4 does."""
    tree.write("file")
    os.mkdir("dir")
    tree.note([errno_of(os.mkdir, "new/"), errno_of(os.rename, "file", "other/"),
               errno_of(os.unlink, "file/"),
               errno_of(os.rename, "dir/", "dir2/"), errno_of(os.symlink, "t", "s/"), errno_of(os.rmdir,
                                                                                               "dir2/"),
               errno_of(os.open, "c/", os.O_CREAT | os.O_WRONLY), errno_of(os.link, "file", "nowhere/x"),
               errno_of(os.mkdir, "."), errno_of(os.mkdir, ".."), errno_of(os.rename, "file", ".")])


@intermezzo_only
def test_file_handles_are_refused(disk: str, where: str) -> None:
    """name_to_handle_at says EOPNOTSUPP: an object found by handle would have no class yet
    (docs/decisions/0002)."""
    make_ext4(disk)
    with mounted(disk, FILESET, where=where):
        with open(f"{where}/f", "wb"):
            pass
        expect_errno(errno.EOPNOTSUPP, file_handle, f"{where}/f")
