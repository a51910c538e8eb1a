# SPDX-License-Identifier: GPL-2.0
"""mkizofs on image files, without privileges. IZO_TOOLS names the build folder of intersync."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

MKIZOFS = Path(os.environ["IZO_TOOLS"], "src/tools/mkizofs")
# e2fsprogs are not in a user's PATH
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}
KINDS = {"ext4": ("-t", "ext4"), "ext3": ("-t", "ext3", "-b", "1024", "-J", "size=4", "-I", "256"),
         "quota": ("-t", "ext4", "-O", "quota"),
         "no-seed": ("-t", "ext4", "-O", "^metadata_csum_seed,metadata_csum"),
         "plain": ("-t", "ext4", "-O", "^metadata_csum,^64bit,^extents,^flex_bg")}


def run(*words: object, code: int = 0) -> str:
    """A program's output; for mkizofs that of a failure is its one line."""
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=ENVIRONMENT)
    assert result.returncode == code, (words, result.stdout, result.stderr)
    return result.stdout if code == 0 else result.stderr


def mkizofs(*words: object, code: int = 0) -> str:
    text = run(MKIZOFS, *words, code=code)
    assert "\n" not in text.rstrip("\n"), text
    return text


def told(*words: object) -> dict:
    return json.loads(mkizofs("--json", *words))


def debugfs(image: Path, request: str) -> str:
    return run("debugfs", "-R", request, image)


def checked(image: Path) -> None:
    run("e2fsck", "-f", "-n", image)


def names(image: Path, folder: str) -> list[str]:
    lines = debugfs(image, f"ls -p {folder}").splitlines()
    return sorted({line.split("/")[5] for line in lines if line.startswith("/")} - {".", ".."})


def number(image: Path, path: str) -> tuple[int, int]:
    """Inode and generation."""
    found = re.search(r"Inode: (\d+) .*?Generation: (\d+)", debugfs(image, f"stat {path}"), re.DOTALL)
    assert found
    return int(found[1]), int(found[2])


@pytest.fixture(params=KINDS)
def image(request, tmp_path) -> Path:
    path = tmp_path / "image"
    with open(path, "wb") as stream:
        stream.truncate(64 << 20)
    run("mke2fs", "-q", *KINDS[request.param], path)
    return path


@pytest.fixture
def ext4(tmp_path) -> Path:
    path = tmp_path / "ext4"
    with open(path, "wb") as stream:
        stream.truncate(16 << 20)
    run("mke2fs", "-q", "-t", "ext4", path)
    return path


def table(image: Path, name: str, tmp_path: Path) -> bytes:
    out = tmp_path / "dump"
    debugfs(image, f"dump /.intermezzo/rootset/{name} {out}")
    return out.read_bytes()


def entry(base: bytes, inode: int) -> tuple[int, int]:
    """Generation and replica that the table `base` has for an inode number."""
    at = 32 + 8 * inode
    return int.from_bytes(base[at:at + 4], "little"), int.from_bytes(base[at + 4:at + 6], "little")


def put(image: Path, *files: str) -> None:
    """New files, by debugfs."""
    for name in files:
        run("debugfs", "-w", "-R", f"write {__file__} {name}", image)
        run("debugfs", "-w", "-R", f"set_inode_field {name} generation {1000 + len(name)}", image)


def test_marks_and_is_content_the_second_time(image, tmp_path):
    put(image, "kept")
    made = told(image)
    assert (made["fileset"], made["replica"], made["replicas"], made["changed"]) == ("rootset", 1, 1, True)
    checked(image)
    assert names(image, "/.intermezzo") == ["rootset"]
    assert names(image, "/.intermezzo/rootset") == ["replicas"]
    assert "Mode:  0700" in debugfs(image, "stat /.intermezzo/rootset")
    assert "Mode:  0600" in debugfs(image, "stat /.intermezzo/rootset/replicas")
    before = image.read_bytes()
    assert told(image) == {**made, "changed": False}
    assert "already a cache of the fileset rootset" in mkizofs(image)
    assert image.read_bytes() == before
    assert "kept" in names(image, "/")


