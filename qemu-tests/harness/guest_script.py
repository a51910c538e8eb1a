# SPDX-License-Identifier: GPL-2.0
"""The shell scripts that run inside QEMU guests, as text."""

from __future__ import annotations

from harness.artifacts import REPO

FOLDER = REPO / "qemu-tests" / "cases" / "qemu" / "guest"


def text(name: str, **variables: str) -> str:
    """A guest script after the reporting functions and `variables`, which the script reads."""
    settings = [f"{key}='{value}'" for key, value in variables.items()]
    return "\n".join([source("report.sh"), *settings, source(name)])


def source(name: str) -> str:
    return (FOLDER / name).read_text()
