# SPDX-License-Identifier: GPL-2.0
"""What is built on a file system: overlayfs, bind mounts, loop disks, programs, libraries, databases,
archives."""

from __future__ import annotations

import ctypes
import errno
import glob
import mmap
import os
import shutil
import signal
import sqlite3
import stat
import struct

from guest.disks import check_ext, make_ext4, run
from guest.expect import as_user, equal, errno_of, expect_errno, in_child, skip
from guest.mounting import MS_BIND, MS_RDONLY, MS_REMOUNT, mount_new, mount_old, umount
from guest.subject import FILESET, mount_point, mounted
from guest.syscalls import CLONE_NEWNS, RENAME_EXCHANGE, call, rename
from guest.tree import Tree, manifest


def overlay_options(folder: str, extra: str = "") -> str:
    """Lower, upper and work directories below one folder."""
    for name in ("lower", "upper", "work"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    return f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work{extra}"


def use_overlay(merged: str, layers: str) -> None:
    """Copy-up, whiteouts, opaque directories, renames, links, tmpfiles, attributes through an overlay."""
    with open(f"{merged}/kept", "ab") as stream:
        stream.write(b" and changed")
    os.chmod(f"{merged}/dir/inner", 0o604)
    os.unlink(f"{merged}/removed")
    info = os.lstat(f"{layers}/upper/removed")
    equal((stat.S_ISCHR(info.st_mode), info.st_rdev), (True, 0), "whiteout")
    shutil.rmtree(f"{merged}/dir2")
    os.mkdir(f"{merged}/dir2")
    equal(os.listdir(f"{merged}/dir2"), [], "opaque directory")
    os.rename(f"{merged}/kept", f"{merged}/renamed")
    os.rename(f"{merged}/dir/inner", f"{merged}/dir/inner2")
    os.link(f"{merged}/renamed", f"{merged}/linked")
    rename(f"{merged}/renamed", f"{merged}/dir/inner2", RENAME_EXCHANGE)
    os.setxattr(f"{merged}/linked", "user.k", b"v")
    os.symlink("x", f"{merged}/sym")
    os.truncate(f"{merged}/big", 10)
    fd = os.open(f"{merged}/mapped", os.O_RDWR)
    mapping = mmap.mmap(fd, 4096)
    mapping[0:4] = b"MMAP"
    mapping.close()
    os.close(fd)
    with open(f"{merged}/mapped", "rb") as stream:
        equal(stream.read(4), b"MMAP", "mapped store")


def test_overlayfs_with_upper_and_work_here(tree: Tree) -> None:
    """overlayfs takes this file system as lower and as upper with everything it wants, and gives the same
    trees."""
    folder = tree.root
    options = overlay_options(folder)
    os.makedirs("lower/dir/deep")
    os.makedirs("lower/dir2/x")
    for name in ("kept", "removed", "big", "mapped", "dir/inner", "dir/deep/f"):
        tree.write(f"lower/{name}", b"lower " * 1000)
    os.setxattr("lower/kept", "user.lower", b"1")
    merged = mount_point()
    mount_old("overlay", merged, "overlay", options)
    use_overlay(merged, folder)
    for path, said in manifest(merged).items():
        # Without file handles of its layers overlayfs gives the names of one copied-up file inode numbers of
        # their own until the next mount: docs/architecture.md, "Not there yet".
        said.pop("group", None)
        tree.note("merged", path, said)
    tree.note(errno_of(os.rename, f"{merged}/dir", f"{merged}/dir3"))
    umount(merged)
    mount_new("overlay", merged, "overlay", options)
    for path, said in manifest(merged).items():
        tree.note("mounted again", path, said)
    umount(merged)
    # The layers carry file handles and a random UUID in attributes.
    for layer in ("upper", "work"):
        shutil.rmtree(layer)


def test_overlayfs_says_nothing_about_missing_features(disk: str, where: str) -> None:
    """Mounting an overlay prints no complaint about the upper's RENAME_WHITEOUT, d_type, tmpfile or
    xattrs."""
    from guest.kernel_log import KernelLog
    make_ext4(disk)
    with mounted(disk, FILESET) as folder:
        log = KernelLog()
        mount_old("overlay", where, "overlay", overlay_options(folder, ",redirect_dir=on,metacopy=on"))
        umount(where)
        said = log.read()
        if "upper fs" in said or "overlayfs" in said:
            raise AssertionError(said)


def test_overlayfs_index_and_redirects(disk: str, where: str) -> None:
    """redirect_dir lets a merged directory be renamed, in an overlay over this file system."""
    make_ext4(disk)
    with mounted(disk, FILESET) as folder:
        options = overlay_options(folder, ",redirect_dir=on")
        os.makedirs(f"{folder}/lower/d/e")
        mount_old("overlay", where, "overlay", options)
        os.rename(f"{where}/d", f"{where}/moved")
        os.mkdir(f"{where}/moved/new")
        umount(where)
        mount_old("overlay", where, "overlay", options)
        equal(sorted(os.listdir(f"{where}/moved")), ["e", "new"], "moved directory")
        umount(where)
    check_ext(disk)


def test_bind_mounts(disk: str, where: str) -> None:
    """A directory and a file are bound elsewhere, read-only too, and the source stays one file system."""
    make_ext4(disk)
    with mounted(disk, FILESET) as folder:
        os.mkdir(f"{folder}/d")
        os.close(os.open(f"{folder}/f", os.O_CREAT))
        call("mount", f"{folder}/d", where, None, MS_BIND, None)
        os.mkdir(f"{where}/seen")
        equal(os.listdir(f"{folder}/d"), ["seen"], "bound directory")
        expect_errno(errno.EXDEV, os.rename, f"{where}/seen", f"{folder}/moved")
        call("mount", None, where, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None)
        expect_errno(errno.EROFS, os.mkdir, f"{where}/no")
        os.mkdir(f"{folder}/d/yes")
        umount(where)
        target = f"{mount_point()}/file"
        os.close(os.open(target, os.O_CREAT))
        call("mount", f"{folder}/f", target, None, MS_BIND, None)
        with open(target, "wb") as stream:
            stream.write(b"through the bind")
        equal(os.stat(f"{folder}/f").st_size, 16, "size")
        umount(target)


def test_mount_points_are_busy(disk: str) -> None:
    """Mount points cannot be removed, renamed or replaced; in another name space removal unmounts them."""
    make_ext4(disk)
    with mounted(disk, FILESET) as folder:
        for name in ("d", "e", "parent"):
            os.mkdir(f"{folder}/{name}")
        os.mkdir(f"{folder}/parent/below")
        os.close(os.open(f"{folder}/f", os.O_CREAT))
        os.close(os.open(f"{folder}/g", os.O_CREAT))
        for name in ("d", "parent/below"):
            mount_old("none", f"{folder}/{name}", "tmpfs")
        call("mount", f"{folder}/g", f"{folder}/f", None, MS_BIND, None)
        expect_errno(errno.EBUSY, os.rmdir, f"{folder}/d")
        expect_errno(errno.EBUSY, os.rename, f"{folder}/d", f"{folder}/x")
        expect_errno(errno.EBUSY, os.rename, f"{folder}/e", f"{folder}/d")
        expect_errno(errno.EBUSY, os.unlink, f"{folder}/f")
        expect_errno(errno.EBUSY, os.rename, f"{folder}/g", f"{folder}/f")
        expect_errno(errno.EBUSY, rename, f"{folder}/e", f"{folder}/d", RENAME_EXCHANGE)
        os.rename(f"{folder}/parent", f"{folder}/moved")
        os.mkdir(f"{folder}/moved/below/in-the-tmpfs")
        for name in ("d", "f", "moved/below"):
            umount(f"{folder}/{name}")

        def mount_in_other_namespace() -> None:
            call("unshare", CLONE_NEWNS)
            call("mount", None, "/", None, 0x4000 | 1 << 18, None)
            mount_old("none", f"{folder}/e", "tmpfs")
            in_child(lambda: None)
        in_child(mount_in_other_namespace)
        os.rmdir(f"{folder}/e")


def test_root_can_be_changed_to_it(disk: str) -> None:
    """chroot and pivot_root into the mount work: it can be a root."""
    make_ext4(disk)
    with mounted(disk, FILESET) as folder:
        os.mkdir(f"{folder}/old")

        def inside() -> list[str]:
            os.chroot(folder)
            os.chdir("/")
            os.mkdir("/from-inside")
            return sorted(os.listdir("/"))
        equal(in_child(inside), ["from-inside", "lost+found", "old"], "listing inside")

        def pivoted() -> list[str]:
            call("unshare", CLONE_NEWNS)
            call("mount", None, "/", None, 0x4000 | 1 << 18, None)
            call("mount", folder, folder, None, MS_BIND, None)
            os.chdir(folder)
            if ctypes.CDLL(None, use_errno=True).syscall(155, b".", b"old"):
                raise OSError(ctypes.get_errno(), "pivot_root")
            os.chdir("/")
            umount("/old", 2)
            return sorted(os.listdir("/"))
        equal(in_child(pivoted), ["from-inside", "lost+found", "old"], "listing after pivot_root")


def test_programs_and_libraries_run(tree: Tree) -> None:
    """A copied program runs, a copied library loads, maps show their paths, and setuid takes effect."""
    shutil.copy("/usr/bin/id", "id")
    os.chmod("id", 0o755)
    tree.note(run("./id", "-u").strip())
    os.chmod("id", 0o4755)
    tree.note(as_user(lambda: run("./id", "-u").strip()))
    library = glob.glob("/usr/lib/*/libz.so.1") or skip("no libz on this host")
    shutil.copy(library[0], "libcopy.so")

    def load() -> str:
        loaded = ctypes.CDLL(f"{tree.root}/libcopy.so")
        loaded.zlibVersion.restype = ctypes.c_char_p
        with open("/proc/self/maps", encoding="utf-8") as maps:
            if f"{tree.root}/libcopy.so" not in maps.read():
                raise AssertionError("maps does not show the library by its path")
        return loaded.zlibVersion().decode()
    tree.note(in_child(load))
    tree.write("script", b"#!/bin/sh\necho script runs in $PWD | sed 's,.*/,,'\n", 0o755)
    tree.note(run("./script").strip())
    tree.write("not-executable", b"#!/bin/sh\n", 0o644)
    expect_errno(errno.EACCES, in_child, lambda: os.execv("./not-executable", ["x"]))


def test_file_capabilities(tree: Tree) -> None:
    """A program's file capability takes effect for a user, as ping needs it, and survives cp -a."""
    shutil.copy("/bin/cat", "reader")
    os.chmod("reader", 0o755)
    tree.write("secret", b"only for CAP_DAC_READ_SEARCH", 0o600)
    os.setxattr("reader", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 2, 0, 0, 0))
    equal(as_user(lambda: run("./reader", "secret")), "only for CAP_DAC_READ_SEARCH", "content")
    run("cp", "-a", "reader", "copy")
    equal(as_user(lambda: run("./copy", "secret")), "only for CAP_DAC_READ_SEARCH", "content by the copy")


