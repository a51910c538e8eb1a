# SPDX-License-Identifier: GPL-2.0
"""`make deps` with stubs in the place of dpkg and apt: what it says, what it calls, and in which order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / ".ci/install-packages"
OS_RELEASE = "/etc/os-release"
# What it needs besides them.
TOOLS = ("comm", "env", "sed", "sort")
# What it calls it says where its own messages go, so that their order is seen.
STUBS = {
    # Each package is installed but those in $MISSING; of those in $REMOVED the configuration is left.
    "dpkg-query": """
        for package; do
            case $package in -* | *status*) continue ;; esac
            case " $MISSING " in *" $package "*) continue ;; esac
            case " $REMOVED " in *" $package "*) printf 'rc  %s\\n' "$package" && continue ;; esac
            printf 'ii  %s\\n' "$package"
        done""",
    "apt-get": """printf 'apt-get %s, as %s\\n' "$*" "${DEBIAN_FRONTEND:-}" >&2
        case " $* " in *" $APT_FAILS "*) exit 100 ;; esac""",
    "id": """printf '%s\\n' "$USER_ID" """,
    "sudo": """printf 'sudo ' >&2; exec "$@" """,
}
UPDATE = "apt-get -qq update, as "
INSTALL = "apt-get -y -qq --no-remove --no-install-recommends install {}, as noninteractive"


class Machine:
    """One of a release, on which the script finds the stubs and no other program that could install."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.os_release = folder, folder / "bin", folder / "os-release"
        self.path.mkdir()
        for tool in TOOLS:
            (self.path / tool).symlink_to(str(shutil.which(tool)))
        for name, text in STUBS.items():
            stub = self.path / name
            stub.write_text(f"#!/bin/sh\n{text}\n")
            stub.chmod(0o755)
        self.os_release.write_text("VERSION_CODENAME=bookworm\n")

    def run(self, missing: str = "", removed: str = "", apt_fails: str = "none",
            user: int = 0) -> tuple[int, list[str]]:
        """The exit code, and all that was said, the calls of apt-get among it."""
        text = SCRIPT.read_text(encoding="utf-8")
        assert text.count(OS_RELEASE) == 1
        script = self.folder / "install-packages"
        script.write_text(text.replace(OS_RELEASE, str(self.os_release)), encoding="utf-8")
        environment = {"PATH": str(self.path), "MISSING": missing, "REMOVED": removed, "APT_FAILS": apt_fails,
                       "USER_ID": str(user)}
        done = subprocess.run(["/bin/bash", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, env=environment)
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_list_is_printed_before_anything_is_installed(machine: Machine) -> None:
    """Of what is missing and nothing else, in one line; and apt-get may remove nothing for it."""
    assert machine.run(missing="zstd bc qemu-utils") == (0, [
        "missing Debian packages: bc qemu-utils zstd", UPDATE, INSTALL.format("bc qemu-utils zstd")])


def test_nothing_is_called_and_nothing_said_when_all_is_there(machine: Machine) -> None:
    """Not even the lists of packages are fetched."""
    assert machine.run() == (0, [])


def test_a_removed_package_whose_configuration_is_left_is_missing(machine: Machine) -> None:
    """dpkg still knows it."""
    assert machine.run(removed="bc") == (0, ["missing Debian packages: bc", UPDATE, INSTALL.format("bc")])


@pytest.mark.parametrize(("release", "headers"), [("bookworm", "linux-headers-6.12-amd64"),
                                                  ("trixie", "linux-headers-amd64")])
def test_each_release_has_its_name_for_the_headers(machine: Machine, release: str, headers: str) -> None:
    machine.os_release.write_text(f"NAME=Debian\nVERSION_CODENAME={release}\n")
    assert machine.run(missing="linux-headers-6.12-amd64 linux-headers-amd64") == (0, [
        f"missing Debian packages: {headers}", UPDATE, INSTALL.format(headers)])


@pytest.mark.parametrize("says", ["VERSION_CODENAME=noble\n", "VERSION_CODENAME=bookworm-x\n", "ID=debian\n"])
def test_an_unknown_release_is_refused(machine: Machine, says: str) -> None:
    """In one line, before anything is called; also one that has no name."""
    machine.os_release.write_text(says)
    assert machine.run(missing="bc") == (
        1, ["install-packages: the packages are known of Debian 12 and 13 only"])


def test_nothing_is_installed_from_lists_that_could_not_be_fetched(machine: Machine) -> None:
    """apt's own reason stands above; its exit code is the script's."""
    assert machine.run(missing="bc", apt_fails="update") == (100, ["missing Debian packages: bc", UPDATE])


def test_what_could_not_be_installed_is_said(machine: Machine) -> None:
    code, said = machine.run(missing="bc", apt_fails="install")
    assert (code, said[:-1]) == (1, ["missing Debian packages: bc", UPDATE, INSTALL.format("bc")])
    assert said[-1].startswith("apt-get could not install: bc; ")


def test_who_is_not_root_asks_sudo(machine: Machine) -> None:
    """For what needs it: the list comes first here too."""
    assert machine.run(missing="bc", user=1000) == (0, [
        "missing Debian packages: bc", f"sudo {UPDATE}", f"sudo {INSTALL.format('bc')}"])


def test_who_is_not_root_and_has_no_sudo_is_told_the_command(machine: Machine) -> None:
    """And nothing is called."""
    (machine.path / "sudo").unlink()
    assert machine.run(missing="bc zstd", user=1000) == (1, [
        "missing Debian packages: bc zstd",
        "run as root: apt-get update && apt-get install --no-install-recommends bc zstd"])