def test_names_and_uuids(ext4, tmp_path):
    uuid = "00112233-4455-6677-8899-aabbccddeeff"
    made = told("--fileset=home@work:1", f"--fileset-uuid={uuid}", ext4)
    assert (made["fileset"], made["fileset_uuid"]) == ("home@work:1", uuid)
    assert told(ext4) == {**made, "changed": False}
    assert "already a cache of the fileset home@work:1" in mkizofs(ext4)
    assert "is a cache of the fileset home@work:1" in mkizofs("--fileset=rootset", ext4, code=1)
    assert "has the UUID" in mkizofs("--fileset=home@work:1", f"--fileset-uuid={uuid[:-1]}0", ext4, code=1)
    checked(ext4)


def test_clone_of_a_clone(image, tmp_path):
    """What each was copied with keeps its maker; a log is left behind; identity and UUID are new."""
    first = told(image)
    put(image, "a", "bb")
    for name in ("kml", "kml.0", "kml.1", "lml", "last_rcvd"):
        run("debugfs", "-w", "-R", f"write {__file__} /.intermezzo/rootset/{name}", image)
    run("debugfs", "-w", "-R", 'ea_set bb trusted.izo "0123456789012345"', image)
    second = told("--clone", image)
    checked(image)
    assert (second["replica"], second["replicas"], second["fileset_uuid"]) == (2, 2, first["fileset_uuid"])
    assert second["replica_uuid"] != first["replica_uuid"]
    assert names(image, "/.intermezzo/rootset") == ["base", "replicas"]
    inode, generation = number(image, "a")
    base = table(image, "base", tmp_path)
    assert (entry(base, inode), entry(base, number(image, "bb")[0])) == ((generation, 1), (0, 0))
    assert entry(base, number(image, "/.intermezzo")[0]) == (0, 0)

    put(image, "cccc")
    run("debugfs", "-w", "-R", "set_inode_field a generation 77", image)
    file_system = run("dumpe2fs", "-h", image)
    third = told("--clone", image)
    checked(image)
    assert (third["replica"], third["replicas"]) == (3, 3)
    base = table(image, "base", tmp_path)
    # `a` has been made anew since, under its number
    assert entry(base, inode) == (77, 2)
    assert entry(base, number(image, "cccc")[0]) == (1004, 2)
    assert entry(base, number(image, "lost+found")[0])[1] == 1
    uuids = [re.search("UUID: +(.*)", text)[1] for text in (file_system, run("dumpe2fs", "-h", image))]
    assert uuids[0] != uuids[1]


def test_makes_a_file_system(tmp_path):
    path = tmp_path / "new"
    with open(path, "wb") as stream:
        stream.truncate(32 << 20)
    assert told("--mkfs", path)["changed"]
    checked(path)
    assert "it holds a file system (ext4)" in mkizofs("--mkfs", path, code=1)
    put(path, "lost")
    assert told("--mkfs", "--force", path)["changed"]
    assert "lost" not in names(path, "/")


def test_too_small_for_a_cache(tmp_path):
    """Its size is said, and how to make it larger; what has room is taken."""
    path = tmp_path / "small"
    for size in (0, 100, (8 << 20) - 1):
        path.write_bytes(bytes(size))
        assert mkizofs("--mkfs", path, code=1) == (
            f"mkizofs: {path}: it is {size} bytes long; a cache needs 8 MiB: truncate -s 64M {path}\n")
        assert path.stat().st_size == size
    path.write_bytes(bytes(8 << 20))
    assert told("--mkfs", path)["changed"]
    checked(path)
    assert "has_journal" in run("dumpe2fs", "-h", path)


def test_failure_of_mke2fs(tmp_path):
    """Its first line tells why."""
    path = tmp_path / "image"
    path.write_bytes(bytes(8 << 20))
    programs = tmp_path / "programs"
    programs.mkdir()
    words = "mke2fs 1.47.0 (5-Feb-2023)\\n\\nmke2fs: \\tWhy it fails  \\n\\tand more.\\n"
    (programs / "mke2fs").write_text(f"#!/bin/sh\nprintf '{words}' >&2\nexit 1\n", encoding="utf-8")
    (programs / "mke2fs").chmod(0o755)
    result = subprocess.run([MKIZOFS, "--mkfs", path], capture_output=True, text=True,
                            env={**ENVIRONMENT, "PATH": f"{programs}:{ENVIRONMENT['PATH']}"})
    assert (result.returncode, result.stderr) == (1, f"mkizofs: {path}: mke2fs failed: Why it fails\n")


