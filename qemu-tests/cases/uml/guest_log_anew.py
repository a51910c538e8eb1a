# SPDX-License-Identifier: GPL-2.0
"""docs/root-filesystem.md, "When the log has ended" and "When there is no room for one more client": the
commands, of a client and of a server, with this guest's disks."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from guest.disks import check_ext, make_ext4, run
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, converge, loopback_up
from guest.log_info import OVERFLOW, flags_of
from guest.mounting import mount_old, umount
from guest.reint import position
from guest.subject import HOST, mount_point, mounted

ENVIRONMENT = ("IZO_TOOLS",)
FILES = ("docs/root-filesystem.md",)
DISKS = ("8M", "8M", "8M", "8M", "8M")
CASE_DEADLINE = 240
TOOLS = f"{os.environ.get('IZO_TOOLS')}/src/tools"
LOOPBACK = "127.0.0.1"
BEGUN_ANEW = "the server's log has begun anew"
NO_ROOM = "the server has no room for one more replica"
PEERS = 56
CLIENT = "systemctl cp umount mkizofs mount systemctl".split()
PUT_BACK = "diff cp".split()
SERVER = "systemctl umount mount rm umount mount systemctl".split()


def lines_of(heading: str) -> list[str]:
    """What the page lets a reader type in a section."""
    page = Path(HOST, "root-filesystem.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.strip() for line in re.findall(r"^ {4,}(\S.*)$", section, re.MULTILINE)]


def commands() -> tuple[list[str], list[str], list[str]]:
    """The page's lines: what makes a client anew, what puts its own back, what begins a server's log."""
    typed = lines_of("When the log has ended")
    equal([line.split()[0] for line in typed], CLIENT + PUT_BACK + SERVER, "commands")
    server = len(typed) - len(SERVER)
    return typed[:len(CLIENT)], typed[len(CLIENT):server], typed[server:]


class Side:
    """A replica, and who types at its machine."""

    def __init__(self, disk: str, server: str = "") -> None:
        make_ext4(disk)
        self.disk, self.root, self.saved = disk, mount_point(), f"{tempfile.mkdtemp(dir='/tmp')}/tree"
        mount_old(disk, self.root, "intermezzo", "fileset=rootset,mtp=/srv/tree")
        self.daemon = Intersync(self.root, server=server)

    def here(self, line: str) -> str:
        """A line of the page with what this guest has; the label that a mount is given stays."""
        line = line.replace("/dev/sdb1", self.disk).replace("/var/tmp/tree", self.saved)
        return re.sub(r"(?<!mtp=)/srv/tree", self.root, line)

    def type(self, lines: list[str]) -> None:
        """The page's lines; the service is this guest's daemon."""
        for line in lines:
            if line == "systemctl stop intersync@srv-tree":
                equal(self.daemon.stop(), 0, "exit code")
            elif line == "systemctl start intersync@srv-tree":
                self.daemon.start()
            else:
                # diff(1) says by 1 that something differs.
                run("sh", "-c", f"PATH={TOOLS}:$PATH; {self.here(line)}",
                    ok=(1,) if line.startswith("diff ") else (0,))

    def end_the_log(self) -> None:
        """At its limit, an eighth of the disk; then changes that it does not tell."""
        root = self.root
        count = 0
        equal(self.daemon.stop(), 0, "exit code")
        while not flags_of(root) & OVERFLOW:
            for count in range(count, count + 100):
                os.setxattr(f"{root}/worn", "user.worn", f"{count:800}".encode())
        os.mkdir(f"{root}/after")
        Path(root, "after/new").write_bytes(b"made after the end")
        Path(root, "both/mine").write_bytes(b"written after the end")
        os.unlink(f"{root}/both/removed")
        self.daemon.start()
        self.daemon.await_word("the log has overflowed")

    def await_whole(self) -> None:
        """As the page says it."""
        peer = re.compile(r"^  peer .*, our server$", re.MULTILINE)
        wait_until(lambda: bool(peer.search(run(f"{TOOLS}/izoctl", "status", self.root))), "the whole tree")

    def peers(self) -> int:
        """How many `izoctl status` names."""
        return run(f"{TOOLS}/izoctl", "status", self.root).count("\n  peer  ")

    def close(self) -> None:
        """The machine is switched off; nothing is wrong with its disk."""
        equal(self.daemon.stop(), 0, "exit code")
        umount(self.root)
        check_ext(self.disk)


def fill_tree(root: str) -> None:
    """Something of each kind that a copy could lose."""
    os.mkdir(f"{root}/both")
    for name in ("worn", "both/mine", "both/removed", "both/theirs"):
        Path(root, name).write_bytes(b"before")
    os.link(f"{root}/both/mine", f"{root}/both/link")
    os.symlink("mine", f"{root}/both/symlink")
    os.setxattr(f"{root}/both/mine", "user.word", b"value")
    os.chown(f"{root}/both/mine", 1000, 1000)


def has_all(root: str) -> None:
    """What was written after the log's end is there, one file with two names; nothing is in conflict."""
    equal(sorted(set(os.listdir(root)) - {"lost+found"}), ["after", "both", "worn"], "names")
    equal(Path(root, "after/new").read_bytes(), b"made after the end", "what was new")
    equal(Path(root, "both/link").read_bytes(), b"written after the end", "what was written")
    mine = os.stat(f"{root}/both/mine")
    equal((mine.st_nlink, mine.st_uid, os.getxattr(f"{root}/both/mine", "user.word")), (2, 1000, b"value"),
          "its names, owner and attribute")
    equal(os.readlink(f"{root}/both/symlink"), "mine", "the symbolic link")
    equal(flags_of(root) & OVERFLOW, 0, "the log tells everything again")


