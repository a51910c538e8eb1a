# SPDX-License-Identifier: GPL-2.0
"""Shows each function of each guest_*.py as one pytest test; every file is booted once, some guests side by
side.

A file may set DISKS (sizes of ubda, ubdb, ...), CASE_DEADLINE and FILE_DEADLINE (seconds), ENVIRONMENT (names
passed on from the host's environment), EXTRA_SECONDS (the one of them that makes its deadlines longer), FILES
(of the repository, which the guest finds in guest.subject.HOST by their names) and ALSO_ON (another type, or
several, to run its `tree` functions on, or all if it has none, in a guest of its own each; "intermezzo:xfs"
is intermezzo on that cache).
"""

from __future__ import annotations

import ast
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import pytest

from harness import uml

CLOSING_CHECKS = ("lockdep_still_on", "no_kernel_memory_leaked", "console_clean")
PAIR_CHECK = "disks_unmount_equal_and_clean"
# mkfs.btrfs wants 110 MB; a disk takes only what is written to it.
OTHER_DISKS = ("160M",) * 5
# One more than processors: a guest waits now and then, at its end five seconds for kmemleak.
GUESTS_AT_ONCE = min(4, os.cpu_count() or 1) + 1
CONSTANTS = ("DISKS", "CASE_DEADLINE", "FILE_DEADLINE", "ENVIRONMENT", "EXTRA_SECONDS", "FILES",
             "ALSO_ON")


class Guests:
    """Boots the guests the selected tests need and keeps their results."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=GUESTS_AT_ONCE)
        self._runs: dict[tuple[Path, str], Future[uml.GuestRun]] = {}

    def start(self, jobs: list[uml.Job]) -> None:
        """Boot them, GUESTS_AT_ONCE at a time, in this order."""
        uml.remove_old_runs()
        binary = uml.kernel()
        for job in jobs:
            self._runs[job.case, job.fstype] = self._pool.submit(uml.run_guest, binary, job)

    def result(self, case: Path, fstype: str) -> uml.GuestRun:
        """Wait for the guest of that file and type."""
        return self._runs[case, fstype].result()

    def stop(self, keep: bool) -> None:
        """Wait for what runs, remove what passed."""
        for run in self._runs.values():
            run.cancel()
        self._pool.shutdown(wait=True)
        for run in self._runs.values():
            if not run.cancelled() and run.exception() is None and run.result().verdict.passed and not keep:
                run.result().discard()


class GuestTestFailed(Exception):
    """What the guest said, without a Python traceback of ours."""


class GuestItem(pytest.Item):
    """One function in a guest, or one closing check of it."""

    def __init__(self, *, check: str, doc: str, fstype: str, **named: Any) -> None:
        super().__init__(**named)
        self.check, self.doc, self.fstype = check, doc, fstype

    def runtest(self) -> None:
        run = self.config.stash[GUESTS].result(self.path, self.fstype)
        if self.check == "console_clean":
            if run.verdict.problems:
                raise GuestTestFailed("\n".join([*run.verdict.problems[:20], f"run: {run.directory}"]))
            return
        check = run.verdict.check(self.check)
        if check.ok and check.detail.startswith("skipped: "):
            pytest.skip(check.detail.removeprefix("skipped: "))
        if not check.ok:
            raise GuestTestFailed("\n".join(filter(None, [
                self.doc, check.detail, run.details(self.check)[-6000:], f"run: {run.directory}"])))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The guest's own words."""
        if isinstance(excinfo.value, GuestTestFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """How pytest names it."""
        return self.path, None, f"{self.path.stem}::{self.name}"


class GuestFile(pytest.File):
    """A guest_*.py file, read but not imported: its imports exist in the guest only."""

    def collect(self) -> Iterator[pytest.Item]:
        functions = {node.name: node for node in self.syntax().body
                     if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
        for name, node in functions.items():
            if not ast.get_docstring(node):
                raise self.CollectError(f"{self.path.name}: {name} needs a sentence on what it proves")
        comparing = {name: node for name, node in functions.items()
                     if any(argument.arg == "tree" for argument in node.args.args)}
        tested = uml.fstype_under_test()
        yield from self.items(functions, tested, "", bool(comparing))
        also = self.constants().get("ALSO_ON", ())
        for other in (also,) if isinstance(also, str) else also:
            if tested == uml.DEFAULT_FSTYPE:
                suffix = other.removeprefix(f"{tested}:")
                yield from self.items(comparing or functions, other, f"[{suffix}]", bool(comparing))

    def items(self, functions: dict[str, ast.FunctionDef], fstype: str, suffix: str,
              with_pair: bool) -> Iterator[pytest.Item]:
        """The tests of one guest: its functions, then what is checked at its end."""
        sentences = {name: ast.get_docstring(node) or "" for name, node in functions.items()}
        if with_pair:
            sentences[PAIR_CHECK] = "The pair of file systems is equal and clean at the end."
        sentences.update((name, "A check on the whole guest.") for name in CLOSING_CHECKS)
        for name, doc in sentences.items():
            yield GuestItem.from_parent(self, name=name + suffix, check=name, doc=doc, fstype=fstype)

    def syntax(self) -> ast.Module:
        """The file's syntax tree."""
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    def constants(self) -> dict[str, Any]:
        """What the file sets for its guest."""
        return {node.targets[0].id: ast.literal_eval(node.value) for node in self.syntax().body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id in CONSTANTS}

    def job(self, functions: list[str], fstype: str) -> uml.Job:
        """The guest that runs these functions."""
        said = self.constants()
        said.pop("ALSO_ON", None)
        if ":" in fstype:
            said["disks"] = OTHER_DISKS
        environment = {name: os.environ[name] for name in said.pop("ENVIRONMENT", ()) if name in os.environ}
        extra = float(environment.get(said.pop("EXTRA_SECONDS", ""), 0))
        job = uml.Job(self.path, functions, fstype, environment=environment,
                      **{key.lower(): value for key, value in said.items()})
        job.case_deadline += extra
        job.file_deadline += extra
        return job


GUESTS = pytest.StashKey[Guests]()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take guest_*.py as case files."""
    if file_path.suffix == ".py" and file_path.name.startswith("guest_"):
        return GuestFile.from_parent(parent, path=file_path)
    return None


class NothingToImport(pytest.File):
    """What pytest gets where it would import a case file that was named on its command line."""

    def collect(self) -> list[pytest.Item]:
        return []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Never import a case file on the host."""
    if module_path.name.startswith("guest_"):
        return NothingToImport.from_parent(parent, path=module_path)
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Boot all guests the selection needs as soon as it is known."""
    wanted: dict[tuple[GuestFile, str], list[str]] = {}
    for item in session.items:
        if isinstance(item, GuestItem) and isinstance(item.parent, GuestFile):
            names = wanted.setdefault((item.parent, item.fstype), [])
            if item.check.startswith("test_"):
                names.append(item.check)
    if wanted and not session.config.option.collectonly:
        session.config.stash[GUESTS] = Guests()
        session.config.stash[GUESTS].start([file.job(names, fstype) for (file, fstype),
                                            names in wanted.items()])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no guest behind."""
    if GUESTS in session.config.stash:
        session.config.stash[GUESTS].stop(keep=bool(os.environ.get("KEEP")))
