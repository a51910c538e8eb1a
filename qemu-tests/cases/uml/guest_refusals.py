# SPDX-License-Identifier: GPL-2.0
"""What is refused: devices in use, disks that cannot be a cache, contradicting mounts, the inside of
.intermezzo."""

from __future__ import annotations

import errno
import os

from guest.disks import debugfs_write, fill_with_garbage, make_ext4, run
from guest.expect import as_user, equal, expect_errno, intermezzo_only
from guest.mounting import (MountError, mount_info, mount_new, mount_old, proc_mounts_options, remount_old,
                            split_options, umount)
from guest.subject import filesystems, mount_point, mounted
from guest.syscalls import (CLONE_NEWNS, CLONE_NEWUSER, RENAME_EXCHANGE, call, link_open_file, read_directory,
                            rename)

# How the inside of .intermezzo may look to those who may not look.
CLOSED = (errno.EACCES, errno.EPERM, errno.ENOENT)


def refused(number: int | tuple[int, ...], device: str, where: str, options: str, *words: str,
            fstype: str = "intermezzo") -> None:
    """Both interfaces refuse, and what the kernel says has these words."""
    for mount in (mount_old, mount_new):
        error = expect_errno(number, mount, device, where, fstype, options)
        assert isinstance(error, MountError)
        for word in words:
            if word.lower() not in error.said.lower():
                raise AssertionError(f"{mount.__name__} {options!r}: {error.said!r} does not say {word!r}")


@intermezzo_only
def test_device_mounted_as_ext4(disk: str, where: str) -> None:
    """A device that ext4 has mounted is busy, read-only or not, and free again after the umount."""
    make_ext4(disk)
    for other in ("", "ro"):
        with mounted(disk, other, "ext4"):
            for options in ("", "ro", "fileset=a"):
                refused(errno.EBUSY, disk, where, options, disk)
    with mounted(disk, where=where):
        pass


@intermezzo_only
def test_device_mounted_as_intermezzo(disk: str, where: str) -> None:
    """While intermezzo has a device, ext4 and ext3 mounts of it are busy; afterwards they work at once."""
    make_ext4(disk)
    for options in ("", "ro"):
        with mounted(disk, options):
            for fstype in ("ext4", "ext3"):
                for other in ("", "ro", "noload,ro"):
                    expect_errno(errno.EBUSY, mount_old, disk, where, fstype, other)
            expect_errno(errno.EBUSY, mount_new, disk, where, "ext4", "")
        with mounted(disk, fstype="ext4", where=where):
            pass


@intermezzo_only
def test_device_held_exclusively(disk: str, where: str) -> None:
    """A device another program holds (mkfs, fsck, LVM) is refused by name; a held mount refuses them."""
    make_ext4(disk)
    fd = os.open(disk, os.O_RDONLY | os.O_EXCL)
    refused(errno.EBUSY, disk, where, "", disk)
    os.close(fd)
    with mounted(disk, where=where):
        expect_errno(errno.EBUSY, os.open, disk, os.O_RDONLY | os.O_EXCL)
        expect_errno(errno.EBUSY, os.open, disk, os.O_RDWR | os.O_EXCL)
    os.close(os.open(disk, os.O_RDWR | os.O_EXCL))


@intermezzo_only
def test_second_mount_of_a_device_is_the_same_file_system(disk: str, where: str) -> None:
    """The same device mounted again shows the same tree, if its options agree."""
    make_ext4(disk)
    with mounted(disk, "fileset=a,mtp=/x") as first:
        for options in ("fileset=a,mtp=/x", "", "fileset=a", "cache_type=ext4"):
            with mounted(disk, options, where=where):
                os.mkdir(f"{first}/made-here")
                os.rmdir(f"{where}/made-here")
                equal(os.stat(first).st_dev, os.stat(where).st_dev, "device number")
        # The old spelling is a type of its own to the kernel: safe, not shared.
        refused(errno.EBUSY, disk, where, "", disk, fstype="InterMezzo")
        os.mkdir(f"{first}/survives")


