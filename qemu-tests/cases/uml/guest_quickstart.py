# SPDX-License-Identifier: GPL-2.0
"""docs/quickstart.md, literally: every command in its order, with this guest's disks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Iterator

from guest.disks import check_ext, run
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import converge, loopback_up, program
from guest.mounting import umount
from guest.subject import HOST

ENVIRONMENT = ("IZO_TOOLS",)
CASE_DEADLINE = 240
DISKS = ("64M", "64M", "64M", "1024M", "64M")
FILES = ("docs/quickstart.md",)
TOOLS = f"{os.environ.get('IZO_TOOLS')}/src/tools"


def page() -> str:
    """Its text."""
    return Path(HOST, "quickstart.md").read_text(encoding="utf-8")


def commands(text: str, heading: str) -> list[str]:
    """The lines of the indented blocks below a heading."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.strip() for line in re.findall(r"^ {4,}(\S.*)$", section, re.MULTILINE)]


def here(text: str, disk: str) -> str:
    """With what this guest has in the place of what is only an example; its root cannot be written."""
    for old, new in {"server-hostname": "127.0.0.1", "/dev/sdb1": disk, "/exports/": "/tmp/exports/",
                     "/imports/": "/tmp/imports/"}.items():
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def scratch_var() -> Iterator[None]:
    """A /var that can be written."""
    run("mount", "-t", "tmpfs", "none", "/var")
    os.mkdir("/var/log")
    yield
    run("umount", "/var")


class Terminal:
    """Where commands are typed; daemons go on."""

    def __init__(self) -> None:
        self.daemons: list[subprocess.Popen[bytes]] = []

    def type(self, command: str) -> None:
        """One line."""
        if not command.startswith("intersync "):
            run("sh", "-c", command)
            return
        words = shlex.split(command)
        self.daemons.append(subprocess.Popen([program(), *words[1:]], stderr=subprocess.PIPE))
        stream = self.daemons[-1].stderr
        assert stream is not None
        while b"fileset" not in stream.readline():
            equal(self.daemons[-1].poll(), None, f"{command}: exit code")

    def rotate(self) -> None:
        """What logrotate(8) does with the lines of the page; systemd sends the signal elsewhere."""
        logs = sorted(Path("/var/log/intersync").glob("*.log"))
        equal([log.name for log in logs], ["intermezzo-0.log", "intermezzo-1.log"], "logs")
        for log, daemon in zip(logs, self.daemons):
            log.rename(f"{log}.1")
            daemon.send_signal(signal.SIGHUP)
            wait_until(log.exists, f"{log} is begun anew")

    def close(self) -> None:
        """Ctrl-C in all of them, the newest first."""
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGINT)
            equal(daemon.wait(20), 0, "exit code")


def state_folder(number: int, mount_point: str, fileset: str = "rootset") -> str:
    """What stands in /var/intermezzo-N is so of the fileset mounted there; the replica's UUID."""
    status = run(f"{TOOLS}/izoctl", "status", "--json", mount_point)
    log = json.loads(status)["log"]
    state = Path(f"/var/intermezzo-{number}")
    equal(sorted(os.listdir(state)), ["cache", "profile", "sysid"], f"{state}")
    equal(os.readlink(state / "cache"), mount_point, f"{state}: its link")
    epoch = log["epoch"].removeprefix("0x")
    equal((state / "profile").read_text(encoding="ascii"),
          f"fileset={fileset}\nuuid={log['fileset_uuid']}\nepoch={epoch}\n", f"{state}: its profile")
    equal((state / "sysid").read_text(encoding="ascii"), f"{log['replica_uuid']}\n", f"{state}: its replica")
    return log["replica_uuid"]


def is_all_sent(server: str, client: str) -> bool:
    """By the lines that the page names."""
    there, here = (run(f"{TOOLS}/izoctl", "status", root) for root in (server, client))
    replica = re.findall(r"^  replica +\d+, (\S+)$", here, re.MULTILINE)[0]
    last = re.findall(r"^  records +(?:\d+ to (\d+)|none since 1),", here, re.MULTILINE)[0] or "0"
    applied = re.findall(rf"^  peer +{replica}, its log \S+ is applied up to record (\d+)$", there,
                         re.MULTILINE)
    return applied == [last] and "\n  bodies      0 not closed or not on the medium yet\n" in here


def is_of_1999(disk: str) -> None:
    """An ext3 as mke2fs made it for small disks then, and does."""
    said = run("dumpe2fs", "-h", disk)
    facts = dict(re.findall(r"^([^:]+): +(.*)$", said, re.MULTILINE))
    equal((facts["Block size"], facts["Total journal size"]), ("1024", "4096k"), "blocks and journal")
    equal({"has_journal", "extent", "64bit"} & set(facts["Filesystem features"].split()), {"has_journal"},
          "features")