@pytest.mark.parametrize("kind, maker", [("xfs", ("mkfs.xfs", "-q")), ("btrfs", ("mkfs.btrfs", "-q"))])
def test_other_file_systems(tmp_path, kind, maker):
    """It says how they become caches, the same with --mkfs, and changes nothing; --force loses them."""
    path = tmp_path / kind
    with open(path, "wb") as stream:
        stream.truncate(320 << 20)
    run(*maker, path)
    for words in ((path,), ("--clone", path), ("--mkfs", path)):
        assert mkizofs(*words, code=1) == (
            f"mkizofs: {path}: it holds {kind}, which mkizofs cannot mark; mount it with -t intermezzo -o "
            f"fileset=NAME,cache_type={kind}, or give --mkfs --force to lose it\n")
    assert run("blkid", "-p", "-s", "TYPE", "-o", "value", path) == f"{kind}\n"
    assert told("--mkfs", "--force", path)["changed"]


def test_disk_with_a_partition_table(tmp_path):
    """It holds no file system itself, but is not empty."""
    path = tmp_path / "disk"
    with open(path, "wb") as stream:
        stream.truncate(64 << 20)
        stream.seek(446)
        stream.write(struct.pack("<B3sB3sII", 0x80, bytes(3), 0x83, bytes(3), 2048, 65536))
        stream.seek(510)
        stream.write(b"\x55\xaa")
    before = path.read_bytes()
    for words in ((path,), ("--mkfs", path)):
        assert "it holds a partition table (dos), which cannot be a cache; give --" in mkizofs(*words, code=1)
    assert path.read_bytes() == before


def test_disk_that_may_be_two_things(tmp_path):
    """blkid(8) does not say which: nothing is lost by mistake."""
    path = tmp_path / "disk"
    with open(path, "wb") as stream:
        stream.truncate(64 << 20)
    run("mke2fs", "-q", "-F", "-t", "ext4", path)
    with open(path, "r+b") as stream:
        stream.seek(0x10040)
        stream.write(b"_BHRfS_M")
    before = path.read_bytes()
    said = mkizofs("--mkfs", path, code=1)
    assert "it cannot be told what it holds (blkid: " in said and "give --mkfs --force" in said
    assert path.read_bytes() == before


def test_folder_that_is_no_filesets(tmp_path):
    """The kernel takes no such name: no table is made there."""
    path = tmp_path / "disk"
    with open(path, "wb") as stream:
        stream.truncate(64 << 20)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", path)
    run("debugfs", "-w", "-R", "mkdir .intermezzo", path)
    run("debugfs", "-w", "-R", "mkdir .intermezzo/.old", path)
    assert "holds .old, which is no fileset's name; remove it" in mkizofs(path, code=1)


def test_what_cannot_be_a_cache(tmp_path):
    """Swap space is not lost by mistake."""
    path = tmp_path / "swap"
    path.write_bytes(bytes(16 << 20))
    run("mkswap", path)
    for words in ((path,), ("--mkfs", path)):
        assert "it holds swap, which cannot be a cache; give --mkfs --force" in mkizofs(*words, code=1)


@pytest.mark.parametrize("options, words", [
    (("-I", "128"), "inodes of 128 bytes are too small"),
    (("-O", "fast_commit"), "fast_commit"),
    (("-O", "ea_inode"), "ea_inode"),
    (("-O", "casefold"), "casefold"),
])
def test_unfit_file_systems(tmp_path, options, words):
    path = tmp_path / "unfit"
    with open(path, "wb") as stream:
        stream.truncate(16 << 20)
    run("mke2fs", "-q", "-t", "ext4", *options, path)
    before = path.read_bytes()
    assert words in mkizofs(path, code=1)
    assert path.read_bytes() == before