@intermezzo_only
def test_second_mount_that_contradicts_is_refused(disk: str, where: str) -> None:
    """The same device with another fileset, mtp, channel or read-only is refused and says why."""
    make_ext4(disk)
    with mounted(disk, "fileset=a,mtp=/x,channel=3"):
        refused((errno.EBUSY, errno.EINVAL), disk, where, "fileset=b", "fileset=b", "fileset=a")
        refused((errno.EBUSY, errno.EINVAL), disk, where, "mtp=/y", "mtp=/y", "mtp=/x")
        refused((errno.EBUSY, errno.EINVAL), disk, where, "channel=4", "4", "3")
        refused(errno.EBUSY, disk, where, "ro", disk, "read-write")


@intermezzo_only
def test_same_channel_and_fileset_twice(disk: str, second_disk: str, third_disk: str, where: str) -> None:
    """Two disks cannot be the same fileset of one channel; another channel or another fileset is fine."""
    for device in (disk, second_disk, third_disk):
        make_ext4(device)
    with mounted(disk, "fileset=home,channel=2"):
        refused(errno.EBUSY, second_disk, where, "fileset=home,channel=2", "home", "2")
        refused(errno.EBUSY, second_disk, where, "fileset=home,prestodev=/dev/intermezzo2", "home")
        with mounted(second_disk, "fileset=other,channel=2", where=where):
            with mounted(third_disk, "fileset=home,channel=4"):
                pass
    with mounted(second_disk, "fileset=home,channel=2", where=where):
        pass


@intermezzo_only
def test_default_channels_differ(disk: str, second_disk: str, where: str) -> None:
    """Without channel= each mount gets the first free one, and gives it back."""
    for device in (disk, second_disk):
        make_ext4(device)

    def channel_of(folder: str) -> str | None:
        return dict(split_options(proc_mounts_options(folder)))["prestodev"]
    with mounted(disk) as first:
        taken = channel_of(first)
        with mounted(second_disk, where=where):
            equal(channel_of(where) != taken, True, "two channels")
    with mounted(second_disk, where=where):
        equal(channel_of(where), taken, "the first channel is free again")


@intermezzo_only
def test_channels_run_out(where: str) -> None:
    """The seventeenth mount without a channel is refused with the remedy; a named channel still works."""
    places = [mount_point() for _ in range(16)]
    for place in places:
        mount_old("none", place, "vintermezzo", "")
    for mount in (mount_old, mount_new):
        error = expect_errno((errno.EBUSY, errno.ENOSPC, errno.EMFILE), mount, "none", where, "vintermezzo",
                             "")
        assert isinstance(error, MountError)
        if "channel" not in error.said:
            raise AssertionError(f"{error.said!r} does not speak of channels")
    with mounted("none", "channel=5,fileset=another", "vintermezzo", where):
        pass
    for place in places:
        umount(place)


@intermezzo_only
def test_small_inodes(disk: str, where: str) -> None:
    """A cache with 128-byte inodes is refused, with the reason."""
    make_ext4(disk, "-I", "128")
    refused(errno.EINVAL, disk, where, "", "inode", "256")
    refused(errno.EINVAL, disk, where, "fileset=a,cache_type=ext3", "inode", "256")
    with mounted(disk, fstype="ext4", where=where):
        pass


@intermezzo_only
def test_fast_commit(disk: str, where: str) -> None:
    """A cache with fast commits is refused, with the reason."""
    make_ext4(disk, "-O", "fast_commit")
    refused(errno.EINVAL, disk, where, "", "fast_commit")
    run("tune2fs", "-O", "^fast_commit", disk)
    with mounted(disk, where=where):
        pass


@intermezzo_only
def test_casefolded_disk(disk: str, where: str) -> None:
    """A cache whose names ignore case is refused."""
    make_ext4(disk, "-O", "casefold", "-E", "encoding=utf8")
    refused(errno.EINVAL, disk, where, "")


@intermezzo_only
def test_garbage_and_empty_disks(disk: str, second_disk: str, where: str) -> None:
    """A disk without a file system is refused and named; nothing is left behind that keeps it busy."""
    fill_with_garbage(disk)
    with open(second_disk, "r+b") as stream:
        stream.write(bytes(1 << 20))
    for device in (disk, second_disk):
        refused(errno.EINVAL, device, where, "fileset=a", device)
        os.close(os.open(device, os.O_RDWR | os.O_EXCL))


