# SPDX-License-Identifier: GPL-2.0
"""The examples of docs/device-protocol.md are what the page says, and no part of one is an upcall."""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import UUID

import pytest

from guest.device import SIZES, Broken, Upcall, answer_bytes, decode

DOCUMENT = Path(__file__).parents[3] / "docs/device-protocol.md"
FILESET = UUID("0c1d2e3f-4051-4263-8495-a6b7c8d9eafb").bytes
REPLICA = UUID("5a6b7c8d-9eaf-40b1-82c3-d4e5f6071829").bytes
EPOCH = 0x1122334455667788


def example(name: str) -> bytes:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(rf"<!-- example {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found
    out = bytearray(int.from_bytes(bytes.fromhex(found[1].split()[1] + found[1].split()[2]), "little"))
    for line in found[1].strip().splitlines():
        at, data = int(line.split()[0], 16), bytes.fromhex("".join(line.split()[1:]))
        out[at:at + len(data)] = data
    return bytes(out)


def test_examples_are_what_the_page_says():
    assert decode(example("kml_grew")) == Upcall("grew", 8, 3, "home", FILESET, EPOCH, False, committed=12288,
                                                 committed_recno=22, recno=25)
    assert decode(example("mounted")) == Upcall("mounted", 7, 3, "home", FILESET, EPOCH, True, False, REPLICA,
                                                os.makedev(254, 16), "/srv/home")
    assert example("answer") == answer_bytes(7)
    assert {len(example("mounted")), len(example("kml_grew"))} < set(SIZES.values())


@pytest.mark.parametrize("name", ["kml_grew", "mounted"])
def test_no_part_of_an_upcall_is_one(name):
    data = example(name)
    for length in range(len(data)):
        with pytest.raises(Broken):
            decode(data[:length])
    with pytest.raises(Broken):
        decode(data + bytes(8))


@pytest.mark.parametrize("name", ["kml_grew", "mounted"])
def test_reserved_bytes_are_checked(name):
    data = example(name)
    for at in range(0x78, 0x80):
        with pytest.raises(Broken):
            decode(data[:at] + b"\1" + data[at + 1:])
