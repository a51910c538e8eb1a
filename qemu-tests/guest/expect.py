# SPDX-License-Identifier: GPL-2.0
"""What cases use to say what they expect: errno checks, other users, waiting, skipping, provoked log
lines."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import traceback
from typing import Callable, NoReturn, TypeVar

Function = TypeVar("Function", bound=Callable)


class Skipped(Exception):
    """Raised by a case that cannot run here; its text is the reason."""


def skip(reason: str) -> NoReturn:
    """End the case without a verdict on the file system."""
    raise Skipped(reason)


def name_of(number: int | None) -> str:
    """ENOENT rather than 2."""
    return errno.errorcode.get(number or 0, str(number))


def errno_of(function: Callable, *arguments: object, **named: object) -> str:
    """The errno name a call fails with, or "ok"."""
    try:
        function(*arguments, **named)
    except OSError as error:
        return name_of(error.errno)
    return "ok"


def expect_errno(expected: int | tuple[int, ...], function: Callable, *arguments: object,
                 **named: object) -> OSError:
    """The call must fail with this errno (one of these); returns the error for its text."""
    wanted = expected if isinstance(expected, tuple) else (expected,)
    words = " or ".join(name_of(number) for number in wanted)
    label = getattr(function, "__name__", str(function))
    shown = ", ".join(repr(a)[:60] for a in arguments)
    try:
        function(*arguments, **named)
    except OSError as error:
        if error.errno not in wanted:
            raise AssertionError(f"{label}({shown}): {name_of(error.errno)}, expected {words}") from error
        return error
    raise AssertionError(f"{label}({shown}) succeeded, expected {words}")


def equal(got: object, expected: object, what: str = "value") -> None:
    """got == expected, saying both when not."""
    if got != expected:
        raise AssertionError(f"{what}: got {got!r:.600}, expected {expected!r:.600}")


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Poll a condition until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.01)


def process_state(pid: int) -> str:
    """One letter, as ps(1) shows it: S sleeps, interruptibly."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def start_child(function: Callable[[], object]) -> int:
    """Fork a child that runs function and exits: 0, or 1 after printing an exception. The child never returns
    into the caller's frames, whose `with` blocks would undo things (unmount, say) under the parent's feet."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def in_child(function: Callable[[], object], uid: int | None = None, gid: int | None = None,
             groups: tuple[int, ...] = ()) -> object:
    """Run function in a child, as another user if asked; its JSON-able result, or its exception as
    AssertionError
    (an OSError comes back as OSError with the same errno)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        answer: dict[str, object]
        try:
            if uid is not None:
                os.setgroups(list(groups))
                os.setgid(uid if gid is None else gid)
                os.setuid(uid)
            answer = {"value": function()}
        except OSError as error:
            answer = {"errno": error.errno, "text": str(error)}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        with os.fdopen(writer, "w") as stream:
            json.dump(answer, stream)
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if not text:
        raise AssertionError(f"child died with status {status:#x}")
    answer = json.loads(text)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["text"])
    if "error" in answer:
        raise AssertionError(f"in child: {answer['error']}\n{answer['trace']}")
    return answer["value"]


def as_user(function: Callable[[], object], uid: int = 1000, gid: int | None = None,
            groups: tuple[int, ...] = ()) -> object:
    """Run function without any privilege."""
    return in_child(function, uid, gid, groups)


def provokes(*patterns: str) -> Callable[[Function], Function]:
    """Mark a case that makes the kernel print these (regular expressions) on purpose."""
    def mark(function: Function) -> Function:
        function.provokes = patterns  # type: ignore[attr-defined]
        return function
    return mark


def unlike_tmpfs(difference: str) -> Callable[[Function], Function]:
    """Mark a case that says what ext4 does where tmpfs does otherwise: it may fail on plain tmpfs."""
    def mark(function: Function) -> Function:
        function.unlike_tmpfs = difference  # type: ignore[attr-defined]
        return function
    return mark


def intermezzo_only(function: Function) -> Function:
    """Mark a case that makes no sense on plain ext4."""
    function.intermezzo_only = True  # type: ignore[attr-defined]
    return function