@intermezzo_only
def test_unmarked_disk(disk: str, where: str) -> None:
    """A disk with somebody's files needs fileset=; from then on it is InterMezzo's and needs nothing."""
    make_ext4(disk)
    with mounted(disk, fstype="ext4") as folder:
        os.mkdir(f"{folder}/home")
    refused(errno.EINVAL, disk, where, "", "fileset=")
    refused(errno.EINVAL, disk, where, "mtp=/", "fileset=")
    with mounted(disk, "fileset=mine", where=where):
        equal("home" in os.listdir(where), True, "the files are there")
    with mounted(disk, where=where):
        pass


@intermezzo_only
def test_mark_that_is_not_a_directory(disk: str, where: str) -> None:
    """A plain file or symlink called .intermezzo is no mark and never followed."""
    for kind in ("file", "symlink"):
        make_ext4(disk)
        with mounted(disk, fstype="ext4") as folder:
            os.mkdir(f"{folder}/home")
            if kind == "file":
                os.close(os.open(f"{folder}/.intermezzo", os.O_CREAT))
            else:
                os.symlink("/tmp", f"{folder}/.intermezzo")
        refused((errno.EINVAL, errno.ENOTDIR), disk, where, "", ".intermezzo")
        refused((errno.EINVAL, errno.ENOTDIR), disk, where, "fileset=a", ".intermezzo")
        os.close(os.open(disk, os.O_RDWR | os.O_EXCL))


@intermezzo_only
def test_users_cannot_mount(disk: str, where: str) -> None:
    """Neither a plain user nor root of a user name space may mount any of the types."""
    make_ext4(disk)
    for fstype, source in (("intermezzo", disk), ("vintermezzo", "none")):
        expect_errno(errno.EPERM, as_user, lambda: mount_old(source, where, fstype, ""))

        def in_user_namespace() -> None:
            call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
            mount_old(source, where, fstype, "")
        expect_errno(errno.EPERM, as_user, in_user_namespace)


def guarded(folder: str) -> list[tuple]:
    """Every way to change .intermezzo by the mount."""
    mark, outside = f"{folder}/.intermezzo", f"{folder}/outside"
    return [
        (os.mkdir, f"{mark}/x"), (os.open, f"{mark}/x", os.O_CREAT | os.O_WRONLY), (os.mkfifo, f"{mark}/p"),
        (os.symlink, "a", f"{mark}/s"), (os.link, outside, f"{mark}/l"), (os.rename, outside, f"{mark}/r"),
        (os.rename, mark, f"{folder}/moved"), (os.rename, f"{folder}/dir", mark), (os.rmdir, mark),
        (os.rmdir, f"{mark}/rootset"), (os.rename, f"{mark}/rootset", f"{folder}/stolen"),
        (rename, mark, f"{folder}/dir", RENAME_EXCHANGE), (rename, f"{folder}/dir", mark, RENAME_EXCHANGE),
        (os.chmod, mark, 0o777), (os.chmod, f"{mark}/rootset", 0o777), (os.chown, mark, 1, 1),
        (os.utime, mark), (os.setxattr, mark, "user.a", b"1"), (os.setxattr, mark, "trusted.a", b"1"),
        (os.open, mark, os.O_TMPFILE | os.O_RDWR), (os.open, f"{mark}/rootset", os.O_TMPFILE | os.O_RDWR),
        (os.mkdir, f"{mark}/rootset/x"),
    ]


@intermezzo_only
def test_inside_of_the_mark_cannot_be_changed(disk: str, where: str) -> None:
    """Root too gets EPERM for every change of .intermezzo through the mount."""
    make_ext4(disk)
    with mounted(disk, "fileset=rootset,mtp=/srv", where=where):
        os.close(os.open(f"{where}/outside", os.O_CREAT | os.O_WRONLY))
        os.mkdir(f"{where}/dir")
        for function, *arguments in guarded(where):
            expect_errno((errno.EPERM, errno.EXDEV), function, *arguments)
        expect_errno(errno.EEXIST, os.mkdir, f"{where}/.intermezzo")
        fd = os.open(where, os.O_TMPFILE | os.O_RDWR)
        expect_errno((errno.EPERM, errno.EXDEV), link_open_file, fd, f"{where}/.intermezzo/t")
        os.close(fd)
        equal(sorted(os.listdir(f"{where}/.intermezzo")), ["rootset"], "inside")


