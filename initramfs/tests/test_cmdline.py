# SPDX-License-Identifier: GPL-2.0
"""The kernel command line parser of initramfs/lib/izo-root.sh, run on the host without a kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PARSER = Path(__file__).resolve().parents[1] / "lib" / "izo-root.sh"
SHELLS = [["dash"], ["busybox", "sh"], ["bash", "--posix"]]
NAMES = ["ROOT", "TYPE", "FLAGS", "MODE", "INIT", "INIT_ARGS", "TIMEOUT", "DEBUG", "ERROR"]


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return request.param


def parse(shell: list[str], cmdline: str) -> dict[str, str]:
    """The IZO_ variables after parsing and checking `cmdline`."""
    script = f'. {PARSER}; izo_parse_cmdline "$1"; izo_check_words || :; '
    script += "; ".join(f'printf "%s\\n" "$IZO_{name}"' for name in NAMES)
    run = subprocess.run([*shell, "-euc", script, "sh", cmdline], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return dict(zip(NAMES, run.stdout.split("\n")))


def test_the_words_of_a_root_on_a_disk_are_understood(shell):
    words = parse(shell, "console=ttyS0 root=/dev/vda rootfstype=intermezzo "
                         "rootflags=fileset=a,mtp=/ rw init=/bin/x")
    assert words["ROOT"] == "/dev/vda"
    assert words["TYPE"] == "intermezzo"
    assert words["FLAGS"] == "fileset=a,mtp=/"
    assert words["MODE"] == "rw"
    assert words["INIT"] == "/bin/x"
    assert words["ERROR"] == ""


def test_defaults_are_read_only_and_sbin_init(shell):
    words = parse(shell, "root=UUID=12-34 rootfstype=InterMezzo")
    assert (words["MODE"], words["INIT"], words["TIMEOUT"], words["DEBUG"]) == ("ro", "/sbin/init", "30", "")
    assert (words["ROOT"], words["TYPE"]) == ("UUID=12-34", "InterMezzo")


def test_the_last_of_equal_words_counts(shell):
    words = parse(shell, "root=/dev/a ro root=/dev/b rootfstype=ext4 rw ro rootfstype=intermezzo")
    assert (words["ROOT"], words["TYPE"], words["MODE"]) == ("/dev/b", "intermezzo", "ro")


@pytest.mark.parametrize("quoted", ['rootflags="a=1 2,b"', '"rootflags=a=1 2,b"', 'root"flags=a=1 2",b'])
def test_quotes_keep_blanks_together(shell, quoted):
    words = parse(shell, f"root=/dev/vda {quoted} rootfstype=intermezzo")
    assert words["FLAGS"] == "a=1 2,b"
    assert words["TYPE"] == "intermezzo"


def test_an_open_quote_reaches_to_the_end(shell):
    assert parse(shell, 'rootfstype=intermezzo rootflags="a b rw')["FLAGS"] == "a b rw"


def test_words_after_two_dashes_belong_to_init(shell):
    words = parse(shell, "root=/dev/vda rootfstype=intermezzo -- single root=/dev/other")
    assert words["ROOT"] == "/dev/vda"
    assert words["INIT_ARGS"] == "single root=/dev/other"


def test_words_that_only_begin_alike_are_left_alone(shell):
    words = parse(shell, "rdinit=/x xroot=/dev/x rootwait rootdelay=5 rwx rd.izo.debugger "
                         "root=/dev/vda rootfstype=ext4")
    assert (words["ROOT"], words["INIT"]) == ("/dev/vda", "/sbin/init")
    assert (words["MODE"], words["DEBUG"]) == ("ro", "")


def test_shell_characters_are_not_expanded(shell):
    words = parse(shell, "root=/dev/* rootflags=$(id)`id`;* rootfstype=intermezzo")
    assert words["ROOT"] == "/dev/*"
    assert words["FLAGS"] == "$(id)`id`;*"


def test_tabs_and_runs_of_blanks_separate_words(shell):
    words = parse(shell, " \troot=/dev/vda \t  rootfstype=intermezzo  ")
    assert (words["ROOT"], words["TYPE"]) == ("/dev/vda", "intermezzo")


@pytest.mark.parametrize(
    "cmdline, reason",
    [
        ("root=/dev/vda", "rootfstype= is missing"),
        ("root=/dev/vda rootfstype=intermezzo,ext4", "give one type"),
        ("root=/dev/vda rootfstype=a/b", "not the name of a file system"),
        ("rootfstype=intermezzo", "root= is missing"),
        ("root=none rootfstype=intermezzo", "needs a device"),
        ("root=PARTUUID=1 rootfstype=intermezzo", "this initramfs knows"),
        ("root=/dev/vda rootfstype=intermezzo rd.izo.timeout=x", "not a number of seconds"),
    ],
)
def test_unusable_words_are_named(shell, cmdline, reason):
    assert reason in parse(shell, cmdline)["ERROR"]


def test_a_root_in_memory_needs_no_device(shell):
    words = parse(shell, "root=none rootfstype=vintermezzo rd.izo.debug")
    assert (words["ERROR"], words["DEBUG"]) == ("", "1")


def test_the_type_mounted_last_on_a_directory_is_found(shell, tmp_path):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "1 1 0:2 / / rw shared:1 - rootfs rootfs rw\n"
        "30 1 8:1 / /newroot ro - ext4 /dev/vda ro\n"
        "31 1 8:1 / /newroot ro,relatime shared:2 master:1 - intermezzo /dev/vda ro,fileset=x\n"
        "32 1 0:9 / /newroot/sub rw - tmpfs t rw\n"
    )
    script = f'. {PARSER}; izo_mounted_type "$1" {mountinfo}'
    found = subprocess.run([*shell, "-uc", script, "sh", "/newroot"], capture_output=True, text=True)
    missing = subprocess.run([*shell, "-uc", script, "sh", "/other"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "intermezzo\n")
    assert (missing.returncode != 0, missing.stdout) == (True, "")