def test_refusals(ext4, tmp_path):
    assert "No such file or directory" in mkizofs(tmp_path / "nothing", code=1)
    empty = tmp_path / "empty"
    for size in (0, 100, 1 << 20):
        empty.write_bytes(bytes(size))
        assert "no ext2, ext3 or ext4 is on it" in mkizofs(empty, code=1)
    assert "it is no cache" in mkizofs("--clone", ext4, code=1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, "/dev/null"):
        assert mkizofs(path, code=1) == (
            f"mkizofs: {path}: it is no block device and no image file; name one\n")
    run("debugfs", "-w", "-R", "set_super_value state 0", ext4)
    assert "was not unmounted cleanly" in mkizofs(ext4, code=1)


def test_damaged_tables_are_not_replaced(ext4, tmp_path):
    mkizofs(ext4)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"IZOREP1\0" + bytes(1016))
    run("debugfs", "-w", "-R", "rm /.intermezzo/rootset/replicas", ext4)
    run("debugfs", "-w", "-R", f"write {damaged} /.intermezzo/rootset/replicas", ext4)
    for words in ((ext4,), ("--clone", ext4)):
        assert ".intermezzo/rootset/replicas is damaged" in mkizofs(*words, code=1)


@pytest.mark.parametrize("left", ["kml", "last_rcvd", "base"])
def test_lost_table_is_not_made_anew(ext4, left):
    """What is there was made with it: a new one would say that others had made the objects."""
    mkizofs(ext4)
    run("debugfs", "-w", "-R", "rm /.intermezzo/rootset/replicas", ext4)
    run("debugfs", "-w", "-R", f"write {__file__} /.intermezzo/rootset/{left}", ext4)
    why = f".intermezzo/rootset/replicas is missing, and .intermezzo/rootset/{left} is there; restore it"
    assert why in mkizofs(ext4, code=1)
    assert "replicas" not in names(ext4, "/.intermezzo/rootset")


def test_full_disk(ext4, tmp_path):
    """No room for the table of copied objects: refused, and nothing is changed."""
    mkizofs(ext4)
    free = int(re.search(r"Free blocks: +(\d+)", run("dumpe2fs", "-h", ext4))[1])
    filler = tmp_path / "filler"
    filler.write_bytes(b"x" * 1024 * (free - 5))
    run("debugfs", "-w", "-R", f"write {filler} filler", ext4)
    run("e2fsck", "-f", "-n", ext4)
    assert "no room for a table" in mkizofs("--clone", ext4, code=1)
    checked(ext4)
    assert names(ext4, "/.intermezzo/rootset") == ["replicas"]


@pytest.mark.parametrize("words, message", [
    ((), "DEVICE is missing"), (("a", "b"), "b: one DEVICE only"),
    (("--fileset=.x", "a"), "--fileset=.x: a name has"), (("--fileset=.x", "a"), "no dot in front"),
    (("--fileset=a/b", "a"), "letters, digits"), (("--fileset=", "a"), "1 to 64"),
    (("--fileset=" + "n" * 65, "a"), "1 to 64"), (("", ), '"" is no DEVICE'),
    (("--nothing", "a"), "--nothing: no such option; see mkizofs --help"),
    (("a", "-x"), "-x: no such option"), (("--mkfs=1", "a"), "--mkfs takes no value"),
    (("--fileset-uuid=1", "a"), "no UUID"), (("--clone", "--mkfs", "a"), "--clone takes the fileset"),
    (("--force", "a"), "--force goes with --mkfs"), (("--of-server", "a"), "--of-server goes with --clone"),
])
def test_wrong_usage(words, message):
    assert message in mkizofs(*words, code=2)


def test_help_version_and_manual():
    assert run(MKIZOFS, "--help").startswith("usage: mkizofs")
    assert re.fullmatch(r"mkizofs \d+\.\d+\.\d+\n", run(MKIZOFS, "--version"))
    manual = Path(__file__).parents[1] / "man/mkizofs.8"
    result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", manual],
                            capture_output=True, text=True, env={**ENVIRONMENT, "MANROFFSEQ": ""})
    assert (result.returncode, result.stderr) == (0, "")
    text = manual.read_text(encoding="utf-8").replace("\\-", "-")
    assert run(MKIZOFS, "-h") == run(MKIZOFS, "--help")
    for option in re.findall(r"(?<!\w)(--?[a-z-]+)", run(MKIZOFS, "--help")):
        assert option in text, option