@intermezzo_only
def test_mark_is_reachable_but_not_listed(disk: str, where: str) -> None:
    """.intermezzo is found by name by root, and is in no listing of the root directory."""
    make_ext4(disk)
    with mounted(disk, "fileset=rootset", where=where):
        os.stat(f"{where}/.intermezzo/rootset")
        names = [entry.name for entry in read_directory(where)]
        equal(".intermezzo" in names, False, "listed")
        equal([entry.name for entry in read_directory(where, 50)], names, "with a small buffer")
        for number in range(300):
            os.close(os.open(f"{where}/{number}", os.O_CREAT))
        equal(len(list(read_directory(where, 300))), 303, "entries with small buffers")
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
            control.write("3")
        equal(".intermezzo" in os.listdir(where), False, "listed when cold")


@intermezzo_only
def test_mark_needs_cap_sys_admin(disk: str, where: str) -> None:
    """Users, and root without CAP_SYS_ADMIN, cannot look into .intermezzo, whatever its mode on the disk."""
    make_ext4(disk)
    with mounted(disk, "fileset=rootset"):
        pass
    debugfs_write(disk, "set_inode_field .intermezzo mode 040777")
    with mounted(disk, where=where):
        os.chmod(where, 0o755)
        for path in (".intermezzo", ".intermezzo/rootset"):
            expect_errno(CLOSED, as_user, lambda: os.listdir(f"{where}/{path}"))
            expect_errno(CLOSED, as_user,
                         lambda: os.mkdir(f"{where}/{path}/x"))
        expect_errno(CLOSED, as_user,
                     lambda: os.stat(f"{where}/.intermezzo/rootset").st_ino)
        run("ls", f"{where}/.intermezzo")
        without = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
        run(*without, "ls", where)
        run(*without, "ls", f"{where}/.intermezzo", ok=(1, 2))
        run(*without, "stat", f"{where}/.intermezzo/rootset", ok=(1,))


@intermezzo_only
def test_mark_stays_closed_with_a_warm_cache(disk: str, where: str) -> None:
    """After root has looked inside, others are still refused: the guard is not in the look-up alone."""
    make_ext4(disk)
    with mounted(disk, "fileset=rootset", where=where):
        os.chmod(where, 0o777)
        os.listdir(f"{where}/.intermezzo/rootset")
        expect_errno(CLOSED, as_user,
                     lambda: os.stat(f"{where}/.intermezzo/rootset").st_ino)
        expect_errno(CLOSED, as_user,
                     lambda: os.listdir(f"{where}/.intermezzo"))


def root_places(folder: str) -> list[str]:
    """Makes every place of class local that a root has; returns the paths."""
    for path in ("etc/default", "var/lib/systemd", "home"):
        os.makedirs(f"{folder}/{path}", exist_ok=True)
    for path in ("var/intermezzo-0", "var/log", "var/tmp", "var/cache", "tmp", "run", "lost+found"):
        os.makedirs(f"{folder}/{path}", exist_ok=True)
        os.close(os.open(f"{folder}/{path}/file", os.O_CREAT | os.O_WRONLY))
    os.close(os.open(f"{folder}/home/shared", os.O_CREAT | os.O_WRONLY))
    return ["var/intermezzo-0", "var/log", "var/tmp", "var/cache", "tmp", "run", "lost+found"]


