# SPDX-License-Identifier: GPL-2.0
"""The kernel's tests of its own functions (KUnit, kmod/tests/) ran at boot; here is what they said."""

from __future__ import annotations

import re
from pathlib import Path

from guest.expect import equal, intermezzo_only

SUITES = {"intermezzo_kml_record": 6}


@intermezzo_only
def test_kunit() -> None:
    """Every case of every suite passed, and none is missing."""
    for suite, count in SUITES.items():
        results = Path(f"/sys/kernel/debug/kunit/{suite}/results").read_text(encoding="utf-8")
        cases = re.findall(r"^\s+(ok|not ok) \d+ (\w+)(.*)$", results, re.MULTILINE)
        equal([case for case in cases if case[0] != "ok" or "SKIP" in case[2]], [], f"{suite}:\n{results}")
        equal(len(cases), count, f"cases of {suite}:\n{results}")
