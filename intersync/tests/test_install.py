# SPDX-License-Identifier: GPL-2.0
"""What `cmake --install` puts where. IZO_TOOLS names the build folder of intersync."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1]
PROGRAMS = ["sbin/intersync", "sbin/izoctl", "sbin/mkizofs"]
UNIT = "lib/systemd/system/intersync@.service"
PAGES = [f"share/man/man{page.suffix[1:]}/{page.name}" for page in (SOURCE / "man").iterdir()]


def installed(prefix: str, destination: Path) -> list[str]:
    """The files below the prefix, with no others in the destination."""
    subprocess.run(["cmake", "--install", os.environ["IZO_TOOLS"], "--prefix", prefix], check=True,
                   capture_output=True, env={**os.environ, "DESTDIR": str(destination)}, timeout=60)
    top = destination / prefix.lstrip("/")
    files = [path for path in destination.rglob("*") if not path.is_dir()]
    return sorted(str(path.relative_to(top)) for path in files)


@pytest.mark.parametrize("prefix", ["/usr", "/opt/intermezzo"])
def test_files(prefix, tmp_path):
    """Programs that run, manual pages and the unit; nothing of the build."""
    assert installed(prefix, tmp_path) == sorted([*PROGRAMS, UNIT, *PAGES])
    for name in PROGRAMS:
        said = subprocess.run([f"{tmp_path}{prefix}/{name}", "--version"], capture_output=True, text=True)
        assert said.returncode == 0 and said.stdout.startswith(f"{Path(name).name} "), said
    for name in (UNIT, *PAGES):
        assert Path(f"{tmp_path}{prefix}/{name}").stat().st_mode & 0o777 == 0o644, name
    unit = Path(f"{tmp_path}{prefix}/{UNIT}").read_text(encoding="utf-8")
    assert unit == (SOURCE / "units/intersync@.service").read_text(encoding="utf-8")


def test_unit_runs_what_is_installed(tmp_path):
    """With the prefix /usr the program and the manual page are where the unit says."""
    installed("/usr", tmp_path)
    unit = (tmp_path / "usr" / UNIT).read_text(encoding="utf-8")
    program = re.search(r"^ExecStart=(/\S+) ", unit, re.MULTILINE)[1]
    assert os.access(f"{tmp_path}{program}", os.X_OK), program
    page = re.search(r"^Documentation=man:(\w+)\((\d)\)$", unit, re.MULTILINE)
    assert (tmp_path / f"usr/share/man/man{page[2]}/{page[1]}.{page[2]}").is_file()