def quick_start(disk: str, more: str = "") -> None:
    """The page's first part; `more` goes to mke2fs."""
    loopback_up()
    typed = [here(command, disk).replace("mke2fs -j ", f"mke2fs -j {more} ")
             for command in commands(page(), "Server and client")]
    equal([command.split()[0] for command in typed],
          "mke2fs mkdir mount mkdir mount intersync intersync echo mkdir".split(), "commands")
    server, client = here("/exports/server", disk), here("/imports/server", disk)
    terminal = Terminal()
    for command in typed:
        terminal.type(command)
    converge(server, client)
    equal(Path(client, "hello").read_text(encoding="ascii"), "hello\n", "what came")
    equal(os.path.isdir(f"{server}/from-the-client"), True, "what the client made")
    equal(state_folder(0, server) != state_folder(1, client), True, "two replicas")
    wait_until(lambda: is_all_sent(server, client), "all has been sent")
    for mount_point in (client, server):
        equal("busy" in run("umount", mount_point, ok=(32,)), True, "what umount says while intersync runs")
    terminal.rotate()
    terminal.close()
    said = Path("/var/log/intersync/intermezzo-1.log").read_text(encoding="utf-8")
    equal("stops" in said, True, f"what the client's new log has: {said}")
    os.mkdir(f"{client}/not-sent")
    equal(is_all_sent(server, client), False, "all has been sent")
    for mount_point in (client, server):
        umount(mount_point)
    check_ext(disk)


@intermezzo_only
def test_on_a_small_disk(disk: str) -> None:
    """64 MiB: blocks of 1 KiB, a journal of 4 MiB, no extents."""
    with scratch_var():
        quick_start(disk)
        is_of_1999(disk)


@intermezzo_only
def test_on_a_larger_disk(second_disk: str) -> None:
    """1 GiB."""
    with scratch_var():
        quick_start(second_disk)


@intermezzo_only
def test_on_a_larger_disk_of_1999(second_disk: str) -> None:
    """1 GiB with blocks of 1 KiB, a journal of 4 MiB, no extents."""
    with scratch_var():
        quick_start(second_disk, "-b 1024 -J size=4")
        is_of_1999(second_disk)


@intermezzo_only
def test_fstab(disk: str) -> None:
    """Both forms of a line: a file behind a loop device whose mtp= is not where it is mounted, and a disk; a
    daemon runs on each, and what is made on one comes to the other."""
    loopback_up()
    text = page().split("\n## /etc/fstab\n")[1].split("\n## ")[0]
    for command in re.findall(r"`((?:truncate|mkizofs) [^`]*)`", text):
        run("sh", "-c", f"PATH={TOOLS}:$PATH; {command}")
    run("mke2fs", "-q", "-j", "-F", disk)
    lines = commands(page(), "/etc/fstab")
    equal([line.split()[0] for line in lines], ["/tmp/cache", "/dev/sdb2"], "the page's lines")
    places = ("/tmp/izo0", "/tmp/izo3")
    with scratch_var():
        for place, line, mtp, device, channel in zip(places, lines, ("/mnt/izo0", "/izo0"),
                                                     ("/dev/loop", disk), (0, 3)):
            os.mkdir(place)
            line = line.replace("  /izo0  ", f"  {place}  ").replace("/dev/sdb2", disk)
            Path("/tmp/fstab").write_text(f"{line}\n", encoding="ascii")
            run("mount", "--fstab=/tmp/fstab", place)
            last = Path("/proc/mounts").read_text(encoding="ascii").splitlines()[-1]
            source, _, fstype, words = last.split()[:4]
            equal((source.rstrip("0123456789"), fstype), (device, "intermezzo"), "what is mounted")
            equal({"fileset=fsetname", f"mtp={mtp}", f"prestodev=/dev/intermezzo{channel}", "cache_type=ext3"}
                  - set(words.split(",")), set(), words)
        terminal = Terminal()
        terminal.type(f"intersync --plain-http --listen=127.0.0.1 {places[0]}")
        terminal.type(f"intersync --plain-http --server=127.0.0.1 {places[1]}")
        for place in places:
            Path(place, f"of-{Path(place).name}").write_text(place, encoding="ascii")
        converge(*places)
        equal(sorted({*os.listdir(places[0])} - {"lost+found"}), ["of-izo0", "of-izo3"], "what is on both")
        equal(state_folder(0, places[0], "fsetname") != state_folder(3, places[1], "fsetname"), True,
              "two replicas")
        terminal.close()
        for place in places:
            umount(place)
    check_ext(disk)
    check_ext("/tmp/cache")
