# SPDX-License-Identifier: GPL-2.0
"""What happened in the demo, in its order: one list of entries, of which the text and the JSON are made."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Callable, Collection

SAID = re.compile(r"^IZO \S+ (ok|not-ok|fact) (.*?) *\r?\n", re.MULTILINE)
SECONDS = re.compile(r"\d+(\.\d+)?")
MEANING = ("The first number of a line: seconds of the host's clock since the demo began. \"waited\": how "
           "long that guest had waited for it, by its own clock. \"seen read-only\", \"read-write\", "
           "\"multi-user\": at which second of its own clock, which begins with its kernel. no_filter is a "
           "flag of the kernel's: 1 until intersync runs. docs/architecture.md has a list of words.")


@dataclass(frozen=True)
class Entry:
    """One thing that happened; `guest` is `host` for what was done to the guests."""

    seconds: float
    guest: str
    text: str
    ok: bool
    facts: dict[str, str]

    def lines(self) -> list[str]:
        """As a reader gets it: of a long fact each line is one of its own."""
        waited = self.facts.get(self.text, "")
        after = f" (waited {waited} s)" if SECONDS.fullmatch(waited) else ""
        text = f"{'' if self.ok else 'FAILED: '}{self.text}{after}"
        return [f"{self.seconds:6.1f} s  {self.guest + ':':<8}{text}",
                *(f"{'':18}{name}: {value}" for name, value in self.facts.items() if name != self.text)]


class Transcript:
    """Told as it grows, and written in the end. Facts that a guest gives go with its next entry; `silent` are
    those that are none of a reader's business."""

    def __init__(self, tell: Callable[[str], None], silent: Collection[str] = (),
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._silent, self._clock = tell, silent, clock
        self._began = clock()
        self._lock = threading.RLock()
        self._heard: dict[str, int] = {}
        self._facts: dict[str, dict[str, str]] = {}
        self.entries: list[Entry] = []

    def seconds(self) -> float:
        """Since it began."""
        return round(self._clock() - self._began, 1)

    def add(self, guest: str, text: str, facts: dict[str, str] | None = None, ok: bool = True) -> None:
        """One more entry, now."""
        with self._lock:
            entry = Entry(self.seconds(), guest, text, ok, facts or {})
            self.entries.append(entry)
            for line in entry.lines():
                self._tell(line)

    def hear(self, guest: str, said: str) -> None:
        """What a guest has not said before, of all that it has said on its verdict channel so far."""
        with self._lock:
            found = list(SAID.finditer(said))
            for match in found[self._heard.get(guest, 0):]:
                self._take(guest, match[1], match[2])
            self._heard[guest] = max(len(found), self._heard.get(guest, 0))

    def _take(self, guest: str, word: str, what: str) -> None:
        facts = self._facts.setdefault(guest, {})
        if word == "fact":
            name, _, value = what.partition(": ")
            if name not in self._silent:
                facts[name] = value
        else:
            self.add(guest, what, self._facts.pop(guest), word == "ok")

    def text(self, title: str, failures: list[str]) -> str:
        """For a reader."""
        lines = [line for entry in self.entries for line in entry.lines()]
        return "\n".join([title, MEANING, "", *lines, *failures]) + "\n"

    def json(self, **more: object) -> str:
        """The same for a program."""
        story = {**more, "meaning": MEANING, "entries": [dataclasses.asdict(entry) for entry in self.entries]}
        return json.dumps(story, indent=1) + "\n"


class Follower:
    """Lets a transcript hear guests until it is left."""

    EVERY = 0.1

    def __init__(self, transcript: Transcript, guests: dict[str, Callable[[], str]]) -> None:
        self._transcript, self._guests = transcript, guests
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def add(self, guest: str, text: str, facts: dict[str, str]) -> None:
        """An entry behind all that the guests have said."""
        self._hear()
        self._transcript.add(guest, text, facts)

    def _follow(self) -> None:
        while not self._ended.wait(self.EVERY):
            self._hear()
        self._hear()

    def _hear(self) -> None:
        for guest, said in self._guests.items():
            self._transcript.hear(guest, said())
