# SPDX-License-Identifier: GPL-2.0
"""intersync's own library and the kernel: it finds a fileset, takes its channel and follows its log."""

from __future__ import annotations

import os
from typing import Callable

from guest.device import Daemon
from guest.disks import check_ext, make_ext4, run
from guest.expect import equal, intermezzo_only
from guest.subject import mounted

ENVIRONMENT = ("IZO_TOOLS",)


@intermezzo_only
def test_the_library_speaks_it(disk: str, where: str) -> None:
    """intersync's own library does all a daemon does with a kernel: finds, opens, reads, answers, follows,
    commits, trims."""
    program = f"{os.environ['IZO_TOOLS']}/src/kernel/kernel_in_guest"
    make_ext4(disk)
    refused: list[tuple[str, Callable[[], str]]] = [
        ("is not an InterMezzo file system", lambda: run(program, "/", ok=(1,))),
        ("no such", lambda: run(program, f"{where}/absent", ok=(1,)).lower()),
    ]
    for why, call_it in refused:
        equal(why in call_it(), True, why)
    with mounted(disk, "fileset=my.set-1,channel=9,commit=300", where=where):
        os.mkdir(f"{where}/before")
        equal(run(program, where), "the library and the kernel agree\n", "what it says")
        equal("name the fileset's mount point" in run(program, f"{where}/made", ok=(1,)), True, "a directory")
        with Daemon(9):
            line = run(program, where, ok=(1,))
            equal("another intersync has this channel" in line and "busy" in line, True, line)
    with mounted(disk, "ro", where=where):
        equal("has no fileset yet" in run(program, where, ok=(1,)), True, "a root being booted")
    check_ext(disk)
