# SPDX-License-Identifier: GPL-2.0
"""The demo from its first line to its files, with guests that only say what real ones do: the transcript, as
text and as JSON, has the milestones of a boot in the order of the old guide (docs/history.md)."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Callable, Iterable

import pytest

from harness import replicas, verdict
from harness.cache_state import Finding

PROGRAM = Path(__file__).parents[2] / "demo"
NONCE = "f00d"
# What a Debian root's console has of each milestone, among other things.
CONSOLE = """\
[    0.000000] Linux version 6.12.99 (somebody@somewhere)
[    0.854137] VFS: Mounted root (intermezzo filesystem) readonly on device 254:0.
Welcome to \x1b[1mDebian GNU/Linux 13 (trixie)\x1b[0m!
         Starting systemd-remount-fs.service - Remount Root and Kernel File Systems...
[  OK  ] Finished systemd-remount-fs.service - Remount Root and Kernel File Systems.
debian login: root (automatic login)
[   20.000000] systemd-shutdown[1]: Remounting '/' read-only with options 'fileset=rootset,mtp=/'.
[   20.100000] systemd-shutdown[1]: Remounting '/' read-only with options 'fileset=rootset,mtp=/'.
[   20.200000] reboot: Power down
"""
ALONE = ["a Debian root boots", "kernel 6.12.99 starts",
         "the kernel mounts the root: type intermezzo, readonly (guest second 0.854137)",
         "systemd starts: Debian GNU/Linux 13 (trixie)", "remount read-write with the words of /etc/fstab",
         "login prompt; a package is installed, removed, purged, installed",
         "shutdown: the root goes back to read-only", "powered off",
         "in the guest's own seconds", "2 checks in the guest"]
# What the host tells of the two.
MADE, BOOTED, CUT, AGAIN, OFF, COMPARED = (
    "makes two disks: a server's, and a copy of it made a replica by mkizofs --clone",
    "boots both, on a private network", "cuts the power of the client", "boots again", "both are off",
    "both disks compared: the same types, modes, owners, sizes, times, extended attributes and SHA-256")
FIRST = {role: [*replicas.BOOT_ORDER, replicas.propagated(role)] for role in replicas.ROLES}
STORY = [*(("alone", text) for text in ALONE), ("host", MADE), ("host", BOOTED),
         *(("server", text) for text in FIRST["server"]), *(("client", text) for text in FIRST["client"]),
         ("host", CUT), ("client", AGAIN), *(("client", text) for text in replicas.BOOT_ORDER),
         ("host", OFF), ("host", COMPARED)]


@dataclass
class Side:
    """In the place of replicas.Side: what one says is in its words."""

    role: str
    words: str = ""

    def say(self, checks: Iterable[str]) -> None:
        self.words += "".join(f"IZO {NONCE} ok {check} \r\n" for check in checks)

    def said(self) -> str:
        return self.words


def run_both(sides: list[Side], told: replicas.Told) -> None:
    """In the place of replicas.run. What they say goes unheard until the host does something, or ends."""
    server, client = sides
    server.say(FIRST["server"])
    client.say(FIRST["client"])
    told("host", CUT, {})
    told("client", AGAIN, {})
    client.say(replicas.BOOT_ORDER)


class Guest:
    """In the place of a guest that is alone."""

    def __init__(self, _machine: object, _folder: Path, _name: str, on_line: Callable[[str], None]) -> None:
        self.on_line = on_line

    def run(self) -> SimpleNamespace:
        for line in CONSOLE.splitlines():
            self.on_line(line)
        channel = f"IZO {NONCE} ok one\nIZO {NONCE} ok two\nIZO {NONCE} done 2\n"
        return SimpleNamespace(console=CONSOLE, channel=channel, trouble=[])


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with nothing to build and no disks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for folder in ("intermezzo", "run"):
        (tmp_path / folder).mkdir()
    loader = importlib.machinery.SourceFileLoader("demo", str(PROGRAM))
    spec = importlib.util.spec_from_loader("demo", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    both = verdict.Verdict(facts={"objects compared": "3978"}, done=True)
    for target, name, what in (
            (module, "stage", lambda title, work: None), (module, "Guest", Guest),
            (module.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "run")),
            (module, "copy_sparse", lambda source, copy: copy),
            (module.accel, "accelerator", lambda: "tcg"), (module.accel, "time_scale", lambda: 1.0),
            (module.artifacts, "root_type", lambda: "intermezzo"),
            (module.debian, "debian", lambda *_: SimpleNamespace(append="root=/dev/vda")),
            (module.debian, "fsck", lambda disk: ""), (module.debian, "needs_recovery", lambda disk: False),
            (module.cache_state.Baseline, "of", lambda *_: None),
            (module.cache_state, "examine", lambda *_: Finding()),
            (module.verdict, "new_nonce", lambda: NONCE),
            (module.replicas, "prepare", lambda *_: [Side(role) for role in replicas.ROLES]),
            (module.replicas, "run", run_both), (module.replicas, "judged", lambda sides: both)):
        monkeypatch.setattr(target, name, what)
    return module


def told_in(text: str) -> list[tuple[str, str]]:
    """The entries of a transcript as a reader sees them."""
    return re.findall(r"^ *[0-9.]+ s  (\w+): +(.*)$", text, re.MULTILINE)


def test_text_and_json_have_the_milestones_in_their_order(demo: ModuleType, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, each boot's once, and the same on the terminal: as it goes, and in the end."""
    assert demo.main() == 0
    text = (tmp_path / "intermezzo/demo.txt").read_text(encoding="utf-8")
    story = json.loads((tmp_path / "intermezzo/demo.json").read_text(encoding="utf-8"))
    assert told_in(text) == STORY
    assert [(entry["guest"], entry["text"]) for entry in story["entries"]] == STORY
    assert story["passed"] and text.startswith("The demo passed; ")
    shown = capsys.readouterr().out
    assert told_in(shown) == STORY + STORY


def test_a_demo_that_takes_too_long_has_failed(demo: ModuleType, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files say so."""
    monkeypatch.setattr(demo, "LIMIT", -1)
    assert demo.main() == 1
    story = json.loads((tmp_path / "intermezzo/demo.json").read_text(encoding="utf-8"))
    assert not story["passed"] and story["failures"] == ["it took 0 s, and may take -1 s"]
    assert (tmp_path / "intermezzo/demo.txt").read_text(encoding="utf-8").startswith("The demo FAILED; ")


def test_a_root_alone_that_fails_ends_the_demo(demo: ModuleType, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """The two are not booted then; both files say that it failed."""
    monkeypatch.setattr(demo.debian, "fsck", lambda disk: "an inode is lost")
    assert demo.main() == 1
    text = (tmp_path / "intermezzo/demo.txt").read_text(encoding="utf-8")
    story = json.loads((tmp_path / "intermezzo/demo.json").read_text(encoding="utf-8"))
    assert text.startswith("The demo FAILED; ") and text.endswith("\nthe disk is not what it must be\n")
    assert (story["passed"], story["failures"]) == (False, ["the disk is not what it must be"])
    assert [(entry["guest"], entry["text"]) for entry in story["entries"]] == STORY[:len(ALONE)]