@intermezzo_only
def test_class_border(disk: str, where: str) -> None:
    """On a root, rename and link into and out of every place of class local give EXDEV; inside they work."""
    make_ext4(disk)
    with mounted(disk, "fileset=rootset,mtp=/", where=where):
        for place in root_places(where):
            inside, outside = f"{where}/{place}/file", f"{where}/home/shared"
            expect_errno(errno.EXDEV, os.rename, inside, f"{where}/home/moved")
            expect_errno(errno.EXDEV, os.rename, outside, f"{where}/{place}/moved")
            expect_errno(errno.EXDEV, os.link, inside, f"{where}/home/linked")
            expect_errno(errno.EXDEV, os.link, outside, f"{where}/{place}/linked")
            expect_errno(errno.EXDEV, rename, inside, outside, RENAME_EXCHANGE)
            os.rename(inside, f"{where}/{place}/renamed")
            os.link(f"{where}/{place}/renamed", f"{where}/{place}/second")
            expect_errno(errno.EXDEV, os.rename, f"{where}/{place}", f"{where}/home/stolen")
        for place in ("etc/machine-id", "etc/fstab", "etc/default/intersync", "etc/default/intersync-NAME",
                      "var/lib/systemd/random-seed"):
            expect_errno(errno.EXDEV, os.rename, f"{where}/home/shared", f"{where}/{place}")
            expect_errno(errno.EXDEV, os.link, f"{where}/home/shared", f"{where}/{place}")
            os.close(os.open(f"{where}/{place}", os.O_CREAT | os.O_WRONLY))
            expect_errno(errno.EXDEV, os.rename, f"{where}/{place}", f"{where}/home/moved")
        os.rename(f"{where}/tmp/renamed", f"{where}/run/from-tmp")
        run("mv", f"{where}/home/shared", f"{where}/tmp/copied-by-mv")
        equal(sorted(os.listdir(f"{where}/home")), [], "home")
        fd = os.open(f"{where}/tmp", os.O_TMPFILE | os.O_RDWR)
        expect_errno(errno.EXDEV, link_open_file, fd, f"{where}/home/from-tmpfile")
        link_open_file(fd, f"{where}/tmp/from-tmpfile")
        os.close(fd)


@intermezzo_only
def test_no_class_border_elsewhere(disk: str, where: str) -> None:
    """A fileset that is not a root has no local places but the cache's own: the same renames work."""
    make_ext4(disk)
    with mounted(disk, "fileset=a,mtp=/home", where=where):
        for place in root_places(where):
            if place == "lost+found":
                continue
            os.rename(f"{where}/{place}/file", f"{where}/home/moved")
            os.link(f"{where}/home/moved", f"{where}/{place}/file")
            os.unlink(f"{where}/home/moved")


@intermezzo_only
def test_class_border_while_the_mount_point_is_not_known(disk: str, where: str) -> None:
    """Without mtp= a mount may turn out to be a root, so its local places have their border already, and
    mtp=/ can be given later."""
    make_ext4(disk)
    with mounted(disk, "fileset=a", where=where):
        for place in root_places(where):
            expect_errno(errno.EXDEV, os.rename, f"{where}/{place}/file", f"{where}/home/moved")
        remount_old(where, "rw,fileset=a,mtp=/")


@intermezzo_only
def test_replacing_etc_files_the_usual_way(disk: str, where: str) -> None:
    """passwd's way (write a new file beside it, rename over it) works in /etc and in class local."""
    make_ext4(disk)
    with mounted(disk, "fileset=rootset,mtp=/", where=where):
        root_places(where)
        for name in ("etc/passwd", "var/log/state", "tmp/x"):
            for content in (b"one", b"two"):
                with open(f"{where}/{name}.new", "wb") as stream:
                    stream.write(content)
                os.rename(f"{where}/{name}.new", f"{where}/{name}")


@intermezzo_only
def test_types_are_told_apart(disk: str, where: str) -> None:
    """vintermezzo does not take a device's data, intermezzo does not mount without a device."""
    make_ext4(disk)
    equal("vintermezzo" in filesystems(), True, "registered")
    expect_errno((errno.EINVAL, errno.ENOTBLK, errno.ENOENT), mount_old, "none", where, "intermezzo", "")
    with mounted(disk, "", "vintermezzo", where):
        equal([n for n in os.listdir(where) if n != "lost+found"], [], "names in it")
        equal(mount_info(where).fstype, "vintermezzo", "type")
