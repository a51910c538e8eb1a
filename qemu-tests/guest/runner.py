#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Process 1 of a User-mode Linux guest: runs the functions of one case file and reports each on the verdict
channel.

A function gets what its parameters name: `tree` runs it twice, on plain ext4 and on the file system under
test,
each time in an empty directory, and compares notes and trees; `disk`, `second_disk` and `third_disk` are raw
block
devices; `where` is an empty directory to mount on; `log` reads the kernel log from the start of the case.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import json
import os
import select
import signal
import sys
import time
import traceback
from types import ModuleType
from typing import Any, Callable

HOST, TESTS, CASES = "/mnt/host", "/mnt/tests", "/mnt/cases"
MS_RDONLY = 1
KMEMLEAK = "/sys/kernel/debug/kmemleak"
KMEMLEAK_MINIMUM_AGE = 5.0
KERNEL_PARAMETERS: dict[str, str] = {}


def mount_plainly(fstype: str, target: str, options: str = "", flags: int = 0) -> None:
    """mount(2) before any library can be trusted to work."""
    os.makedirs(target, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", target.encode(), fstype.encode(), flags, options.encode()):
        raise OSError(ctypes.get_errno(), f"mounting {fstype} on {target}")


def set_up_system() -> None:
    """The pseudo file systems, and the run directory of the host as the only place of it that can be
    written."""
    mount_plainly("proc", "/proc")
    for word in open("/proc/cmdline", encoding="ascii").read().split():
        key, _, value = word.partition("=")
        KERNEL_PARAMETERS[key] = value
    mount_plainly("sysfs", "/sys")
    mount_plainly("debugfs", "/sys/kernel/debug")
    mount_plainly("devtmpfs", "/dev")
    for target in ("/dev/shm", "/tmp", "/run", "/mnt"):
        mount_plainly("tmpfs", target)
    # The tree may lie below a directory that a tmpfs has just covered.
    mount_plainly("hostfs", HOST, KERNEL_PARAMETERS["izo.run"])
    mount_plainly("hostfs", TESTS, KERNEL_PARAMETERS["izo.tests"], MS_RDONLY)
    mount_plainly("hostfs", CASES, KERNEL_PARAMETERS["izo.cases"], MS_RDONLY)
    sys.dont_write_bytecode = True
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/tmp", LC_ALL="C",
                      PYTHONDONTWRITEBYTECODE="1")
    os.umask(0o022)