@intermezzo_only
def test_of_a_client(disk: str, second_disk: str) -> None:
    """Made anew as the page says, a client has all of the server's, and the server all that the client wrote
    after its log's end; what the server wrote meanwhile stays, and what the client removed is there again."""
    make_anew, put_back, _ = commands()
    loopback_up()
    server, client = Side(disk), Side(second_disk, LOOPBACK)
    fill_tree(server.root)
    converge(server.root, client.root, server.daemon, client.daemon)
    client.end_the_log()
    Path(server.root, "both/theirs").write_bytes(b"by the server meanwhile")
    client.type(make_anew)
    client.await_whole()
    client.type(put_back)
    converge(server.root, client.root, server.daemon, client.daemon)
    for side in (server, client):
        has_all(side.root)
        equal(sorted(os.listdir(f"{side.root}/both")), "link mine removed symlink theirs".split(), "names")
        equal(Path(side.root, "both/theirs").read_bytes(), b"by the server meanwhile", "the server's")
    client.close()
    server.close()


@intermezzo_only
def test_of_a_client_whose_log_is_damaged(disk: str, second_disk: str) -> None:
    """It is not mounted any more; its tree is saved from the cache itself. Made anew as the page says it has
    all of the server's, and the server what the client had not sent."""
    make_anew, put_back, _ = commands()
    loopback_up()
    server, client = Side(disk), Side(second_disk, LOOPBACK)
    fill_tree(server.root)
    converge(server.root, client.root, server.daemon, client.daemon)
    equal(client.daemon.stop(), 0, "exit code")
    Path(client.root, "both/mine").write_bytes(b"not sent")
    umount(client.root)
    with mounted(client.disk, fstype="ext4") as cache:
        with open(f"{cache}/.intermezzo/rootset/kml", "r+b") as log:
            log.write(bytes(4096))
    run("mount", "-t", "intermezzo", "-o", "fileset=rootset", client.disk, client.root, ok=(32,))
    run("mount", "-t", "ext4", "-o", "ro", client.disk, client.root)
    os.mkdir(client.saved)
    shown = [name for name in os.listdir(client.root) if name != ".intermezzo"]
    run("cp", "-a", *[f"{client.root}/{name}" for name in shown], client.saved)
    umount(client.root)
    client.type(make_anew[CLIENT.index("mkizofs"):])
    client.await_whole()
    client.type(put_back)
    converge(server.root, client.root, server.daemon, client.daemon)
    equal(sorted(os.listdir(f"{server.root}/both")), "link mine removed symlink theirs".split(), "names")
    equal(Path(server.root, "both/link").read_bytes(), b"not sent", "the client's")
    client.close()
    server.close()


@intermezzo_only
def test_of_a_server(disk: str, second_disk: str) -> None:
    """With a new log as the page says a server has its tree as it was; its client says that it cannot go on
    and stays as it is; made anew as the page says it has the server's tree, and the server what the client
    wrote meanwhile."""
    make_anew, put_back, begin_anew = commands()
    loopback_up()
    server, client = Side(disk), Side(second_disk, LOOPBACK)
    fill_tree(server.root)
    converge(server.root, client.root, server.daemon, client.daemon)
    server.end_the_log()
    Path(client.root, "both/theirs").write_bytes(b"by the client meanwhile")
    server.type(begin_anew)
    has_all(server.root)
    client.daemon.await_word(BEGUN_ANEW)
    equal(os.path.exists(f"{client.root}/after"), False, "what came to a client that cannot go on")
    client.type(make_anew)
    client.await_whole()
    has_all(client.root)
    client.type(put_back)
    converge(server.root, client.root, server.daemon, client.daemon)
    for side in (server, client):
        has_all(side.root)
        equal(Path(side.root, "both/theirs").read_bytes(), b"by the client meanwhile", "the client's")
    client.close()
    server.close()


@intermezzo_only
def test_of_a_server_without_room_for_one_more_client(disk: str, second_disk: str) -> None:
    """With the positions of 56 replicas a server takes no other client; with a new log as the page says it
    has its tree as it was, and takes the client."""
    _, _, begin_anew = commands()
    remove, = lines_of("When there is no room for one more client")
    equal(remove.split()[0], "rm", "the command")
    loopback_up()
    server = Side(disk)
    fill_tree(server.root)
    for number in range(PEERS):
        position(server.root, bytes([number + 1]) * 16, 1, 1, 1)
    equal(server.peers(), PEERS, "lines that say peer")
    client = Side(second_disk, LOOPBACK)
    client.daemon.await_word(NO_ROOM)
    equal(sorted(set(os.listdir(client.root)) - {"lost+found"}), [], "what came without a place")
    server.type([remove if line.startswith("rm ") else line for line in begin_anew])
    client.await_whole()
    converge(server.root, client.root, server.daemon, client.daemon)
    equal((server.peers(), sorted(os.listdir(f"{client.root}/both"))),
          (1, "link mine removed symlink theirs".split()), "peers, and what came")
    client.close()
    server.close()
