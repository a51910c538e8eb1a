# SPDX-License-Identifier: GPL-2.0
"""The demo's transcript: one list of entries, which its text and its JSON both have; no guest is booted."""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from harness.transcript import Follower, Transcript

SAID = ("IZO f00d fact safe: 3 \r\n"
        "IZO f00d fact intersync says: no route; trying again \r\n"
        "IZO f00d fact it goes on: 2.5 \r\n"
        "IZO f00d ok it goes on \r\n"
        "something else\r\n"
        "IZO f00d not-ok it ends: expected 'a', found 'b' \r\n")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def transcript(told: list[str]) -> Transcript:
    """On a clock that is asked once by its beginning, and then by each entry."""
    seconds: Iterator[float] = iter(range(100, 200))
    return Transcript(told.append, {"safe"}, lambda: next(seconds))


def test_a_check_is_an_entry_with_the_facts_before_it(transcript: Transcript) -> None:
    """But those that are silent."""
    transcript.hear("client", SAID)
    went_on, ended = transcript.entries
    assert (went_on.seconds, went_on.guest, went_on.text, went_on.ok) == (1, "client", "it goes on", True)
    assert went_on.facts == {"intersync says": "no route; trying again", "it goes on": "2.5"}
    assert (ended.text, ended.ok, ended.facts) == ("it ends: expected 'a', found 'b'", False, {})


def test_nothing_is_heard_twice_and_half_a_line_not_yet(transcript: Transcript) -> None:
    for end in range(len(SAID) + 1):
        transcript.hear("client", SAID[:end])
    assert [entry.text for entry in transcript.entries] == ["it goes on", "it ends: expected 'a', found 'b'"]
    assert transcript.entries[0].facts["intersync says"] == "no route; trying again"


def test_facts_of_one_guest_are_not_the_others(transcript: Transcript) -> None:
    transcript.hear("client", "IZO f00d fact a: 1\n")
    transcript.hear("server", "IZO f00d ok it is up\n")
    transcript.hear("client", "IZO f00d fact a: 1\nIZO f00d ok it is down\n")
    assert [entry.facts for entry in transcript.entries] == [{}, {"a": "1"}]


def test_text_says_who_when_what_and_how_long_it_was_waited_for(transcript: Transcript,
                                                                told: list[str]) -> None:
    transcript.hear("client", SAID)
    transcript.add("host", "cuts the power", {"texts that were safe": "21"})
    text = transcript.text("The demo passed.", ["not-ok it ends"])
    assert text.startswith("The demo passed.\n") and text.endswith("\nnot-ok it ends\n")
    assert told == ["   1.0 s  client: it goes on (waited 2.5 s)",
                    "                  intersync says: no route; trying again",
                    "   2.0 s  client: FAILED: it ends: expected 'a', found 'b'",
                    "   3.0 s  host:   cuts the power",
                    "                  texts that were safe: 21"]
    assert "\n".join(told) in text


def test_json_has_the_same_entries(transcript: Transcript) -> None:
    transcript.hear("client", SAID)
    story = json.loads(transcript.json(passed=True))
    assert story["passed"] is True
    assert [(it["seconds"], it["guest"], it["text"], it["ok"], it["facts"]) for it in story["entries"]] == [
        (it.seconds, it.guest, it.text, it.ok, it.facts) for it in transcript.entries]


def test_a_follower_hears_what_is_said_before_it_is_left(transcript: Transcript) -> None:
    with Follower(transcript, {"client": lambda: SAID}):
        pass
    assert len(transcript.entries) == 2


def test_what_the_host_does_stands_behind_what_the_guests_said_before(transcript: Transcript) -> None:
    said = ""
    with Follower(transcript, {"client": lambda: said}) as follower:
        said = SAID
        follower.add("host", "cuts the power", {})
    assert [entry.guest for entry in transcript.entries] == ["client", "client", "host"]