def test_maps_and_inode_numbers_agree(tree: Tree) -> None:
    """/proc/self/maps gives the device and inode that stat gives, so tools like lsof and perf find the
    file."""
    tree.write("f", bytes(4096))
    fd = os.open("f", os.O_RDONLY)
    mapping = mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
    info = os.fstat(fd)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        line = next(line for line in maps if line.rstrip().endswith(f"{tree.root}/f"))
    word = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x} {info.st_ino}"
    if word not in line:
        raise AssertionError(f"maps says {line.split()[3:5]}, stat says {word}")
    mapping.close()
    os.close(fd)


def test_swap_file(tree: Tree) -> None:
    """swapon on a file works or is refused exactly as on ext4, and a refused file stays usable."""
    tree.write("swap", bytes(4 << 20), 0o600)
    os.sync()
    run("mkswap", "swap")
    result = errno_of(call, "swapon", f"{tree.root}/swap", 0)
    tree.note("ok" if result in ("ok", "EINVAL", "ENOSYS") else result)
    if result == "ok":
        call("swapoff", f"{tree.root}/swap")
    os.unlink("swap")


def test_loop_disk_in_a_file(tree: Tree) -> None:
    """A disk image in a file here is mounted by the loop driver, written, and clean afterwards."""
    with open("image", "wb") as stream:
        stream.truncate(16 << 20)
    make_ext4("image")
    where = mount_point()
    device = run("losetup", "--find", "--show", "image").strip()
    mount_old(device, where, "ext4")
    for number in range(50):
        with open(f"{where}/f{number}", "wb") as stream:
            stream.write(os.urandom(20000))
    umount(where)
    run("losetup", "--detach", device)
    run("e2fsck", "-fn", "image")
    os.unlink("image")


