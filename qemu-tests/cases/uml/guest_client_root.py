# SPDX-License-Identifier: GPL-2.0
"""docs/root-filesystem.md, "A client's root from the server's disk": its commands, with this guest's disks;
the small roots are replicas then."""

from __future__ import annotations

import os
import re
from pathlib import Path

from guest.disks import check_ext, make_ext4, run
from guest.expect import equal, intermezzo_only, wait_until
from guest.intersync import Intersync, loopback_up
from guest.kml import Log
from guest.mounting import mount_old, umount
from guest.subject import HOST, mount_point, mounted

ENVIRONMENT = ("IZO_TOOLS",)
DISKS = ("16M", "16M", "48M", "48M", "16M")
FILES = ("docs/root-filesystem.md",)
ROOT = "fileset=rootset,mtp=/"
SHARED = {"etc/hostname": "a-name\n", "usr/bin/program": "#!/bin/sh\n"}
OWN = {"etc/fstab": "/dev/sda2  /  intermezzo  fileset=rootset,mtp=/  0  1\n",
       "etc/machine-id": "0123456789abcdef0123456789abcdef\n"}


def commands() -> list[str]:
    """The section's lines to type."""
    page = Path(HOST, "root-filesystem.md").read_text(encoding="utf-8")
    section = page.split("\n## A client's root from the server's disk\n")[1].split("\n## ")[0]
    return [line.strip() for line in re.findall(r"^ {4,}(\S.*)$", section, re.MULTILINE)]


def make_server(disk: str, where: str) -> None:
    """A root that has been in use, with a log."""
    make_ext4(disk)
    with mounted(disk, ROOT, where=where):
        for folder in ("etc/default", "usr/bin", "var/log", "var/lib/systemd"):
            os.makedirs(f"{where}/{folder}")
        for name, text in {**SHARED, **OWN}.items():
            Path(where, name).write_text(text, encoding="ascii")


def follow(disk: str, second_disk: str, words: list[str]) -> None:
    """One writes, the other has it, both ways; what is a machine's own stays as it is."""
    loopback_up()
    server, client = mount_point(), mount_point()
    mount_old(disk, server, "intermezzo", ROOT)
    mount_old(second_disk, client, "intermezzo", ROOT)
    with Intersync(server), Intersync(client, server=words[-1].removeprefix("--server=")):
        for one, other in ((server, client), (client, server)):
            Path(one, "etc/hostname").write_text(f"by {one}\n", encoding="ascii")
            Path(one, "etc/fstab").write_text(f"by {one}\n", encoding="ascii")
            wait_until(lambda: Path(other, "etc/hostname").read_text(encoding="ascii") == f"by {one}\n",
                       f"what {one} wrote is in {other}")
        for root in (server, client):
            equal(Path(root, "etc/fstab").read_text(encoding="ascii"), f"by {root}\n", "its own file")
            said = run(f"{os.environ['IZO_TOOLS']}/src/tools/izoctl", "status", root)
            equal(said.count("\n  peer  "), 1, said)
    umount(client)
    umount(server)


def cannot_be_replaced(fstab: str) -> None:
    """sed -i makes a file that is shared and renames it; cp writes into the one that is there."""
    said = run("sed", "-i", "s/sda2/sda3/", fstab, ok=(4,))
    equal("cross-device" in said.lower(), True, said)
    equal(Path(fstab).read_text(encoding="ascii"), OWN["etc/fstab"], "what sed -i leaves")
    run("sh", "-c", f"sed s/sda2/sda3/ {fstab} > /tmp/fstab && cp /tmp/fstab {fstab}")


@intermezzo_only
def test_every_command(disk: str, second_disk: str, where: str) -> None:
    """The page's commands make a replica, and nothing that they write is logged. systemd's own are left out:
    a machine for tests may not have it."""
    make_server(disk, where)
    typed = commands()
    equal([line.split()[0] for line in typed],
          "systemctl echo dd mkizofs mount echo echo rm umount".split(), "commands")
    with mounted(disk, ROOT, where=where):
        run("sh", "-c", typed[1].replace("/etc/", f"{where}/etc/"))
    options = Path(where, "etc/default/intersync")
    examples = {"/dev/sdb2": disk, "/dev/sdc2": second_disk, "/mnt": where, "server-hostname": "127.0.0.1",
                f"systemd-machine-id-setup --root={where}": f"echo new > {where}/etc/machine-id"}
    words: list[str] = []
    for line in typed[2:]:
        for example, here in examples.items():
            line = line.replace(example, here)
        if line == f"umount {where}":
            equal(list(Log.of_mount(where).records()), [], "what is logged")
            words = re.findall(r'"(.*)"', options.read_text(encoding="ascii"))[0].split()
            cannot_be_replaced(f"{where}/etc/fstab")
        run("sh", "-c", f"PATH={os.environ['IZO_TOOLS']}/src/tools:$PATH; {line}")
    equal(words, ["--plain-http", "--server=127.0.0.1"], "the client's options")
    with mounted(disk, ROOT, where=where):
        equal(options.read_text(encoding="ascii"), 'OPTIONS="--plain-http"\n', "the server's options")
    follow(disk, second_disk, words)
    check_ext(disk)
    check_ext(second_disk)
