# SPDX-License-Identifier: GPL-2.0
"""izoctl(8) and mounted filesets: what it prints is what the log has, while it grows, after it was trimmed,
and when the fileset is not well."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from guest.disks import fill, make_ext4, run
from guest.expect import as_user, equal, expect_errno, intermezzo_only, process_state, provokes, wait_until
from guest.kml import Log
from guest.log_info import trim
from guest.mounting import MS_BIND, mount_old, remount_old, umount
from guest.subject import FILESET, FSTYPE, IN_MEMORY, mount_point, mounted

ALSO_ON = "vintermezzo"
ENVIRONMENT = ("IZO_TOOLS",)

IZOCTL = f"{os.environ.get('IZO_TOOLS')}/src/tools/izoctl"
DEBUG, REFUSE_RECORD_AND_END = "/proc/sys/intermezzo/debug", "6"
NO_JOURNAL = "/proc/sys/intermezzo/intermezzo9/no_journal"


def izoctl(*words: str, code: int = 0, program: str = IZOCTL) -> tuple[str, str]:
    """Its output and its errors."""
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    equal(done.returncode, code, f"exit code of izoctl {' '.join(words)}: {done.stderr}")
    return done.stdout, done.stderr


def printed(*words: str, code: int = 0) -> list[dict]:
    """The records it prints."""
    return [json.loads(line) for line in izoctl("kml", "--json", *words, code=code)[0].splitlines()]


def status(*words: str, code: int = 0) -> list[dict]:
    """What it says of the filesets."""
    return [json.loads(line) for line in izoctl("status", "--json", *words, code=code)[0].splitlines()]


def commit(root: str) -> None:
    """Bring the log onto the medium."""
    fd = os.open(f"{root}/.intermezzo/rootset/kml", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def make_and_remove(root: str, count: int) -> None:
    """Twice as many records, of about 600 bytes each: 2000 of them fill more than a segment."""
    for number in range(count):
        os.mkdir(f"{root}/{number}-" + "n" * 200)
        os.rmdir(f"{root}/{number}-" + "n" * 200)


class Follower:
    """izoctl kml --json --follow, its lines going to a file."""

    def __init__(self, root: str, *words: str) -> None:
        self.output, self.errors = Path(f"{mount_point()}/out"), Path(f"{mount_point()}/err")
        with open(self.output, "wb") as output, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [IZOCTL, "kml", "--json", "--follow", *words, root],
                stdout=output, stderr=errors)

    def numbers(self) -> list[int]:
        """Of the records printed so far."""
        return [json.loads(line)["recno"] for line in self.output.read_bytes().splitlines(keepends=True)
                if line.endswith(b"\n")]

    def said(self) -> str:
        """On standard error."""
        return self.errors.read_text(encoding="utf-8")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def following(root: str, *words: str) -> Iterator[Follower]:
    """It never outlives the case, whose mount it keeps busy."""
    follower = Follower(root, *words)
    try:
        yield follower
    finally:
        if follower.process.poll() is None:
            follower.process.kill()
            follower.process.wait()


def fresh(disk: str) -> str:
    """The disk with an empty ext4, or what a fileset in memory is mounted from."""
    return disk if IN_MEMORY else make_ext4(disk)


@intermezzo_only
def test_kml_is_the_log(disk: str) -> None:
    """Record by record what another reader gets, by mount point, by file and from a copy."""
    with mounted(fresh(disk), FILESET) as root:
        os.mkdir(f"{root}/d")
        Path(f"{root}/d/\udcff").write_bytes(b"body")
        os.symlink("target", f"{root}/d/link")
        os.setxattr(f"{root}/d", "user.a", b"\0")
        os.rename(f"{root}/d/link", f"{root}/moved")
        expected = list(Log.of_mount(root).records())
        kml = f"{root}/.intermezzo/rootset/kml"
        run("cp", kml, "/tmp/copy")
        for path in (root, kml, "/tmp/copy"):
            records = printed(path)
            equal([(r["recno"], r["offset"], r["length"], r["op"]) for r in records],
                  [(r.recno, r.offset, r.length, r.op) for r in expected], path)
        names = [r["place"]["name"] for r in records if r["op"] in ("create", "symlink")]
        equal(names, [{"hex": "ff"}, "link"], "names")
        lines = izoctl("kml", "--count=1", root)[0].splitlines()
        equal((len(lines), " mkdir root/d " in lines[0]), (1, True), f"text {lines}")
        third = printed("--fileset=rootset", "--from", str(expected[2].offset), "--count=1", root)
        equal(third[0]["recno"], 3, "--from")
        beyond = izoctl("kml", "--from=80000000", root, code=1)[1]
        equal("lies beyond the log's end" in beyond, True, beyond)
    os.unlink("/tmp/copy")


@intermezzo_only
def test_follow_sees_changes_made_meanwhile(disk: str) -> None:
    """Each change as it is committed, and an end without a fault on either signal."""
    with mounted(fresh(disk), FILESET) as root:
        os.mkdir(f"{root}/before")
        with following(root) as follower:
            for number in range(1, 6):
                commit(root)
                wait_until(lambda: follower.numbers() == list(range(1, number + 1)), "the record", 60)
                os.mkdir(f"{root}/{number}")
            equal(follower.end(signal.SIGINT), 0, "exit code")
            equal(follower.said(), "", "errors")
        with following(root, "--recno=4", "--count=3") as follower:
            commit(root)
            wait_until(lambda: follower.numbers() == [4, 5, 6], "the last record", 60)
            equal(follower.process.wait(timeout=60), 0, "exit code")
        with following(root, "--recno=7") as follower:
            wait_until(lambda: process_state(follower.process.pid) == "S", "to wait", 60)
            equal(follower.end(), 0, "exit code")
            equal(follower.numbers(), [], "records")


@intermezzo_only
def test_trimmed_log(disk: str) -> None:
    """What is gone is said with its numbers; a follower that was too slow goes on behind it."""
    with mounted(fresh(disk), FILESET) as root:
        make_and_remove(root, 10)
        commit(root)
        with following(root) as follower:
            wait_until(lambda: len(follower.numbers()) == 20, "the first records", 60)
            follower.process.send_signal(signal.SIGSTOP)
            make_and_remove(root, 1500)
            commit(root)
            trim(root)
            first = Log.of_mount(root).first_recno
            equal(first > 21, True, "trimmed")
            follower.process.send_signal(signal.SIGCONT)
            wait_until(lambda: follower.numbers()[-1] == 3020, "the last record", 60)
            equal(follower.numbers(), [*range(1, 21), *range(first, 3021)], "records")
            equal(follower.said(),
                  f"izoctl: {root}: records 21 to {first - 1} are gone: the log was trimmed\n", "said")
            equal(follower.end(), 4, "exit code")
        equal(printed(root)[0]["recno"], first, "the oldest record")
        equal(printed("--recno=5", "--count=1", root, code=4)[0]["recno"], first, "--recno")
        said = izoctl("kml", "--from=120", "--count=1", root, code=4)[1]
        equal(said.endswith(f", record {first}, is gone\n"), True, said)


@intermezzo_only
def test_only_root_may(disk: str) -> None:
    """One clear line for others, and exit code 1."""
    with mounted(fresh(disk), FILESET) as root:
        program = shutil.copy(IZOCTL, "/tmp/izoctl")  # others may not look into root's cache folder
        said = as_user(lambda: izoctl("kml", root, code=1, program=program))
        equal(said, ["", f"izoctl: {root}: only root (CAP_SYS_ADMIN) may read the log of a fileset\n"],
              "kml")
        said = as_user(lambda: izoctl("status", root, code=1, program=program))
        equal(said[0].splitlines()[-1], "  log         not known: only root (CAP_SYS_ADMIN) may ask",
              "status")


@intermezzo_only
def test_status(disk: str) -> None:
    """Identity and positions are those of the log; a path inside will do; a bind mount is no second
    fileset."""
    with mounted(fresh(disk), f"{FILESET},channel=9,mtp=/srv") as root:
        os.mkdir(f"{root}/d")
        commit(root)
        log = Log.of_mount(root)
        found = status(f"{root}/d")
        equal(len(found), 1, "filesets")
        fileset = found[0]
        keys = ("mount_point", "fileset", "mtp", "type", "read_only", "channel", "troubles")
        equal([fileset[key] for key in keys], [root, "rootset", "/srv", FSTYPE, False, 9, []], "mount")
        equal((fileset["no_filter"], fileset["no_journal"]), (False, False), "the channel's settings")
        equal(fileset["device"] == disk or IN_MEMORY, True, fileset["device"])
        state = fileset["log"]
        equal(int(state["epoch"], 16), log.epoch, "epoch")
        equal([state[key] for key in ("first", "first_recno", "end_recno", "replica")], [log.first, 1, 1, 1],
              "log")
        equal(state["journaled"], not IN_MEMORY, "journaled")
        equal((state["overflow"], state["failed"], state["committed"] >= state["end"]),
              (False, False, True), "state")
        with open(f"{root}/f", "wb", buffering=0) as stream:
            stream.write(b"x")
            equal(status(root)[0]["log"]["dirty"], 1, "bodies")
        copy = mount_point()
        mount_old(f"{root}/d", copy, "none", flags=MS_BIND)
        equal([each["mount_point"] for each in status() if each["channel"] == 9], [root], "all")
        equal(status(copy)[0]["mount_point"], root, "of a bind mount")
        umount(copy)
        text = izoctl("status", root)[0]
        equal(text.splitlines()[0].endswith("), read-write"), True, text)
        mount_old("none", root, "tmpfs")
        hidden = [each for each in status(code=1) if each["channel"] == 9]
        equal([each["unknown"] for each in hidden], ["another mount hides it"], "hidden")
        umount(root)


@intermezzo_only
def test_status_of_a_root_that_is_still_read_only(disk: str) -> None:
    """No fileset is named and no log open, which is no trouble; kml reads what the cache has."""
    if IN_MEMORY:
        return
    with mounted(fresh(disk), FILESET) as root:
        os.mkdir(f"{root}/d")
    with mounted(disk, "ro") as root:
        fileset = status(root)[0]
        equal([fileset[key] for key in ("read_only", "fileset", "log", "troubles", "no_filter")],
              [True, None, None, [], True], "status")
        equal([record["place"]["name"] for record in printed(root)], ["d"], "kml")
        remount_old(root, "rw,fileset=rootset,mtp=/")
        fileset = status(root)[0]
        equal((fileset["fileset"], fileset["log"]["end_recno"]), ("rootset", 1), "read-write")
        remount_old(root, "ro")
        fileset = status(root)[0]
        equal((fileset["read_only"], fileset["log"]["end_recno"]), (True, 1), "read-only again")
    equal([record["place"]["name"] for record in printed(disk)], ["d"], "the unmounted device")


@intermezzo_only
def test_quick_start_has_the_default_fileset(disk: str) -> None:
    """Mounted without options."""
    with mounted(fresh(disk)) as root:
        equal((status(root)[0]["fileset"], status(root)[0]["log"] is None), ("rootset", False), "status")
        equal(printed(root), [], "kml")


@intermezzo_only
def test_overflow_is_trouble(disk: str) -> None:
    """status has an exit code for it, kml and a follower at its end say so."""
    with mounted(fresh(disk), f"{FILESET},channel=9") as root:
        os.mkdir(f"{root}/before")
        commit(root)
        with following(root) as follower:
            wait_until(lambda: follower.numbers() == [1], "the first record", 60)
            Path(NO_JOURNAL).write_text("1", encoding="ascii")
            try:
                os.mkdir(f"{root}/after")
                equal(status(root, code=3)[0]["no_journal"], True, "no_journal")
            finally:
                Path(NO_JOURNAL).write_text("0", encoding="ascii")
            wait_until(lambda: "overflowed" in follower.said(), "the follower's word", 60)
            equal(follower.end(), 0, "exit code")
            equal(follower.said().count("\n"), 1, "said once")
        fileset = status(root, code=3)[0]
        equal((fileset["log"]["overflow"], len(fileset["troubles"])), (True, 1), "status")
        equal("TROUBLE     the log overflowed" in izoctl("status", root, code=3)[0], True, "text")
        equal("the log overflowed" in izoctl("kml", root)[1], True, "kml")


@intermezzo_only
def test_cache_without_room_for_a_log_is_trouble(disk: str) -> None:
    """Mounted all the same, without a log."""
    if IN_MEMORY:
        return
    with mounted(fresh(disk), fstype="ext4") as root:
        fill(f"{root}/filler")
    with mounted(disk, FILESET) as root:
        fileset = status(root, code=3)[0]
        equal((fileset["log"], len(fileset["troubles"])), (None, 1), "status")
        said = izoctl("kml", root, code=1)[1]
        equal("has no log yet" in said or "neither" in said, True, said)


@intermezzo_only
@provokes("could not be recorded", "Aborting journal", "JBD2: .*error", "EXT4-fs error", "EXT4-fs warning")
def test_failed_log_ends_following(disk: str) -> None:
    """The journal is aborted: status tells of it, a follower ends by itself."""
    if IN_MEMORY:
        return
    with mounted(fresh(disk), FILESET) as root:
        os.mkdir(f"{root}/before")
        commit(root)
        with following(root) as follower:
            wait_until(lambda: follower.numbers() == [1], "the first record", 60)
            Path(DEBUG).write_text(REFUSE_RECORD_AND_END, encoding="ascii")
            try:
                expect_errno((errno.EIO, errno.EROFS), os.mkdir, f"{root}/missing")
            finally:
                Path(DEBUG).write_text("0", encoding="ascii")
            equal(follower.process.wait(timeout=60), 1, "exit code")
            equal("the log has failed" in follower.said(), True, follower.said())
        fileset = status(root, code=3)[0]
        equal((fileset["log"]["failed"], len(fileset["troubles"]) >= 1), (True, True), "status")


@intermezzo_only
def test_conflicts(disk: str) -> None:
    """What conflicts have left, by the mount point, by a link to it and below a directory; of what is no
    fileset, or no directory, it never says that there are none."""
    with mounted(fresh(disk), FILESET) as root:
        equal(izoctl("conflicts", root), ("", ""), "none")
        os.mkdir(f"{root}/d")
        Path(f"{root}/d/a.conflict-0123abcd").write_bytes(b"1234")
        os.symlink(root, "/tmp/link")
        for path, found in ((root, "d/a"), (f"{root}/", "d/a"), ("/tmp/link", "d/a"), (f"{root}/d", "a")):
            lines = izoctl("conflicts", "--json", path, code=3)[0].splitlines()
            equal([json.loads(line)["path"] for line in lines], [f"{found}.conflict-0123abcd"], path)
        os.unlink("/tmp/link")
        text = izoctl("conflicts", root, code=3)[0]
        equal(text.endswith(" 4 d/a.conflict-0123abcd lost a\n"), True, text)
        said = izoctl("conflicts", f"{root}/d/a.conflict-0123abcd", code=1)[1]
        equal("Not a directory" in said, True, said)
    said = izoctl("conflicts", mount_point(), code=1)[1]
    equal("no intermezzo is mounted there; name the mount point" in said, True, said)


@intermezzo_only
def test_records_that_are_yet_to_come(disk: str) -> None:
    """Beyond the next one there is nothing to print; a follower waits for it."""
    with mounted(fresh(disk), FILESET) as root:
        os.mkdir(f"{root}/d")
        commit(root)
        equal(printed("--recno=2", root), [], "the next one")
        said = izoctl("kml", "--recno=3", root, code=1)[1]
        equal("record 3 lies beyond the log's end: the next one will be 2" in said, True, said)
        with following(root, "--recno=3", "--count=1") as follower:
            wait_until(lambda: process_state(follower.process.pid) == "S", "to wait", 60)
            make_and_remove(root, 1)
            commit(root)
            equal(follower.process.wait(timeout=60), 0, "exit code")
            equal(follower.numbers(), [3], "records")