def test_database_with_a_shared_memory_log(tree: Tree) -> None:
    """SQLite in WAL mode: two processes, locks, a shared mapping, fsync, and the check passes."""
    connection = sqlite3.connect("base", isolation_level=None)
    equal(connection.execute("pragma journal_mode=wal").fetchone()[0], "wal", "journal mode")
    connection.execute("create table t (k integer primary key, v blob)")

    def insert(base: int) -> None:
        other = sqlite3.connect("base", timeout=30)
        for number in range(40):
            with other:
                other.execute("insert into t values (?, ?)", (base + number, bytes(500)))
        other.close()
    children = []
    for worker in range(3):
        child = os.fork()
        if child == 0:
            insert(worker * 1000)
            os._exit(0)
        children.append(child)
    for child in children:
        equal(os.waitpid(child, 0)[1], 0, "writer")
    connection.close()
    connection = sqlite3.connect("base")
    equal(connection.execute("select count(*) from t").fetchone()[0], 120, "rows")
    equal(connection.execute("pragma integrity_check").fetchone()[0], "ok", "integrity")
    connection.execute("pragma journal_mode=delete")
    connection.close()
    os.unlink("base")


def test_archives_keep_everything(tree: Tree) -> None:
    """cp -a and tar with xattrs and ACLs reproduce a tree exactly, on and off this file system."""
    os.makedirs("a/sub/deep")
    tree.write("a/f", b"x" * 5000, 0o640)
    os.link("a/f", "a/sub/hard")
    os.symlink("../f", "a/sub/sym")
    os.mkfifo("a/fifo")
    os.setxattr("a/f", "user.k", b"v")
    run("setfacl", "-m", "u:1000:rw", "a/f")
    run("setfacl", "-d", "-m", "u:1000:rwx", "a/sub")
    os.chown("a/sub/deep", 1000, 2000)
    with open("a/sparse", "wb") as stream:
        stream.seek(1 << 20)
        stream.write(b"end")
    os.utime("a/f", ns=(10**18, 10**18 + 12345))
    run("cp", "-a", "a", "b")
    run("tar", "--xattrs", "--acls", "--xattrs-include=*", "-cSf", "t.tar", "a")
    os.mkdir("c")
    run("tar", "--xattrs", "--acls", "--xattrs-include=*", "-xpSf", "t.tar", "-C", "c")
    wanted = manifest("a", with_times=True)
    for copy in ("b", "c/a"):
        found = manifest(copy, with_times=True)
        for path in wanted:
            equal({k: v for k, v in found[path].items() if k != "mtime" or path in ("f", "fifo")},
                  {k: v for k, v in wanted[path].items() if k != "mtime" or path in ("f", "fifo")},
                  f"{copy}/{path}")
    run("rm", "-rf", "a", "b", "c")
    os.unlink("t.tar")