class VerdictChannel:
    """Lines to the host: one file on hostfs, forced out after each line."""

    def __init__(self) -> None:
        self._fd = os.open(os.path.join(HOST, "verdict"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._nonce = KERNEL_PARAMETERS["izo.nonce"]
        self._count = 0

    def _line(self, text: str) -> None:
        os.write(self._fd, f"IZO {self._nonce} {' '.join(text.split())}\n".encode())
        os.fsync(self._fd)

    def check(self, name: str, ok: bool, detail: str = "") -> None:
        """The outcome of one test."""
        self._count += 1
        self._line(f"{'ok' if ok else 'not-ok'} {name}{': ' + detail[:700] if detail else ''}")

    def fact(self, key: str, value: str) -> None:
        """Something the host may want to know."""
        self._line(f"fact {key}: {value}")

    def done(self) -> None:
        """The last word."""
        self._line(f"done {self._count}")


def load_case(path: str) -> ModuleType:
    """Import a case file by its path."""
    spec = importlib.util.spec_from_file_location("izo_case", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_in_this_process(function: Callable, directory: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call one case function and put its outcome into words."""
    from guest.expect import Skipped
    from guest.tree import Tree, manifest
    outcome: dict[str, Any] = {"ok": True, "detail": "", "trace": ""}
    process = os.getpid()
    try:
        if directory:
            os.makedirs(directory)
            os.chdir(directory)
            arguments = {**arguments, "tree": Tree(directory)}
        function(**arguments)
        if directory:
            os.chdir("/")
            outcome["notes"] = json.loads(json.dumps(arguments["tree"].notes, default=repr))
            outcome["manifest"] = manifest(directory)
    except Skipped as reason:
        outcome["detail"] = f"skipped: {reason}"
    except BaseException as error:
        if os.getpid() != process:  # a child the case forked: its status tells, not our pipe
            traceback.print_exc()
            os._exit(1)
        line = traceback.extract_tb(error.__traceback__)
        at = next((f.lineno for f in line if f.filename == function.__code__.co_filename), 0)
        outcome.update(ok=False, detail=f"line {at}: {type(error).__name__}: {error}",
                       trace=traceback.format_exc())
    return outcome


def stacks_of_all_processes() -> str:
    """Where every process waits: what one wants to read after a hang."""
    text = []
    for pid in sorted(int(p) for p in os.listdir("/proc") if p.isdigit()):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat, open(f"/proc/{pid}/stack",
                                                                           encoding="ascii") as stack:
                said = stack.read()
                if said.strip():
                    text.append(f"{stat.read().split(')')[0]}):\n{said}")
        except OSError:
            continue
    return "\n".join(text)


class Runner:
    """Runs the functions of one file, one child process each."""

    def __init__(self, job: dict[str, Any]) -> None:
        from guest.kernel_log import KernelLog
        self.job = job
        self.channel = VerdictChannel()
        self.log = KernelLog()
        self.stuck = False
        self.provoked: list[str] = []
        self.compared: list[str] = []

    def details(self, name: str, text: str) -> None:
        """Keep a longer story for the host."""
        with open(os.path.join(HOST, f"{name}.txt"), "a", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def in_child(self, name: str, body: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run body in a child with the time limit; afterwards no process but this one is left."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.setsid()
            outcome = body()
            with os.fdopen(writer, "w", encoding="utf-8") as stream:
                json.dump(outcome, stream)
            os._exit(0)
        os.close(writer)
        text, end, late = b"", time.monotonic() + self.job["limit"], False
        while not late:
            if select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
                block = os.read(reader, 1 << 20)
                if not block:
                    break
                text += block
            else:
                late = True
        os.close(reader)
        outcome = {"ok": False, "trace": "", "detail": f"no answer within {self.job['limit']:.0f} s"}
        if text:
            try:
                outcome = json.loads(text)
            except ValueError:
                pass
        elif late:
            outcome["trace"] = stacks_of_all_processes()
        else:
            outcome["detail"] = "the process of this case died"
        self.end_processes(outcome)
        if self.stuck:
            self.details(name, stacks_of_all_processes())
        return outcome

    def end_processes(self, outcome: dict[str, Any]) -> None:
        """Kill and reap everything; a process that does not die is a kernel hang."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)
            except ChildProcessError:
                return
        self.stuck = True
        outcome["ok"] = False
        outcome["detail"] += "; a process cannot be killed: the rest of this guest is not run"

    def left_mounted(self) -> list[str]:
        """Unmount what a case left behind."""
        from guest import mounting, subject
        left = [m.target for m in mounting.mounts() if m.target.startswith(subject.MOUNTS + "/")]
        for target in reversed(left):
            try:
                mounting.umount_lazily(target)
            except OSError:
                continue
        return left

    def run(self, name: str, function: Callable) -> None:
        """One case function, with everything that is checked around it."""
        from harness.verdict import console_trouble
        provoked = list(getattr(function, "provokes", ()))
        for pattern in provoked:
            self.channel.fact(f"provokes {len(self.provoked)}", pattern)
            self.provoked.append(pattern)
        with open("/dev/kmsg", "w", encoding="ascii") as console:
            console.write(f"izo case {name}\n")
        self.log.mark()
        start = time.monotonic()
        outcome = self.both_sides(name, function) if self.wants_tree(function) else self.one_side(name,
                                                                                                  function)
        said = self.log.read()
        trouble = console_trouble(said, allow=provoked)
        if trouble:
            outcome.update(ok=False, detail=f"{trouble[0]}; {outcome['detail']}")
        left = self.left_mounted()
        if left and outcome["ok"]:
            outcome.update(ok=False, detail=f"left mounted: {' '.join(left)}")
        if not outcome["ok"]:
            self.details(name, f"{outcome['detail']}\n{outcome['trace']}\n--- kernel log\n{said}")
        self.channel.fact(f"seconds {name}", f"{time.monotonic() - start:.2f}")
        self.channel.check(name, outcome["ok"], outcome["detail"])

    @staticmethod
    def wants_tree(function: Callable) -> bool:
        """Whether the function is run on the pair."""
        return "tree" in inspect.signature(function).parameters

    def one_side(self, name: str, function: Callable) -> dict[str, Any]:
        """A case that mounts for itself."""
        from guest import subject
        from guest.kernel_log import KernelLog
        wanted = inspect.signature(function).parameters
        arguments: dict[str, Any] = dict(zip(("disk", "second_disk", "third_disk"), subject.FREE_DISKS))
        if "where" in wanted:
            arguments["where"] = subject.mount_point()

        def body() -> dict[str, Any]:
            if "log" in wanted:
                arguments["log"] = KernelLog()
            return run_in_this_process(function, "", {k: v for k, v in arguments.items() if k in wanted})
        return self.in_child(name, body)

    def both_sides(self, name: str, function: Callable) -> dict[str, Any]:
        """A case that must give the same on ext4 and on the file system under test."""
        from guest import subject
        from guest.tree import differences
        reference = self.in_child(name, lambda: run_in_this_process(function, f"/mnt/reference/{name}", {}))
        if not reference["ok"]:
            reference["detail"] = f"on plain {subject.REFERENCE_FSTYPE}: {reference['detail']}"
            difference = getattr(function, "unlike_tmpfs", "")
            if subject.IN_MEMORY and difference:
                reference.update(ok=True, detail=f"skipped: tmpfs differs: {difference}")
            return reference
        tested = self.in_child(name, lambda: run_in_this_process(function, f"/mnt/subject/{name}", {}))
        if not tested["ok"] or reference["detail"].startswith("skipped"):
            return tested
        for here, there in zip(tested.get("notes", []), reference.get("notes", [])):
            if here != there:
                return {"ok": False, "detail": f"noted {here!r:.300}, expected {there!r:.300}", "trace": ""}
        lines = differences(reference.get("manifest", {}), tested.get("manifest", {}))
        if lines or len(tested.get("notes", [])) != len(reference.get("notes", [])):
            return {"ok": False, "detail": f"trees differ: {'; '.join(lines[:4])}", "trace": "\n".join(lines)}
        self.compared.append(name)
        return tested

    def mount_pair(self) -> None:
        """The two file systems the `tree` cases compare."""
        from guest import mounting, subject
        for device, target, fstype, options in pair():
            os.makedirs(target, exist_ok=True)
            subject.make_cache(device, "-b", "4096", "-O", "quota")
            mounting.mount_old(device, target, fstype, options)

    def unmount_pair(self) -> None:
        """The trees must be the same after a remount, and both disks must be clean after the last umount."""
        from guest import mounting, subject
        from guest.tree import differences, manifest
        seen = []
        for device, target, fstype, options in pair():
            mounting.umount(target)
            if subject.IN_MEMORY:
                continue
            mounting.mount_old(device, target, fstype, options)
            seen.append({name: manifest(os.path.join(target, name)) for name in self.compared})
            mounting.umount(target)
            subject.check_cache(device)
        lines = [f"{name}/{line}" for name in self.compared if seen
                 for line in differences(seen[0][name], seen[1][name])]
        if lines:
            raise AssertionError(f"after a remount the trees differ: {'; '.join(lines[:4])}")

    def closing_check(self, name: str, body: Callable[[], Any]) -> None:
        """A check on the guest as a whole."""
        def guarded() -> dict[str, Any]:
            try:
                body()
                return {"ok": True, "detail": "", "trace": ""}
            except BaseException as error:
                return {"ok": False, "detail": f"{type(error).__name__}: {error}",
                        "trace": traceback.format_exc()}
        outcome = guarded() if self.stuck else self.in_child(name, guarded)
        if not outcome["ok"]:
            self.details(name, f"{outcome['detail']}\n{outcome['trace']}")
        self.channel.check(name, outcome["ok"], outcome["detail"])


def pair() -> list[tuple[str, str, str, str]]:
    """Source, mount point, type and options of the reference and of the subject."""
    from guest import subject
    return [(subject.REFERENCE_DISK, "/mnt/reference", subject.REFERENCE_FSTYPE, ""),
            (subject.SUBJECT_DISK, "/mnt/subject", subject.FSTYPE, subject.FILESET)]


def check_lockdep() -> None:
    """The lock validator switches itself off at its first complaint; it must still be on."""
    with open("/proc/lockdep_stats", encoding="ascii") as stats:
        values = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in stats if ":" in line}
    if values.get("debug_locks") != "1":
        raise AssertionError("lockdep has switched itself off (debug_locks is not 1)")


def check_leaks(details: Callable[[str, str], None]) -> None:
    """Two scans for unreferenced kernel memory: the first after the youngest object counts, the second to
    confirm."""
    time.sleep(KMEMLEAK_MINIMUM_AGE)  # kmemleak ignores younger objects; no condition to wait for exists
    for _ in range(2):
        with open(KMEMLEAK, "w", encoding="ascii") as control:
            control.write("scan")
    with open(KMEMLEAK, encoding="ascii", errors="replace") as report:
        text = report.read()
    if not text.strip():
        return
    details("kernel_memory", text)
    leaks = text.split("unreferenced object")[1:]
    ours = [leak for leak in leaks if "izo_" in leak or "intermezzo" in leak]
    raise AssertionError(f"{len(leaks)} leaked objects, {len(ours)} of them ours")


def run_cases() -> None:
    """Everything between set-up and power-off."""
    sys.path.insert(0, TESTS)
    with open(os.path.join(HOST, "job.json"), encoding="utf-8") as stream:
        job = json.load(stream)
    runner = Runner(job)
    with open("/proc/uptime", encoding="ascii") as uptime:
        runner.channel.fact("up", uptime.read().split()[0])
    runner.channel.fact("kernel", os.uname().release)
    os.environ.update(job["environment"])
    module = load_case(os.path.join(CASES, job["case"]))
    functions = {name: getattr(module, name) for name in job["only"]}
    compares = any(runner.wants_tree(f) for f in functions.values())
    if compares:
        runner.mount_pair()
    for name, function in functions.items():
        if runner.stuck:
            runner.channel.check(name, False, "not run: an earlier case hangs in the kernel")
        elif getattr(function, "intermezzo_only", False) and job["fstype"] == "ext4":
            runner.channel.check(name, True, "skipped: about InterMezzo, and the type under test is ext4")
        else:
            runner.run(name, function)
    if compares:
        runner.closing_check("disks_unmount_equal_and_clean", runner.unmount_pair)
    runner.closing_check("lockdep_still_on", check_lockdep)
    runner.closing_check("no_kernel_memory_leaked", lambda: check_leaks(runner.details))
    runner.channel.done()


def main() -> None:
    """Process 1 must not end: whatever happens, the guest is powered off."""
    try:
        set_up_system()
        run_cases()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os.sync()
        libc = ctypes.CDLL(None)
        libc.reboot(0x4321FEDC)


if __name__ == "__main__":
    main()
