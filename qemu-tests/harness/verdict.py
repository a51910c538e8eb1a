# SPDX-License-Identifier: GPL-2.0
"""The verdict protocol: what a guest says on its own channel, and what its console gives away.

A guest is started with `izo.nonce=NONCE` on its kernel command line and writes lines

    IZO NONCE ok NAME[: DETAIL]
    IZO NONCE not-ok NAME[: DETAIL]
    IZO NONCE fact KEY: VALUE
    IZO NONCE done N

to a channel of its own. N counts the ok and not-ok lines, so that a lost line is seen. A run passes
when `done` was said with the right count, nothing is not-ok, and the console shows no kernel trouble.
Silence is failure; the exit code of the emulator means nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Iterable

TROUBLE = re.compile(
    r"BUG:|kernel BUG at|WARNING:|\bOops\b|Kernel panic|Call Trace"
    r"|\bKASAN:|\bUBSAN:|general protection fault|refcount_t:|bad page state"
    r"|kmemleak: \d+ new suspected memory leaks"
    r"|possible .* detected|suspicious RCU usage|lockdep is turned off|DEBUG_LOCKS_WARN_ON"
    r"|INFO: task .* blocked for more than|hung task|detected stalls|soft lockup"
    r"|EXT4-fs error|EXT4-fs warning|JBD2:.*(?:error|abort)|Aborting journal"
    r"|XFS .*(?:[Cc]orrupt|Internal error|error \d|[Ss]hut.*down)|BTRFS[ :](?:critical|error|warning)"
    r"|segfault at "
)
# Lines a healthy kernel prints about the very tools that would complain.
HARMLESS = re.compile(r"Kernel command line:|Command line:|Unknown kernel command line parameters")

_LINE = re.compile(r"^IZO (\S+) (ok|not-ok|fact|done) (.*)$")


def new_nonce() -> str:
    """A word no old log can contain; the guest gets it as `izo.nonce=`."""
    return secrets.token_hex(6)


@dataclass(frozen=True)
class Check:
    """One thing the guest tried."""

    name: str
    ok: bool
    detail: str = ""


@dataclass
class Verdict:
    """All that one guest said. `problems` are the reasons, other than not-ok lines, not to believe it."""

    checks: list[Check] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def passed(self) -> bool:
        return self.done and not self.problems and all(check.ok for check in self.checks)

    def check(self, name: str) -> Check:
        """The check of that name; one that the guest never made counts as failed."""
        for found in self.checks:
            if found.name == name:
                return found
        return Check(name, False, "the guest never reported this check")

    def add(self, name: str, other: Verdict) -> None:
        """What another guest, or the same in another boot, said too: under a name."""
        self.done = self.done and other.done
        self.checks += [Check(f"{name}: {check.name}", check.ok, check.detail) for check in other.checks]
        self.facts |= {f"{name}: {key}": value for key, value in other.facts.items()}
        self.problems += [f"{name}: {problem}" for problem in other.problems]

    def failures(self) -> list[str]:
        """One line for each reason why the run does not pass."""
        lines = [f"not-ok {c.name}{': ' + c.detail if c.detail else ''}" for c in self.checks if not c.ok]
        return lines + self.problems


def finished(channel_text: str, nonce: str) -> bool:
    """Whether the guest has said its last word."""
    return re.search(rf"^IZO {re.escape(nonce)} done \d+\s*$", channel_text, re.MULTILINE) is not None


def parse_channel(channel_text: str, nonce: str) -> Verdict:
    """Read the verdict channel alone. Text that does not start with `IZO ` is not part of the protocol."""
    verdict = Verdict()
    announced = None
    for line in channel_text.replace("\r", "").splitlines():
        if not line.startswith("IZO "):
            continue
        match = _LINE.match(line)
        if match is None or match[1] != nonce or announced is not None:
            verdict.problems.append(f"verdict channel: unexpected line: {line[:200]}")
            continue
        word, rest = match[2], match[3].strip()
        name, _, detail = rest.partition(": ")
        if word == "done":
            announced = rest
        elif word == "fact":
            verdict.facts[name] = detail
        else:
            verdict.checks.append(Check(name, word == "ok", detail))
    verdict.done = announced is not None
    if announced is None:
        verdict.problems.append("verdict channel: the guest never said done")
    elif announced != str(len(verdict.checks)):
        arrived = len(verdict.checks)
        verdict.problems.append(f"verdict channel: done {announced}, but {arrived} checks arrived")
    elif not verdict.checks:
        verdict.problems.append("verdict channel: done, but nothing was checked")
    return verdict


def console_trouble(console_text: str, allow: Iterable[str] = ()) -> list[str]:
    """Console lines that mean trouble in the kernel. `allow` holds patterns a test provokes on purpose."""
    expected = [re.compile(pattern) for pattern in allow]
    return [
        f"console: {line.strip()[:300]}"
        for line in console_text.replace("\r", "").splitlines()
        if TROUBLE.search(line) and not HARMLESS.search(line) and not any(e.search(line) for e in expected)
    ]


def judge(channel_text: str, console_text: str, nonce: str, allow: Iterable[str] = ()) -> Verdict:
    """The verdict on one finished guest."""
    verdict = parse_channel(channel_text, nonce)
    verdict.problems += console_trouble(console_text, allow)
    return verdict


def judge_cut_off(channel_text: str, console_text: str, nonce: str) -> Verdict:
    """The verdict on a guest whose power was cut: it did not say done, and its last line may lack its end."""
    verdict = parse_channel(channel_text, nonce)
    verdict.done, verdict.problems = True, console_trouble(console_text)
    return verdict
