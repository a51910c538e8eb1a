# SPDX-License-Identifier: GPL-2.0
"""The log's format as docs/kml-format.md has it: the example decodes to what the page says; no part of it and
no altered byte of it is taken for a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.kml import ROOT, Corrupt, Fid, Place, crc32c, decode

DOCUMENT = Path(__file__).parents[3] / "docs/kml-format.md"
EPOCH = 0x1122334455667788


def example() -> bytes:
    text = DOCUMENT.read_text(encoding="utf-8")
    dump = text.split("<!-- example -->")[1].split("<!-- end -->")[0]
    return bytes.fromhex("".join(line.split(None, 1)[1] for line in dump.strip().splitlines()))


def test_checksum_is_that_of_rfc_3720():
    assert crc32c(bytes(32)) == 0x8a9136aa
    assert crc32c(b"\xff" * 32) == 0x62a8ab43
    assert crc32c(bytes(range(32))) == 0x46dd794e
    assert crc32c(b"123456789") == 0xe3069283


def test_example_is_what_the_page_says():
    record, length = decode(example(), 0, 120, EPOCH)
    assert length == len(example()) == 248
    assert (record.op, record.recno, record.origin, record.origin_recno, record.seen) == ("mkdir", 1, 1, 1, 0)
    assert (record.uid, record.gid, record.aspects, record.nlink, record.flags) == (1000, 1000, 0x33, 2, 0)
    assert (record.time, record.object) == (1795513769_319504277, Fid(1, 1234, 0xabcd0001))
    assert record.place == Place(ROOT, b"docs", 1795513769_000000005)
    assert record.attr == {"mode": 0o40750, "uid": 1000, "gid": 1000, "mtime": 1795513769_000000005,
                           "ctime": 1795513769_000000005, "atime": 1795513769_000000005}


def test_no_beginning_of_a_record_is_one():
    data = example()
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode(data[:length], 0, 120, EPOCH)


def test_no_altered_byte_is_overlooked():
    data = example()
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xff):
            altered = data[:at] + bytes([data[at] ^ flip]) + data[at + 1:]
            with pytest.raises(Corrupt):
                decode(altered, 0, 120, EPOCH)


@pytest.mark.parametrize("offset, epoch", [(128, EPOCH), (120, EPOCH + 1)])
def test_record_is_valid_in_one_place_of_one_log(offset, epoch):
    with pytest.raises(Corrupt):
        decode(example(), 0, offset, epoch)
