# SPDX-License-Identifier: GPL-2.0
"""One QEMU guest: its machine, its run, what it left behind.

Serial ports: ttyS0 is the console (read live, kept in console.log), ttyS1 the verdict channel
(verdict.log), ttyS2 the output of the test script (output.log).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence

from harness import accel

# Said on the console by a guest that will do nothing more: no need to wait for the deadline.
STUCK = re.compile(r"You are in (?:emergency|rescue) mode|System halted|Cannot open access to console")
# What the kernel says last when told to report blocked tasks and all processors' stacks.
SYSRQ_SHOW_BLOCKED, SYSRQ_SHOW_PROCESSORS = b"w", b"l"
LAST_WORDS_SECONDS = 5


def copy_sparse(source: Path, target: Path) -> Path:
    """A private copy of a disk image that takes no more room than its data."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)
    return target


def empty_ext4(path: Path, megabytes: int, *options: str | Path) -> Path:
    """A fresh ext4 disk made with mke2fs defaults and `options`."""
    subprocess.run(["truncate", "-s", f"{megabytes}M", path], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-I", "256", *options, path], check=True)
    return path


def script_disk(path: Path, text: str) -> Path:
    """A disk that holds a shell script, padded with NUL bytes to whole sectors."""
    data = text.encode()
    path.write_bytes(data + bytes(-len(data) % 4096))
    return path


@dataclass(frozen=True)
class Disk:
    """A raw disk image; `serial` is what the guest reads in /sys/block/*/serial."""

    path: Path
    serial: str = ""


@dataclass
class Machine:
    """What is booted. `append` is added to the words every guest gets; `limit` is in unscaled seconds."""

    kernel: Path
    append: str
    nonce: str
    initrds: Sequence[Path] = ()
    disks: Sequence[Disk] = ()
    memory_mb: int = 512
    cores: int = 1
    limit: float = 120
    options: Sequence[str] = ()
    accelerator: str = ""


@dataclass
class Run:
    """A finished guest. `trouble` says why it ended if not by powering off in time."""

    console: str
    channel: str
    seconds: float
    trouble: list[str] = field(default_factory=list)


class Guest:
    """A running QEMU. Everything it leaves is in `directory`."""

    def __init__(self, machine: Machine, directory: Path, name: str,
                 on_line: Callable[[str], None] | None = None) -> None:
        self.machine = machine
        self.directory = directory
        self.name = name
        self._stuck: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._on_line = on_line
        self._echo = os.environ.get("V") == "1"

    def command(self, console: Sequence[str]) -> list[str]:
        """The QEMU command line; `console` says where the first serial port goes."""
        machine = self.machine
        words = f"console=ttyS0 ignore_loglevel panic=-1 izo.nonce={machine.nonce} {machine.append}"
        command = [*accel.DIES_WITH_US, "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none",
                   "-machine", "q35", "-cpu", "max", "-accel", machine.accelerator or accel.accelerator(),
                   "-smp", str(machine.cores), "-m", str(machine.memory_mb),
                   "-kernel", str(machine.kernel), "-append", words, *console,
                   "-serial", f"file:{self.directory / 'verdict.log'}",
                   "-serial", f"file:{self.directory / 'output.log'}",
                   "-device", "virtio-rng-pci",
                   "-netdev", "user,id=net0,restrict=on", "-device", "virtio-net-pci,netdev=net0,romfile="]
        if machine.initrds:
            command += ["-initrd", str(self._joined_initrd())]
        for number, disk in enumerate(machine.disks):
            command += ["-drive", f"file={disk.path},format=raw,if=none,id=disk{number},cache=unsafe",
                        "-device", f"virtio-blk-pci,drive=disk{number},serial={disk.serial or number}"]
        return command + list(machine.options)

    def _joined_initrd(self) -> Path:
        """The kernel unpacks concatenated archives one over the other."""
        if len(self.machine.initrds) == 1:
            return self.machine.initrds[0]
        joined = self.directory / "initrd"
        with joined.open("wb") as out:
            for part in self.machine.initrds:
                out.write(part.read_bytes())
                out.write(bytes(-out.tell() % 4))
        return joined

    def run(self) -> Run:
        """Boot, wait until the guest powers off or its time is over, and collect what it said."""
        limit = self.machine.limit * accel.time_scale()
        self._log("verdict.log").touch()
        command = self.command(["-chardev", "stdio,id=console,mux=on,signal=off",
                                "-serial", "chardev:console", "-mon", "chardev=console"])
        self._log("command").write_text(shlex.join(command) + "\n")
        started = time.monotonic()
        with self._log("qemu.err").open("wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self._process = process
        reader = threading.Thread(target=self._read_console, args=(process,), daemon=True)
        reader.start()
        trouble = self._await_end(process, limit)
        reader.join()
        seconds = time.monotonic() - started
        qemu_said = self._log("qemu.err").read_text(errors="replace").strip()
        if process.returncode > 0:
            trouble.append(f"qemu ended with exit code {process.returncode}: {qemu_said}")
        return Run(self._text("console.log"), self._text("verdict.log"), seconds, trouble)

    def cut_power(self, here: Callable[[], bool]) -> bool:
        """Hold it, and end it as it is if `here` says so, else let it go on. Whether it was ended by that.

        run() returns then, and finds nothing wrong with that.
        """
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        # a signal says nothing of when it has arrived in all threads
        held = False
        with contextlib.suppress(ChildProcessError):
            state = os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            held = state is not None and state.si_code == os.CLD_STOPPED
        ended = here()
        self._process.send_signal(signal.SIGKILL if ended else signal.SIGCONT)
        return held and ended

    def _await_end(self, process: subprocess.Popen[bytes], limit: float) -> list[str]:
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            self._ask_for_last_words(process)
            process.kill()
            process.wait()
            return [f"the guest did not power off within {limit:.0f} s"]
        return list(self._stuck)

    def _ask_for_last_words(self, process: subprocess.Popen[bytes]) -> None:
        """Let a guest that hangs show where: `C-a b` sends a break, which makes the next key a SysRq."""
        assert process.stdin is not None
        try:
            process.stdin.write(b"\x01b" + SYSRQ_SHOW_BLOCKED + b"\x01b" + SYSRQ_SHOW_PROCESSORS)
            process.stdin.flush()
            process.wait(LAST_WORDS_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            pass  # killed by the caller

    def _read_console(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self._log("console.log").open("wb") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                text = line.decode(errors="replace").rstrip()
                if self._echo:
                    print(f"{self.name}| {text}", file=sys.__stderr__, flush=True)
                if self._on_line:
                    self._on_line(text)
                if STUCK.search(text):
                    self._stuck.append(f"the guest gave up: {text}")
                    process.kill()

    def _log(self, name: str) -> Path:
        return self.directory / name

    def _text(self, name: str) -> str:
        return self._log(name).read_text(errors="replace").replace("\r", "")


def drop_disks(directory: Path) -> None:
    """Keep the logs of a run, or of the guests of one in folders of their own, not its disks."""
    for path in directory.iterdir():
        if path.is_dir() and (path / "console.log").exists():
            drop_disks(path)
        elif path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in (".ext4", ".disk", ".cpio") or path.name == "initrd":
            path.unlink()
