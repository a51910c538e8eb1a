# SPDX-License-Identifier: GPL-2.0
"""izoctl on files: copies of logs made from the corpus, and caches in images. IZO_TOOLS names the build
folder of intersync; what needs a mounted fileset is in qemu-tests/cases/uml/guest_izoctl.py."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

IZOCTL = Path(os.environ["IZO_TOOLS"], "src/tools/izoctl")
CORPUS = Path(__file__).parents[1] / "src/kml/corpus"
MANIFEST = dict(line.split(": ", 1) for line in (CORPUS / "MANIFEST").read_text().splitlines()
                if not line.startswith("#"))
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}
HEADER = struct.Struct("<8sIIIHHII16s16sQQQ32x")
EPOCH = 0x1122334455667788
FIRST = HEADER.size
WHOLE = CORPUS / "crash/whole"


def izoctl(*words: object, code: int = 0, stdin: bytes = b"") -> tuple[str, str]:
    """Its output and its errors."""
    result = subprocess.run([IZOCTL, *(str(word) for word in words)], capture_output=True, input=stdin,
                            env=ENVIRONMENT, timeout=60)
    assert result.returncode == code, (words, result)
    return result.stdout.decode(), result.stderr.decode()


def failed(*words: object, code: int) -> str:
    """The one line that it says."""
    _, errors = izoctl(*words, code=code)
    assert errors.endswith("\n") and errors.count("\n") == 1, errors
    return errors.rstrip("\n")


def records(*words: object, code: int = 0, stdin: bytes = b"") -> list[dict]:
    lines = izoctl("kml", "--json", *words, code=code, stdin=stdin)[0].splitlines()
    return [json.loads(line) for line in lines]


def numbers(*words: object, code: int = 0) -> list[int]:
    return [record["recno"] for record in records(*words, code=code)]


def crc32c(data: bytes) -> int:
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def header(first: int = FIRST, first_recno: int = 1, flags: int = 0) -> bytes:
    """Of a copy of a log."""
    def packed(crc: int) -> bytes:
        return HEADER.pack(b"IZOKML1\0", 1, HEADER.size, crc, 1, 0, 4096, flags, b"f" * 16, b"r" * 16, EPOCH,
                           first, first_recno)
    return packed(crc32c(packed(0)))


def copy_of(tmp_path: Path, record: bytes) -> Path:
    """A log that begins with what a file of the corpus has."""
    path = tmp_path / "copy"
    path.write_bytes(header(first=int.from_bytes(record[16:24], "little") & ~7 or FIRST) + record)
    return path


@pytest.mark.parametrize("name", [name for name in MANIFEST if name.startswith("good/")])
def test_good_record(name, tmp_path):
    """Filler or record: the record as committed (the unit tests look at each member), in both forms."""
    path = copy_of(tmp_path, (CORPUS / name).read_bytes())
    for form, golden in (((), "kml/record_text_golden.txt"), (("--json",), "tools/record_json_golden.txt")):
        lines = (CORPUS.parents[1] / golden).read_text(encoding="utf-8").splitlines()
        expected = [line.partition(": ")[2] for line in lines if line.startswith(f"{name}: ")]
        assert izoctl("kml", *form, path)[0].splitlines() == expected
        assert bool(expected) == (MANIFEST[name] == "record")


@pytest.mark.parametrize("name", [name for name in MANIFEST if name.startswith("fail/")])
def test_altered_record(name, tmp_path):
    """One line: file, offset, what."""
    path = copy_of(tmp_path, (CORPUS / name).read_bytes())
    offset = struct.unpack_from("<Q", path.read_bytes(), 72)[0]
    assert failed("kml", path, code=3) == f"izoctl: {path}: offset {offset}: {MANIFEST[name]}"


@pytest.mark.parametrize("name", [name for name in MANIFEST if name.startswith("crash/")])
def test_log_that_ends_in_the_middle(name):
    """What is whole is printed; then file, offset, what."""
    count, offset, what = re.fullmatch(r"(\d+) records, offset (\d+): (.*)", MANIFEST[name]).groups()
    path = CORPUS / name
    expected = list(range(1, int(count) + 1))
    if what == "end":
        assert numbers(path) == expected
        return
    assert numbers(path, code=3) == expected
    what = {"cut off": "cut off within a record"}.get(what, what)
    what = "cut off within the header of a log" if offset == "0" else what
    assert failed("kml", path, code=3) == f"izoctl: {path}: offset {offset}: {what}"


def test_text_of_a_log():
    """A line for each record; recno, offset and operation come first."""
    lines = izoctl("kml", WHOLE)[0].splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(1, 13)]
    assert [line.split()[3] for line in lines] == [
        "create", "mkdir", "mknod", "symlink", "link", "unlink", "rmdir", "rename", "setattr", "setxattr",
        "removexattr", "close"]
    assert lines[0].startswith(
        "1 120 2026-11-24T09:49:29.000000005Z create 1:1200:abcd0000/name 1:1234:abcd0001 ")


def test_where_to_begin_and_how_many():
    offsets = {record["recno"]: record["offset"] for record in records(WHOLE)}
    assert numbers("--recno", 5, "--count", 3, WHOLE) == [5, 6, 7]
    assert numbers(f"--from={offsets[9]}", WHOLE) == [9, 10, 11, 12]
    assert numbers("--from=0", WHOLE) == list(range(1, 13))
    # between two records there may be a filler
    end = records("--recno=5", "--count=1", WHOLE)[0]
    assert offsets[6] > end["offset"] + end["length"]
    assert numbers("--from", end["offset"] + end["length"], "--count=1", WHOLE) == [6]
    assert numbers("--recno=13", WHOLE) == []
    assert failed("kml", "--recno=14", WHOLE, code=1) == (
        f"izoctl: {WHOLE}: record 14 lies beyond the log's end: the next one will be 13")
    assert numbers("--from=2896", WHOLE) == []
    assert "offset 2904 lies beyond the log's end, 2896" in failed("kml", "--from=2904", WHOLE, code=1)
    assert failed("kml", "--from=136", WHOLE, code=3).endswith("does a record begin there?")


def test_standard_input():
    assert [record["recno"] for record in records("-", stdin=WHOLE.read_bytes())] == list(range(1, 13))
    assert len(records("--from=864", "-", stdin=WHOLE.read_bytes())) == 9
    _, errors = izoctl("kml", "-", code=3, stdin=WHOLE.read_bytes()[:FIRST - 1])
    assert errors == "izoctl: standard input: offset 0: cut off within the header of a log\n"
    assert failed("kml", "-", code=1) == "izoctl: standard input: it is no log, no ext image and no cache"


def test_reader_that_goes_away():
    """As of `izoctl kml ... | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([IZOCTL, "kml", WHOLE], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (result.returncode, result.stderr) == (-13, b"")


def test_full_disk():
    with open("/dev/full", "wb") as full:
        result = subprocess.run([IZOCTL, "kml", WHOLE], stdout=full, stderr=subprocess.PIPE, timeout=60)
    line = b"izoctl: write standard output: No space left on device\n"
    assert (result.returncode, result.stderr) == (1, line)


def test_trimmed_log(tmp_path):
    """What was asked for and is not there is said; the rest is printed."""
    whole = WHOLE.read_bytes()
    path = tmp_path / "trimmed"
    path.write_bytes(header(first=864, first_recno=4) + whole[864:])
    assert numbers(path) == list(range(4, 13))
    assert numbers("--recno=2", path, code=4) == list(range(4, 13))
    assert failed("kml", "--recno=2", path, code=4) == f"izoctl: {path}: records before 4 are gone"
    assert failed("kml", "--from=120", path, code=4) == (
        f"izoctl: {path}: what stood before offset 864, record 4, is gone")
    assert numbers("--from=864", "--count=1", path) == [4]


def test_overflow_is_said(tmp_path):
    path = tmp_path / "overflowed"
    path.write_bytes(header(flags=1) + WHOLE.read_bytes()[FIRST:])
    assert len(records(path)) == 12
    assert failed("kml", path, code=0) == (
        f"izoctl: {path}: the log overflowed: changes after its last record are not in it")


def test_names_that_are_no_text(tmp_path):
    path = copy_of(tmp_path, (CORPUS / "good/longest-name").read_bytes())
    assert records(path)[0]["place"]["name"] == {"hex": "ff" * 255}
    assert "\\xff" * 255 in izoctl("kml", path)[0]


def run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, env=ENVIRONMENT)


def sealed(form: struct.Struct, crc_at: int, *values: object) -> bytes:
    """A structure with its checksum."""
    data = bytearray(form.pack(*values))
    struct.pack_into("<I", data, crc_at, crc32c(bytes(data)))
    return bytes(data)


@pytest.fixture
def cache(tmp_path) -> Path:
    """A folder as .intermezzo/rootset of a cache: one segment, with the log of the corpus."""
    folder = tmp_path / "cache/.intermezzo/rootset"
    folder.mkdir(parents=True)
    control = sealed(struct.Struct("<8sII16s16sQIIQQIHH32x"), 12, b"IZOCTL1\0", 1, 0, b"f" * 16, b"r" * 16,
                     EPOCH, 8192, 4096, 1 << 20, 0, 0, 1, 0)
    segment = sealed(struct.Struct("<8sIIQQQQ16x"), 12, b"IZOSEG1\0", 1, 0, EPOCH, 0, FIRST, 1)
    (folder / "kml").write_bytes(control.ljust(4096, b"\0"))
    (folder / "kml.0").write_bytes(segment.ljust(4096, b"\0") + WHOLE.read_bytes().ljust(4096, b"\0"))
    return tmp_path / "cache"


def image_of(cache: Path, tmp_path: Path) -> Path:
    image = tmp_path / "image"
    run("mke2fs", "-q", "-t", "ext4", "-d", cache, image, "8M")
    return image


def test_cache_in_a_folder_or_an_image(cache, tmp_path):
    image = image_of(cache, tmp_path)
    kml = cache / ".intermezzo/rootset/kml"
    link = tmp_path / "link"
    link.symlink_to(kml)
    for path in (cache, kml, link, f"{kml.parent}/./kml", image):
        assert records(path) == records(WHOLE)
        assert izoctl("kml", "--from=864", "--count=1", path)[1] == ""
        assert numbers("--fileset=rootset", "--from=864", "--count=1", path) == [4]
        assert "has no fileset home" in failed("kml", "--fileset=home", path, code=1)
        assert "record 14 lies beyond the log's end" in failed("kml", "--recno=14", path, code=1)
    assert failed("kml", "--fileset=rootset", WHOLE, code=1) == (
        f"izoctl: {WHOLE}: a copy of a log has no fileset to choose; leave out --fileset=rootset")
    before = image.read_bytes()
    run("debugfs", "-w", "-R", "feature needs_recovery", image)
    assert "the newest records may be missing" in failed("kml", image, code=0)
    assert len(before) == len(image.read_bytes())


def test_several_filesets(cache, tmp_path):
    (cache / ".intermezzo/home").mkdir()
    for path in (cache, image_of(cache, tmp_path)):
        line = failed("kml", path, code=1)
        assert re.search(r"several filesets \((rootset, home|home, rootset)\); choose one", line)
        assert len(records("--fileset=rootset", path)) == 12
        assert "the fileset has no log yet" in failed("kml", "--fileset=home", path, code=1)


def test_damaged_cache(cache):
    """Only in the newest segment does the log end where there is no record."""
    segment = cache / ".intermezzo/rootset/kml.0"
    data = bytearray(segment.read_bytes())
    data[4096 + 900] ^= 1
    segment.write_bytes(data)
    assert numbers(cache) == [1, 2, 3]
    assert failed("kml", "--from=864", cache, code=3).endswith("does a record begin there?")
    kml = cache / ".intermezzo/rootset/kml"
    kml.write_bytes(kml.read_bytes().replace(b"ffff", b"gggg"))
    assert "checksum of the control block" in failed("kml", cache, code=3)


def test_what_is_no_log(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other"
    other.write_bytes(b"x" * 4096)
    plain = tmp_path / "plain"
    run("mke2fs", "-q", "-t", "ext4", plain, "8M")
    assert failed("kml", tmp_path / "nothing", code=1) == (
        f"izoctl: stat {tmp_path}/nothing: No such file or directory")
    assert "neither a mount point of an intermezzo nor a cache" in failed("kml", empty, code=1)
    short = tmp_path / "short"
    short.write_bytes(b"IZOKML")
    xfs = tmp_path / "xfs"
    xfs.write_bytes(b"XFSB" + bytes(4092))
    for path in (other, short, xfs, "/dev/null", "/etc/passwd"):
        assert failed("kml", path, code=1) == f"izoctl: {path}: it is no log, no ext image and no cache"
    assert "it is no cache" in failed("kml", plain, code=1)
    assert "only the log of a mounted fileset can be followed" in failed("kml", "--follow", WHOLE, code=1)
    assert "no intermezzo is mounted there" in failed("status", tmp_path, code=1)
    assert "No such file" in failed("status", tmp_path / "nothing", code=1)


def test_status_without_filesets():
    if "intermezzo" in Path("/proc/self/mountinfo").read_text(encoding="utf-8"):
        pytest.skip("this machine has filesets mounted")
    assert izoctl("status") == izoctl("status", "--json") == ("", "izoctl: no intermezzo is mounted\n")


@pytest.mark.parametrize("words, message", [
    ((), "VERB is missing"), (("other",), "other: no such verb"),
    (("kml",), "PATH is missing"), (("kml", "a", "b"), "b: one PATH only"),
    (("kml", "--from", "x", "a"), "--from=x: give a number from 0"),
    (("kml", "--recno=0", "a"), "--recno=0: give a number from 1"),
    (("kml", "--count=-1", "a"), "--count=-1: give a number from 1"),
    (("kml", "--from=", "a"), "--from=: give a number"),
    (("kml", "--count=18446744073709551616", "a"), "--count=18446744073709551616: give a number"),
    (("kml", "--from=1", "--recno=1", "a"), "two ways"),
    (("kml", "--fileset=../x", "a"), "no dot in front"),
    (("kml", "--recno"), "--recno: its value is missing"),
    (("kml", "--json=1", "a"), "--json takes no value"),
    (("kml", ""), '"" is no PATH'), (("status", ""), '"" is no PATH'),
    (("status", "-xy"), "-x: no such option"),
    (("conflicts",), "MOUNTPOINT is missing"), (("conflicts", "a", "b"), "b: one MOUNTPOINT only"),
])
def test_wrong_usage(words, message):
    assert message in failed(*words, code=2)


def test_unknown_option():
    for verb in ("kml", "status", "conflicts"):
        for option in ("--frobnicate", "--version"):
            assert failed(verb, option, code=2) == (
                f"izoctl {verb}: {option}: no such option; see izoctl {verb} --help")


def test_help_version_and_manual():
    """Each option, exit code and member of the JSON forms stands in the manual page."""
    assert re.fullmatch(r"izoctl \d+\.\d+\.\d+\n", izoctl("--version")[0])
    assert izoctl("--help")[0].startswith("usage: izoctl")
    assert izoctl("-h") == izoctl("--help")
    manual = Path(__file__).parents[1] / "man/izoctl.8"
    result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", manual],
                            capture_output=True, text=True, env={**ENVIRONMENT, "MANROFFSEQ": ""})
    assert (result.returncode, result.stderr) == (0, "")
    text = manual.read_text(encoding="utf-8").replace("\\-", "-").replace("\\_", "_")
    for verb in ("kml", "status", "conflicts"):
        said = izoctl(verb, "--help")[0]
        assert said.startswith(f"usage: izoctl {verb}")
        assert izoctl(verb, "-h")[0] == said
        for option in re.findall(r"(?<!\w)(--?[a-z-]+)", said):
            assert option in text, option
    members: set[str] = set()
    golden = (CORPUS.parents[1] / "tools/record_json_golden.txt").read_text(encoding="utf-8")
    for line in golden.splitlines():
        json.loads(line.partition(": ")[2],
                   object_pairs_hook=lambda pairs: members.update(name for name, _ in pairs))
    for member in members:
        assert re.search(rf"\b{member}\b", text), member


def test_conflicts_of_what_is_no_fileset(tmp_path: Path):
    """Never "there are none", which would be the answer to another question."""
    for path in (tmp_path, "/proc", WHOLE):
        assert failed("conflicts", path, code=1) == (
            f"izoctl: {path}: no intermezzo is mounted there; name the mount point")
    assert "No such file" in failed("conflicts", tmp_path / "absent", code=1)
