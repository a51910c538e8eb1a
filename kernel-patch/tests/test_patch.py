# SPDX-License-Identifier: GPL-2.0
"""The patch and the handling of the source tree, on a tree of a few lines that the hooks fit.

Nothing is compiled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
OLD_TIME = 1_000_000_000


def create_patch(top: Path = TOP) -> str:
    return subprocess.run([top / "kernel-patch/create-patch", "6.12"],
                          check=True, capture_output=True, text=True).stdout


def lines_before(patch: str) -> dict[str, str]:
    """What the existing files that a patch changes must hold for it to apply."""
    files: dict[str, str] = {}
    name = None
    for line in patch.splitlines(keepends=True):
        if line.startswith("--- "):
            name = line[len("--- a/"):].strip() if line.startswith("--- a/") else None
        elif name and line[0] in " -":
            files[name] = files.get(name, "") + line[1:]
    return files


class Checkout:
    """A copy of the scripts and a small kmod/, with a cache and a kernel tree of their own."""

    def __init__(self, folder: Path) -> None:
        self.top = folder / "checkout"
        self.tree = folder / "cache/intermezzo/linux/src"
        self.source = folder / "linux"
        shutil.copytree(TOP / "kernel-patch", self.top / "kernel-patch")
        shutil.copytree(TOP / "qemu-tests/kernel", self.top / "qemu-tests/kernel")
        (self.top / "kmod/uapi/linux").mkdir(parents=True)
        for name in ("Kbuild", "Kconfig", "one.c", "two.c", "uapi/linux/izo.h"):
            (self.top / "kmod" / name).write_text(f"/* {name} */\n")
        fitting = lines_before(create_patch(self.top) + (TOP / "qemu-tests/kernel/uml.patch").read_text())
        for name, text in {**fitting, "Kbuild": "\n",
                           "Makefile": "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 999\n"}.items():
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            (self.source / name).write_text(text)
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "KSRC": str(self.source)}

    def prepare(self) -> str:
        """What build-kernel does before it compiles; returns the messages."""
        script = (f'set -euo pipefail; . {self.top}/kernel-patch/lib.sh; tree_lock; '
                  f'tree_prepare "$KSRC" "$(source_id "$KSRC")"')
        run = subprocess.run(["bash", "-c", script], env=self.environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stderr

    def age_tree(self) -> None:
        for path in self.tree.rglob("*"):
            os.utime(path, (OLD_TIME, OLD_TIME))

    def changed(self) -> set[str]:
        """Files that make would take for newer than what was compiled before age_tree()."""
        return {str(path.relative_to(self.tree)) for path in self.tree.rglob("*")
                if path.is_file() and path.stat().st_mtime != OLD_TIME}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_patch_is_the_same_each_time():
    assert create_patch() == create_patch()


def test_every_kernel_file_that_changes_is_named_in_the_readme():
    readme = (TOP / "kernel-patch/README.md").read_text()
    changed = re.findall(r"^--- a/(\S+)", create_patch(), re.MULTILINE)
    assert {"fs/Kconfig", "fs/Makefile"} <= set(changed)
    assert [name for name in changed if f"`{name}`" not in readme] == []


def test_new_files_are_ours_alone():
    new = re.findall(r"^--- /dev/null\n\+\+\+ b/(\S+)", create_patch(), re.MULTILINE)
    assert {"fs/intermezzo/Kbuild", "fs/intermezzo/Kconfig"} <= set(new)
    assert not [name for name in new if not name.startswith(("fs/intermezzo/", "include/uapi/linux/"))]
    assert not [name for name in new if "compat" in name or name.endswith("/Makefile")]


def test_what_a_module_build_leaves_is_not_in_the_patch(checkout: Checkout):
    before = create_patch(checkout.top)
    (checkout.top / "kmod/intermezzo.mod.c").write_text("int generated;\n")
    assert create_patch(checkout.top) == before


def test_the_whole_patch_applies_and_comes_off(checkout: Checkout):
    checkout.prepare()
    assert (checkout.tree / "fs/intermezzo/one.c").read_text() == "/* one.c */\n"
    assert "intermezzo/" in (checkout.tree / "fs/Makefile").read_text()
    shutil.rmtree(checkout.top / "kmod/uapi")
    (checkout.top / "kmod/two.c").unlink()
    checkout.prepare()
    assert not (checkout.tree / "fs/intermezzo/two.c").exists()
    assert not (checkout.tree / "include/uapi/linux/izo.h").exists()


def test_only_what_changed_is_compiled_again(checkout: Checkout):
    checkout.prepare()
    checkout.age_tree()
    (checkout.top / "kmod/two.c").write_text("int changed;\n")
    (checkout.top / "kmod/three.c").write_text("int added;\n")
    checkout.prepare()
    assert checkout.changed() == {"fs/intermezzo/two.c", "fs/intermezzo/three.c"}


def test_a_spoilt_tree_is_made_anew_and_everything_compiled_again(checkout: Checkout):
    checkout.prepare()
    (checkout.tree / "fs/Makefile").write_text("spoilt\n")
    (checkout.tree.parent / "build-qemu").mkdir()
    (checkout.top / "kmod/two.c").write_text("int changed;\n")
    assert "does not come off" in checkout.prepare()
    assert "intermezzo/" in (checkout.tree / "fs/Makefile").read_text()
    assert (checkout.tree / "fs/intermezzo/two.c").read_text() == "int changed;\n"
    assert not (checkout.tree.parent / "build-qemu").exists()


def test_a_change_cut_short_is_made_good(checkout: Checkout):
    checkout.prepare()
    (checkout.tree.parent / "applied.patch").rename(checkout.tree.parent / "applied.patch.old")
    (checkout.tree / "fs/intermezzo/two.c").unlink()
    checkout.prepare()
    assert (checkout.tree / "fs/intermezzo/two.c").exists()


@pytest.mark.parametrize("arguments, environment, words", [
    (["qemu"], {"KSRC": "/nowhere"}, "KSRC=/nowhere does not exist"),
    (["qemu"], {"KSRC": "/proc"}, "KSRC=/proc is no kernel tree"),
    (["vax"], {}, "unknown kernel 'vax'"),
    ([], {}, "usage: build-kernel"),
])
def test_what_cannot_work_is_refused_in_one_line(arguments, environment, words):
    run = subprocess.run([TOP / "kernel-patch/build-kernel", *arguments],
                         env={**os.environ, **environment}, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert words in run.stderr


@pytest.mark.parametrize("config, arch", [("CONFIG_UML=y\n", "um"), ("CONFIG_X86_64=y\n", "")])
def test_module_build_knows_a_user_mode_linux_tree(tmp_path: Path, config: str, arch: str) -> None:
    (tmp_path / ".config").write_text(config)
    (tmp_path / "Makefile").write_text("modules:\n\t@echo arch=$(ARCH)=\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("ARCH", "MAKEFLAGS")}
    made = subprocess.run(["make", "-s", "-C", TOP / "kmod", f"KDIR={tmp_path}"], env=environment,
                          check=True, capture_output=True, text=True)
    assert f"arch={arch}=" in made.stdout
