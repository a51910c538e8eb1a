# SPDX-License-Identifier: GPL-2.0
"""Every border of lint/layers.py is guarded: a line that crosses it is found, and what is excepted is let
through."""

from __future__ import annotations

from pathlib import Path

import pytest

from lint.layers import RULES, Rule, crossings

# One for each rule, in their order: a file and a line that may not stand in it.
OFFENCES = [
    ("kmod/uapi/linux/intermezzo.h", "#include <linux/fs.h>"),
    ("kmod/dir.c", '#include "compat/compat.h"'),
    ("kmod/dir.c", "\terr = vfs_unlink(idmap, dir, dentry, NULL);"),
    ("kmod/dir.c", "\terr = vfs_fsync(file, 0);"),
    ("kmod/dir.c", "#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)"),
    ("kmod/dir.c", "#elif defined(CONFIG_QUOTA)"),
    ("kmod/kml_record.c", '#include "intermezzo.h"'),
    ("kmod/upcall.c", "\terr = izo_psdev_init();"),
    ("qemu-tests/cases/uml/guest_names.py", 'TEXT = "../kmod/dir.c"'),
    ("qemu-tests/harness/artifacts.py", 'SOURCES = REPO / "intersync/src"'),
    ("kernel-patch/create-patch", 'new_file "$TOP/kmod/dir.c"'),
    ("kernel-patch/config/intermezzo.config", "source ../../images/image.d/debian-13.packages"),
    ("images/tree/debian-13/etc/systemd/system/izo-test.service", "ExecStart=/root/qemu-tests/demo"),
    ("kmod/compat/Kbuild.include", "ccflags-y += -I$(src)/../intersync/src"),
    ("intersync/src/kernel/CMakeLists.txt", "target_include_directories(izo PRIVATE ${TOP}/../kmod)"),
    ("intersync/src/daemon/options.cc", '  std::ifstream page("docs/quickstart.md");'),
    ("Makefile", "\tcp docs/*.md /tmp"),
    ("intersync/src/kml/decode.cc", '#include "base/error.h"'),
    ("intersync/src/kernel/channel.cc", '#include "http/client.h"'),
    ("intersync/src/base/log.cc", "#include <zstd.h>"),
    ("intersync/src/http/client.cc", '#include "kml/codec.h"'),
    ("intersync/src/proto/frame.cc", '#include "kernel/channel.h"'),
    ("intersync/src/repl/tree.cc", '#include "proto/frame.h"'),
    ("intersync/src/repl/tree.cc", "#include <thread>"),
    ("intersync/src/repl/tree.cc", "  ::close(fd);"),
    ("intersync/src/ext/image.cc", '#include "kml/codec.h"'),
    ("intersync/src/tools/izoctl.cc", '#include "daemon/options.h"'),
    ("intersync/src/kernel/channel.cc", '#include "tools/izoctl.h"'),
    ("intersync/src/daemon/intersync.cc", '#include "ext/image.h"'),
    ("intersync/src/daemon/intersync.cc", "#include <curl/curl.h>"),
    ("intersync/src/http/client.h", "#include <curl/curl.h>"),
    ("intersync/src/http/message.cc", "#include <zstd.h>"),
    ("intersync/src/base/log.cc", "#include <glib.h>"),
    ("intersync/src/daemon/server_side.cc", "#include <thread>"),
    ("intersync/src/base/log.cc", '#include "../kml/codec.h"'),
    ("initramfs/busybox/build", ". images/lib.sh"),
]
# The same for what one offence does not show of its rule.
MORE = [
    ("kernel-patch/lib.sh", '. "$TOP/qemu-tests/lib.sh"'),
    ("images/build-root", 'cp "$TOP/intersync/src/daemon/intersync.cc" .'),
    ("intersync/src/ext/image.cc", "#include <../kmod/types.h>"),
    ("intersync/CMakeLists.txt", "install(FILES ${PROJECT_SOURCE_DIR}/../docs/quickstart.md)"),
    ("initramfs/busybox/build", "cd ../docs || exit"),
    ("qemu-tests/harness/tiny.py", 'PAGE = REPO / "docs" / "quickstart.md"'),
]
# What is no offence.
LET_BE = [
    ("kernel-patch/build-kernel", 'FRAGMENTS=("$TOP/qemu-tests/kernel/uml.config")'),
    ("kernel-patch/create-patch", 'for file in "$TOP"/kmod/{Kbuild,Kconfig,*.[ch]}; do'),
    ("images/build-root", '"$TOP/intersync/build" release'),
    ("intersync/CMakeLists.txt", "target_include_directories(izo ${PROJECT_SOURCE_DIR}/../kmod/uapi)"),
    ("qemu-tests/cases/uml/guest_log_corpus.py", 'FILES = ("intersync/src/kml/corpus/MANIFEST",)'),
    ("qemu-tests/cases/uml/guest_names.py", '"""docs/quickstart.md has it; see docs/history.md."""'),
    ("docs/hacking.md", "    cp docs/*.md kmod/dir.c /tmp"),
]


def broken(path: str, line: str) -> list[str]:
    """Which borders a file with that line crosses, in the folder we are in."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"{line}\n", encoding="ascii")
    found = list(crossings(path))
    assert all(crossing.startswith(f"{path}:1: ") and crossing.endswith(line.strip()) for crossing in found)
    return [crossing.split(": ", 1)[1].removesuffix(f": {line.strip()}") for crossing in found]


def test_each_rule_has_its_offence():
    """None is left out."""
    assert len(OFFENCES) == len(RULES)


@pytest.mark.parametrize(("rule", "offence"), zip(RULES, OFFENCES),
                         ids=[f"{path}: {line.strip()}" for path, line in OFFENCES])
def test_offence_is_found(rule: Rule, offence: tuple[str, str], tmp_path, monkeypatch):
    """By that rule, and not in a comment."""
    monkeypatch.chdir(tmp_path)
    path, line = offence
    assert rule.why in broken(path, line)
    assert not broken(path, f"// {line}")


@pytest.mark.parametrize(("rule", "offence"), [pair for pair in zip(RULES, OFFENCES) if pair[0].but],
                         ids=[rule.why for rule in RULES if rule.but])
def test_exception_is_let_through(rule: Rule, offence: tuple[str, str], tmp_path, monkeypatch):
    """The same line in the files that may have it."""
    monkeypatch.chdir(tmp_path)
    for pattern in rule.but.split():
        path = pattern.replace("*", "one.c" if pattern.endswith("/*") else "one")
        assert rule.why not in broken(path, offence[1])


@pytest.mark.parametrize(("path", "line"), MORE)
def test_offence_in_another_form_is_found(path: str, line: str, tmp_path, monkeypatch):
    """Whatever the kind of the file, and whatever the path is made of."""
    monkeypatch.chdir(tmp_path)
    assert len(broken(path, line)) == 1


@pytest.mark.parametrize(("path", "line"), LET_BE)
def test_what_may_be_used_is_no_offence(path: str, line: str, tmp_path, monkeypatch):
    """Also near a border."""
    monkeypatch.chdir(tmp_path)
    assert not broken(path, line)
