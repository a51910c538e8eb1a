#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""clang-tidy over the user half: says nothing and returns 0 when all is well.

Usage: clang_tidy.py FILE...     paths of .cc files below intersync/, from the top of the project

What it says of a file depends on the file, what that includes, and the configuration; it takes ten seconds
each, so what it found clean is not asked about again: a stamp in the cache, named by a hash of all of that,
says so.
"""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CLANG_TIDY = "clang-tidy-19"
# The analyzer takes half a minute for what GoogleTest's macros become; tests run under sanitizers instead.
FOR_TESTS = ["--checks=-clang-analyzer-*"]


def included(folder: str) -> dict[str, list[str]]:
    """For each source of the build: which files of the project it was compiled from."""
    listing = subprocess.run(["ninja", "-C", folder, "-t", "deps"], check=True, stdout=subprocess.PIPE,
                             text=True)
    found: dict[str, list[str]] = {}
    for block in listing.stdout.split("\n\n"):
        # The build sees the project through the link `source` in its own folder.
        ours = [line.strip().removeprefix("source/") for line in block.splitlines()[1:]
                if line.strip().startswith("source/")]
        if ours:
            # A source may be in several targets.
            found.setdefault(next(file for file in ours if file.endswith((".cc", ".c"))), sorted(ours))
    return found


def stamp_of(source: str, depends: list[str], common: bytes) -> str:
    """The name of the stamp that says that a source is clean."""
    digest = hashlib.sha256(common + source.encode())
    for file in depends:
        digest.update(file.encode() + b"\0" + (TOP / file).read_bytes())
    return digest.hexdigest()[:20]


def check(source: str, folder: str, stamp: Path) -> str:
    """The findings in one file."""
    checks = FOR_TESTS if source.endswith("_test.cc") else []
    command = [CLANG_TIDY, "--quiet", "-p", folder, *checks, f"{folder}/source/{source}"]
    result = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode == 0:
        stamp.touch()
        return ""
    return result.stdout or f"{source}: {result.stderr}"


def main() -> int:
    """Checks what has no stamp yet."""
    folder = subprocess.run([TOP / "intersync/build", "tested"], check=True, stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    stamps = Path(folder).parent / "tidy"
    stamps.mkdir(exist_ok=True)
    version = subprocess.run([CLANG_TIDY, "--version"], check=True, stdout=subprocess.PIPE).stdout
    common = (version + (TOP / "intersync/.clang-tidy").read_bytes() + "".join(FOR_TESTS).encode() +
              (TOP / "intersync/CMakeLists.txt").read_bytes())
    depends = included(folder)
    work = []
    for source in sys.argv[1:]:
        stamp = stamps / stamp_of(source, depends.get(source, [source]), common)
        if not stamp.exists():
            work.append((source, folder, stamp))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [text for text in pool.map(lambda one: check(*one), work) if text]
    print("".join(findings), end="")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
