# SPDX-License-Identifier: GPL-2.0
"""The manual pages: all render and are installed; the mount options are those of docs/root-filesystem.md."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
MANUALS = sorted((TOP / "intersync/man").glob("*.[58]"))
PAGE = (TOP / "docs/root-filesystem.md").read_text(encoding="utf-8")


def plain(manual: str) -> str:
    """A page's source with its escapes as what they stand for."""
    text = (TOP / "intersync/man" / manual).read_text(encoding="utf-8")
    return text.replace("\\-", "-").replace("\\fR", "").replace("\\fP", "")


def section(heading: str) -> str:
    """Of docs/root-filesystem.md."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("manual", MANUALS, ids=lambda path: path.name)
def test_renders_without_a_warning(manual: Path) -> None:
    result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", manual],
                            capture_output=True, text=True,
                            env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""})
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("manual", MANUALS, ids=lambda path: path.name)
def test_is_installed(manual: Path) -> None:
    installs = (TOP / "intersync/CMakeLists.txt").read_text(encoding="utf-8")
    folder = re.escape(f"${{CMAKE_INSTALL_MANDIR}}/man{manual.suffix[1:]}")
    page = re.escape(f"man/{manual.name}")
    assert re.search(rf"install\(FILES [^)]*\b{page}\b[^)]* DESTINATION {folder}\)", installs)


def test_has_the_mount_options_of_the_page() -> None:
    """Each word in the first column of its table has a paragraph of intermezzo(5), and the reverse."""
    rows = re.findall(r"^\| (`.*?) \|", section("Mount options"), re.MULTILINE)
    on_page = {word for row in rows for word in re.findall(r"`([a-z_]+)(?:=[^`]*)?`", row)}
    options = plain("intermezzo.5").split(".SH OPTIONS")[1].split(".SH")[0]
    tags = re.findall(r"^\.TP\n\.BI? (.*)$", options, re.MULTILINE)
    in_manual = {"".join(word) for tag in tags for word in re.findall(r"([a-z_]+)=|^([a-z_]+)$", tag)}
    assert len(on_page) > 10 and in_manual == on_page


def test_has_the_names_that_are_not_shared() -> None:
    """The list of the page is that of intermezzo(5)."""
    listed = re.findall(r"^ {4}(/.*)$", section("What is this machine's own"), re.MULTILINE)
    on_page = " ".join(listed).split()
    in_manual = re.findall(r'^\.IR (/etc/default/.*)$', plain("intermezzo.5"), re.MULTILINE)
    assert len(on_page) == 10 and re.sub(r'[" ]+', " ", in_manual[0].replace(", ", " ")).split() == on_page