def test_untar_and_remove_a_real_tree(tree: Tree) -> None:
    """A tree of a real package directory is copied in, compared, found, and removed."""
    source = "/usr/share/perl5" if os.path.isdir("/usr/share/perl5") else "/usr/lib/python3/dist-packages"
    names = sorted(glob.glob(f"{source}/*"))[:4]
    os.mkdir("copy")
    run("cp", "-r", *names, "copy")
    for name in names:
        run("diff", "-r", name, f"copy/{os.path.basename(name)}")
    run("find", "copy", "-type", "f")
    run("rm", "-rf", "copy")


def test_editors_and_package_tools(tree: Tree) -> None:
    """dpkg's and editors' way: write beside, fsync, link a backup, rename over, fsync the directory."""
    tree.write("conf", b"version 0")
    for number in range(20):
        fd = os.open("conf.dpkg-new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(fd, b"version %d" % number)
        os.fsync(fd)
        os.close(fd)
        if os.path.exists("conf.dpkg-tmp"):
            os.unlink("conf.dpkg-tmp")
        os.link("conf", "conf.dpkg-tmp")
        os.rename("conf.dpkg-new", "conf")
        folder = os.open(".", os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    equal((tree.read("conf"), tree.read("conf.dpkg-tmp")), (b"version 19", b"version 18"), "contents")


def test_core_dump_is_written(tree: Tree) -> None:
    """A crashing process can dump its core here."""
    import resource
    with open("/proc/sys/kernel/core_pattern", "w", encoding="ascii") as pattern:
        pattern.write("core")

    def crash() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.execv("/bin/sleep", ["sleep", "100"])
    child = os.fork()
    if child == 0:
        crash()
    os.kill(child, signal.SIGQUIT)
    status = os.waitpid(child, 0)[1]
    tree.note(os.WIFSIGNALED(status))
    for name in glob.glob("core*"):
        os.unlink(name)
