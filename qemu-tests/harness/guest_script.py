# SPDX-License-Identifier: GPL-2.0
"""The shell scripts that run inside QEMU guests, as text."""

from __future__ import annotations

from harness.artifacts import REPO

FOLDER = REPO / "qemu-tests" / "cases" / "qemu" / "guest"


def text(*names: str, **variables: str) -> str:
    """A guest script after the files that it needs, the reporting functions and the `variables` it reads."""
    settings = [f"{key}='{value}'" for key, value in variables.items()]
    return "\n".join([source("report.sh"), *settings, *map(source, names)])


def source(name: str) -> str:
    return (FOLDER / name).read_text()
